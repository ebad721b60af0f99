"""Bad input: one clear line that says what was given, what is needed and what to do."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import vapoursynth as vs
from clips import clip_of, photograph

import vsparagon
from vsparagon import Upscaler, backends
from vsparagon.arguments import target_of
from vsparagon.backends.onnxruntime import OnnxRuntime
from vsparagon.backends.openvino.library import _import_trouble, import_trouble
from vsparagon.cli import main
from vsparagon.lookup import find_model
from vsparagon.models.bundled import describe

EIGHTHS = vs.core.core.query_video_format(vs.YUV, vs.INTEGER, 8, 3, 0).id  # chroma of an eighth of the width


def good() -> vs.VideoNode:
    return clip_of([photograph(40, 56)] * 2, vs.YUV420P8, matrix=1)


def varying_format() -> vs.VideoNode:
    return vs.core.core.std.Splice([good(), good().resize.Point(format=vs.YUV444P8)], mismatch=True)


def varying_size() -> vs.VideoNode:
    return vs.core.core.std.Splice([good(), good().resize.Point(64, 64)], mismatch=True)


CLIPS = {
    "varying format": (varying_format, "the clip has variable format; convert it to one format"),
    "varying size": (varying_size, "the clip has variable size; resize it to one size"),
    "interlaced": (
        lambda: good().std.SetFieldBased(1),
        "interlaced (_FieldBased is not 0); deinterlace the clip first",
    ),
    "32-bit integer": (
        lambda: vs.core.core.std.BlankClip(format=vs.GRAY32),
        "the clip is Gray32, 32-bit integer; convert it to 16-bit integer or to float first",
    ),
    "matrix nobody knows": (
        lambda: good().std.SetFrameProps(_Matrix=11),
        "(_Matrix = 11) is not one the resizer knows",
    ),
    "location nobody knows": (
        lambda: good().std.SetFrameProps(_ChromaLocation=9),
        "_ChromaLocation is 9; it must be 0",
    ),
    "property of another type": (
        lambda: good().std.SetFrameProps(_Matrix=[1, 2]),
        "the frame property _Matrix is [1, 2]; it must be one integer",
    ),
    "matrix that needs more": (
        lambda: good().std.SetFrameProps(_Matrix=14, _Transfer=2),
        "the matrix ictcp needs matching transfer and primaries",
    ),
    "chroma coarser than the resizer converts": (
        lambda: vs.core.core.std.BlankClip(format=EIGHTHS),
        "the clip is YUVssw3ssh0P8; VapourSynth's resizer cannot convert chroma that is subsampled more than 4 times",
    ),
    "YUV tagged as RGB": (lambda: good().std.SetFrameProps(_Matrix=0), "the frame is YUV but its matrix is RGB"),
}


def names(**parts):
    """Return the bundled networks of a variant or a scale, as messages list them."""
    (wanted,) = parts.values()
    return ", ".join(name for name in describe() if wanted in name.split())


ARGUMENTS = [
    ({"variant": "giant"}, "unknown variant 'giant'; the variants are nano, micro, tiny"),
    ({"variant": "xl"}, f"no weights are bundled for xl x2 clean (bundled: {names(scale='x2')}); choose one of these, "
     "or give a file of your own as model="),
    ({"variant": "tiny", "profile": "compressed"}, f"tiny x2 compressed (bundled: {names(variant='tiny')}); "),
    ({"scale": 5}, "scale is 5; it must be one of 2, 3, 4."),
    ({"scale": -(2**40)}, "scale is -1099511627776; it must be one of"),
    ({"scale": 8}, "scale is 8; it must be one of 2, 3, 4."),
    ({"profile": "dirty"}, "unknown profile 'dirty'; the profiles are clean, compressed"),
    ({"backend": "abacus"}, "unknown backend 'abacus'; the backends are auto, openvino, onnxruntime, torch"),
    ({"device_id": 3}, "device_id is 3; the backend 'openvino' runs on the CPU and has only device 0"),
    ({"precision": "fp8"}, "precision is 'fp8'; the backend 'openvino' supports auto, fp32, bf16"),
    ({"precision": "bf16", "backend": "onnxruntime"}, "the backend 'onnxruntime' supports auto, fp32"),
    ({"width": -1}, "width is -1; it must be between 0 (default) and 65536"),
    ({"height": 2**62}, "height is 4611686018427387904; it must be between 0 (default) and 65536"),
    ({"width": 101, "height": 80}, "the result would be 101x80, but YUV420P8 needs a width divisible by 2 and a "
     "height divisible by 2; give another width= or height=, such as those of 102x80"),
    ({"width": 60000, "height": 60000}, "the result of 60000x60000 has more than the 268435456 pixels"),
    ({"memory_mb": 1}, "memory_mb is 1; the smallest tiles need"),
    ({"format": 12345}, "format is 12345, which is not a video format"),
    ({"format": -1}, "format is -1, which is not a video format"),
    ({"format": vs.GRAY32}, "format is Gray32; give one of up to 16-bit integer, half or float"),
    ({"format": EIGHTHS}, "format is YUVssw3ssh0P8; VapourSynth's resizer cannot convert chroma that is subsampled"),
    ({"matrix": "chromacl", "format": vs.RGB24}, "the matrix chromacl needs matching transfer"),
    ({"matrix": "2020cl"}, "the clip's colours cannot be converted (Resize error"),
    ({"matrix": "rgb"}, 'matrix is "rgb", which is not the matrix of a YUV or GRAY clip; give one such as "709"'),
    ({"matrix": "rgb", "format": vs.RGB24}, 'matrix is "rgb", which is not the matrix of a YUV or GRAY clip'),
    ({"matrix": "601ish"}, "unknown matrix '601ish'; use one of rgb, 709"),
    ({"chroma": "bicubic"}, "chroma is 'bicubic'; it must be one of network, resizer"),
    ({"num_streams": -2}, "num_streams is -2; it must be between 0 (default) and 64"),
    ({"num_streams": 65}, "num_streams is 65; it must be between 0 (default) and 64"),
    ({"cache": f"{__file__}{os.sep}here"}, f"the cache folder {__file__}{os.sep}here cannot be created"),
    ({"model": "nowhere.onnx"}, "the model file nowhere.onnx cannot be read (No such file or directory)"),
    ({"model": "net.onnx", "variant": "nano"}, "variant is 'nano', which chooses a bundled network, and model is 'net"),
    ({"model": "net.onnx", "profile": "clean"}, "profile is 'clean', which chooses a bundled network, and model is"),
    (
        {"memory_mb": 90, "tilesize": 64},
        "memory_mb is 90 and tilesize is 64x64; both set the size of the tiles, so give only one of them",
    ),
    ({"model": b"caf\xe9.onnx"}, "the model file caf?.onnx cannot be read (No such file or directory)"),
    ({"model": "a\0b.onnx"}, "the model file a\\0b.onnx cannot be read (embedded null "),
    ({"tilesize": [40]}, "tilesize is 40x40; each side must be at least 64"),
    ({"tilesize": [64, 64, 64]}, "tilesize is [64, 64, 64]; give width and height, or one number for both"),
    ({"overlap": [8, 8]}, "overlap is 8x8, but there is no tilesize; give tilesize=, too"),
    ({"memory_mb": -5}, "memory_mb is -5; it must be 0 (default) or more"),
]  # fmt: skip


def test_clip_whose_enlargement_no_frame_could_hold():
    large = vs.core.core.std.BlankClip(width=8192, height=4096, format=vs.GRAY8)
    with pytest.raises(vsparagon.InvalidInput, match="the network's output of 24576x12288 has more than the 268435456"):
        vsparagon.upscale(large, scale=3, width=64, height=64)
    most = target_of(vs.core.core.std.BlankClip(width=8192, height=8192), scale=2, width=0, height=0, format_id=0)
    assert most.width * most.height == 268435456


def test_enlargement_whose_size_the_format_cannot_have():
    odd = vs.core.core.std.BlankClip(width=16, height=15, format=vs.RGB24)
    with pytest.raises(vsparagon.InvalidInput, match=r"the result would be 48x45, .* such as those of 48x46"):
        vsparagon.upscale(odd, scale=3, format=vs.YUV420P8)


def test_matrix_that_the_result_cannot_have():
    with pytest.raises(vsparagon.InvalidInput, match="the matrix 2020cl needs matching transfer and primaries"):
        vsparagon.upscale(clip_of([photograph(40, 56)]), format=vs.YUV420P8, matrix="2020cl")


@pytest.mark.parametrize(("make", "message"), CLIPS.values(), ids=CLIPS)
def test_clip_that_cannot_be_used(make, message):
    with pytest.raises(vs.Error) as caught:
        vs.core.core.paragon.Upscale(make())
    text = str(caught.value)
    assert text.startswith("paragon.Upscale: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS, ids=[str(a) for a, _ in ARGUMENTS])
def test_argument_that_cannot_be_used(arguments, message):
    with pytest.raises(vs.Error) as caught:
        vs.core.core.paragon.Upscale(good(), **arguments)
    text = str(caught.value)
    assert text.startswith("paragon.Upscale: ")
    assert message in text
    assert "\n" not in text


def test_empty_names_and_zeros_mean_choose():
    empty = {"backend": "", "precision": "", "tilesize": 0, "overlap": 0}
    chosen, left_out = (vs.core.core.paragon.Upscale(good(), **arguments) for arguments in (empty, {}))
    assert np.array_equal(np.asarray(chosen.get_frame(0)[0]), np.asarray(left_out.get_frame(0)[0]))


def test_audio_is_refused():
    with pytest.raises(vs.Error, match="expected vnode compatible type but got AudioNode"):
        vs.core.core.paragon.Upscale(vs.core.core.std.BlankAudio())
    with pytest.raises(vsparagon.InvalidInput, match="the clip is AudioNode; give a video clip"):
        vsparagon.upscale(vs.core.core.std.BlankAudio())


def test_backend_that_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setattr("vsparagon.extras.find_spec", lambda name: None)
    with pytest.raises(vs.Error, match=r'not installed; pip install "vsparagon\[onnxruntime\]"'):
        vs.core.core.paragon.Upscale(good(), backend="onnxruntime")
    assert any(line.startswith("onnxruntime: onnxruntime is not installed") for line in vs.core.core.paragon.Backends())


def test_openvino_that_cannot_be_loaded_anywhere_is_named(monkeypatch):
    def fail():
        raise ImportError("Check 'versions_compatible' failed\nOpenVINO Python version mismatches")

    monkeypatch.setattr("vsparagon.backends.openvino.library.import_openvino", fail)
    monkeypatch.setattr("vsparagon.backends.openvino.library._import_trouble", _import_trouble.__wrapped__)
    monkeypatch.setattr("vsparagon.backends.openvino.trouble_in_worker", import_trouble)
    with pytest.raises(vs.Error, match=r"openvino cannot be imported \(OpenVINO Python version mismatches\)"):
        vs.core.core.paragon.Upscale(good(), backend="openvino")
    assert backends.choose_backend("auto").name != "openvino"
    graph = str(find_model().graph)
    with pytest.raises(vs.Error, match=r"nano_x2_clean\.onnx is read by OpenVINO on every backend, and openvino"):
        vs.core.core.paragon.Upscale(good(), backend="onnxruntime", model=graph)


def test_no_backend_at_all_lists_what_is_missing(monkeypatch):
    class Missing(OnnxRuntime):
        def missing(self) -> str:
            return "not installed"

    monkeypatch.setattr(backends, "RUNTIMES", {"onnxruntime": Missing()})
    monkeypatch.setattr(backends, "ON_CPU", ("onnxruntime",))
    with pytest.raises(vsparagon.BackendUnavailable, match="no backend can be used: onnxruntime: not installed"):
        vsparagon.upscale(good())


def test_weights_that_cannot_be_read(monkeypatch, tmp_path):
    bundled = vsparagon.models.bundled.WEIGHTS / "nano_x2_clean.safetensors"
    monkeypatch.setattr("vsparagon.models.bundled.WEIGHTS", tmp_path)
    with pytest.raises(vs.Error, match="no weights are bundled"):
        vs.core.core.paragon.Upscale(good())
    shutil.copy(bundled, tmp_path)
    broken = tmp_path / "nano_x2_clean.onnx"
    for backend in ("openvino", "onnxruntime"):
        with pytest.raises(vs.Error, match=r"(?s)refused nano x2 clean: .*nano_x2_clean\.onnx"):
            vs.core.core.paragon.Upscale(good(), backend=backend)
    broken.write_bytes(b"not a graph")
    for backend in ("openvino", "onnxruntime"):
        with pytest.raises(vs.Error, match=r"refused nano x2 clean"):
            vs.core.core.paragon.Upscale(good(), backend=backend)


@pytest.mark.parametrize(
    "picture", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 4), np.uint8), np.zeros((40, 40, 3), np.float64)]
)
def test_picture_of_another_kind(picture):
    with pytest.raises(
        vsparagon.InvalidInput, match=r"give height,width,3 or height,width,1 of uint8, uint16 or float32"
    ):
        Upscaler()(picture)


def test_picture_that_would_become_too_large():
    large = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 15_000, 3))
    with pytest.raises(vsparagon.InvalidInput, match="the result of 30000x40000 has more than the 268435456 pixels"):
        Upscaler()(large)


def test_failing_backend_shows_at_the_frame_and_the_clip_goes_on(monkeypatch):
    result = vsparagon.upscale(good())
    from vsparagon.pipelines.picture import PicturePipeline

    def fail(self, source, target):
        raise vsparagon.BackendFailure("the network burst")

    monkeypatch.setattr(PicturePipeline, "enlarge", fail)
    failing = vsparagon.upscale(good())
    with pytest.raises(vs.Error, match="the network burst"):
        failing.get_frame(0)
    monkeypatch.undo()
    result.get_frame(1)


def test_import_and_default_filter_need_neither_torch_nor_onnx():
    program = (
        "import sys, vsparagon, vapoursynth as vs\n"
        "assert not {'torch', 'onnx', 'openvino', 'onnxruntime'} & set(sys.modules)\n"
        "clip = vs.core.std.BlankClip(width=64, height=64, length=3)\n"
        "[f for f in vs.core.paragon.Upscale(clip).frames()]\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'safetensors', 'PIL', 'openvino_telemetry',\n"
        "            'openvino.tools.ovc'} & set(sys.modules)\n"
        "sys.modules['openvino_telemetry'] = None\n"
        "from openvino import convert_model\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/null")
def test_without_a_cache_folder_the_filter_goes_on_and_says_so_once(tmp_path):
    code = (
        "import vapoursynth as vs, sys; vs.core.add_log_handler(lambda level, text: print(int(level), text));"
        "clip = vs.core.std.BlankClip(None, 64, 48, vs.YUV420P8, 1);"
        "[vs.core.paragon.Upscale(clip, backend='openvino').get_frame(0) for _ in range(2)]"
    )
    environment = os.environ | {"XDG_CACHE_HOME": "/dev/null/none", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith(f"{int(vs.MESSAGE_TYPE_WARNING)} ")]
    assert len(told) == 1
    assert "the cache folder /dev/null/none/vsparagon cannot be created (Not a directory)" in told[0]
    assert "Until then, each process compiles its networks again." in told[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 2.0}, "scale is 2.0; give an integer."),
        ({"width": "64"}, "width is '64'; give an integer."),
        ({"format": "YUV420P8"}, "format is 'YUV420P8'; give an integer."),
        ({"tilesize": 64.0}, "tilesize is 64.0; give an integer."),
        ({"tilesize": (64, 64.5)}, "tilesize is 64.5; give an integer."),
        ({"tilesize": "512x384"}, "tilesize is '512x384'; give an integer."),
    ],
    ids=str,
)
def test_numbers_of_another_type_are_refused_in_python(arguments, message):
    with pytest.raises(vsparagon.InvalidInput) as caught:
        vsparagon.upscale(good(), **arguments)
    assert str(caught.value) == message
    if "scale" in arguments:
        with pytest.raises(vsparagon.InvalidInput, match=r"scale is 2\.0; give an integer"):
            Upscaler(**arguments)


def test_numbers_of_numpy_are_taken():
    three = np.int64(3)
    clip = vsparagon.upscale(good(), scale=three, tilesize=[np.int64(64), np.int32(80)], num_streams=three)
    assert clip.width == 3 * good().width
    clip.get_frame(0).close()


@pytest.mark.skipif(sys.platform == "win32", reason="Python takes every home there for a neighbour of the user's own")
def test_home_of_an_unknown_user_is_a_path_like_any_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vsparagon.ModelError, match=r"the model file ~nosuch/net\.onnx cannot be read"):
        vsparagon.upscale(good(), model="~nosuch/net.onnx")
    vsparagon.upscale(good(), cache="~nosuch/cache")
    assert (tmp_path / "~nosuch" / "cache").is_dir()
    assert main(["cache", "list", "--folder", "~nobody"]) == 1
