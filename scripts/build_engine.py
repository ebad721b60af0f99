"""Build a TensorRT engine of an ONNX file, for pictures from 64x64 to 1920x1080.

    python scripts/build_engine.py nano.onnx nano.engine

What it is built with, `tensorrt` or `tensorrt_rtx`, is what is installed. The engine is of the ONNX file's types:
export that with `--precision fp16` for a half-precision engine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vsparagon.engine import Profile, build_engine
from vsparagon.errors import ParagonError
from vsparagon.files import write_atomically


def size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT as height, width."""
    width, _, height = text.partition("x")
    return int(height), int(width)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--smallest", type=size, default=(64, 64), metavar="WxH")
    parser.add_argument("--usual", type=size, default=(540, 960), metavar="WxH")
    parser.add_argument("--largest", type=size, default=(1080, 1920), metavar="WxH")
    args = parser.parse_args()
    profile = Profile(smallest=args.smallest, usual=args.usual, largest=args.largest)
    try:
        engine = build_engine(args.onnx.read_bytes(), profile)
        write_atomically(args.out, engine)
    except (ParagonError, OSError) as error:
        print(f"build_engine: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {len(engine) / 1024:,.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
