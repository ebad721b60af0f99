"""The networks, as torch modules, and what is known of them without torch.

bundled.py           the networks bundled with the package (without torch)
checkpoint.py        files of weights, read and written
recognise.py         finds a network's options in its weights (without torch)
variants.py          options of every variant (plain data)
files.py             the files that a model consists of
model.py             what a backend knows of a network (plain data)
plan.py              the stages that a network is cut into (plain data)
memory.py            estimates the memory of its layers (plain data)
paragonsr2.py        the ParagonSR2 generator in its published form
attention.py         its window attention
swift.py             the Swift generator: plain convolutions
munet.py             the discriminator
generators.py        makes either generator from its options
inference.py         derives the inference form from the published form
folding.py           folds linear parts into single kernels
carried.py           carries the base through the body
block_attention.py   attention in blocks
half.py              the inference form in float16, on a float32 base
tracing.py           finds the steps of a module
stages.py            cuts a network into stages
frame.py             the network with a frame's conversions around it
complexity.py        counts its multiply-adds

The names below are imported on first use, because they need torch.
"""

from typing import TYPE_CHECKING

from vsparagon.lazy import first_use

if TYPE_CHECKING:
    from vsparagon.models.checkpoint import load_generator
    from vsparagon.models.generators import create_generator
    from vsparagon.models.munet import MUNet
    from vsparagon.models.paragonsr2 import ParagonSR2
    from vsparagon.models.swift import Swift

__all__ = ["MUNet", "ParagonSR2", "Swift", "create_generator", "load_generator"]

__getattr__, __dir__ = first_use(
    __name__,
    {
        "MUNet": "vsparagon.models.munet",
        "ParagonSR2": "vsparagon.models.paragonsr2",
        "Swift": "vsparagon.models.swift",
        "create_generator": "vsparagon.models.generators",
        "load_generator": "vsparagon.models.checkpoint",
    },
)
