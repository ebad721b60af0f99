"""Networks with random weights, for tests."""

import torch

from vsparagon.models.generators import create_generator
from vsparagon.models.swift import Swift


def random_swift(variant: str = "swift", **options: int) -> Swift:
    """Return a generator that adds something to its anchor, and whose slopes differ."""
    torch.manual_seed(0)
    model = create_generator(variant, **options)
    assert isinstance(model, Swift)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()
