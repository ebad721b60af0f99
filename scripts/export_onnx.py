"""Write a model as an ONNX file: the same as `vsparagon export`.

python scripts/export_onnx.py nano nano.onnx --precision fp16
python scripts/export_onnx.py checkpoint.safetensors weights.onnx --form extended
"""

from __future__ import annotations

import sys

from vsparagon.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
