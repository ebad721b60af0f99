"""scripts/benchmark.py: its counts and reports are right, and errors name what cannot be measured. Not any speed."""

import json
import sys

import benchmark
import numpy as np
import pytest
import vapoursynth as vs
from benchmarking import clip_load, cuda, networks, peers, sgemm_load, speed
from benchmarking.jobs import Candidate, Settings, Size
from benchmarking.picture import HELD, moving_picture
from benchmarking.report import Column, Report
from benchmarking.rounds import Worker, compare
from measurements import NANO, SMALL, cells, job, result_of, run
from places import ROOT

from vsparagon.errors import BackendFailure, BackendUnavailable, EncodeFailure, InvalidInput

GOLDEN = str(ROOT / "tests" / "golden" / "nano_x2.weights.safetensors")


@pytest.mark.slow
def test_speed_makes_a_table_json_and_a_chart(monkeypatch, capsys, tmp_path):
    files = tmp_path / "speed.json", tmp_path / "speed.png"
    hardware, settings, table, note = run(
        monkeypatch, capsys, "--sizes", "48x32", "--frames", 2, "--rounds", 2, "--json", files[0], "--chart", files[1]
    )
    assert "processor " in hardware
    assert "; openvino 20" in hardware
    assert settings.startswith("2 times, YUV420P8 to YUV420P8, all threads, medians of 2 interleaved rounds of 2 ")
    header, rows = cells(table)
    assert header == ["", "size", "frames/s", "relative to the first", "share of sgemm peak", "CPU ms/frame",
                      "first frame ms", "of which loading ms", *["peak MiB"] * (sys.platform == "linux")]  # fmt: skip
    assert [row[0] for row in rows] == ["vsparagon nano, openvino fp32", "zimg bicubic", "zimg lanczos"]
    assert rows[0][3] == "1.00"
    assert [bool(row[4]) for row in rows] == [True, False, False]
    assert note.startswith("sgemm peak: ")
    told = json.loads(files[0].read_text())
    assert [row["name"] for row in told["rows"]] == [row[0] for row in rows]
    assert told["rows"][0]["size"] == {"width": 48, "height": 32}
    assert all(row["frames_per_second"] > 0 and row["first_ms"] > 0 for row in told["rows"])
    assert told["settings"]["rounds"] == 2
    assert files[1].read_bytes()[:4] == b"\x89PNG"


NAMES = {
    "overhead": ("vsparagon nano, openvino fp32", "vsparagon nano, openvino fp32, without network",
                 "zimg: RGBS, enlarged, back"),
    "start": ("vsparagon nano, empty cache", "vsparagon nano, filled cache"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("command", NAMES)
def test_the_parts_of_the_time(command, monkeypatch, capsys):
    _, _, table = run(monkeypatch, capsys, command, "--rounds", 1, "--sizes", "48x32")
    assert tuple(row[0] for row in cells(table)[1]) == NAMES[command]


@pytest.mark.slow
def test_workers_wait_side_by_side_but_each_for_one_frame_at_a_time(monkeypatch, capsys):
    arguments = ("--workers", 1, 2, "--frames", 48, "--milliseconds", 20, "--rounds", 1)
    _, settings, table, note = run(monkeypatch, capsys, "scaling", *arguments)
    assert settings.endswith("of 48 frames of a blank picture")
    assert note.startswith("Each frame is a wait of 20 ms")
    _, rows = cells(table)
    assert [row[0] for row in rows] == ["1 worker", "2 workers"]
    assert all(0 < float(row[3].rstrip("%")) <= 100 for row in rows)


def test_what_fails_in_a_worker_is_named(capfd):
    candidate = Candidate(name="the bad one", kind="paragon", size=SMALL, arguments={"variant": "none"})
    with pytest.raises(BackendFailure, match="the bad one at 48x32 failed; its message is above"):
        compare([candidate], Settings(frames=1, rounds=1))
    assert "benchmark: paragon.Upscale: unknown variant 'none'" in capfd.readouterr().err


@pytest.mark.slow
def test_each_round_opens_the_candidates_anew():
    candidates = [Candidate(name=kind, kind=kind, size=SMALL, arguments=arguments)
                  for kind, arguments in (("zimg", {"kernel": "Bicubic"}), ("sgemm", {}))]  # fmt: skip
    zimg, sgemm = compare(candidates, Settings(frames=1, rounds=3), reopened=True)
    assert len({opening["first"] for opening in zimg.openings}) == 4
    assert 0 < zimg.opening("loading") < zimg.opening("first")
    assert sgemm.openings == [{}]
    (once,) = compare(candidates[:1], Settings(frames=1, rounds=2))
    assert (len(once.openings), len(once.turns)) == (1, 2)


@pytest.mark.slow
def test_a_worker_that_is_gone_is_named():
    worker = Worker(Candidate(name="the gone one", kind="zimg", size=SMALL), Settings())
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(BackendFailure, match="the gone one at 48x32 failed"):
        worker.turn()
    worker.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cuda", "--peers", "ov"], "--peers are measured on the CPU only"),
        (["--backends", "none"], "unknown backend 'none'"),
        (["--variants"], "there is nothing to measure"),
        (["--models", GOLDEN, GOLDEN], "is given twice"),
        (["--precisions", "fp16"], "none of openvino computes in fp16"),
        (["--models", GOLDEN, "--scale", "3"], "nano_x2.weights.safetensors enlarges 2 times, not 3"),
        (["streams", "--variants", "huge"], "unknown variant 'huge'"),
        (["--sizes", "640"], "is not a size; write width and height as 640x360"),
        (["--sizes", "33x20"], "give even numbers"),
        (["--rounds", "0"], "is not a whole number of at least 1"),
        (["growth", "--peers"], "unrecognized arguments: --peers"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, message, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, capsys, *arguments)
    assert message in str(stopped.value) + capsys.readouterr().err


def test_without_a_gpu_that_is_said(monkeypatch, capsys):
    monkeypatch.setattr(cuda, "gpus", lambda: ())
    with pytest.raises(SystemExit, match=r"--device cuda: no NVIDIA GPU was found; .* leave --device out"):
        run(monkeypatch, capsys, "--device", "cuda")


def test_a_missing_peer_is_named(monkeypatch):
    monkeypatch.setattr(peers, "version_of", lambda package: "1" if package == "vapoursynth-mlrt-ov" else "")
    peers.check_peers(["ov"], 3)
    with pytest.raises(BackendUnavailable, match="vapoursynth-znedi3 not installed; pip install vapoursynth-znedi3"):
        peers.check_peers(["ov", "znedi3"], 2)


def test_znedi3_only_doubles(monkeypatch):
    monkeypatch.setattr(peers, "version_of", lambda package: "1")
    peers.check_peers(["znedi3"], 4)
    with pytest.raises(InvalidInput, match="cannot enlarge 3 times"):
        peers.check_peers(["znedi3"], 3)


def test_peers_run_the_published_form_and_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "computes_bfloat16", lambda: True)
    onnx = pytest.importorskip("onnx", reason="networks are exported with it")
    found = list(
        peers.network_peers(
            ["ov", "ort", "znedi3"], NANO, SMALL, precisions=["auto", "bf16"], streams=[0], folder=tmp_path
        )
    )
    assert [candidate.name for candidate in found] == [
        *(f"vs-mlrt {what}" for what in ("ov nano as published, fp32", "ov nano as published, bf16",
                                         "ort nano as published, fp32", "ov nano in inference form, fp32",
                                         "ov nano in inference form, bf16", "ort nano in inference form, fp32")),
        "znedi3",
    ]  # fmt: skip
    published, ours = found[0].arguments, found[3].arguments
    sides = onnx.load(published["path"]).graph.input[0].type.tensor_type.shape.dim[2:]
    assert [side.dim_value for side in sides] == [32, 48]
    assert (published["borders"], published["shift"]) == ((0, 0, 0, 0), 0)
    assert ours["path"] == str(NANO[0].model.graph)
    assert (ours["borders"], ours["shift"]) == ((8, 24, 8, 16), 1)  # extended to 80x56, both of the form 24a + 8


def test_every_network_runs_on_every_backend_in_what_it_has(capsys, monkeypatch):
    monkeypatch.setattr("vsparagon.backends.openvino.cpu.computes_bfloat16", lambda: True)
    found = networks.find_runs(NANO, ["openvino", "onnxruntime"], ["auto", "bf16"])
    assert [run.name for run in found] == ["nano, openvino fp32", "nano, openvino bf16", "nano, onnxruntime fp32"]
    assert "onnxruntime on CPU" in (said := capsys.readouterr().err)
    assert "has no bf16; that is left out" in said


def test_what_the_processor_does_not_compute_in_is_left_out(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("vsparagon.backends.openvino.cpu.computes_bfloat16", lambda: False)
    monkeypatch.setattr(peers, "computes_bfloat16", lambda: False)
    found = networks.find_runs(NANO, ["openvino"], ["fp32", "bf16"])
    assert [run.name for run in found] == ["nano, openvino fp32"]
    assert "openvino on CPU has no bf16; that is left out" in capsys.readouterr().err
    pytest.importorskip("onnx", reason="networks are exported with it")
    measured = peers.network_peers(["ov"], NANO, SMALL, precisions=["fp32", "bf16"], streams=[0], folder=tmp_path)
    assert {candidate.facts["precision"] for candidate in measured} == {"fp32"}


def test_int8_is_for_networks_that_were_trained_for_it(capsys):
    both = networks.find_networks(["nano", "swift"], [], 2)
    found = networks.find_runs(both, ["openvino"], ["fp32", "int8"])
    assert [run.name for run in found] == ["nano, openvino fp32", "swift, openvino fp32", "swift, openvino int8"]
    assert "nano was not trained for int8; that is left out" in capsys.readouterr().err


def test_luma_only_is_a_run_of_its_own():
    whole, luma = networks.find_runs(NANO, ["openvino"], ["auto"], chroma=["network", "resizer"])
    assert luma.name == f"{whole.name}, luma only"
    assert luma.arguments == whole.arguments | {"chroma": "resizer"}


def test_a_backend_on_the_processor_is_none_for_the_gpu():
    with pytest.raises(BackendUnavailable, match="the backend openvino runs on CPU; name another backend"):
        networks.find_runs(NANO, ["openvino"], ["auto"], gpu=0)


def test_multiplications_by_zero_are_of_no_use():
    pytest.importorskip("torch", reason="the networks are torch modules")
    from benchmarking.cost import useful_macs_per_pixel

    from vsparagon.models import complexity
    from vsparagon.models.checkpoint import load_generator
    from vsparagon.models.inference import inference_form

    model = NANO[0].model
    form = inference_form(load_generator(model.checkpoint))
    executed = complexity.macs_per_pixel(form)
    useless = 0
    for layer in form.modules():
        if hasattr(layer, "kernel_size"):  # all of them run at the picture's own resolution
            useless += int((layer.weight == 0).sum())
    assert useless > 0
    assert useful_macs_per_pixel(model, 1096, 1936) == pytest.approx(executed - useless)


def test_attention_is_counted_too():
    pytest.importorskip("torch", reason="the model file is a checkpoint")
    from benchmarking.cost import useful_macs_per_pixel

    (plain,) = networks.find_networks([], [GOLDEN.replace("nano_x2", "nano_x2_no_attention")], 2)
    (attending,) = networks.find_networks([], [GOLDEN], 2)
    # Twice 16 points, for each of the value's 14 channels and the sum of weights.
    more = useful_macs_per_pixel(attending.model, 100, 100) - useful_macs_per_pixel(plain.model, 100, 100)
    assert more > 2 * 16 * 15


def test_the_picture_moves_and_keeps_its_detail():
    clip = moving_picture("", 600, 520, HELD + 1)
    frames = [np.asarray(clip.get_frame(n)[0]).astype(int) for n in (0, 1, HELD)]
    assert (clip.width, clip.height, len(clip), clip.format.name) == (600, 520, HELD + 1, "YUV420P8")
    assert (frames[0] == frames[2]).all()
    assert np.abs(frames[0][3:, 4:] - frames[1][:-3, :-4]).max() <= 1
    assert np.abs(frames[0] - frames[1]).mean() > 3


def test_a_picture_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidInput, match=r"--picture .*none.png cannot be read"):
        moving_picture(str(tmp_path / "none.png"), 48, 32, 1)


@pytest.mark.parametrize("x264", ["", "ultrafast"])
def test_a_turn_makes_new_frames_and_measures_them(x264, monkeypatch):
    made = []
    encode = clip_load._encode
    monkeypatch.setattr(clip_load, "_encode", lambda clip, preset: made.append((len(clip), encode(clip, preset))))
    facts, turn = clip_load.opened(job("zimg", {"kernel": "Bicubic"}, x264=x264))
    figures = turn()
    assert facts["first"] > 0
    assert figures["wall"] > 0
    assert made == ([(2, None)] if x264 else [])


def test_a_frame_that_fails_is_an_error():
    clip = vs.core.core.std.BlankClip(length=9)

    def fail(n):
        raise ValueError("bad luck")

    with pytest.raises(Exception, match="bad luck"):
        clip_load.make_all(clip.std.FrameEval(fail))


def test_an_encoder_that_fails_is_an_error(monkeypatch, capfd):
    _, turn = clip_load.opened(job("zimg", {"kernel": "Bicubic"}, x264="nonsense"))
    with pytest.raises(EncodeFailure, match="its message is above"):
        turn()
    assert "nonsense" in capfd.readouterr().err


def test_the_peak_is_that_of_a_product_of_matrices(monkeypatch):
    monkeypatch.setattr(sgemm_load, "SIDE", 64)
    times = iter(range(0, 1000, 7))
    monkeypatch.setattr(sgemm_load.time, "perf_counter", lambda: next(times))
    _, turn = sgemm_load.opened(job("sgemm"))
    assert turn() == {"multiplications": 64**3 / 7}


def made_up(monkeypatch, module, figures):
    """Give the candidates these figures, in their order, instead of measuring them."""

    openings = [{"first": first, "loading": loading} for first, loading in ((9.0, 5.0), (0.4, 0.2), (0.5, 0.3))]

    def compare(candidates, settings, *, reopened=False):
        assert len(candidates) == len(figures)
        return [result_of(c, *openings, **f) for c, f in zip(candidates, figures, strict=True)]

    monkeypatch.setattr(module, "compare", compare)


def turns(*wall, memory=(100, 120)):
    return {"wall": wall, "processor": (0.02, 0.02), "memory": memory}


def test_ratios_are_those_within_the_rounds(monkeypatch):
    sgemm = {"multiplications": (1e9, 2e9)}
    made_up(monkeypatch, speed, [turns(0.1, 0.2), turns(0.05, 0.1), turns(0.2, 0.4), sgemm])
    monkeypatch.setattr(speed, "useful_macs_per_pixel", lambda model, height, width: 1000.0)
    runs = networks.find_runs(NANO, ["openvino"], ["auto"])
    rows, (note,) = speed.measure_speed(runs, [SMALL], Settings(), streams=[0], peers=[], precisions=["auto"])
    assert [row["beside_first"] for row in rows] == pytest.approx([1, 2, 0.5])
    assert rows[0]["frames_per_second"] == pytest.approx(1 / 0.15)
    per_frame = 1000 * 48 * 32
    assert rows[0]["of_peak"] == pytest.approx((per_frame / 0.1 / 1e9 + per_frame / 0.2 / 2e9) / 2)
    assert (rows[0]["memory"], rows[0]["processor_ms"]) == (120, 20)
    assert (rows[0]["first_ms"], rows[0]["loading_ms"]) == (500, 300), "medians over the openings"
    assert note.startswith("sgemm peak: 3 GFLOPS.")


def test_growth_is_given_for_each_megapixel_more(monkeypatch, tmp_path):
    sizes = [Size(width=2000, height=1000), Size(width=1000, height=500)]
    walls = [turns(0.1, 0.1, memory=(100, 100)), turns(0.4, 0.4, memory=(400, 400))]
    made_up(monkeypatch, speed, [*walls, {"multiplications": (1e9, 1e9)}])
    runs = networks.find_runs(NANO, ["openvino"], ["auto"])
    rows, _ = speed.measure_growth(runs, sizes, Settings())
    assert [row["size"].width for row in rows] == [1000, 2000]
    assert [row["megapixels_per_second"] for row in rows] == pytest.approx([5, 5])
    assert [row.get("memory_per_megapixel") for row in rows] == [None, pytest.approx(200)]
    benchmark.chart.draw_growth(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"


def test_the_best_number_of_streams_is_named(monkeypatch):
    made_up(monkeypatch, speed, [turns(0.2, 0.2), turns(0.3, 0.3), turns(0.1, 0.1)])
    runs = networks.find_runs(NANO, ["openvino"], ["auto"])
    rows, (note,) = speed.measure_streams(runs, [SMALL], Settings(), streams=[1, 2], threads=[2])
    assert [row["name"].removeprefix("vsparagon nano, openvino fp32") for row in rows] == [
        "", ", 1 streams, 2 threads", ", 2 streams, 2 threads",
    ]  # fmt: skip
    assert note == (
        "Best at 48x32: vsparagon nano, openvino fp32, 2 streams, 2 threads, 2.00 times as fast as the default "
        "(5.0 frames/s)."
    )


def test_a_table_leaves_out_what_no_row_has():
    columns = [Column(key="name", title=""), Column(key="a", title="A", form=".1f"), Column(key="b", title="B")]
    rows = [{"name": "x", "a": 1.26}, {"name": "y", "a": None, "size": SMALL}]
    report = Report(machine={"cores": "2"}, settings=Settings(threads=1), columns=columns, rows=rows, notes=["So."])
    header, settings, table, note = report.markdown().split("\n\n")
    assert (header, note) == ("cores 2", "So.")
    assert "1 threads" in settings
    assert table == "|  | A |\n| --- | --- |\n| x | 1.3 |\n| y |  |"
