"""The backends agree with each other and with the published network, and the bundled graphs with their weights."""

import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
from clips import photograph

from vsparagon import InvalidInput, Upscaler
from vsparagon.backends import ON_CPU, choose_backend
from vsparagon.choice import make_choice
from vsparagon.geometry.extension import extension_for
from vsparagon.lookup import find_model
from vsparagon.models.bundled import bundled_models
from vsparagon.models.checkpoint import load_generator

# In float32, another order of summation makes a difference of a few 1e-6; 1e-3 is a quarter of an 8-bit step.
TOLERANCE = 1e-3
MODELS = {model.name: model for model in bundled_models()}


@cache
def published(model, size):
    """Run the network in its published form by torch, on the extended photograph. Every backend must give the same."""
    picture = photograph(*size).astype(np.float32) / 255
    extension = extension_for(*picture.shape[:2])
    extended = np.zeros((1, 3, extension.extended_height, extension.extended_width), np.float32)
    extension.picture(extended)[0] = picture.transpose(2, 0, 1)
    extension.fill(extended)
    with torch.no_grad():
        result = load_generator(model.checkpoint)(torch.from_numpy(extended)).numpy()
    return extension.picture(result, model.scale)[0].transpose(1, 2, 0)


def test_nano_and_micro_are_bundled():
    assert {"nano x2 clean", "micro x2 clean"} <= set(MODELS)


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("size", [(45, 67), (120, 160)], ids=str)
def test_backend_gives_the_published_network(model, backend, size):
    variant, scale, profile = model.name.split()
    picture = photograph(*size).astype(np.float32) / 255
    upscaler = Upscaler(variant, int(scale[1:]), profile=profile, backend=backend, precision="fp32")
    expected = published(model, size)
    difference = np.abs(upscaler(picture) - expected).max()
    assert difference < TOLERANCE
    enlarged = picture.repeat(model.scale, 0).repeat(model.scale, 1)
    assert np.abs(expected - enlarged).max() > 50 * TOLERANCE, "the network must do more than repeat pixels"


@pytest.mark.needs_bf16
@pytest.mark.parametrize("variant", ["nano", "swift"])
def test_bf16_stays_near_float32(variant):
    picture = photograph(120, 160).astype(np.float32) / 160 - 0.3  # beyond 0 and 1, too
    exact, ours = (Upscaler(variant, backend="openvino", precision=p)(picture) for p in ("fp32", "bf16"))
    difference = np.abs(ours - exact)
    assert difference.max() < 0.03
    assert difference.mean() < 0.002


def test_bf16_is_refused_where_the_processor_has_none(monkeypatch):
    """OpenVINO itself would compute in float32."""
    monkeypatch.setattr("vsparagon.backends.openvino.cpu.computes_bfloat16", lambda: False)
    with pytest.raises(InvalidInput, match="precision is 'bf16', but this processor does not compute in bf16; leave"):
        Upscaler("nano", backend="openvino", precision="bf16")


def test_bf16_differs_from_float32_or_is_refused():
    picture = photograph(40, 56).astype(np.float32) / 255
    exact = Upscaler("swift", backend="openvino", precision="fp32")(picture)
    try:
        ours = Upscaler("swift", backend="openvino", precision="bf16")(picture)
    except InvalidInput:
        return
    assert np.abs(ours - exact).max() > 1e-4


def test_networks_that_differ_in_weights_alone_are_kept_apart(tmp_path):
    """OpenVINO 2025.4 alone does not tell them apart: the second network gave the result of the first."""
    picture = photograph(40, 56)
    clean, compressed = (
        Upscaler("swift", profile=profile, backend="openvino", cache=str(tmp_path))(picture)
        for profile in ("clean", "compressed")
    )
    assert np.any(clean != compressed)
    assert len(list(tmp_path.glob("openvino-*/*/*.blob"))) == len(list(tmp_path.glob("openvino-*/*"))) == 2


def test_compiled_networks_of_many_sizes_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr("vsparagon.backends.openvino.cpu.MOST_BLOBS", 3)
    upscaler = Upscaler("swift_lite", backend="openvino", cache=str(tmp_path))
    for width in range(20, 25):
        before = set(tmp_path.glob("openvino-*/*/*.blob"))
        upscaler(photograph(16, width))
        after = set(tmp_path.glob("openvino-*/*/*.blob"))
        assert len(after - before) == 1, "the latest is kept"
        assert len(after) == min(len(before) + 1, 3)


def test_integer_pictures_are_the_rounded_float_ones():
    picture = photograph(48, 64)
    exact = Upscaler()(picture.astype(np.float32) / 255)
    for dtype, peak in ((np.uint8, 255), (np.uint16, 65535)):
        wide = (picture.astype(np.uint32) * (peak // 255)).astype(dtype)
        result = Upscaler()(wide)
        assert result.dtype == dtype
        assert np.abs(result / peak - exact.clip(0, 1)).max() <= 0.51 / peak + 1e-5


def test_upscaler_takes_pictures_of_changing_size():
    upscaler = Upscaler()
    for height, width in ((32, 48), (48, 32), (48, 32), (17, 16)):
        picture = photograph(height, width)
        assert (upscaler(picture) == Upscaler()(picture)).all()
        assert upscaler(picture).shape == (2 * height, 2 * width, 3)


def test_auto_chooses_openvino_on_a_cpu_and_says_so(caplog):
    assert choose_backend("auto").name == "openvino"
    with caplog.at_level("INFO"):
        Upscaler(cache="")
    assert "nano x2 clean on openvino, fp32" in caplog.text


def test_runtime_stays_within_the_threads_given():
    choice = make_choice(find_model(), threads=1)
    assert (choice.options.threads, choice.options.streams) == (1, 1)
    assert make_choice(find_model(), num_streams=64).options.streams == 64
    assert str(choice).endswith(", 1 thread, 1 frame at once")


@pytest.mark.parametrize("backend", ON_CPU)
def test_border_is_as_good_as_the_middle(backend):
    flat = np.full((40, 56, 3), 0.7, np.float32)
    result = Upscaler(backend=backend)(flat)
    assert np.abs(result - result[40, 56]).max() < 2e-3, "a flat picture must not get a darker edge"


def test_zero_padding_alone_would_darken_the_border():
    model = find_model()
    with torch.no_grad():
        result = load_generator(model.checkpoint)(torch.full((1, 3, 40, 56), 0.7))
    assert (result[..., 0, :] < 0.6).all(), "this is what pictures are extended for"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_interrupt_arrives_after_filters_that_ended_in_the_order_they_began():
    code = """
import gc, signal
import vapoursynth as vs
blank = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=64)
clips = [blank.paragon.Upscale(backend="openvino") for _ in "ab"]
for clip in clips:
    clip.get_frame(0).close()
del clip
while clips:
    clips.pop(0)
    gc.collect()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


REPORTS = ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")


@pytest.mark.skipif(sys.platform != "linux", reason="only for Linux is it known where the number would be kept")
def test_onnxruntime_neither_reports_nor_numbers_the_machine(tmp_path):
    code = (
        "import vapoursynth as vs; clip = vs.core.std.BlankClip(None, 64, 48, vs.YUV420P8, 1);"
        "vs.core.paragon.Upscale(clip, backend='onnxruntime').get_frame(0);"
        "import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    kept = {name: value for name, value in os.environ.items() if name not in REPORTS and not name.startswith("GITHUB")}
    environment = kept | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".cache"]
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["vsparagon"]
