"""The targets ``neuron`` and ``simulator`` against doubles of the documented contract (tests/doubles)."""

import os
import subprocess
import sys
import threading
import warnings

import ml_dtypes
import numpy as np
import pytest

import numtrn
from numtrn import targets
from numtrn.machine import CHIPS
from numtrn.targets import detect, health, launchers, neuron, tensors, versions
from numtrn.targets.interpreter import Interpreter
from tests.doubles import VERSIONS, has_torch

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((90, 70)), RNG.standard_normal((70, 80))


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


def computed(target, call=lambda: A @ B, **settings):
    with numtrn.enabled(target=target, min_work=0, strict=True, **settings) as session:
        value = np.asarray(call())
    return value, session


CALLS = {
    "float64": lambda: A @ B,
    "complex128": lambda: (A + 1j * A[::-1]) @ (B - 1j * B),
    "float32": lambda: A.astype(np.float32) @ B.astype(np.float32),
    "syrk": lambda: A @ A.T,
    "einsum": lambda: np.einsum("ij,jk,kl->il", A, B, B.T.copy()),
    "resident": lambda: resident(),
}


def resident():
    a = numtrn.asarray(A.astype(np.float32))
    c = a @ a.T
    return c @ a


@pytest.mark.parametrize("call", CALLS)
def test_results_are_those_of_the_interpreter_bit_by_bit(hardware, call):
    expected, reference = computed("interpreter", CALLS[call])
    got, session = computed("neuron", CALLS[call])
    assert np.array_equal(bits(got), bits(expected))
    assert [one.route for one in session.calls] == [one.route for one in reference.calls]
    assert session.counts["kernel"] >= 1
    launches = sum(one.launches for one in session.calls)
    assert len(hardware.launched) == launches == session.counters.launches
    assert len(hardware.compiled) == session.counters.programs


def test_verify_holds_and_the_session_shows_what_the_target_counted(hardware, launcher):
    _, session = computed("neuron", verify=True)
    assert (session.target, session.chip) == ("neuron", "trn2")
    assert session.counters.launches == len(hardware.launched) > 0
    assert session.counters.device_seconds == pytest.approx(250e-6 * len(hardware.launched))
    assert f"the target itself counted {session.counters.launches} launches" in str(session)
    assert "s on the device" in str(session)
    if launcher != "nki":  # planes stay, and cross once
        assert session.counters.placed == hardware.transfers["to"]
        assert session.counters.fetched == hardware.transfers["from"]
        assert session.counters.placed + session.counters.fetched == session.calls[0].bytes


def test_the_chip_is_the_devices_own(neuron_host, monkeypatch):
    monkeypatch.setenv("NUMTRN_LAUNCHER", "nki")
    neuron_host(chip="trn1", torch=False)
    monkeypatch.setenv("NUMTRN_LAUNCHER", "nki")
    _, session = computed("auto")
    assert (session.target, session.chip) == ("neuron", "trn1")


def test_results_stay_on_the_device_where_the_launcher_can(hardware, launcher):
    target = targets.select("neuron", "trn2")
    x = np.arange(128 * 512, dtype=np.float32).reshape(128, 512)
    placed = target.place(x)
    first = target.keep("probe_casts", (placed,), (0,))
    before = target.counters
    target.keep("probe_casts", (placed,), (0,))
    moved = target.counters.since(before).placed
    assert moved == (x.nbytes if launcher == "nki" else 0)
    assert np.array_equal(
        target.fetch(first[0]), Interpreter(CHIPS["trn2"]).launch("probe_casts", (x,), (0,))
    )


def probe_casts_of_a_read_only_view(target):
    """What a placed array comes to after its owner has written to it, and what it came to before."""
    x = np.arange(128 * 512, dtype=np.float32).reshape(128, 512)
    view = x[:]
    view.flags.writeable = False
    (expected,) = target.keep("probe_casts", (x.copy(),), (0,))
    placed = target.place(view)
    x[:] = 7
    (got,) = target.keep("probe_casts", (placed,), (0,))
    return target.fetch(got), target.fetch(expected)


def test_what_is_placed_is_not_the_callers_memory(hardware):
    got, expected = probe_casts_of_a_read_only_view(targets.select("neuron", "trn2"))
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("how", ["interpreter", "simulator nki", "simulator torch"])
def test_what_is_placed_on_this_host_is_not_the_callers_memory(neuron_host, monkeypatch, how):
    name, _, by = how.partition(" ")
    if by:
        neuron_host(standin=by == "torch" and not has_torch())
        monkeypatch.setenv("NUMTRN_LAUNCHER", by)
    got, expected = probe_casts_of_a_read_only_view(targets.select(name, "trn2"))
    assert np.array_equal(got, expected)


def test_programs_are_counted_once_and_found_on_disk_by_the_next_process(hardware):
    computed("neuron")
    first = list(hardware.compiled)
    computed("neuron")
    assert hardware.compiled == first
    import neuron_double

    neuron_double.reset()
    computed("neuron")
    assert hardware.compiled == []


def test_what_the_caller_does_to_an_operand_after_a_launch_does_not_matter(hardware):
    target = targets.select("neuron", "trn2")
    x = np.ones((128, 512), np.float32)
    (made,) = target.keep("probe_casts", (x,), (0,))
    expected = Interpreter(CHIPS["trn2"]).launch("probe_casts", (np.ones_like(x),), (0,))
    x[:] = 7
    assert np.array_equal(target.fetch(made), expected)


def test_the_environment_of_the_simulator_is_as_it_was(neuron_host, monkeypatch):
    host = neuron_host(nki="0.3.0")
    monkeypatch.setenv("NKI_PRECISE_FP", "0")
    expected, _ = computed("interpreter", chip="trn1")
    got, session = computed("simulator", chip="trn1")
    assert np.array_equal(bits(got), bits(expected))
    assert {(precise, chip) for _, precise, chip in host.device.simulated} == {("1", "trn1")}
    assert os.environ["NKI_PRECISE_FP"] == "0"
    assert "NEURON_PLATFORM_TARGET_OVERRIDE" not in os.environ
    assert session.counters.launches == len(host.device.simulated)
    assert host.device.launched == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", ["nki", "torch"])
def test_the_simulator_takes_tensors_since_0_4(neuron_host, monkeypatch, version, how):
    neuron_host(nki=version, standin=None if has_torch() else True)
    monkeypatch.setenv("NUMTRN_LAUNCHER", how)
    if how == "torch" and version == "0.3.0":
        with pytest.raises(numtrn.TargetUnavailableError, match=r"since 0\.4\.0; nki 0\.3\.0 is installed"):
            targets.select("simulator", "trn2")
        return
    expected, _ = computed("interpreter")
    got, _ = computed("simulator")
    assert np.array_equal(bits(got), bits(expected))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_computes_the_same_on_hardware(neuron_host, monkeypatch, version):
    host = neuron_host(nki=version, torch=False)
    expected, _ = computed("interpreter")
    got, session = computed("neuron")
    assert np.array_equal(bits(got), bits(expected))
    assert len(host.device.launched) == session.counters.launches


# ---- Tensors ----


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int32", "float16", "float32", ml_dtypes.bfloat16]
)
def test_every_dtype_of_a_kernel_crosses_bit_by_bit(neuron_host, dtype):
    neuron_host(standin=None if has_torch() else True)
    array = np.frombuffer(RNG.bytes(256), dtype).reshape(4, -1)
    assert not array.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = tensors.from_tensor(tensors.to_tensor(array))
    assert back.dtype == array.dtype
    assert np.array_equal(bits(back), bits(array))


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint64", "complex64", "complex128"])
def test_what_kernels_do_not_have_never_crosses(neuron_host, dtype):
    neuron_host(standin=None if has_torch() else True)
    with pytest.raises(TypeError, match=r"at most 32 bits; got .*Cut them"):
        tensors.to_tensor(np.zeros(3, dtype))


# ---- Choosing ----


def test_the_preferred_launcher_is_the_usable_one(neuron_host, monkeypatch):
    neuron_host(torch=False)
    assert neuron.chosen() == "nki"


def test_torch_is_preferred(neuron_host):
    neuron_host(standin=None if has_torch() else True)
    assert neuron.chosen() == "torch"


def test_an_unknown_launcher_is_refused(monkeypatch):
    monkeypatch.setenv("NUMTRN_LAUNCHER", "jax")
    with pytest.raises(
        ValueError, match=r"NUMTRN_LAUNCHER= takes one of 'native', 'torch', 'nki'; got 'jax'"
    ):
        targets.select("neuron", "trn2")


UNUSABLE = {
    "three cores": ({"NEURON_LOGICAL_NC_CONFIG": "3"}, "NEURON_LOGICAL_NC_CONFIG takes 1 or 2; got '3'"),
    "the simulator": ({"NKI_SIMULATOR": "1"}, "sends every kernel to the simulator on this host; unset it"),
    "another device": ({"PJRT_DEVICE": "CPU"}, "PJRT_DEVICE=CPU makes torch_xla use another device"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_environment_that_would_mislead_is_refused(neuron_host, monkeypatch, what):
    neuron_host(standin=None if has_torch() else True)
    monkeypatch.setenv("NUMTRN_LAUNCHER", "torch")
    settings, text = UNUSABLE[what]
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(numtrn.TargetUnavailableError, match=text):
        targets.select("neuron", "trn2")


def test_a_path_without_libneuronpjrt_path_is_a_trap_that_is_named(neuron_host, monkeypatch):
    neuron_host(programs=(), standin=None if has_torch() else True)
    assert neuron.chosen() == "nki"
    monkeypatch.setenv("NUMTRN_LAUNCHER", "torch")
    with pytest.raises(numtrn.TargetUnavailableError, match=r"libneuronpjrt-path is not on PATH.*activate"):
        targets.select("neuron", "trn2")


def test_looking_imports_nothing(neuron_host):
    host = neuron_host(standin=None if has_torch() else True)
    program = (
        "import sys; from numtrn.targets import detect, availability; detect.machine(); availability();"
        "found = ('nki', 'torch', 'torch_xla', 'neuron_double');"
        "print([n for n in sys.modules if n.partition('.')[0] in found])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=host.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# ---- Detection ----


def test_the_record_of_a_machine(neuron_host, monkeypatch):
    neuron_host(devices=2, cores=8)
    found = detect.machine()
    assert [device.chip for device in found.devices] == ["trn2", "trn2"]
    assert (found.lnc, found.cores, found.driver) == (2, 8, "2.26.5.0")
    assert found.packages["nki"].version == "0.6.0"
    assert found.programs["neuron-top"] is None
    assert found.programs["neuron-ls"].endswith("bin/neuron-ls")
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "1")
    assert detect.machine().cores == 16
    monkeypatch.setenv("NEURON_RT_NUM_CORES", "3")
    assert detect.machine().cores == 3
    for text, count in (("0", 1), ("4-7", 4), ("3-5,6", 4), ("x", None)):
        monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", text)
        assert detect.machine().cores == count
    assert detect.machine().environment["NEURON_RT_NUM_CORES"] == "3"


def test_placeholders_are_told_apart(neuron_host):
    neuron_host(
        nki=None, torch=False, versions={"nki": "0.0.1", "torch-neuronx": "1.0.0", "neuronx-cc": "1.0.0"}
    )
    found = detect.machine().packages
    for name in ("nki", "torch-neuronx", "neuronx-cc"):
        assert "is the empty placeholder from PyPI" in found[name].problem


def test_versions_have_the_facts_of_their_release():
    assert [entry.nki for entry in versions.VERSIONS] == ["0.3.0", "0.4.0", "0.5.0", "0.6.0"]
    assert versions.of("0.5.2+g1").nki == "0.5.0"
    assert versions.of("0.9").nki == "0.6.0"
    with pytest.raises(ValueError, match=r"need nki>=0\.3\.0; got 0\.2\.9"):
        versions.of("0.2.9")


def test_two_threads_share_a_device(hardware):
    expected, _ = computed("interpreter")
    found = []

    def run():
        found.append(computed("neuron")[0])

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert all(np.array_equal(bits(one), bits(expected)) for one in found)


def test_nothing_is_left_for_the_next_test():
    assert health.standing("neuron") is None
    assert launchers.jitted.cache_info().currsize == 0
