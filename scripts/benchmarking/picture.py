"""Make the clip that everything is measured on: a moving photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vsparagon.errors import BackendUnavailable, InvalidInput

HELD = 16  # frames in memory, which the clip repeats
ACROSS, DOWN = 4, 3  # movement per frame in pixels, back and forth


def moving_picture(path: str, width: int, height: int, frames: int) -> Any:
    """Return a clip of YUV420P8 in BT.709 that is held in memory.

    Args:
        path: of the picture; "" for scikit-image's astronaut. It is not resized, but mirrored if it is too small.
        width, height: of the clip, in pixels.
        frames: length of the clip.

    Raises:
        BackendUnavailable: a package to read the picture is not installed.
        InvalidInput: the picture cannot be read.
    """
    import vapoursynth as vs

    core: Any = vs.core.core
    wide = _mirrored(_photograph(path), height + DOWN * HELD // 2, width + ACROSS * HELD // 2)
    blank = core.std.BlankClip(None, width, height, vs.RGB24, HELD)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame, step = f.copy(), min(n, HELD - n)
        top, left = DOWN * step, ACROSS * step
        for plane in range(3):
            np.asarray(frame[plane])[:] = wide[top : top + height, left : left + width, plane]
        return frame

    clip = blank.std.ModifyFrame([blank], fill).resize.Bicubic(format=vs.YUV420P8, matrix=1)
    stills = [frame.copy() for frame in clip.frames()]
    still = core.std.BlankClip(None, width, height, vs.YUV420P8, HELD).std.SetFrameProps(_Matrix=1)
    held = still.std.ModifyFrame([still], lambda n, f: stills[n])
    return held.std.Loop(-(-frames // HELD))[:frames]


def _photograph(path: str) -> npt.NDArray[np.uint8]:
    try:
        if path:
            from PIL import Image

            return np.asarray(Image.open(path).convert("RGB"))
        from skimage import data

        return np.asarray(data.astronaut())  # type: ignore[no-untyped-call]
    except ImportError as error:
        raise BackendUnavailable(f'the picture needs {error.name}; pip install "vsparagon[demo]".') from error
    except OSError as error:
        raise InvalidInput(f"--picture {path} cannot be read ({error}); name another.") from error


def _mirrored(picture: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    rows, columns = (max(0, wanted - side) for wanted, side in zip((height, width), picture.shape, strict=False))
    return np.pad(picture, ((0, rows), (0, columns), (0, 0)), mode="symmetric")
