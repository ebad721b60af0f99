"""The memory and the processors that a process may use, and its Python."""

import os
import sys
from pathlib import Path

import pytest

from vsparagon.system import machine
from vsparagon.system.cgroups import memory_left
from vsparagon.system.machine import available_memory, python_executable, usable_threads

SECOND = ("memory.max", "memory.current", "inactive_file")
FIRST = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def group(folder, names, limit, used, spare):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, used), strict=False):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {spare}\nshmem 2\n")


def member_of(root, *lines):
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))
    return root / "sys" / "fs" / "cgroup"


def test_available_memory_is_less_than_the_machine_has():
    assert 100 < available_memory() < 1 << 24


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked otherwise")
@pytest.mark.parametrize(
    ("lines", "left", "expected"),
    [
        (["MemTotal: 99 kB", "MemAvailable: 5120 kB"], None, 5),
        (["MemAvailable: 5120 kB"], 3 << 20, 3),
        (["MemAvailable: 5120 kB"], 7 << 20, 5),
        ([], None, 1 << 14),
    ],
    ids=["system", "tight container", "wide container", "nothing said"],
)
def test_available_memory_is_the_least_that_is_said(lines, left, expected, monkeypatch):
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 1 << 22, "SC_PAGE_SIZE": 1 << 12}.get)
    monkeypatch.setattr(machine, "_lines", lambda path: lines)
    monkeypatch.setattr(machine, "memory_left", lambda: left)
    assert available_memory() == expected


def test_container_has_what_its_limit_leaves_and_what_was_only_read_from_files(tmp_path):
    group(member_of(tmp_path, "0::/"), SECOND, 1000, 980, 900)
    assert memory_left(tmp_path) == 920


def test_service_has_what_the_narrowest_of_its_groups_leaves(tmp_path):
    groups = member_of(tmp_path, "0::/user.slice/app.service/1:a")
    group(groups / "user.slice", SECOND, 500, 100, 50)
    group(groups / "user.slice" / "app.service", SECOND, "max", 90, 50)
    assert memory_left(tmp_path) == 450
    group(groups / "user.slice" / "app.service", SECOND, 80, 90, 0)
    assert memory_left(tmp_path) == 0


@pytest.mark.parametrize("seen", ["docker/1a2b", ""])
def test_groups_of_version_1_are_read(tmp_path, seen):
    groups = member_of(tmp_path, "5:devices:/other", "4:memory,hugetlb:/docker/1a2b", "0::/")
    group(groups / "memory" / seen, FIRST, 1000, 700, 200)
    group(groups / "memory" / "other", FIRST, 10, 7, 0)
    assert memory_left(tmp_path) == 500


def test_machine_without_groups_or_limits_has_none(tmp_path):
    assert memory_left(tmp_path) is None
    group(member_of(tmp_path, "0::/"), SECOND, "max", 700, 200)
    assert memory_left(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux to set the CPU affinity")
def test_threads_are_those_of_the_processors_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert usable_threads() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("asked", "said", "expected"),
    [("process_cpu_count", 3, 3), ("process_cpu_count", None, 1), ("cpu_count", 3, 3), ("cpu_count", None, 1)],
)
def test_threads_are_counted_as_the_system_can(asked, said, expected, monkeypatch):
    for name in ("process_cpu_count", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, asked, lambda: said, raising=False)
    assert usable_threads() == expected


@pytest.mark.parametrize("executable", [str(Path(sys.prefix) / "bin" / "vspipe"), "", None])
def test_program_that_embeds_python_finds_its_interpreter(executable, monkeypatch):
    expected = Path(python_executable())
    monkeypatch.setattr(sys, "executable", executable)
    assert Path(python_executable()).samefile(expected)
    monkeypatch.setattr(sys, "prefix", str(Path(__file__).parent))
    with pytest.raises(FileNotFoundError, match="there is no Python in"):
        python_executable()
