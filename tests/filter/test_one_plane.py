"""Networks for one plane, most of which were made for luma: they enlarge luma, and the resizer chroma."""

import numpy as np
import pytest
import vapoursynth as vs
from clips import arrays, clip_of, photograph
from onnx_files import shuffle_network, shuffled

from vsparagon.backends.openvino.cpu import _OpenVINOSlot
from vsparagon.backends.session import Slot

core = vs.core
PICTURE = photograph(48, 64)
WITH_LUMA = [vs.YUV420P8, vs.YUV422P10, vs.YUV444P16, vs.YUV420PS, vs.GRAY8, vs.GRAY16, vs.GRAYS]


@pytest.fixture
def network(tmp_path):
    return str(shuffle_network(tmp_path / "luma.onnx", channels=1))


@pytest.fixture
def runs(monkeypatch):
    """The shape of the input of each run."""
    seen = []
    run = _OpenVINOSlot.run

    def counted(slot: Slot) -> None:
        seen.append(slot.input.shape)
        run(slot)

    monkeypatch.setattr(_OpenVINOSlot, "run", counted)
    return seen


def steps_of(video_format):
    return 1.0 if video_format.sample_type == vs.INTEGER else 1e-5


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("format_id", WITH_LUMA, ids=lambda format_id: core.get_video_format(format_id).name)
def test_luma_is_enlarged_by_the_network_and_chroma_by_the_resizer(format_id, backend, network):
    clip = clip_of([PICTURE], format_id, matrix=1)
    result = core.paragon.Upscale(clip, model=network, backend=backend).get_frame(0)
    luma, *chroma = arrays(clip.get_frame(0))
    assert result.format.id == format_id
    expected = shuffled(luma[..., None], 2)[..., 0]
    if clip.format.sample_type == vs.INTEGER:
        unit = 1 << clip.format.bits_per_sample - 8
        expected = np.clip(expected, 16 * unit, 235 * unit)
    step = steps_of(clip.format)
    assert np.abs(arrays(result)[0] - expected).max() <= step
    if chroma:
        resized = arrays(clip.resize.Spline36(128, 96).get_frame(0))
        for plane, reference in zip(arrays(result)[1:], resized[1:], strict=True):
            assert np.abs(plane - reference).max() <= step


@pytest.mark.parametrize(
    ("format_id", "count"), [(vs.YUV420P8, 1), (vs.GRAY8, 1), (vs.RGB24, 3)], ids=["yuv", "gray", "rgb"]
)
def test_a_frame_takes_no_more_runs_than_it_has_planes_of_detail(format_id, count, network, runs):
    clip = clip_of([PICTURE], format_id, **({} if format_id == vs.RGB24 else {"matrix": 1}))
    core.paragon.Upscale(clip, model=network, backend="openvino").get_frame(0).close()
    assert [shape[1] for shape in runs] == [1] * count


def test_rgb_is_enlarged_plane_by_plane(network):
    result = core.paragon.Upscale(clip_of([PICTURE]), model=network)
    expected = np.clip(shuffled(PICTURE.astype(float), 2), 0, 255)
    for index, plane in enumerate(arrays(result.get_frame(0))):
        assert np.abs(plane - expected[..., index]).max() <= 1


@pytest.mark.parametrize("source", [vs.YUV420P8, vs.GRAY16])
@pytest.mark.parametrize("target", [vs.RGB24, vs.YUV444P10, vs.GRAY8])
def test_another_format_and_size_are_those_of_the_whole_enlarged_clip(source, target, network):
    clip = clip_of([PICTURE], source, matrix=6)
    enlarged = core.paragon.Upscale(clip, model=network)
    result = core.paragon.Upscale(clip, model=network, format=target, width=96, height=72)
    to_rgb = {"matrix_in": 6} if target == vs.RGB24 else {}
    expected = enlarged.resize.Spline36(96, 72, target, **to_rgb)
    assert (result.width, result.height, result.format.id) == (96, 72, target)
    for ours, reference in zip(arrays(result.get_frame(0)), arrays(expected.get_frame(0)), strict=True):
        assert np.abs(ours - reference).max() <= (6 if target == vs.YUV444P10 else 2)  # rounded twice, in 8 bit


def test_chroma_stays_where_it_is_and_what_the_frame_says_is_kept(network):
    clip = clip_of([PICTURE], vs.YUV420P8, matrix=9, chromaloc=2).std.SetFrameProps(_SARNum=4, _SARDen=3, Scene="a")
    result = core.paragon.Upscale(clip, model=network).get_frame(0)
    for name in ("_Matrix", "_ChromaLocation", "_Range", "_SARNum", "_SARDen", "Scene"):
        assert result.props[name] == clip.get_frame(0).props[name], name
    resized = clip.resize.Spline36(128, 96).get_frame(0)
    assert np.abs(arrays(result)[1] - arrays(resized)[1]).max() <= 1


def test_the_log_says_what_the_network_is_given(network):
    messages = []
    handle = core.core.add_log_handler(lambda level, text: messages.append(text))
    try:
        core.paragon.Upscale(clip_of([PICTURE], vs.YUV420P8, matrix=1), model=network)
        core.paragon.Upscale(clip_of([PICTURE]), model=network)
    finally:
        core.core.remove_log_handler(handle)
    told = "\n".join(messages)
    assert "luma.onnx gets only luma; VapourSynth's resizer upscales the chroma" in told
    assert "luma.onnx takes one plane and gets red, green and blue separately" in told


def test_it_cannot_be_asked_to_upscale_chroma(network):
    with pytest.raises(vs.Error, match=r'chroma is "network", but luma.onnx takes one plane; leave chroma= out'):
        core.paragon.Upscale(clip_of([PICTURE], vs.YUV420P8, matrix=1), model=network, chroma="network")
