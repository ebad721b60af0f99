"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import vsparagon
from vsparagon.backends import RUNTIMES
from vsparagon.backends.options import Precision
from vsparagon.cli import main
from vsparagon.lookup import find_model

pytest.importorskip("torch", reason="the networks are torch modules")
onnx = pytest.importorskip("onnx", reason="ONNX files are written with onnx")

from onnx_files import shuffle_network  # noqa: E402

from vsparagon.models.checkpoint import save_generator  # noqa: E402
from vsparagon.models.generators import create_generator  # noqa: E402


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_generator(create_generator("micro", scale=3), path, variant="micro", note="not trained", licence="CC0-1.0")
    return path


def test_models_lists_variants_and_bundled_weights(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name} " in out for name in ("nano", "micro", "xl", "swift_plus"))
    assert [line.split() for line in out.splitlines() if line.startswith("nano ")] == [
        ["nano", "paragonsr2", "12", "1", "x", "1", "blocks", "10,523"],
        ["nano", "x2", "clean", "7,965"],
        ["nano", "x2", "compressed", "7,965"],
        ["nano", "x3", "clean", "14,505"],
        ["nano", "x3", "compressed", "14,505"],
        ["nano", "x4", "clean", "23,661"],
        ["nano", "x4", "compressed", "23,661"],
    ]


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"vsparagon {vsparagon.__version__}\n"


def test_ctrl_c_while_modules_are_imported_is_one_line():
    code = (
        "import runpy, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'vsparagon.cli.options':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "runpy.run_module('vsparagon', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "vsparagon: stopped\n")


@pytest.mark.parametrize("command", ["encode", "preview", "compare", "image"])
def test_help_needs_none_of_what_the_commands_run(command):
    code = (
        "import sys; sys.modules |= dict.fromkeys(('vapoursynth', 'torch', 'av', 'PIL', 'pyvips', 'openvino')); "
        f"from vsparagon.cli import main; main(['{command}', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "nano, micro, tiny, swift_lite, swift, swift_plus (default" in shown
    assert "2, 3, 4 (default 2)" in shown
    assert "clean or compressed video (default clean)" in shown
    for option, values in (("backend", RUNTIMES), ("precision", get_args(Precision))):
        listed = shown.partition(f" --{option} {option.upper()} ")[2].partition(" --")[0]
        assert {"auto", *values} <= set(re.findall(r"\w+", listed)), option
    if command == "encode":
        assert "{libx264,libx265,libsvtav1,h264_nvenc,hevc_nvenc,av1_nvenc}" in "".join(done.stdout.split())


def test_export_makes_onnx_files_alone(checkpoint, tmp_path, capsys):
    assert main(["export", str(checkpoint), str(tmp_path / "out.safetensors")]) == 1
    assert "it must end in .onnx" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_export_keeps_an_existing_file_without_y(tmp_path, capsys):
    out = tmp_path / "out.onnx"
    out.write_bytes(b"precious")
    assert main(["export", "nano", str(out)]) == 1
    assert capsys.readouterr().err == f"vsparagon: {out} exists; add -y to replace it.\n"
    assert out.read_bytes() == b"precious"
    assert main(["export", "nano", str(out), "-y"]) == 0
    assert out.stat().st_size > 1000


@pytest.mark.parametrize("command", [["encode", "width=3.mkv", "out.mkv"], ["image", "my model=a.png", "out.png"]])
def test_files_called_as_an_argument_keep_their_names(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 1
    assert command[1] in capsys.readouterr().err


def test_info_tells_what_a_checkpoint_is(checkpoint, capsys):
    assert main(["info", str(checkpoint)]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith("M"))
    assert rows["variant"] == "micro"
    assert rows["scale"] == "3"
    assert rows["use_channel_mod"] == "True"
    assert rows["parameters"] == "30,957"
    assert rows["receptive"] == (
        "field    17 x 17 pixels, windows of 32 x 32 for attention, means of the whole frame for channel modulation, "
        "means of the whole frame for the gain"
    )
    assert rows["training"] == "not trained"


def test_info_takes_the_name_of_bundled_weights(capsys):
    assert main(["info", "nano"]) == 0
    assert "8,943 as published" in capsys.readouterr().out


def test_info_tells_which_weights_are_for_int8(tmp_path, capsys):
    told = {}
    network = create_generator("swift_lite")
    for name, ranges in (("plain", ()), ("rounded", ((-1.0, 1.0),) * 2)):
        network.ranges = ranges
        save_generator(network, tmp_path / f"{name}.safetensors", variant="swift_lite", note="")
    for model in ("nano", "swift", str(tmp_path / "plain.safetensors"), str(tmp_path / "rounded.safetensors")):
        assert main(["info", model]) == 0
        told[Path(model).stem] = "has weights trained for it" in capsys.readouterr().out
    assert told == {"nano": False, "swift": True, "plain": False, "rounded": True}


def exported(path, *arguments):
    assert main(["export", arguments[0], str(path), *arguments[1:]]) == 0
    return path


@pytest.mark.parametrize(
    ("file", "rows"),
    [
        (
            lambda path: find_model(variant="nano").graph,
            {"network": "a vsparagon network, in the form that the filter runs", "sizes": "multiples of 24 plus 8",
             "type": "float32", "input": "RGB", "parameters": "7,965"},
        ),
        (
            lambda path: exported(path, "nano"),
            {"network": "a vsparagon network, as published; `vsparagon export --form extended` writes a faster form",
             "sizes": "any", "parameters": "7,965"},
        ),
        (
            lambda path: exported(path, "swift", "--form", "extended"),
            {"network": "a vsparagon network, in the form that the filter runs", "sizes": "any", "parameters": "9,212"},
        ),
        (
            lambda path: shuffle_network(path, scale=3, kind="f16"),
            {"network": "not a vsparagon network; run as it is", "scale": "3", "sizes": "any", "type": "float16"},
        ),
        (
            lambda path: shuffle_network(path, channels=1, size=(48, 64)),
            {"input": "one plane: luma, or red, green and blue separately", "sizes": "only 64 x 48"},
        ),
    ],
)  # fmt: skip
def test_info_tells_what_an_onnx_file_is(file, rows, tmp_path, capsys):
    path = file(tmp_path / "net.onnx")
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown | rows == shown


def test_info_refuses_a_scale_that_the_file_does_not_have(checkpoint, capsys):
    assert main(["info", str(checkpoint), "--scale", "2"]) == 1
    assert "enlarges 3 times, not 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "shape", "form"),
    [
        ([], [1, 3, "height", "width"], "published"),
        (["--height", "64", "--width", "80"], [1, 3, 64, 80], "published"),
        (["--form", "extended"], [1, 3, "height", "width"], "extended"),
    ],
)
def test_export_writes_an_onnx_file(arguments, shape, form, checkpoint, tmp_path, capsys):
    out = tmp_path / "out.onnx"
    assert main(["export", str(checkpoint), str(out), "--precision", "fp16", *arguments]) == 0
    assert str(out) in capsys.readouterr().out
    model = onnx.load(out)
    tensor = model.graph.input[0].type.tensor_type
    assert tensor.elem_type == onnx.TensorProto.FLOAT16
    assert [d.dim_value or d.dim_param for d in tensor.shape.dim] == shape
    notes = {p.key: p.value for p in model.metadata_props}
    assert (notes["form"], notes["licence"], notes["training"]) == (form, "CC0-1.0", "not trained")


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "nowhere.safetensors"],
        ["export", "nowhere.pth", "out.onnx"],
        ["export", "nano", "no/such/folder/out.onnx"],
        ["export", "nano", "out.onnx", "--height", "2"],
        ["info", "xl", "--scale", "8"],
        ["info", "nano.safetensors", "--profile", "clean"],
        ["info", "nowhere.onnx"],
    ],
)
def test_failure_is_one_line_on_standard_error(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vsparagon: ")
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["encode {} out.mkv", "encode in.mkv {}", "preview {}", "image {} out.png"])
def test_path_that_cannot_be_is_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.mkv").touch()
    assert main(command.format(f"{'a' * 300}.mkv").split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("vsparagon: ")
    assert said.count("\n") == 1


def test_path_that_may_not_be_looked_at_is_one_line(monkeypatch, capsys):
    def refused(args):
        raise PermissionError(errno.EACCES, "Permission denied", "secret/in.mkv")

    monkeypatch.setattr("vsparagon.cli.encode._run", refused)
    assert main(["encode", "secret/in.mkv", "out.mkv"]) == 1
    assert capsys.readouterr().err == "vsparagon: secret/in.mkv cannot be reached: Permission denied\n"


@pytest.mark.parametrize(
    ("command", "said", "shown"),
    [
        ("encode a.mkv b.mkv", "width is 7; give another width=.", "--width is 7; give another --width."),
        ("encode a.mkv b.mkv", "variant is 'a', and model is 'b'.", "--variant is 'a', and --model is 'b'."),
        ("preview a.mkv", 'matrix=, for example matrix="709".', "--matrix, for example --matrix 709."),
        ("compare a.mkv", "a/scale=2: set num_streams=1 or cache=.", "a/scale=2: set --num-streams 1 or --cache."),
        ("image in.png out.png", "leave scale= out, and use width=.", "leave --scale out, and use width=."),
        ("export xl out.onnx", "give a file of your own as model=.", "give a file of your own as MODEL."),
        ("encode a.mkv b.mkv", "paragon.Upscale: frame 3: pass matrix=.", "paragon.Upscale: frame 3: pass --matrix."),
        ("encode own.vpy b.mkv --scale 3", "scale is 3; leave scale= out.", "--scale is 3; leave --scale out."),
        ("encode own.vpy b.mkv", "paragon.Upscale: frame 3: pass matrix=.", ""),
        ("encode own.vpy b.mkv", "own.vpy failed: Error: leave scale= out.", ""),
        ("encode a.mkv b.mkv --filter-script own.vpy", "own.vpy failed: Error: leave scale= out.", ""),
        ("encode a.mkv b.mkv", "deinterlace the clip first, so", "deinterlace the clip first with --filter-script, so"),
        ("encode own.vpy b.mkv", "deinterlace the clip first, so", ""),
        ("models", "leave scale= out.", ""),
    ],
)
def test_message_names_the_options_of_the_command(command, said, shown, monkeypatch, capsys):
    def fail(args):
        raise vsparagon.InvalidInput(said)

    module = {"export": "models._export", "models": "models._models"}.get(
        command.split()[0], f"{command.split()[0]}._run"
    )
    monkeypatch.setattr(f"vsparagon.cli.{module}", fail)
    assert main(command.split()) == 1
    assert capsys.readouterr().err == f"vsparagon: {shown or said}\n"


def test_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["upscale"])
    assert "invalid choice" in capsys.readouterr().err


def test_reader_that_leaves_is_no_traceback():
    command = [sys.executable, "-m", "vsparagon", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("<&- >&- 2>&-", 0), (">/dev/full", 1)])
def test_output_that_goes_nowhere_is_no_traceback(closed, code):
    command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-m", "vsparagon", "models"]
    done = subprocess.run(command, capture_output=True, text=True)
    full = "vsparagon: No space left on device; free some space and run the command again\n"
    assert (done.returncode, done.stdout, done.stderr) == (code, "", full if code else "")
