"""Cached engines: used only if complete and built for the same key, built once, safe from kill -9."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import time
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import pytest
from engines import ENGINE, KEY
from places import SUPPORT

pytest.importorskip("filelock", reason="builds are locked with it")

from filelock import FileLock

from vsparagon.engines import cache as engine_cache
from vsparagon.engines.cache import LOCK, STALE, EngineCache, EngineKey, Unusable, pack, read_engine, title_of

PATIENCE = 60  # seconds


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def never():
    raise AssertionError("built although an engine is kept")


def files(cache):
    return sorted(path.name for path in cache.folder.iterdir() if path.name != LOCK)


def test_engine_is_built_once_and_then_read(cache, caplog):
    with caplog.at_level("INFO"):
        assert cache.get(KEY, "nano", lambda: ENGINE) == ENGINE
    assert "no engine of nano is cached" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        assert cache.get(KEY, "nano", never) == ENGINE
    assert caplog.text == ""
    assert files(cache) == [cache.path(KEY).name]
    assert title_of(cache.path(KEY)) == "nano, fp16, by tensorrt 10.8.0 on NVIDIA Card"


def test_folder_that_cannot_be_locked_is_used_all_the_same(cache, monkeypatch, caplog):
    monkeypatch.setattr(FileLock, "acquire", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    assert cache.get(KEY, "nano", lambda: ENGINE) == ENGINE
    assert f"building.lock cannot be locked ([Errno {errno.ENOLCK}] No locks available)" in caplog.text
    assert cache.get(KEY, "nano", never) == ENGINE


@pytest.mark.parametrize("name", [field.name for field in fields(EngineKey)])
def test_every_part_of_the_key_counts(name, cache):
    other = replace(KEY, **{name: 2 if name == "build" else "other"})
    cache.get(KEY, "nano", lambda: ENGINE)
    assert cache.get(other, "nano", lambda: b"other") == b"other"
    assert cache.get(KEY, "nano", never) == ENGINE
    # An engine for something else is not loaded even if its file has the right name.
    cache.path(KEY).replace(cache.path(other))
    with pytest.raises(Unusable, match=f"it was built for another {name}$"):
        read_engine(cache.path(other), other)


def test_no_changed_byte_goes_unnoticed(tmp_path):
    path = tmp_path / "file"
    content = pack(KEY, "nano", b"engine")
    path.write_bytes(content)
    assert read_engine(path, KEY) == b"engine"
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x20]) + content[at + 1 :])
        with pytest.raises(Unusable):
            read_engine(path, KEY)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(Unusable):
            read_engine(path, KEY)
    path.write_bytes(content + b"\0")
    with pytest.raises(Unusable, match="checksum"):
        read_engine(path, KEY)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "only 0 bytes"),
        (b"ftrt" + bytes(500), "not an engine file of vsparagon"),
        (pack(KEY, "nano", ENGINE)[:-1], "cut short or damaged"),
        (pack(replace(KEY, driver="570.1"), "nano", ENGINE), "another driver"),
        (pack(KEY, "nano", ENGINE).replace(b"VSPENGIN\1", b"VSPENGIN\2"), "its format is 2"),
    ],
    ids=["empty", "foreign", "truncated", "wrong", "newer"],
)
def test_file_that_cannot_be_used_is_rebuilt_and_the_log_says_why(content, why, cache, caplog):
    cache.path(KEY).write_bytes(content)
    assert cache.get(KEY, "nano", lambda: ENGINE) == ENGINE
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert why in caplog.text
    assert "building it again" in caplog.text
    assert cache.get(KEY, "nano", never) == ENGINE


def test_failed_build_leaves_nothing_and_the_next_may_try(cache):
    with pytest.raises(ZeroDivisionError):
        cache.get(KEY, "nano", lambda: bytes([1 // 0]))
    assert files(cache) == []
    assert cache.get(KEY, "nano", lambda: ENGINE) == ENGINE


def test_engine_that_cannot_be_kept_is_used_all_the_same(cache, caplog, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine_cache, "write_atomically", full)
    assert cache.get(KEY, "nano", lambda: ENGINE) == ENGINE
    assert "cannot be cached: [Errno 28] No space left on device" in caplog.text


def test_discarded_engine_is_built_again(cache):
    cache.get(KEY, "nano", lambda: ENGINE)
    cache.discard(KEY)
    cache.discard(KEY)
    assert cache.get(KEY, "nano", lambda: b"new") == b"new"


# Another process: it prints "building", runs the test's code, and returns an engine.
PROCESS = """
import logging, sys, time
from pathlib import Path
from engines import ENGINE, KEY
from vsparagon.engines import cache as engine_cache
from vsparagon.engines.cache import EngineCache

logging.basicConfig(level=logging.INFO, format="%(message)s")

def say(word):
    print(word, flush=True)

def build():
    say("building")
    {build}
    return ENGINE

{before}
assert EngineCache(Path(sys.argv[1])).get(KEY, "nano", build) == ENGINE
say("done")
"""


def start(cache, build="pass", before=""):
    code = PROCESS.format(build=build, before=before)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(cache.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def next_line(process, stream="stdout"):
    line = getattr(process, stream).readline()
    assert line, process.communicate()
    return line.strip()


def test_of_two_processes_the_second_waits_and_then_loads(cache):
    go = cache.folder.parent / "go"
    first = start(cache, build=f"while not Path({str(go)!r}).exists(): time.sleep(0.02)")
    assert next_line(first) == "building"
    second = start(cache)
    assert next_line(second, "stderr") == "another process is building an engine; waiting for it"
    time.sleep(0.3)
    assert second.poll() is None
    go.touch()
    assert first.communicate(timeout=PATIENCE)[0] == "done\n"
    out, err = second.communicate(timeout=PATIENCE)
    assert (out, second.returncode) == ("done\n", 0), err  # it built nothing
    assert files(cache) == [cache.path(KEY).name]


def test_killed_build_leaves_nothing_and_frees_who_waits(cache):
    first = start(cache, build="time.sleep(1000)")
    assert next_line(first) == "building"
    second = start(cache)
    assert next_line(second, "stderr").startswith("another process is building")
    first.kill()
    assert first.wait(PATIENCE) != 0
    assert second.communicate(timeout=PATIENCE)[0] == "building\ndone\n"
    assert files(cache) == [cache.path(KEY).name]
    first.communicate()


def test_killed_write_leaves_no_engine_and_its_remains_are_removed(cache):
    # Killed between writing the temporary file and renaming it.
    process = start(cache, before="Path.replace = lambda self, target: (say(self.stat().st_size), time.sleep(1000))")
    assert next_line(process) == "building"
    assert int(next_line(process)) > len(ENGINE)
    process.kill()
    process.communicate()
    (left,) = files(cache)
    assert left.startswith(".")
    written = time.time() - STALE - 1
    os.utime(cache.folder / left, (written, written))
    assert cache.get(KEY, "nano", lambda: ENGINE) == ENGINE
    assert files(cache) == [cache.path(KEY).name]


def test_kernels_are_kept_although_somebody_builds_while_they_are_written(cache, monkeypatch):
    kernels = cache.kernels(KEY, "nano")

    def replace_after_a_build(draft, target):
        monkeypatch.undo()
        cache.get(KEY, "nano", lambda: ENGINE)
        return draft.replace(target)

    monkeypatch.setattr(Path, "replace", replace_after_a_build)
    kernels.write(b"kernels")
    assert kernels.read() == b"kernels"
    assert len(files(cache)) == 2


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
def test_real_build_killed_in_the_middle_harms_nothing(cache):
    real = """
    from vsparagon.engines.build import build_engine, load_library
    from vsparagon.engines.progress import BuildProgress
    from vsparagon.lookup import find_model
    steps = []
    def step(self, phase, number):
        steps.append(number)
        if len(steps) == 20 and {stop}:
            say("in the middle")
            time.sleep(1000)
        return True
    BuildProgress.step = step
    from vsparagon.engines.build import Profile
    size = Profile(smallest=(1, 3, 128, 128), usual=(1, 3, 128, 128), largest=(1, 3, 128, 128))
    graph = find_model().graph.read_bytes()
    data = build_engine(load_library("tensorrt_rtx"), graph, {{"input": size}}, name="nano")
    assert len(data) > 10_000 and len(steps) > 20
    """
    first = start(cache, build=real.format(stop=True))
    assert [next_line(first) for _ in range(2)] == ["building", "in the middle"]
    first.kill()
    first.communicate()
    assert files(cache) == []
    out, err = start(cache, build=real.format(stop=False)).communicate(timeout=PATIENCE)
    assert out == "building\ndone\n", err
    assert cache.get(KEY, "nano", never) == ENGINE
