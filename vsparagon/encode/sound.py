"""Check that a file's audio can be kept, by trying it with the ffmpeg that will write the output."""

from __future__ import annotations

from pathlib import Path

from vsparagon.encode.commands import sound_command
from vsparagon.encode.contents import Contents
from vsparagon.encode.process import FedProcess
from vsparagon.errors import EncodeFailure, InvalidInput


def check_sound(program: str, contents: Contents, muxer: str, draft: Path) -> None:
    """Write the first second of the audio into a file of the output's kind, before there is work that could be lost.

    Args:
        program: path of ffmpeg. PyAV is built with another ffmpeg, so its abilities say little about this one.
        contents: describes the file that the audio comes from; without audio, nothing is done.
        muxer: ffmpeg's name for the output container.
        draft: a temporary file to write; it is removed again.

    Raises:
        InvalidInput: ffmpeg cannot write the audio.
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
