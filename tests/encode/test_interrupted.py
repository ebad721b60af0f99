"""`vsparagon encode` when it is stopped or killed in the middle, and when its options or its input change then."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import GOLDEN

pytest.importorskip("ffmpeg", reason="command lines of ffmpeg are built with ffmpeg-python")

from films import FRAMES, SEGMENT, UNEVEN, command, encode, equals, finished_segments, make_film, start_until

pytestmark = pytest.mark.slow
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# A slow source, so that a kill happens in the middle of the work. It logs which frames were requested.
SLOW = """
import pathlib, time
def wait(n, f):
    with open({log!r}, "a") as log:
        log.write(f"{{n}}\\n")
    if not pathlib.Path({hurry!r}).exists():
        time.sleep(0.03)
    return f
clip.std.ModifyFrame(clip, wait).set_output()
"""

# A source that stops in the middle until a file appears.
GATED = """
import pathlib, time
def wait(n, f):
    while n >= {first} and not pathlib.Path({gate!r}).exists():
        time.sleep(0.01)
    return f
clip.std.ModifyFrame(clip, wait).set_output()
"""


@pytest.fixture
def slow(tmp_path):
    """A slow filter script, and the log of the frames that it delivers."""
    script, log = tmp_path / "slow.vpy", tmp_path / "frames.log"
    script.write_text(SLOW.format(log=str(log), hurry=str(tmp_path / "hurry")))
    return script, log


def ffmpegs_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def kill_after(output: Path, segments: int, *arguments: object) -> None:
    """Start an encode, kill it when this number of segments is finished and another is being made, and then hurry."""
    hurry = output.parent / "hurry"
    hurry.unlink(missing_ok=True)
    process = start_until(output, segments, *arguments)
    process.kill()
    process.communicate()
    hurry.touch()


def test_goes_on_after_kill_and_equals_an_undisturbed_run(film, whole, slow, tmp_path):
    script, log = slow
    out = tmp_path / "out.mkv"
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", script)
    kill_after(out, 3, *arguments)
    assert not out.exists()
    kept = finished_segments(out) * SEGMENT
    reached = max(map(int, log.read_text().split()))
    log.unlink()
    done = encode(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["resumed"] == kept >= 3 * SEGMENT
    again = set(map(int, log.read_text().split())) - {0}  # frame 0 is read again for its colours
    assert min(again) == kept
    assert reached - kept < 2 * SEGMENT  # lost are one segment and the frames prepared for the next
    equals(out, whole)


def test_what_is_logged_the_first_time_only_is_no_reason_to_start_anew(film, slow, tmp_path):
    torch = pytest.importorskip("torch", reason="makes a checkpoint")
    safetensors_torch = pytest.importorskip("safetensors.torch", reason="reads the weights of the checkpoint")
    weights = GOLDEN / "nano_x2_no_attention.weights.safetensors"
    model, out = tmp_path / "mine.pth", tmp_path / "out.mkv"
    torch.save({"params_ema": safetensors_torch.load_file(weights)}, model)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    arguments = (film, out, "--model", model, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    process = start_until(out, 2, *arguments, env=environment)
    process.terminate()
    assert "mine.pth" in process.communicate(timeout=30)[1]  # the log says how it was read
    (tmp_path / "hurry").touch()
    kept = finished_segments(out) * SEGMENT
    done = encode(*arguments, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["resumed"] == kept >= 2 * SEGMENT


def test_many_kills_at_any_moment_do_no_harm(film, whole, slow, tmp_path):
    out, chance = tmp_path / "out.mkv", random.Random(7)
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    kills = 0
    for n in range(40):
        process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert process.wait(timeout=chance.uniform(0.7, 2.0) * 1.1**n) == 0  # later each time, for a busy machine
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            if kills == 6:  # enough
                (tmp_path / "hurry").touch()
            if out.exists():  # killed between the delivery of the output and the removal of the segments
                assert encode(*arguments).returncode == 1
                break
    else:  # a machine too busy for every one of them
        assert encode(*arguments).returncode == 0
    assert kills >= 2
    equals(out, whole)


@needs_signals
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_ends_with_one_line_when_ffmpeg_is_killed_and_goes_on(name, film, whole, slow, tmp_path):
    out = tmp_path / "out.mkv"
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    process = start_until(out, 2, *arguments)
    for pid in ffmpegs_of(process):
        os.kill(pid, getattr(signal, name))
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.splitlines()[-1].startswith("vsparagon: ffmpeg ")
    assert "Traceback" not in stderr
    assert not out.exists()
    (tmp_path / "hurry").touch()
    assert encode(*arguments).returncode == 0
    equals(out, whole)


@needs_signals
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_stops_at_once_and_cleanly(name, film, slow, tmp_path):
    out = tmp_path / "out.mkv"
    process = start_until(out, 2, film, out, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    children = ffmpegs_of(process)
    assert children
    process.send_signal(signal.Signals[name])
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    kept = finished_segments(out) * SEGMENT
    assert (
        stderr.splitlines()[-1] == f"vsparagon: stopped; {kept} of {FRAMES} frames kept; run the same command to resume"
    )
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert [path.name for path in tmp_path.glob("out*")] == ["out.mkv.parts"]


@needs_signals
def test_goes_on_under_nohup_when_the_terminal_is_closed(tmp_path):
    code = (
        "import signal, vsparagon.system.interrupt as i; i.end_tidily_on_signals(); signal.raise_signal(signal.SIGHUP)"
    )
    done = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


@needs_signals
def test_leaves_nothing_when_stopped_before_the_first_segment(film, slow, tmp_path):
    out = tmp_path / "out.mkv"
    process = start_until(out, 0, film, out, "--filter-script", slow[0])
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1].splitlines()[-1] == "vsparagon: stopped"
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--crf", 30], "crf: 17"),
        (["--variant", "micro"], "computed by: nano x2 clean on "),
        (["--segment-frames", SEGMENT + 1], "frames per segment: 12, now 13"),
    ],
)
def test_starts_anew_and_says_why_when_options_change(change, said, film, slow, tmp_path):
    out = tmp_path / "out.mkv"
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    kill_after(out, 1, *arguments)
    done = encode(*arguments, *change)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if "starting over" in line)
    assert said in line
    assert f"; {FRAMES} of them in " in done.stdout


def test_what_is_done_survives_a_command_with_other_options(film, whole, slow, tmp_path):
    out = tmp_path / "out.mkv"
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    kept = [0]
    for options in ([], ["--crf", 30]):
        kill_after(out, kept[-1] + 2, *arguments, *options)
        kept.append(finished_segments(out))
    done = encode(*arguments, "--json")
    assert json.loads(done.stdout.splitlines()[-1])["resumed"] == kept[1] * SEGMENT
    assert "starting over" not in done.stdout
    equals(out, whole)
    assert not list(tmp_path.glob("*.parts"))


def test_starts_anew_and_says_why_when_the_input_changes(film, whole, slow, tmp_path):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    make_film(source, seconds=3, video=UNEVEN)
    arguments = (source, out, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    kill_after(out, 1, *arguments)
    source.write_bytes(film.read_bytes())
    done = encode(*arguments)
    assert done.returncode == 0, done.stderr
    assert "modification of the input: " in next(line for line in done.stderr.splitlines() if "starting over" in line)
    equals(out, whole)


def test_damaged_segment_is_made_again(film, whole, slow, tmp_path):
    out = tmp_path / "out.mkv"
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    kill_after(out, 3, *arguments)
    kept = finished_segments(out)
    (damaged,) = Path(f"{out}.parts").glob("*/000001.mkv")
    os.truncate(damaged, 100)
    done = encode(*arguments, "--json")
    assert json.loads(done.stdout.splitlines()[-1])["resumed"] == (kept - 1) * SEGMENT
    equals(out, whole)


def test_two_runs_for_one_output_do_not_meet(film, tmp_path):
    out, script, gate = tmp_path / "out.mkv", tmp_path / "gated.vpy", tmp_path / "gate"
    script.write_text(GATED.format(first=2 * SEGMENT, gate=str(gate)))
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", script)
    first = start_until(out, 1, *arguments)
    second = encode(*arguments)
    gate.touch()
    assert (second.returncode, second.stderr) == (1, f"vsparagon: another process is already writing {out}.\n")
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_folder_is_removed_after_a_kill_between_the_last_two_deeds(film, whole, tmp_path):
    """The output has its final name, but the folder still exists: the next run removes it and keeps the output."""
    out = tmp_path / "out.mkv"
    arguments = ["encode", str(film), str(out), "--segment-frames", str(SEGMENT)]
    killed = f"""
import os
from vsparagon.cli import main
from vsparagon.encode import parts
settle = parts._settle
def settle_and_die(draft, path, **how):
    settle(draft, path, **how)
    if path.name == "out.mkv":
        os._exit(9)
parts._settle = settle_and_die
main({arguments!r})
"""
    assert subprocess.run([sys.executable, "-c", killed], stderr=subprocess.DEVNULL).returncode == 9
    assert finished_segments(out) == -(-FRAMES // SEGMENT)
    done = encode(*arguments[1:])
    assert (done.returncode, done.stderr) == (1, f"vsparagon: {out} exists; add -y to replace it.\n")
    equals(out, whole)


def test_folder_of_unfinished_work_is_kept_when_another_output_is_in_the_way(film, slow, tmp_path):
    out = tmp_path / "out.mkv"
    arguments = (film, out, "--segment-frames", SEGMENT, "--filter-script", slow[0])
    kill_after(out, 1, *arguments)
    out.write_bytes(b"precious")
    assert encode(*arguments).returncode == 1
    assert finished_segments(out) >= 1


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_frames_are_counted_does_not_wait(number, film, tmp_path):
    code = (
        "import sys, time\n"
        "import vsparagon.input.source as source\n"
        "from vsparagon.cli import main\n"
        "wait = source.call_in_thread\n"
        "source.call_in_thread = lambda call, when_slow: wait(lambda: time.sleep(60), when_slow=when_slow)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    out = tmp_path / "out.mkv"
    program = [sys.executable, "-c", code, "encode", str(film), str(out)]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == f"counting the frames of {film.name}\n"
        time.sleep(0.5)  # until the message is printed: VapourSynth loses exceptions raised while it logs
        process.send_signal(number)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read() == "vsparagon: stopped\n"
    assert list(tmp_path.iterdir()) == []
