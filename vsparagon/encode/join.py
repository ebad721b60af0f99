"""Join the segments and the input's other streams into the output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vsparagon.encode.parts import Segment
from vsparagon.encode.process import FedProcess
from vsparagon.errors import EncodeFailure
from vsparagon.system.interrupt import Interrupt
from vsparagon.wording import counted

FINEST = 1_000_000_000  # ticks per second: the finest time base that containers can use
MICROSECOND = Fraction(1, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When the frames are shown.

    Attributes:
        ticks: timestamps of all frames in display order, in units of `time_base`; never negative.
        time_base: length of a tick in seconds.
        shift: seconds that were added to all timestamps so that none is negative.
    """

    ticks: Sequence[int]
    time_base: Fraction
    shift: Fraction


def timing_of_file(timestamps: Sequence[int], time_base: Fraction) -> Timing:
    """Return the timing given by a file's own timestamps.

    Args:
        timestamps: of all frames in display order, strictly rising, in units of `time_base`; at least one.
        time_base: in seconds.
    """
    add = max(0, -timestamps[0])
    return Timing(ticks=[stamp + add for stamp in timestamps], time_base=time_base, shift=add * time_base)


def timing_of_durations(segments: Iterable[Segment], rate: Fraction, start: Fraction) -> Timing:
    """Return the timing that follows from the durations of all frames.

    Args:
        segments: in display order.
        rate: frames per second for the frames without a duration.
        start: timestamp of the first frame in seconds.
    """
    runs = [
        (Fraction(numerator, denominator) or 1 / rate, count)
        for segment in segments
        for numerator, denominator, count in segment.durations
    ]
    ticks_in_second = math.lcm(start.denominator, *(duration.denominator for duration, _ in runs))
    time_base = Fraction(1, ticks_in_second) if ticks_in_second <= FINEST else MICROSECOND
    shift = max(Fraction(0), -start)
    times, time = [], start + shift
    for duration, count in runs:
        times += [round((time + n * duration) / time_base) for n in range(count)]
        time += count * duration
    return Timing(ticks=times, time_base=time_base, shift=shift)


def join(command: list[str], files: Sequence[Path], timing: Timing, metadata: Mapping[str, str]) -> None:
    """Feed the encoded frames of all segments, with their timestamps, to the command that writes the output.

    Args:
        command: an ffmpeg command that reads NUT from standard input.
        files: the segments in order.
        timing: of all their frames.
        metadata: tags of the video stream.

    Raises:
        EncodeFailure: ffmpeg failed, a segment is damaged or does not fit the others, or the frame count is wrong.
        KeyboardInterrupt: Ctrl-C.
    """
    with FedProcess(command) as muxer:
        pipe = _Pipe(muxer)
        with Interrupt() as interrupt:
            try:
                _write_nut(pipe, files, timing, metadata, interrupt)
            except av.FFmpegError as error:
                raise pipe.raised or EncodeFailure(f"the segments cannot be joined: {error}") from error
        if interrupt.asked:
            raise KeyboardInterrupt
        muxer.finish()


class _Pipe:
    """A file object for PyAV to write to. PyAV reports only the errno of an error raised in it, so it is kept here.

    Attributes:
        raised: the last error raised by `write`, or None.
    """

    def __init__(self, process: FedProcess) -> None:
        self._process = process
        self.raised: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._process.write(data)
        except BaseException as error:
            self.raised = error
            raise


def _write_nut(
    pipe: _Pipe, files: Sequence[Path], timing: Timing, metadata: Mapping[str, str], interrupt: Interrupt
) -> None:
    delay = max(_reordering(file) for file in files)
    # Decoding timestamps may be negative. NUT does not store them, so there is no need to shift the video for their
    # sake, which would put it out of sync with the audio.
    with av.open(pipe, "w", format="nut", options={"avoid_negative_ts": "disabled"}) as nut:
        stream: Any = None
        header = b""
        first = 0
        for file in files:
            with av.open(str(file)) as container:
                video = container.streams.video[0]
                extradata = bytes(video.codec_context.extradata or b"")
                if stream is None:
                    header = extradata
                    stream = nut.add_stream_from_template(video, opaque=True)  # opaque: do not look for an encoder
                    stream.time_base = timing.time_base
                    stream.metadata.update(metadata)
                elif extradata != header:
                    raise EncodeFailure(f"{file} was made by another version of the encoder; remove {file.parent}.")
                count = 0
                for count, (packet, place) in enumerate(_placed(container), start=1):
                    packet.stream = stream
                    packet.time_base = timing.time_base
                    packet.pts, packet.dts = timing.ticks[first + place], _decoding(timing, first + count - 1 - delay)
                    nut.mux_one(packet)
                    if interrupt.asked:  # raised inside PyAV, it would be lost together with the packet being written
                        raise KeyboardInterrupt
                first += count
        if first != len(timing.ticks):
            raise EncodeFailure(
                f"the segments have {counted(first, 'frame')} instead of {len(timing.ticks)}; remove {file.parent}."
            )


def _decoding(timing: Timing, place: int) -> int:
    """Return the decoding timestamp of a frame in ticks.

    Args:
        timing: of all frames.
        place: of the frame in storage order, less the reordering delay; negative for the first frames of a delay.
    """
    return timing.ticks[place] if place >= 0 else timing.ticks[0] + place


def _placed(container: av.container.InputContainer) -> Iterator[tuple[Any, int]]:
    """Yield the video packets in storage order, each with its place in display order.

    Raises:
        EncodeFailure: several packets have the same timestamp.
    """
    packets = [packet for packet in container.demux(video=0) if packet.size]
    places = {stamp: place for place, stamp in enumerate(sorted(int(packet.pts or 0) for packet in packets))}
    if len(places) < len(packets):
        raise EncodeFailure(f"{container.name} has several frames at one time; remove it.")
    for packet in packets:
        yield packet, places[int(packet.pts or 0)]


def _reordering(file: Path) -> int:
    """Return the reordering delay of a file: how many places a frame is stored after its place in display order."""
    with av.open(str(file)) as container:
        return max(stored - shown for stored, (_, shown) in enumerate(_placed(container)))
