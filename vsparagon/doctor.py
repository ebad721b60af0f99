"""Check the installation: what is installed, what works, and how to fix what does not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from vsparagon import __version__
from vsparagon.errors import InvalidInput, ParagonError, reason_of
from vsparagon.extras import NEEDS, installation, too_old, version_of
from vsparagon.system.machine import MEBIBYTE, processor_name, usable_threads
from vsparagon.system.windows import RUNTIME, RUNTIME_ADVICE, RUNTIME_WANTED, library_version
from vsparagon.wording import counted

State = Literal["ok", "optional", "problem"]

TEST_SECONDS: Final = 1.0
SMALLEST_LIKENESS: Final = 30.0  # dB, lowest PSNR between the network's result and bicubic for a smooth picture


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        topic: what was checked.
        state: "problem" if the filter or a command is broken, "optional" if something not everybody needs is missing.
        text: what was found.
        advice: what to do about it, or "".
    """

    topic: str
    state: State
    text: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Yield the findings one by one; a check that fails becomes a finding and does not stop the others."""
    for ask in (
        _versions,
        _runtime,
        _vapoursynth,
        _vspipe,
        _backends,
        _devices,
        _models,
        _cache,
        _ffmpeg,
        _players,
        _packages,
        _self_test,
    ):
        try:
            yield from ask()
        except ParagonError as error:
            yield _complaint(_topic(ask), "problem", str(error))
        except Exception as error:  # anything may be broken; that is what this module is for
            yield Finding(
                topic=_topic(ask),
                state="problem",
                text=f"{type(error).__name__}: {reason_of(error)}",
                advice="install vsparagon again: pip install --force-reinstall --no-deps . (in its repository)",
            )


def _complaint(topic: str, state: State, message: str) -> Finding:
    """Return a finding from the message of an error: as `vsparagon.errors` says, the advice follows a semicolon."""
    text, _, advice = message.rstrip(".").partition("; ")
    return Finding(topic=topic, state=state, text=text, advice=advice)


def _topic(ask: Callable[[], Iterator[Finding]]) -> str:
    return ask.__name__.strip("_").replace("_", "-")


def _versions() -> Iterator[Finding]:
    yield Finding(topic="vsparagon", state="ok", text=f"{__version__} in {Path(__file__).parent}")
    python = f"{platform.python_version()} ({sys.executable}), {platform.platform()}"
    yield Finding(topic="Python", state="ok", text=python)


def _runtime() -> Iterator[Finding]:
    """Check Microsoft's C++ runtime, which VapourSynth for Windows needs but does not include."""
    if os.name != "nt":
        return
    topic = "C++ runtime"
    try:
        found = library_version(RUNTIME)
    except OSError as error:
        yield Finding(topic=topic, state="problem", text=str(error), advice=RUNTIME_ADVICE)
        return
    text = f"{RUNTIME} {_dotted(found)}"
    if found < RUNTIME_WANTED:
        text += f", but {_dotted(RUNTIME_WANTED)} or later is recommended"
        yield Finding(topic=topic, state="optional", text=text, advice=RUNTIME_ADVICE)
    else:
        yield Finding(topic=topic, state="ok", text=text)


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def _vapoursynth() -> Iterator[Finding]:
    import vapoursynth as vs

    release = vs.core.core_version.release_major
    text = f"R{release}, {counted(vs.core.num_threads, 'thread')}"
    yield Finding(topic="VapourSynth", state="ok", text=text)
    if not hasattr(vs.core, "paragon"):
        advice = "with this Python, run pip install --force-reinstall --no-deps . in vsparagon's repository"
        yield Finding(topic="plugin", state="problem", text="core.paragon is missing", advice=advice)
        return
    found = vs.core.paragon.Version()
    found = found.decode() if isinstance(found, bytes) else str(found)
    yield Finding(topic="plugin", state="ok", text=f"core.paragon answers, version {found}")


def _vspipe() -> Iterator[Finding]:
    import vapoursynth as vs

    program = shutil.which("vspipe", path=str(Path(vs.__file__).parent)) or shutil.which("vspipe")
    shared = "" if os.name == "nt" else " (it needs a shared libpython)"
    advice = f"run `vapoursynth config` once with this Python{shared}; `vsparagon encode` does not need vspipe"
    if program is None:
        yield Finding(topic="vspipe", state="optional", text="not found", advice=advice)
        return
    done = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", timeout=60)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        text = f"{program} does not find its Python: {said[-1]}"
        yield Finding(topic="vspipe", state="optional", text=text, advice=advice)
    else:
        yield Finding(topic="vspipe", state="ok", text=program)


def _backends() -> Iterator[Finding]:
    from vsparagon.backends import RUNTIMES, available_on, choose_backend

    for name, runtime in RUNTIMES.items():
        place, why = available_on(runtime)
        if why:
            yield _complaint(f"backend {name}", "optional", why)
        else:
            precisions = ", ".join(runtime.on(0).usable_precisions())
            text = f"{version_of(name) or 'installed'}, {place}; precisions {precisions}"
            yield Finding(topic=f"backend {name}", state="ok", text=text)
    chosen = choose_backend("auto")
    yield Finding(topic="backend auto", state="ok", text=f"chooses {chosen.name} on {chosen.place}")


def _devices() -> Iterator[Finding]:
    yield Finding(topic="CPU", state="ok", text=f"{processor_name()}, {counted(usable_threads(), 'thread')}")
    program = shutil.which("nvidia-smi")
    if program is None:
        return
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run([program, *query], capture_output=True, text=True, errors="replace", timeout=60)
    if done.returncode:
        text, advice = (done.stderr or done.stdout).strip() or "nvidia-smi fails", "install NVIDIA's driver again"
        yield Finding(topic="GPU", state="optional", text=text, advice=advice)
    for line in done.stdout.strip().splitlines() if done.returncode == 0 else []:
        yield Finding(topic="GPU", state="ok", text=line)


def _models() -> Iterator[Finding]:
    from vsparagon.models.bundled import bundled

    there = bundled()
    if there:
        variants = dict.fromkeys(variant for variant, _, _ in there)
        text = f"{', '.join(variants)}, in {len(there)} combinations with scales and profiles: see `vsparagon models`"
        yield Finding(topic="models", state="ok", text=text)
    else:
        advice = "run pip install --force-reinstall --no-deps . in vsparagon's repository"
        yield Finding(topic="models", state="problem", text="the weights are missing", advice=advice)


def _cache() -> Iterator[Finding]:
    from vsparagon.cache import cache_folder

    try:
        folder = cache_folder("")
    except InvalidInput as error:
        complaint = _complaint("cache", "optional", str(error))
        yield replace(complaint, text=f"{complaint.text}: compiled networks are not cached")
        return
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    text = f"{folder}, {size / MEBIBYTE:.1f} MiB used, {free / MEBIBYTE:,.0f} MiB free; safe to delete"
    yield Finding(topic="cache", state="ok", text=text)


def _ffmpeg() -> Iterator[Finding]:
    from vsparagon.ffmpeg import answer_of, ffmpeg_version, find_ffmpegs

    try:
        programs = find_ffmpegs()
        found = [f"{ffmpeg_version(program)} ({program})" for program in programs]
    except ParagonError as error:
        yield _complaint("ffmpeg", "optional", str(error))
        return
    yield Finding(topic="ffmpeg", state="ok", text=", ".join(found))
    from vsparagon.device.gpus import gpus
    from vsparagon.encode.encoders import CODECS, NVENC

    listed = "".join(answer_of(program, "-encoders") for program in programs)
    able = [name for name in CODECS if f" {name} " in listed and (gpus() or not name.endswith(NVENC))]
    text = ", ".join(able) or "none that `vsparagon encode` uses"
    advice = "" if "libx264" in able else "install an ffmpeg with libx264, for example by pip install imageio-ffmpeg"
    yield Finding(topic="encoders", state="ok" if "libx264" in able else "optional", text=text, advice=advice)


def _players() -> Iterator[Finding]:
    from vsparagon.preview import PLAYERS, VIEWERS

    if found := [*filter(shutil.which, PLAYERS), *filter(find_spec, VIEWERS)]:
        yield Finding(topic="players", state="ok", text=", ".join(found))
    else:
        advice = f"install mpv, or {installation('preview')}; only `vsparagon preview` needs it"
        yield Finding(topic="players", state="optional", text="none", advice=advice)


def _packages() -> Iterator[Finding]:
    for command, needs in NEEDS.items():
        versions = {package: version_of(package) for package in needs.packages}
        missing = [package for package, found in versions.items() if not found]
        if missing:
            text, advice = f"{', '.join(missing)} missing", installation(needs.extra)
            yield Finding(topic=f"command {command}", state="optional", text=text, advice=advice)
        elif old := [told for package in needs.packages if (told := too_old(package))]:
            advice = installation(needs.extra)
            yield Finding(topic=f"command {command}", state="problem", text=", ".join(old), advice=advice)
        else:
            text = ", ".join(f"{package} {found}" for package, found in versions.items())
            yield Finding(topic=f"command {command}", state="ok", text=text)


def _self_test() -> Iterator[Finding]:
    """Upscale a smooth picture with the plugin, compare the result with bicubic, and measure the speed for a second."""
    import numpy as np
    import vapoursynth as vs

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        painted = f.copy()
        for plane in range(3):
            height, width = np.asarray(painted[plane]).shape
            y, x = np.mgrid[0:height, 0:width]
            wave = np.sin(x / width * 9 + n / 10 + plane) * np.cos(y / height * 7)
            np.asarray(painted[plane])[:] = np.rint(128 + 80 * wave)
        return painted

    blank = vs.core.std.BlankClip(width=640, height=360, format=vs.YUV420P8, length=100_000, keep=True)
    clip = blank.std.ModifyFrame(blank, paint)
    enlarged = vs.core.paragon.Upscale(clip)
    reference = clip.resize.Bicubic(width=1280, height=720)
    with enlarged.get_frame(0) as a, reference.get_frame(0) as b:
        error = np.asarray(a[0]).astype(np.float64) - np.asarray(b[0])
    likeness = 10 * np.log10(255**2 / max(float(np.mean(error**2)), 1e-9))
    if likeness < SMALLEST_LIKENESS:
        text = f"the result is wrong: its PSNR against bicubic is {likeness:.1f} dB"
        advice = "try another backend= and report this, with all of the above"
        yield Finding(topic="self-test", state="problem", text=text, advice=advice)
        return
    still = vs.core.std.Loop(clip.std.Trim(length=1), times=100_000)
    frames, seconds = _run_for(vs.core.paragon.Upscale(still), TEST_SECONDS)
    text = f"640x360 to 1280x720 at {frames / seconds:.1f} frames per second; PSNR against bicubic {likeness:.0f} dB"
    yield Finding(topic="self-test", state="ok", text=text)


def _run_for(clip: object, seconds: float) -> tuple[int, float]:
    frames = clip.frames(close=True)  # type: ignore[attr-defined]
    next(frames)
    began, count = time.perf_counter(), 0
    for _ in frames:
        count += 1
        if time.perf_counter() - began >= seconds:
            break
    took = time.perf_counter() - began
    frames.close()
    return count, took
