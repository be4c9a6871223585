"""NEURON_LOGICAL_NC_CONFIG=2 on doubles, which refuse launches of other cores than the runtime was told."""

import numpy as np
import pytest

import numtrn
from numtrn import targets
from numtrn.plan import tiling
from numtrn.targets import simulator
from numtrn.targets.launchers import jitted
from tests.targets.conftest import usable
from tests.targets.test_launchers import CALLS, bits, computed

KINDS = ("float64", "float32", "syrk", "resident")


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")


@pytest.mark.parametrize("call", KINDS)
def test_every_launch_is_of_two_cores(hardware, two, call):
    expected, _ = computed("interpreter", CALLS[call])
    got, session = computed("neuron", CALLS[call])
    assert np.array_equal(bits(got), bits(expected))
    assert session.counts["kernel"] >= 1
    assert hardware.lnc == 2
    assert len(hardware.launched) == sum(one.launches for one in session.calls) > 0


def test_without_the_variable_it_is_one(hardware):
    computed("neuron")
    assert hardware.lnc == 1


def test_graphs_are_compiled_for_as_many(hardware, two, launcher, monkeypatch):
    """The double of torch_xla refuses graphs of another number; flags that ask for it are the caller's."""
    monkeypatch.setenv("NEURON_CC_FLAGS", "-O1 --lnc=1")
    if launcher != "torch":
        computed("neuron")
        return
    with pytest.raises(numtrn.KernelError, match="lnc"):
        computed("neuron")


def test_the_simulator_runs_two_cores(neuron_host, monkeypatch):
    host = neuron_host(torch=False)
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")
    monkeypatch.delenv("NUMTRN_LAUNCHER", raising=False)
    asked = []
    monkeypatch.setattr(simulator, "jitted", lambda name, lnc: asked.append(lnc) or jitted(name, lnc))
    expected, _ = computed("interpreter", CALLS["float64"], chip="trn3")
    got, session = computed("simulator", CALLS["float64"], chip="trn3")
    assert np.array_equal(bits(got), bits(expected))
    assert session.counts["kernel"] == 1
    assert len(host.device.simulated) == session.counters.launches
    assert set(asked) == {2}


def test_trn1_has_no_such_cores(neuron_host, monkeypatch):
    neuron_host(chip="trn1", torch=False)
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")
    monkeypatch.setenv("NUMTRN_LAUNCHER", "nki")
    with pytest.raises(numtrn.TargetUnavailableError, match="joins pairs of cores, which trn1 does not"):
        numtrn.enabled(target="neuron")


def test_several_logical_cores_of_torchneuron(neuron_host, monkeypatch):
    """Of eight physical cores four are left; which kernels run on which is the runtime's."""
    monkeypatch.setattr(tiling, "GEMM_LIMIT", (128, 128, 128))
    device = neuron_host(**usable("native"), cores=8).device
    monkeypatch.setenv("NUMTRN_LAUNCHER", "native")
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")
    a = np.random.default_rng(0).integers(-9, 10, (512, 128)).astype(np.float32)
    wide = a.astype(np.float64)
    with numtrn.enabled(target="neuron", min_work=0, strict=True, cores=8, shapes="fine") as session:
        found = a @ a[:128].T
    assert np.array_equal(found, wide @ wide[:128].T)
    assert device.lnc == 2
    assert session.counts["kernel"] == 1
    assert targets.select("neuron", "trn2", cores=8).cores == 4
