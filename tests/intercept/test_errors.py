"""Errors reach the user, our own never do, and a declined call is computed once and timed."""

import signal
import threading
import time
import traceback
import warnings

import numpy as np
import pytest
import scipy.linalg.blas as sb

from numtrn.errors import KernelError, KernelFallbackWarning
from numtrn.intercept import blas, gate

a = np.random.default_rng(4).standard_normal((12, 12))
CALLS = {
    "matmul": lambda: a @ a,
    "matmul out=": lambda: np.matmul(a, a, out=np.empty_like(a)),
    "matmul, several loops": lambda: np.ones((3, 1, 5, 6)) @ np.ones((1, 4, 6, 7)),
    "dot": lambda: np.dot(a, a),
    "a.dot, syrk": lambda: a.dot(a.T),
    "dot out=": lambda: np.dot(a, a, out=np.empty_like(a)),
    "inner": lambda: np.inner(a, a),
    "tensordot": lambda: np.tensordot(a, a, 1),
    "dgemm": lambda: sb.dgemm(1.0, a, a),
    "dsyrk": lambda: sb.dsyrk(1.0, a),
    "dtrsm": lambda: sb.dtrsm(1.0, a, a),
    "einsum": lambda: np.einsum("ij,jk", a, a),
    "einsum out=": lambda: np.einsum("ij,jk->ik", a, a, out=np.empty_like(a)),
}
LAYERS = ("matmul", "dot", "dgemm", "einsum")


@pytest.fixture(autouse=True)
def _each_warning_anew(monkeypatch):
    monkeypatch.setattr(gate, "_warned", set())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    "error", [KernelError("lost"), KeyboardInterrupt(), SystemExit(3), MemoryError()], ids=repr
)
def test_errors_reach_the_user(spy, call, error):
    def fail(request, operands):
        raise error

    reference = call()
    spy.answer = fail
    with spy.block(), pytest.raises(type(error)) as caught:
        call()
    assert caught.value is error
    np.testing.assert_allclose(call(), reference)
    spy.answer = lambda request, operands: None
    np.testing.assert_allclose(spy.inside(call)[0], reference)


def test_an_error_ends_the_asking_of_its_call(spy):
    def fail(request, operands):
        raise KernelError("lost")

    spy.answer = fail
    with spy.block(), pytest.raises(KernelError):
        CALLS["matmul, several loops"]()
    assert len(spy.requests) == 1


@pytest.mark.parametrize("name", LAYERS)
def test_control_c_during_a_kernel(spy, name):
    def slow(request, operands):
        threading.Timer(0.05, lambda: signal.raise_signal(signal.SIGINT)).start()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            time.sleep(0.01)

    spy.answer = slow
    with spy.block(), pytest.raises(KeyboardInterrupt):
        CALLS[name]()


def test_frames_of_an_error_keep_no_view_of_the_calls_memory(spy):
    def fail(request, operands):
        kept = operands.inputs[0]
        try:
            kept / "x"
        except TypeError as error:
            raise KernelError("lost") from error

    spy.answer = fail
    for name in ("matmul", "dot", "dgemm"):
        with spy.block(), pytest.raises(KernelError) as caught:
            CALLS[name]()
        for error in (caught.value, caught.value.__cause__):
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if frame.f_code.co_name == "fail":
                    assert not frame.f_locals


@pytest.mark.parametrize("name", ["dot", "dgemm"])
def test_an_error_of_ours_is_a_warning_once(spy, monkeypatch, name):
    def broken(*_, **__):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(blas.Stored, "scaled", broken)
    with pytest.warns(KernelFallbackWarning, match=r"ZeroDivisionError: ours.*please report"):
        result, requests = spy.inside(CALLS[name])
    np.testing.assert_allclose(result, CALLS[name]())
    assert not requests
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spy.inside(CALLS[name])


@pytest.mark.parametrize("name", LAYERS)
def test_a_result_of_the_wrong_shape_is_not_taken(spy, name):
    spy.answer = lambda request, operands: np.zeros((1, 5, 5))
    with pytest.warns(KernelFallbackWarning, match="please report"):
        result, _ = spy.inside(CALLS[name])
    np.testing.assert_allclose(result, CALLS[name]())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_declined_call_is_offered_once_for_each_loop_and_timed(spy, call):
    spy.answer = lambda request, operands: None
    with spy.block() as block:
        result = call()
        calls = block.session.calls
    np.testing.assert_allclose(result, call())
    assert len(calls) == len(spy.requests)
    assert {r.function for r in spy.requests} == {spy.requests[0].function}
    assert all(entry.seconds is not None and entry.seconds > 0 for entry in calls)
    assert block.session.small == (0, 0.0)


def test_what_a_kernel_multiplies_with_numpy_is_not_caught(spy):
    answer = spy.answer

    def nested(request, operands):
        for call in CALLS.values():
            call()
        return answer(request, operands)

    spy.answer = nested
    for name in LAYERS:
        assert len(spy.inside(CALLS[name])[1]) == 1
        assert spy.inside(CALLS[name])[0].shape == (12, 12)
