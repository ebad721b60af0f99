"""`vsparagon compare`: the picture, the page, and how the page works in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs
from browser import CHROMIUM, Browser
from clips import photograph
from PIL import Image

from vsparagon import Upscaler
from vsparagon.cli import main
from vsparagon.compare.page import make_page
from vsparagon.compare.run import _title
from vsparagon.compare.sheet import DETAIL, find_detail, make_sheet
from vsparagon.input.job import Job
from vsparagon.input.opening import open_to_view
from vsparagon.input.source import Source
from vsparagon.models.bundled import describe

pytest.importorskip("imageio_ffmpeg", reason="films are made with its ffmpeg")

pytest.importorskip("onnx", reason="ONNX files are written with onnx")

from films import UNEVEN, ffmpeg, make_film, read
from onnx_files import shuffle_network

core: Any = vs.core
BUNDLED = [name.split()[0] for name in describe() if name.endswith(" x2 clean")]
NAME = 'a <b>film & "more" $name.mkv'


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    name = "film.mkv" if sys.platform == "win32" else NAME
    return make_film(tmp_path_factory.mktemp("film") / name, video=UNEVEN)


@pytest.fixture(scope="module")
def compared(film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "new"
    assert main(["compare", str(film), "--at", "0.5s,1.2", "--output", str(folder), "--peers", "point,bicubic"]) == 0
    return folder


@pytest.mark.parametrize(("n", "title"), [(0, "0:00.00"), (25, "0:01.04"), (12946, "8:59.96"), (12947, "9:00.00")])
def test_title_of_a_frame_has_less_than_sixty_seconds(n, title):
    clip = core.std.BlankClip(width=16, height=16, length=12948, fpsnum=24000, fpsden=1001)
    assert _title(Source(clip=clip, upscaled=False), n) == f"{title}, frame {n}"


def pictures_of(page: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the pictures of a page by frame and version."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for section in page.read_text(encoding="utf-8").split("<section ")[1:]:
        title = re.match(r'data-title="([^"]*)"', section)[1]
        figures = re.findall(r'data-name="([^"]*)".*?src="data:image/[a-z]+;base64,([^"]*)"', section, re.DOTALL)
        found[title] = {n: np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for n, data in figures}
    return found


def test_page_holds_the_frames_at_these_times_as_every_version_makes_them(film, compared):
    frames = pictures_of(compared / "compare.html")
    assert list(frames) == ["0:00.50, frame 11", "0:01.20, frame 29"]  # 15 and 36 before frames were taken out
    clip = read(film)
    for title, versions in frames.items():
        n = int(title.rpartition(" ")[2])
        assert list(versions) == ["point", "bicubic", *BUNDLED]
        peers = {"point": clip.resize.Point, "bicubic": clip.resize.Bicubic}
        for name, resize in peers.items():
            with resize(128, 96, format=vs.RGB24, dither_type="error_diffusion").get_frame(n) as frame:
                wanted = np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)
            np.testing.assert_array_equal(versions[name], wanted)
        ours = core.paragon.Upscale(clip, "micro").resize.Bicubic(format=vs.RGB24, dither_type="error_diffusion")
        with ours.get_frame(n) as frame:
            np.testing.assert_array_equal(versions["micro"][..., 1], np.asarray(frame[1]))


def test_page_needs_no_other_file_and_takes_any_name(film, compared):
    text = (compared / "compare.html").read_text(encoding="utf-8")
    without_pictures = re.sub(r'src="data:[^"]*"', "", text)
    assert not re.search(r"""https?:|src=|href=|@import|url\(|fetch\(|<b>film""", without_pictures)
    assert "default-src 'none'" in text
    if film.name == NAME:
        assert "<h1>a &lt;b&gt;film &amp; &quot;more&quot; $name.mkv</h1>" in text


@pytest.mark.parametrize(("width", "kind"), [(16383, "webp"), (16384, "png")])
def test_page_holds_a_picture_that_is_too_wide_for_webp(width, kind, tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (1, width, 3), np.uint8)
    (tmp_path / "page.html").write_text(
        made := make_page("x.png", "", {"picture": {"nano": picture}}), encoding="utf-8"
    )
    np.testing.assert_array_equal(pictures_of(tmp_path / "page.html")["picture"]["nano"], picture)
    assert f"data:image/{kind};" in made


def test_sheet_shows_the_same_detail_of_all_versions(compared):
    frames = pictures_of(compared / "compare.html")
    with Image.open(compared / "compare.png") as image:
        sheet = np.asarray(image)
    np.testing.assert_array_equal(sheet, np.asarray(make_sheet(frames)))
    first = next(iter(frames.values()))
    for column, picture in enumerate(first.values()):
        doubled = picture.repeat(2, axis=0).repeat(2, axis=1)  # it is smaller than a detail, so all of it is shown
        left = 12 + column * (256 + 12)
        np.testing.assert_array_equal(sheet[42 : 42 + 192, left : left + 256], doubled)


def test_detail_is_where_there_is_most_to_see():
    picture = np.full((400, 600, 3), 90, np.uint8)
    picture[150:250, 320:440] = photograph(100, 120)
    left, top = find_detail(picture, *DETAIL)
    assert left <= 320
    assert left + DETAIL[0] >= 440
    assert top <= 150
    assert top + DETAIL[1] >= 250


def test_three_frames_are_taken_where_no_times_are_given(film, tmp_path):
    assert main(["compare", str(film), "--output", str(tmp_path), "--variants", "nano", "--peers", ""]) == 0
    frames = pictures_of(tmp_path / "compare.html")
    assert [int(title.rpartition(" ")[2]) for title in frames] == [12, 24, 36]
    assert all(list(versions) == ["nano"] for versions in frames.values())


def test_frame_is_found_after_a_long_gap(tmp_path, capsys):
    film = make_film(tmp_path / "film.mkv", video="select='lt(n,5)+gt(n,57)'")
    arguments = ["compare", str(film), "--output", str(tmp_path), "--variants", "nano", "--peers", ""]
    assert main([*arguments, "--at", "1.5s,1.95s"]) == 0
    frames = pictures_of(tmp_path / "compare.html")
    assert [int(title.rpartition(" ")[2]) for title in frames] == [4, 5]
    assert main([*arguments, "--at", "2.1s"]) == 1
    assert "--at is 2.1 s, but the video lasts 2.0 s" in capsys.readouterr().err


def test_another_film_of_the_same_name_and_size_is_read_anew(tmp_path):
    film = tmp_path / "film.avi"
    for number, colour in enumerate(("red", "blue")):
        ffmpeg("-f", "lavfi", "-i", f"color={colour}:s=64x48:r=10:d=0.5", "-c:v", "rawvideo", "-pix_fmt", "bgr24", film)
        opened = open_to_view(Job(input=film, cache=str(tmp_path / "cache")))
        with opened.source.clip.get_frame(2) as frame:
            assert (np.asarray(frame[0]).mean() > 200) == (number == 0)


def test_profiles_precisions_and_chroma_are_compared_side_by_side_and_once(film, tmp_path, capsys):
    variants = "nano:compressed,nano,nano:clean,swift:clean,swift:int8,swift:int8:compressed,swift:resizer:int8"
    arguments = ["--output", str(tmp_path), "--variants", variants, "--peers", "point,point"]
    assert main(["compare", str(film), *arguments]) == 0
    assert "by point, nano compressed, nano, swift, swift int8, " in capsys.readouterr().out
    versions = next(iter(pictures_of(tmp_path / "compare.html").values()))
    assert list(versions) == [
        "point",
        "nano compressed",
        "nano",
        "swift",
        "swift int8",
        "swift compressed int8",
        "swift int8 chroma by the resizer",
    ]
    assert len({picture.tobytes() for picture in versions.values()}) == 7


def test_precision_chooses_the_variants_that_have_it(film, tmp_path):
    arguments = ["compare", str(film), "--output", str(tmp_path), "--precision", "int8", "--peers", "", "--at", "1"]
    assert main(arguments) == 0
    (versions,) = pictures_of(tmp_path / "compare.html").values()
    assert list(versions) == ["swift_lite", "swift", "swift_plus"]
    assert main([*arguments, "--variant", "swift:fp32"]) == 0
    (versions,) = pictures_of(tmp_path / "compare.html").values()
    assert list(versions) == ["swift fp32"]


@pytest.mark.parametrize(("scale", "size"), [(3, []), (1, []), (1, ["--height", "72"])])
def test_own_model_is_compared_with_variants(scale, size, film, tmp_path):
    model = str(shuffle_network(tmp_path / "mine.onnx", scale=scale))
    arguments = ["--model", model, "--variants", "nano,nano:compressed", "--peers", "", *size]
    assert main(["compare", str(film), "--at", "0.5s", "--output", str(tmp_path), *arguments]) == 0
    (versions,) = pictures_of(tmp_path / "compare.html").values()
    assert list(versions) == ["mine.onnx", "nano", "nano compressed"]
    network = {
        "scale": scale if scale == 3 else 2,
        "width": 0 if size else 64 * scale,
        "height": 72 if size else 48 * scale,
    }
    large = core.paragon.Upscale(read(film), "nano", **network)
    with large.resize.Bicubic(format=vs.RGB24, dither_type="error_diffusion").get_frame(11) as frame:
        np.testing.assert_array_equal(versions["nano"][..., 1], np.asarray(frame[1]))


def test_still_picture_is_compared_upright(tmp_path, capsys):
    picture = photograph(48, 64)
    exif = Image.Exif()
    exif[274] = 6  # orientation: to be rotated clockwise by 90 degrees
    Image.fromarray(picture).save(tmp_path / "in.png", exif=exif)
    assert main(["compare", str(tmp_path / "in.png"), "--variants", "nano"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        str(tmp_path / "in.png.compare" / "compare.html"),
        str(tmp_path / "in.png.compare" / "compare.png"),
        "1 frame by bicubic, lanczos, nano",
    ]
    found = pictures_of(Path(out[0]))["picture"]["nano"]
    wanted = Upscaler("nano")(np.ascontiguousarray(np.rot90(picture, -1)))
    assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.mkv"], "there is no file"),
        (["none.png"], "there is no file"),
        (["broken.png"], "cannot be read as an image"),
        (["FILM", "--peers", "magic"], "unknown peer 'magic'"),
        (["FILM", "--variants", "giant"], "giant"),
        (["FILM", "--variants", "nano:dirty"], "unknown profile 'dirty'"),
        (["FILM", "--at", "1s,99s"], "--at is 99 s, but the video lasts"),
        (["still.png", "--at", "1s"], "--at is for videos"),
        (["own.vpy"], "calls core.paragon.Upscale itself; remove that call"),
        (["still.png", "--output", "still.png/x"], "cannot write in"),
    ],
)
def test_error_is_one_line(arguments, said, film, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_text("no picture")
    Image.new("RGB", (32, 32)).save("still.png")
    (tmp_path / "own.vpy").write_text(
        "import vapoursynth as vs\nvs.core.paragon.Upscale(vs.core.std.BlankClip(format=vs.YUV420P8)).set_output()\n"
    )
    assert main(["compare", *(str(film) if a == "FILM" else a for a in arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("vsparagon: ")
    assert said in last


def test_folder_that_cannot_be_made_is_told_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vsparagon.compare.run._pictures", lambda *_: pytest.fail("pictures were made"))
    Image.new("RGB", (32, 32)).save(tmp_path / "still.png")
    (tmp_path / "still.png.compare").write_text("a file")
    assert main(["compare", str(tmp_path / "still.png"), "--variants", "nano"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"vsparagon: cannot write in {tmp_path / 'still.png.compare'}: ")
    assert last.endswith("; choose another with --output.")


@pytest.mark.parametrize("call", ["make_page", "make_sheet"])
def test_earlier_comparison_is_kept_until_the_next_is_complete(call, tmp_path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    Image.new("RGB", (32, 32)).save(tmp_path / "still.png")
    (tmp_path / "compare.png").write_text("earlier")
    monkeypatch.setattr(f"vsparagon.compare.run.{call}", interrupt)
    assert main(["compare", str(tmp_path / "still.png"), "--variants", "nano", "--output", str(tmp_path)]) == 130
    assert (tmp_path / "compare.png").read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compare.png", "still.png"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with two frames in three versions, each in a different colour."""
    folder = tmp_path_factory.mktemp("page")
    colours = iter([(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250), (250, 0, 250)])
    frames = {
        title: {name: np.full((90, 160, 3), next(colours), np.uint8) for name in ("a", "b", "c")}
        for title in ("first", "second")
    }
    (folder / "compare.html").write_text(make_page("film.mkv", "Some versions.", frames), encoding="utf-8")
    return folder / "compare.html"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_page_works_in_a_browser(page, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        browser.open(page)
        stage = json.loads(browser.ask("JSON.stringify(document.getElementById('stage').getBoundingClientRect())"))

        def colours(*shares: float) -> list[str]:
            """Return the colours at these shares of the stage's width, as the letters of the bright channels."""
            with Image.open(browser.picture(tmp_path / "seen.png")) as image:
                y = stage["y"] + stage["height"] * 0.25
                seen = [image.convert("RGB").getpixel((stage["x"] + stage["width"] * s, y)) for s in shares]
            return [
                "".join(letter for letter, value in zip("rgb", pixel, strict=True) if value > 200) for pixel in seen
            ]

        def value(name: str) -> str:
            return str(browser.ask(f"document.getElementById('{name}').value"))

        def place(share: float) -> tuple[float, float]:
            return stage["x"] + stage["width"] * share, stage["y"] + stage["height"] / 2

        assert colours(0.4, 0.6) == ["r", "b"]  # the first version and the last
        browser.drag(place(0.5), place(0.3))
        assert colours(0.25, 0.4) == ["r", "b"]
        assert float(value("split")) == pytest.approx(30, abs=1)
        for _ in range(20):
            browser.key("ArrowRight")
        assert float(value("split")) == pytest.approx(50, abs=1)
        browser.key("2", "Digit2")
        assert colours(0.4, 0.6) == ["r", "g"]
        browser.key("x")
        assert colours(0.4, 0.6) == ["g", "r"]
        browser.key("ArrowDown")
        assert value("frame") == "1"
        assert colours(0.4, 0.6) == ["gb", "rg"]
        browser.key("3", "Digit3", shift=True)
        assert colours(0.4, 0.6) == ["rb", "rg"]

        fitted = float(value("zoom").split()[0])
        assert fitted == pytest.approx(100 * min(stage["width"] / 160, stage["height"] / 90), rel=0.01)
        browser.wheel(place(0.5), -100)
        assert float(value("zoom").split()[0]) > fitted
        browser.key("p")
        assert value("zoom") == "100 %"
        assert colours(0.3, 0.48, 0.52, 0.7) == ["", "", "", ""]  # the picture covers only 90 lines in the middle
        browser.key("0")
        assert float(value("zoom").split()[0]) == fitted

        # For use without a mouse, the divider is an ordinary slider with a name.
        wanted = {("combobox", "Left"), ("combobox", "Right"), ("combobox", "Frame")}
        wanted |= {("slider", "Slider"), ("button", "Swap left and right"), ("image", "second, enlarged by c")}
        named = browser.named(wanted)
        assert wanted <= named, sorted(named)
        assert browser.errors == []
        assert {url.partition(":")[0] for url in browser.requests} == {"file", "data"}
        assert sum(url.startswith("file:") for url in browser.requests) == 1

        browser.open(page, scripts=False)  # without scripts, all pictures are shown below each other
        assert browser.call("Page.getLayoutMetrics")["cssContentSize"]["height"] > 6 * 90


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_page_never_shrinks_a_tiny_picture_to_enlarge_it(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(make_page("x.png", "", {"picture": {"nano": np.zeros((2, 2, 3), np.uint8)}}), encoding="utf-8")
    with Browser(tmp_path / "profile") as browser:
        browser.open(page)
        fitted = browser.ask("document.getElementById('zoom').value")
        browser.key("+")
        assert browser.ask("document.getElementById('zoom').value") == fitted
