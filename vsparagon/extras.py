"""What commands and backends need beyond the filter, and the extras that bring it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from vsparagon.errors import BackendUnavailable

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet


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


def too_old(package: str) -> str:
    """Return that an installed package is of another version than vsparagon asks for, "" if it is not.

    pip sees to the versions of what it installs with an extra. Without that extra it looks at none that is there.
    """
    found = version_of(package)
    asked = _asked_for().get(_canonical(package)) if found else None
    if asked is None or asked.contains(found, prereleases=True):
        return ""
    return f"{package} {found} is installed, but {asked} is needed"


def check_needs(command: str) -> None:
    """Raise BackendUnavailable unless the modules of a command of `NEEDS` are installed, and new enough."""
    needs = NEEDS[command]
    if missing := [package for module, package in needs.modules.items() if find_spec(module) is None]:
        raise BackendUnavailable(f"this needs {', '.join(missing)}; install them with {installation(needs.extra)}.")
    if old := [text for package in needs.packages if (text := too_old(package))]:
        raise BackendUnavailable(f"{', '.join(old)}; update with {installation(needs.extra)}.")


def trouble_without(*modules: str, extra: str) -> str:
    """Return which of these modules are not installed or too old, and what brings them; "" if all will do."""
    missing = [name for name in modules if not find_spec(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return f"{' and '.join(missing)} {verb} not installed; {installation(extra)}"
    # Builds for GPUs may be packages of their own.
    old = [text for name in modules for package in (name, f"{name}-gpu") if (text := too_old(package))]
    return f"{', '.join(old)}; {installation(extra)}" if old else ""


def installation(extra: str) -> str:
    """Return the command that installs an extra, as any shell takes it."""
    return f'pip install "vsparagon[{extra}]"'


@cache
def _asked_for() -> Mapping[str, SpecifierSet]:
    """Return which versions of other packages vsparagon asks for, in all extras; nothing where it is not installed."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in requires("vsparagon") or ()]
    except PackageNotFoundError:
        return {}
    return {_canonical(one.name): one.specifier for one in asked if one.specifier}


def _canonical(package: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(package)
