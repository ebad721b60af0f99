"""The networks, as torch modules, and what is known of them without torch.

variants.py          options of every variant; plain data, as are:
model.py             what a network is to a backend
plan.py              the stages that a network is cut into
memory.py            what its layers take
paragonsr2.py        the generator in its published form, with
attention.py         its window attention
swift.py             plain convolutions of our own
munet.py             the discriminator
generators.py        generators of either kind, by their options
foreign.py           ONNX graphs of others in the place of a module
inference.py         published form -> inference form, by
folding.py           linear parts as single kernels,
carried.py           the base carried through the body, and
block_attention.py   attention in blocks
half.py              the same in float16, on a float32 base
stages.py            a network cut into stages
frame.py             the network with the conversions of a frame around it
complexity.py        multiplications and parameters
"""
