"""The packages that commands and backends need beyond those of the filter, and the extras that install them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from vsparagon.errors import BackendUnavailable

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a command needs.

    Attributes:
        extra: of vsparagon, that installs all of it.
        modules: required Python modules, each with its package on PyPI.
        plugins: packages of VapourSynth plugins that only some kinds of input files need.
    """

    extra: str
    modules: Mapping[str, str]
    plugins: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """All packages, by their installed names (without extras)."""
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
    """Return the version of an installed package, or "" if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and not always needed

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def too_old(package: str) -> str:
    """Return why an installed package's version does not meet vsparagon's requirement, or "".

    Also "" if the package is not installed. pip checks versions only when it installs an extra; packages that were
    there before may be too old.
    """
    found = version_of(package)
    asked = _asked_for().get(_canonical(package)) if found else None
    if asked is None or asked.contains(found, prereleases=True):
        return ""
    return f"{package} {found} is installed, but {asked} is needed"


def check_needs(command: str) -> None:
    """Raise BackendUnavailable unless a command's modules are installed, and no package of it is too old.

    Plugins may be missing.

    Args:
        command: a key of `NEEDS`.
    """
    needs = NEEDS[command]
    if missing := [package for module, package in needs.modules.items() if find_spec(module) is None]:
        raise BackendUnavailable(f"this needs {', '.join(missing)}; install with {installation(needs.extra)}.")
    if old := [text for package in needs.packages if (text := too_old(package))]:
        raise BackendUnavailable(f"{', '.join(old)}; update with {installation(needs.extra)}.")


def trouble_without(*modules: str, extra: str) -> str:
    """Return which of these modules are missing or too old, with the command that installs them; "" if all are fine.

    Args:
        modules: names, which are also those of their packages.
        extra: of vsparagon, that installs them.
    """
    missing = [name for name in modules if not find_spec(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return f"{' and '.join(missing)} {verb} not installed; {installation(extra)}"
    # Builds for GPUs may be separate packages.
    old = [text for name in modules for package in (name, f"{name}-gpu") if (text := too_old(package))]
    return f"{', '.join(old)}; {installation(extra)}" if old else ""


def installation(extra: str) -> str:
    """Return the command that installs an extra, quoted so that it works in any shell."""
    return f'pip install "vsparagon[{extra}]"'


@cache
def _asked_for() -> Mapping[str, SpecifierSet]:
    """Return the package versions that vsparagon requires, over all extras; empty if it is not installed itself."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in requires("vsparagon") or ()]
    except PackageNotFoundError:
        return {}
    return {_canonical(one.name): one.specifier for one in asked if one.specifier}


def _canonical(package: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(package)
