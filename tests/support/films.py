"""Small films with all kinds of streams, and functions that read the encoded files."""

import hashlib
import io
import logging
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
import vapoursynth as vs

from vsparagon.cli import main
from vsparagon.encode.codec import encoder_formats
from vsparagon.ffmpeg import find_ffmpegs

core: Any = vs.core
SUBTITLES = "1\n00:00:00,500 --> 00:00:01,500\nHello\n"
CHAPTERS = """;FFMETADATA1
title=A Film
artist=Somebody
[CHAPTER]
TIMEBASE=1/1000
START=0
END=1000
title=One
[CHAPTER]
TIMEBASE=1/1000
START=1000
END=2000
title=Two
"""
FONT = bytes(range(256)) * 8
TAGS = "setparams=colorspace=bt709:color_primaries=bt470bg:color_trc=iec61966-2-1:range=tv"
# Frames 10 to 12 and every seventh frame are missing, and the video starts 0.3 s after the audio.
UNEVEN = "select='not(between(n,10,12))*not(eq(mod(n,7),3))',setpts=PTS+0.3/TB"
STREAMS = [("audio", "aac"), ("subtitle", "subrip"), ("video", "h264"), ("attachment", "")]  # of such a film as .mkv
# Frames of the film in tests/encode/conftest.py, and of each segment of it.
FRAMES, SEGMENT = 101, 12

needs_svtav1 = pytest.mark.skipif(
    not any(encoder_formats(program, "libsvtav1") for program in find_ffmpegs()),
    reason="no ffmpeg here has libsvtav1: imageio-ffmpeg's for Windows lacks it",
)


def ffmpeg(*arguments: object) -> None:
    """Run imageio-ffmpeg's ffmpeg: the films must not depend on the ffmpeg that the tested command finds."""
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, arguments)], check=True)


def make_film(path: Path, *, seconds: float = 2, size: str = "64x48", video: str = "", encoder: tuple[str, ...] = ()):
    """Write a film of 30 frames per second with audio, subtitles and chapters; .mkv has a font, .mp4 a cover."""
    folder = path.parent
    (folder / "subtitles.srt").write_text(SUBTITLES)
    (folder / "chapters.txt").write_text(CHAPTERS)
    (folder / "font.ttf").write_bytes(FONT)
    inputs: list[object] = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=30:d={seconds}"]
    inputs += ["-f", "lavfi", "-i", f"sine=d={seconds + 0.5}", "-i", folder / "subtitles.srt"]
    inputs += ["-i", folder / "chapters.txt"]
    outputs: list[object] = ["-map", "1:a", "-map", "2:s", "-map_metadata", 3, "-map_chapters", 3]
    outputs += ["-filter_complex", f"[0:v]{video or 'null'},{TAGS}[v]", "-map", "[v]", "-fps_mode:v:0", "passthrough"]
    outputs += ["-metadata:s:a", "language=ger", "-metadata:s:v", "title=A View", "-c:a", "aac"]
    outputs += ["-c:v:0", *(encoder or ("libx264", "-pix_fmt:v:0", "yuv420p"))]
    if path.suffix == ".mkv":
        mimetype = "mimetype=application/x-truetype-font"
        outputs += ["-c:s", "srt", "-attach", (folder / "font.ttf").as_posix(), "-metadata:s:t", mimetype]
    else:
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x32:d=0.04", "-frames:v", 1, folder / "cover.png")
        inputs += ["-i", folder / "cover.png"]
        outputs += ["-map", "4:v", "-c:v:1", "copy", "-disposition:v:1", "attached_pic", "-c:s", "mov_text"]
    ffmpeg(*inputs, *outputs, path)
    return path


def read(path: Path) -> Any:
    return core.bs.VideoSource(str(path), cachemode=0, showprogress=False)


def pictures(path: Path) -> list[str]:
    """Return a digest of every decoded frame."""
    return [
        hashlib.sha256(b"".join(bytes(chunk) for chunk in frame.readchunks())).hexdigest()
        for frame in read(path).frames(close=True)
    ]


def times(path: Path) -> dict[str, list[float]]:
    """Return the timestamps of the first video and the first audio stream, relative to the first audio packet.

    Muxers shift all streams together so that none starts before zero. So only the video's offset from the audio counts.
    """
    found: dict[str, list[float]] = {}
    for kind in ("video", "audio"):
        with av.open(str(path)) as container:
            if streams := getattr(container.streams, kind):
                packets = container.demux(streams[0])
                found[kind] = sorted(float(p.pts * p.time_base) for p in packets if p.pts is not None)
    begin = found.get("audio", [0.0])[0]
    return {kind: [time - begin for time in shown] for kind, shown in found.items()}


def stamps(path: Path, kind: str) -> list[float]:
    """Return the timestamps of the first video or audio stream, relative to the start of the file, as players do."""
    with av.open(str(path)) as container:
        packets = container.demux(getattr(container.streams, kind)[0])
        begin = container.start_time / av.time_base
        return sorted(float(packet.pts * packet.time_base) - begin for packet in packets if packet.pts is not None)


def streams(path: Path) -> list[tuple[str, str]]:
    with av.open(str(path)) as container:
        return [(s.type, s.codec_context.codec.canonical_name if s.codec_context else "") for s in container.streams]


def samples(path: Path) -> np.ndarray:
    """Return the decoded samples of the first audio stream."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def equals(output: Path, undisturbed: Path) -> None:
    """Assert that an encode equals an uninterrupted one, and that its working folder is gone."""
    assert pictures(output) == pictures(undisturbed)
    before, after = times(undisturbed), times(output)
    assert after["video"] == pytest.approx(before["video"], abs=1e-6)
    assert after["audio"] == pytest.approx(before["audio"], abs=1e-6)
    assert not list(output.parent.glob("*.parts"))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vsparagon", "encode", *map(str, arguments)]


def encode(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `vsparagon encode` in this process, which saves the time to start one; with an environment, in its own."""
    words = command(*arguments)
    if env is not None:
        return subprocess.run(words, capture_output=True, text=True, timeout=300, env=env)
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)  # pytest has handlers of its own, so that the command adds none
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(words[words.index("encode") :])
    except SystemExit as end:  # of argparse
        code = end.code
    finally:
        logging.getLogger().removeHandler(handler)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def finished_segments(output: Path) -> int:
    """Return the number of finished segments of all jobs for an output."""
    return len(list(Path(f"{output}.parts").glob("*/[0-9]*.json")))


def start_until(output: Path, segments: int, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start an encode, and return when this number of segments is finished and another is being made."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    deadline = time.monotonic() + 120
    while finished_segments(output) < segments or not list(Path(f"{output}.parts").glob("part-*-segment.mkv")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process
