"""TorchNeuron as a launcher: which torch-neuronx is installed, several cores, and what its double refuses."""

import importlib
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import numtrn
from numtrn import mp2, targets
from numtrn.errors import DeviceLostError, KernelError, TargetUnavailableError
from numtrn.machine import CHIPS
from numtrn.plan import ladder, tiling, words
from numtrn.targets import detect, health, launchers, neuron
from tests.doubles import has_torch
from tests.targets.conftest import usable

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((200, 150)), RNG.standard_normal((150, 180))


@pytest.fixture
def native(neuron_host, monkeypatch):
    """A host with TorchNeuron: ``native(cores=8, ...)`` gives its device."""

    def make(**how):
        return neuron_host(**usable("native"), **how).device

    return make


@pytest.fixture
def many_launches(monkeypatch):
    """Small products are many launches, and plans see no cost that would speak against many cores."""
    monkeypatch.setattr(words, "LIMITS", ((64, 128, 64),))
    monkeypatch.setattr(tiling, "GEMM_LIMIT", (64, 128, 64))
    monkeypatch.setenv("NUMTRN_SHAPES", "fine")
    free = {"launch_seconds": 0.0, "link_in_bytes_per_second": 1e18, "link_out_bytes_per_second": 1e18}
    monkeypatch.setitem(CHIPS, "trn2", replace(CHIPS["trn2"], **free))
    _forget()
    yield
    _forget()


def _forget():
    for name in ("_spread_gemm", "_spread_words", "_products", "_launch", "_karatsuba"):
        getattr(ladder, name).cache_clear()


def pair_energies():
    rng = np.random.default_rng(1)
    b, occupied = rng.standard_normal((6, 20, 40)) / 10, np.linspace(-2.0, -1.0, 6)
    found = mp2.df_energy(b, occupied, np.linspace(0.1, 2.0, 20), pairs=True)
    values = [getattr(found, name) for name in found.__dataclass_fields__]
    return np.concatenate([np.ravel(x) for x in values if isinstance(x, (float, np.ndarray))]).astype(float)


CALLS = {
    "float32": lambda: A.astype(np.float32) @ B.astype(np.float32),
    "float64": lambda: A @ B,
    "complex128": lambda: (A + 1j * A[::-1]) @ (B - 1j * B),
    "syrk": lambda: A @ A.T,
    "pairs": pair_energies,
}


def computed(call, **settings):
    with numtrn.enabled(min_work=0, strict=True, **settings) as session:
        value = np.asarray(CALLS[call]())
    assert session.counts["kernel"] >= 1
    return value.tobytes(), session


@pytest.mark.usefixtures("many_launches")
@pytest.mark.parametrize("call", CALLS)
def test_any_number_of_cores_gives_the_same_bits(native, call):
    device = native()
    expected, _ = computed(call, target="interpreter")
    programs = set()
    for cores in (1, 2, 3):
        before = len(device.cores)
        value, session = computed(call, target="neuron", cores=cores)
        assert value == expected
        used = device.cores[before:]
        assert set(used) == set(range(cores))
        launched = [
            sum(counts) for counts in zip(*(padded(one, cores) for one in session.calls), strict=True)
        ]
        assert launched == [used.count(core) for core in range(cores)]
        assert session.counters.launches == len(used)
        programs |= session.programs
    assert len(device.compiled) == len(programs), "a program is one for all cores"


def padded(call, cores):
    return (*call.core_launches, *(0,) * (cores - len(call.core_launches)))


@pytest.mark.usefixtures("many_launches")
def test_each_core_has_operands_of_its_own(native):
    device = native()
    a, b = np.ones((256, 128), np.float32), np.ones((128, 64), np.float32)
    with numtrn.enabled(target="neuron", min_work=0, strict=True, cores=2) as session:
        a @ b
    assert session.calls[0].core_launches == (2, 2)
    assert device.transfers["to"] == a.nbytes + 2 * b.nbytes


def test_a_launch_reads_tensors_of_its_own_device_only(native):
    native()
    target = targets.select("neuron", "trn2", 2)
    a = np.ones((128, 128), np.float32)
    here, there = target.place(a), target.place(a, core=1)
    assert (here.hbm, there.hbm) == (0, 1), "also where two cores share a stack of HBM"
    (found,) = target.keep("gemm", (there, there), (1, 0, 0, 0), core=1)
    assert (found.hbm, target.fetch(found)[0, 0]) == (1, 128)
    with pytest.raises(KernelError, match="on core 0 reads what is in HBM 0; got an operand in HBM 1"):
        target.launch("gemm", (here, there), (1, 0, 0, 0))
    with pytest.raises(KernelError, match="a core is a number from 0 to 1; got 2"):
        target.place(a, core=2)


@pytest.mark.usefixtures("many_launches")
@pytest.mark.parametrize("call", ["float32", "float64"])
def test_one_core_is_lost(native, call):
    device = native()
    device.fail("device_lost", core=1)
    with (
        numtrn.enabled(target="neuron", min_work=0, strict=True, cores=3) as session,
        pytest.raises(DeviceLostError, match="start the process again"),
    ):
        CALLS[call]()
    assert session.counts["failed"] == 1
    assert isinstance(health.standing("neuron"), DeviceLostError)
    tried = len(device.launched)
    with pytest.warns(numtrn.KernelFallbackWarning), numtrn.enabled(target="neuron", min_work=0, cores=3):
        value = A @ B
    np.testing.assert_allclose(value, A @ B)
    assert len(device.launched) == tried


# ---- How many cores ----


@pytest.mark.parametrize(
    ("asked", "environment", "found"),
    [
        (None, {}, 1),
        (1, {}, 1),
        (4, {}, 4),
        (99, {}, 8),
        (4, {"NEURON_RT_VISIBLE_CORES": "2-3"}, 2),
        (4, {"NEURON_RT_NUM_CORES": "3"}, 3),
    ],
)
def test_cores_are_those_asked_for_and_seen(native, monkeypatch, asked, environment, found):
    native()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    target = targets.select("neuron", "trn2", asked)
    assert target.cores == found
    assert "neuron_double" in sys.modules
    assert sys.modules["neuron_double"].device.lnc is None, "nothing is started"
    last = target.place(np.ones((4, 4), np.float32), core=found - 1)
    assert last.value.device.index == found - 1


def test_cores_that_pytorch_does_not_give_are_named(native, monkeypatch):
    native(cores=2)
    monkeypatch.setattr(detect, "visible_cores", lambda: None)  # a driver that does not say
    target = targets.select("neuron", "trn2", 4)
    assert target.cores == 4
    with pytest.raises(TargetUnavailableError, match="TorchNeuron gives this process 2; ask for no more"):
        target.place(np.ones((4, 4), np.float32), core=2)


@pytest.mark.parametrize("launcher", ["nki", "torch"])
def test_other_launchers_have_one(neuron_host, monkeypatch, launcher):
    neuron_host(**usable(launcher))
    monkeypatch.setenv("NUMTRN_LAUNCHER", launcher)
    assert targets.select("neuron", "trn2", 4).cores == 1


def test_the_callers_current_device_is_as_it_was(native, monkeypatch):
    native()
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "1")  # whoever starts the runtime says it
    torch = importlib.import_module("torch")
    importlib.import_module("torch_neuronx")
    target = targets.select("neuron", "trn2", 3)
    a = np.ones((128, 128), np.float32)
    torch.accelerator.set_device_index(2)
    try:
        for core in (0, 2):
            target.launch("gemm", (a, a), (1, 0, 0, 0), core)
            assert torch.accelerator.current_device_index() == 2
        with pytest.raises(KernelError):
            target.launch("gemm", (a, a[:1]), (1, 0, 0, 0), 1)
        assert torch.accelerator.current_device_index() == 2
    finally:
        torch.accelerator.set_device_index(0)


# ---- Which torch-neuronx ----


def test_it_is_preferred_where_it_is_installed(native, monkeypatch):
    native()
    assert (neuron.chosen(), launchers.problem("native")) == ("native", "")
    assert "torch-neuronx is TorchNeuron, without torch_xla" in launchers.problem("torch")
    monkeypatch.setenv("NUMTRN_LAUNCHER", "torch")
    with pytest.raises(TargetUnavailableError, match="NUMTRN_LAUNCHER=native launches with it"):
        targets.select("neuron", "trn2")


def test_that_of_torch_xla_is_told_apart(neuron_host):
    neuron_host(**usable("torch"))
    assert neuron.chosen() == "torch"
    assert not detect.is_native()
    assert "is the one of torch_xla, and not TorchNeuron, which is a closed beta" in launchers.problem(
        "native"
    )


@pytest.mark.parametrize("version", ["0.1.0", "1.0.0", "2.11.0"])
def test_the_betas_own_versions_are_no_placeholders(native, version):
    native(versions={"torch-neuronx": version})
    assert detect.package("torch-neuronx").problem == ""


def test_it_needs_pytorch_2_10(native):
    native(versions={"torch": "2.9.1"})
    assert neuron.chosen() == "nki"
    assert launchers.problem("native") == "TorchNeuron is for torch>=2.10; torch 2.9.1 is installed"


# ---- The double ----


@pytest.fixture
def tensors(native, monkeypatch):
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "1")
    native()
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "1")
    return importlib.import_module("torch"), importlib.import_module("torch_neuronx")


def gemm(*tensors):
    return launchers.jitted("gemm")(*tensors, 1, 0, 0, 0)


def ones(torch):
    return torch.from_numpy(np.ones((128, 128), np.float32))


def test_what_the_double_refuses(tensors):
    torch, torch_neuronx = tensors
    x, y = ones(torch).to(torch.device("neuron", 0)), ones(torch).to("neuron:1")
    for given, text in (
        ((x, y), "on the same device"),
        ((x, ones(torch)), "one on cpu"),
        ((y, y), "the current device is neuron:0"),
    ):
        with pytest.raises(RuntimeError, match=text):
            gemm(*given)
    with pytest.raises(RuntimeError, match="invalid device ordinal 9"):
        ones(torch).to("neuron:9")
    with pytest.raises(RuntimeError, match="no document shows a copy"):
        x.to(torch.device("neuron", 1))
    with pytest.raises(RuntimeError, match="float64 does not cross"):
        torch.from_numpy(np.ones(3)).to("neuron:0")
    with pytest.raises(TypeError, match="cpu"):
        x.numpy()
    torch_neuronx.set_device(1)
    try:
        assert gemm(y, y).cpu().numpy()[0, 0] == 128
    finally:
        torch_neuronx.set_device(0)


def test_two_threads_may_not_launch_at_once(tensors, monkeypatch):
    torch, torch_neuronx = tensors
    x = ones(torch).to("neuron:0")
    genuine, inside, refused = torch_neuronx.double.compute, threading.Event(), threading.Event()

    def slow(*args):
        inside.set()
        refused.wait(10)
        return genuine(*args)

    monkeypatch.setattr(torch_neuronx.double, "compute", slow)
    thread = threading.Thread(target=gemm, args=(x, x))
    thread.start()
    inside.wait(10)
    try:
        with pytest.raises(RuntimeError, match="two threads launch kernels at once"):
            gemm(x, x)
    finally:
        refused.set()
        thread.join()


@pytest.mark.skipif(not has_torch(), reason="torch is not installed")
def test_a_kernel_as_an_operator_by_nki_op(tensors):
    torch, torch_neuronx = tensors

    def product(a, b):
        return gemm(a, b)

    with pytest.raises(RuntimeError, match="explicit types"):
        torch_neuronx.nki_op("numtrn_tests::product", product, mutates_args={})
    with pytest.raises(RuntimeError, match="namespace::name"):
        torch_neuronx.nki_op("product", product, mutates_args={})
    product.__annotations__ = {"a": torch.Tensor, "b": torch.Tensor, "return": torch.Tensor}
    with pytest.raises(RuntimeError, match="which arguments the operator writes to"):
        torch_neuronx.nki_op("numtrn_tests::product", product)
    operator = torch_neuronx.nki_op("numtrn_tests::product", product, mutates_args={})
    x = ones(torch).to("neuron:0")
    assert operator(x, x).device == torch.device("neuron", 0)
    assert torch.equal(torch.ops.numtrn_tests.product(x, x).cpu(), gemm(x, x).cpu())


@pytest.mark.skipif(not has_torch(), reason="torch is not installed")
def test_numtrns_own_operators_take_its_tensors(native, monkeypatch):
    host = native()
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "1")
    torch = importlib.import_module("torch")
    importlib.import_module("torch_neuronx")
    from numtrn.torch import device

    left, right = (torch.from_numpy(x.astype(np.float32)).to("neuron:0") for x in (A, B))
    moved = dict(host.transfers)
    with numtrn.enabled(target="neuron", min_work=0, strict=True) as session:
        found = device.gemm(left, right)
    assert session.counts["kernel"] == 1
    assert dict(host.transfers) == moved
    np.testing.assert_allclose(found.cpu().numpy(), A @ B, rtol=1e-4, atol=1e-3)
    assert host.launched == ["gemm"]
