"""importable and nki.simulate: code that is not ours imports nki, and the process stays as it was."""

import sys
import types

import numpy as np
import pytest

from numtrn.interp import KernelFault, importable, modules
from numtrn.machine import CHIPS
from tests.interp.support import nl, refused

X = np.arange(6, dtype=np.float32).reshape(2, 3)
SOURCE = """
import nki
import nki.isa as nisa
import nki.language as nl
from nki.typing import tensor

@nki.jit
def double(x, factor=2.0):
    tile = nl.load(x)
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.multiply(tile, factor))
    return out

def generation():
    return nisa.get_nc_version()

@nki.jit(mode="simulation")
def chip(x):
    assert nisa.get_nc_version() == nisa.nc_version.gen2
    return double.function(x)
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    package = tmp_path / "numtrn_test_theirs"
    package.mkdir()
    (package / "__init__.py").write_text("import json\nfrom . import kernels\n")
    (package / "kernels.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return "numtrn_test_theirs"


def test_imports_calls_and_leaves_no_trace(theirs):
    before = dict(sys.modules)
    with importable(chip=CHIPS["trn1"]) as given:
        kernels = __import__(theirs).kernels
        assert kernels.nki is given["nki"]
        assert np.array_equal(kernels.double(X), 2 * X)
        assert np.array_equal(kernels.double(X, factor=3.0), 3 * X)
        assert np.array_equal(kernels.double[1](X), 2 * X)
        assert np.array_equal(kernels.chip(X), 2 * X)
    assert dict(sys.modules) == before
    with pytest.raises(KernelFault, match="not called directly"):
        kernels.double(X)


def test_a_real_nki_comes_back(monkeypatch):
    real, inner = types.ModuleType("nki"), types.ModuleType("nki.isa")
    monkeypatch.setitem(sys.modules, "nki", real)
    monkeypatch.setitem(sys.modules, "nki.isa", inner)
    with pytest.raises(ZeroDivisionError), importable():
        import nki

        assert nki is modules["nki"]
        with pytest.raises(ImportError):
            import nki.compiler
        import nki.collectives

        with pytest.raises(KernelFault, match=r"does not have nki\.collectives\.all_reduce"):
            nki.collectives.all_reduce  # noqa: B018
        raise ZeroDivisionError
    assert sys.modules["nki"] is real
    assert sys.modules["nki.isa"] is inner
    assert "nki.language" not in sys.modules


@pytest.mark.parametrize(("name", "generation"), [(None, "gen4"), ("trn2", "gen3"), ("inf2", "gen2")])
def test_simulate_takes_the_chip_of_the_environment(monkeypatch, name, generation):
    monkeypatch.delenv("NEURON_PLATFORM_TARGET_OVERRIDE", raising=False)
    if name:
        monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", name)
    nki, nisa, nl = (modules[key] for key in ("nki", "nki.isa", "nki.language"))

    def kernel(x, scale):
        assert nisa.get_nc_version() == getattr(nisa.nc_version, generation)
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.multiply(nl.load(x), scale))
        return out

    assert np.array_equal(nki.simulate(kernel)(X, scale=2.0), 2 * X)
    assert np.array_equal(nki.simulate(nki.jit(kernel))(X, 2.0), 2 * X)


def test_names_that_are_missing_are_missing_as_in_any_module():
    isa, language = (modules[f"nki.{name}"] for name in ("isa", "language"))
    for holder, name in ((isa, "quantize_mx"), (language, "conjure"), (language.tile_size, "psum_min_align")):
        assert not hasattr(holder, name)
        assert getattr(holder, name, 7) == 7
        with pytest.raises(AttributeError, match=rf"unsupported: .* does not have .*{name}"):
            getattr(holder, name)
    with importable(), pytest.raises(ImportError, match="conjure"):
        from nki.language import conjure  # noqa: F401


def test_a_missing_name_in_a_kernel_is_a_fault_with_its_line():
    def kernel(x):
        assert not hasattr(x, "conjure")
        assert getattr(x, "conjure", None) is None
        nl.conjure(x)  # refused

    refused("unsupported", "does not have nki.language.conjure", kernel=kernel, arguments=[X])
