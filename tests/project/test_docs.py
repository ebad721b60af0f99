"""The pages in docs/: every command and script on them is run, on small files with the names that they use.

```sh                      run, in the order of the page, in one folder
```sh no-run: reason       shown only
```sh needs MODULE         run where that Python module is installed
```python NAME.vpy         a script of that name: its first frame is made
```python                  run
```yaml NAME.yml           a file of that name
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from places import ROOT

pytest.importorskip("skimage", reason="the photographs come from scikit-image")
pytest.importorskip("imageio_ffmpeg", reason="films are made with its ffmpeg")

from clips import photograph
from films import make_film
from PIL import Image

import demo
from vsparagon.cli import main
from vsparagon.ffmpeg import find_ffmpeg, find_ffmpegs
from vsparagon.input.source import run_script
from vsparagon.log import collected_log
from vsparagon.lookup import find_model

PAGES = [
    ROOT / "docs" / f"{name}.md"
    for name in ("first-encode", "preview", "choosing", "cookbook", "trouble", "training", "cluster")
]
SCHEDULER = "tcp://scheduler:8786"
# The pages are for films; what is run on a small one in its place.
SMALLER = {
    "10:00": "0.5s",
    "10:20": "1.2s",
    "12:30,45:10": "0.5s,1.2s",
    "3840": "320",
    "2160": "240",
    "1000": "10",
    "2000": "20",
}
FENCE = re.compile(r"^```(\S+) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A stand-in for mpv: it opens the address, reads the beginning, and ends.
PLAYER = r"""#!{python}
import sys, urllib.request
with urllib.request.urlopen(sys.argv[-1]) as answer:
    assert answer.read(4) == b"\x1aE\xdf\xa3"  # as Matroska begins
    answer.read(100000)
"""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, the rest of its first line, its text and its line number."""

    language: str
    name: str
    needs: str
    not_run: str
    text: str
    line: int


def test_what_stands_for_large_numbers_is_needed():
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [large for large in SMALLER if large not in pages] == []


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        said = re.fullmatch(r"(?P<name>\S+\.(?:vpy|yml))?(?: ?needs (?P<needs>\S+))?(?:no-run: (?P<why>.+))?", match[2])
        assert said, f"{page.name}: {match[0].splitlines()[0]}"
        found.append(
            Block(
                language=match[1],
                name=said["name"] or "",
                needs=said["needs"] or "",
                not_run=said["why"] or "",
                text=re.sub("|".join(rf"\b{large}\b" for large in SMALLER), lambda found: SMALLER[found[0]], match[3]),
                line=text.count("\n", 0, match.start()) + 1,
            )
        )
    return found


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the pages name, and an environment that leaves the user's files alone."""
    make_film(tmp_path / "film.mkv", seconds=1.5, size="96x64")
    for beside in ("subtitles.srt", "chapters.txt", "font.ttf"):
        (tmp_path / beside).unlink()
    for folder, count in (("photos", 2), ("pictures", 3)):
        (tmp_path / folder).mkdir()
        for n in range(count):
            Image.fromarray(photograph(160 + 8 * n, 176)).save(tmp_path / folder / f"{n}.png")
    Image.fromarray(photograph(64, 96)).save(tmp_path / "photo.png")
    shutil.copy(find_model().graph, tmp_path / "mine.onnx")
    for name in ("scripts", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mpv").write_text(PLAYER.format(python=sys.executable))
    (programs / "mpv").chmod(0o755)
    (programs / "ffmpeg").symlink_to(find_ffmpeg())
    path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: list[str], where: str) -> None:
    """Run a command. vsparagon's own run in this process, which saves the time to start a new one."""
    if command[0] == "vsparagon":
        assert main(command[1:]) == 0, where
        return
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{where}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def commands_of(block: Block) -> list[list[str]]:
    """Return the block's lines as commands; the shell runs lines with a pipe."""
    lines = block.text.strip().splitlines()
    return [["sh", "-euc", line] if "|" in line else shlex.split(line) for line in lines]


def check_script(path: Path) -> None:
    """Make the first frame of a script's output. Scripts get a `clip`, as a --filter-script does, and `video_in`."""
    with collected_log():
        given = vs.core.bs.VideoSource(str(path.with_name("film.mkv")), cachemode=0)
        clip, _ = run_script(path, {"clip": given, "video_in": given})
        clip.get_frame(0).close()


@pytest.fixture
def scheduler():
    """The address of a cluster with one worker."""
    distributed = pytest.importorskip("distributed", reason="clusters need Dask")
    with distributed.LocalCluster(
        1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as c:
        yield c.scheduler_address


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the pages' commands are for a POSIX shell")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_on_the_page_works(page, place, request):
    blocks = [b for b in blocks_of(page) if not b.not_run and not (b.needs and find_spec(b.needs) is None)]
    address = request.getfixturevalue("scheduler") if SCHEDULER in page.read_text() else ""
    for block in blocks:  # scripts first, because a page may use one before it shows it
        if block.name:
            (place / block.name).write_text(block.text)
            if block.language == "python":
                check_script(place / block.name)
    ran = 0
    for block in blocks:
        where = f"{page.name}, line {block.line}"
        if block.language == "sh":
            for command in commands_of(block):
                run([word.replace(SCHEDULER, address) for word in command], where)
                ran += 1
        elif block.language == "python" and not block.name:
            run([sys.executable, "-c", block.text], where)
    assert ran


@pytest.mark.slow
@pytest.mark.parametrize("program", find_ffmpegs())
@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "first-encode.md"], ids=lambda page: page.stem)
def test_pipe_on_the_page_keeps_the_colours(page, program, tmp_path):
    (line,) = (line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("vspipe "))
    script, result = re.fullmatch(r"vspipe -c y4m (\S+) - \| .* (\S+)", line).groups()
    colour = "[100, 60, 200]"
    (tmp_path / script).write_text(
        "import vapoursynth as vs\n"
        f"clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=2, color={colour})\n"
        "vs.core.paragon.Upscale(clip.std.SetFrameProps(_Matrix=1)).set_output()\n"
    )
    said = line.replace("vspipe ", f"{demo.find_vspipe()} ").replace("| ffmpeg ", f"| {program} ")
    environment = demo.configure_vspipe(tmp_path)
    subprocess.run(said, shell=True, cwd=tmp_path, check=True, capture_output=True, env=environment)
    with vs.core.bs.VideoSource(str(tmp_path / result), cachemode=0).get_frame(0) as frame:
        assert frame.props["_Matrix"] == 1
        found = [np.asarray(frame[plane]).astype(int) for plane in range(3)]
    assert all(abs(plane - value).max() <= 1 for plane, value in zip(found, (100, 60, 200), strict=True))


@pytest.mark.parametrize("order", [2, 1], ids=["top field first", "bottom field first"])
def test_deinterlaced_picture_that_stands_still_does_not_jump(order, tmp_path, monkeypatch):
    (recipe,) = (block for block in blocks_of(ROOT / "docs" / "cookbook.md") if block.name == "deinterlaced.vpy")
    said = recipe.text.replace("SetFieldBased(2)", f"SetFieldBased({order})")
    assert f"SetFieldBased({order})" in said
    (tmp_path / recipe.name).write_text(said)
    waves = "lum='128+60*sin(2*PI*Y/16)':cb='128+60*sin(2*PI*Y/12)':cr=128"
    source = f"nullsrc=s=64x96:r=25:d=0.2,format=yuv420p,geq={waves}"
    command = [find_ffmpeg(), "-f", "lavfi", "-i", source, "-c:v", "ffv1", str(tmp_path / "film.mkv")]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    with collected_log():
        film = vs.core.bs.VideoSource("film.mkv", cachemode=0)
        clip, _ = run_script(tmp_path / recipe.name, {"clip": film})
    clip = vs.core.paragon.Upscale(clip)
    with clip.get_frame(4) as one, clip.get_frame(5) as other:
        assert one.props["_SARNum"] == one.props["_SARDen"]
        for plane in (0, 1):
            above, below = (np.asarray(frame[plane]).astype(float)[24:-24] for frame in (one, other))
            assert np.ptp(above) > 100
            assert np.abs(above - below).mean() < 1, plane


@pytest.mark.skipif(sys.platform == "win32", reason="the loop is for a POSIX shell")
def test_loop_over_many_files_goes_on_where_it_ended(tmp_path):
    (loop,) = (b for b in blocks_of(ROOT / "docs" / "first-encode.md") if "\ndone\n" in b.text)
    (tmp_path / "episodes").mkdir()
    for name in ("[a] 1", "[a] 2", "[a] 3", "[a] 4"):
        (tmp_path / "episodes" / f"{name}.mkv").write_text("")
    program = tmp_path / "vsparagon"
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    ended = []
    for stopped in ("3", "none"):
        answers = f'*" 1.mkv") exit 1;; *" {stopped}.mkv") exit 130;; *) touch "$3";;'
        program.write_text(f'#!/bin/sh\necho "$1 $2" >>log\ncase "$2" in {answers} esac\n')
        program.chmod(0o755)
        subprocess.run(["sh", "-uc", loop.text], cwd=tmp_path, env=environment, check=False, timeout=20)
        ended.append(re.findall(r"encode episodes/\[a\] (\d)\.mkv\n", (tmp_path / "log").read_text()))
        (tmp_path / "log").unlink()
    assert ended == [["1", "2", "3"], ["1", "3", "4"]]
    assert sorted(path.name for path in (tmp_path / "large").iterdir()) == ["[a] 2.mkv", "[a] 3.mkv", "[a] 4.mkv"]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.stem)
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    for target, anchor in links:
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors_of(found), f"{target}#{anchor}"
