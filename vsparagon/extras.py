"""What commands and backends need beyond the filter, and the extras that bring it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from vsparagon.errors import BackendUnavailable


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a command needs.

    Attributes:
        extra: of vsparagon, that brings all of it.
        modules: Python modules that it cannot do without, and their packages on PyPI.
        plugins: packages of VapourSynth's plugins for files of some kinds.
    """

    extra: str
    modules: Mapping[str, str]
    plugins: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages, by the names under which they are installed."""
        return (*(package.partition("[")[0] for package in self.modules.values()), *self.plugins)


BESTSOURCE: Final = "vapoursynth-bestsource"
NEEDS: Final = {
    "encode": Needs(
        extra="encode",
        modules={"av": "av", "ffmpeg": "ffmpeg-python", "filelock": "filelock", "tqdm": "tqdm"},
        plugins=(BESTSOURCE,),
    ),
    "encode --workers": Needs(extra="cluster", modules={"dask": "dask", "distributed": "distributed"}),
    "preview": Needs(extra="encode", modules={"av": "av"}, plugins=(BESTSOURCE,)),
    "compare": Needs(extra="compare", modules={"av": "av", "PIL": "pillow"}, plugins=(BESTSOURCE,)),
    "image": Needs(extra="image", modules={"pyvips": "pyvips[binary]", "tqdm": "tqdm"}),
    "info": Needs(extra="torch", modules={"safetensors": "safetensors", "torch": "torch"}),
    "export": Needs(extra="torch", modules={"onnx": "onnx", "safetensors": "safetensors", "torch": "torch"}),
}


def version_of(package: str) -> str:
    """Return the version of an installed package, or ""."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def check_needs(command: str) -> None:
    """Raise BackendUnavailable unless the modules of a command of `NEEDS` are installed."""
    needs = NEEDS[command]
    if missing := [package for module, package in needs.modules.items() if find_spec(module) is None]:
        raise BackendUnavailable(f"this needs {', '.join(missing)}; install them with {installation(needs.extra)}.")


def trouble_without(*modules: str, extra: str) -> str:
    """Return which of these modules are not installed, and what brings them; "" if all are."""
    missing = [name for name in modules if not find_spec(name)]
    verb = "is" if len(missing) == 1 else "are"
    return f"{' and '.join(missing)} {verb} not installed; {installation(extra)}" if missing else ""


def installation(extra: str) -> str:
    """Return the command that installs an extra, as any shell takes it."""
    return f'pip install "vsparagon[{extra}]"'
