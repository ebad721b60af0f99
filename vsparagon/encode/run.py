"""An encode from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import vapoursynth as vs

from vsparagon.encode.cluster import Order, make_on_cluster, open_client
from vsparagon.encode.codec import choose_encoding
from vsparagon.encode.commands import Picture, join_command, segment_command
from vsparagon.encode.contents import muxer_for, read_contents
from vsparagon.encode.job import Encoding, Job
from vsparagon.encode.join import MICROSECOND, Timing, join, timing_of_durations, timing_of_file
from vsparagon.encode.left_out import left_out, shortfalls
from vsparagon.encode.progress import Progress
from vsparagon.encode.segment import Span, all_spans, encode_segment, render, stretches
from vsparagon.encode.source import Source, circumstances, open_source, upscaled_clip
from vsparagon.encode.workshop import Segment, Workshop
from vsparagon.errors import EncodeFailure, InvalidInput
from vsparagon.log import collected_log


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of an encode.

    Attributes:
        output: the file.
        frames: in it.
        resumed: of these, how many an earlier run had done.
        width, height: in pixels.
        encoding: how it is encoded.
        bytes: of the file.
        seconds: that this run took.
        left_out: streams of the input that the output does not have.
    """

    output: Path
    frames: int
    resumed: int
    width: int
    height: int
    encoding: Encoding
    bytes: int
    seconds: float
    left_out: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Helpers:
    """Who makes the segments: that many processes on this machine, or the cluster at an address; neither: this one."""

    workers: int = 0
    address: str = ""


def encode(job: Job, output: Path, *, overwrite: bool, progress: Progress, helpers: Helpers | None = None) -> Result:
    """Do a job, or go on with it.

    Args:
        job: what to do.
        output: absolute path of the file to make; its suffix tells the kind.
        overwrite: whether a file of that name may be replaced. It is replaced when the new one is complete.
        progress: who is told.
        helpers: None for this process alone.

    Raises:
        ParagonError: the job cannot be done. Finished segments are kept in the folder beside the output.
        KeyboardInterrupt: it was stopped; the same.
    """
    began = time.monotonic()
    muxer = muxer_for(output)
    _check_job(job, output, overwrite=overwrite)
    rest = job.rest or (None if job.is_script else job.input)
    contents = read_contents(rest, muxer) if rest else None
    with Workshop(output) as workshop, collected_log(progress.note) as log:
        track, origin = (contents.track, contents.start) if contents else (0, Fraction(0))
        source = open_source(job, workshop.index, track, log, origin)
        program, encoding = choose_encoding(job.encoding, source.clip.format, muxer)
        clip = upscaled_clip(source, job, encoding.pix_fmt)
        picture = Picture.of(clip)
        lost = shortfalls(contents, source, job)
        for text in [*lost, *left_out(contents, job, source, encoding, picture)]:
            progress.note(text)
        beside = circumstances(clip, log, program)
        identity = _identity(job, encoding) | beside
        if changes := workshop.resume(identity):
            progress.note(
                f"starting anew, because something has changed ({'; '.join(changes)}); what was made before is kept "
                "until the output is there"
            )
        spans = all_spans(clip.num_frames, job.segment_frames)
        missing = [span for span in spans if span.number not in workshop.segments]
        done = sum(segment.frames for segment in workshop.segments.values())
        if done:
            progress.note(f"going on: {done} of {clip.num_frames} frames are done")
        progress.begin(total=clip.num_frames, done=done)
        try:
            if helpers and missing:
                order = Order(
                    job=job,
                    track=track,
                    origin=origin,
                    encoding=encoding,
                    picture=picture,
                    index=workshop.index,
                    circumstances=beside,
                    threads=max(1, vs.core.num_threads // helpers.workers) if helpers.workers else 0,
                )
                _make_elsewhere(helpers, order, missing, workshop, progress)
            else:
                _make(clip, missing, program, picture, encoding, workshop, progress)
            if _identity(job, encoding) | beside != identity:
                raise EncodeFailure(f"{job.input} or a script has changed meanwhile; run the command again.")
            timing = _timing(source, clip, workshop, contents.begin if contents else None)
            part = workshop.part(output.name)
            command = join_command(
                program,
                picture,
                encoding,
                part,
                muxer=muxer,
                shift=-timing.shift - origin - Fraction(job.start),
                rest=rest,
                part=(job.start, job.end),
                contents=contents,
                cover=contents.cover.write(workshop.folder) if contents and contents.cover else None,
            )
            join(
                command,
                [workshop.path(span.number) for span in spans],
                timing,
                contents.metadata if contents else {},
            )
            size = part.stat().st_size
            workshop.deliver(part)
        except KeyboardInterrupt:
            kept = sum(segment.frames for segment in workshop.segments.values())
            goes_on = f"; {kept} of {clip.num_frames} frames are kept, the same command goes on" if kept else ""
            raise KeyboardInterrupt(f"stopped{goes_on}") from None
        finally:
            progress.close()
    return Result(
        output=output,
        frames=clip.num_frames,
        resumed=done,
        width=clip.width,
        height=clip.height,
        encoding=encoding,
        bytes=size,
        seconds=time.monotonic() - began,
        left_out=contents.left_out if contents else (),
    )


def _make(
    clip: vs.VideoNode,
    missing: Sequence[Span],
    program: str,
    picture: Picture,
    encoding: Encoding,
    workshop: Workshop,
    progress: Progress,
) -> None:
    """Encode what is missing, one segment after the other; the frames of a stretch are rendered without a pause."""
    size = sum(segment.bytes for segment in workshop.segments.values())
    for stretch in stretches(missing):
        with closing(render(clip, stretch[0].first, stretch[-1].last)) as frames:
            for span in stretch:
                part = workshop.part("segment.mkv")
                command = segment_command(program, picture, encoding, part)
                made = encode_segment(frames, span, command, part, partial(progress.advance, 1, size))
                workshop.keep(span.number, part, made)
                size += made.bytes


def _make_elsewhere(
    helpers: Helpers, order: Order, missing: Sequence[Span], workshop: Workshop, progress: Progress
) -> None:
    def tell(segment: Segment) -> None:
        progress.advance(segment.frames, sum(made.bytes for made in workshop.segments.values()))

    with open_client(workers=helpers.workers, address=helpers.address) as client:
        who = helpers.address or f"{helpers.workers} process{'es' if helpers.workers > 1 else ''}"
        progress.note(f"segments are made by {who}; dashboard: {client.dashboard_link}")
        make_on_cluster(client, order, missing, workshop, tell)


def _timing(source: Source, clip: vs.VideoNode, workshop: Workshop, begin: Fraction | None) -> Timing:
    """Return when the frames are shown: as in the file, by the times that came through a script, else by durations.

    Args:
        source, clip, workshop: of the encode.
        begin: when pictures begin in the file that the rest comes from; None if there is no such file.
    """
    if len(source.timestamps) == clip.num_frames:
        return timing_of_file(source.timestamps, source.time_base)
    segments = [segment for _, segment in sorted(workshop.segments.items())]
    if begin is not None:
        time_base = source.time_base if source.timestamps else MICROSECOND
        stamps = [round(time / time_base) for segment in segments for time in segment.times]
        if len(stamps) == clip.num_frames and all(earlier < later for earlier, later in pairwise(stamps)):
            return timing_of_file(stamps, time_base)
    start = source.timestamps[0] * source.time_base if source.timestamps else begin or Fraction(0)
    return timing_of_durations(segments, Fraction(clip.fps) or Fraction(25), start)


def _identity(job: Job, encoding: Encoding) -> dict[str, Any]:
    try:
        return job.identity() | asdict(encoding)
    except OSError as error:
        raise EncodeFailure(f"{error.filename} has vanished.") from error


def _sweep(output: Path) -> None:
    """Remove the folder that a run left which was killed when its output was there already."""
    workshop = Workshop(output)
    if workshop.folder.is_dir():
        with workshop:
            workshop.sweep()


def _check_job(job: Job, output: Path, *, overwrite: bool) -> None:
    for path in (job.input, job.filter_script, job.rest):
        if path is not None and not path.is_file():
            raise InvalidInput(f"there is no file {path}.")
    if output.exists() and any(output.samefile(path) for path in (job.input, job.rest) if path):
        raise InvalidInput("the output is the input; give another name.")
    if job.rest and not job.is_script:
        raise InvalidInput("--rest-from is for scripts; a video file brings its own sound and everything else.")
    if job.is_script and (job.start or job.end):
        raise InvalidInput(
            "--start and --end are for video files; cut a script's clip in the script: clip[first:last]."
        )
    if output.exists() and not overwrite:
        _sweep(output)
        raise InvalidInput(f"{output} exists; add -y to replace it.")
    if not output.parent.is_dir():
        raise InvalidInput(f"there is no folder {output.parent}; make it first.")
