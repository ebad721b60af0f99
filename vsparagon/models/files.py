"""The files that a model consists of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

# How protobuf encodes the entry with which a tensor names the file of its values: a key, then the length of the name.
LOCATION: Final = re.compile(rb"\x0a\x08location\x12([\x80-\xff]*[\x00-\x7f])")


def files_of(path: Path) -> list[Path]:
    """Return a model file and the existing files of external weights that it refers to.

    Raises:
        OSError: an ONNX file cannot be read.
    """
    if path.suffix.lower() != ".onnx":
        return [path]
    data, named = path.read_bytes(), set()
    for entry in LOCATION.finditer(data):
        length = sum((byte & 127) << 7 * place for place, byte in enumerate(entry[1]))
        named.add(data[entry.end() : entry.end() + length].decode(errors="replace"))
    return [path, *(beside for name in sorted(named) if (beside := path.parent / name).is_file())]
