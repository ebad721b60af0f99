"""Run a comparison from beginning to end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import vapoursynth as vs

from vsparagon.compare.page import make_page
from vsparagon.compare.sheet import make_sheet
from vsparagon.compare.versions import Picture, Version, read_still, versions_of
from vsparagon.errors import InvalidInput, ParagonError, reason_of
from vsparagon.image.stills import SUFFIXES
from vsparagon.input.job import Job, Network
from vsparagon.input.opening import open_to_view
from vsparagon.input.source import Source, rate_of
from vsparagon.log import collected_log
from vsparagon.models.bundled import bundled
from vsparagon.system.files import replacing, write_atomically

SHARES = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))  # where in the video to take frames if no times are given


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        sheet: path of the PNG file.
        page: path of the HTML file.
        frames: number of frames in each.
        versions: names of the versions.
    """

    sheet: Path
    page: Path
    frames: int
    versions: Sequence[str]


def compare(
    job: Job,
    folder: Path,
    *,
    at: Sequence[float],
    variants: Sequence[str],
    peers: Sequence[str],
    tell: Callable[[str], None],
) -> Comparison:
    """Enlarge some frames in several ways, and write them to compare.png and compare.html.

    Args:
        job: the input, and the network arguments that all variants share.
        folder: where both files are written; created if it is missing.
        at: times in seconds from the first frame; empty for three frames spread over the video, and for an image.
        variants: as `versions_of` takes them; empty for all bundled ones, or for none if the job has a model file.
        peers: names in `vsparagon.compare.versions.KERNELS`.
        tell: called with each message for the user.

    Raises:
        ParagonError: the input, a variant or a peer cannot be used, or the files cannot be written.
    """
    with collected_log(tell):
        still = job.input.suffix.lower() in SUFFIXES
        if still and at:
            raise InvalidInput(f"{job.input.name} is an image; --at is for videos.")
        source = _still(job) if still else open_to_view(job).source
        if source.upscaled:
            raise InvalidInput(f"{job.filter_script or job.input} calls core.paragon.Upscale itself; remove that call.")
        numbers = [0] if still else _numbers(source, at)
        network = job.network or Network()
        versions = versions_of(
            source.clip,
            variants=variants or ([] if network.model else _bundled(network)),
            peers=peers,
            network=network,
            device_id=job.device_id,
            num_streams=job.num_streams,
            cache=job.cache,
        )
        titles = ["picture"] if still else [_title(source, n) for n in numbers]
        with _refusals(folder):  # before the work starts: the input's folder may be read-only
            folder.mkdir(parents=True, exist_ok=True)
        frames = {}
        for place, (title, n) in enumerate(zip(titles, numbers, strict=True), start=1):
            tell(f"upscaling {place} of {len(numbers)}: {title}")
            frames[title] = _pictures(versions, n)
    large = versions[0].clip
    description = (
        f"{source.clip.width}x{source.clip.height} upscaled to {large.width}x{large.height} with "
        f"{', '.join(version.name for version in versions)}."
    )
    sheet, page = folder / "compare.png", folder / "compare.html"
    html = make_page(job.input.name, description, frames).encode()  # which takes a while: both files change at the end
    with _refusals(folder):
        with replacing(sheet) as draft:
            make_sheet(frames).save(draft, "PNG", compress_level=6)
        write_atomically(page, html)
    return Comparison(sheet=sheet, page=page, frames=len(frames), versions=[version.name for version in versions])


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ParagonError(f"cannot write in {folder}: {reason}; choose another with --output.") from error


def _still(job: Job) -> Source:
    if not job.input.is_file():
        raise InvalidInput(f"there is no file {job.input}.")
    if job.filter_script:
        raise InvalidInput("--filter-script is for videos.")
    return Source(clip=read_still(job.input), upscaled=False)


def _bundled(network: Network) -> list[str]:
    """Return the variants that have weights for the network's scale, profile and precision.

    If there are none, return the network's own variant, so that opening it raises the error.
    """
    there = bundled(quantised=network.precision == "int8")
    kind = (network.scale, network.profile)
    return [variant for variant, *rest in there if tuple(rest) == kind] or [network.variant]


def _numbers(source: Source, at: Sequence[float]) -> list[int]:
    """Return the numbers of the frames on the screen at these times (seconds), in order and without repeats."""
    if not at:
        return sorted({int(source.clip.num_frames * share) for share in SHARES})
    times = _times(source)
    lasts = float(times[-1] + 1 / rate_of(source.clip))
    if late := [time for time in at if time >= lasts]:
        raise InvalidInput(f"--at is {late[0]:g} s, but the video lasts {lasts:.1f} s.")
    return sorted({max(bisect_right(times, time + 1e-6) - 1, 0) for time in at})


def _times(source: Source) -> list[Fraction]:
    """Return when each frame is shown, in seconds from the first one."""
    stamps = source.timestamps
    if len(stamps) == source.clip.num_frames:
        return [(stamp - stamps[0]) * source.time_base for stamp in stamps]
    rate = rate_of(source.clip)
    return [n / rate for n in range(source.clip.num_frames)]


def _title(source: Source, n: int) -> str:
    minutes, hundredths = divmod(round(100 * _times(source)[n]), 6000)  # rounded first: 59.998 s is 1:00.00
    return f"{minutes}:{hundredths / 100:05.2f}, frame {n}"


def _pictures(versions: Sequence[Version], n: int) -> dict[str, Picture]:
    try:
        return {version.name: version.picture(n) for version in versions}
    except vs.Error as error:
        raise ParagonError(f"frame {n} cannot be made: {reason_of(error)}") from error
