"""The generator in its published form: golden vectors, variants, options, dtypes and layouts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict

import pytest
from goldens import GOLDEN_TOLERANCE, generator_names, golden

torch = pytest.importorskip("torch", reason="the networks are torch modules")

from vsparagon.errors import InvalidInput  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.paragonsr2 import ParagonSR2  # noqa: E402
from vsparagon.models.variants import VARIANTS, ParagonSR2Options  # noqa: E402

# Trainable parameters at scale 2, counted on the published networks.
PARAMETERS = {
    "nano": 10_523,
    "micro": 19_357,
    "tiny": 42_412,
    "xs": 77_683,
    "s": 215_190,
    "m": 1_785_020,
    "l": 5_153_716,
    "xl": 14_481_476,
    "swift_lite": 4_540,
    "swift": 9_212,
    "swift_plus": 18_556,
}
OTHER_BODY = {
    "micro": 22_158,
    "tiny": 60_376,
    "xs": 145_998,
    "s": 579_160,
    "m": 635_018,
    "l": 1_710_676,
    "xl": 4_368_836,
}

OPTIONS_THAT_COUNT = [
    {},
    {"scale": 3},
    {"use_attention": False},
    {"use_content_aware": False},
    {"use_channel_mod": False, "use_norm": False},
    {"use_channel_mod": True, "use_norm": True, "fast_body_mode": False, "num_groups": 2, "num_blocks": 3},
    {"band_kernel_size": 13, "num_feat": 40, "ffn_expansion": 1.7},
]


pytestmark = pytest.mark.usefixtures("no_gradient")


@pytest.fixture(scope="module")
def nano():
    return golden("nano_x2")


def picture(height, width, *, count=1, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def trained(model):
    """Return the number of trained parameters of a network, by counting them."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", generator_names())
def test_output_equals_the_published_network(name):
    reference = golden(name)
    model = reference.generator()
    for given, wanted in reference.pictures:
        torch.testing.assert_close(model(given), wanted, rtol=0, atol=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("name", [n for n in generator_names() if "no_attention" not in n])
def test_golden_vectors_fail_without_attention(name):
    reference = golden(name)
    model = reference.generator()
    gammas = [p for n, p in model.named_parameters() if n.endswith("attention.gamma")]
    assert gammas
    for gamma in gammas:
        gamma.zero_()
    given, wanted = reference.pictures[0]
    assert (model(given) - wanted).abs().max() > 10 * GOLDEN_TOLERANCE


def test_batch_items_do_not_touch_each_other(nano):
    model, batch = nano.generator(), picture(40, 57, count=2)
    single = torch.cat([model(batch[:1]), model(batch[1:])])
    torch.testing.assert_close(model(batch), single, rtol=0, atol=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameter_count_is_the_published_one(variant):
    assert trained(create_generator(variant)) == PARAMETERS[variant]


@pytest.mark.parametrize("variant", OTHER_BODY)
def test_parameter_count_of_the_other_body_mode(variant):
    other = create_generator(variant, fast_body_mode=not VARIANTS[variant].fast_body_mode)
    assert trained(other) == OTHER_BODY[variant]


def test_class_defaults_are_those_of_the_design():
    model = ParagonSR2(scale=2, num_feat=48)
    assert trained(model) == 1_030_156
    assert asdict(model.options) == asdict(
        ParagonSR2Options(
            scale=2,
            num_feat=48,
            num_groups=6,
            num_blocks=6,
            ffn_expansion=2.0,
            band_kernel_size=11,
            upsampler_alpha=0.5,
            detail_gain=0.1,
            fast_body_mode=False,
            use_norm=False,
            use_channel_mod=True,
            use_content_aware=True,
            use_attention=False,
        )
    )


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_scale_enlarges_both_sides(scale):
    assert create_generator("nano", scale=scale)(picture(9, 13)).shape == (1, 3, 9 * scale, 13 * scale)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_flat_picture_stays_flat_in_a_new_network_away_from_the_border(scale):
    grey = torch.full((1, 3, 20, 20), 0.5)
    out = create_generator("nano", scale=scale, use_content_aware=False, detail_gain=0.0)(grey)
    inner = out[..., 7 * scale : -7 * scale, 7 * scale : -7 * scale]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5), rtol=0, atol=1e-5)


# Option that adds a named part -> what must appear in the parameters' names if the option is on.
PARTS = {
    "use_norm": "norm.",
    "use_channel_mod": "channel_mod.",
    "use_content_aware": "content_processor.",
    "use_attention": "attention.",
}


@pytest.mark.parametrize("option", PARTS)
def test_option_adds_its_part_and_nothing_else(option):
    on = dict(create_generator("nano", **{option: True}).named_parameters())
    off = dict(create_generator("nano", **{option: False}).named_parameters())
    assert {n for n in on if n not in off} == {n for n in on if PARTS[option] in n} != set()
    assert off.keys() <= on.keys()


@pytest.mark.parametrize("option", PARTS)
def test_part_changes_the_picture(option):
    model = create_generator("micro", use_norm=True)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(0.5)
    without = create_generator("micro", **({"use_norm": True} | {option: False}))
    without.load_state_dict({n: t for n, t in model.state_dict().items() if PARTS[option] not in n})
    given = picture(36, 36)
    assert (model(given) - without(given)).abs().max() > 1e-4


def test_options_that_are_numbers_set_the_shapes():
    model = create_generator(
        "nano", num_feat=20, num_groups=4, num_blocks=6, ffn_expansion=1.7, band_kernel_size=13, fast_body_mode=False
    )
    block = model.body[3].blocks[5]
    assert len(model.body) == 4
    assert len(model.body[0].blocks) == 6
    assert model.conv_in.weight.shape == (20, 3, 3, 3)
    assert block.transformer.project_in.weight.shape == (34, 20, 1, 1)
    assert block.context.dwconv_w.weight.shape == (2, 1, 1, 13)
    assert block.context.dwconv_h.weight.shape == (2, 1, 13, 1)
    fast = create_generator("nano", num_groups=4, num_blocks=6, fast_body_mode=True)
    assert (len(fast.body), len(fast.body[0].blocks)) == (2, 3)


def test_upsampler_alpha_sharpens_the_base():
    edge = torch.zeros(1, 3, 24, 24)
    edge[..., 12:] = 0.5
    bases = [create_generator("nano", upsampler_alpha=a, detail_gain=0.0)(edge) for a in (0.0, 0.5, 1.0)]
    overshoot = [base[..., 20:28, 20:28].max() for base in bases]
    assert overshoot[0] <= 0.5 + 1e-6
    assert overshoot[0] + 0.002 < overshoot[1] < overshoot[2] - 0.002


def test_detail_gain_scales_the_new_last_convolution():
    torch.manual_seed(1)
    weak = create_generator("nano", detail_gain=0.05)
    torch.manual_seed(1)
    strong = create_generator("nano", detail_gain=0.2)
    torch.testing.assert_close(weak.conv_out.weight * 4, strong.conv_out.weight)
    assert not weak.conv_out.bias.any()


@pytest.mark.parametrize("scale", [2, 3])
def test_new_upsampling_convolution_has_equal_phases(scale):
    up = create_generator("s", scale=scale).upsampler_net.up_conv
    phases = up.weight.unflatten(0, (-1, scale**2))
    assert torch.equal(phases, phases[:, :1].expand_as(phases))
    assert not up.bias.any()
    assert phases[:, 0].std() == pytest.approx((2 / (48 * 9)) ** 0.5, rel=0.05)  # kaiming normal


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"scale": 5}, "scale"),
        ({"num_feat": 0}, "num_feat"),
        ({"num_blocks": 0}, "num_blocks"),
        ({"band_kernel_size": 8}, "band_kernel_size"),
        ({"ffn_expansion": 0.0}, "ffn_expansion"),
        ({"colour": True}, "colour"),
    ],
)
def test_wrong_option_is_refused_by_name(wrong, named):
    with pytest.raises(InvalidInput, match=named):
        create_generator("nano", **wrong)


def test_unknown_variant_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInput, match=r"giant.*nano, micro, tiny"):
        create_generator("giant")


# float16 has 11 significant bits, and bfloat16 has 8; the errors of a few dozen roundings add up.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("name", ["nano_x2", "tiny_x4"])
def test_low_precision_is_close(name, dtype, tolerance):
    reference = golden(name)
    given, wanted = reference.pictures[0]
    out = reference.generator().to(dtype)(given.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), wanted, rtol=0, atol=tolerance)


def test_global_means_keep_float32_in_half_precision():
    """In half precision, the mean of a 1080p map of values near 100 would overflow: their sum is 2e8."""
    from vsparagon.models.paragonsr2 import GlobalMean

    wide = torch.full((1, 2, 1080, 1920), 100.0, dtype=torch.float16)
    assert torch.equal(GlobalMean()(wide), torch.full((1, 2, 1, 1), 100.0, dtype=torch.float16))


def test_channels_last_gives_the_same_picture(nano):
    model, (given, wanted) = nano.generator(), nano.pictures[0]
    model = model.to(memory_format=torch.channels_last)
    out = model(given.contiguous(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, wanted, rtol=0, atol=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("height", [128, 129, 130, 131, 258, 300])
def test_picture_made_in_strips_equals_the_whole(height):
    model = create_generator("micro", scale=3, use_attention=False)
    model.conv_out.weight.mul_(50)
    given = picture(height, 20)
    with torch.enable_grad():
        whole = model(given).detach()
    torch.testing.assert_close(model(given), whole, rtol=0, atol=GOLDEN_TOLERANCE)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_nano_as_published_takes_less_than_half_a_gigabyte_for_half_of_1080p():
    code = (
        "import torch; from vsparagon.models.generators import create_generator; torch.set_num_threads(2)\n"
        "def megabytes(name):\n"
        "    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith(name)) // 1000\n"
        "model = create_generator('nano').eval()\n"
        "torch.set_grad_enabled(False)\n"
        "model(torch.rand(1, 3, 64, 64))\n"
        # The memory of torch's libraries is subtracted, because it differs by half a gigabyte between machines.
        "before = megabytes('VmRSS')\n"
        "model(torch.rand(1, 3, 1080, 960))\n"
        # getrusage would return the peak of the parent process if that is higher.
        "print(megabytes('VmHWM') - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 500


def test_every_trained_parameter_receives_a_gradient():
    model = create_generator("tiny")
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(0.5)
    with torch.enable_grad():
        model(picture(36, 40)).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert without == []
    assert all(p.grad is None for n, p in model.named_parameters() if "magic" in n)


def test_table_of_variants_needs_no_torch():
    code = "import sys, vsparagon.models, vsparagon.models.variants; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("options", OPTIONS_THAT_COUNT, ids=str)
@pytest.mark.parametrize("variant", ["nano", "micro", "tiny", "s"])
def test_parameters_are_counted_without_torch(variant, options):
    model = create_generator(variant, **options)
    assert model.options.parameters == trained(model)


def test_counts_of_the_published_variants_without_torch():
    assert {name: options.parameters for name, options in VARIANTS.items()} == PARAMETERS
