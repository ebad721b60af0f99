"""Whether the sound of a file can come along: asked of the ffmpeg that is to put it into the output."""

from __future__ import annotations

from pathlib import Path

from vsparagon.encode.commands import sound_command
from vsparagon.encode.contents import Contents
from vsparagon.encode.process import FedProcess
from vsparagon.errors import EncodeFailure, InvalidInput


def check_sound(program: str, contents: Contents, muxer: str, draft: Path) -> None:
    """Put the first second of the sound into a file like the output, before there is work that could be lost.

    Args:
        program: ffmpeg. What PyAV's own version of it can do says little about this one.
        contents: of the file that the sound comes from.
        muxer: kind of the output.
        draft: a file to write, which is removed again.

    Raises:
        InvalidInput: it fails.
    """
    if not any(stream.kind == "audio" for stream in contents.carried):
        return
    try:
        with FedProcess(sound_command(program, contents, muxer, draft)) as process:
            process.finish()
    except EncodeFailure as error:
        advice = "" if muxer == "matroska" else " Use an .mkv output."
        raise InvalidInput(f"{contents.path}: the audio cannot be written to the output: {error}{advice}") from error
    finally:
        draft.unlink(missing_ok=True)
