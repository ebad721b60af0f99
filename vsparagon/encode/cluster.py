"""Encode segments in other processes, on this machine or on others, through Dask.

A worker needs the input (and any scripts and model files) under the same path, this package and an ffmpeg. It returns
each segment as bytes, so that only one process writes to the folder next to the output.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import platform
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Final

import vapoursynth as vs

from vsparagon.choice import noted_choices
from vsparagon.encode.codec import ffmpeg_with
from vsparagon.encode.commands import RawVideo, segment_command
from vsparagon.encode.fingerprint import fingerprint
from vsparagon.encode.parts import PartsFolder, Segment
from vsparagon.encode.segment import Span, encode_segment, render
from vsparagon.errors import EncodeFailure, InvalidInput
from vsparagon.input.job import Encoding, Job
from vsparagon.input.pixel_formats import PIXEL_FORMATS
from vsparagon.input.source import open_source, upscaled_clip
from vsparagon.input.streams import Track
from vsparagon.log import collected_log
from vsparagon.system.interrupt import Interrupt

RETRIES: Final = 2  # for a segment that failed; Dask itself repeats those of a worker that died
CONNECTING_SECONDS: Final = 10
CLOSING_SECONDS: Final = 5

_opening = threading.Lock()  # opening a script changes the working directory, which all threads share


@dataclass(frozen=True, kw_only=True)
class SegmentContext:
    """What all segments of a job have in common.

    Attributes:
        job: what is encoded.
        track: the video stream in the file.
        encoding: complete, with every default filled in.
        video: what raw frames in a pipe do not say about themselves.
        index: path prefix of BestSource's index on the machine that submits the work.
        fingerprint: as `vsparagon.encode.fingerprint.fingerprint` returns it; every worker must get the same.
        threads: VapourSynth threads in each worker; 0 keeps VapourSynth's default.
    """

    job: Job
    track: Track
    encoding: Encoding
    video: RawVideo
    index: Path
    fingerprint: Mapping[str, str]
    threads: int

    def __hash__(self) -> int:
        return hash((self.job, self.track, self.encoding, self.threads))


@contextlib.contextmanager
def open_client(*, workers: int, address: str) -> Iterator[Any]:
    """Connect to a Dask cluster, or start one on this machine for as long as the context is open.

    Args:
        workers: number of local worker processes; ignored if an address is given.
        address: of a Dask scheduler; "" starts a local cluster.

    Raises:
        InvalidInput: there is no scheduler at this address.
    """
    distributed: Any = import_module("distributed")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if address:
        try:
            client = distributed.Client(address, timeout=f"{CONNECTING_SECONDS}s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise InvalidInput(f"there is no Dask scheduler at {address}: {error}.") from error
        with client:
            yield client
        return
    with Interrupt() as interrupt, _interrupts_blocked():  # half-started, a cluster cannot be closed
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    try:
        if interrupt.asked:
            raise KeyboardInterrupt
        with distributed.Client(cluster, set_as_default=False) as client:
            client.run(_leave_interrupts)
            yield client
    finally:
        cluster.close(timeout=CLOSING_SECONDS)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C away from the processes started in the block; where this is not possible, do nothing.

    This process still gets it, at the latest after the block.
    """
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing would start it in the block, which unblocks Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_interrupts() -> None:
    """Ignore Ctrl-C in a worker: the terminal sends it to the submitting process too, which then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_on_cluster(
    client: Any,
    context: SegmentContext,
    missing: Sequence[Span],
    parts: PartsFolder,
    on_segment: Callable[[Segment], None],
) -> None:
    """Have the missing segments made, and keep each one as soon as it arrives.

    Args:
        client: a `distributed.Client`.
        context: what all segments have in common.
        missing: the segments to make; lower numbers are made first.
        parts: the folder that keeps them.
        on_segment: called after each segment has been kept.

    Raises:
        EncodeFailure: a segment cannot be made or kept, or the connection to the cluster is lost.
        ParagonError: whatever a worker raised, such as InvalidInput if it cannot read the input.
    """
    distributed: Any = import_module("distributed")
    futures = {
        client.submit(make_segment, context, span, pure=False, retries=RETRIES, priority=-span.number): span
        for span in missing
    }
    try:
        for future in distributed.as_completed(list(futures), loop=client.loop):
            span = futures.pop(future)
            data, segment = future.result()
            draft = parts.draft("segment.mkv")
            with parts.failing_clearly():
                draft.write_bytes(data)
            parts.keep(span.number, draft, segment)
            future.release()
            on_segment(segment)
    except distributed.KilledWorker as error:
        raise EncodeFailure(f"workers keep dying while encoding a segment: {error}.") from error
    except (distributed.CancelledError, OSError) as error:
        raise EncodeFailure(
            f"the connection to the cluster was lost ({type(error).__name__}); run the command again."
        ) from error
    finally:
        client.cancel(list(futures))


def make_segment(context: SegmentContext, span: Span) -> tuple[bytes, Segment]:
    """Make a segment; runs in a worker.

    Returns:
        The content of the Matroska file, and its description.

    Raises:
        ParagonError: the segment cannot be made here, or would differ from those of the submitting process.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # for what scripts print: local workers share the command's output
            return _made_here(context, span)
    except OSError as error:  # of this machine; for the submitting process, it would be one of the connection
        raise EncodeFailure(
            f"the worker on {platform.node()} cannot make segment {span.number}: {error.strerror or error}; "
            "run the command again."
        ) from error


def _made_here(context: SegmentContext, span: Span) -> tuple[bytes, Segment]:
    with _opening:
        clip, _ = _open(context)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(render(clip, span.first, span.last)) as frames:
        out = Path(folder) / "segment.mkv"
        command = segment_command(ffmpeg_with(context.encoding.codec), context.video, context.encoding, out)
        segment = encode_segment(frames, span, context.video, command, out, lambda: None)
        return out.read_bytes(), segment


@functools.lru_cache(maxsize=1)
def _open(context: SegmentContext) -> tuple[vs.VideoNode, Any]:
    """Open the input as the submitting process did, once for all segments that this worker makes.

    Returns:
        The upscaled clip, and the temporary folder of its index, which must stay alive as long as the clip; None if
        the index is that of the submitting process.

    Raises:
        InvalidInput: the input cannot be read here, or this worker would compute different frames.
    """
    if context.threads:
        vs.core.num_threads = context.threads
    if not context.job.input.is_file():
        raise InvalidInput(
            f"the worker on {platform.node()} cannot read {context.job.input}; put it where all machines "
            "find it under this path."
        )
    index, folder = context.index, None
    if not index.parent.is_dir():  # another machine
        folder = tempfile.TemporaryDirectory(prefix="vsparagon-", ignore_cleanup_errors=True)
        index = Path(folder.name) / "source"
    with collected_log(), noted_choices() as choices:
        source = open_source(context.job, index, context.track)
        clip = upscaled_clip(source, context.job, PIXEL_FORMATS[context.encoding.pix_fmt])
    here = fingerprint(clip, choices, ffmpeg_with(context.encoding.codec))
    if differing := [name for name, value in context.fingerprint.items() if here[name] != value]:
        name = differing[0]
        raise InvalidInput(
            f"the worker on {platform.node()} would compute different frames ({name}: {here[name]}, not "
            f"{context.fingerprint[name]}); install the same packages there, and set --backend and --precision."
        )
    return clip, folder
