"""Alternatives to the filter; those that are networks get the same weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarking.jobs import Candidate, Size
from benchmarking.networks import Network
from vsparagon.backends.openvino.library import computes_bfloat16
from vsparagon.errors import BackendUnavailable, InvalidInput
from vsparagon.extras import version_of
from vsparagon.geometry.extension import MARGIN, extension_for

PACKAGES = {"ov": "vapoursynth-mlrt-ov", "ort": "vapoursynth-mlrt-ort", "znedi3": "vapoursynth-znedi3"}
PRECISIONS = {"ov": ("fp32", "bf16"), "ort": ("fp32",)}
KERNELS = ("Bicubic", "Lanczos")


def check_peers(names: Sequence[str], scale: int) -> None:
    """Check that peers can be measured.

    Args:
        names: keys of `PACKAGES`.
        scale: scale factor.

    Raises:
        BackendUnavailable: a package is not installed.
        InvalidInput: a peer cannot upscale by this factor.
    """
    if missing := [PACKAGES[name] for name in names if not version_of(PACKAGES[name])]:
        raise BackendUnavailable(
            f"--peers: {' and '.join(missing)} not installed; pip install {' '.join(missing)}, or name others."
        )
    if "znedi3" in names and scale & scale - 1:
        raise InvalidInput(f"--peers: znedi3 doubles, and cannot enlarge {scale} times; name the others.")


def interpolations(size: Size) -> list[Candidate]:
    """Return VapourSynth's own resizer with each of `KERNELS`, as candidates."""
    return [
        Candidate(name=f"zimg {kernel.lower()}", kind="zimg", size=size, arguments={"kernel": kernel})
        for kernel in KERNELS
    ]


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A network as an ONNX file.

    Attributes:
        name: of the form, for the table.
        path: of the file.
        borders: pixels that the network needs around the picture: left, right, top, bottom.
        shift: result pixels that the network leaves out at the top and left.
    """

    name: str
    path: Path
    borders: tuple[int, int, int, int] = (0, 0, 0, 0)  # left, right, top, bottom
    shift: int = 0


def network_peers(
    names: Sequence[str],
    networks: Sequence[Network],
    size: Size,
    *,
    precisions: Sequence[str],
    streams: Sequence[int],
    folder: Path,
) -> Iterator[Candidate]:
    """Yield peers as candidates. vs-mlrt runs both the published form, which its users would export, and ours.

    Args:
        names: keys of `PACKAGES`.
        networks: to run by vs-mlrt.
        size: of the source.
        precisions: as for the filter; those that a peer or the processor lacks are skipped.
        streams: values of vs-mlrt's `num_streams`.
        folder: for exported ONNX files.

    Raises:
        BackendUnavailable: exporting needs torch.
    """
    plugins = [name for name in names if name in PRECISIONS]
    wanted = tuple(dict.fromkeys("fp32" if p == "auto" else p for p in precisions))
    for network in networks if plugins else ():
        for form, plugin, precision, count in product(_forms(network, size, folder), plugins, wanted, streams):
            if precision in PRECISIONS[plugin] and (precision != "bf16" or computes_bfloat16()):
                yield _vs_mlrt(plugin, network, form, size, precision, count)
    if "znedi3" in names:
        yield Candidate(name="znedi3", kind="znedi3", size=size)


def _vs_mlrt(plugin: str, network: Network, form: _Form, size: Size, precision: str, streams: int) -> Candidate:
    name = f"vs-mlrt {plugin} {network.name} {form.name}, {precision}" + (f", {streams} streams" if streams else "")
    return Candidate(
        name=name,
        kind="vs_mlrt",
        size=size,
        arguments={
            "plugin": plugin,
            "path": str(form.path),
            "precision": precision,
            "streams": streams,
            "borders": form.borders,
            "shift": form.shift,
        },
        facts={"network": network.name, "form": form.name, "precision": precision, "streams": streams},
    )


def _forms(network: Network, size: Size, folder: Path) -> list[_Form]:
    model = network.model
    extension = extension_for(size.height, size.width, model.sizes)
    ours = _Form(
        name="in inference form" if model.checkpoint else "the same file",
        path=model.graph,
        borders=(
            MARGIN,
            extension.extended_width - size.width - MARGIN,
            MARGIN,
            extension.extended_height - size.height - MARGIN,
        ),
        shift=model.shift,
    )
    if model.checkpoint is None:
        return [ours]
    published = folder / f"{network.name.replace(' ', '_')}_{size}.onnx"
    _export(model.checkpoint, published, size)
    return [_Form(name="as published", path=published), ours]


def _export(checkpoint: Path, path: Path, size: Size) -> None:
    """Write the published form for pictures of one size, with which the runtimes can optimise most.

    Raises:
        BackendUnavailable: a package for the export is not installed.
    """
    try:
        from vsparagon.models.checkpoint import load_generator
        from vsparagon.onnx.export import export_onnx
    except ImportError as error:
        raise BackendUnavailable(
            f'--peers: writing the published network needs {error.name}; pip install "vsparagon[torch]".'
        ) from error
    export_onnx(load_generator(checkpoint), path, height=size.height, width=size.width)
