"""compat/outside_kernels/run.py runs, and says why it skips what is not at hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "compat" / "outside_kernels" / "run.py"
VARIABLES = ("OUTSIDE_TRNBLAS", "OUTSIDE_NEURON_SDK")


def table(environment):
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_not_at_hand_is_skipped():
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    shown = table(environment | {"OUTSIDE_TRNBLAS": "/nowhere"})
    assert "OUTSIDE_NEURON_SDK is not set" in shown
    assert "/nowhere, which does not exist" in shown
    assert "right" not in shown


@pytest.mark.skipif(
    not any(name in os.environ for name in VARIABLES), reason="no kernels of others are named"
)
def test_what_is_at_hand_is_right():
    shown = table(dict(os.environ))
    assert "right" in shown
    assert "WRONG" not in shown
