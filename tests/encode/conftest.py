"""Films that several files encode, and what an encode without any disturbance makes of one."""

import pytest
from films import FRAMES, SEGMENT, UNEVEN, encode, make_film


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "film.mkv", seconds=4, video=UNEVEN)


@pytest.fixture(scope="session")
def whole(film, tmp_path_factory):
    """The result of a single, uninterrupted process."""
    out = tmp_path_factory.mktemp("whole") / "out.mkv"
    done = encode(film, out, "--segment-frames", SEGMENT)
    assert done.returncode == 0, done.stderr
    assert f" {FRAMES} frames " in done.stdout
    return out


@pytest.fixture(scope="session")
def mkv(tmp_path_factory):
    """A film with uneven frame times, all kinds of streams, and a name that needs quotes."""
    return make_film(tmp_path_factory.mktemp("film") / "a film, 1.mkv", video=UNEVEN)
