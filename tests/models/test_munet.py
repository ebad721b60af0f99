"""The discriminator: the published results, and gradients that a penalty can use."""

from __future__ import annotations

import pytest
from goldens import GOLDEN_TOLERANCE, golden_paths

torch = pytest.importorskip("torch", reason="the networks are torch modules")

from safetensors.torch import load_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from vsparagon.errors import InvalidInput  # noqa: E402
from vsparagon.models.munet import MUNet, log_magnitude  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def munet(*, num_feat=8, ch_mult=(1, 2, 4), fixed_noise=False):
    """Return a small network with attention and, with `fixed_noise`, fixed kernels that a new network does not have."""
    model = MUNet(num_feat=num_feat, ch_mult=ch_mult)
    with torch.no_grad():
        model.self_attn.gamma.fill_(0.7)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
            if fixed_noise and not parameter.requires_grad:
                parameter.normal_()
        # Normalised weights make small activations, for which the softmax would be nearly uniform. In eval mode,
        # the stored vectors determine the norm.
        for conv, factor in ((model.self_attn.query, 0.01), (model.self_attn.key, 0.01), (model.mid_conv[0], 0.1)):
            conv.parametrizations.weight[0]._u.mul_(factor)
    return model.eval()


def by_the_description(state, x, stages):
    """The published network as plain functions of its state dict, in float64."""
    state = {name: tensor.double() for name, tensor in state.items()}
    x = x.double()

    def conv(name, x, **options):
        weight = state.get(f"{name}.weight")
        if weight is None:
            weight = state[f"{name}.parametrizations.weight.original"]
            u, v = (state[f"{name}.parametrizations.weight.0._{k}"] for k in "uv")
            weight = weight / (u @ weight.flatten(1) @ v)
        options = {"padding": (weight.shape[2] // 2, weight.shape[3] // 2)} | options
        return F.conv2d(x, weight, state.get(f"{name}.bias"), **options)

    def leaky(name, x, **options):
        return F.leaky_relu(conv(name, x, **options), 0.2)

    def two(name, x):
        return leaky(f"{name}.2", leaky(f"{name}.0", x))

    def depthwise(name, x):
        for part in ("conv_h", "conv_v"):
            x = conv(f"{name}.{part}", x, groups=x.shape[1])
        return x

    def nearest(x, size):
        return F.interpolate(x, size=size, mode="nearest")

    skips, deep = [], conv("in_conv", x)
    for i in range(stages):
        skips.append(deep)
        deep = leaky(f"down_blocks.{i}.0", deep, stride=2, padding=1)
    deep = two("mid_conv", deep)
    assert deep.shape[2] <= 32
    assert deep.shape[3] <= 32
    query, key, value = (conv(f"self_attn.{n}", deep).flatten(2) for n in ("query", "key", "value"))
    shares = (query.transpose(1, 2) @ key / query.shape[2] ** 0.5).softmax(-1)
    deep = deep + state["self_attn.gamma"] * (value @ shares.transpose(1, 2)).view_as(deep)

    spatial = deep
    for i, skip in enumerate(reversed(skips)):
        block = f"up_blocks.{i}"
        spatial = nearest(depthwise(f"{block}.magic_upsample.sharpen", spatial), skip.shape[2:])
        spatial = conv(f"{block}.post_upsample_conv", depthwise(f"{block}.magic_upsample.resample_conv", spatial))
        spatial = leaky(f"{block}.fusion_conv.0", torch.cat((spatial, skip), 1))

    luma = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    across, down = torch.zeros_like(luma), torch.zeros_like(luma)
    across[..., :-1] = luma[..., 1:] - luma[..., :-1]
    down[..., :-1, :] = luma[..., 1:, :] - luma[..., :-1, :]
    gradients = two("grad_conv", torch.cat((across, down), 1))
    magnitude = torch.fft.fft2(conv("freq_luma", x), norm="ortho").abs()
    frequencies = two("freq_proc", (magnitude + 1e-8).log())
    patch = two("patch_upsample", nearest(leaky("patch_reduce.0", deep), spatial.shape[2:]))

    branches = [spatial, gradients, frequencies, patch]
    logits = conv(
        "attention_fusion.attention_conv.2", leaky("attention_fusion.attention_conv.0", torch.cat(branches, 1))
    )
    mixed = sum(b * s for b, s in zip(branches, logits.softmax(1).split(1, 1), strict=True))
    return conv("out_conv", two("attention_fusion.fusion_conv", mixed))


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (37, 51), (8, 9)])
@pytest.mark.parametrize("fixed_noise", [False, True])
def test_output_is_that_of_the_description(size, fixed_noise):
    model = munet(fixed_noise=fixed_noise)
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        out = model(x)
    assert out.shape == (2, 1, *size)
    wanted = by_the_description(model.state_dict(), x, 3)
    # With noise as fixed kernels, large numbers nearly cancel, which is less exact in float32 than in float64.
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if fixed_noise else {"rtol": 0, "atol": GOLDEN_TOLERANCE}
    torch.testing.assert_close(out.double(), wanted, **tolerance)


def test_description_depends_on_every_weight():
    """A comparison proves nothing about a part on which it does not depend."""
    model = munet()
    x = torch.rand(1, 3, 32, 48)
    state = model.state_dict()
    before = by_the_description(state, x, 3)
    for name in state:
        # The same number added to all keys does not change a softmax.
        if not name.endswith(("_u", "_v", "key.bias")):
            changed = {**state, name: state[name] * 1.5 + 0.1}
            assert (by_the_description(changed, x, 3) - before).abs().max() > GOLDEN_TOLERANCE, name


@pytest.mark.parametrize(
    "name",
    [name for name in golden_paths() if name.startswith("munet")]
    or [pytest.param("", marks=pytest.mark.skip("VSPARAGON_GOLDEN is not set"))],
)
def test_output_equals_the_published_network(name):
    """The published vectors take 3 MB and are not in the repository: see VSPARAGON_GOLDEN in goldens.py."""
    weights = golden_paths()[name]
    io = load_file(weights.with_name(f"{name}.io.safetensors"))
    model = MUNet(num_feat=16).eval()
    model.load_state_dict(load_file(weights))
    for i in range(len(io) // 2):
        with torch.no_grad():
            out = model(io[f"input.{i}"])
        torch.testing.assert_close(out, io[f"output.{i}"], rtol=0, atol=GOLDEN_TOLERANCE)


def test_parameter_counts_are_the_published_ones():
    model = MUNet()
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 11_309_158
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == 23_043


def test_new_network_has_the_true_kernels():
    model = munet()
    sharpen = torch.tensor([-1, 0, 9, 16, 9, 0, -1]) / 32
    blur = torch.tensor([1, 4, 6, 4, 1]) / 16
    for block in model.up_blocks:
        for separable, taps in ((block.magic_upsample.sharpen, sharpen), (block.magic_upsample.resample_conv, blur)):
            for conv in (separable.conv_h, separable.conv_v):
                torch.testing.assert_close(conv.weight.flatten(1), taps.expand(conv.weight.shape[0], -1))
    torch.testing.assert_close(model.freq_luma.weight.flatten(), torch.tensor([0.2989, 0.5870, 0.1140]))


def test_new_trained_weights_are_kaiming_normal():
    weight = MUNet().mid_conv[0].parametrizations.weight.original
    assert weight.std().item() == pytest.approx((2 / (1 + 0.2**2) / (512 * 9)) ** 0.5, rel=0.01)


def test_new_attention_is_the_identity():
    assert MUNet(num_feat=4).self_attn.gamma.item() == 0


def only_frequencies(model):
    """Detach the picture from all branches but that of the frequencies, so that gradients pass only through it."""
    model._encode = lambda x: type(model)._encode(model, x.detach())
    model._gradients = lambda x: type(model)._gradients(model, x.detach())
    return model


def test_gradient_passes_through_the_frequency_branch_alone():
    model = only_frequencies(munet())
    x = torch.rand(1, 3, 40, 48, requires_grad=True)
    model(x).sum().backward()
    assert (x.grad.abs() > 0).float().mean() > 0.99


def test_gradient_of_the_log_magnitude_is_the_numerical_one():
    x = torch.rand(1, 1, 8, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(1, 1, 8, 12, dtype=torch.float64)

    def exact(x):
        return ((torch.fft.fft2(x, norm="ortho").abs() + 1e-8).log() * weight).sum()

    (gradient,) = torch.autograd.grad((log_magnitude(x) * weight).sum(), x)
    for index in [(0, 0, 0, 0), (0, 0, 3, 5), (0, 0, 7, 11)]:
        step = torch.zeros_like(x)
        step[index] = 1e-6
        slope = (exact(x + step) - exact(x - step)) / 2e-6
        assert gradient[index].item() == pytest.approx(slope.item(), rel=1e-2)


def test_log_magnitude_has_the_published_value_even_where_nothing_is():
    flat = torch.full((1, 1, 16, 16), 0.5)
    for x in (flat, torch.rand(1, 1, 16, 16)):
        wanted = (torch.fft.fft2(x, norm="ortho").abs() + 1e-8).log()
        torch.testing.assert_close(log_magnitude(x), wanted, rtol=0, atol=1e-5)
    assert log_magnitude(flat).min() < -18


def penalty(model, x):
    """Return R3GAN's R1 penalty, with its graph: the mean over pictures of the squared gradient's sum over pixels."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).mean((1, 2, 3)).sum(), x, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


@pytest.mark.parametrize(
    "picture",
    [
        torch.full((2, 3, 48, 64), 0.5),
        torch.zeros(2, 3, 48, 64),
        torch.full((2, 3, 48, 64), 0.5) + 1e-7 * torch.randn(2, 3, 48, 64),
        torch.linspace(0, 1, 64).expand(2, 3, 48, 64),
    ],
    ids=["flat", "black", "nearly flat", "ramp"],
)
def test_penalties_and_their_gradients_stay_small_on_flat_pictures(picture):
    model = munet().train()
    ordinary = penalty(model, torch.rand(2, 3, 48, 64)).item()
    value = penalty(model, picture)
    value.backward()
    assert value.item() < 100 * ordinary
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() and g.abs().max() < 1e3 for g in gradients)


def test_penalty_reaches_the_attention():
    model = munet().train()
    penalty(model, torch.rand(1, 3, 64, 64)).backward()
    assert model.self_attn.gamma.grad.abs() > 0
    assert model.self_attn.query.parametrizations.weight.original.grad.abs().max() > 0


def test_options_have_the_names_and_the_order_of_the_design():
    named = MUNet(num_in_ch=3, num_feat=4, ch_mult=(1, 2)).state_dict()
    in_order = MUNet(3, 4, (1, 2)).state_dict()
    assert {name: t.shape for name, t in named.items()} == {name: t.shape for name, t in in_order.items()}


@pytest.mark.parametrize("wrong", [{"num_in_ch": 1}, {"num_feat": 1}, {"ch_mult": ()}, {"ch_mult": (1, 0)}])
def test_wrong_option_is_refused(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        MUNet(**wrong)
