"""Describe what was asked for, so that an encode is recognised when the same command is given again."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from vsparagon.errors import InvalidInput, check_name
from vsparagon.models.bundled import DEFAULT_PROFILE, DEFAULT_SCALE, DEFAULT_VARIANT
from vsparagon.models.files import files_of

SCRIPT_SUFFIXES: Final = (".vpy", ".py")
SEGMENT_FRAMES: Final = 240


@dataclass(frozen=True, kw_only=True)
class Network:
    """The arguments of `core.paragon.Upscale` that decide the result; 0, "" and () ask for the default.

    Without a model file, default variant, scale and profile are filled in: naming them gives an equal object.
    """

    variant: str = ""
    scale: int = 0
    profile: str = ""
    model: str = ""
    backend: str = "auto"
    precision: str = "auto"
    width: int = 0
    height: int = 0
    matrix: str = ""
    chroma: str = ""
    tilesize: tuple[int, ...] = ()
    overlap: tuple[int, ...] = ()
    memory_mb: int = 0

    def __post_init__(self) -> None:
        if not self.model:
            usual = {"variant": DEFAULT_VARIANT, "scale": DEFAULT_SCALE, "profile": DEFAULT_PROFILE}
            for name, value in usual.items():
                object.__setattr__(self, name, getattr(self, name) or value)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How the result is encoded; None and "" ask for the default.

    Attributes:
        codec: a name in `vsparagon.encode.encoders.CODECS`.
        crf: constant quality, on the codec's own scale; 0 is best.
        preset: the encoder's own name or number for a speed.
        pix_fmt: a name in `vsparagon.input.pixel_formats.PIXEL_FORMATS`.
        options: further ffmpeg options of the encoder, as pairs of name and value.
    """

    codec: str = ""
    crf: float | None = None
    preset: str = ""
    pix_fmt: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Job:
    """One input, and what to make of it.

    Attributes:
        input: absolute path of a video file or a script.
        filter_script: absolute path of a script that processes the video before the network does, or None.
        rest: absolute path of the file that audio and everything else come from; None for the input itself, if that is
            a video file.
        start, end: the part of the file to use, in seconds as players count them; an end of 0 means the file's end.
        network: None uses the default network, unless a script upscales by itself; then its output is used as it is.
        encoding: how the result is encoded.
        segment_frames: frames per segment, at least 1.
        device_id, num_streams, cache: how the network is run, as in `core.paragon.Upscale`; they do not change the
            result.
        decoder_threads: how many threads decode the file; 0 for as many as it has processor cores.
    """

    input: Path
    filter_script: Path | None = None
    rest: Path | None = None
    start: float = 0
    end: float = 0
    network: Network | None = None
    encoding: Encoding = field(default_factory=Encoding)
    segment_frames: int = SEGMENT_FRAMES
    device_id: int = 0
    num_streams: int = 0
    cache: str = ""
    decoder_threads: int = 0

    def check_files(self) -> None:
        """Check the files that the job names, except a model file.

        Raises:
            InvalidInput: one does not exist, or its name cannot be used.
        """
        for path in (self.input, self.filter_script, self.rest):
            if path is not None:
                check_name(path)
                if not path.is_file():
                    raise InvalidInput(_why_no_file(path))

    @property
    def is_script(self) -> bool:
        """Whether the input is a VapourSynth script."""
        return self.input.suffix.lower() in SCRIPT_SUFFIXES

    def identity(self) -> dict[str, Any]:
        """Return everything in the job that decides the encoded pictures, with digests of scripts and model files.

        The values can be serialised as JSON. Neither the file in `rest` nor modules that a script imports are looked
        at.

        Raises:
            OSError: a file is missing.
        """
        state = self.input.stat()
        scripts = [path for path in (self.filter_script, self.input if self.is_script else None) if path]
        models = files_of(Path(self.network.model)) if self.network and self.network.model else []
        return {
            "input": str(self.input),
            "size of the input": state.st_size,
            "modification of the input": state.st_mtime_ns,
            "script": _digest(*scripts),
            "model file": _digest(*models),
            "part": [self.start, self.end],
            **asdict(self.network or Network()),
            **asdict(self.encoding),
            "frames per segment": self.segment_frames,
        }


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; give one video file or script."
    if path.exists():
        return f"{path} is a pipe or a device; save the video as a file, which can be read at any place."
    if path.name == "-" or any(part.endswith(":") and len(part) > 2 for part in path.parts):  # a drive is C:
        return f"there is no file {path}; standard input and addresses cannot be read: save the video as a file."
    return f"there is no file {path}."


def _digest(*paths: Path) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest() if paths else ""
