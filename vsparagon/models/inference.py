"""The inference form of a generator: the same function of an extended picture, in fewer and larger steps.

Folding is exact except for rounding and for the zero padding between two layers that became one, which is lost. That
changes the outermost pixels only, which the filter cuts away (`vsparagon.geometry.extension`). Attention in blocks is
accurate to a tolerance (`vsparagon.models.block_attention`). Within the picture the result equals the published form's
within 1e-4. The arrangement is the fastest of those measured with OpenVINO in float32 on AVX-512.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.models import folding
from vsparagon.models.attention import LocalWindowAttention
from vsparagon.models.block_attention import BlockAttention, points_needed, sample_picture
from vsparagon.models.carried import carry_base
from vsparagon.models.paragonsr2 import (
    LEAK,
    ContentAwareDetailProcessor,
    GlobalMean,
    ParagonBlock,
    ParagonSR2,
    ResidualGroup,
)
from vsparagon.models.swift import Swift, SwiftForm
from vsparagon.models.variants import VECTOR, ParagonSR2Options

MULTIPLE_OF = 8  # sides of the input; those of `vsparagon.geometry.extension` are 24a + 8
LARGEST_FOLDED_BAND = 11  # beyond this, one k x k kernel costs more than the parts it replaces


class InferenceForm(nn.Module):
    """What `inference_form` returns for a ParagonSR2: N,3,H,W to N,3,sH,sW, H and W multiples of 8.

    Attributes:
        options: the options of the generator it was derived from.
        base_inside: whether the base is carried through the body (`vsparagon.models.carried`).
        shift: enlarged pixels missing at the top and left: pixel 0 of the result is the published form's pixel `shift`.
    """

    shift = ParagonSR2Options.inference_shift

    def __init__(self, model: ParagonSR2) -> None:
        super().__init__()
        self.options = model.options
        self.sharpen = folding.fold_sharpening(model) if model.options.upsampler_alpha else nn.Identity()
        self.smooth = folding.fold_smoothing(model)
        self.conv_in = copy.deepcopy(model.conv_in)
        points = _points(model)
        groups = (group for group in model.body if isinstance(group, ResidualGroup))
        self.body = nn.Sequential(*(FoldedGroup(group, points) for group in groups))
        self.fuse = folding.fold_fusion(model)
        self.tail = folding.fold_tail(model)
        content = model.content_processor
        self.gain = _Gain(content) if isinstance(content, ContentAwareDetailProcessor) else None
        self.base_inside = carry_base(self)

    def forward(self, x: Tensor) -> Tensor:
        phases = self.tail(self.fuse(self.body(self.conv_in(x))))
        if self.gain is not None:
            phases = self.gain(x) * phases
        if not self.base_inside:
            phases = self.smooth(self.sharpen(x)) + phases
        return F.pixel_shuffle(phases, self.options.scale)


class Kept(nn.Identity):
    """Marks features that are kept for the whole frame when the form is cut into `vsparagon.models.stages`."""


class FrameMean(nn.Module):
    """The mean over a picture, N,C,1,1, in float32; `block` must divide the sides.

    Means of blocks are taken first, which is faster on CPUs.
    """

    def __init__(self, block: tuple[int, int] = (MULTIPLE_OF, MULTIPLE_OF)) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x.float(), self.block).mean((2, 3), keepdim=True).to(x.dtype)


class _Gain(nn.Module):
    """The gain of a `ContentAwareDetailProcessor`, N,1,1,1; with few channels it computes two columns at once."""

    def __init__(self, content: ContentAwareDetailProcessor) -> None:
        super().__init__()
        first, second, third, head = (m for m in content.content_analyzer if isinstance(m, nn.Conv2d))
        weight, bias = head.weight, folding.bias_of(head)
        packed = 2 * third.out_channels <= VECTOR
        if packed:
            first = folding.pack_columns(first, packed_input=False)
            second = folding.pack_columns(second, packed_input=True)
            third = folding.pack_columns(third, packed_input=True)
            weight = torch.cat((weight, weight), 1) / 2
        self.analyser = nn.Sequential(
            copy.deepcopy(first),
            nn.LeakyReLU(LEAK),
            copy.deepcopy(second),
            nn.LeakyReLU(LEAK),
            copy.deepcopy(third),
            nn.LeakyReLU(LEAK),
            FrameMean((MULTIPLE_OF, MULTIPLE_OF // 2 if packed else MULTIPLE_OF)),
            folding.convolution(-weight, -bias),  # 1 - sigmoid(z) is sigmoid(-z)
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        simplicity: Tensor = self.analyser(x)
        return 0.05 + 0.15 * simplicity


class FoldedBlock(nn.Module):
    """A `ParagonBlock` with its LayerScales and first residual folded into the kernels."""

    def __init__(self, block: ParagonBlock) -> None:
        super().__init__()
        mixer = block.transformer
        between: list[nn.Module] = [
            copy.deepcopy(m) for m in (mixer.attention, mixer.channel_mod) if not isinstance(m, nn.Identity)
        ]
        if len(between) > 1:
            between.insert(1, Kept())  # modulation waits for the frame's means; attention is expensive to compute twice
        self.context = _context(block)
        self.project_in = copy.deepcopy(mixer.project_in)
        self.mix = copy.deepcopy(mixer.dw_mixer if between else mixer.dw_mixer[:2])
        self.between = nn.Sequential(*between)
        self.project_out = folding.fold_projection(block, with_mixer=not between)
        self.norm = copy.deepcopy(block.norm)
        for name, child in self.between.named_modules():
            if isinstance(child, GlobalMean):
                parent = self.between.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], FrameMean())

    def forward(self, x: Tensor) -> Tensor:
        x = self.context(x)
        out: Tensor = self.norm(x + self.project_out(self.between(self.mix(self.project_in(x)))))
        return out


class _AttendingBlock(nn.Module):
    """A `ParagonBlock` with attention in blocks and no modulation; its last hidden channel is 1 everywhere."""

    def __init__(self, block: ParagonBlock, points: int) -> None:
        super().__init__()
        mixer = block.transformer
        attention, (spread, leak, last) = mixer.attention, mixer.dw_mixer
        assert isinstance(attention, LocalWindowAttention)
        assert isinstance(spread, nn.Conv2d)
        assert isinstance(last, nn.Conv2d)
        self.context = _context(block)
        self.project_in = folding.wider(mixer.project_in, outputs=1)
        self.mix = nn.Sequential(folding.with_one(spread), copy.deepcopy(leak))
        self.project_out = folding.wider(folding.fold_projection(block, with_mixer=True), inputs=1)
        behind = folding.fold_projection(block, with_mixer=False).weight.flatten(1)
        self.attention = BlockAttention(attention, last, behind, points)
        self.norm = copy.deepcopy(block.norm)

    def forward(self, x: Tensor) -> Tensor:
        x = self.context(x)
        hidden = self.mix(self.project_in(x))
        out: Tensor = self.norm(x + self.project_out(hidden) + self.attention(hidden))
        return out


class FoldedGroup(nn.Module):
    """A `ResidualGroup` of folded blocks."""

    def __init__(self, group: ResidualGroup, points: dict[nn.Module, int]) -> None:
        super().__init__()
        blocks = [block for block in group.blocks if isinstance(block, ParagonBlock)]
        self.kept = nn.ModuleList(Kept() for _ in blocks)
        self.blocks = nn.ModuleList(
            _AttendingBlock(block, points[block]) if block in points else FoldedBlock(block) for block in blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.kept[0](x)
        for index, block in enumerate(self.blocks):
            x = block(self.kept[index](x) if index else x)
        out: Tensor = first + x
        return out


class _WideContext(nn.Module):
    """`x + ls1(context(x))` in the published parts, whose kernels are too long to fold."""

    def __init__(self, block: ParagonBlock) -> None:
        super().__init__()
        self.context, self.ls1 = copy.deepcopy(block.context), copy.deepcopy(block.ls1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.ls1(self.context(x))
        return out


def _points(model: ParagonSR2) -> dict[nn.Module, int]:
    """Return the blocks whose attention is computed in blocks, and the number of points of each."""
    blocks = {
        block.transformer.attention: block
        for block in model.modules()
        if isinstance(block, ParagonBlock) and isinstance(block.transformer.channel_mod, nn.Identity)
    }
    points: dict[nn.Module, int] = {}

    def measure(attention: nn.Module, given: tuple[Tensor, ...], _result: Tensor) -> None:
        assert isinstance(attention, LocalWindowAttention)
        if needed := points_needed(attention, given[0]):
            points[blocks[attention]] = needed

    attentions = [module for module in blocks if isinstance(module, LocalWindowAttention)]
    hooks = [attention.register_forward_hook(measure) for attention in attentions]
    if hooks:
        model.eval()(sample_picture())
    for hook in hooks:
        hook.remove()
    return points


def _context(block: ParagonBlock) -> nn.Module:
    if block.context.dwconv_w.kernel_size[1] <= LARGEST_FOLDED_BAND:
        return folding.fold_context(block)
    return _WideContext(block)


@torch.no_grad()
def inference_form(model: ParagonSR2 | Swift) -> nn.Module:
    """Derive the inference form of any generator; the model is left unchanged.

    Returns:
        A float32 module on the CPU, in eval mode, that needs no gradient: N,3,H,W to N,3,sH,sW. A ParagonSR2's takes H
        and W that are multiples of 8. Its outermost 8 pixels (before enlargement) differ from the published form's and
        are to be cut away, and `shift` enlarged pixels are missing at its top and left. A Swift's takes any size and
        equals the published form.
    """
    model = copy.deepcopy(model).cpu().float()
    form = SwiftForm(model) if isinstance(model, Swift) else InferenceForm(model)
    return form.eval().requires_grad_(False)
