"""Build the native library and install it where VapourSynth looks for plugins.

Everything that is not native is declared in pyproject.toml. The library belongs in `vapoursynth/plugins/vsparagon/`, in
the folder to which the wheel is installed. An extension module would not work: for `pip install -e .`, setuptools would
copy it into the source tree. So normal and editable wheels are first made without the library; then it is added to them
with its manifest.

Environment variables: `CC` names the C compiler. `VSPARAGON_PLATFORM`, a key of `ZIG_TARGETS`, builds for another
platform with the compiler of the `ziglang` package.
"""

import base64
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import warnings
import zipfile
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import CompileError

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "vsparagon" / "native" / "paragon.c"
FOLDER = "vapoursynth/plugins/vsparagon"
LIBRARY = "libparagon"

# Platform tag of the wheel -> target of the compiler. VapourSynth has wheels for all of these platforms.
ZIG_TARGETS = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
    "win_amd64": "x86_64-windows-gnu",
}


def chosen_platform() -> str:
    """Return the platform tag to build for; "" to build for this machine.

    Raises:
        CompileError: the platform is unknown, or this system is neither Linux nor Windows.
    """
    platform = os.environ.get("VSPARAGON_PLATFORM", "")
    if platform and platform not in ZIG_TARGETS:
        raise CompileError(f"VSPARAGON_PLATFORM is {platform!r}; it must be one of {', '.join(ZIG_TARGETS)}")
    if not platform and sys.platform not in ("linux", "win32"):
        raise CompileError(f"vsparagon runs on Linux and Windows only, and this is {sys.platform}")
    return platform


def system_compiler() -> list[str]:
    """Return the command of a working C compiler, or [] if this machine has none. `CC` is not tested."""
    if os.environ.get("CC"):
        posix = sys.platform != "win32"  # on Windows, a backslash is not an escape character
        return [part if posix else part.strip('"') for part in shlex.split(os.environ["CC"], posix=posix)]
    if sys.platform == "win32":
        return []
    for name in ("cc", "gcc", "clang"):
        # Test it, because containers often have compilers without the C library's headers.
        if shutil.which(name):
            trial = [name, "-fsyntax-only", "-x", "c", "-"]
            if subprocess.run(trial, input=b"#include <dlfcn.h>\n", capture_output=True).returncode == 0:
                return [name]
    return []


def needs_zig() -> bool:
    return bool(chosen_platform()) or not system_compiler()


def zig(tool: str) -> list[str]:
    """Return the command of one of zig's tools, for the chosen platform.

    Raises:
        CompileError: zig is not installed.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise CompileError(
            "vsparagon needs a C compiler: found neither cc, gcc nor clang, nor the Python package ziglang. "
            "Install one of them (python -m pip install ziglang), or name a compiler in CC."
        )
    platform = chosen_platform()
    return [sys.executable, "-m", "ziglang", tool, *(["-target", ZIG_TARGETS[platform]] if platform else [])]


def include_folder() -> Path:
    """Return the folder of VapourSynth4.h, without loading VapourSynth.

    Raises:
        CompileError: there is no such header.
    """
    spec = importlib.util.find_spec("vapoursynth")
    folder = Path(spec.origin).parent / "include" if spec and spec.origin else None
    if folder is None or not (folder / "VapourSynth4.h").is_file():
        raise CompileError("vsparagon needs the headers of the vapoursynth package 81 or later to build")
    return folder


def compile_library(folder: Path, version: str) -> Path:
    """Compile the library into a folder and return its path.

    Raises:
        CompileError: there is no compiler, or it fails.
    """
    platform = chosen_platform() or sysconfig.get_platform().replace("-", "_")
    library = folder / (LIBRARY + (".dll" if platform.startswith("win") else ".so"))
    major, minor = version.split(".")[:2]
    options = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", f"-I{include_folder()}"]
    options += [f"-DPARAGON_VERSION_MAJOR={major}", f"-DPARAGON_VERSION_MINOR={minor}", str(SOURCE)]
    compiler = zig("cc") if needs_zig() else system_compiler()
    if library.suffix == ".so":
        # libdl is part of libc only since glibc 2.34.
        run([*compiler, *options, "-fPIC", "-shared", "-s", "-o", str(library), "-ldl"])
    elif needs_zig():
        compiled = folder / "paragon.obj"
        run([*compiler, *options, "-c", "-o", str(compiled)])
        link_dll(compiled, library)
    else:
        run([*compiler, *options, "-shared", "-s", "-o", str(library)])
    return library


def link_dll(compiled: Path, library: Path) -> None:
    """Link a DLL by zig without the C library of MinGW, which zig would first compile for minutes.

    What every DLL needs (an entry point, thread-local storage) comes from zig's own start code, which is part of any
    program in zig, even an empty one; the few functions of C that are called come from Windows itself.
    """
    program = compiled.with_name("empty.zig")
    program.touch()
    options = ["-dynamic", "-O", "ReleaseSmall", "-fstrip", "-fno-dll-export-fns", "-fno-emit-implib"]
    files = [str(program), str(compiled), f"-femit-bin={library}"]
    run([*zig("build-lib"), *options, *files, "-lkernel32", "-lucrtbase"])


def run(command: list[str]) -> None:
    """Run a compiler or linker.

    Raises:
        CompileError: it cannot be run, or fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise CompileError(f"cannot run the C compiler {command[0]!r}: {error}") from error
    if done.returncode:
        raise CompileError(f"cannot compile {SOURCE.name}:\n{shlex.join(command)}\n{done.stdout}{done.stderr}")


def record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


def add_library(wheel: Path, version: str) -> None:
    """Compile the library, and add it, its manifest and their lines in RECORD to a wheel, in place."""
    with tempfile.TemporaryDirectory() as temporary:
        library = compile_library(Path(temporary), version)
        added = {
            f"{FOLDER}/{library.name}": library.read_bytes(),
            f"{FOLDER}/manifest.vs": f"[VapourSynth Manifest V1]\n{LIBRARY}\n".encode(),
        }
    pure = wheel.with_suffix(".pure")
    wheel.rename(pure)
    with zipfile.ZipFile(pure) as source, zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as result:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                content += "".join(record_line(name, data) for name, data in added.items()).encode()
            result.writestr(entry, content)
        for name, data in added.items():
            result.writestr(name, data)
    pure.unlink()


class NativeDistribution(Distribution):
    """A distribution with native code, although setuptools does not build any."""

    def has_ext_modules(self) -> bool:
        return True


class NativeWheel(bdist_wheel):
    """A wheel for one platform and any Python 3, because the library does not link to Python."""

    def get_tag(self) -> tuple[str, str, str]:
        # A library built by the system's compiler may not run on other machines: linux_*, not manylinux_*.
        here = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        return "py3", "none", chosen_platform() or here

    def run(self) -> None:
        super().run()
        wheels = [Path(path) for command, _, path in self.distribution.dist_files if command == "bdist_wheel"]
        add_library(wheels[-1], self.distribution.get_version())


class NativeEditableWheel(editable_wheel):
    """The wheel of `pip install -e .`. It holds a copy of the library; install again after changing the C code."""

    def run(self) -> None:
        with warnings.catch_warnings():
            # setuptools says it of every editable installation, and pip 26.3 shows it.
            warnings.filterwarnings("ignore", "Editable installation")
            super().run()
        wheel = max(Path(self.dist_dir).glob("*.whl"), key=os.path.getmtime)
        add_library(wheel, self.distribution.get_version())


setup(
    distclass=NativeDistribution,
    cmdclass={"bdist_wheel": NativeWheel, "editable_wheel": NativeEditableWheel},
    # Build front ends install this, so only machines without a compiler download one.
    setup_requires=["ziglang"] if needs_zig() else [],
)
