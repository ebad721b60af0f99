"""Show a job in vsview or vspreview, programs that step through or play the outputs of a script."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import vapoursynth as vs

from vsparagon.colours.description import MATRICES, UNSPECIFIED, usual_matrix
from vsparagon.errors import BackendUnavailable, ParagonError
from vsparagon.extras import installation
from vsparagon.frames import first_frame
from vsparagon.input.job import Job
from vsparagon.input.opening import open_to_view
from vsparagon.log import collected_log
from vsparagon.preview import VIEWERS
from vsparagon.preview.levels import enlarged_plainly, levels_for

SCRIPT: Final = """\
import pickle
from pathlib import Path

from {viewer} import set_output
from vsparagon.preview.viewer import outputs

job = pickle.loads(Path({job!r}).read_bytes())
for number, (name, clip) in enumerate(outputs(job, ab={ab})):
    set_output(clip, number, name)
"""


def find_viewer(name: str) -> str:
    """Return the name of an installed viewer.

    Args:
        name: one of `VIEWERS`, or "" for the first that is installed.

    Raises:
        BackendUnavailable: the named viewer is not installed, or none is.
    """
    found = next((viewer for viewer in VIEWERS if name in ("", viewer) and find_spec(viewer)), "")
    if name and not found:
        raise BackendUnavailable(f"{name} is not installed; install it with pip install {name}.")
    if not found:
        raise BackendUnavailable(
            f"no player found: install mpv (or ffmpeg's ffplay), or a viewer with {installation('preview')}."
        )
    return found


def outputs(job: Job, *, ab: bool) -> list[tuple[str, vs.VideoNode]]:
    """Return the clips that a viewer shows, with their names: the source enlarged by bicubic, and the result.

    Args:
        job: the input and the network.
        ab: whether to add a third clip with one half of each. If a script upscales by itself, only its result is shown.

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
    """Return the clip with primaries, transfer and, except for RGB, matrix filled in as players guess them.

    Viewers cannot convert a clip for which only some of them are known.
    """
    names = ["_Primaries", "_Transfer"]
    if clip.format.color_family != vs.RGB:
        names.append("_Matrix")
    with first_frame(clip) as frame:
        said = {name: frame.props.get(name, UNSPECIFIED) for name in names}
        guessed = MATRICES["709" if usual_matrix(frame) == MATRICES["709"] else "170m"]  # one number for all three
    missing = {name: guessed for name, value in said.items() if value == UNSPECIFIED}
    described: vs.VideoNode = clip.std.SetFrameProps(**missing) if missing else clip
    return described


def view(job: Job, viewer: str, *, ab: bool) -> None:
    """Show a job's input and result, and return when the viewer is closed.

    Args:
        job: the input and the network.
        viewer: one of `VIEWERS`.
        ab: as for `outputs`.

    Raises:
        ParagonError: the input or the network cannot be used, or the viewer failed.
    """
    outputs(job, ab=ab)  # to raise errors here; the viewer would show them as a traceback
    with tempfile.TemporaryDirectory() as folder:
        script, kept = Path(folder) / f"{job.input.stem}.vpy", Path(folder) / "job.pickle"
        kept.write_bytes(pickle.dumps(job))
        script.write_text(SCRIPT.format(viewer=viewer, job=str(kept), ab=ab), encoding="utf-8")
        code = subprocess.run([sys.executable, "-m", viewer, str(script)], stdout=sys.stderr).returncode
    if code:
        raise ParagonError(
            f"{viewer} failed with exit code {code}; its output is above. You can use --player mpv instead."
        )
