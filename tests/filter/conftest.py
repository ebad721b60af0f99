"""Fixtures for tests of tiles."""

import pytest
from whole_frame import WholeFrame

from vsparagon.tiles.planning import plan_tiles
from vsparagon.tiles.tilings import WholeTiling


@pytest.fixture
def whole_frames(monkeypatch):
    """Take whole frames where `WholeFrame` asks for them."""

    def plan(choice, model, extension, **options):
        if isinstance(choice, WholeFrame):
            return WholeTiling(height=extension.extended_height, width=extension.extended_width)
        return plan_tiles(choice, model, extension, **options)

    monkeypatch.setattr("vsparagon.pipelines.picture.plan_tiles", plan)
