"""Tensors of torch_xla by both launchers of the neuron target, on doubles that refuse what is refused."""

import pytest

import numtrn
from tests.torch.neuron import numbers
from tests.torch.support import device, nt, torch

doubles = pytest.importorskip("tests.doubles.fixtures")
neuron_host = doubles.neuron_host


@pytest.mark.parametrize("launcher", ["torch", "nki"])
def test_products_stay_on_the_device(launcher, neuron_host, monkeypatch):
    machine = neuron_host()
    for name, value in {
        "NUMTRN_LAUNCHER": launcher,
        "NEURON_LOGICAL_NC_CONFIG": "1",
        "NEURON_CC_FLAGS": "--lnc=1",
    }.items():
        monkeypatch.setenv(name, value)
    import torch_xla

    a, b = numbers(130, 200), numbers(200, 70)
    left, right = (x.to(torch_xla.device()) for x in (a, b))
    moved = dict(machine.device.transfers)
    with numtrn.enabled(target="neuron", min_work=0, strict=True) as session:
        found = device.gemm(left, right)
        again = device.rank_k(found)
    assert session.counts["kernel"] == 2
    assert dict(machine.device.transfers) == moved
    with numtrn.enabled(target="interpreter", min_work=0, strict=True):
        expected = nt.gemm(a, b)
        assert torch.equal(found.cpu(), expected)
    torch.testing.assert_close(again.cpu(), expected @ expected.mT, rtol=1e-4, atol=1e-3)
    assert machine.device.launched.count("gemm") == 2  # with the first value that is asked for, or before
