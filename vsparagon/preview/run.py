"""Run a preview from beginning to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vsparagon.errors import InvalidInput, ParagonError, reason_of
from vsparagon.frames import first_frame
from vsparagon.input.job import Job
from vsparagon.input.opening import open_to_view
from vsparagon.log import collected_log
from vsparagon.preview.description import described
from vsparagon.preview.levels import levels_for
from vsparagon.preview.player import RunningPlayer, Show, player_command
from vsparagon.preview.screen import Screen
from vsparagon.preview.server import served
from vsparagon.preview.virtual_file import VirtualFile


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a preview went.

    Attributes:
        frames: number of frames that the player took.
        level: name of the level that made the last ones.
        achieved: frames per second since the last switch or seek, at most `wanted`; 0 if there were too few to tell.
        wanted: the clip's frames per second.
    """

    frames: int
    level: str
    achieved: float
    wanted: float


def preview(job: Job, program: str, *, start: float, ab: bool, tell: Callable[[str], None]) -> Report:
    """Show a job's result in a player, and return when the player ends.

    Args:
        job: the input and the network.
        program: path of the player.
        start: where to begin, in seconds from the first frame.
        ab: whether the left half shows the source, enlarged by bicubic.
        tell: called with each message for the user.

    Raises:
        ParagonError: the input or the network cannot be used, a frame cannot be made, or the player failed.
    """
    with collected_log(tell):
        opened = open_to_view(job)
        source, lasts = opened.source, opened.lasts
        if start >= lasts:
            raise InvalidInput(f"--start is {start:g} s, but {job.input.name} lasts {lasts:.1f} s.")
        if ab and source.upscaled:
            raise InvalidInput(f"{job.filter_script or job.input} calls core.paragon.Upscale itself; leave --ab out.")
        screen = Screen(levels_for(source, job, ab=ab), tell)
        if opened.note:
            tell(opened.note)
        failures: list[Exception] = []

        def fail(error: Exception) -> None:
            failures.append(error)
            player.stop()

        with first_frame(screen.clip) as frame:
            props = dict(frame.props)
        video = described(screen.clip, props, opened.times, job.input.name)
        with served(VirtualFile(screen.clip, video, screen.delivered), screen.begin, fail) as address:
            show = Show(
                address=address,
                title=job.input.name,
                start=start,
                chroma_location=props.get("_ChromaLocation", 0),
                beside=job.input,
                kinds=opened.beside,
                ahead=opened.ahead,
            )
            with RunningPlayer(player_command(program, show)) as player:
                code = player.wait()
    if failures:
        raise ParagonError(f"a frame cannot be made: {reason_of(failures[0])}") from failures[0]
    if code:
        raise ParagonError(f"{program} failed with exit code {code}; its output is above.")
    return Report(frames=screen.frames, level=screen.level, achieved=screen.speed, wanted=screen.wanted)
