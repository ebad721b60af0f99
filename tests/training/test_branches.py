"""Branches of convolutions: they change nothing at first, they learn, and they collapse into one kernel."""

import pytest

torch = pytest.importorskip("torch")

from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.training.reparameterisation import branch_out, collapsed  # noqa: E402


def networks(variant):
    """Return a generator, and the same generator with branches."""
    torch.manual_seed(0)
    plain = create_generator(variant)
    branched = create_generator(variant)
    branched.load_state_dict(plain.state_dict())
    branch_out(branched, wide=8)
    return plain, branched


@pytest.mark.parametrize("variant", ["swift", "nano"])
def test_branches_begin_as_nothing(variant):
    plain, branched = networks(variant)
    picture = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        assert (plain(picture) - branched(picture)).abs().max() < 1e-5
    assert sum(p.numel() for p in branched.parameters()) > 1.2 * plain.options.parameters


def test_every_branch_learns_and_collapses_into_the_kernel():
    plain, branched = networks("swift")
    low, high = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
    before = [p.detach().clone() for p in branched.parameters()]
    optimiser = torch.optim.SGD(branched.parameters(), lr=0.1)
    for _ in range(3):  # the first layers learn only after the last has
        optimiser.zero_grad()
        (branched(low) - high).square().mean().backward()
        optimiser.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, branched.parameters(), strict=True)]
    assert all(moved)
    single = collapsed(branched)
    assert single.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        assert (single(low) - branched(low)).abs().max() < 1e-5
        assert (single(low) - plain(low)).abs().max() > 1e-3
    branched(low)  # it must still work


def test_only_dense_square_kernels_get_branches():
    _, branched = networks("nano")
    got = {name.partition(".parametrizations")[0] for name in branched.state_dict() if "parametrizations" in name}
    assert {"conv_in", "conv_fuse", "upsampler_net.up_conv", "conv_out"} <= got
    assert not any("dw" in name or "project" in name or "magic" in name for name in got)
