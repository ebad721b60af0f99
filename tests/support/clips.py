"""Clips and pictures for tests."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import vapoursynth as vs
from skimage import data

Picture = npt.NDArray[np.uint8]


def photograph(height: int, width: int) -> Picture:
    """A part of scikit-image's photograph of an astronaut, H,W,3: a face, hair, text, fabric."""
    picture: Picture = data.astronaut()
    return np.ascontiguousarray(picture[20 : 20 + height, 130 : 130 + width])


def clip_of(pictures: Sequence[Picture], format_id: int = vs.RGB24, **arguments: object) -> vs.VideoNode:
    """A clip of these RGB pictures, converted by VapourSynth's resizer."""
    core = vs.core.core
    height, width = pictures[0].shape[:2]
    blank = core.std.BlankClip(None, width, height, vs.RGB24, len(pictures), fpsnum=24, fpsden=1)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(3):
            np.asarray(frame[plane])[:] = pictures[n][..., plane]
        return frame

    clip = blank.std.ModifyFrame([blank], fill)
    if format_id == vs.RGB24 and not arguments:
        return clip
    return clip.resize.Spline36(format=format_id, **arguments)


def clip_in(format_id: int, length: int = 1, *, size: tuple[int, int] = (48, 64), **arguments: object) -> vs.VideoNode:
    """A clip of a photograph with this (height, width), in BT.709 unless `matrix` says otherwise."""
    if vs.core.core.get_video_format(format_id).color_family != vs.RGB:
        arguments.setdefault("matrix", 1)
    return clip_of([photograph(*size)] * length, format_id, **arguments)


def numbered(length: int, *, size: tuple[int, int] = (24, 32)) -> vs.VideoNode:
    """A clip with this (height, width); frame n is filled with n % 200 + 20 and has n in the property `number`."""
    blank = vs.core.core.std.BlankClip(None, size[1], size[0], vs.GRAY8, length)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.asarray(frame[0])[:] = n % 200 + 20
        frame.props["number"] = n
        return frame

    return blank.std.ModifyFrame([blank], fill)


def arrays(frame: vs.VideoFrame) -> list[npt.NDArray[np.float64]]:
    """Copies of a frame's planes as float64."""
    return [np.array(frame[i], dtype=np.float64) for i in range(frame.format.num_planes)]


def counted(
    format_id: int = vs.YUV420P8, width: int = 64, height: int = 48, length: int = 20, **props: object
) -> vs.VideoNode:
    """A clip of noise, different in each frame."""
    blank = vs.core.core.std.BlankClip(None, width, height, format_id, length, fpsnum=30, fpsden=1)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame, random = f.copy(), np.random.default_rng(n)
        for plane in range(frame.format.num_planes):
            samples = np.asarray(frame[plane])
            peak = 1 << frame.format.bits_per_sample
            samples[:] = random.integers(peak // 16, peak * 3 // 4, samples.shape, np.uint16)
        return frame

    return blank.std.ModifyFrame(blank, fill).std.SetFrameProps(_Matrix=1, **props)


def assert_same_planes(
    ours: Sequence[npt.NDArray[np.float64]], theirs: Sequence[npt.NDArray[np.float64]], video_format: vs.VideoFormat
) -> None:
    """Assert that two ways of converting colours agree.

    Integers may differ by one code value, because both ways round; float32 by 1e-5, a few of its roundings on values
    around 1, and float16 by its own resolution there.
    """
    allowed = 1.0 if video_format.sample_type == vs.INTEGER else 1e-5 if video_format.bits_per_sample == 32 else 1e-3
    assert len(ours) == len(theirs) == video_format.num_planes
    for plane, reference in zip(ours, theirs, strict=True):
        assert plane.shape == reference.shape
        assert np.abs(plane - reference).max() <= allowed
