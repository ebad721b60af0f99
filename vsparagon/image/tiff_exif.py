"""Read and write EXIF in TIFF files, which libvips does not do.

EXIF is itself a small TIFF: a directory of tags, one of which points to a second directory (about the camera) and one
to a third (about the place). In a TIFF file, these are the file's own first directory and the two it points to. All
values are converted to little-endian order when they are read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PREFIX: Final = b"Exif\0\0"  # before EXIF in other files
CAMERA, PLACE, INTEROPERABILITY = 34665, 34853, 40965  # tags that point to directories
WIDTH, HEIGHT = 40962, 40963
# The tags in the first directory that describe the image, not how the file stores it: description, maker, model,
# software, date, artist, host computer, copyright.
ABOUT: Final = (270, 271, 272, 305, 306, 315, 316, 33432)
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_WORDS: Final = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}  # type -> size of the words with a byte order
_LONG: Final = 4

type Directory = dict[int, tuple[int, int, bytes]]  # tag: type, count, value


@dataclass(frozen=True, kw_only=True)
class Exif:
    """The three directories of EXIF: about the image, the camera (Exif IFD) and the place (GPS IFD)."""

    main: Directory = field(default_factory=dict)
    camera: Directory = field(default_factory=dict)
    place: Directory = field(default_factory=dict)


def read_tiff(path: Path) -> bytes:
    """Return the EXIF of a TIFF file as other file types hold it; b"" if it has none that can be read.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        exif = _parse(path.read_bytes())
    except (struct.error, KeyError):  # damaged, or BigTIFF
        return b""
    if not (exif.main or exif.camera or exif.place):
        return b""
    return PREFIX + b"II*\0" + _serialise(exif, exif.main, 4)


def add_to_tiff(path: Path, blob: bytes, *, width: int, height: int) -> None:
    """Add EXIF to a TIFF file, in place. Nothing is done if either is damaged or the file is not little-endian.

    Args:
        path: a TIFF file as libvips writes it.
        blob: EXIF as other file types hold it, with or without the prefix "Exif".
        width, height: of the image in pixels; they replace the size in the EXIF, if that has one.

    Raises:
        OSError: the file cannot be read or written.
    """
    data = path.read_bytes()
    try:
        exif = _parse(blob.removeprefix(PREFIX))
        first = _read(data, struct.unpack_from("<I", data, 4)[0], "<")
    except (struct.error, KeyError):
        return
    if data[:4] != b"II*\0":
        return
    for tag, size in ((WIDTH, width), (HEIGHT, height)):
        if tag in exif.camera:
            exif.camera[tag] = (_LONG, 1, struct.pack("<I", size))
    data += b"\0" * (len(data) % 2)
    end = len(data)
    appended = _serialise(exif, exif.main | first, end - 4)
    path.write_bytes(data[:4] + appended[:4] + data[8:] + appended[4:])


def _parse(data: bytes) -> Exif:
    order = {b"II*\0": "<", b"MM\0*": ">"}[data[:4]]
    main = _read(data, struct.unpack_from(f"{order}I", data, 4)[0], order)

    def pointed(tag: int) -> Directory:
        if tag not in main:
            return {}
        found = _read(data, struct.unpack("<I", main[tag][2])[0], order)
        found.pop(INTEROPERABILITY, None)
        return found

    about = {tag: value for tag, value in main.items() if tag in ABOUT}
    return Exif(main=about, camera=pointed(CAMERA), place=pointed(PLACE))


def _read(data: bytes, offset: int, order: str) -> Directory:
    (count,) = struct.unpack_from(f"{order}H", data, offset)
    directory: Directory = {}
    for number in range(count):
        at = offset + 2 + 12 * number
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, at)
        if kind not in _SIZES:
            continue
        size = _SIZES[kind] * length
        start = at + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, at + 8)[0]
        value = data[start : start + size]
        if len(value) < size:
            raise struct.error(f"tag {tag} lies outside the file")
        if order == ">" and kind in _WORDS:
            word = _WORDS[kind]
            value = b"".join(value[i : i + word][::-1] for i in range(0, size, word))
        directory[tag] = (kind, length, value)
    return directory


def _serialise(exif: Exif, main: Directory, base: int) -> bytes:
    """Return the offset of the first directory (4 bytes), followed by all directories, placed from `base` on."""
    body = b""
    main = dict(main)
    for tag, directory in ((CAMERA, exif.camera), (PLACE, exif.place)):
        if directory:
            main[tag] = (_LONG, 1, struct.pack("<I", base + 4 + len(body)))
            body += _write(directory, base + 4 + len(body))
    offset = base + 4 + len(body)
    return struct.pack("<I", offset) + body + _write(main, offset)


def _write(directory: Directory, offset: int) -> bytes:
    """Return a directory placed at an offset, followed by the values that do not fit into its entries."""
    table, values = struct.pack("<H", len(directory)), b""
    beyond = offset + 2 + 12 * len(directory) + 4
    for tag, (kind, count, value) in sorted(directory.items()):
        if len(value) <= 4:
            place = value.ljust(4, b"\0")
        else:
            place = struct.pack("<I", beyond + len(values))
            values += value + b"\0" * (len(value) % 2)
        table += struct.pack("<HHI", tag, kind, count) + place
    return table + struct.pack("<I", 0) + values
