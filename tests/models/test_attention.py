"""Window attention on whole tensors, compared with the published loop over windows, at all kinds of sizes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks are torch modules")

from vsparagon.models.attention import LocalWindowAttention  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_gradient")


def attention(channels=4, gamma=1.0):
    module = LocalWindowAttention(channels)
    module.gamma.fill_(gamma)
    for name in ("query", "key"):
        getattr(module, name).weight.mul_(20)  # so that the softmax is far from a plain mean
    return module


def attend(module, x):
    """Return the attention of every pixel of x to all its pixels; logits are divided by the root of their number."""
    query, key, value = (conv(x).flatten(2) for conv in (module.query, module.key, module.value))
    logits = query.transpose(1, 2) @ key / (x.shape[2] * x.shape[3]) ** 0.5
    return (value @ logits.softmax(-1).transpose(1, 2)).view_as(x)


def ramps(window, start, length, axis_length, overlap):
    """Return the weights of one window along one axis: a ramp towards each neighbour."""
    weight = torch.ones(length)
    m = min(overlap, length // 4)
    if m and start > 0:
        weight[:m] *= torch.linspace(0, 1, m)
    if m and start + length < axis_length:
        weight[-m:] *= torch.linspace(1, 0, m)
    return weight


def by_windows(module, x):
    """Compute the published rule, one window after the other."""
    height, width = x.shape[2:]
    if height <= 32 and width <= 32:
        return x + module.gamma * attend(module, x)
    wh, ww = min(32, height), min(32, width)
    oh, ow = min(8, wh // 4, height // 4), min(8, ww // 4, width // 4)
    total, weights = torch.zeros_like(x), torch.zeros(height, width)
    for i in range((height + oh - 1) // (wh - oh)):
        for j in range((width + ow - 1) // (ww - ow)):
            top, left = i * (wh - oh), j * (ww - ow)
            bottom, right = min(top + wh, height), min(left + ww, width)
            down = ramps(wh, top, bottom - top, height, oh)
            across = ramps(ww, left, right - left, width, ow)
            weight = down[:, None] * across
            total[..., top:bottom, left:right] += weight * attend(module, x[..., top:bottom, left:right])
            weights[top:bottom, left:right] += weight
    return x + module.gamma * (total / (weights + 1e-8))


def assert_same(module, height, width):
    """Compare both ways of computing attention with the loop: all at once, for gradients, and by rows of windows."""
    x = torch.randn(1, module.value.out_channels, height, width)
    wanted = by_windows(module, x)
    for recorded in (True, False):
        with torch.set_grad_enabled(recorded):
            torch.testing.assert_close(
                module(x).detach(), wanted, rtol=0, atol=2e-5, msg=lambda m: f"{height}x{width}: {m}"
            )


@pytest.mark.parametrize("other", [4, 11, 32])
def test_every_length_from_4_to_131_along_each_axis(other):
    module = attention()
    for length in range(4, 132, 1 if other == 4 else 7):
        assert_same(module, length, other)
        assert_same(module, other, length)


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (31, 31),
        (33, 33),
        (40, 40),  # eight trailing rows in no window
        (41, 44),  # a last window of 17 by 20
        (56, 80),  # all windows whole
        (57, 60),
        (100, 77),
    ],
)
def test_both_axes_have_windows(height, width):
    assert_same(attention(12), height, width)
    assert_same(attention(24), height, width)  # three channels in the query


def test_uncovered_trailing_rows_and_columns_pass_unchanged():
    module = attention()
    x = torch.randn(1, 4, 40, 64)
    out = module(x)
    assert torch.equal(out[..., 32:, :], x[..., 32:, :])
    assert torch.equal(out[..., 56:], x[..., 56:])
    assert (out[..., :32, :56] != x[..., :32, :56]).any()


def test_new_module_is_the_identity():
    x = torch.randn(2, 12, 37, 50)
    assert torch.equal(LocalWindowAttention(12)(x), x)


def test_gradient_equals_that_of_the_loop():
    module = attention(12)
    gradients = []
    for forward in (module, lambda x: by_windows(module, x)):
        x = torch.randn(1, 12, 41, 35, generator=torch.Generator().manual_seed(1), requires_grad=True)
        module.zero_grad()
        with torch.enable_grad():
            forward(x).square().mean().backward()
        gradients.append([x.grad, *(p.grad.clone() for p in module.parameters())])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-7)
