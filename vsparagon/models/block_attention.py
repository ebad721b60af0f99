"""Window attention without copies of windows or n*n logits, for a query of one channel.

The output of a window is then a smooth function of one number q,

    f(q) = sum of exp(q k_j / 32) v_j / sum of exp(q k_j / 32),

and the polynomial through a few Chebyshev points over the range of q follows it. On sides of 24a + 8 pixels every
window is whole and consists of 4x4 blocks of 8x8 pixels, and a block lies in at most 2x2 windows:

1. per block and point t: the sum over its pixels of exp(t k) times the features;
2. per window: the mean over its blocks, the values from the features, one quotient: f at the points;
3. per pixel: the polynomials of up to four windows, weighted as the windows are blended; one matrix product per block.

How many points are enough depends on the picture: on R, half the range of q times half the range of k, over 32. The
number of points is fixed in advance, so each picture is checked. The last two Chebyshev coefficients of f, computed
from its values at the points, tell how much the next ones would add. Up to R = points / 3 they cannot miss an error,
because f has no singularity near enough (its denominator has no zero within pi / 2R of the range). Where they are too
large, or R is, attention is computed in full. `vsparagon.onnx.block_attention` writes the same computation as ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

from vsparagon.models.attention import OVERLAP, WINDOW, LocalWindowAttention, WindowAttention
from vsparagon.models.folding import bias_of, convolution, wider

BLOCK = OVERLAP
STRIDE = WINDOW - OVERLAP
STEP = STRIDE // BLOCK  # blocks from window to window
POINTS = (8, 12, 16)
TOLERANCE = 5e-6  # error of the polynomials, relative to the largest value at a point
TAIL = 3.0  # the last two coefficients times this bound all later ones, doubled by interpolation, at the largest R
NARROWEST = 1e-6  # least half range of q, so that nothing is divided by 0 in a picture of one colour
SMALLEST = 1e-30  # least largest value, so that nothing is divided by 0 where all values are 0


def is_whole(pixels: int) -> bool:
    """Return whether an axis consists of whole windows: 24a + 8 pixels, a at least 1."""
    return pixels >= WINDOW and pixels % STRIDE == BLOCK


def positions(points: int) -> npt.NDArray[np.float64]:
    """Return the Chebyshev points in [-1, 1], in descending order; they are symmetric about 0."""
    at: npt.NDArray[np.float64] = np.cos((np.arange(points) + 0.5) * (np.pi / points))
    return at


def largest_r(points: int) -> float:
    """Return the largest R for which the last coefficients tell the error."""
    return points / 3


def last_coefficients(points: int) -> npt.NDArray[np.float64]:
    """Return the matrix, (2, points), from values at the points to the last two Chebyshev coefficients."""
    angles = (np.arange(points) + 0.5) * (np.pi / points)
    orders = np.array([[points - 2], [points - 1]])
    matrix: npt.NDArray[np.float64] = np.cos(orders * angles) * (2 / points)
    return matrix


@dataclass(frozen=True)
class Basis:
    """The Lagrange polynomials of the points: factor * (u + own) * product of (u*u - others).

    Attributes:
        own: (points,) the point of each polynomial, which is 0 at the mirrored point -own.
        others: (points / 2 - 1, points) squares of all points but these two.
        factor: (points,) makes each polynomial 1 at its own point.
    """

    own: npt.NDArray[np.float64]
    others: npt.NDArray[np.float64]
    factor: npt.NDArray[np.float64]


def lagrange(points: int) -> Basis:
    """Return the polynomials that are 1 at one point and 0 at all others; the number of points is even."""
    at = positions(points)
    squares = at[: points // 2] ** 2
    pair = np.minimum(np.arange(points), np.arange(points)[::-1])
    others = np.array([np.delete(squares, p) for p in pair]).T
    return Basis(own=at, others=others, factor=1 / (2 * at * (at**2 - others).prod(0)))


@dataclass(frozen=True)
class AxisBlocks:
    """The blocks along one axis, and the one or two windows that each lies in.

    Attributes:
        windows: (blocks, 2) the later and the earlier window of each block; twice the same where there is only one.
        weights: (blocks, 8, 2) their shares in each pixel of the block; they sum to 1.
    """

    windows: Tensor
    weights: Tensor


def axis_blocks(count: int, device: torch.device) -> AxisBlocks:
    """Return the blocks and windows of an axis of 3a + 1 blocks, a at least 1."""
    block = torch.arange(count, device=device)
    later = (block // STEP).clamp(max=(count - 1) // STEP - 1)
    earlier = ((block - 1) // STEP).clamp(min=0)
    ramp = torch.arange(BLOCK, device=device) / (BLOCK - 1)
    weight = torch.where((later != earlier)[:, None], ramp, 1.0)
    return AxisBlocks(torch.stack((later, earlier), 1), torch.stack((weight, 1 - weight), 2))


@dataclass(frozen=True)
class Windows:
    """The queries of a picture, and what its pixels need of their windows.

    Attributes:
        query: N,1,H,W, scaled to [-1, 1] over each picture.
        values: N,down,across,points,out: f of each window at the points.
        error: (N,) estimated error of the polynomials, relative to the largest value.
        r: (N,) R.
    """

    query: Tensor
    values: Tensor
    error: Tensor
    r: Tensor


class BlockAttention(nn.Module):
    """The attention of a `LocalWindowAttention`, without the residual, between two linear maps.

    Takes N,D+1,H,W, whose last channel is all ones, and returns N,out,H,W. Attention is computed in full on GPUs, which
    would have to wait for the decision, in dtypes other than float32, and on sides other than 24a + 8.

    Args:
        attention: its query has one channel.
        before: 1x1 convolution from D channels to those of the attention.
        behind: (out, channels of the attention) matrix.
        points: number of points of the polynomials.

    Attributes:
        exact: full attention, with gamma and both maps folded into its kernels.
    """

    def __init__(self, attention: LocalWindowAttention, before: nn.Conv2d, behind: Tensor, points: int) -> None:
        super().__init__()
        one = F.pad(behind.new_ones(1, 1, dtype=torch.float64), (before.in_channels, 0))
        mapped = torch.cat((_affine(before), one))
        query, key, value = (_affine(conv) @ mapped for conv in (attention.query, attention.key, attention.value))
        value = attention.gamma.double() * (behind.double() @ value)
        none = torch.zeros(1)
        self.points = points
        self.exact = WindowAttention(
            *(convolution(matrix[..., None, None], none.expand(len(matrix))) for matrix in (query, key, value))
        )

    @property
    def query_key(self) -> Tensor:
        """The (2, D+1) map to the two factors of a logit, query and key."""
        weights = torch.cat((self.exact.query.weight / WINDOW, self.exact.key.weight))  # the root of a window's pixels
        flat: Tensor = weights.flatten(1)
        return flat

    @property
    def value(self) -> Tensor:
        """The (D+1, out) map to the values."""
        matrix: Tensor = self.exact.value.weight.flatten(1).T
        return matrix

    def widen(self, outputs: int) -> None:
        """Append this number of zero channels to the output, in place."""
        self.exact.value = wider(self.exact.value, outputs=outputs)

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda or x.dtype != torch.float32 or not all(map(is_whole, x.shape[2:])):
            return self._in_full(x)
        windows = self.windows(x)
        if x.is_meta or self.follow(windows):  # a tensor without data has no answer
            return self.polynomials(windows)
        return self._in_full(x)

    def _in_full(self, x: Tensor) -> Tensor:
        out: Tensor = self.exact(x)
        return out

    def follow(self, windows: Windows) -> bool:
        """Return whether the polynomials follow the attention closely enough, in all pictures of the batch."""
        return bool(((windows.error <= TOLERANCE) & (windows.r <= largest_r(self.points))).all())

    def windows(self, x: Tensor) -> Windows:
        """Return f at the points for each window of x, N,D+1,H,W, whose sides are 24a + 8 pixels, a at least 1."""
        query, key = torch.split(F.conv2d(x, self.query_key[..., None, None]), 1, dim=1)
        (q_middle, q_half), (k_middle, k_half) = _range(query), _range(key)
        q_half = q_half.clamp(min=NARROWEST)
        at = (q_middle + q_half * _tensor(positions(self.points), x).view(-1, 1, 1))[:, None]  # N,1,points,1,1
        weights = (_blocks(key - k_middle) * at.flatten(3).transpose(2, 3)[:, None]).exp()

        sums = weights.transpose(3, 4) @ _blocks(x)  # N,down,across,points,channels
        sums = F.avg_pool2d(sums.flatten(3).permute(0, 3, 1, 2), WINDOW // BLOCK, STEP)
        sums = sums.permute(0, 2, 3, 1)
        sums = sums.reshape(*sums.shape[:3], self.points, -1)
        values = sums @ self.value / sums[..., -1:]
        last = (_tensor(last_coefficients(self.points), x) @ values).abs().amax((1, 2, 4)).sum(1)
        error = TAIL * last / values.abs().amax((1, 2, 3, 4)).clamp(min=SMALLEST)
        return Windows((query - q_middle) / q_half, values, error, (q_half * k_half).flatten())

    def polynomials(self, windows: Windows) -> Tensor:
        """Return for each pixel the blend of its windows' polynomials: N,out,H,W."""
        n, _, height, width = windows.query.shape
        rows, columns = (axis_blocks(side // BLOCK, windows.query.device) for side in (height, width))
        values = windows.values[:, rows.windows][:, :, :, columns.windows]
        values = values.transpose(2, 3).flatten(3, 5)  # N,down,across,4*points,out
        basis = lagrange(self.points)
        query = _blocks(windows.query)
        square = query * query
        terms = (query + _tensor(basis.own, query)).mul_(_tensor(basis.factor, query))
        for other in basis.others:
            terms.mul_(square - _tensor(other, query))
        weights = torch.einsum("yip,xjq->yxijpq", rows.weights, columns.weights).flatten(4).flatten(2, 3)
        terms = (weights[..., None] * terms[..., None, :]).flatten(4)  # N,down,across,64,4*points
        blocks = (terms @ values).reshape(n, height // BLOCK, width // BLOCK, BLOCK, BLOCK, -1)
        return blocks.permute(0, 5, 1, 3, 2, 4).reshape(n, -1, height, width)


def _affine(conv: nn.Conv2d) -> Tensor:
    """Return a 1x1 convolution as a float64 matrix on its channels and a one: (out, in + 1)."""
    return torch.cat((conv.weight.double().flatten(1), bias_of(conv)[:, None]), 1)


def _range(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the middle and half the range of each picture, N,1,1,1 each."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (low + high) / 2, (high - low) / 2


def _blocks(x: Tensor) -> Tensor:
    """Cut N,C,H,W into blocks: N, H/8, W/8, 64, C."""
    n, channels, height, width = x.shape
    cut = x.reshape(n, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)


def _tensor(values: npt.NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like)


def sample_picture() -> Tensor:
    """Return a picture whose logits have about twice the range of a photograph's, always the same: 1,3,104,104.

    It shows colour ramps, and hard edges between all hues.
    """
    random = torch.Generator().manual_seed(0)
    side = 4 * STRIDE + BLOCK
    picture = F.interpolate(torch.rand(1, 3, 4, 4, generator=random), side, mode="bilinear")
    for _ in range(40):
        top, left, height, width = torch.randint(1, side // 3, (4,), generator=random).tolist()
        colour = torch.randint(0, 2, (3, 1, 1), generator=random)
        picture[0, :, 2 * top : 2 * top + height, 2 * left : 2 * left + width] = colour
    return 0.1 + 0.8 * picture


def points_needed(attention: LocalWindowAttention, x: Tensor) -> int | None:
    """Return the fewest of `POINTS` whose polynomials follow the attention in x.

    Args:
        attention: any.
        x: its input when the network sees `sample_picture`.

    Returns:
        The number of points; None if no number is enough, or if the query has more than one channel.
    """
    if attention.query.out_channels > 1:
        return None
    eye = torch.eye(x.shape[1])
    same = convolution(eye[..., None, None], torch.zeros(len(eye)))
    with_one = F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0)
    for points in POINTS:
        form = BlockAttention(attention, same, eye, points)
        if form.follow(form.windows(with_one)):
            return points
    return None
