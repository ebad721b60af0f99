"""16-bit still pictures: `image`, `compare` and training read the same from them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

pytest.importorskip("pyvips", reason="`vsparagon image` reads with pyvips")

from clips import photograph
from PIL import Image

from vsparagon.compare.versions import Version, read_still
from vsparagon.errors import InvalidInput
from vsparagon.image.image_file import read_picture
from vsparagon.image.stills import to_8_bit
from vsparagon.training.pictures import load_picture


def by_image(path):
    colour = read_picture(path).colour
    return np.repeat(to_8_bit(colour), 3, axis=2)


def by_compare(path):
    return Version(name="", clip=read_still(path)).picture(0)


READERS = pytest.mark.parametrize("read", [by_image, by_compare, load_picture])


@pytest.fixture(scope="module")
def gray():
    picture = photograph(48, 64)[..., 1]
    picture[:4, :4], picture[:4, 4:8] = 255, 0
    return picture


@READERS
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_gray_of_16_bit_is_scaled(read, suffix, order, gray, tmp_path):
    samples = gray.astype(np.uint16) * 257
    samples[::2] -= np.minimum(samples[::2], 128)  # rounded up
    samples[1::2] += np.minimum(65535 - samples[1::2], 128)  # and down
    Image.fromarray(samples.astype(f"{order}u2")).save(tmp_path / f"in{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"in{suffix}"), np.stack([gray] * 3, axis=-1))


@READERS
@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_samples_without_a_known_white_are_refused(read, kind, gray, tmp_path):
    Image.fromarray(gray.astype(kind) * 257).save(tmp_path / "in.tif")
    with pytest.raises(ValueError, match="convert it to 8 or 16 bits first"):
        read(tmp_path / "in.tif")


@pytest.mark.parametrize("read", [by_compare, load_picture])
def test_broken_chunk_of_a_png_is_a_damaged_picture(read, gray, tmp_path):
    Image.fromarray(gray).save(tmp_path / "in.png")
    data = bytearray((tmp_path / "in.png").read_bytes())
    first = data.index(b"IDAT")
    data[first - 4 : first] = struct.pack(">I", 100)  # shorter, so that another chunk is read where there is none
    data[first + 112 : first + 116] = b"\xff" * 4  # its name, after 100 bytes, their checksum and its length
    (tmp_path / "in.png").write_bytes(data)
    with pytest.raises(ValueError, match="broken PNG"):
        read(tmp_path / "in.png")


def test_picture_of_16_bit_is_compared_upright(gray, tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # orientation: to be rotated clockwise by 90 degrees
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "in.png", exif=exif)
    np.testing.assert_array_equal(by_compare(tmp_path / "in.png")[..., 0], np.rot90(gray, -1))


def test_picture_that_compare_cannot_read_is_named(gray, tmp_path):
    Image.fromarray(gray.astype(np.float32)).save(tmp_path / "in.tif")
    with pytest.raises(InvalidInput, match=r"in\.tif cannot be read as an image: its samples have 32 bits"):
        read_still(tmp_path / "in.tif")
