"""What kept engines of tests are kept for."""

from vsparagon.engines.cache import EngineKey

KEY = EngineKey(
    model="0f" * 32,
    precision="fp16",
    profiles="",
    build=1,
    library="tensorrt 10.8.0",
    gpu="NVIDIA Card",
    capability="8.9",
    driver="580.10",
)
