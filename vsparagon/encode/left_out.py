"""List, for people, what the output lacks of the input or has in another form."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from vsparagon.encode.codec import loses_hdr
from vsparagon.encode.commands import RawVideo
from vsparagon.encode.contents import Contents
from vsparagon.frames import first_frame
from vsparagon.input.job import Encoding, Job
from vsparagon.input.pixel_formats import pixel_format_candidates
from vsparagon.input.source import Source
from vsparagon.wording import counted

# Frame properties that are not passed on to any encoder.
UNSEEN: Final = {
    "_Alpha": "transparency",
    "HDR10Plus": "the dynamic metadata of HDR10+; the static HDR10 metadata is kept",
    "DolbyVisionRPU": "the metadata of Dolby Vision; without it, profile 5 has wrong colours",
}
INCOMPLETE: Final = 2  # seconds without pictures at the end of a file that are worth a note


def left_out(contents: Contents | None, job: Job, source: Source, encoding: Encoding, video: RawVideo) -> list[str]:
    """Return what the output will lack of the input, a few words each.

    Args:
        contents: describes the file that everything but the video comes from; None if there is no such file.
        job: the job.
        source: the clip before upscaling.
        encoding: complete, with every default filled in.
        video: describes the upscaled frames.
    """
    lost = list(contents.left_out) if contents else []
    with first_frame(source.clip) as frame:
        shown = set(frame.props)
    closest = pixel_format_candidates(source.clip.format)[0]
    if encoding.pix_fmt != closest and not job.encoding.pix_fmt:
        lost.append(f"the pixel format {closest}, which {encoding.codec} cannot encode; it becomes {encoding.pix_fmt}")
    if contents and not (job.is_script or job.filter_script):
        lost += _odd_side(contents, source)
    lost += [what for name, what in UNSEEN.items() if name in shown]
    if loses_hdr(encoding, video.props):
        lost.append(f"the HDR10 mastering metadata, which {encoding.codec} cannot write; libx265 can")
    return lost


def _odd_side(contents: Contents, source: Source) -> list[str]:
    stored, read = (contents.width, contents.height), (source.clip.width, source.clip.height)
    even = [side // 2 * 2 for side in stored]
    if sorted(read) == sorted(stored) or sorted(read) != sorted(even):
        return []
    size = f"{stored[0]}x{stored[1]}"
    return [f"the last column or row of {size}, because VapourSynth has no {source.clip.format.name} of odd size"]


def remarks(contents: Contents | None, source: Source, job: Job) -> list[str]:
    """Return other things worth knowing about the output, one line each: converted audio, mended timestamps."""
    if contents is None:
        return ["no audio: a script has only video; --rest-from FILE adds everything else from a video file"]
    notes = [
        f"audio stream {stream.index} becomes {stream.codec}, because the container cannot hold {stream.was}"
        for stream in contents.carried
        if stream.kind == "audio" and stream.codec != "copy"
    ]
    if job.is_script:
        return notes
    stamps = source.timestamps
    if source.strayed and stamps:
        notes.append(f"timestamps missing or wrong in the file, interpolated: {counted(source.strayed, 'frame')}")
    if len(stamps) == len(source.clip) and source.clip.fps != source.rate:
        rate = float(source.clip.fps)
        notes.append(f"the script's frame rate, {rate:.5g}, is not used: frames keep their times in the file")
    if stamps and not job.end:
        end = float(stamps[-1] * source.time_base - contents.track.start)
        longest = float(max((later - earlier for earlier, later in pairwise(stamps)), default=0) * source.time_base)
        if contents.seconds - end > max(INCOMPLETE, 2 * longest):
            claim = f"the file's duration is {contents.seconds:.1f} s"
            notes.append(
                f"{claim}, but its last frame is at {end:.1f} s: the file may be incomplete; if it is not, that frame "
                "will end earlier than before"
            )
    return notes
