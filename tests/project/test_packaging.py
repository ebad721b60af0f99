"""What is installed where, what remains after uninstalling, and what wheels for other systems contain."""

import base64
import csv
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from places import ROOT

import vsparagon

PLUGIN = Path("vapoursynth", "plugins", "vsparagon")
MANIFEST = b"[VapourSynth Manifest V1]\nlibparagon\n"


def run(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)


def build_wheel(source: Path, folder: Path, **variables: str) -> Path:
    """Build the wheel of a source tree with the packages that are installed here, without network access."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = run([*command, "-w", str(folder), str(source)], env={**os.environ, **variables})
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture
def source(tmp_path) -> Path:
    """A copy of the source tree, because setuptools writes into the tree that it builds from."""
    folder = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.onnx")
    shutil.copytree(ROOT / "vsparagon", folder / "vsparagon", ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "NOTICE", "README.md"):
        shutil.copy(ROOT / name, folder)
    (folder / "vsparagon" / "models" / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "vsparagon" / "models" / "weights" / "stand-in.onnx").write_bytes(b"weights")
    return folder


class Place:
    """A virtual environment with links to the files of this environment's VapourSynth and setuptools."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=sys.platform != "win32")
        variables = {"base": str(folder), "platbase": str(folder)}
        self.site = Path(sysconfig.get_path("platlib", "venv", vars=variables))
        scripts = sysconfig.get_path("scripts", "venv", vars=variables)
        self.python = str(Path(scripts, f"python{sysconfig.get_config_var('EXE')}"))
        for package in ("vapoursynth", "setuptools"):
            for file in distribution(package).files or []:
                if not {"..", "__pycache__"} & set(file.parts):
                    (self.site / file).parent.mkdir(parents=True, exist_ok=True)
                    link(Path(file.locate()), self.site / file)

    def pip(self, *arguments: str) -> None:
        done = run([sys.executable, "-m", "pip", "--python", self.python, *arguments])
        assert done.returncode == 0, done.stdout + done.stderr

    def files(self) -> set[Path]:
        found = (path for path in self.site.rglob("*") if path.is_file())
        return {path.relative_to(self.site) for path in found if "__pycache__" not in path.parts}

    def ask(self, expression: str) -> str:
        """Print an expression of `core` in this environment, without other import paths, and return the output."""
        script = f"from vapoursynth import core; print({expression})"
        done = run([self.python, "-I", "-c", script], cwd=self.site.anchor)
        return done.stdout.strip() or done.stderr.splitlines()[-1]


def link(origin: Path, target: Path) -> None:
    try:
        os.link(origin, target)
    except OSError:  # another file system
        shutil.copy2(origin, target)


@pytest.mark.parametrize("editable", [False, True], ids=["copy", "editable"])
def test_install_gives_the_namespace_and_uninstall_takes_it_away(source, tmp_path, editable):
    place = Place(tmp_path / "venv")
    before = place.files()
    assert "No attribute with the name paragon" in place.ask("core.paragon")

    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    place.pip("install", *options, *(["-e"] if editable else []), str(source))
    library = place.site / PLUGIN / ("libparagon" + (".dll" if sys.platform == "win32" else ".so"))
    assert place.ask("core.paragon.Version()") == vsparagon.__version__
    assert place.ask("core.paragon.plugin_path") == str(library)
    assert (place.site / PLUGIN / "manifest.vs").read_bytes() == MANIFEST
    assert (place.site / "vsparagon").exists() is not editable

    place.pip("uninstall", "--yes", "--quiet", "vsparagon")
    assert place.files() == before
    assert not (place.site / PLUGIN).exists()


def test_wheel_holds_the_package_and_the_plugin_and_no_more(source, tmp_path):
    wheel = build_wheel(source, tmp_path)
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name == f"vsparagon-{vsparagon.__version__}-py3-none-{platform}.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {name.split("/")[0] for name in names} == {
            "vapoursynth",
            "vsparagon",
            f"vsparagon-{vsparagon.__version__}.dist-info",
        }
        assert {"vsparagon/py.typed", "vsparagon/models/weights/stand-in.onnx"} <= names
        assert {f"vsparagon/compare/page.{kind}" for kind in ("html", "css", "js")} <= names
        assert not [name for name in names if name.endswith((".c", ".pyc")) or name.startswith("tests/")]
        assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
        assert sum(name.startswith("vapoursynth/") for name in names) == 2
        check_record(archive)


def check_record(archive: zipfile.ZipFile) -> None:
    """Check that RECORD lists every file once with its hash; pip needs that to uninstall."""
    (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
    lines = list(csv.reader(archive.read(record).decode().splitlines()))
    assert sorted(name for name, _, _ in lines) == sorted(archive.namelist())
    for name, digest, size in lines:
        if name != record:
            content = archive.read(name)
            encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={encoded}", str(len(content))), name


def test_missing_compiler_is_one_clear_error(source, tmp_path):
    script = (
        "import sys; sys.modules['ziglang'] = None; import setuptools.build_meta as backend; "
        f"backend.build_wheel({str(tmp_path)!r})"
    )
    done = run([sys.executable, "-c", script], cwd=source, env={**os.environ, "PATH": str(tmp_path), "CC": ""})
    assert done.returncode != 0
    assert "vsparagon needs a C compiler: found neither cc, gcc nor clang" in done.stderr.splitlines()[-1]
    assert "python -m pip install ziglang" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("platform", ["beos", "macosx_13_0_arm64"])
def test_unknown_platform_is_refused_with_the_known_ones(platform, source, tmp_path):
    script = f"import setuptools.build_meta as backend; backend.build_wheel({str(tmp_path)!r})"
    variables = {**os.environ, "VSPARAGON_PLATFORM": platform}
    done = run([sys.executable, "-c", script], cwd=source, env=variables)
    assert f"VSPARAGON_PLATFORM is {platform!r}; it must be one of manylinux_2_17_x86_64" in done.stderr


def test_other_systems_are_refused(source):
    # sysconfig must read its data before the platform has another name.
    begin = "import runpy, sys, sysconfig, setuptools; sysconfig.get_config_vars(); sys.platform = 'darwin'"
    script = f"{begin}; runpy.run_path('setup.py')"
    done = run([sys.executable, "-c", script], cwd=source)
    assert done.stderr.splitlines()[-1].endswith("vsparagon runs on Linux and Windows only, and this is darwin")


# --- wheels for other systems -----------------------------------------------------------------------------

needs_zig = pytest.mark.skipif(find_spec("ziglang") is None, reason="needs the ziglang package")


@needs_zig
def test_manylinux_wheel_needs_no_newer_libc_than_its_tag_says(source, tmp_path):
    wheel = build_wheel(source, tmp_path, VSPARAGON_PLATFORM="manylinux_2_17_x86_64")
    assert wheel.name.endswith("-py3-none-manylinux_2_17_x86_64.whl")
    with zipfile.ZipFile(wheel) as archive:
        library = archive.read(f"{PLUGIN.as_posix()}/libparagon.so")
        check_record(archive)
    versions = [tuple(map(int, version.split(b"."))) for version in re.findall(rb"GLIBC_([\d.]+)", library)]
    assert max(versions) <= (2, 17)
    assert b"libpython" not in library


@needs_zig
def test_windows_wheel_holds_a_plugin_that_only_needs_windows(source, tmp_path):
    wheel = build_wheel(source, tmp_path, VSPARAGON_PLATFORM="win_amd64")
    assert wheel.name.endswith("-py3-none-win_amd64.whl")
    with zipfile.ZipFile(wheel) as archive:
        library = PortableExecutable(archive.read(f"{PLUGIN.as_posix()}/libparagon.dll"))
        assert archive.read(f"{PLUGIN.as_posix()}/manifest.vs") == MANIFEST
        check_record(archive)
    assert library.machine == 0x8664  # x86-64
    assert library.exports() == ["VapourSynthPluginInit2"]
    assert library.has_thread_local_storage()
    system = re.compile(r"kernel32\.dll|msvcrt\.dll|ucrtbase\.dll|api-ms-win-crt-[a-z0-9-]+\.dll")
    assert [name for name in library.imports() if not system.fullmatch(name.lower())] == []


class PortableExecutable:
    """A reader of a 64-bit Windows library's exports and imports."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        start = self.number("<I", 0x3C) + 4
        self.machine, sections = self.number("<H", start), self.number("<H", start + 2)
        optional = start + 20
        assert self.number("<H", optional) == 0x20B, "not a 64-bit executable"
        self.directories = optional + 112
        table = optional + self.number("<H", start + 16)
        # virtual size and address, then size and position in the file
        self.sections = [struct.unpack_from("<IIII", content, table + 40 * i + 8) for i in range(sections)]

    def number(self, format_: str, position: int) -> int:
        value: int = struct.unpack_from(format_, self.content, position)[0]
        return value

    def position(self, address: int) -> int:
        for _, start, size, position in self.sections:
            if start <= address < start + size:
                return address - start + position
        raise AssertionError(f"address {address:#x} is in no section")

    def text(self, address: int) -> str:
        start = self.position(address)
        return self.content[start : self.content.index(b"\0", start)].decode("ascii")

    def exports(self) -> list[str]:
        table = self.position(self.number("<I", self.directories))
        count, names = self.number("<I", table + 24), self.position(self.number("<I", table + 32))
        return [self.text(self.number("<I", names + 4 * i)) for i in range(count)]

    def imports(self) -> list[str]:
        entry, found = self.position(self.number("<I", self.directories + 8)), []
        while name := self.number("<I", entry + 12):
            found.append(self.text(name))
            entry += 20
        return found

    def has_thread_local_storage(self) -> bool:
        return self.number("<I", self.directories + 8 * 9) != 0


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(("fits", "made"), [(True, False), (False, True)])
def test_make_keeps_a_virtual_environment_that_fits(fits, made, tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "find_python.sh", tmp_path / "scripts")
    for name, status in ((".venv/bin/python", int(not fits)), ("python", 0)):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        answers = f"*prefix*) echo {tmp_path}/.venv;; *version_info*) exit {status};; *venv*) touch {tmp_path}/made;;"
        program.write_text(f'#!/bin/sh\ncase "$*" in {answers} esac\n')
        program.chmod(0o755)
    done = run(["make", ".venv/stamps/venv", f"PYTHON={tmp_path / 'python'}"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made").exists() == made


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")
def test_source_distribution_is_the_checkout(tmp_path):
    tracked = set(run(["git", "ls-files"], cwd=ROOT).stdout.splitlines())
    source = tmp_path / "source"
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    done = run([sys.executable, "setup.py", "-q", "sdist", "-d", str(tmp_path)], cwd=source)
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        packed = {name.partition("/")[2] for name in files.getnames() if files.getmember(name).isfile()}
    assert tracked - packed == {".ci/run", ".gitattributes", ".gitignore"}
