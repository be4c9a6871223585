"""Hosts with doubles of the Neuron SDK."""

import importlib
import warnings

import pytest

from tests.doubles import has_torch
from tests.doubles.fixtures import neuron_host  # noqa: F401

LAUNCHERS = ("nki", "torch", "native")


def usable(launcher):
    """What a host must have for a launcher; the stand-in where real torch is missing."""
    if launcher == "nki":
        return {}
    return {"native": launcher == "native", **({} if has_torch() else {"standin": True})}


@pytest.fixture(params=LAUNCHERS)
def launcher(request):
    return request.param


@pytest.fixture
def hardware(neuron_host, monkeypatch, launcher):  # noqa: F811
    """A healthy host whose target ``neuron`` uses one launcher; gives its device."""
    host = neuron_host(**usable(launcher))
    monkeypatch.setenv("NUMTRN_LAUNCHER", launcher)
    from numtrn import dispatch

    monkeypatch.setattr(dispatch, "_warned", set())
    return host.device


@pytest.fixture
def reset_xla():
    """Empties the graph of the double between runs."""

    def now():
        importlib.import_module("torch_xla").reset()

    return now


@pytest.fixture
def quiet():
    """Fallback warnings are not errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
