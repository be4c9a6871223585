"""The whole demo through each way to launch, on doubles with the interpreter behind them.

Whatever comes back from a kernel is what the interpreter target gives, bit by bit.
"""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from numtrn import data, demo
from numtrn.targets.interpreter import Interpreter
from numtrn.targets.neuron import Neuron
from numtrn.targets.simulator import Simulator
from tests.targets.conftest import usable

WAYS = {
    "nki": (Neuron, "neuron", "nki"),
    "torch": (Neuron, "neuron", "torch"),
    "native": (Neuron, "neuron", "native"),
    "simulator": (Simulator, "simulator", "nki"),
    "simulator torch": (Simulator, "simulator", "torch"),
}


MOST = 12
"""Programs that the demo compiles on hardware, by whichever launcher; issue 8."""


def traced(monkeypatch, target):
    """Digests of everything that comes back from a target."""
    seen = []
    genuine = target.fetch

    def fetch(self, resident):
        array = genuine(self, resident)
        whole = np.ascontiguousarray(array)
        seen.append(
            (resident.kernel, array.shape, str(array.dtype), hashlib.sha256(whole.view(np.uint8)).hexdigest())
        )
        return array

    monkeypatch.setattr(target, "fetch", fetch)
    return seen


MOLECULES = ["water", pytest.param("benzene", marks=pytest.mark.long)]


@pytest.mark.parametrize("molecule", MOLECULES)
@pytest.mark.parametrize("way", WAYS)
def test_every_result_is_the_interpreters(neuron_host, monkeypatch, way, molecule):
    kind, target, launcher = WAYS[way]
    host = neuron_host(**usable("torch" if launcher == "nki" else launcher))
    monkeypatch.setenv("NUMTRN_LAUNCHER", launcher)
    monkeypatch.setenv("NUMTRN_SHAPES", "few")  # on both, as on hardware
    monkeypatch.setattr(Interpreter, "twins", launcher != "torch")  # planes are shared as they are there
    expected_seen = traced(monkeypatch, Interpreter)
    expected = demo.run(data.load(molecule), target="interpreter", min_work=0, strict=True)
    got_seen = traced(monkeypatch, kind)
    got = demo.run(data.load(molecule), target=target, min_work=0, strict=True)
    assert got_seen == expected_seen
    assert len(got_seen) > 10
    assert got.energies == expected.energies
    assert not demo.shortcomings(got, "full")
    assert [call.route for call in got.session.calls] == [call.route for call in expected.session.calls]
    launches = sum(call.launches for call in got.session.calls)
    device = host.device
    assert len(device.launched if target == "neuron" else device.simulated) == launches
    assert got.session.counters.launches == launches
    assert len(device.compiled) == (got.session.counters.programs if target == "neuron" else 0)
    assert len(device.compiled) <= MOST


def test_a_process_of_its_own_runs_it_and_the_next_one_compiles_nothing(neuron_host, monkeypatch, tmp_path):
    host = neuron_host(torch=False)
    counts = []
    for number in range(2):
        log = tmp_path / f"log{number}"
        done = subprocess.run(
            [sys.executable, "-m", "numtrn", "demo", "--molecule", "water", "--target", "neuron"],
            env=host.environment(NEURON_DOUBLE_LOG=str(log)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "target neuron, chip trn2" in done.stdout
        assert "the target itself counted" in done.stdout
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        counts.append((events.count("compile"), events.count("launch")))
    (first, launches), (second, again) = counts
    assert first > 0
    assert (second, again) == (0, launches)
