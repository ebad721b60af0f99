"""Pictures, configurations and runs for the tests of training."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from places import ROOT

GAN = {"network_d": "{type: munet, num_feat: 4, ch_mult: [1, 2]}", "train.gan_opt": "{gan_weight: 1.0}"}


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return H,W,3 uint8 with detail at every size."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for step in (2, 5, 16, 50):
        coarse = random.normal(size=(height // step + 2, width // step + 2, 3)) * 6 * step**0.5
        picture += np.kron(coarse, np.ones((step, step, 1)))[:height, :width]
    return (128 + picture).clip(0, 255).astype(np.uint8)


def write_pictures(folder: Path, count: int = 3, side: int = 160) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(textured(side, side + 16 * i, i)).save(folder / f"{i}.png")
    return folder


def write_config(folder: Path) -> Path:
    """Write a configuration for a run of a few seconds on `folder`/pictures, which writes to `folder`/runs."""
    path = folder / "tiny.yml"
    path.write_text(f"""
name: tiny
network_g: {{ type: paragonsr2_nano, scale: 2, use_attention: false }}
datasets:
  train: {{ dataroot_gt: {folder}/pictures, lq_size: 24, batch_size_per_gpu: 2, num_worker_per_gpu: 0 }}
train: {{ total_iter: 12, warmup_iter: 4 }}
logger: {{ print_freq: 1, save_checkpoint_freq: 4 }}
path: {{ experiments_root: {folder}/runs }}
threads: 1
""")
    return path


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up there
    spec.loader.exec_module(module)
    return module


def changes(values: dict[str, object]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


def start(config: Path, values: dict[str, object], launcher: tuple[str, ...] = ()) -> subprocess.Popen:
    """Start a run in a process of its own, with the log on stderr."""
    command = [sys.executable, *launcher, str(ROOT / "scripts" / "train.py"), "--config", str(config)]
    arguments = ["--set", *changes(values)] if values else []
    return subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the TensorBoard scalars of a run: lists of (iterations done, value), by name."""
    events = _events(folder)
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def samples(folder: Path) -> dict[str, list[int]]:
    """Return the iterations at which TensorBoard has sample pictures, by name."""
    events = _events(folder)
    return {tag: [e.step for e in events.Images(tag)] for tag in events.Tags()["images"]}


def _events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events
