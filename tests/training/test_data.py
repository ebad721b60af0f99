"""Crops for training: what they show, what they depend on, and which pictures are left out."""

import logging
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from training_runs import textured, write_pictures

from vsparagon.errors import InvalidInput
from vsparagon.training import degradation
from vsparagon.training.data import CropPairs, TrainingData, load_batches
from vsparagon.training.degradation import Degradation, VideoDegradation, compress, degrade
from vsparagon.training.optimisation import CosineAnnealing, MultiStep, Optimiser, average, set_rate
from vsparagon.training.pairs import read_pairs
from vsparagon.training.quality import luma, psnr_luma
from vsparagon.training.resize import reduce, resize
from vsparagon.training.validation import load_pairs

KERNELS = ("bicubic", "lanczos", "area")
VIDEO = Degradation(video=VideoDegradation(frames=3))


def to_array(crop: torch.Tensor) -> np.ndarray:
    return crop.permute(1, 2, 0).numpy()


def position(part: np.ndarray, whole: np.ndarray) -> tuple[int, int]:
    """Return the position of a part in a picture, which must contain it exactly once."""
    windows = np.lib.stride_tricks.sliding_window_view(whole[..., 0], part.shape[:2])
    ((y, x),) = np.argwhere((windows == part[..., 0]).all((2, 3)))
    return int(y), int(x)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kernel", KERNELS)
def test_crop_is_that_of_the_whole_reduced_picture(tmp_path, kernel, scale):
    write_pictures(tmp_path, count=1, side=121)
    degradation = Degradation(resize=(kernel,))
    data = TrainingData(dataroot_gt=str(tmp_path), degradation=degradation, lq_size=16, use_hflip=False, use_rot=False)
    crops = CropPairs(data, scale=scale, seed=0)
    side = 121 // scale * scale
    whole = textured(121, 121, 0)[:side, :side]
    reduced = reduce(whole, scale, kernel)
    places = set()
    for number in range(12):
        low, high = map(to_array, crops[number])
        y, x = position(high, whole)
        assert y % scale == x % scale == 0
        np.testing.assert_array_equal(low, reduced[y // scale :, x // scale :][:16, :16])
        places.add((y, x))
    assert len(places) > 6


@pytest.mark.parametrize("degradation", [Degradation(), VIDEO], ids=["clean", "video"])
def test_crop_depends_on_seed_and_number_alone(tmp_path, degradation):
    write_pictures(tmp_path)
    data = TrainingData(dataroot_gt=str(tmp_path), degradation=degradation, lq_size=16)
    one, same, other = (CropPairs(data, scale=2, seed=seed) for seed in (5, 5, 6))
    decoding = CropPairs(
        TrainingData(dataroot_gt=str(tmp_path), degradation=degradation, lq_size=16, memory_mb=0), scale=2, seed=5
    )
    assert decoding.kept_bytes == 0 < one.kept_bytes
    wanted = {number: one[number] for number in (0, 1, 7)}
    for number in (7, 1, 0):
        for low, high in (same[number], decoding[number]):
            assert torch.equal(low, wanted[number][0])
            assert torch.equal(high, wanted[number][1])
        assert not torch.equal(other[number][1], wanted[number][1])


@pytest.mark.parametrize("scale", [2, 3])
def test_turned_crops_still_show_the_same(tmp_path, scale):
    write_pictures(tmp_path, count=1)
    crops = CropPairs(TrainingData(dataroot_gt=str(tmp_path), lq_size=16), scale=scale, seed=0)
    whole = textured(160, 160, 0)
    orientations = set()
    for number in range(40):
        low, high = map(to_array, crops[number])
        again = reduce(np.ascontiguousarray(high), scale)
        np.testing.assert_allclose(low[3:-3, 3:-3], again[3:-3, 3:-3].astype(int), atol=1)
        for i in range(8):
            turned = np.rot90(whole, i % 4)
            turned = turned[:, ::-1] if i >= 4 else turned
            windows = np.lib.stride_tricks.sliding_window_view(turned[..., 0], (4, 4))
            if (windows == high[:4, :4, 0]).all((2, 3)).any():
                orientations.add(i)
    assert orientations == set(range(8))


def test_batches_go_on_where_a_run_stopped_and_split_among_processes(tmp_path):
    write_pictures(tmp_path, count=1)
    data = TrainingData(dataroot_gt=str(tmp_path), lq_size=16, batch_size_per_gpu=4, num_worker_per_gpu=0)
    crops = CropPairs(data, scale=2, seed=0)
    whole = [low for low, _ in load_batches(crops, data, begin=0, end=4)]
    assert whole[0].shape == (4, 3, 16, 16)
    assert whole[0].dtype == torch.uint8
    rest = [low for low, _ in load_batches(crops, data, begin=2, end=4)]
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))
    half = TrainingData(dataroot_gt=str(tmp_path), lq_size=16, batch_size_per_gpu=2, num_worker_per_gpu=0)
    halves = [next(iter(load_batches(crops, half, begin=1, end=2, rank=r, processes=2)))[0] for r in (0, 1)]
    assert torch.equal(torch.cat(halves), whole[1])


@pytest.mark.parametrize("degradation", [Degradation(), VIDEO], ids=["clean", "video"])
def test_crops_are_the_same_in_processes_that_are_spawned(tmp_path, degradation):
    write_pictures(tmp_path, count=1)
    data = TrainingData(dataroot_gt=str(tmp_path), degradation=degradation, lq_size=16, batch_size_per_gpu=2)
    crops = CropPairs(data, scale=2, seed=0)
    wanted = [crops[number] for number in (0, 1)]
    copy = pickle.loads(pickle.dumps(crops))
    batches = load_batches(crops, data, begin=0, end=1)
    batches.multiprocessing_context = "spawn"
    ((low, high),) = batches
    for number, (wanted_low, wanted_high) in enumerate(wanted):
        assert torch.equal(low[number], wanted_low)
        assert torch.equal(high[number], wanted_high)
        assert all(map(torch.equal, copy[number], (wanted_low, wanted_high)))


def test_bad_pictures_are_named_once_and_left_out(tmp_path, caplog):
    write_pictures(tmp_path, count=2)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:5000])
    Image.fromarray(textured(40, 20)).save(tmp_path / "small.png")
    large = bytearray((tmp_path / "0.png").read_bytes())
    large[16:24] = struct.pack(">II", 20_000, 20_000)  # the size in the header, to which its checksum belongs
    large[29:33] = struct.pack(">I", zlib.crc32(large[12:29]))
    (tmp_path / "large.png").write_bytes(large)
    (tmp_path / "notes.txt").write_text("not looked at")
    with caplog.at_level(logging.WARNING):
        crops = CropPairs(TrainingData(dataroot_gt=str(tmp_path), lq_size=16), scale=2, seed=0)
        for number in range(20):
            crops[number]
    said = [record.getMessage() for record in caplog.records]
    assert crops.pictures == 2
    assert sorted(Path(line.removeprefix("left out ").split(": ")[0]).name for line in said) == [
        "cut.png",
        "large.png",
        "small.png",
        "text.png",
    ]
    assert any("20x40 is smaller than the 32 pixels" in line for line in said)
    assert any(line.endswith("; cut it into smaller pictures") for line in said)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("side", [1, 16, 17])
@pytest.mark.parametrize("video", [None, VideoDegradation(frames=3)], ids=["clean", "video"])
def test_smallest_picture_is_large_enough(video, side, scale, compressed, tmp_path):
    least = side * scale if video is None else max(16, side + side % 2) * scale + 2 * video.pan
    least = -(-least // scale) * scale  # pictures are cut to multiples of it
    data = TrainingData(dataroot_gt=str(tmp_path), degradation=Degradation(video=video), lq_size=side)
    Image.fromarray(textured(least, least)).save(tmp_path / "0.png")
    for low, high in map(CropPairs(data, scale=scale, seed=0).__getitem__, range(0, 320, 16)):
        assert (low.shape, high.shape) == ((3, side, side), (3, scale * side, scale * side))
    Image.fromarray(textured(least, least - 1)).save(tmp_path / "0.png")
    with pytest.raises(FileNotFoundError, match="no usable picture"):
        CropPairs(data, scale=scale, seed=0)


@pytest.mark.parametrize("share", [0, 1], ids=["h264", "hevc"])
def test_picture_that_an_encoder_would_refuse_is_too_small(share, tmp_path, caplog):
    video = VideoDegradation(pan=0, frames=2, hevc_share=share)
    for side in (30, 32):
        Image.fromarray(textured(side, side)).save(tmp_path / f"{side}.png")
    assert [pair.low.shape for pair in load_pairs(tmp_path, 2, Degradation(video=video))] == [(16, 16, 3)]
    assert "30.png: 30x30 is smaller than the 32 pixels that are needed" in caplog.text


def test_folder_without_usable_pictures_is_an_error(tmp_path):
    data = TrainingData(dataroot_gt=str(tmp_path / "none"), lq_size=16)
    with pytest.raises(FileNotFoundError, match="no pictures in"):
        CropPairs(data, scale=2, seed=0)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="no pictures in"):
        CropPairs(data, scale=2, seed=0)
    (tmp_path / "none" / "text.png").write_text("no picture")
    with pytest.raises(FileNotFoundError, match="no usable picture"):
        CropPairs(data, scale=2, seed=0)


def test_pair_folders_give_aligned_crops(tmp_path, caplog):
    for name in ("high", "low"):
        (tmp_path / name).mkdir()
    for i in range(4):
        high = textured(64, 80, i)
        low = 255 - high[::2, ::2]  # none of our reductions makes this
        Image.fromarray(high).save(tmp_path / "high" / f"{i}.png")
        if i < 3:
            Image.fromarray(low if i < 2 else low[:-1]).save(tmp_path / "low" / f"{i}.png")
    high, low = str(tmp_path / "high"), str(tmp_path / "low")
    crops = CropPairs(TrainingData(dataroot_gt=high, dataroot_lq=low, lq_size=16), scale=2, seed=0)
    assert crops.pictures == 2
    assert "80x62" not in caplog.text
    assert "is 40x31 instead of 40x32" in caplog.text
    assert "3.png: no low-resolution picture has this name" in caplog.text
    unturned = TrainingData(dataroot_gt=high, dataroot_lq=low, lq_size=16, use_hflip=False, use_rot=False)
    for number in range(10):
        low_crop, high_crop = CropPairs(unturned, scale=2, seed=0)[number]
        assert torch.equal(255 - low_crop, high_crop[:, ::2, ::2])
    with pytest.raises(InvalidInput, match="has 1 folders and dataroot_gt 2"):
        CropPairs(TrainingData(dataroot_gt=(high, high), dataroot_lq=low), scale=2, seed=0)


def test_pictures_of_one_name_are_paired_by_their_suffix_or_left_out(tmp_path, caplog):
    high, low = tmp_path / "high", tmp_path / "low"
    for folder, names in ((high, ("a.png", "a.bmp", "b.png", "c.png", "c.tif")), (low, ("a.png", "a.bmp", "b.tif"))):
        folder.mkdir()
        for name in names:
            side = 32 if folder == high else 16
            Image.fromarray(textured(side, side)).save(folder / name)
    Image.fromarray(textured(16, 16)).save(low / "c.jpg")
    found = {high.name: low.name for (high, low), _ in read_pairs(high, low, scale=2, smallest=16)}
    assert found == {"a.bmp": "a.bmp", "a.png": "a.png", "b.png": "b.tif"}
    assert caplog.text.count("several pictures are called c; give each pair a name of its own") == 2


def test_size_of_a_picture_that_is_too_small_is_that_of_its_file(tmp_path, caplog):
    Image.fromarray(textured(1, 35)).save(tmp_path / "a.png")
    assert list(read_pairs(tmp_path, None, scale=4, smallest=16)) == []
    assert "35x1 is smaller than the 16 pixels" in caplog.text


@pytest.mark.parametrize("scale", [2, 3])
def test_video_degradation_keeps_pairs_aligned(scale):
    high = resize(textured(120, 120), 240, 240)  # soft enough to survive compression
    video = VideoDegradation(
        pan=5, h264_crf=(10, 10), hevc_crf=(10, 10), hevc_share=0.5, noise=(0, 0), blur=(0, 0), softness=(0, 0)
    )
    moved = 0
    for seed in range(4):
        clip = degrade(high, scale, Degradation(video=video), np.random.default_rng(seed))
        assert len(clip) == 6
        for pair in clip:
            assert pair.high.shape[:2] == tuple(side * scale for side in pair.low.shape[:2])
            wanted = reduce(pair.high, scale)
            right = psnr_luma(pair.low, wanted, 4)
            assert right > 36
            assert right > psnr_luma(pair.low, np.roll(wanted, 1, 1), 4) + 3
        moved += not np.array_equal(clip[0].high, clip[-1].high)
    assert 0 < moved < 4


@pytest.fixture
def compressed(monkeypatch):
    """The codec and the CRF of each clip; the clips themselves stay unchanged."""
    drawn = []
    monkeypatch.setattr(degradation, "compress", lambda frames, codec, *, crf: drawn.append((codec, crf)) or frames)
    return drawn


def test_codecs_and_rate_factors_are_drawn_from_their_ranges(compressed):
    video = VideoDegradation(pan=0, frames=1, h264_crf=(20, 22), hevc_crf=(30, 31), hevc_share=0.25)
    high, random = textured(16, 16), np.random.default_rng(0)
    for _ in range(200):
        degrade(high, 2, Degradation(video=video), random)
    assert set(compressed) == {("h264", 20), ("h264", 21), ("h264", 22), ("hevc", 30), ("hevc", 31)}
    assert 30 < sum(codec == "hevc" for codec, _ in compressed) < 70


def test_camera_moves_evenly_either_way_or_stands_still(compressed):
    video = VideoDegradation(pan=2, frames=4, softness=(0, 0))
    whole, random = textured(48, 64), np.random.default_rng(0)
    paces = []
    for _ in range(200):
        places = np.array([position(pair.high, whole) for pair in degrade(whole, 2, Degradation(video=video), random)])
        (pace,) = {tuple(step) for step in np.diff(places, axis=0).tolist()}
        assert (places.min(0) == 0).all()
        paces.append(pace)
    assert [set(axis) for axis in zip(*paces, strict=True)] == [set(range(-2, 3))] * 2
    assert 60 < paces.count((0, 0)) < 100, "a third of the clips, and one in 25 of the others"


@pytest.mark.parametrize("sigma", [0.3, 1.5])
@pytest.mark.parametrize("field", ["softness", "blur"])
def test_blur_is_gaussian(field, sigma, compressed):
    settings = dict.fromkeys(("noise", "blur", "softness"), (0.0, 0.0)) | {field: (sigma, sigma)}
    video, high = VideoDegradation(pan=0, frames=1, **settings), textured(64, 48)
    (pair,) = degrade(high, 2, Degradation(video=video), np.random.default_rng(0))
    blurred, sharp = (pair.high, high) if field == "softness" else (pair.low, reduce(high, 2))
    expected = gaussian_filter(sharp.astype(float), (sigma, sigma, 0), mode="reflect", truncate=3)
    np.testing.assert_allclose(blurred, expected, atol=0.51)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_compression_costs_more_at_a_higher_crf(codec, capfd):
    frames = [textured(64, 96)[:, i : i + 64] for i in range(4)]
    quality = []
    for crf in (10, 25, 40):
        decoded = compress(frames, codec, crf=crf)
        assert all(map(np.array_equal, decoded, compress(frames, codec, crf=crf)))
        quality.append([psnr_luma(a, b, 0) for a, b in zip(decoded, frames, strict=True)])
    assert (np.diff(quality, axis=0) < -2).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("field", "values"), [("noise", (8.0, 8.0)), ("blur", (1.0, 1.0)), ("softness", (1.5, 1.5))])
def test_video_degradation_has_noise_and_two_kinds_of_blur(field, values):
    settings = {"pan": 0, "frames": 1, "h264_crf": (1, 1), "hevc_share": 0.0}
    settings |= dict.fromkeys(("noise", "blur", "softness"), (0.0, 0.0))
    high, low = textured(64, 64), reduce(textured(64, 64), 2)
    ((plain,), (worse,)) = (
        degrade(high, 2, Degradation(video=VideoDegradation(**given)), np.random.default_rng(0))
        for given in (settings, settings | {field: values})
    )
    assert psnr_luma(plain.low, low, 0) > 45
    if field == "noise":
        # BT.709 luma has 0.75 times the noise of one colour, scaled to limited range; most of chroma's noise is lost.
        assert (luma(worse.low) - luma(plain.low)).std() == pytest.approx(8 * 0.75 * 219 / 255, rel=0.1)
    else:
        assert roughness(worse.low) < 0.7 * roughness(low)
    assert np.array_equal(worse.high, high) == (field != "softness")
    assert roughness(worse.high) < (0.7 * roughness(high) if field == "softness" else 1.01 * roughness(high))


def roughness(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture.astype(float), axis=0)).mean())


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_reduction_agrees_with_torch(scale):
    picture = textured(96, 64)
    planes = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].double()
    theirs = torch.nn.functional.interpolate(planes, scale_factor=1 / scale, mode="bicubic", antialias=True)
    ours = reduce(picture, scale)[3:-3, 3:-3].astype(float)  # torch does not mirror at borders
    np.testing.assert_allclose(ours, theirs[0].permute(1, 2, 0).numpy().clip(0, 255)[3:-3, 3:-3], atol=0.501)


def test_area_reduction_is_the_mean_and_constants_stay():
    picture = textured(12, 18)
    mean = picture.reshape(4, 3, 6, 3, 3).mean((1, 3))
    np.testing.assert_allclose(reduce(picture, 3, "area"), mean, atol=0.501)
    for kernel in KERNELS:
        assert (resize(np.full((12, 18, 3), 77, np.uint8), 7, 40, kernel) == 77).all()


def test_rate_rises_and_falls_as_scheduled():
    network = torch.nn.Linear(1, 1)
    optimiser = Optimiser(lr=1.0).create(network)
    cosine = [
        set_rate(optimiser, 1.0, CosineAnnealing(end_factor=0.1), iteration=i, warmup=4, total=24) for i in range(25)
    ]
    assert cosine[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert cosine[14] == pytest.approx(0.55)
    assert cosine[24] == pytest.approx(0.1)
    assert optimiser.param_groups[0]["lr"] == cosine[24]
    steps = MultiStep(milestones=(3, 6), gamma=0.1)
    rates = [set_rate(optimiser, 2.0, steps, iteration=i, warmup=0, total=9) for i in (0, 2, 3, 5, 6, 8)]
    assert rates == pytest.approx([2, 2, 0.2, 0.2, 0.02, 0.02])


def test_average_forgets_the_start_and_then_follows_slowly():
    mean, now = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(mean.weight)
    torch.nn.init.ones_(now.weight)
    average(mean, now, decay=0.999, iteration=0)
    assert mean.weight.item() == pytest.approx(0.9)
    average(mean, now, decay=0.999, iteration=1000000)
    assert mean.weight.item() == pytest.approx(0.9 + 0.1 * 0.001)
