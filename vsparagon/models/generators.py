"""Makes generators of either kind from their options."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vsparagon.models.paragonsr2 import ParagonSR2
from vsparagon.models.swift import Swift
from vsparagon.models.variants import AnyOptions, SwiftOptions, variant_options

Generator = ParagonSR2 | Swift


def new_generator(options: AnyOptions) -> Generator:
    """Return a new, untrained generator with these options."""
    return Swift(**asdict(options)) if isinstance(options, SwiftOptions) else ParagonSR2(**asdict(options))


def create_generator(variant: str, **overrides: Any) -> Generator:
    """Return a new, untrained generator.

    Args:
        variant: a name in `vsparagon.models.variants.VARIANTS`.
        **overrides: fields of its options, for example `scale=4` or `use_attention=False`.

    Raises:
        InvalidInput: unknown variant or option, or an option out of range.
    """
    return new_generator(variant_options(variant, **overrides))
