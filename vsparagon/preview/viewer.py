"""vsview and vspreview: programs that show the outputs of a script, frame by frame or playing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import vapoursynth as vs

from vsparagon.colour import MATRICES, UNSPECIFIED, usual_matrix
from vsparagon.errors import BackendUnavailable, ParagonError
from vsparagon.frames import first_frame
from vsparagon.input.job import Job
from vsparagon.input.opening import open_to_view
from vsparagon.log import collected_log
from vsparagon.preview import VIEWERS
from vsparagon.preview.levels import enlarged_plainly, levels_for

SCRIPT: Final = """\
from pathlib import PosixPath, WindowsPath

from {viewer} import set_output
from vsparagon.input.job import Encoding, Job, Network
from vsparagon.preview.viewer import outputs

job = {job!r}
for number, (name, clip) in enumerate(outputs(job, ab={ab})):
    set_output(clip, number, name)
"""


def find_viewer(name: str) -> str:
    """Return the viewer of that name, or the first that is installed when it is "", or "" if none is.

    Raises:
        BackendUnavailable: the one that is named is not installed.
    """
    found = next((viewer for viewer in VIEWERS if name in ("", viewer) and find_spec(viewer)), "")
    if name and not found:
        raise BackendUnavailable(f"{name} is not installed; install it with pip install {name}.")
    return found


def outputs(job: Job, *, ab: bool) -> list[tuple[str, vs.VideoNode]]:
    """Return what a viewer shows, with names: the source enlarged by bicubic, the result, perhaps the halves of both.

    Raises:
        ParagonError: the input or the network cannot be used.
    """
    with collected_log():
        source = open_to_view(job).source
        level = levels_for(source, job, ab=False)[0]
        result = level.open()
        if source.upscaled:
            return [(level.name, _described(result))]
        shown = [("source", enlarged_plainly(source, result)), (level.name, result)]
        if ab:
            shown.append(("both", levels_for(source, job, ab=True)[0].open()))
        return [(name, _described(clip)) for name, clip in shown]


def _described(clip: vs.VideoNode) -> vs.VideoNode:
    """Return the clip with all its colours named as players take them: viewers cannot convert what is named in part."""
    with first_frame(clip) as frame:
        said = {name: frame.props.get(name, UNSPECIFIED) for name in ("_Matrix", "_Primaries", "_Transfer")}
        guessed = MATRICES["709" if usual_matrix(frame) == MATRICES["709"] else "170m"]  # one number for all three
    missing = {name: guessed for name, value in said.items() if value == UNSPECIFIED}
    described: vs.VideoNode = clip.std.SetFrameProps(**missing) if missing else clip
    return described


def view(job: Job, viewer: str, *, ab: bool) -> None:
    """Show a job's input and result, and return when the viewer is closed.

    Raises:
        InvalidInput: there is no such input.
        ParagonError: the viewer failed.
    """
    outputs(job, ab=ab)  # or the viewer would show the error, as Python does
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / f"{job.input.stem}.vpy"
        script.write_text(SCRIPT.format(viewer=viewer, job=job, ab=ab), encoding="utf-8")
        code = subprocess.run([sys.executable, "-m", viewer, str(script)], stdout=sys.stderr).returncode
    if code:
        raise ParagonError(
            f"{viewer} failed with exit code {code}; its output is above. You can use --player mpv instead."
        )
