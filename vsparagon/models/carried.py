"""Carries the base through the body as three more channels, at no cost where a vector register has room for them.

`conv_in` appends the picture to the features. The first block's depthwise kernel turns it into the difference to the
sharpened picture, and the first group, which adds its input, completes it. The later blocks and groups and the fusion
pass it on, and the tail enlarges it together with the detail.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vsparagon.models.block_attention import BlockAttention
from vsparagon.models.folding import bias_of, convolution, wider
from vsparagon.models.paragonsr2 import RMSNorm
from vsparagon.models.variants import COLOURS, VECTOR


def carry_base(form: Any) -> bool:
    """Move `sharpen` and `smooth` of an `InferenceForm` into its other layers, in place, if they fit there.

    They fit if no gain multiplies the detail, no block has a norm, the blocks' depthwise kernels are folded and at
    least as large as the sharpening, and three more channels need no further vector register.

    Returns:
        Whether they were moved; if not, the form is unchanged.
    """
    blocks = [block for group in form.body for block in group.blocks]
    channels = form.conv_in.out_channels
    sharpening = _kernel(form.sharpen)
    fits = (
        form.gain is None
        and -(-(channels + COLOURS) // VECTOR) == -(-channels // VECTOR)
        and not any(isinstance(block.norm, RMSNorm) for block in blocks)
        and all(
            isinstance(block.context, nn.Conv2d) and block.context.kernel_size[0] >= sharpening.shape[-1]
            for block in blocks
        )
    )
    if not fits:
        return False
    eye = torch.eye(COLOURS)
    form.conv_in = wider(form.conv_in, outputs=COLOURS)
    form.conv_in.weight[-COLOURS:, :, 1, 1] += eye
    for group in form.body:
        for block in group.blocks:
            first, first_of_group = block is blocks[0], block is group.blocks[0]
            block.context = _with_colours(block.context, sharpening if first else None, passes=not first_of_group)
            block.project_in = wider(block.project_in, inputs=COLOURS)
            block.project_out = wider(block.project_out, outputs=COLOURS)
            if isinstance(attention := getattr(block, "attention", None), BlockAttention):
                attention.widen(COLOURS)
    form.fuse = wider(form.fuse, inputs=COLOURS, outputs=COLOURS)
    form.fuse.weight[-COLOURS:, -COLOURS:, 1, 1] += eye
    form.tail = wider(form.tail, inputs=COLOURS)
    form.tail.weight[:, -COLOURS:] += form.smooth.weight
    del form.sharpen, form.smooth
    return True


def _kernel(sharpen: nn.Module) -> Tensor:
    """Return the depthwise kernel of the sharpening, 3,1,k,k; a single 1 where there is none."""
    return sharpen.weight if isinstance(sharpen, nn.Conv2d) else torch.ones(COLOURS, 1, 1, 1)


def _with_colours(context: nn.Conv2d, sharpening: Tensor | None, *, passes: bool) -> nn.Conv2d:
    """Return a depthwise convolution with three more channels.

    Their kernels are `sharpening` minus the identity if it is given, else the identity if `passes`, else zeros.
    """
    size = context.kernel_size[0]
    colours = context.weight.new_zeros(COLOURS, 1, size, size)
    middle = size // 2
    if sharpening is not None:
        rim = (size - sharpening.shape[-1]) // 2
        colours[..., rim : size - rim, rim : size - rim] = sharpening
        colours[..., middle, middle] -= 1
    elif passes:
        colours[..., middle, middle] = 1
    bias = bias_of(context)
    bias = torch.cat((bias, bias.new_zeros(COLOURS)))
    return convolution(torch.cat((context.weight, colours)), bias, groups=len(bias))
