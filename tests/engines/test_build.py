"""Engines built from exported graphs, without a GPU (TensorRT-RTX): progress, Ctrl-C, errors and the script."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
from engines import STOP_IN_THE_MIDDLE, TELL_STEPS, building_process
from goldens import golden
from places import SCRIPTS, SUPPORT

torch = pytest.importorskip("torch", reason="the networks are torch modules")
onnx = pytest.importorskip("onnx", reason="ONNX files are written with onnx")

import build_engine as build_engine_script  # noqa: E402
from onnx_files import shuffle_network  # noqa: E402
from tensorrt_stand_in import stand_in  # noqa: E402

from vsparagon.engines import build as engine  # noqa: E402
from vsparagon.engines import progress as engine_progress  # noqa: E402
from vsparagon.engines.build import Profile, TensorRTLibrary, build_engine, load_library  # noqa: E402
from vsparagon.engines.progress import BuildProgress  # noqa: E402
from vsparagon.errors import BackendFailure, BackendUnavailable  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402
from vsparagon.models.inference import inference_form  # noqa: E402
from vsparagon.models.variants import VARIANTS  # noqa: E402
from vsparagon.onnx.export import onnx_model  # noqa: E402

PROFILES = {"input": Profile(smallest=(1, 3, 64, 64), usual=(1, 3, 540, 960), largest=(1, 3, 1080, 1920))}
SCRIPT = SCRIPTS / "build_engine.py"
SHALLOW = {"num_groups": 2, "num_blocks": 1}  # all kinds of layers; those of all 80 blocks of xl take a minute to build

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed; it builds engines without a GPU"
)


pytestmark = pytest.mark.usefixtures("no_gradient")


def rtx():
    return load_library("tensorrt_rtx")


@needs_rtx
@pytest.mark.parametrize(
    ("variant", "precision"),
    [*((variant, "fp16") for variant in VARIANTS), ("nano", "fp32"), ("tiny", "fp32")],
)
def test_every_variant_builds(variant, precision):
    depth = SHALLOW if variant in {"m", "l", "xl"} else {}
    graph = onnx_model(create_generator(variant, **depth), precision=precision).SerializeToString()
    assert len(build_engine(rtx(), graph, PROFILES, name=variant)) > 10_000


@needs_rtx
@pytest.mark.parametrize("variant", ["nano", "micro", "tiny"])
def test_fast_form_builds(variant):
    graph = onnx_model(inference_form(create_generator(variant)), precision="fp16").SerializeToString()
    assert len(build_engine(rtx(), graph, PROFILES, name=variant)) > 10_000


@needs_rtx
def test_attention_by_polynomials_builds():
    graph = onnx_model(inference_form(golden("nano_x2").generator())).SerializeToString()
    sizes = [(1, 3, height, width) for height, width in ((56, 56), (392, 656), (1112, 1952))]  # as the filter's
    profiles = {"input": Profile(smallest=sizes[0], usual=sizes[1], largest=sizes[2])}
    assert len(build_engine(rtx(), graph, profiles, name="nano")) > 10_000


@needs_rtx
def test_graph_of_fixed_size_builds_without_a_profile():
    graph = onnx_model(create_generator("nano"), height=100, width=77).SerializeToString()
    assert build_engine(rtx(), graph, name="nano")


@needs_rtx
def test_what_tensorrt_says_about_a_broken_graph_is_passed_on():
    with pytest.raises(BackendFailure, match=r"tensorrt_rtx 1\S+ cannot read this model: .*parse"):
        build_engine(rtx(), b"not a graph", PROFILES, name="it")
    graph = onnx_model(create_generator("nano"), height=100, width=77).SerializeToString()
    with pytest.raises(BackendFailure, match=r"cannot build this model: .+") as found:
        build_engine(rtx(), graph, PROFILES, name="it")
    assert "\n" not in str(found.value)
    with pytest.raises(BackendFailure, match=r"cannot read") as second:
        build_engine(rtx(), b"not a graph", PROFILES, name="it")
    assert "cannot build" not in str(second.value), "an old message must not be repeated"


@needs_rtx
def test_progress_of_a_real_build_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(engine_progress, "INTERVAL", 0.0)
    graph = onnx_model(create_generator("nano"), height=64, width=64).SerializeToString()
    with caplog.at_level("INFO"):
        build_engine(rtx(), graph, name="my network")
    lines = [record.getMessage() for record in caplog.records if "%" in record.getMessage()]
    told = [int(line.split(": ")[1].split(" %")[0]) for line in lines]
    assert lines[0].startswith("tensorrt_rtx builds the engine of my network: ")
    assert min(told) < 20
    assert max(told) > 80
    assert told == sorted(told)


def test_progress_counts_phases_within_phases_and_speaks_at_intervals(caplog):
    now = [0.0]
    progress = BuildProgress("it", lambda: now[0])
    progress.start("all", None, 4)
    assert progress.step("all", 0)
    progress.start("part", "all", 10)
    progress.step("part", 4)
    with caplog.at_level("INFO"):
        now[0] = 4.9
        progress.step("part", 5)
        assert caplog.text == ""
        now[0] = 5.0
        progress.step("part", 9)
        progress.step("part", 9)
        progress.finish("part")
        now[0] = 10.0
        progress.step("all", 2)
    assert [record.getMessage() for record in caplog.records] == ["it: 50 %, part", "it: 75 %, all"]


@needs_rtx
def test_interrupted_build_ends_within_a_step():
    # In a process of its own, as for users: in one that many tests had used before, the library crashed once.
    code = "import engines; engines.interrupt_a_build()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SUPPORT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@needs_rtx
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_rtx_builds_for_the_gpu_that_it_is_built_on(monkeypatch):
    """Without a device, it builds on the CPU for all GPUs from Ampere on; with one, it asks for the GPU."""
    current = []

    def on(device):
        current.append(device)
        return nullcontext()

    monkeypatch.setattr(engine, "_on", on)
    graph = onnx_model(create_generator("nano"), height=64, width=64).SerializeToString()
    with pytest.raises(BackendFailure, match=r"cannot build this model: .*CUDA driver"):
        build_engine(rtx(), graph, name="nano", device="cuda:1")
    assert current == ["cuda:1", "cuda:1"], "both the settings and the build must be made on the device"


def test_missing_and_broken_libraries_are_named(monkeypatch):
    monkeypatch.setattr("vsparagon.extras.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r'tensorrt is not installed; pip install "vsparagon\[tensorrt\]"'):
        load_library.__wrapped__("tensorrt")
    with pytest.raises(BackendUnavailable, match=r"vsparagon\[tensorrt-rtx\]"):
        load_library.__wrapped__("tensorrt_rtx")
    monkeypatch.setattr("vsparagon.extras.find_spec", lambda name: True)

    def broken(name):
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(engine, "import_module", broken)
    with pytest.raises(BackendUnavailable, match=r"cannot be loaded \(libnvinfer.so.10"):
        load_library.__wrapped__("tensorrt")


def test_messages_below_errors_are_for_debugging(caplog):
    library = TensorRTLibrary(stand_in())
    with caplog.at_level("DEBUG"):
        library.logger.log(3, "loaded something")
    assert "tensorrt: loaded something" in caplog.text
    assert str(library.failure("fails")) == "tensorrt 10.99 fails: it gave no reason"
    for number in range(100):
        text = f"error {number}"
        library.logger.log(1, text)
    assert str(library.failure("fails")).endswith("fails: " + "; ".join(f"error {n}" for n in range(90, 100)))
    library.logger.log(1, "of another matter")
    library.begin()
    assert "another matter" not in str(library.failure("fails"))


def test_library_that_does_not_run_here_is_one_error():
    module = stand_in()
    library = TensorRTLibrary(module)

    def none(logger):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    module.Builder = none
    with pytest.raises(BackendFailure, match=r"tensorrt 10\.99 does not run here: pybind11::init"):
        build_engine(library, b"", name="it")


def with_weights_beside(path):
    """Write an ONNX file with its weights in a separate file, as torch's exporter does, and return the latter."""
    shuffle_network(path)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.data", size_threshold=0)
    return path.with_name("weights.data")


def run_script(*arguments, cwd):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def script(tmp_path, monkeypatch, capsys):
    """A function that runs the script here, which saves the time to start it, and returns exit code and output."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["build_engine.py", "--backend", "tensorrt_rtx", *map(str, arguments)])
        return build_engine_script.main(), *capsys.readouterr()

    return run


@needs_rtx
def test_script_builds_bundled_weights(tmp_path):
    options = ["--variant", "nano", "--scale", 2, "--backend", "tensorrt_rtx", "--output", "nano.engine"]
    done = run_script(*options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nano.engine: nano x2 clean by tensorrt_rtx 1")
    assert (tmp_path / "nano.engine").stat().st_size > 10_000


@needs_rtx
@pytest.mark.parametrize("sizes", [["--width", 320, "--height", 180], ["--shapes", "64x64/320x180/640x360"]], ids=str)
def test_script_builds_for_other_sizes(sizes, script, tmp_path):
    code, said, log = script("--variant", "swift_lite", "--scale", 3, "--output", "lite.engine", *sizes)
    assert code == 0, log
    assert said.startswith("lite.engine: swift_lite x3 clean by tensorrt_rtx 1")
    assert (tmp_path / "lite.engine").stat().st_size > 10_000


@needs_rtx
def test_script_builds_model_files(script, tmp_path):
    from vsparagon.lookup import find_model

    model = find_model()
    for path in (model.graph, model.checkpoint):
        output = tmp_path / f"{path.suffix[1:]}.engine"
        code, _, log = script("--model", path, "--output", output)
        assert code == 0, log
        assert output.stat().st_size > 10_000


@needs_rtx
def test_script_finds_the_weights_beside_a_model(script, tmp_path):
    (tmp_path / "models").mkdir()
    with_weights_beside(tmp_path / "models" / "net.onnx")
    code, _, log = script("--model", "models/net.onnx", "--output", "out")
    assert code == 0, log
    assert (tmp_path / "out").stat().st_size > 10_000


@needs_rtx
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--width", 64], "give --width and --height together"),
        (["--width", 0, "--height", 0], "the size is 0x0"),
        (["--model", "none.onnx"], "cannot read none.onnx"),
        (["--model", __file__], "is damaged or not a checkpoint|unknown suffix"),
        (["--model", "bad.onnx"], "bad.onnx cannot be read as an ONNX model"),
        (["--model", "bad.onnx", "--precision", "fp16"], "its own precision"),
        (["--variant", "xl"], "no weights"),
        (["--output", "no/such/folder/file"], "but there is no folder no/such/folder; make it first"),
        (["--width", 64, "--height", 64, "--shapes", "64x64/64x64/64x64"], "or neither"),
        (["--clip", "YUV420P8"], "with --width and --height"),
        (["--clip", "YUV", "--width", 64, "--height", 64], "give a format such as"),
        (["--clip", "YUV420P8", "--width", 64, "--height", 64, "--shapes", "1x1/1x1/1x1"], "--shapes is for --output"),
        (["--cache", "kept"], "--cache is kept, but --output names the file; leave --cache out"),
        (["--model", "bad.onnx", "--scale", 2], "--scale is 2, but bad.onnx has its own scale; leave --scale out"),
        (["--model", "bad.onnx", "--profile", "clean"], "leave --profile out"),
        (["--model", "small.onnx", "--width", 64, "--height", 64], "one size only; leave --width"),
        (["--model", "lost.onnx"], "weights.data"),
    ],
    ids=str,
)
def test_script_says_in_one_line_what_is_wrong(arguments, said, script, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    shuffle_network(tmp_path / "small.onnx", size=(16, 16))
    with_weights_beside(tmp_path / "lost.onnx").unlink()
    output = [] if {"--output", "--clip"} & set(arguments) else ["--output", "out.engine"]
    code, stdout, stderr = script(*output, *arguments)
    assert (code, stdout) == (1, "")
    assert stderr.splitlines()[-1].startswith("build_engine: ")
    assert any(part in stderr for part in said.split("|")), stderr
    assert not (tmp_path / "out.engine").exists()


@pytest.mark.parametrize(
    "shapes", ["64x64", "64x64/32x32/100x100", "64x64/100x50/200x200", "axb/1x1/2x2", "0x1/1x1/2x2"]
)
def test_script_wants_three_growing_sizes(shapes, tmp_path):
    done = run_script("--backend", "tensorrt_rtx", "--output", "out", "--shapes", shapes, cwd=tmp_path)
    assert done.returncode == 2
    assert f"'{shapes}' is not three sizes from small to large, such as 64x64/960x540/1920x1080" in done.stderr


@pytest.mark.parametrize("before", ["", STOP_IN_THE_MIDDLE, TELL_STEPS])
def test_programs_of_the_gpu_tests_run(before, tmp_path):
    """Without a GPU, nobody would notice that they use names that no longer exist."""
    command = [sys.executable, "-c", building_process(before), "openvino", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
