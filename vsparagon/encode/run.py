"""Run an encode from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import vapoursynth as vs

from vsparagon.choice import noted_choices
from vsparagon.encode.cluster import SegmentContext, make_on_cluster, open_client
from vsparagon.encode.codec import check_device, choose_encoding
from vsparagon.encode.commands import RawVideo, join_command, segment_command, texts_command
from vsparagon.encode.contents import Contents, Cover, muxer_for, read_contents
from vsparagon.encode.fingerprint import fingerprint
from vsparagon.encode.join import MICROSECOND, Timing, join, timing_of_durations, timing_of_file
from vsparagon.encode.left_out import left_out, remarks
from vsparagon.encode.parts import PartsFolder
from vsparagon.encode.process import FedProcess
from vsparagon.encode.progress import Progress
from vsparagon.encode.segment import Span, all_spans, encode_segment, render, stretches
from vsparagon.encode.sound import check_sound
from vsparagon.errors import DecodingFailure, EncodeFailure, InvalidInput, check_name
from vsparagon.input.job import Encoding, Job
from vsparagon.input.pixel_formats import PIXEL_FORMATS
from vsparagon.input.source import NO_TRACK, Source, open_source, rate_of, upscaled_clip
from vsparagon.input.streams import Track
from vsparagon.log import collected_log
from vsparagon.wording import counted


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of an encode.

    Attributes:
        output: path of the finished file.
        frames: number of frames in it.
        resumed: how many of these an earlier run had encoded.
        width, height: in pixels.
        encoding: complete, with every default filled in.
        bytes: size of the file.
        seconds: wall-clock time of this run.
        left_out: what the output lacks of the input, a few words each.
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
class Workers:
    """Who encodes the segments.

    Attributes:
        count: number of worker processes on this machine; 0 if there is an address.
        address: of a Dask scheduler, or "".
    """

    count: int = 0
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """An input, ready to be encoded.

    Attributes:
        contents: describes the file that audio and everything else come from; None if there is no such file.
        covers: files that hold its covers.
        track: the video stream in that file.
        muxer: ffmpeg's name for the output container.
        source, clip: before and after upscaling.
        program: path of ffmpeg.
        encoding: complete, with every default filled in.
        video: what the clip's raw frames do not say about themselves.
        fingerprint: what decides the pictures, apart from the job.
        left_out: what the output lacks of the input.
    """

    contents: Contents | None
    covers: Sequence[Path]
    track: Track
    muxer: str
    source: Source
    clip: vs.VideoNode
    program: str
    encoding: Encoding
    video: RawVideo
    fingerprint: Mapping[str, str]
    left_out: Sequence[str]


def encode(job: Job, output: Path, *, overwrite: bool, progress: Progress, workers: Workers | None = None) -> Result:
    """Do a job, or resume it.

    Args:
        job: the input and how to process it.
        output: absolute path of the file to make; its suffix chooses the container.
        overwrite: whether an existing output may be replaced. It is replaced only when the new one is complete.
        progress: receives progress and notes; it is closed at the end.
        workers: who encodes the segments; None for this process.

    Raises:
        ParagonError: the job cannot be done.
        KeyboardInterrupt: it was stopped. In either case, finished segments are kept in the folder next to the output.
    """
    try:
        return _encode(job, output, overwrite=overwrite, progress=progress, workers=workers)
    except DecodingFailure as failure:
        # Several threads fail at some frames of a damaged file, not always the same ones; a single one fails at none.
        if job.decoder_threads == 1:
            raise
        progress.note(f"{failure} Going on with a single thread for decoding.")
        job = replace(job, decoder_threads=1)
        return _encode(job, output, overwrite=overwrite, progress=progress, workers=workers)


def _encode(job: Job, output: Path, *, overwrite: bool, progress: Progress, workers: Workers | None) -> Result:
    began = time.monotonic()
    muxer = muxer_for(output)
    _check_job(job, output, overwrite=overwrite)
    with PartsFolder(output) as parts, collected_log(progress.note):
        opened = _open(job, muxer, parts, progress)
        if not (workers and workers.address):  # a cluster's machines may have what this one lacks
            check_device(opened.encoding.codec)
        frames = opened.clip.num_frames
        identity = _identity(job, opened)
        if changes := parts.resume(identity):
            progress.note(
                f"starting over, because something has changed ({'; '.join(changes)}); the earlier segments are kept "
                "until the output is complete"
            )
        spans = all_spans(frames, job.segment_frames)
        missing = [span for span in spans if span.number not in parts.segments]
        if done := parts.frames:
            progress.note(f"resuming: {done} of {counted(frames, 'frame')} done")
        progress.begin(total=frames, done=done)
        try:
            if workers and missing:
                _make_elsewhere(job, opened, missing, workers, parts, progress)
            else:
                _make(opened, missing, parts, progress)
            if _identity(job, opened) != identity:
                raise EncodeFailure(f"{job.input} or a script changed during the encode; run the command again.")
            draft = _joined(job, opened, spans, parts)
            lost = [*opened.left_out, *_unlike(parts, progress)]
            size = draft.stat().st_size
            parts.deliver(draft, overwrite=overwrite)
        except KeyboardInterrupt:
            kept = parts.frames
            goes_on = f"; {kept} of {counted(frames, 'frame')} kept; run the same command to resume" if kept else ""
            raise KeyboardInterrupt(f"stopped{goes_on}") from None
        finally:
            progress.close()
    return Result(
        output=output,
        frames=frames,
        resumed=done,
        width=opened.clip.width,
        height=opened.clip.height,
        encoding=opened.encoding,
        bytes=size,
        seconds=time.monotonic() - began,
        left_out=lost,
    )


def _unlike(parts: PartsFolder, progress: Progress) -> list[str]:
    """Report what only the finished segments tell that the output lacks, and return it."""
    count = sum(segment.unlike for segment in parts.segments.values())
    lost = [f"the labels of {counted(count, 'frame')} with other colours or pixels than the first"] if count else []
    for what in lost:
        progress.note(f"left out: {what}")
    return lost


def _open(job: Job, muxer: str, parts: PartsFolder, progress: Progress) -> _Opened:
    """Open the input and the network, and report what the output will lack of the input."""
    rest = job.rest or (None if job.is_script else job.input)
    contents = read_contents(rest, muxer) if rest else None
    track = contents.track if contents else NO_TRACK
    with noted_choices() as choices:
        source = open_source(job, parts.index, track)
        if contents and source.anew:
            raise _in_pieces(contents, source)
        program, encoding = choose_encoding(job.encoding, source.clip.format, muxer)
        if contents:
            check_sound(program, contents, muxer, parts.draft(f"sound{parts.output.suffix}"))
        clip = upscaled_clip(source, job, PIXEL_FORMATS[encoding.pix_fmt])
    video = RawVideo.of(clip)
    lost = left_out(contents, job, source, encoding, video)
    for text in [*remarks(contents, source, job), *(f"left out: {what}" for what in lost)]:
        progress.note(text)
    return _Opened(
        contents=contents,
        covers=_write_covers(contents.covers, parts) if contents else (),
        track=track,
        muxer=muxer,
        source=source,
        clip=clip,
        program=program,
        encoding=encoding,
        video=video,
        fingerprint=fingerprint(clip, choices, program),
        left_out=lost,
    )


def _in_pieces(contents: Contents, source: Source) -> InvalidInput:
    sound = " -map 0:a" if any(stream.kind == "audio" for stream in contents.carried) else ""
    return InvalidInput(
        f"the timestamps of {contents.path} begin anew at frame {source.anew}, as in recordings that were joined, so "
        "that the sound would not fit the pictures; write the file anew, and encode that: "
        f'ffmpeg -fflags +genpts -i "{contents.path}" -map 0:v{sound} -c copy new.mkv'
    )


def _write_covers(covers: Sequence[Cover], parts: PartsFolder) -> list[Path]:
    """Write the covers to files for ffmpeg, under neutral names: a cover's own name may be invalid for a file."""
    files = []
    for cover in covers:
        files.append(parts.draft("cover"))
        with parts.failing_clearly():
            files[-1].write_bytes(cover.data)
    return files


def _make(opened: _Opened, missing: Sequence[Span], parts: PartsFolder, progress: Progress) -> None:
    """Encode the missing segments in this process; one prefetching iterator renders each run of adjacent segments."""
    size = parts.bytes
    for stretch in stretches(missing):
        with closing(render(opened.clip, stretch[0].first, stretch[-1].last)) as frames:
            for span in stretch:
                draft = parts.draft("segment.mkv")
                command = segment_command(opened.program, opened.video, opened.encoding, draft)
                made = encode_segment(frames, span, opened.video, command, draft, partial(progress.advance, 1, size))
                parts.keep(span.number, draft, made)
                size += made.bytes


def _make_elsewhere(
    job: Job, opened: _Opened, missing: Sequence[Span], workers: Workers, parts: PartsFolder, progress: Progress
) -> None:
    """Have the missing segments encoded by other processes."""
    context = SegmentContext(
        job=job,
        track=opened.track,
        encoding=opened.encoding,
        video=opened.video,
        index=parts.index,
        fingerprint=opened.fingerprint,
        threads=max(1, vs.core.num_threads // workers.count) if workers.count else 0,
    )
    with open_client(workers=workers.count, address=workers.address) as client:
        who = workers.address or counted(workers.count, "process")
        progress.note(f"segments are encoded by {who}; dashboard: {client.dashboard_link}")
        make_on_cluster(client, context, missing, parts, lambda segment: progress.advance(segment.frames, parts.bytes))


def _joined(job: Job, opened: _Opened, spans: Sequence[Span], parts: PartsFolder) -> Path:
    """Return the complete file, still under a temporary name."""
    contents = opened.contents
    timing = _timing(opened.source, opened.clip, parts, contents.begin if contents else None)
    draft, texts = parts.draft(f"output{parts.output.suffix}"), None
    if contents and job.start and any(stream.is_rewritten_text for stream in contents.carried):
        texts = parts.draft(f"subtitles{parts.output.suffix}")
        with FedProcess(texts_command(opened.program, contents, opened.muxer, texts)) as process:
            process.finish()
    command = join_command(
        opened.program,
        opened.video,
        opened.encoding,
        draft,
        muxer=opened.muxer,
        shift=-timing.shift - opened.track.start - Fraction(job.start),
        part=(job.start, job.end),
        contents=contents,
        covers=opened.covers,
        texts=texts,
    )
    join(command, [parts.path(span.number) for span in spans], timing, contents.metadata if contents else {})
    return draft


def _timing(source: Source, clip: vs.VideoNode, parts: PartsFolder, begin: Fraction | None) -> Timing:
    """Return when the frames are shown.

    The file's own timestamps are used if they fit the number of frames; else the absolute times that the frames kept
    through a script; else the frames' durations.

    Args:
        source, clip: before and after upscaling.
        parts: with all segments finished.
        begin: timestamp of the first frame in the file that everything else comes from, in seconds; None if there is
            no such file.
    """
    if len(source.timestamps) == clip.num_frames:
        return timing_of_file(source.timestamps, source.time_base)
    segments = [segment for _, segment in sorted(parts.segments.items())]
    if begin is not None:
        time_base = source.time_base if source.timestamps else MICROSECOND
        stamps = [round(time / time_base) for segment in segments for time in segment.times]
        if len(stamps) == clip.num_frames and all(earlier < later for earlier, later in pairwise(stamps)):
            return timing_of_file(stamps, time_base)
    start = source.timestamps[0] * source.time_base if source.timestamps else begin or Fraction(0)
    return timing_of_durations(segments, rate_of(clip), start)


def _identity(job: Job, opened: _Opened) -> dict[str, Any]:
    """Return everything that decides the result; an encode is resumed only if it is unchanged.

    Raises:
        EncodeFailure: a file that the job names no longer exists.
    """
    try:
        return job.identity() | asdict(opened.encoding) | dict(opened.fingerprint)
    except OSError as error:
        raise EncodeFailure(f"{error.filename} no longer exists.") from error


def _sweep(output: Path) -> None:
    """Remove the folder of a run that was killed after it had delivered the output."""
    parts = PartsFolder(output)
    if parts.folder.is_dir() and not parts.is_foreign():
        with parts:
            parts.sweep()


def _check_job(job: Job, output: Path, *, overwrite: bool) -> None:
    job.check_files()
    check_name(output)
    if output.exists() and any(output.samefile(path) for path in (job.input, job.rest) if path):
        raise InvalidInput("the output is the input; give another name.")
    if job.rest and not job.is_script:
        raise InvalidInput("--rest-from is for scripts; a video file has its own audio and everything else.")
    if job.is_script and (job.start or job.end):
        raise InvalidInput(
            "--start and --end are for video files; trim the clip in the script instead: clip[first:last]."
        )
    if output.is_dir():
        raise InvalidInput(f"{output} is a folder; give the name of a file.")
    if output.exists() and not overwrite:
        _sweep(output)
        raise InvalidInput(f"{output} exists; add -y to replace it.")
    if not output.parent.is_dir():
        raise InvalidInput(f"there is no folder {output.parent}; create it first.")
