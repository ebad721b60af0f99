"""Quality figures compared with independent implementations, and scripts/evaluate.py as a whole."""

import os
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from training_runs import load_script, textured, write_pictures

from vsparagon.models.checkpoint import save_generator
from vsparagon.models.generators import create_generator
from vsparagon.training.degradation import Degradation
from vsparagon.training.quality import flicker, luma, psnr_luma, psnr_rgb, ssim_luma
from vsparagon.training.resize import resize
from vsparagon.training.validation import load_pairs, mean_quality

# Mean luma PSNR of the sets in full colour, cropped to a multiple of 4, without `scale` pixels at each border.
BICUBIC = {
    ("Set5", 2): 33.68,
    ("Set5", 3): 30.40,
    ("Set5", 4): 28.43,
    ("Set14", 2): 30.33,
    ("Set14", 3): 27.63,
    ("Set14", 4): 26.09,
}


@pytest.fixture
def pair():
    picture = textured(60, 70)
    noise = np.random.default_rng(1).normal(0, 12, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8), picture


def test_luma_spans_the_limited_range():
    assert luma(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)) == pytest.approx(np.array([[16.0, 235.0]]))


@pytest.mark.parametrize("border", [0, 3])
def test_psnr_agrees_with_scikit_image(pair, border):
    result, reference = (p[border : 60 - border, border : 70 - border] for p in pair)
    wanted = peak_signal_noise_ratio(luma(reference), luma(result), data_range=255)
    assert psnr_luma(*pair, border) == pytest.approx(wanted, abs=1e-9)
    wanted = peak_signal_noise_ratio(reference.astype(float), result.astype(float), data_range=255)
    assert psnr_rgb(*pair, border) == pytest.approx(wanted, abs=1e-9)
    assert psnr_rgb(reference, reference, 0) == pytest.approx(100)


@pytest.mark.parametrize("border", [0, 3])
def test_ssim_agrees_with_scikit_image(pair, border):
    result, reference = (luma(p)[border : 60 - border, border : 70 - border] for p in pair)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "truncate": 3.34}
    _, everywhere = structural_similarity(result, reference, data_range=255, full=True, **settings)
    assert ssim_luma(*pair, border) == pytest.approx(everywhere[5:-5, 5:-5].mean(), abs=1e-9)
    assert ssim_luma(pair[0], pair[0], border) == pytest.approx(1.0)


def test_flicker_counts_changes_that_the_source_lacks():
    still = textured(20, 20)
    moving = np.roll(still, 1, 0)
    assert flicker(moving, still, moving, still) == 0
    brighter = np.minimum(still, 245)
    assert flicker(brighter + 10, brighter + 10, still, still) == 0
    assert flicker(brighter + 10, brighter, still, still) == pytest.approx(10 * 219 / 255)


@pytest.mark.skipif("VSPARAGON_EVALUATION_SETS" not in os.environ, reason="VSPARAGON_EVALUATION_SETS is not set")
@pytest.mark.parametrize(("name", "scale"), BICUBIC)
def test_bicubic_gives_the_reference_figures(name, scale):
    pairs = load_pairs(Path(os.environ["VSPARAGON_EVALUATION_SETS"], name), scale, Degradation())
    quality = mean_quality(lambda low: resize(low, low.shape[0] * scale, low.shape[1] * scale), pairs, scale)
    assert quality.psnr == pytest.approx(BICUBIC[name, scale], abs=0.01)


def write_video(path: Path, frames: int, height: int = 64) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, height, "yuv420p"
        wide = textured(height, 128)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, i : i + 96]), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pictures", "nowhere", "--variants"], "evaluate: no pictures in nowhere"),
        (["--videos", "nowhere.mkv", "--variants"], "evaluate: .*nowhere.mkv"),
        (["--pictures", ".", "--variants"], "evaluate: no usable picture in"),
        (["--pictures", "nowhere", "--variants", "swft"], "evaluate: unknown variant 'swft'"),
        (["--videos", "text.mkv", "--variants"], "evaluate: text.mkv cannot be read"),
        (["--videos", "sound.wav", "--variants"], "evaluate: sound.wav has no video"),
        (["--videos", "two.h264", "--variants"], "evaluate: the frames of two.h264 change their size"),
        (["--videos", "small.mkv", "--variants", "--scale", "4"], "evaluate: the frames .* need 24 pixels a side"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.mkv").write_text("no video")
    with wave.open("sound.wav", "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    write_video(tmp_path / "small.mkv", 1, height=16)
    for height in (64, 80):
        write_video(tmp_path / f"{height}.h264", 1, height)
    Path("two.h264").write_bytes(Path("64.h264").read_bytes() + Path("80.h264").read_bytes())
    monkeypatch.setattr("sys.argv", ["evaluate.py", *arguments])
    with pytest.raises(SystemExit, match=message):
        load_script("evaluate").main()


@pytest.mark.parametrize("name", ["nano", "lanczos"])
def test_file_that_is_called_as_another_is_refused(name, tmp_path, monkeypatch):
    save_generator(create_generator("swift"), tmp_path / f"{name}.safetensors", variant="swift", note="")
    arguments = ["--pictures", tmp_path, "--variants", "nano", "--models", tmp_path / f"{name}.safetensors"]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match=f"evaluate: two are called {name}; give the files other names"):
        load_script("evaluate").main()


def test_unknown_quality_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evaluate.py", "--videos", "any.mkv", "--crf", "-5"])
    with pytest.raises(SystemExit):
        load_script("evaluate").main()
    assert "--crf is -5; it must be between 0 and 51" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--frames", "--every", "--scale"])
def test_no_frames_are_nothing_to_measure(option, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evaluate.py", "--videos", "any.mkv", option, "0"])
    with pytest.raises(SystemExit):
        load_script("evaluate").main()
    assert f"{option} is 0; it must be at least 1" in capsys.readouterr().err


def test_models_of_another_scale_are_not_compared(tmp_path, monkeypatch):
    save_generator(create_generator("swift", scale=3), tmp_path / "three.safetensors", variant="swift", note="")
    write_pictures(tmp_path / "pictures", count=1, side=64)
    arguments = ["--pictures", tmp_path / "pictures", "--variants", "--models", tmp_path / "three.safetensors"]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match="evaluate: --scale is 2, but three enlarges 3 times"):
        load_script("evaluate").main()


@pytest.mark.slow
def test_evaluation_compares_interpolation_and_networks(tmp_path, monkeypatch, capsys):
    write_pictures(tmp_path / "pictures", count=2, side=64)
    write_video(tmp_path / "clip.mp4", 5)
    arguments = ["--pictures", tmp_path / "pictures", "--videos", tmp_path / "clip.mp4", "--frames", 4, "--crf", 30]
    arguments += ["--variants", "nano", "swift_lite", "--precisions", "auto", "int8", "--speed", 64, 48]
    arguments += ["--chroma", "network", "resizer", "--plot", tmp_path / "plot.png"]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, arguments)])
    script = load_script("evaluate")
    script.main()
    output = capsys.readouterr()
    assert "evaluate: nano was not trained for int8; that is left out" in output.err
    said, header, _, *rows = [line for line in output.out.splitlines() if line]
    assert said == "x2, x264 CRF 30; speed at 64x48"
    columns = [column.strip() for column in header.strip("|").split("|")]
    assert columns[1:] == [
        *(f"pictures {figure}" for figure in ("PSNR", "SSIM", "RGB PSNR")),
        *(f"clip {figure}" for figure in ("PSNR", "SSIM", "RGB PSNR", "flicker")),
        "frames/s",
    ]
    cells = {name.strip(): [float(v) for v in values] for name, *values in (row.strip("|").split("|") for row in rows)}
    networks = [f"{name}{luma}" for name in ("nano", "swift_lite", "swift_lite int8") for luma in ("", ", luma only")]
    assert list(cells) == ["bicubic", "lanczos", *networks]
    for name in networks[::2]:
        assert 0.001 < abs(cells[name][2] - cells[f"{name}, luma only"][2]) < 3, "chroma comes from elsewhere"
    pairs = load_pairs(tmp_path / "pictures", 2, Degradation())
    wanted = mean_quality(lambda low: resize(low, low.shape[0] * 2, low.shape[1] * 2), pairs, 2)
    assert cells["bicubic"][:3] == pytest.approx([wanted.psnr, wanted.ssim, wanted.psnr_rgb], abs=0.006)
    assert cells["nano"][0] > cells["lanczos"][0]
    assert all(values[6] > 0 and values[7] > 0 for values in cells.values())
    clean = script.load_clip(tmp_path / "clip.mp4", 2, 2, None)
    assert len(clean) == 2
    assert psnr_luma(script.load_clip(tmp_path / "clip.mp4", 2, 2, 30)[1].low, clean[1].low, 0) < 40
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_one_of_several_frames_is_measured_alone(tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "clip.mp4", 5)
    arguments = ["--videos", tmp_path / "clip.mp4", "--every", 3, "--variants", "--speed", 64, 48]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, arguments)])
    script = load_script("evaluate")
    script.main()
    _, header, _, bicubic, _ = [line for line in capsys.readouterr().out.splitlines() if line]
    assert "flicker" not in header
    pairs = script.load_clip(tmp_path / "clip.mp4", 2, 5, None)
    wanted = mean_quality(lambda low: resize(low, low.shape[0] * 2, low.shape[1] * 2), [pairs[0], pairs[3]], 2)
    assert float(bicubic.split("|")[2]) == pytest.approx(wanted.psnr, abs=0.006)
