"""`vsparagon image`: upscale images with their transparency, colour profile and EXIF."""

from __future__ import annotations

import argparse
import glob
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from vsparagon.cli.options import NETWORK, add_model, given_of
from vsparagon.errors import InvalidInput, ParagonError
from vsparagon.extras import check_needs
from vsparagon.image.stills import SUFFIXES
from vsparagon.system.interrupt import end_tidily_on_signals
from vsparagon.wording import counted

DESCRIPTION = """\
Upscale images: PNG, JPEG, WebP and TIFF, 8 or 16 bits. Transparency, colour profile, EXIF and
resolution are kept.

IN is an image, a folder (without its subfolders) or a pattern such as 'photos/**/*.png'.
OUT is a file if IN is one image and OUT has the suffix of an image; otherwise it is a folder, and names are kept."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `image`."""
    parser = commands.add_parser(
        "image",
        help="upscale images",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", metavar="IN", nargs="+", help="images, folders, patterns")
    parser.add_argument("output", metavar="OUT", type=Path, help="file or folder")
    parser.add_argument("-y", dest="overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--skip-existing", action="store_true", help="skip images whose output exists")
    parser.add_argument(
        "--suffix", choices=SUFFIXES, help="format of all files in a folder OUT (default: as the input)"
    )
    parser.add_argument("--quality", type=int, default=95, help="of JPEG and WebP, 1 to 100 (default 95)")
    add_model(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> str:
    check_needs("image")
    if not 1 <= args.quality <= 100:
        raise InvalidInput(f"--quality is {args.quality}; it must be 1 to 100.")
    from vsparagon.image.image_file import enlarge, read_picture, write_picture
    from vsparagon.upscaler import Upscaler

    pairs = _pairs(args.inputs, args.output, args.suffix)
    existing = [target for _, target in pairs if target.exists()]
    if args.skip_existing:
        pairs = [pair for pair in pairs if not pair[1].exists()]
    elif existing and not args.overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise InvalidInput(f"{existing[0]} exists{more}; add -y to replace it, or --skip-existing.")
    end_tidily_on_signals()
    upscaler = Upscaler(**given_of(args, NETWORK), device_id=args.device_id)
    began, failed = time.monotonic(), 0
    for source, target in _shown(pairs):
        try:
            _make_folder(target.parent)
            write_picture(enlarge(read_picture(source), upscaler), target, quality=args.quality)
        except (ParagonError, OSError, MemoryError) as error:
            if len(pairs) == 1:
                raise error if isinstance(error, ParagonError) else ParagonError(_reason(error)) from error
            failed += 1
            reason = _reason(error)
            sys.stderr.write(f"vsparagon: {reason if str(source) in reason else f'{source}: {reason}'}\n")
    if failed:
        raise ParagonError(f"{failed} of {len(pairs)} images could not be upscaled; the reasons are above.")
    return f"{args.output}: {counted(len(pairs), 'image')} in {time.monotonic() - began:.1f} s\n"


def _reason(error: Exception) -> str:
    return "there is not enough memory for this image." if isinstance(error, MemoryError) else str(error)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParagonError(f"the folder {folder} cannot be created: {error.strerror}.") from error


def _pairs(inputs: Sequence[str], output: Path, suffix: str | None) -> list[tuple[Path, Path]]:
    """Return each image with the file to write.

    Raises:
        InvalidInput: there is no image, or an output is unusable: of unknown type, the image itself, or shared by two.
    """
    if str(output) == "-":
        raise InvalidInput("OUT is -, but images are not written to standard output; give a file or a folder.")
    sources = list(dict.fromkeys(path for text in inputs for path in _found(text)))
    one_file = len(inputs) == 1 and Path(inputs[0]).is_file()
    if one_file and output.suffix.lower() in SUFFIXES and not output.is_dir():
        if suffix and suffix != output.suffix.lower():
            raise InvalidInput(f"--suffix is {suffix}, but OUT is called {output.name}; leave --suffix out.")
        pairs = [(sources[0], output)]
    else:
        if output.is_file():
            raise InvalidInput(f"{output} is a file; several images need a folder.")
        if one_file and output.suffix and not output.is_dir():
            raise InvalidInput(f"{output.name} has an unknown suffix; use one of {', '.join(SUFFIXES)}, or a folder.")
        pairs = [(source, output / (source.stem + (suffix or source.suffix))) for source in sources]
    seen: dict[Path, Path] = {}
    for source, target in pairs:
        if target.suffix.lower() not in SUFFIXES:
            raise InvalidInput(
                f"{target} would have an unknown suffix; add --suffix with one of {', '.join(SUFFIXES)}."
            )
        if target in seen:
            raise InvalidInput(f"{seen[target]} and {source} would both become {target}; upscale them separately.")
        if target.exists() and target.samefile(source):
            raise InvalidInput(f"{target} would replace its own original; choose another OUT.")
        seen[target] = source
    return pairs


def _found(text: str) -> Iterable[Path]:
    path = Path(text)
    if not text:
        raise InvalidInput("IN is empty; give an image, a folder or a pattern.")
    if path.is_file():
        return [path]
    try:
        names = path.iterdir() if path.is_dir() else map(Path, glob.glob(text, recursive=True))  # noqa: PTH207  (a pattern)
        found = sorted(name for name in names if name.suffix.lower() in SUFFIXES and name.is_file())
    except OSError as error:
        raise InvalidInput(f"{text} cannot be read: {error.strerror}.") from error
    if not found:
        raise InvalidInput(f"{text}: no image found ({', '.join(SUFFIXES)}).")
    return found


def _shown(pairs: Sequence[tuple[Path, Path]]) -> Iterable[tuple[Path, Path]]:
    """Yield the pairs and show progress: a bar on a terminal, elsewhere a line for each."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(pairs, unit=" pictures", file=sys.stderr, dynamic_ncols=True)
        return
    for number, (source, target) in enumerate(pairs, start=1):
        yield source, target
        sys.stderr.write(f"{number}/{len(pairs)} {source.name}\n")
        sys.stderr.flush()
