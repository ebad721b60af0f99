"""Upscale a clip the way a user would, with vspipe and ffmpeg, and show what came of it.

`make demo` runs this; `make demo CLIP=FILE` takes a clip of your own. Progress goes to stderr, results to
stdout.
"""

import argparse
import os
import re
import runpy
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import vapoursynth as vs
from PIL import Image, ImageDraw, ImageFont

from vsparagon.colour import UNSPECIFIED, guess_matrix
from vsparagon.compare.sheet import find_detail
from vsparagon.errors import ParagonError
from vsparagon.ffmpeg import aspect_arguments, colour_arguments, find_ffmpeg

type Picture = npt.NDArray[np.uint8]  # height, width, 3: full-range RGB

untyped: Any = vs  # its stubs name no plugin and leave some functions untyped

HERE: Final = Path(__file__).resolve().parents[1] / "demo"
CHATTER: Final = ("Information:", "Script evaluation done", "Output ")  # vspipe's lines when all is well
BROKEN_PIPE: Final = -13  # the exit code of a program that SIGPIPE has ended
ENCODER: Final = ("-c:v", "libx264", "-preset", "fast", "-crf", "16")


class DemoError(Exception):
    """What went wrong and what to do about it, in one line."""


def say(text: str) -> None:
    """Tell the progress to whoever watches; stdout is kept for the results."""
    print(f"demo: {text}", file=sys.stderr, flush=True)


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """Give a name to write to, which becomes `path` only if the block ends well."""
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# --- the clip -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A camera's way over a photograph, between two views: left, top and width in the photograph's pixels."""

    photograph: str
    start: tuple[float, float, float]
    end: tuple[float, float, float]


# Photographs that are inside scikit-image's wheel (others would have to be downloaded). No view enlarges one
# by more than 7 %, so that the clip is about as sharp as a clip of its size can be.
SCENES: Final = (
    Scene(photograph="rocket", start=(0, 66, 640), end=(0, 14.5, 640)),
    Scene(photograph="stereo_motorcycle", start=(0, 55, 741), end=(74, 88.5, 640)),
    Scene(photograph="coffee", start=(0, 8, 600), end=(0, 54.5, 600)),
)


def make_clip(path: Path, ffmpeg: str, *, width: int = 640, height: int = 360, frames: int = 40) -> None:
    """Film the scenes one after the other: H.264, BT.709, 25 frames a second, `frames` frames a scene."""
    try:
        from skimage import data
    except ImportError:
        raise DemoError("scikit-image is missing; run `pip install scikit-image`, or give --clip FILE") from None
    film = bytearray()
    for scene in SCENES:
        found = getattr(data, scene.photograph)()
        photograph = Image.fromarray(found[0] if isinstance(found, tuple) else found)
        for position in np.linspace(0, 1, frames):
            ways = zip(scene.start, scene.end, strict=True)
            left, top, across = (start + (end - start) * float(position) for start, end in ways)
            view = (left, top, left + across, top + across * height / width)
            # Lanczos over a box of fractions: a camera that moves by parts of a pixel, without aliasing.
            film += photograph.resize((width, height), Image.Resampling.LANCZOS, box=view).tobytes()
    bt709 = {"_Matrix": 1, "_Primaries": 1, "_Transfer": 1, "_Range": 0}
    filters = (
        "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int,format=yuv420p,"
        "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    )
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
    with finished(path) as part:
        command = [
            ffmpeg,
            "-loglevel",
            "error",
            "-y",
            *raw,
            "-vf",
            filters,
            *ENCODER,
            *colour_arguments(bt709),
            str(part),
        ]
        done = subprocess.run(command, input=film, capture_output=True)
        if done.returncode:
            raise ffmpeg_error(ffmpeg, done.returncode, done.stderr)


# --- the pipe -------------------------------------------------------------------------------------


def ffmpeg_error(ffmpeg: str, code: int, log: bytes) -> DemoError:
    """Return the error for an ffmpeg that has failed and left this log, whose first line tells the cause."""
    said = log.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    cause = re.sub(r"^\[[^]]*\] ", "", said[0]).rstrip(".")
    advice = f"see that {ffmpeg} has libx264 and that the disk has room"
    return DemoError(f"ffmpeg failed with exit code {code}: {cause}; {advice}")


def vspipe_error(code: int, lines: list[str]) -> DemoError:
    """Return the error for a vspipe that has failed and said these lines, perhaps with a traceback."""
    said = [line.strip() for line in lines if line and not line.startswith(CHATTER)] or ["it said nothing"]
    cause = next((line for line in said if line.startswith(("Python exception:", "Error:"))), said[-1])
    if cause.endswith(":"):
        cause += f" {said[-1]}"
    return DemoError(f"vspipe failed with exit code {code}: {cause}; all that it said is above")


def find_vspipe() -> str:
    """Return the vspipe of the VapourSynth which this very interpreter imports."""
    package = Path(vs.__file__).parent
    if found := shutil.which("vspipe", path=package):
        return found
    raise DemoError(f"there is no vspipe in {package}; run `pip install --force-reinstall vapoursynth`")


def configure_vspipe(folder: Path) -> dict[str, str]:
    """Return an environment in which vspipe runs this interpreter, by a configuration of its own in `folder`.

    The user's configuration may name another Python; it is neither read nor changed.
    """
    home = "APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME"
    library: str = untyped.get_vsscript()
    # Where Python looks for what a user has installed follows from APPDATA, too.
    environment = {**os.environ, "PYTHONUSERBASE": site.getuserbase(), home: str(folder), "VSSCRIPT_PATH": library}
    command = [sys.executable, "-m", "vapoursynth", "config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode or "Failed" in done.stdout:
        raise DemoError(
            f"vspipe cannot run {sys.executable}: {(done.stdout + done.stderr).strip().splitlines()[-1]}; "
            "it needs a Python that was built with a shared libpython"
        )
    return environment


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What vspipe measured, from the first frame asked for to the last one taken by ffmpeg."""

    frames: int
    seconds: float


def run_pipe(vspipe: list[str], ffmpeg: list[str], environment: Mapping[str, str]) -> Speed:
    """Run `vspipe | ffmpeg` to their ends.

    Raises:
        DemoError: One of the two failed; the message is about the one that failed first.
    """
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        source = stack.enter_context(
            subprocess.Popen(
                vspipe,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                encoding="utf-8",
                errors="replace",
            )
        )
        stack.callback(source.kill)  # has no effect on a process that has ended
        sink = stack.enter_context(subprocess.Popen(ffmpeg, stdin=source.stdout, stderr=log))
        stack.callback(sink.kill)
        assert source.stdout is not None
        assert source.stderr is not None
        source.stdout.close()  # ffmpeg's alone now: if ffmpeg ends, vspipe gets to know
        lines = list(relay(source.stderr))
        source_code, sink_code = source.wait(), sink.wait()
        log.seek(0)
        sink_log = log.read()
    cut_off = source_code == BROKEN_PIPE or any("fwrite()" in line for line in lines)  # ffmpeg ended first
    if source_code and not (sink_code and cut_off):
        raise vspipe_error(source_code, lines)
    if sink_code:
        raise ffmpeg_error(ffmpeg[0], sink_code, sink_log)
    measured = re.search(r"Output (\d+) frames in ([\d.]+) seconds", "\n".join(lines))
    if measured is None:
        raise DemoError("vspipe ended without naming its frames; use VapourSynth 81 or later")
    return Speed(frames=int(measured[1]), seconds=float(measured[2]))


def relay(stream: Iterator[str]) -> Iterator[str]:
    """Pass vspipe's messages on to stderr, the count of frames on one line, and yield all but that count."""
    terminal = sys.stderr.isatty()
    for line in (line.rstrip() for line in stream):
        if not line.startswith("Frame:"):
            say(f"vspipe: {line}")
            yield line
        elif terminal:
            print(f"\rdemo: vspipe: {line}", end="\r", file=sys.stderr, flush=True)


# --- the comparison -------------------------------------------------------------------------------

MARGIN: Final = 16
CAPTION: Final = 40
VIEW: Final = (1280, 720)  # the most that is shown of a picture, pixel for pixel
ZOOM: Final = 4
BACKGROUND, INK, FRAME = (22, 22, 24), (236, 236, 236), (255, 196, 0)


def take_picture(clip: vs.VideoNode, n: int, matrix: int, **size: int) -> Picture:
    """Return frame `n` as RGB, resized with the Catmull-Rom kernel where a width and a height are given."""
    arguments: dict[str, Any] = {"format": vs.RGB24, "filter_param_a": 0, "filter_param_b": 0.5, **size}
    if clip.format.color_family != vs.RGB:
        arguments["matrix_in"] = matrix
    with untyped.core.resize.Bicubic(clip, **arguments).get_frame(n) as frame:
        return np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)


def compare(pictures: Mapping[str, Picture]) -> Image.Image:
    """Lay pictures of one size side by side, each with its name, and below each the same detail enlarged.

    The first picture decides which detail; of a large picture only the surroundings of the detail are shown.
    """
    first = next(iter(pictures.values()))
    height, width = min(first.shape[0], VIEW[1]), min(first.shape[1], VIEW[0])
    part = (width // ZOOM, height // ZOOM)
    detail = find_detail(first, *part)
    left, top = (
        min(max(start + size // 2 - shown // 2, 0), whole - shown)
        for start, size, shown, whole in zip(detail, part, (width, height), first.shape[1::-1], strict=True)
    )
    x, y = detail[0] - left, detail[1] - top
    box = (x, y, x + part[0], y + part[1])
    rows = (CAPTION, CAPTION + height + CAPTION)
    sheet = Image.new("RGB", (len(pictures) * (width + MARGIN) + MARGIN, rows[1] + part[1] * ZOOM + MARGIN), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for column, (name, picture) in enumerate(pictures.items()):
        across = MARGIN + column * (width + MARGIN)
        shown = Image.fromarray(np.ascontiguousarray(picture[top : top + height, left : left + width]))
        enlarged = shown.crop(box).resize((part[0] * ZOOM, part[1] * ZOOM), Image.Resampling.NEAREST)
        sheet.paste(shown, (across, rows[0]))
        sheet.paste(enlarged, (across, rows[1]))
        outline = (across + x, rows[0] + y, across + box[2] - 1, rows[0] + box[3] - 1)
        draw.rectangle(outline, outline=FRAME, width=2)
        for row, text in zip(rows, (name, f"{name}, the detail {ZOOM} times as large"), strict=True):
            draw.text((across, row - CAPTION // 2), text, INK, font, anchor="lm")
    return sheet


# --- all of it ------------------------------------------------------------------------------------


def evaluate(script: Path, clip: Path) -> tuple[vs.VideoNode, vs.VideoNode]:
    """Return the clip and what the script makes of it, evaluated here as vspipe evaluates it there."""
    task, advice = f"{clip} cannot be read", "; give a video that plays"
    try:
        source: vs.VideoNode = untyped.core.bs.VideoSource(str(clip), cachemode=0)
        task, advice = f"{script} failed", ""  # the filter's own messages say what to do
        runpy.run_path(str(script), init_globals={"clip": str(clip)})
        output = vs.get_output(0)
    except AttributeError as error:  # a namespace that core does not have
        advice = f'; run `{sys.executable} -m pip install ".[encode]"` in {HERE.parent}'
        raise DemoError(f"{task}: {error}{advice}") from error
    except Exception as error:  # whatever a script may raise
        raise DemoError(f"{task}: {error}{advice}") from error
    finally:
        vs.clear_outputs()
    if not isinstance(output, vs.VideoOutputTuple):
        raise DemoError(f"{script} outputs no video; call set_output() on a video clip in it")
    return source, output.clip


def demonstrate(clip: Path | None, script: Path, out: Path) -> None:
    """Do all of it and print the results."""
    ffmpeg, vspipe = find_ffmpeg(), find_vspipe()
    out.mkdir(parents=True, exist_ok=True)
    if clip is None:
        clip = out / "clip.mkv"
        say(f"filming {clip}")
        make_clip(clip, ffmpeg)
    elif not clip.is_file():
        raise DemoError(f"there is no clip {clip}; give the path of a video file")

    say(f"reading {clip}")
    source, upscaled = evaluate(script, clip)
    with upscaled.get_frame(0) as frame:
        props = dict(frame.props)
    size = {"width": upscaled.width, "height": upscaled.height}
    middle = upscaled.num_frames // 2
    matrix = props.get("_Matrix")
    if not isinstance(matrix, int) or matrix == UNSPECIFIED:
        matrix = guess_matrix(source.width, source.height)
    bicubic = take_picture(source, middle, matrix, **size)
    sheet = compare({"bicubic": bicubic, "vsparagon": take_picture(upscaled, middle, matrix)})
    del upscaled, source

    video, picture = out / "out.mkv", out / "compare.png"
    labels = colour_arguments(props)
    inputs = [*labels, "-i", "-", "-i", str(clip), "-map", "0:v", "-map", "1:a?", "-c:a", "copy"]
    outputs = [*ENCODER, *labels, *aspect_arguments(props, **size)]
    with finished(picture) as part, finished(video) as video_part, tempfile.TemporaryDirectory() as folder:
        sheet.save(part)
        say(f"upscaling to {size['width']}x{size['height']}")
        speed = run_pipe(
            [vspipe, "--progress", "-c", "y4m", "-a", f"clip={clip}", str(script), "-"],
            [ffmpeg, "-loglevel", "error", "-y", *inputs, *outputs, str(video_part)],
            configure_vspipe(Path(folder)),
        )
    print(f"video    {video}\npicture  {picture}")
    print(
        f"{speed.frames} frames of {size['width']}x{size['height']} in {speed.seconds:.1f} s: "
        f"{speed.frames / speed.seconds:.1f} frames per second, decoding and encoding included"
    )


def main() -> int:
    """Run the demo from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--clip", type=Path, metavar="FILE", help="a video to upscale; without one, a clip is made")
    add("--out", type=Path, metavar="FOLDER", default=HERE, help="where the results go: %(default)s")
    add("--script", type=Path, metavar="FILE", default=HERE / "demo.vpy", help="what upscales: %(default)s")
    options = parser.parse_args()
    try:
        # Absolute, since vspipe works in the script's folder.
        demonstrate(options.clip and options.clip.resolve(), options.script.resolve(), options.out.resolve())
    except (DemoError, ParagonError, vs.Error, PermissionError) as error:  # on Windows, a player has a result open
        print(f"demo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
