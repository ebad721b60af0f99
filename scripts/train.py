"""Train a ParagonSR2 generator for fidelity: pictures in, a checkpoint out.

    python scripts/train.py --variant nano --data PICTURES --validate SET5 --iterations 30000 --out nano.safetensors

The low resolution is made by antialiased bicubic. The loss is Charbonnier's; the saved weights are their moving
average. `--resume FILE` (written beside the result as FILE.state) continues an interrupted run.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsparagon.checkpoint import load_generator, save_generator
from vsparagon.extend import extension_for
from vsparagon.models.paragonsr2 import ParagonSR2, create_generator
from vsparagon.quality import psnr_luma
from vsparagon.training.data import PairedCrops
from vsparagon.training.pictures import Picture, crop_to_multiple, load_picture, picture_files, reduce

log = logging.getLogger("train")


def charbonnier(result: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """Mean of sqrt(difference^2 + eps^2) (Charbonnier et al., 1994)."""
    return ((result - target).square() + eps * eps).sqrt().mean()


def learning_rate(iteration: int, total: int, peak: float, warmup: int) -> float:
    """A linear warm-up, then half a cosine down to a hundredth of the peak."""
    if iteration < warmup:
        return peak * (iteration + 1) / warmup
    progress = (iteration - warmup) / max(1, total - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


@torch.no_grad()
def enlarge(model: ParagonSR2, low: Picture) -> Picture:
    """Enlarge H,W,3 uint8 as the filter does: extended, through the network, cut back, rounded."""
    extension = extension_for(*low.shape[:2])
    extended = np.zeros((1, 3, extension.extended_height, extension.extended_width), np.float32)
    extension.picture(extended)[0] = low.transpose(2, 0, 1) / np.float32(255)
    extension.fill(extended)
    result = extension.picture(model(torch.from_numpy(extended)).numpy(), model.options.scale)[0]
    picture: Picture = np.rint(result.transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)
    return picture


def validate(model: ParagonSR2, folder: Path) -> float:
    """Return the mean luma PSNR over a folder, in dB."""
    scale = model.options.scale
    values = []
    for path in picture_files(folder):
        high = crop_to_multiple(load_picture(path), scale)
        values.append(psnr_luma(enlarge(model, reduce(high, scale)), high, scale))
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="nano")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--attention", action="store_true", help="train with window attention (slow on a CPU)")
    parser.add_argument("--data", type=Path, required=True, help="folder of high-resolution pictures")
    parser.add_argument("--validate", type=Path, nargs="*", default=[], help="folders to measure luma PSNR on")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write (.safetensors)")
    parser.add_argument("--start", type=Path, help="checkpoint to start from")
    parser.add_argument("--resume", type=Path, help="a .state file of an interrupted run")
    parser.add_argument("--iterations", type=int, default=30000)
    parser.add_argument("--warmup", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=48, help="side of the low-resolution crop")
    parser.add_argument("--border", type=int, default=4, help="low-resolution pixels at crop edges without loss")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate of AdamW")
    parser.add_argument("--ema", type=float, default=0.999, help="decay of the averaged weights")
    parser.add_argument("--every", type=int, default=1000, help="iterations between validations and saves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for torch's choice")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    if args.start:
        model = load_generator(args.start).train()
    else:
        model = create_generator(args.variant, scale=args.scale, use_attention=args.attention)
    model = model.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(model).eval()
    optimiser = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=args.rate, betas=(0.9, 0.99), weight_decay=0
    )
    crops = PairedCrops(args.data, scale=args.scale, crop=args.crop, batch=args.batch, seed=args.seed)
    begin = 0
    if args.resume:
        state = torch.load(args.resume, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        crops.random.bit_generator.state = state["random"]
        begin = state["iteration"]
    log.info("%s: %d parameters, %d pictures", args.variant, model.trainable_parameters(), len(crops.pairs))

    started, mean_loss, cut = time.monotonic(), 0.0, args.border * args.scale
    keep = slice(cut, args.crop * args.scale - cut)
    for iteration, (low, high) in zip(range(begin, args.iterations), crops, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(iteration, args.iterations, args.rate, args.warmup)
        low = low.contiguous(memory_format=torch.channels_last)
        loss = charbonnier(model(low)[..., keep, keep], high[..., keep, keep])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if not math.isfinite(loss.item()):
            raise SystemExit(f"the loss is {loss.item()} at iteration {iteration}; the last checkpoint is kept")
        decay = min(args.ema, (1 + iteration) / (10 + iteration))
        for average, current in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            average.lerp_(current, 1 - decay)
        mean_loss += loss.item()

        done = iteration + 1
        if done % args.every == 0 or done == args.iterations:
            speed = (done - begin) / (time.monotonic() - started)
            psnr = "  ".join(f"{folder.name} {validate(averaged, folder):.3f} dB" for folder in args.validate)
            log.info("%d  loss %.5f  %.1f it/s  %s", done, mean_loss / args.every, speed, psnr)
            mean_loss = 0.0
            note = (
                f"{done} iterations of {args.batch} crops of {args.crop}x{args.crop}, AdamW {args.rate:g}, "
                f"Charbonnier, {len(crops.pairs)} pictures, antialiased bicubic"
            )
            save_generator(averaged, args.out, variant=args.variant, note=note)
            state = {
                "model": model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "random": crops.random.bit_generator.state,
                "iteration": done,
            }
            part = args.out.with_suffix(".state.part")
            torch.save(state, part)
            part.replace(args.out.with_suffix(".state"))


if __name__ == "__main__":
    main()
