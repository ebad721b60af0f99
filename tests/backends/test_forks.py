"""Forks of a process that has opened a network: they compute or raise an error, but do not wait for ever."""

import json
import os
import subprocess
import sys

import pytest

from vsparagon.backends import RUNTIMES

PROGRAM = """
import json, os, signal, sys
import numpy as np
from vsparagon import BackendFailure, Upscaler

def opened():
    return Upscaler("swift_lite", backend=sys.argv[1])

def outcome(upscaler, given):
    try:
        return "right" if (upscaler(given)[:40] == expected[:40]).all() else "wrong"
    except BackendFailure as error:
        return str(error)

picture = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
used, unused = opened(), opened()
expected = used(picture)
child = os.fork()
if child:
    sys.exit(os.waitpid(child, 0)[1])
signal.alarm(60)  # ends a child that waits for ever
made = {"used": outcome(used, picture), "another size": outcome(used, picture[:40]), "unused": outcome(unused, picture)}
print(json.dumps(made | {"new": outcome(opened(), picture)}), flush=True)
os._exit(0)
"""
FORKED = "before this process was forked"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot fork")
@pytest.mark.parametrize(
    ("backend", "unused", "new"),
    [("openvino", FORKED, "right"), ("onnxruntime", "right", "right"), ("torch", FORKED, FORKED)],
)
def test_fork_of_a_process_that_has_used_a_network(backend, unused, new):
    if missing := RUNTIMES[backend].missing():
        pytest.skip(missing)
    done = subprocess.run([sys.executable, "-c", PROGRAM, backend], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stdout, done.stderr)
    outcomes = json.loads(done.stdout)
    assert FORKED in outcomes["used"]
    assert FORKED in outcomes["another size"]
    assert unused in outcomes["unused"]
    assert new in outcomes["new"]
