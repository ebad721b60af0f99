"""Turn the input into a clip, through BestSource or a script, and upscale it."""

from __future__ import annotations

import contextlib
import runpy
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import vapoursynth as vs

from vsparagon.choice import noted_choices
from vsparagon.colours.description import usual_matrix
from vsparagon.errors import BackendUnavailable, InvalidInput
from vsparagon.extras import installation
from vsparagon.frames import first_frame
from vsparagon.input.job import Job, Network
from vsparagon.input.streams import Track
from vsparagon.input.times import mended, new_beginning
from vsparagon.system.waiting import call_in_thread

NO_TRACK: Final = Track()
STATIC_METADATA: Final = ("MasteringDisplay", "ContentLightLevel")  # prefixes of frame properties


@dataclass(frozen=True, kw_only=True)
class Source:
    """A clip to upscale, or one that a script has upscaled.

    Attributes:
        clip: the clip.
        upscaled: whether a script has upscaled it with `core.paragon.Upscale`.
        rate: frames per second of the file (before any script), on average; 0 if there is no file.
        timestamps: of the file's frames (before any script), strictly rising, in units of `time_base`; empty if there
            is no file or its timestamps are useless.
        time_base: in seconds.
        strayed: how many timestamps were missing or wrong in the whole file and are interpolated here.
        anew: number of the first frame in the whole file at which its timestamps begin anew; 0 if they do not.
    """

    clip: vs.VideoNode
    upscaled: bool
    rate: Fraction = Fraction(0)
    timestamps: Sequence[int] = ()
    time_base: Fraction = Fraction(1)
    strayed: int = 0
    anew: int = 0


def open_source(job: Job, index: Path, track: Track = NO_TRACK) -> Source:
    """Open the input and run the scripts of a job.

    Args:
        job: the job.
        index: path prefix for BestSource's index of the file; not used for a script.
        track: the video stream in the file; not used for a script. `job.start` and `job.end` count from its start.

    Raises:
        BackendUnavailable: BestSource is not installed.
        InvalidInput: the input or a script cannot be used.
    """
    if job.is_script:
        clip, upscaled = run_script(job.input, {})
        return Source(clip=clip, upscaled=upscaled)
    if not hasattr(vs.core, "bs"):
        raise BackendUnavailable(f"reading video files needs BestSource; install it with {installation('encode')}.")
    try:
        state = job.input.stat()  # BestSource compares only the size, so the index's name also has the file's time
        # Of a damaged file, the number of frames may depend on the number of threads.
        threads = f".{job.decoder_threads}" if job.decoder_threads else ""
        index = Path(f"{index}-{state.st_size:x}-{state.st_mtime_ns:x}{threads}")
        found = _read_file(job.input, index, track, job.decoder_threads)
    except vs.Error as error:
        raise InvalidInput(f"{job.input} cannot be read as video: {error}") from error
    given = found["timestamps"]
    stored = [given] if isinstance(given, int) else list(given)  # VapourSynth returns one number as it is
    stamps, strayed = mended(stored)
    time_base = Fraction(found["timebasenum"], found["timebaseden"])
    source = Source(
        clip=found["clip"],
        upscaled=False,
        rate=Fraction(found["clip"].fps),
        timestamps=stamps,
        strayed=strayed,
        time_base=time_base,
        anew=new_beginning(stored, 1 / time_base),
    )
    source = _part(source, job, track.start)
    if job.filter_script is None:
        return source
    clip, upscaled = run_script(job.filter_script, {"clip": _with_times(source)})
    return replace(source, clip=clip, upscaled=upscaled)


def _read_file(path: Path, index: Path, track: Track, threads: int) -> dict[str, Any]:
    """Return what BestSource reads from a file: the clip, rotated upright, its timestamps and their time base."""
    options: dict[str, Any] = {"track": track.number, "cachemode": 4, "cachepath": str(index), "showprogress": False}
    if threads:
        options["threads"] = threads
    environment = vs.get_current_environment()  # of this thread; in viewers, other threads have none

    def indexed() -> vs.VideoNode:
        with environment.use():
            return vs.core.bs.VideoSource(str(path), apply_rotation=False, **options)

    def tell() -> None:
        vs.core.log_message(vs.MESSAGE_TYPE_INFORMATION, f"counting the frames of {path.name}")

    stored = call_in_thread(indexed, when_slow=tell)
    with stored.get_frame(0) as frame:
        rotation = int(frame.props.get("Rotation", 0))
        given = Fraction(frame.props.get("_SARNum", 0), frame.props.get("_SARDen", 0) or 1)  # the codec's
    found: dict[str, Any] = vs.core.bs.VideoSource(str(path), exporttimestamps=True, **options)
    # Matroska rounds it to whole pixels, and a small difference means no more than that.
    is_other = track.aspect > 0 and abs(track.aspect - given) * min(stored.width, stored.height) > given
    shape = track.aspect if is_other else given
    if is_other or (shape and rotation % 180):  # BestSource does not turn it with the picture
        across, down = (1 / shape if rotation % 180 else shape).as_integer_ratio()
        found["clip"] = found["clip"].std.SetFrameProps(_SARNum=across, _SARDen=down)
    return found


def _part(source: Source, job: Job, origin: Fraction) -> Source:
    """Return the source cut to the part that the job asks for.

    Raises:
        InvalidInput: the file has no timestamps, or no frame lies in that part.
    """
    if not (job.start or job.end):
        return source
    if not source.timestamps:
        raise InvalidInput(f"{job.input} has no timestamps; trim it with --filter-script instead: clip[first:last].")
    times = [float(stamp * source.time_base - origin) for stamp in source.timestamps]
    first, last = bisect_left(times, job.start), bisect_left(times, job.end) if job.end else len(times)
    if first >= last:
        raise InvalidInput(
            f"there is no frame between --start and --end; the last one of {job.input} is at {times[-1]:.2f} s."
        )
    clip = _with_static_metadata(source.clip[first:last], source.clip)
    return replace(source, clip=clip, timestamps=source.timestamps[first:last])


def _with_static_metadata(part: vs.VideoNode, whole: vs.VideoNode) -> vs.VideoNode:
    """Return a part with the HDR10 metadata of the whole: H.264 stores it only at key frames, so a part may lack it."""
    with first_frame(whole) as frame:
        found = {name: value for name, value in frame.props.items() if name.startswith(STATIC_METADATA)}
    if not found:
        return part
    with first_frame(part) as frame:
        missing = {name: value for name, value in found.items() if name not in frame.props}
    return part.std.SetFrameProps(**missing) if missing else part


def _with_times(source: Source) -> vs.VideoNode:
    """Return the clip with timestamps in seconds as the property `_AbsoluteTime`, which frames keep in a script."""
    if not source.timestamps:
        return source.clip

    def mark(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        marked = f.copy()
        marked.props["_AbsoluteTime"] = float(source.timestamps[n] * source.time_base)
        return marked

    clip: vs.VideoNode = source.clip.std.ModifyFrame(source.clip, mark)
    return clip


def upscaled_clip(source: Source, job: Job, wanted: int) -> vs.VideoNode:
    """Return the clip upscaled, unless a script has done so, and in the given format.

    Args:
        source: the clip.
        job: names the network and how it is run.
        wanted: id of a VapourSynth format.

    Raises:
        ParagonError: the network or the clip cannot be used, or a script upscales although the job names a network.
    """
    if not source.upscaled:
        from vsparagon.filter import upscale

        return upscale(
            source.clip,
            **asdict(job.network or Network()),
            format=wanted,
            device_id=job.device_id,
            num_streams=job.num_streams,
            cache=job.cache,
        )
    if job.network is not None or job.device_id or job.num_streams or (job.is_script and job.cache):
        raise InvalidInput(
            f"{job.filter_script or job.input} calls core.paragon.Upscale itself; leave out either the network "
            "options or that call."
        )
    return converted(source.clip, wanted)


def rate_of(clip: vs.VideoNode) -> Fraction:
    """Return a clip's frames per second; 25 if the clip has no rate."""
    return Fraction(clip.fps) or Fraction(25)


def converted(clip: vs.VideoNode, wanted: int, **size: int) -> vs.VideoNode:
    """Return the clip converted by the bicubic resizer, with error diffusion.

    Args:
        clip: of any format.
        wanted: id of a VapourSynth format, of YUV or of the clip's colour family.
        size: `width` and `height` in pixels; without them, the size stays.
    """
    if clip.format.id == wanted and not size:
        return clip
    arguments: dict[str, Any] = {"format": wanted, "dither_type": "error_diffusion", **size}
    if clip.format.color_family != vs.core.get_video_format(wanted).color_family:
        with first_frame(clip) as frame:
            arguments["matrix"] = usual_matrix(frame)
    converted: vs.VideoNode = clip.resize.Bicubic(**arguments)
    return converted


def run_script(path: Path, names: dict[str, Any]) -> tuple[vs.VideoNode, bool]:
    """Run a VapourSynth script in its own folder, as vspipe does, and return its output 0.

    What the script prints goes to standard error. Transparency is attached as the frame property `_Alpha`.

    Args:
        path: of the script.
        names: global variables that the script finds defined.

    Returns:
        The clip, and whether the script called `core.paragon.Upscale`.

    Raises:
        InvalidInput: the script cannot be read, fails, or outputs no clip of constant format and size.
    """
    vs.clear_outputs()
    try:
        with (
            contextlib.chdir(path.parent),
            contextlib.redirect_stdout(sys.stderr),
            noted_choices() as choices,
        ):
            # A script may import modules from its own folder.
            sys.path.insert(0, str(path.parent))
            try:
                runpy.run_path(str(path), init_globals=names, run_name="__vapoursynth__")
            finally:
                sys.path.remove(str(path.parent))
        output = vs.get_outputs().get(0)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error}.") from error
    except (Exception, SystemExit) as error:  # whatever a script may raise
        raise InvalidInput(f"{path} failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
    finally:
        vs.clear_outputs()
    clip = getattr(output, "clip", None)
    if not isinstance(clip, vs.VideoNode):
        raise InvalidInput(f"{path} outputs no video; call set_output() on a video clip in it.")
    if clip.format is None or not (clip.width and clip.height):
        raise InvalidInput(f"the clip that {path} outputs has variable format or size; convert it to a constant one.")
    if output.alpha is not None:
        clip = clip.std.ClipToProp(output.alpha, prop="_Alpha")
    return clip, bool(choices)
