"""What goes wrong on a device, injected: the exception, NumPy's result, and what is not tried again."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg.blas as blas

import numtrn
from numtrn import errors
from numtrn.targets import failures, health

RNG = np.random.default_rng(1)
A, B = RNG.standard_normal((90, 70)), RNG.standard_normal((70, 80))

CAUSES = {
    "compile_error": (errors.KernelCompileError, "NCC_EOOM001", "is not compiled again"),
    "version_mismatch": (errors.VersionMismatchError, "NCC_EVRF065", "one release of the SDK"),
    "neff_version": (errors.VersionMismatchError, "NEFF version mismatch", "one release of the SDK"),
    "out_of_bounds": (errors.OutOfBoundsError, "NRT_EXEC_OOB", "report it with the shapes"),
    "resource_exhausted": (errors.ResourceExhaustedError, "NRT_RESOURCE", "keep fewer arrays"),
    "device_lost": (errors.DeviceLostError, "NRT_EXEC_HW_ERR_NC_UE", "start the process again"),
    "timeout": (errors.KernelTimeoutError, "NRT_TIMEOUT", "NEURON_RT_EXEC_TIMEOUT"),
}
FINAL = ("version_mismatch", "neff_version", "device_lost", "timeout")


@pytest.mark.parametrize("kind", CAUSES)
def test_strict_raises_the_cause_with_advice(hardware, kind):
    hardware.fail(kind)
    error, said, advice = CAUSES[kind]
    c = np.zeros((90, 80))
    with (
        numtrn.enabled(target="neuron", min_work=0, strict=True) as session,
        pytest.raises(error, match=said) as caught,
    ):
        np.matmul(A, B, out=c)
    assert isinstance(caught.value, numtrn.KernelError)
    assert advice in str(caught.value)
    assert caught.value.__cause__ is not None
    assert not c.any()
    assert session.counts["failed"] == 1


@pytest.mark.parametrize("kind", CAUSES)
@pytest.mark.parametrize("at", [1, 2])
def test_otherwise_numpy_computes_with_one_warning(hardware, kind, at):
    hardware.fail(kind, at=at)
    c = np.asfortranarray(np.ones((90, 80)))
    with (
        numtrn.enabled(target="neuron", min_work=0) as session,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        first, second = A @ B, A @ B
        blas.dgemm(1.0, A, B, beta=1.0, c=c, overwrite_c=1)
    for got, expected in ((first, A @ B), (second, A @ B), (c, A @ B + 1)):
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-12)
    mine = [one for one in caught if issubclass(one.category, numtrn.KernelFallbackWarning)]
    assert len({str(one.message).partition(": ")[2] for one in mine}) == len(mine)
    assert mine
    assert all(one.filename == __file__ for one in mine)
    assert session.counts["kernel"] == 0
    assert session.counts["numpy"] == 3


@pytest.mark.parametrize("kind", FINAL)
def test_a_target_that_failed_for_good_is_not_tried_again(hardware, kind, quiet):
    hardware.fail(kind, times=1)
    with numtrn.enabled(target="neuron", min_work=0) as session:
        A @ B
        tried = len(hardware.launched), len(hardware.compiled)
        A @ B
        A @ B
    assert (len(hardware.launched), len(hardware.compiled)) == tried
    assert [call.failed for call in session.calls] == [True, False, False]
    assert "not tried again in this process" in session.calls[1].reason
    assert isinstance(health.standing("neuron"), CAUSES[kind][0])
    with (
        pytest.warns(numtrn.KernelFallbackWarning, match=r"not tried again.*NumPy computes") as caught,
        numtrn.enabled(target="neuron", min_work=0) as later,
    ):
        product = A @ B
    assert caught[0].filename == __file__
    np.testing.assert_allclose(product, A @ B)
    assert later.target == "neuron"  # and not the interpreter, whose time nobody asked for
    assert later.counts["numpy"] == 1
    with pytest.raises(CAUSES[kind][0], match="not tried again"):
        numtrn.enabled(target="neuron", strict=True).__enter__()
    assert (len(hardware.launched), len(hardware.compiled)) == tried


def test_strict_refuses_later_calls_of_the_block(hardware):
    hardware.fail("device_lost", times=1)
    with numtrn.enabled(target="neuron", min_work=0, strict=True) as session:
        for _ in range(2):
            with pytest.raises(errors.DeviceLostError):
                A @ B
    assert len(hardware.launched) == 1
    assert session.counts["failed"] == 2


def test_a_program_that_does_not_compile_is_not_tried_again_and_others_are(hardware, quiet):
    hardware.fail("compile_error", kernel="gemm")
    single = A.astype(np.float32)
    with numtrn.enabled(target="neuron", min_work=0) as session:
        single @ single.T.copy()
        compiled = len(hardware.compiled)
        single @ single.T.copy()
        assert len(hardware.compiled) == compiled
        A @ B
    assert [call.route for call in session.calls] == ["numpy", "numpy", "kernel"]
    assert "not tried again in this process" in session.calls[1].reason


def test_out_of_bounds_spoils_nothing_else(hardware, quiet):
    hardware.fail("out_of_bounds", times=1)
    with numtrn.enabled(target="neuron", min_work=0) as session:
        A @ B
        A @ B
    assert [call.route for call in session.calls] == ["numpy", "kernel"]


def test_kept_operands_are_dropped_for_room_and_the_launch_is_tried_once_more(hardware, launcher):
    if launcher == "nki":
        hardware.fail("resource_exhausted", at=3, times=1)
    given = RNG.standard_normal((2, 256, 256))
    expected = given[1] @ given[1]
    a, b = (numtrn.asarray(one, copy=True) for one in given)
    with numtrn.enabled(target="neuron", min_work=0, strict=True) as session:
        a @ a
        if launcher != "nki":
            hardware.capacity = hardware.peak + 1000
        got = np.asarray(b @ b)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-11)
    reasons = [call.reason for call in session.calls if "dropped for room" in call.reason]
    assert len(reasons) == 1
    assert session.counts["failed"] == 0


def test_a_result_lost_on_the_device_says_so(hardware, launcher):
    a, b = (numtrn.asarray(RNG.standard_normal((64, 64)).astype(np.float32), copy=True) for _ in range(2))
    with numtrn.enabled(target="neuron", min_work=0, strict=True):
        if launcher == "nki":
            hardware.fail("device_lost")
            with pytest.raises(errors.DeviceLostError):
                a @ b
            return
        hardware.fail("device_lost", times=1)
        held = a @ b
        with pytest.raises(errors.DeviceLostError, match="start the process again"):
            np.asarray(held)
    assert isinstance(health.standing("neuron"), errors.DeviceLostError)


# ---- The table ----

SAID = {
    "NRT Error NRT_EXEC_OOB(1006): Failed to execute model": errors.OutOfBoundsError,
    'nrt_tensor_allocate status=4 message="Allocation Failure"': errors.ResourceExhaustedError,
    "nrt_execute: status=1202": errors.DeviceLostError,
    "Inference completed with err: 1006. mode->h_nn=1001": errors.OutOfBoundsError,
    "NRT:nrt_infodump Failure: NRT_RESOURCE in nrt_load()": errors.ResourceExhaustedError,
    "NRT:nrt_infodump Failure: NRT_EXEC_SW_NQ_OVERFLOW in nrt_execute()": errors.KernelTimeoutError,
    "NeuronCore(s) not available - Requested:nc1-nc1 Available:0": errors.DeviceLostError,
    "This runtime requires Neuron Driver version 2.0 or greater.": errors.VersionMismatchError,
    "[Errno 2] No such file or directory: 'libneuronpjrt-path'": errors.VersionMismatchError,
    "[MLA 0][NC 0] DMA TX engine 0 is in an abort state": errors.DeviceLostError,
    "INTERNAL: neuronx-cc compilation failed.": errors.KernelCompileError,
    "NRT Error NRT_FAILURE(1): no more is said": None,
    "something else": None,
}


@pytest.mark.parametrize("message", SAID)
def test_documented_words_tell_the_cause(message):
    found = failures.diagnose(message)
    assert (found.error if found else None) is SAID[message]


def test_the_codes_are_those_of_the_runtime():
    text = Path(os.environ.get("NEURON_SDK_CHECKOUT", ""), "neuron-runtime/api/nrt_status.rst")
    if not text.exists():
        pytest.skip("NEURON_SDK_CHECKOUT names no checkout of aws-neuron/aws-neuron-sdk")
    documented = {
        int(code): name for name, code in re.findall(r"^\s+(NRT_\w+) = (\d+),", text.read_text(), re.M)
    }
    assert {code: name for code, name in documented.items() if code} == failures.STATUS


def test_what_is_unknown_is_a_kernel_error_all_the_same(hardware, monkeypatch):
    from numtrn.targets import launchers

    def broken(self, kernel, values, parameters, core):
        raise RuntimeError("something else")

    for one in launchers.LAUNCHERS.values():
        monkeypatch.setattr(one, "run", broken)
    with (
        numtrn.enabled(target="neuron", min_work=0, strict=True),
        pytest.raises(numtrn.KernelError, match="something else") as caught,
    ):
        A @ B
    assert type(caught.value) is numtrn.KernelError
    assert health.standing("neuron") is None


def test_what_is_unknown_is_tried_three_times_and_no_more(hardware, monkeypatch, quiet):
    from numtrn.targets import launchers

    tried = []

    def broken(self, kernel, values, parameters, core):
        tried.append(kernel)
        raise RuntimeError("something else")

    for one in launchers.LAUNCHERS.values():
        monkeypatch.setattr(one, "run", broken)
    with numtrn.enabled(target="neuron", min_work=0) as session:
        for _ in range(5):
            np.testing.assert_allclose(A @ B, np.dot(A, B))
    assert len(tried) == health.TRIES
    assert session.counts["failed"] >= 5
