"""Estimates the memory of a network's layers from its options alone, without torch."""

from __future__ import annotations

from vsparagon.models.variants import VECTOR, AnyOptions, SwiftOptions

FLOAT = 4
WINDOWED = 32**2 / 24**2  # growth of a map that is cut into overlapping windows
POLYNOMIALS = 100  # numbers per pixel in `vsparagon.models.block_attention`: terms, weights and copies


def bytes_per_pixel(options: AnyOptions) -> int:
    """Return about how many bytes a generator needs per pixel of its input, for all layers alive at once.

    Measured with OpenVINO in float32, and in brackets this estimate: nano without attention 310 (364), with attention
    1,020 (1,020); micro without attention 600 (620).
    """
    ends = 3 + 2 * 3 * options.scale**2  # picture, phases and result
    if isinstance(options, SwiftOptions):
        return FLOAT * (ends + 2 * _padded(options.num_feat))
    features, hidden = _padded(options.num_feat + 3), _padded(options.hidden)
    layers = 2 * features + 2 * hidden
    if options.groups * options.blocks > 1:
        layers += features  # the group's input, which it adds at its end
    if options.use_attention:
        layers += round(2 * WINDOWED * (hidden + 2 * max(1, options.hidden // 8)))
        if options.hidden < 2 * 8 and not options.use_channel_mod:  # a query of one channel
            layers += POLYNOMIALS
    if options.use_content_aware:
        layers = max(layers, 2 * _padded(options.num_feat))
    return FLOAT * (ends + layers)


def _padded(channels: int) -> int:
    return -(-channels // VECTOR) * VECTOR
