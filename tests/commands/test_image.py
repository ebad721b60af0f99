"""`vsparagon image`: pixels, metadata and errors."""

from __future__ import annotations

import signal
import struct
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pyvips = pytest.importorskip("pyvips", reason="picture files are read and written with pyvips")

from PIL import Image, ImageCms  # noqa: E402
from PIL.TiffImagePlugin import IFDRational  # noqa: E402

from vsparagon import Upscaler  # noqa: E402
from vsparagon.cli import main  # noqa: E402
from vsparagon.image.tiff_exif import add_to_tiff, read_tiff  # noqa: E402

HEIGHT, WIDTH = 40, 56
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# EXIF tags: the maker of the camera, the EXIF directory, the exposure time, the GPS directory, the latitude.
MAKER, CAMERA, EXPOSURE, PLACE, LATITUDE = 271, 34665, 33434, 34853, 2
SOFTWARE, RESOLUTION, INTEROPERABILITY, DAY = 305, 282, 40965, 29


@pytest.fixture(scope="module")
def card():
    """A smooth picture with an edge, H,W,4 from 0 to 1."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [x / WIDTH, y / HEIGHT, (x + y > 50) * 0.8, 0.2 + 0.8 * (x < 30)]
    return np.stack(planes, axis=-1)


def write(path, card, *, bands=3, depth=8, exif=True):
    planes = card[..., [0, -1]] if bands == 2 else card[..., :bands]
    samples = np.rint(planes * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    image = pyvips.Image.new_from_array(samples)
    gray = bands < 3
    kinds = {(8, False): "srgb", (16, False): "rgb16", (8, True): "b-w", (16, True): "grey16"}
    image = image.copy(interpretation=kinds[depth, gray], xres=11.8, yres=5.9)
    if not gray:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", PROFILE)
    if exif:
        image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", "Camera works")
    image.write_to_file(str(path), **({"Q": 98} if path.suffix in (".jpg", ".webp") else {}))
    return samples


def read(path):
    image = pyvips.Image.new_from_file(str(path))
    return image, image.numpy().reshape(image.height, image.width, image.bands)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4], ids=["gray", "gray with alpha", "rgb", "rgb with alpha"])
def test_lossless_files_hold_what_the_upscaler_makes(suffix, depth, bands, card, tmp_path, capsys):
    samples = write(tmp_path / f"in{suffix}", card, bands=bands, depth=depth)
    out = tmp_path / f"out{suffix}"
    assert main(["image", str(tmp_path / f"in{suffix}"), str(out)]) == 0
    image, found = read(out)
    assert found.shape == (2 * HEIGHT, 2 * WIDTH, bands)
    assert found.dtype == samples.dtype
    upscaler = Upscaler("nano")
    colours = bands - (bands + 1) % 2
    if colours == 3:
        np.testing.assert_array_equal(found[..., :3], upscaler(samples[..., :3]))
    for plane in [0] * (colours == 1) + [bands - 1] * (bands % 2 == 0):
        peak = np.float32(2**depth - 1)
        gray = upscaler(np.repeat(samples[..., plane : plane + 1] / peak, 3, axis=2))
        luma = (gray @ np.float32([0.2126, 0.7152, 0.0722])).clip(0, 1) * peak
        np.testing.assert_allclose(found[..., plane], luma, atol=0.6)
    assert (image.xres, image.yres) == pytest.approx((11.8, 5.9), rel=0.01)
    assert capsys.readouterr().out.startswith(f"{out}: 1 image in ")


@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_profile_and_exif_are_kept(suffix, target, card, tmp_path):
    source, out = tmp_path / f"in{suffix.upper()}", tmp_path / f"out{target.upper()}"
    exif = Image.Exif()
    exif[MAKER] = "Camera works"
    exif.get_ifd(CAMERA)[EXPOSURE] = IFDRational(1, 125)
    exif.get_ifd(PLACE)[LATITUDE] = (IFDRational(48), IFDRational(12), IFDRational(3, 7))
    picture = Image.fromarray(np.rint(card[..., :3] * 255).astype(np.uint8))
    picture.save(source, icc_profile=PROFILE, **({} if suffix == ".tif" else {"exif": exif}))
    if suffix == ".tif":  # Pillow writes the first directory only; it reads all of them, as is checked below
        add_to_tiff(source, exif.tobytes(), width=WIDTH, height=HEIGHT)
    assert main(["image", str(source), str(out)]) == 0
    with Image.open(out) as image:
        image.load()
        found = image.getexif()
        assert image.info["icc_profile"] == PROFILE
        assert image.size == (2 * WIDTH, 2 * HEIGHT)
        assert found.get(MAKER) == "Camera works"
        assert float(found.get_ifd(CAMERA)[EXPOSURE]) == pytest.approx(1 / 125)
        assert [float(x) for x in found.get_ifd(PLACE)[LATITUDE]] == pytest.approx([48, 12, 3 / 7])


@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_picture_that_lies_on_its_side_still_does(suffix, target, tmp_path):
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{target}"
    image = pyvips.Image.black(WIDTH, HEIGHT, bands=3).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    image.set_type(pyvips.GValue.gstr_type, "png-comment-0-Title", "A View")
    image.write_to_file(str(source))
    assert main(["image", str(source), str(out)]) == 0
    found = read(out)[0]
    assert (found.width, found.height, found.get("orientation")) == (2 * WIDTH, 2 * HEIGHT, 6)
    assert found.get("xmp-data") == image.get("xmp-data")
    titles = [found.get(name) for name in found.get_fields() if name.endswith("-Title")]
    assert titles == ["A View"] * (suffix == target == ".png")


def test_exif_in_big_endian_order_goes_into_tiff_of_16_bit(card, tmp_path):
    """Many cameras write big-endian EXIF to JPEG files."""
    exif = Image.Exif()
    exif.endian = ">"
    exif[MAKER] = "Camera works"
    exif[SOFTWARE] = "v1.2"  # five bytes with the one that ends it: the least that do not fit into an entry
    exif[RESOLUTION] = 300
    exif.get_ifd(CAMERA)[EXPOSURE] = IFDRational(1, 125)
    exif.get_ifd(CAMERA)[40962] = WIDTH
    exif.get_ifd(CAMERA)[INTEROPERABILITY] = {1: "R98"}
    path = tmp_path / "out.tif"
    write(path, card, depth=16)
    path.write_bytes(path.read_bytes() + b"\0" * (1 - path.stat().st_size % 2))  # an odd number of bytes
    before = read(path)[1]
    blob = exif.tobytes()
    assert blob[6:8] == b"MM"
    add_to_tiff(path, blob, width=112, height=80)
    np.testing.assert_array_equal(read(path)[1], before)
    data = path.read_bytes()
    (place,) = struct.unpack_from("<I", data, 4)
    tags = [entry[0] for entry in struct.iter_unpack("<H10x", data[place + 2 :][: 12 * data[place]])]
    assert (place % 2, tags) == (0, sorted(tags)), "as the specification of TIFF demands"
    assert read_tiff(path).startswith(b"Exif\0\0II*")
    again = Image.Exif()
    again.load(read_tiff(path))
    assert dict(again) == {MAKER: "Camera works", SOFTWARE: "v1.2", CAMERA: again[CAMERA]}
    with Image.open(path) as image:
        for found in (again, image.getexif()):
            assert (found[MAKER], found[SOFTWARE]) == ("Camera works", "v1.2")
            assert found.get_ifd(CAMERA) == {EXPOSURE: pytest.approx(1 / 125), 40962: 112}


@pytest.mark.parametrize("number", [None, CAMERA, PLACE])
def test_exif_of_one_directory_keeps_all_but_values_of_an_unknown_type(number, card, tmp_path):
    def directory(exif):
        return exif if number is None else exif.get_ifd(number)

    exif, path, tag = Image.Exif(), tmp_path / "out.tif", MAKER if number is None else DAY
    directory(exif).update({tag: "known", SOFTWARE: "unknown"})
    known, unknown = (struct.pack(">HH", SOFTWARE, kind) for kind in (2, 99))
    blob = exif.tobytes().replace(known, unknown)
    assert unknown in blob
    write(path, card, exif=False)
    add_to_tiff(path, blob, width=WIDTH, height=HEIGHT)
    again = Image.Exif()
    again.load(read_tiff(path))
    assert dict(directory(again)) == {tag: "known"}


def test_exif_that_is_damaged_spoils_nothing(card, tmp_path):
    path = tmp_path / "out.tif"
    write(path, card, exif=False)
    before = path.read_bytes()
    exif = Image.Exif()
    exif[MAKER] = "Camera works"
    blob = exif.tobytes()
    for damaged in (b"", blob[:12], blob[:-8], b"Exif\0\0" + b"no TIFF at all"):
        add_to_tiff(path, damaged, width=WIDTH, height=HEIGHT)
        assert path.read_bytes() == before
    path.write_bytes(blob[6:-8])
    assert read_tiff(path) == b""


def test_picture_that_cannot_be_written_leaves_nothing(card, tmp_path, monkeypatch, capsys):
    write(tmp_path / "in.jpg", card)
    for name in ("image.image_file.add_to_tiff", "system.files.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"vsparagon.{name}", fail_with(OSError(28, "No space left on device")))
            assert main(["image", str(tmp_path / "in.jpg"), str(tmp_path / "out.tif")]) == 1
        said = f"vsparagon: {tmp_path / 'out.tif'} cannot be written: No space left on device.\n"
        assert capsys.readouterr().err == said
        assert [path.name for path in tmp_path.iterdir()] == ["in.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another message for a folder")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_picture_that_cannot_be_written_is_told_by_what_the_system_says(suffix, card, tmp_path, monkeypatch, capsys):
    write(tmp_path / "in.png", card)
    monkeypatch.setattr("vsparagon.system.files.secrets.token_hex", lambda _: "0")
    (tmp_path / f".part-0{suffix}").mkdir()  # cannot be removed as a file either
    out = tmp_path / f"out{suffix}"
    assert main(["image", str(tmp_path / "in.png"), str(out)]) == 1
    assert capsys.readouterr().err == f"vsparagon: {out} cannot be written: Is a directory.\n"


@pytest.mark.parametrize("call", ["numpy", "write_to_file"])
def test_ctrl_c_while_libvips_works_is_not_lost(call, card, tmp_path, monkeypatch, capsys):
    for name in ("a.png", "b.png"):
        write(tmp_path / name, card)
    original = getattr(pyvips.Image, call)

    def interrupted(*arguments, **options):
        with suppress(KeyboardInterrupt):  # as in a function that libvips calls
            signal.raise_signal(signal.SIGINT)
        return original(*arguments, **options)

    monkeypatch.setattr(pyvips.Image, call, interrupted)
    assert main(["image", str(tmp_path), str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "vsparagon: stopped\n"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another message for a path through a file")
def test_folder_that_cannot_be_made_is_named_without_an_error_number(card, tmp_path, capsys):
    write(tmp_path / "in.png", card)
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert main(["image", str(tmp_path / "in.png"), str(out)]) == 1
    assert capsys.readouterr().err == f"vsparagon: the folder {out} cannot be created: Not a directory.\n"


def fail_with(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("bands", [2, 4], ids=["gray", "rgb"])
def test_hidden_colours_leave_visible_ones_as_they_are(bands, depth, tmp_path):
    """A bright disc on black that is fully transparent has no dark rim, and stays black where nothing is visible."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (y - 19.0) ** 2 + (x - 30.0) ** 2 < 14**2
    write(tmp_path / "in.png", np.repeat(disc[..., None], bands, axis=2) * 0.8, bands=bands, depth=depth)
    assert main(["image", str(tmp_path / "in.png"), str(tmp_path / "out.png")]) == 0
    found = read(tmp_path / "out.png")[1] / (2**depth - 1)
    colour, alpha = found[..., :-1], found[..., -1]
    np.testing.assert_allclose(colour[alpha > 0], 0.8, atol=0.01)
    assert not colour[alpha == 0].any()
    assert np.count_nonzero(alpha == 0) > 0.4 * alpha.size


def test_transparency_of_webp_is_kept(card, tmp_path):
    write(tmp_path / "in.webp", card, bands=4)
    assert main(["image", str(tmp_path / "in.webp"), str(tmp_path / "out.webp")]) == 0
    alpha = read(tmp_path / "out.webp")[1][..., 3]
    assert abs(int(alpha[20, 10]) - 255) <= 1
    assert abs(int(alpha[20, -10]) - 51) <= 1


def test_16_bit_is_rounded_where_the_file_has_8(card, tmp_path):
    write(tmp_path / "in.png", card, depth=16)
    assert main(["image", str(tmp_path / "in.png"), str(tmp_path / "out.jpg"), "--quality", "100"]) == 0
    found = read(tmp_path / "out.jpg")[1]
    wanted = Upscaler("nano")(np.rint(card[..., :3] * 65535).astype(np.uint16)) / 257
    assert found.dtype == np.uint8
    assert np.abs(found - wanted).mean() < 1


def test_animation_is_not_taken_for_its_first_picture(tmp_path, capsys):
    path = tmp_path / "in.png"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert main(["image", str(path), str(tmp_path / "out.png")]) == 1
    assert "in.png holds an animation; split it into files of one image each." in capsys.readouterr().err
    alone = bytearray(path.read_bytes())
    at = alone.index(b"acTL")
    alone[at + 4 : at + 8] = (1).to_bytes(4)  # frames
    alone[at + 12 : at + 16] = zlib.crc32(alone[at : at + 12]).to_bytes(4)
    path.write_bytes(alone)
    assert main(["image", str(path), str(tmp_path / "out.png")]) == 0


def test_palette_is_shown_in_its_colours(card, tmp_path):
    samples = np.rint(card[..., :3] * 255).astype(np.uint8)
    Image.fromarray(samples).quantize(32).save(tmp_path / "in.png")
    assert main(["image", str(tmp_path / "in.png"), str(tmp_path / "out.png")]) == 0
    found = read(tmp_path / "out.png")[1]
    assert np.abs(found[::2, ::2, :3].astype(float) - samples).mean() < 12


def test_folder_and_pattern_go_into_a_folder(card, tmp_path, capsys):
    for name in ("a.png", "b.jpg", "c.txt"):
        (tmp_path / name).write_text("") if name == "c.txt" else write(tmp_path / name, card)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "d.png", card)
    assert main(["image", str(tmp_path), str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]
    assert capsys.readouterr().err.splitlines() == ["1/2 a.png", "2/2 b.jpg"]
    assert main(["image", str(tmp_path / "s*" / "*.png"), str(tmp_path / "more"), "--suffix", ".webp"]) == 0
    assert [path.name for path in (tmp_path / "more").iterdir()] == ["d.webp"]


def test_existing_files_are_kept_unless_told_otherwise(card, tmp_path, capsys):
    write(tmp_path / "a.png", card)
    write(tmp_path / "b.png", card)
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"precious")
    assert main(["image", str(tmp_path), str(out)]) == 1
    assert "a.png exists; add -y" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["a.png"]
    assert main(["image", str(tmp_path), str(out), "--skip-existing"]) == 0
    assert (out / "a.png").read_bytes() == b"precious"
    assert (out / "b.png").exists()
    assert main(["image", str(tmp_path), str(out), "-y"]) == 0
    assert read(out / "a.png")[1].shape == (2 * HEIGHT, 2 * WIDTH, 3)


def test_lack_of_memory_is_one_line(card, tmp_path, monkeypatch, capsys):
    def fail(self, source, target):
        raise MemoryError("Unable to allocate 2.82 GiB for an array")

    monkeypatch.setattr("vsparagon.pipelines.picture.PicturePipeline.enlarge", fail)
    write(tmp_path / "a.png", card)
    assert main(["image", str(tmp_path / "a.png"), str(tmp_path / "out.png")]) == 1
    assert capsys.readouterr().err == "vsparagon: there is not enough memory for this image.\n"


def test_bad_picture_among_good_ones_is_named_and_the_rest_is_made(card, tmp_path, capsys, caplog):
    write(tmp_path / "a.png", card)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    write(tmp_path / "c.png", card)
    assert main(["image", str(tmp_path), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert f"vsparagon: {tmp_path / 'b.png'} cannot be read: " in error
    assert not [record for record in caplog.records if record.name == "pyvips"]  # libvips' own message for the same
    assert error.splitlines()[-1] == "vsparagon: 1 of 3 images could not be upscaled; the reasons are above."
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.png", "out.png"], "none.png: no image found"),
        (["clear.png", "-"], "OUT is -, but images are not written to standard output; give a file or a folder."),
        (["clear.png", "out.jpg"], "transparency"),
        (["cmyk.jpg", "out.jpg"], "convert it to RGB"),
        (["five.tif", "out.tif"], "five.tif is srgb with 5 samples per pixel; convert it to RGB or gray first."),
        (["float.tif", "out.tif"], "samples of type float; convert it to 8 or 16 bits"),
        (["float-rgb.tif", "out.tif"], "samples of type float; convert it to 8 or 16 bits"),
        (["two.tif", "out.tif"], "2 images"),
        (["clear.png", "."], "its own original"),
        (["clear.png", "out.gif"], "out.gif has an unknown suffix; use one of .png, "),
        (["clear.png", "cmyk.jpg", "tiny.png"], "is a file"),
        (["clear.png", "clear.webp", "out", "--suffix", ".png"], "would both become"),
        (["clear.png", "out.png", "--quality", "0"], "--quality is 0"),
        (["", "out"], "IN is empty"),
        (["noname", "out"], f"{Path('out/noname')} would have an unknown suffix; add --suffix with one of .png, "),
    ],
)
def test_error_is_one_line_and_leaves_no_file(arguments, said, card, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "clear.png", card, bands=4)
    write(tmp_path / "clear.webp", card, bands=4)
    Image.new("CMYK", (32, 32)).save("cmyk.jpg")
    pyvips.Image.black(32, 32, bands=5).write_to_file("five.tif")
    Image.new("F", (32, 32)).save("float.tif")
    pyvips.Image.black(8, 8, bands=3).cast("float").copy(interpretation="scrgb").write_to_file("float-rgb.tif")
    Image.new("RGB", (32, 32)).save("noname", "PNG")
    Image.new("RGB", (8, 8)).save("tiny.png")
    Image.new("RGB", (32, 32)).save("two.tif", save_all=True, append_images=[Image.new("RGB", (32, 32))])
    before = sorted(tmp_path.iterdir())
    assert main(["image", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert sorted(tmp_path.iterdir()) == before
