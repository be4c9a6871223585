"""The doubles themselves: they refuse what the documentation refuses, and count as its caches do."""

import importlib
import json
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

from tests.doubles import VERSIONS, has_torch
from tests.doubles.fixtures import neuron_host  # noqa: F401

KERNEL = """
import nki
import nki.isa as nisa
import nki.language as nl

FACTOR = 2.0

@nki.jit
def doubled(x, times=1):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=FACTOR * times)
    nisa.dma_copy(dst=out, src=tile)
    return out

@nki.jit
def private(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.hbm)
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    nisa.dma_copy(dst=out, src=tile)
    return out

def enclosed(factor):
    @nki.jit
    def inner(x):
        return factor
    return inner
"""

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def kernels(tmp_path):
    (tmp_path / "site" / "some_kernels.py").write_text(KERNEL)
    sys.modules.pop("some_kernels", None)
    return importlib.import_module("some_kernels")


@pytest.fixture
def one_core(monkeypatch, neuron_host):  # noqa: F811
    def make(**how):
        host = neuron_host(**how)
        monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "1")
        monkeypatch.setenv("NEURON_CC_FLAGS", "--lnc=1")
        return host

    return make


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kernel_computes_and_programs_are_counted_by_shape_dtype_and_values(one_core, tmp_path, version):
    host = one_core(nki=version)
    assert metadata.version("nki") == version
    doubled = kernels(tmp_path).doubled
    assert np.array_equal(doubled(X), 2 * X)
    doubled(X + 1)
    assert (len(host.device.compiled), host.device.launched) == (1, ["doubled"] * 2)
    doubled(X, 2)
    doubled(X[:2])
    doubled(X.astype(np.float16))
    assert len(host.device.compiled) == 4
    import neuron_double

    again = neuron_double.reset()  # as in a new process: everything is on disk
    doubled(X)
    assert (again.compiled, again.launched) == ([], ["doubled"])


REFUSED = {
    "a list": (lambda k: k.doubled(X, [1]), "lists"),
    "float64": (lambda k: k.doubled(X.astype(float)), "no float64"),
    "int64": (lambda k: k.doubled(X.astype(int)), "no int64"),
    "gaps": (lambda k: k.doubled(X[:, ::2]), "non-contiguous"),
    "the transpose": (lambda k: k.doubled(X.T), "non-contiguous"),
    "nothing": (lambda k: k.doubled(), "without arguments"),
    "two cores on one": (lambda k: k.doubled[2](X), "NEURON_LOGICAL_NC_CONFIG=1"),
    "eight cores": (lambda k: k.doubled[8](X), "1 or 2"),
    "private outputs": (lambda k: k.private(X), "shared_hbm"),
    "a closure": (lambda k: k.enclosed(3)(X), "closure"),
    "no tensor": (lambda k: k.doubled(3), "no argument is a tensor"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_documentation_refuses(one_core, tmp_path, what):
    one_core()
    call, text = REFUSED[what]
    with pytest.raises(RuntimeError, match=text):
        call(kernels(tmp_path))


def test_one_core_on_two_is_refused_which_is_the_default_of_trn2(neuron_host, tmp_path):  # noqa: F811
    neuron_host()
    with pytest.raises(RuntimeError, match="NEURON_LOGICAL_NC_CONFIG=2"):
        kernels(tmp_path).doubled(X)


def test_a_global_that_changes_is_refused(one_core, tmp_path):
    one_core()
    found = kernels(tmp_path)
    found.doubled(X)
    found.FACTOR = 3.0
    with pytest.raises(RuntimeError, match="changed between calls"):
        found.doubled(X)


FAILURES = {
    "compile_error": "NCC_EOOM001",
    "version_mismatch": "NCC_EVRF065",
    "out_of_bounds": r"NRT_EXEC_OOB\(1006\)",
    "resource_exhausted": r"NRT_RESOURCE\(4\)",
    "device_lost": r"NRT_EXEC_HW_ERR_NC_UE\(1202\)",
    "timeout": r"NRT_TIMEOUT\(5\)",
    "neff_version": r"NRT_UNSUPPORTED_NEFF_VERSION\(10\)",
}


@pytest.mark.parametrize("kind", FAILURES)
def test_failures_on_demand(one_core, tmp_path, kind):
    host = one_core()
    doubled = kernels(tmp_path).doubled
    host.device.fail(kind, at=1, times=1)
    with pytest.raises(RuntimeError, match=FAILURES[kind]):
        doubled(X)
    if kind in ("device_lost", "timeout"):
        with pytest.raises(RuntimeError, match=r"NRT_EXEC_UNIT_UNRECOVERABLE\(101\)"):
            doubled(X)
    elif kind in ("compile_error", "version_mismatch"):
        with pytest.raises(RuntimeError, match=FAILURES[kind]):  # remembered, as on disk
            doubled(X)
        assert len(host.device.compiled) == 1
    else:
        doubled(X)


def test_the_simulator_by_version(one_core, tmp_path, monkeypatch):
    host = one_core(nki="0.3.0")
    nki = importlib.import_module("nki")
    doubled = kernels(tmp_path).doubled
    with pytest.raises(RuntimeError, match="NKI_PRECISE_FP"):
        nki.simulate(doubled)(X)
    monkeypatch.setenv("NKI_PRECISE_FP", "1")
    assert np.array_equal(nki.simulate(doubled)(X), 2 * X)
    assert host.device.simulated == [("doubled", "1", "trn3")]
    assert host.device.launched == []


@pytest.fixture(params=["real", "stand-in"])
def xla(request, one_core):
    if request.param == "real" and not has_torch():
        pytest.skip("torch is not installed")
    if request.param == "stand-in" and "torch" in sys.modules and hasattr(sys.modules["torch"], "jit"):
        pytest.skip("real torch is loaded already")
    host = one_core(standin=request.param == "stand-in")
    return host, importlib.import_module("torch"), importlib.import_module("torch_xla")


def test_device_tensors_are_lazy_and_a_program_is_what_lies_between_syncs(xla, tmp_path):
    host, torch, torch_xla = xla
    doubled = kernels(tmp_path).doubled
    x = torch.from_numpy(X.copy()).to(torch_xla.device())
    y = doubled(x)
    assert host.device.launched == []
    with pytest.raises(TypeError, match="cpu"):
        y.numpy()
    torch_xla.sync()
    assert (host.device.launched, len(host.device.compiled)) == (["doubled"], 1)
    assert np.array_equal(y.cpu().numpy(), 2 * X)
    z = doubled(doubled(x))
    assert np.array_equal(z.cpu().numpy(), 4 * X)
    assert len(host.device.compiled) == 2  # both together are another program
    assert host.device.transfers == {"to": X.nbytes, "from": 2 * X.nbytes}


def test_what_device_tensors_refuse(xla, tmp_path):
    _, torch, torch_xla = xla
    doubled = kernels(tmp_path).doubled
    host_tensor = torch.from_numpy(X.copy())
    with pytest.raises(RuntimeError, match="on cpu"):
        doubled(host_tensor)
    with pytest.raises(RuntimeError, match="one framework"):
        doubled(host_tensor.to(torch_xla.device()), X)
    with pytest.raises(RuntimeError, match="float64 does not cross"):
        torch.from_numpy(X.astype(float)).to(torch_xla.device())
    own = X.copy()
    sent = torch.from_numpy(own).to(torch_xla.device())
    made = doubled(sent)
    own[0] = 7
    with pytest.raises(RuntimeError, match="host memory changed"):
        made.cpu()


def test_a_failed_execution_shows_when_the_value_is_asked_for(xla, tmp_path):
    host, torch, torch_xla = xla
    host.device.fail("out_of_bounds")
    y = kernels(tmp_path).doubled(torch.from_numpy(X.copy()).to(torch_xla.device()))
    torch_xla.sync()
    with pytest.raises(RuntimeError, match="NRT_EXEC_OOB"):
        y.cpu()


def test_device_memory_ends(xla):
    host, torch, torch_xla = xla
    host.device.capacity = 100
    kept = [torch.from_numpy(X.copy()).to(torch_xla.device()) for _ in range(2)]
    with pytest.raises(RuntimeError, match="status=4"):
        torch.from_numpy(X.copy()).to(torch_xla.device())
    kept.clear()
    torch.from_numpy(X.copy()).to(torch_xla.device())


def test_another_process_finds_packages_counts_and_cache(one_core, tmp_path):
    host = one_core()
    kernels(tmp_path)
    log = tmp_path / "log"
    program = (
        "import importlib.metadata as m, numpy as np, some_kernels; print(m.version('nki'));"
        "some_kernels.doubled(np.ones((3, 4), np.float32))"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=host.environment(NEURON_DOUBLE_LOG=str(log)),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "0.6.0\n"
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["compile", "launch", "launch"]
