"""Frame graphs for tests, and the formats to test them in."""

from dataclasses import replace

from vsparagon.colours.layout import Layout
from vsparagon.geometry.extension import Sizes, extension_for
from vsparagon.models.frame import FrameNetwork

YUV420 = Layout(family="yuv", bits=8, subsampling_w=1, subsampling_h=1, matrix=1)
RGBS = Layout(family="rgb", bits=32, is_float=True)
LAYOUTS = {
    "YUV420P8": YUV420,
    "YUV420P10, chroma top left": replace(YUV420, bits=10, chroma_location=2),
    "YUV422P16, full range": Layout(family="yuv", bits=16, subsampling_w=1, matrix=9, full=True),
    "YUV440P8": Layout(family="yuv", bits=8, subsampling_h=1, matrix=6),
    "YUV410P8": Layout(family="yuv", bits=8, subsampling_w=2, subsampling_h=2, matrix=5, chroma_location=1),
    "YUV444P12": Layout(family="yuv", bits=12, matrix=8),
    "YUV420PH": Layout(family="yuv", bits=16, is_float=True, subsampling_w=1, subsampling_h=1, matrix=1),
    "RGB24": Layout(family="rgb", bits=8, full=True),
    "RGBS": RGBS,
    "GRAY16": Layout(family="gray", bits=16, matrix=1),
}


def frame_of(network, source=YUV420, target=None, size=(16, 16)):
    scale = getattr(network, "scale", 2)
    extension = extension_for(*size, Sizes())
    frame = FrameNetwork(network, scale, source=source, target=target or source, extension=extension, name="it")
    return frame.eval().requires_grad_(False)
