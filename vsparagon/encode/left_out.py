"""What of the input does not reach the output, for people."""

from __future__ import annotations

from typing import Final

from vsparagon.encode.codec import loses_hdr
from vsparagon.encode.commands import RawVideo
from vsparagon.encode.contents import Contents
from vsparagon.input.job import Encoding, Job
from vsparagon.input.pixel_formats import pixel_format_candidates
from vsparagon.input.source import Source

INCOMPLETE: Final = 2  # seconds without pictures at a film's end that are worth a word


def left_out(contents: Contents | None, job: Job, source: Source, encoding: Encoding, video: RawVideo) -> list[str]:
    """Return what the output cannot hold of the input, in a line each."""
    notes = []
    closest = pixel_format_candidates(source.clip.format)[0]
    if encoding.pix_fmt != closest and not job.encoding.pix_fmt:
        notes.append(f"left out: pictures become {encoding.pix_fmt}, because {encoding.codec} cannot encode {closest}")
    if contents:
        notes += [f"left out: {stream}" for stream in contents.left_out]
        notes += [
            f"the sound of stream {stream.index} becomes {stream.codec}, because the file cannot hold {stream.was}"
            for stream in contents.carried
            if stream.kind == "audio" and stream.codec != "copy"
        ]
    if loses_hdr(encoding, video.props):
        notes.append(f"left out: the HDR10 mastering metadata, which {encoding.codec} cannot be given; libx265 can")
    return notes


def shortfalls(contents: Contents | None, source: Source, job: Job) -> list[str]:
    """Return what the clip lacks of what is in a file, in a line each."""
    if contents is None:
        return ["without sound: a script has pictures alone; --rest-from FILE adds all else that is in a video file"]
    if job.is_script:
        return []
    notes = []
    stored, read = (contents.width, contents.height), (source.clip.width, source.clip.height)
    even = [side // 2 * 2 for side in stored]
    if job.filter_script is None and sorted(read) != sorted(stored) and sorted(read) == sorted(even):
        notes.append(
            f"left out: the last column or row of {stored[0]}x{stored[1]}, as VapourSynth has no "
            f"{source.clip.format.name} of odd size"
        )
    if source.timestamps and not job.end:
        end = float(source.timestamps[-1] * source.time_base - contents.start)
        if contents.seconds - end > INCOMPLETE:
            claim = f"the file says that it lasts {contents.seconds:.1f} s"
            notes.append(f"{claim}, but its pictures end at {end:.1f} s: is it complete?")
    return notes
