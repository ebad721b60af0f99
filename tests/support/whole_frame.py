"""A choice of tiles that the filter does not offer, as a reference for tests."""

from vsparagon.tiles.choice import TileChoice


class WholeFrame(TileChoice):
    """The whole frame at once; tests that use it need the fixture `whole_frames`."""
