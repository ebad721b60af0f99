"""The pixel shuffle as part of a copy, compared with torch's."""

import numpy as np
import pytest
import torch

from vsparagon.backends.openvino.phases import write_phases


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("lines", [1, 2, 7], ids=lambda lines: f"blocks of {lines}")
def test_every_part_equals_the_shuffled_picture(scale, colours, adds, lines, monkeypatch):
    monkeypatch.setattr("vsparagon.backends.openvino.phases.BLOCK", lines * 9 * colours * scale * scale * 4 + 1)
    random = np.random.default_rng(0)
    phases = random.standard_normal((7, 9, colours * scale * scale)).astype(np.float32)
    whole = torch.pixel_shuffle(torch.from_numpy(phases).permute(2, 0, 1), scale).numpy()
    picture = random.standard_normal((colours, 7, 9)).astype(np.float32) if adds else None
    if picture is not None:
        whole = whole + picture.repeat(scale, 1).repeat(scale, 2)
    for _ in range(20):
        top, bottom = sorted(random.choice(7 * scale + 1, 2, replace=False))
        left, right = sorted(random.choice(9 * scale + 1, 2, replace=False))
        # The stride of a frame's rows is larger than their length.
        room = np.full((colours, bottom - top, right - left + 5), 7, np.float32)
        write_phases(phases, scale, list(room[..., :-5]), slice(top, bottom), slice(left, right), repeated=picture)
        np.testing.assert_array_equal(room[..., :-5], whole[:, top:bottom, left:right])
        assert (room[..., -5:] == 7).all()
