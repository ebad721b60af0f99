"""`core.paragon` in its hosts: vspipe, Python, and C programs with and without an embedded Python.

A stand-in replaces `vsparagon.filter`, so that these tests check the bridge alone. Every host is a process of its own,
because VapourSynth keeps one environment policy for the lifetime of a process.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vapoursynth

import vsparagon

PACKAGE = Path(vapoursynth.__file__).parent

STAND_IN = """
import sys, types
import vapoursynth as vs
from vapoursynth import core

def upscale(clip, **arguments):
    seen.append(arguments)
    action = arguments.get("variant", "")
    if action:
        raise ACTIONS[action].with_traceback(None)  # without those of earlier calls
    factor = arguments.get("scale", 2)
    return clip.resize.Bicubic(clip.width * factor, clip.height * factor)

from vsparagon.errors import InvalidInput
ACTIONS = {
    "invalid": InvalidInput("scale is 5;\\n  it must be 2"),
    "bug": ZeroDivisionError("of the stand-in"),
    "interrupt": KeyboardInterrupt("pressed"),
    "exit": SystemExit(7),
}
seen = []
stand_in = types.ModuleType("vsparagon.filter")
stand_in.upscale = upscale
sys.modules["vsparagon.filter"] = stand_in

def blank():
    return core.std.BlankClip(width=64, height=48, length=3, format=vs.YUV420P8)

def error_of(function, *arguments, **named):
    try:
        function(*arguments, **named)
    except BaseException as error:
        return error
    raise AssertionError("no error")
"""


def run(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def run_python(script: str) -> str:
    """Run a script after the stand-in and return what it printed."""
    done = run([sys.executable, "-c", STAND_IN + script])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- Python -----------------------------------------------------------------------------------------


def test_upscale_passes_the_arguments_on_when_called_from_python():
    printed = run_python("""
result = core.paragon.Upscale(blank(), scale=3, model="a.onnx", format=vs.RGB24, tilesize=[], overlap=[4, 8])
assert isinstance(result, vs.VideoNode) and result.width == 192, result
assert result.get_frame(2).width == 192
assert seen == [dict(scale=3, model="a.onnx", format=int(vs.RGB24), tilesize=[], overlap=[4, 8])], seen
core.paragon.Upscale(blank())
assert seen[-1] == {}, "arguments that the script omits must be left to the Python function's defaults"
assert blank().paragon.Upscale().width == 128
""")
    assert printed == "", "stdout must be left to the picture"


def test_version_is_the_version_of_the_package():
    printed = run_python("print(core.paragon.Version(), *core.paragon.version)")
    major, minor = vsparagon.__version__.split(".")[:2]
    assert printed == f"{vsparagon.__version__} {major} {minor}"


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("invalid", "Error: paragon.Upscale: scale is 5; it must be 2"),
        ("bug", "Error: paragon.Upscale: unexpected ZeroDivisionError: of the stand-in"),
        ("interrupt", "KeyboardInterrupt: pressed"),
        ("exit", "SystemExit: 7"),
    ],
)
def test_error_of_the_filter_reaches_the_script(action, message):
    printed = run_python(f"""
import logging
logging.disable()
error = error_of(core.paragon.Upscale, blank(), variant={action!r})
print(f"{{type(error).__name__}}: {{error}}")
assert core.paragon.Upscale(blank()).width == 128, "the bridge must still work after an error"
""")
    assert printed == message


def test_traceback_of_an_unexpected_error_is_logged():
    done = run([sys.executable, "-c", STAND_IN + 'error_of(core.paragon.Upscale, blank(), variant="bug")'])
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: of the stand-in" in done.stderr


def test_function_may_call_the_namespace_again():
    run_python("""
one_step = stand_in.upscale
def upscale(clip, scale=2, variant=""):
    if variant or scale == 2:
        return one_step(clip, scale=scale, variant=variant)
    if scale == 4:
        return clip.paragon.Upscale().paragon.Upscale()
    return clip.paragon.Upscale(variant="invalid")

stand_in.upscale = upscale
assert core.paragon.Upscale(blank(), scale=4).width == 256
error = error_of(core.paragon.Upscale, blank(), scale=3)
assert str(error) == "paragon.Upscale: scale is 5; it must be 2", "one prefix, although two calls failed"
""")


def test_missing_package_is_named_with_the_python_and_the_remedy():
    printed = run_python("""
for name in [name for name in sys.modules if name.startswith("vsparagon")]:
    del sys.modules[name]
sys.modules["vsparagon"] = None
print(error_of(core.paragon.Upscale, blank()))
""")
    assert printed.startswith(f"paragon.Upscale: the Python of this process ({sys.prefix}) cannot import vsparagon")
    assert "python -m pip install vsparagon" in printed


def test_internal_function_refuses_a_call_of_a_script():
    printed = run_python("print(error_of(core.paragon.internal_run, func=lambda **arguments: None))")
    assert printed == "paragon.internal_run: belongs to the other functions of this namespace"


def test_failing_clip_keeps_its_format_and_fails_with_the_message_alone():
    printed = run_python("""
failing = core.paragon.internal_fail(blank(), message="paragon.Upscale: 100% of frame 7 is missing")
assert (failing.width, failing.height, failing.num_frames, failing.format.id) == (64, 48, 3, vs.YUV420P8)
print(error_of(failing.get_frame, 1))
""")
    assert printed == "paragon.Upscale: 100% of frame 7 is missing"


def test_threads_get_the_answers_to_their_own_calls():
    run_python("""
from concurrent.futures import ThreadPoolExecutor
source = blank()
def work(factor):
    return {core.paragon.Upscale(source, scale=factor).width // 64 for _ in range(50)}
with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(work, range(1, 9))) == [{factor} for factor in range(1, 9)]
""")


POLICY = """
class Policy(vs.EnvironmentPolicy):
    current = None
    def on_policy_registered(self, api): self.api = api
    def on_policy_cleared(self): pass
    def get_current_environment(self): return self.current
    def set_environment(self, environment):
        before, self.current = self.current, environment
        return before

policy = Policy()
vs.register_policy(policy)
"""


def test_two_environments_keep_apart():
    printed = run_python(
        POLICY
        + """
first, second = (policy.api.create_environment() for _ in range(2))
for environment in (first, second, first, second):
    with policy.api.wrap_environment(environment).use():
        assert core.paragon.Upscale(blank()).get_frame(0).width == 128
with policy.api.wrap_environment(first).use():
    of_first = vs.core.core.paragon.Version
with policy.api.wrap_environment(second).use():
    print(error_of(of_first))
"""
    )
    assert printed.startswith(
        "paragon.Version: the Python environment of this thread belongs to another VapourSynth core"
    )


def test_destroyed_environments_leave_nothing_alive():
    run_python(
        POLICY
        + """
import gc, weakref
alive = []
for _ in range(10):
    environment = policy.api.create_environment()
    with policy.api.wrap_environment(environment).use():
        core.paragon.Upscale(blank())
        error_of(core.paragon.Upscale, blank(), variant="invalid")
    alive.append(weakref.ref(environment))
    policy.api.destroy_environment(environment)
    del environment
ACTIONS.clear()  # an exception keeps its traceback, and with it the frames that raised it
gc.collect()
assert not any(reference() for reference in alive)
"""
    )


HEAP = """
import ctypes, gc

class Heap(ctypes.Structure):  # glibc's struct mallinfo2
    _fields_ = [("numbers", ctypes.c_size_t * 10)]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Heap

def bytes_in_use():  # by VapourSynth and its plugins: Python keeps its small objects elsewhere
    gc.collect()
    numbers = mallinfo().numbers
    return numbers[4] + numbers[7]
"""


@pytest.mark.skipif(not hasattr(ctypes.pythonapi, "mallinfo2"), reason="only glibc tells what is allocated")
@pytest.mark.parametrize(
    "call",
    [
        "core.paragon.Upscale(clip)",
        'error_of(core.paragon.Upscale, clip, variant="invalid")',
        'error_of(core.paragon.internal_fail(clip, message="missing").get_frame, 0)',
    ],
    ids=["success", "error", "failing frame"],
)
def test_call_leaves_no_memory_behind(call):
    printed = run_python(
        HEAP
        + f"""
core.num_threads = 1  # one that starts late would take memory, too
def calls(count):
    for _ in range(count):
        clip = blank()
        {call}
        seen.clear()

calls(100)
before = bytes_in_use()
calls(500)
print((bytes_in_use() - before) / 500)
"""
    )
    assert float(printed) < 16, "the smallest block has 32 bytes"


def test_call_leaves_no_reference_to_an_object_of_python():
    run_python("""
name, text = "".join(["Fau", "lt"]), "".join(["no", "thing"])  # made here, because Python keeps literals for ever
Fault = type(name, (Exception,), {})
def call(function):
    raise Fault(text)

plugin = types.ModuleType("vsparagon.plugin")
plugin.call = call
sys.modules["vsparagon.plugin"] = plugin
def references():
    return [sys.getrefcount(value) for value in (plugin, Fault, Fault.__name__, text)]

before = references()
for _ in range(10):
    assert str(error_of(core.paragon.Version)) == "paragon.Version: Fault: nothing"
assert references() == before, (before, references())
""")


# --- vspipe and programs in C ----------------------------------------------------------------------

SCRIPT = STAND_IN + "core.paragon.Upscale(blank()).set_output()\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Environment variables with which VSScript uses this Python, whatever the user has configured."""
    folder = tmp_path_factory.mktemp("config")
    variables = {**os.environ, "XDG_CONFIG_HOME": str(folder), "APPDATA": str(folder)}
    done = run([sys.executable, "-m", "vapoursynth", "config"], env=variables)
    if "Failed" in done.stdout:
        pytest.skip("this Python has no shared library, which vspipe and VSScript need")
    assert done.returncode == 0, done.stderr
    return variables


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> list[str]:
    """The command of the program compiled from host.c."""
    if sys.platform != "linux":
        pytest.skip("host.c is written for Linux")
    compiler = next(([name] for name in ("cc", "gcc", "clang") if shutil.which(name)), [])
    program = tmp_path_factory.mktemp("host") / "host"
    command = compiler or [sys.executable, "-m", "ziglang", "cc"]
    source = Path(__file__).with_name("host.c")
    done = run([*command, f"-I{PACKAGE / 'include'}", str(source), "-o", str(program), "-ldl"])
    assert done.returncode == 0, done.stderr
    return [str(program)]


def test_vspipe_writes_the_picture_and_nothing_else(environment, tmp_path):
    script = tmp_path / "script.vpy"
    script.write_text(SCRIPT)
    vspipe = str(PACKAGE / ("vspipe.exe" if sys.platform == "win32" else "vspipe"))
    done = subprocess.run([vspipe, "-c", "y4m", str(script), "-"], capture_output=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    header, _, pictures = done.stdout.partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 C420 W128 H96 ")
    assert len(pictures) == 3 * (len(b"FRAME\n") + 128 * 96 * 3 // 2)


def test_vspipe_shows_an_error_in_one_line(environment, tmp_path):
    script = tmp_path / "script.vpy"
    script.write_text(STAND_IN + 'core.paragon.Upscale(blank(), variant="invalid").set_output()\n')
    done = run([str(PACKAGE / "vspipe"), "--info", str(script)], env=environment)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "vapoursynth.Error: paragon.Upscale: scale is 5; it must be 2\n" in done.stderr


def test_program_evaluates_scripts_side_by_side_and_again(host, environment):
    done = run([*host, "scripts", vapoursynth.get_vsscript(), SCRIPT], env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["128 128"] * 7


@pytest.mark.parametrize("mode", ["foreign", "outside"])
def test_core_without_its_python_environment_is_an_error(host, environment, mode):
    done = run([*host, mode, vapoursynth.get_vsscript(), SCRIPT], env=environment)
    assert done.returncode == 0, done.stderr
    picture, error = done.stdout.splitlines()
    assert picture == "128 128"
    assert error.startswith("error: paragon.Version: the Python environment of this thread has no core")
    assert error.endswith("call the filter from the script or environment that owns the core")


def test_program_without_python_gets_an_error(host):
    done = run([*host, "bare", str(PACKAGE / "libvapoursynth.so.4")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("error: paragon.Version: this program runs no Python 3.12 or later")
    assert "vspipe" in done.stdout
