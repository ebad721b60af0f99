"""What several test files start from."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def real_picture():
    """A photograph as 1,3,H,W float32 in [0, 1]."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photographs")
    return np.ascontiguousarray(data.astronaut().transpose(2, 0, 1)[None] / np.float32(255), np.float32)
