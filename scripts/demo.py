"""Upscale a clip as a user would, with vspipe and ffmpeg, and show the result.

`make demo` runs this; `make demo CLIP=FILE` uses your own clip. Progress goes to stderr, results to stdout.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import vapoursynth as vs
from demonstration.film import ENCODER, make_clip
from demonstration.pipe import configure_vspipe, find_vspipe, run_pipe, say
from demonstration.sheet import compare, take_picture

from vsparagon.colours.description import usual_matrix
from vsparagon.errors import ParagonError
from vsparagon.ffmpeg import aspect_arguments, colour_arguments, find_ffmpeg
from vsparagon.input.source import run_script
from vsparagon.system.files import replacing

core: Any = vs.core

HERE: Final = Path(__file__).resolve().parents[1] / "demo"


def evaluate(script: Path, clip: Path) -> tuple[vs.VideoNode, vs.VideoNode]:
    """Return the clip and the script's output for it, evaluated in this process as vspipe evaluates it.

    Raises:
        ParagonError: the clip cannot be read, or the script fails or outputs no video.
    """
    try:
        source: vs.VideoNode = core.bs.VideoSource(str(clip), cachemode=0)
    except AttributeError as error:
        advice = f'run `{sys.executable} -m pip install ".[encode]"` in {HERE.parent}'
        raise ParagonError(f"{clip} cannot be read: {error}; {advice}") from error
    except vs.Error as error:
        raise ParagonError(f"{clip} cannot be read: {error}; give a video that plays") from error
    return source, run_script(script, {"clip": str(clip)})[0]


def demonstrate(clip: Path | None, script: Path, out: Path) -> None:
    """Upscale a clip, write the video and a comparison, and print the results.

    Args:
        clip: absolute path of the video; None to make one.
        script: absolute path of the VapourSynth script that upscales.
        out: folder for the results; created if it is missing.

    Raises:
        ParagonError: a program is missing or fails, or the clip or the script cannot be used.
    """
    ffmpeg, vspipe = find_ffmpeg(), find_vspipe()
    out.mkdir(parents=True, exist_ok=True)
    if clip is None:
        clip = out / "clip.mkv"
        say(f"filming {clip}")
        with replacing(clip) as part:
            make_clip(part, ffmpeg)
    elif not clip.is_file():
        raise ParagonError(f"there is no clip {clip}; give the path of a video file")

    say(f"reading {clip}")
    source, upscaled = evaluate(script, clip)
    with upscaled.get_frame(0) as frame:
        props, matrix = dict(frame.props), usual_matrix(frame)
    size = {"width": upscaled.width, "height": upscaled.height}
    middle = upscaled.num_frames // 2
    bicubic = take_picture(source, middle, matrix, **size)
    sheet = compare({"bicubic": bicubic, "vsparagon": take_picture(upscaled, middle, matrix)})
    del upscaled, source

    video, picture = out / "out.mkv", out / "compare.png"
    labels = colour_arguments(props)
    inputs = [*labels, "-i", "-", "-i", str(clip), "-map", "0:v", "-map", "1:a?", "-c:a", "copy"]
    outputs = [*ENCODER, *labels, *aspect_arguments(props)]
    with replacing(picture) as part, replacing(video) as video_part, tempfile.TemporaryDirectory() as folder:
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
    """Run the demo from the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--clip", type=Path, metavar="FILE", help="a video to upscale; without one, a clip is made")
    add("--out", type=Path, metavar="FOLDER", default=HERE, help="where the results go: %(default)s")
    add("--script", type=Path, metavar="FILE", default=HERE / "demo.vpy", help="what upscales: %(default)s")
    options = parser.parse_args()
    try:
        # Absolute, because vspipe evaluates the script in the script's folder.
        demonstrate(options.clip and options.clip.resolve(), options.script.resolve(), options.out.resolve())
    except (ParagonError, vs.Error, PermissionError) as error:  # on Windows, a player has a result open
        print(f"demo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
