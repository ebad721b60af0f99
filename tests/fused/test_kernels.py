"""Our own kernels for GPUs: in Triton's interpreter they give the same frames as torch's, and they compile."""

import copy
import gc
import importlib.util
import inspect
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the frame graph is a torch module")
triton = pytest.importorskip("triton", reason="the kernels are in Triton")

from frame_graphs import LAYOUTS, RGBS, YUV420, frame_of  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402
from triton.language import standard  # noqa: E402

from vsparagon.backends.torch.cuda import Attending, Eager, TorchCuda  # noqa: E402
from vsparagon.device.recorded import exact_convolutions  # noqa: E402
from vsparagon.fused import attention, attention_kernel, canvas, colours, features, kernels, support  # noqa: E402
from vsparagon.fused.executor import FusedExecutor  # noqa: E402
from vsparagon.fused.support import trouble_with_graph, trouble_with_triton  # noqa: E402
from vsparagon.geometry.tiling import exact_tiles  # noqa: E402
from vsparagon.lookup import find_model  # noqa: E402
from vsparagon.models.attention import LocalWindowAttention  # noqa: E402
from vsparagon.models.half import half_form  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.models.paragonsr2 import ParagonSR2  # noqa: E402
from vsparagon.models.swift import Swift  # noqa: E402
from vsparagon.pipelines.frame import network_of  # noqa: E402

GUARD = 4096  # elements on each side
# Compute capabilities of current GPUs, as 10 * major + minor.
GPUS = [80, 89, 90, 120]  # code for 8.6 is compiled like that for 8.9
SHARED = {80: 163, 89: 99, 90: 227, 120: 99}  # KiB of shared memory that a block may use


def randomised(network):
    """Add noise to all weights of a network, biases and slopes included, so that none is 0."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            spread = 0.5 / max(1, weight[0].numel() if weight.dim() > 1 else 4) ** 0.5
            weight += spread * torch.randn(weight.shape, generator=generator) if "scale" not in name else 0.1
    return network.eval()


def paragon(**options):
    usual = {"scale": 2, "num_feat": 12, "num_groups": 1, "num_blocks": 1, "ffn_expansion": 1.2, "band_kernel_size": 7}
    plain = {"use_channel_mod": False, "use_content_aware": False, "use_attention": False}
    return randomised(ParagonSR2(**(usual | plain | options)))


NETWORKS = {
    "swift": lambda: randomised(Swift(num_feat=16, num_layers=2, scale=2)),
    "swift without layers, narrow": lambda: randomised(Swift(num_feat=5, num_layers=0, scale=2)),
    "three times": lambda: randomised(Swift(num_feat=16, num_layers=1, scale=3)),
    "four times": lambda: randomised(Swift(num_feat=20, num_layers=1, scale=4)),
    "nano": paragon,
    "nano, four times": lambda: paragon(scale=4),
    "micro": lambda: paragon(num_feat=16, ffn_expansion=1.5, num_groups=2),
    "tiny": lambda: paragon(num_feat=24, ffn_expansion=1.5, band_kernel_size=9, use_norm=True, num_blocks=2),
    "no sharpening": lambda: paragon(upsampler_alpha=0.0, band_kernel_size=3),
}


@pytest.fixture(autouse=True)
def the_same_weights_every_time():
    """Initial weights are random, and float16 is less exact with some weights than with others."""
    torch.manual_seed(0)


@pytest.fixture
def interpreted(monkeypatch):
    """Run the kernels on the CPU, in copies of their modules that are made for Triton's interpreter."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    users = {kernels: (canvas, colours, features), attention_kernel: (attention,)}
    for original, modules in users.items():
        name = original.__name__.rpartition(".")[2]
        spec = importlib.util.spec_from_file_location(f"interpreted_{name}", original.__file__)
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        made.add, made._larger = standard._sum_combine, standard._elementwise_max  # the interpreter's versions
        for module in modules:
            monkeypatch.setattr(module, name, made)


def noise(frame, device="cpu"):
    generator = torch.Generator().manual_seed(1)
    planes = {}
    for name, (shape, dtype) in zip(("plane0", "plane1", "plane2"), frame.inputs(), strict=False):
        if dtype == torch.uint8:
            planes[name] = torch.randint(256, shape, dtype=dtype, generator=generator)
            if len(shape) == 3:
                planes[name][..., 1] >>= 16 - frame.source.bits
        else:
            planes[name] = torch.rand(shape, generator=generator).to(dtype)
        planes[name] = planes[name].to(device)
    return planes


def room(frame, device="cpu"):
    shapes = zip(("result0", "result1", "result2"), frame.outputs(), strict=False)
    return {name: torch.zeros(shape, dtype=dtype, device=device) for name, (shape, dtype) in shapes}


def parts(planes, layout):
    """Return samples as shares of the full range."""
    arrays = [plane.cpu().numpy() for plane in planes]
    peak = 1 if layout.is_float else (1 << layout.bits) - 1
    return [(a.view("<u2")[..., 0] if a.ndim == 3 else a).astype(np.float64) / peak for a in arrays]


def differences(frame, executor, reference, device="cpu"):
    """Run an executor and the reference on noise, and return the largest and the mean difference, of full range."""
    planes, results = noise(frame, device), room(frame, device)
    executor(frame, planes, results).enqueue()
    with torch.inference_mode():
        expected = reference(list(noise(reference).values()))
    pairs = zip(parts(results.values(), frame.target), parts(expected, frame.target), strict=True)
    every = np.concatenate([np.abs(a - b).ravel() for a, b in pairs])
    return every.max(), every.mean()


def assert_near(frame, reference, device="cpu"):
    """Assert that our kernels are about as close to the network in float32 as torch's kernels in float16."""
    largest, mean = differences(frame, FusedExecutor, reference, device)
    with exact_convolutions():
        theirs = differences(frame, Eager, reference, device)
    step = 0 if frame.target.is_float else 1 / ((1 << frame.target.bits) - 1)
    assert largest <= 2 * theirs[0] + step
    assert mean <= 1.2 * theirs[1] + step / 50


def both(network, source=YUV420, target=None, size=(16, 16)):
    """A frame graph in float16, and in float32."""
    half, full = half_form(network), inference_form(network)
    full.scale = half.scale
    return frame_of(half, source, target, size), frame_of(full, source, target, size)


# Channels, and (height, width) with whole and with cropped windows, one or several in each direction.
ATTENTIONS = [(14, (32, 32)), (14, (40, 73)), (48, (56, 33))]


def attended(channels, size, device="cpu"):
    """Return the attention to noise by our kernel, by torch, and by torch in float32."""
    generator = torch.Generator().manual_seed(5)
    module = LocalWindowAttention(channels).eval().requires_grad_(False)
    for weight in module.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5)
    for conv in (module.query, module.key):
        conv.weight.mul_(4)  # so that the softmax is far from a plain mean
    x = torch.randn(1, channels, *size, generator=generator)
    with torch.inference_mode():
        exact = module(x)
        half = copy.deepcopy(module).half().to(device)
        given = x.half().to(device, memory_format=torch.channels_last)
        ours, torchs = (way(given).cpu().float() for way in (attention.FusedWindowAttention(half), half))
    return ours, torchs, exact


# The tests on a GPU come first, because Triton 3.2 cannot use a GPU after its interpreter has run.


@pytest.mark.needs_cuda
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_on_a_gpu_the_kernels_give_frames_of_any_format(layout):
    frame, reference = both(NETWORKS["nano"](), layout, size=(180, 320))
    assert trouble_with_triton(torch.device("cuda:0")) == ""
    assert_near(frame.to("cuda:0"), reference, "cuda:0")


@pytest.mark.needs_cuda
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_on_a_gpu_the_kernels_compute_any_network_of_the_kind(network):
    frame, reference = both(network(), RGBS, size=(181, 323))
    assert_near(frame.to("cuda:0"), reference, "cuda:0")


@pytest.mark.needs_cuda
@pytest.mark.parametrize(("channels", "size"), ATTENTIONS)
def test_on_a_gpu_attention_is_as_torch_computes_it(channels, size):
    ours, torchs, exact = attended(channels, size, "cuda:0")
    assert (ours - exact).abs().mean() <= 1.2 * (torchs - exact).abs().mean() + 1e-5
    assert (ours - exact).abs().max() <= 2 * (torchs - exact).abs().max() + 1e-3


@pytest.mark.needs_cuda
def test_on_a_gpu_a_network_with_attention_gives_the_frames_of_torch():
    frame, reference = both(paragon(use_attention=True), size=(60, 80))
    frame = frame.to("cuda:0")
    ours, torchs = (differences(frame, executor, reference, "cuda:0") for executor in (Attending, Eager))
    assert ours[0] <= 2 * torchs[0] + 1 / 255
    assert ours[1] <= 1.2 * torchs[1] + 1 / 12750


# In Triton's interpreter.


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_kernels_give_frames_of_any_format(layout, interpreted):
    assert_near(*both(NETWORKS["swift without layers, narrow"](), layout))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_kernels_compute_any_network_of_the_kind(network, interpreted):
    assert_near(*both(network(), RGBS))


def test_a_frame_of_several_programs_each_way_and_of_odd_size(interpreted):
    assert_near(*both(NETWORKS["swift without layers, narrow"](), RGBS, size=(45, 61)))


@pytest.mark.parametrize(("channels", "size"), ATTENTIONS)
def test_attention_is_as_torch_computes_it(channels, size, interpreted, monkeypatch):
    for name in ("QUERIES", "KEYS"):  # fewer steps, which are slow in the interpreter
        monkeypatch.setattr(attention, name, 512)
    ours, torchs, exact = attended(channels, size)
    assert exact.std() > 0.5
    assert (ours - exact).abs().mean() <= 1.2 * (torchs - exact).abs().mean() + 1e-5
    assert (ours - exact).abs().max() <= 2 * (torchs - exact).abs().max() + 1e-3


def test_all_attention_of_a_network_is_taken(monkeypatch):
    frame = frame_of(half_form(paragon(use_attention=True, num_blocks=2)))
    taken = attention.with_fused_attention(frame)
    assert sum(isinstance(part, attention.FusedWindowAttention) for part in taken.network.modules()) == 2
    assert not any(isinstance(part, attention.FusedWindowAttention) for part in frame.network.modules())
    assert attention.has_fitting_attention(frame)
    assert not attention.has_fitting_attention(frame_of(half_form(paragon())))
    assert not attention.has_fitting_attention(frame_of(inference_form(paragon(use_attention=True))))
    frame.extension = replace(frame.extension, extended_height=9000, extended_width=9000)
    assert not attention.has_fitting_attention(frame), "the windows would have too many elements"


@pytest.mark.parametrize("size", [(2, 2), (2, 8), (14, 4)])
def test_the_smallest_frames(size, interpreted):
    assert_near(*both(NETWORKS["nano"](), RGBS, size=size))
    frame, reference = both(NETWORKS["nano"](), size=size)
    largest, _ = differences(frame, FusedExecutor, reference)
    assert largest <= 1.01 / 255  # too few samples for a mean


@pytest.mark.parametrize(("source", "target"), [(YUV420, RGBS), (RGBS, YUV420), (LAYOUTS["GRAY16"], LAYOUTS["RGB24"])])
def test_another_format_may_come_out(source, target, interpreted):
    assert_near(*both(NETWORKS["swift without layers, narrow"](), source, target))


def test_borders_stay_zero_and_features_are_used_again(interpreted, monkeypatch):
    made = []
    original = canvas.Canvas.features

    def spy(self, channels):
        made.append((self, original(self, channels)))
        return made[-1][1]

    monkeypatch.setattr(canvas.Canvas, "features", spy)
    frame = frame_of(half_form(NETWORKS["micro"]()), RGBS, size=(17, 19))
    FusedExecutor(frame, noise(frame), room(frame)).enqueue()
    assert sorted(tensor.shape[-1] for _, tensor in made) == [4, 16, 16, 16, 32]
    for place, tensor in made:
        inside = slice(place.border, place.border + place.height), slice(place.border, place.border + place.width)
        assert tensor[inside].count_nonzero() > 0
        tensor[inside] = 0
        assert tensor.count_nonzero() == 0


@pytest.mark.parametrize("network", ["swift", "tiny"])
def test_no_kernel_looks_beyond_its_memory(network, interpreted, monkeypatch):
    def guarded(make):
        def made(self, *channels):
            tensor = make(self, *channels)
            around = torch.full((tensor.numel() + 2 * GUARD,), torch.nan, dtype=tensor.dtype)
            return around[GUARD:-GUARD].view(tensor.shape).zero_()

        return made

    for name in ("features", "picture"):
        monkeypatch.setattr(canvas.Canvas, name, guarded(getattr(canvas.Canvas, name)))
    frame = frame_of(half_form(NETWORKS[network]()), RGBS, size=(17, 19))
    results = room(frame)
    FusedExecutor(frame, noise(frame), results).enqueue()
    assert all(plane.isfinite().all() for plane in results.values())


def test_executors_of_one_lane_share_memory_and_do_not_disturb_each_other(interpreted):
    network = half_form(NETWORKS["swift"]())
    layouts = [YUV420, replace(YUV420, matrix=9, full=True, chroma_location=2)]
    frames = [frame_of(network, layout) for layout in layouts]
    planes, memory = noise(frames[0]), canvas.Room()
    alone, together = [room(frame) for frame in frames], [room(frame) for frame in frames]
    for frame, results in zip(frames, alone, strict=True):
        FusedExecutor(frame, planes, results).enqueue()
    executors = []
    for frame, results in zip(frames, together, strict=True):
        taken = len(memory._tensors)
        executors.append(FusedExecutor(frame, planes, results, memory))
    assert len(memory._tensors) == taken > 5, "the later executors must not need more"
    for executor in executors * 2:
        executor.enqueue()
    for expected, results in zip(alone, together, strict=True):
        assert all(torch.equal(results[name], expected[name]) for name in expected)
    assert not all(torch.equal(alone[0][name], alone[1][name]) for name in alone[0])


def test_memory_of_a_lane_goes_with_it(interpreted):
    backend, frame = TorchCuda("cpu", "a stand-in"), frame_of(half_form(NETWORKS["nano"]()))
    planes = noise(frame)
    executors = [backend._fused(frame, planes, room(frame)) for _ in range(2)]
    assert len(backend._rooms) == 1
    del executors, planes
    gc.collect()
    assert len(backend._rooms) == 0


def test_a_second_frame_is_computed_like_the_first(interpreted):
    frame = frame_of(half_form(NETWORKS["swift"]()))
    planes, results = noise(frame), room(frame)
    executor = FusedExecutor(frame, planes, results)
    executor.enqueue()
    first = {name: plane.clone() for name, plane in results.items()}
    before = planes["plane0"].clone()
    planes["plane0"].fill_(90)
    executor.enqueue()
    assert not torch.equal(results["result0"], first["result0"])
    planes["plane0"].copy_(before)
    executor.enqueue()
    assert all(torch.equal(results[name], first[name]) for name in results)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (lambda: inference_form(paragon()), "ours compute only in float16"),
        (lambda: half_form(paragon(use_attention=True)), "ours do not support attention or channel modulation"),
        (lambda: half_form(paragon(use_channel_mod=True)), "ours do not support attention or channel modulation"),
        (lambda: half_form(paragon(use_content_aware=True)), "ours do not support gain of the whole frame"),
        (lambda: half_form(paragon(band_kernel_size=13)), "ours do not support kernels of more than 11 pixels"),
        (lambda: half_form(paragon(num_feat=40)), "ours do not support features of 48 channels"),
        (lambda: half_form(Swift(num_feat=16, num_layers=0, scale=8)), "ours do not support features of 192 channels"),
    ],
)
def test_what_the_kernels_cannot_do_is_said(network, reason):
    network = network()
    network.scale = getattr(network, "scale", 2)
    assert trouble_with_graph(frame_of(network)) == reason


def test_tiles_and_frames_too_large_are_left_to_torch(monkeypatch):
    frame = frame_of(half_form(NETWORKS["nano"]()))
    assert trouble_with_graph(frame) == ""
    frame.extension = replace(frame.extension, extended_height=9000, extended_width=9000)
    assert trouble_with_graph(frame) == "the frame is too large for ours"
    frame.tiles = (exact_tiles(16, 32, reach=4, count=2), exact_tiles(16, 32, reach=4, count=1))
    assert trouble_with_graph(frame) == "ours run only on whole frames"
    monkeypatch.setattr(support, "find_spec", lambda name: None)
    assert trouble_with_graph(frame) == "the package triton is not installed"


@pytest.mark.parametrize("variant", ["nano", "micro", "tiny", "swift_lite", "swift", "swift_plus"])
def test_the_bundled_networks_are_of_the_kind(variant):
    model = find_model(variant=variant)
    assert trouble_with_graph(frame_of(network_of(model, "fp16"))) == ""


TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.uint8: "*u8", torch.uint16: "*u16", torch.int32: "*i32"}


@pytest.mark.skipif(
    "constexprs" not in inspect.signature(ASTSource).parameters, reason="this Triton has another interface"
)
@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("channels", [14, 96])
def test_attention_compiles_and_needs_no_more_than_a_gpu_has(channels, gpu, monkeypatch):
    seen = []

    class Kernel:
        def __getitem__(self, grid):
            return lambda *arguments, num_warps, **constants: seen.append((arguments, constants, num_warps))

    monkeypatch.setattr(attention, "attention_kernel", SimpleNamespace(attend=Kernel()))
    with torch.inference_mode():
        attention.FusedWindowAttention(LocalWindowAttention(channels).half())(torch.zeros(1, channels, 48, 64).half())
    ((arguments, constants, warps),) = seen
    result = compiled(attention_kernel.attend, arguments, constants, warps, gpu)
    assert result.metadata.shared <= SHARED[gpu] << 10
    assert not misuses_the_stack(result)


def misuses_the_stack(result):
    """Return whether machine code uses the stack pointer although it has no stack, as ptxas 12.8 once made it."""
    code = result.asm["sass"]
    return not re.search(r"\b(LDL|STL)\b", code) and len(re.findall(r"\bR1\b", code)) > 1


def compiled(kernel, arguments, constants, warps, gpu):
    """Compile a kernel for a GPU that need not be there, with what Triton would find out about the arguments."""
    signature, fixed, attributes = {}, {}, {}
    for index, name in enumerate(kernel.arg_names):
        value = constants[name] if name in constants else arguments[index]
        if name in constants or value is True or (isinstance(value, int) and value == 1):
            signature[name], fixed[index,] = "constexpr", value
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            signature[name] = TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32"
            if isinstance(value, torch.Tensor) or value % 16 == 0:
                attributes[index,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs=fixed, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", gpu, 32), options={"num_warps": warps})


def launched(monkeypatch, frame):
    """Return the kernel launches for a frame."""
    seen = []

    def launch(self, kernel, *arguments, shape, size=None, layers=1, **constants):
        seen.append((kernel, arguments, constants | {"ROWS": shape.rows}, shape.warps))

    monkeypatch.setattr(canvas.Canvas, "launch", launch)
    FusedExecutor(frame, noise(frame), room(frame))
    return seen


@pytest.mark.skipif(
    "constexprs" not in inspect.signature(ASTSource).parameters, reason="this Triton has another interface"
)
@pytest.mark.parametrize(
    ("name", "layout", "gpu"),
    [*(("tiny", "YUV420P10, chroma top left", gpu) for gpu in GPUS), ("four times", "YUV420PH", 90)],
)
def test_the_kernels_compile_and_need_no_more_than_a_gpu_has(name, layout, gpu, monkeypatch):
    frame = frame_of(half_form(NETWORKS[name]()), LAYOUTS[layout], size=(48, 64))
    for kernel, arguments, constants, warps in launched(monkeypatch, frame):
        result = compiled(kernel, arguments, constants, warps, gpu)
        assert result.metadata.shared <= SHARED[gpu] << 10, kernel.__name__
        assert not misuses_the_stack(result), f"{kernel.__name__} is compiled wrongly"
        waits = result.asm["ptx"].count("bar.sync")
        assert waits <= 32, f"{kernel.__name__} passes every tap through shared memory"
