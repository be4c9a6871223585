"""A kernel or a target that fails loses nothing: the result is NumPy's, arrays are as they were."""

import warnings

import numpy as np
import pytest
import scipy.linalg.blas as blas

import numtrn
from numtrn import dispatch
from numtrn.errors import ResourceExhaustedError
from numtrn.targets import interpreter
from numtrn.targets.interpreter import Interpreter


class DeviceLostError(RuntimeError):
    pass


def fail_to_load(monkeypatch):
    def load(name):
        raise ImportError("no such program")

    monkeypatch.setattr(interpreter, "_kernel", load)


def fail_to_launch(monkeypatch):
    def launch(self, kernel, arrays, parameters):
        raise DeviceLostError("core 0 stopped")

    monkeypatch.setattr(interpreter.Interpreter, "launch", launch)


def fail_to_copy_back(monkeypatch):
    genuine = interpreter.Interpreter.launch

    def launch(self, kernel, arrays, parameters):
        return genuine(self, kernel, arrays, parameters)[:-1]  # a row of the result never arrives

    monkeypatch.setattr(interpreter.Interpreter, "launch", launch)


def fail_at_second_launch(monkeypatch):
    genuine, launches = interpreter.Interpreter.launch, []

    def launch(self, kernel, arrays, parameters):
        launches.append(kernel)
        if len(launches) % 2 == 0:
            raise DeviceLostError("second launch")
        return genuine(self, kernel, arrays, parameters)

    monkeypatch.setattr(interpreter.Interpreter, "launch", launch)
    from numtrn.plan import words

    monkeypatch.setattr(words, "LIMITS", ((64, 64, 64),))


FAILURES = [fail_to_load, fail_to_launch, fail_to_copy_back, fail_at_second_launch]


@pytest.fixture(autouse=True)
def _forget_warnings(monkeypatch):
    monkeypatch.setattr(dispatch, "_warned", set())


def arrays():
    rng = np.random.default_rng(0)
    return rng.standard_normal((90, 70)), rng.standard_normal((70, 80)), rng.standard_normal((90, 80))


CALLS = {
    "matmul": lambda a, b, c: a @ b,
    "matmul out": lambda a, b, c: np.matmul(a, b, out=c),
    "dot": lambda a, b, c: np.dot(a, b),
    "dot out": lambda a, b, c: np.dot(a, b, out=c),
    "einsum": lambda a, b, c: np.einsum("ij,jk->ik", a, b),
    "einsum out": lambda a, b, c: np.einsum("ij,jk->ik", a, b, out=c),
    "dgemm": lambda a, b, c: blas.dgemm(2.0, a, b),
    "dgemm in place": lambda a, b, c: blas.dgemm(2.0, a, b, beta=0.5, c=c.T.copy().T, overwrite_c=1),
    "dsyrk": lambda a, b, c: blas.dsyrk(1.0, a),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", CALLS)
def test_numpy_computes_what_a_kernel_could_not(monkeypatch, failure, call):
    expected = CALLS[call](*arrays())
    a, b, c = arrays()
    before = a.copy(), b.copy()
    failure(monkeypatch)
    with (
        numtrn.enabled(target="interpreter", min_work=0) as session,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        got = CALLS[call](a, b, c)
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-12)
    assert np.array_equal(a, before[0])
    assert np.array_equal(b, before[1])
    if "out" in call:
        np.testing.assert_allclose(c, expected, rtol=1e-13, atol=1e-12)
    assert session.counts["kernel"] == 0
    assert session.counts["failed"] == 1
    assert "failed" in session.calls[0].reason
    assert [w.category for w in caught] == [numtrn.KernelFallbackWarning]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", CALLS)
def test_strict_raises_and_leaves_everything_untouched(monkeypatch, failure, call):
    a, b, c = arrays()
    before = a.copy(), b.copy(), c.copy()
    failure(monkeypatch)
    with (
        numtrn.enabled(target="interpreter", min_work=0, strict=True) as session,
        pytest.raises(numtrn.KernelError) as caught,
    ):
        CALLS[call](a, b, c)
    assert caught.value.__cause__ is not None
    assert np.array_equal(a, before[0])
    assert np.array_equal(b, before[1])
    if call == "dot out":  # NumPy clears it before it calls BLAS; then it gets NumPy's result
        np.testing.assert_allclose(c, np.dot(a, b), rtol=1e-13, atol=1e-12)
    else:
        assert np.array_equal(c, before[2])
    assert session.counts["failed"] == 1


def test_the_same_cause_warns_once(monkeypatch):
    a, b, _ = arrays()
    fail_to_launch(monkeypatch)
    with (
        numtrn.enabled(target="interpreter", min_work=0) as session,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        for _ in range(5):
            a @ b
    assert len(caught) == 1
    assert session.counts == {"kernel": 0, "numpy": 5, "failed": 5, "small": 0}


def test_an_interrupt_reaches_the_user(monkeypatch):
    def launch(self, kernel, arrays, parameters):
        raise KeyboardInterrupt

    monkeypatch.setattr(interpreter.Interpreter, "launch", launch)
    a, b, c = arrays()
    before = c.copy()
    with numtrn.enabled(target="interpreter", min_work=0), pytest.raises(KeyboardInterrupt):
        np.matmul(a, b, out=c)
    assert np.array_equal(c, before)
    np.testing.assert_allclose(a @ b, CALLS["dot"](a, b, None))


def test_verify_finds_a_wrong_result(monkeypatch):
    genuine = interpreter.Interpreter.launch

    def launch(self, kernel, arrays, parameters):
        result = genuine(self, kernel, arrays, parameters)
        if kernel == "sliced_gemm":
            result = result.copy()
            result[3, 2] += 1  # the first word, the most significant
        return result

    monkeypatch.setattr(interpreter.Interpreter, "launch", launch)
    a, b, _ = arrays()
    with (
        numtrn.enabled(target="interpreter", min_work=0, verify=True),
        pytest.raises(numtrn.VerificationError) as e,
    ):
        a @ b
    assert "further from NumPy's than promised" in str(e.value)
    assert "(0, 3, 2)" in str(e.value)


@pytest.mark.parametrize("how", ["errstate", "filter"])
def test_a_floating_point_error_that_was_asked_for_is_no_failure_of_a_kernel(how):
    a, b = np.ones((30, 40)), np.ones((40, 20))
    a[3, 5], b[5, 2] = np.inf, 0
    expected = FloatingPointError if how == "errstate" else RuntimeWarning
    with warnings.catch_warnings(), np.errstate(invalid="raise" if how == "errstate" else "warn"):
        warnings.simplefilter("error")
        with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
            with pytest.raises(expected, match="invalid value"):
                np.matmul(a, b)
            product = blas.dgemm(1.0, a, b)  # which knows no such errors
    assert np.isnan(product[3, 2])
    assert [call.route for call in session.calls] == ["numpy", "kernel"]
    assert session.calls[0].reason == f"operands hold NaN or Inf, and NumPy raises {expected.__name__}"


@pytest.mark.parametrize("cause", [RuntimeError("out of order, halfway"), ResourceExhaustedError("full")])
def test_what_launches_in_vain_moved_is_counted(monkeypatch, cause):
    """Words of both operands, before their product fails: once, or again at a second try."""
    sent, failures = [], [cause]
    keep, launch = Interpreter.keep, Interpreter.launch

    def note(arrays, *results):
        sent.extend(x.nbytes for x in (*arrays, *results) if isinstance(x, np.ndarray))

    def noted(self, kernel, arrays, parameters):
        note(arrays)
        return keep(self, kernel, arrays, parameters)

    def failing_once(self, kernel, arrays, parameters):
        if failures:
            raise failures.pop()
        value = launch(self, kernel, arrays, parameters)
        note((), value)
        return value

    monkeypatch.setattr(Interpreter, "keep", noted)
    monkeypatch.setattr(Interpreter, "launch", failing_once)
    a, b, _ = arrays()
    with warnings.catch_warnings(), numtrn.enabled(target="interpreter", min_work=0) as session:
        warnings.simplefilter("ignore", numtrn.KernelFallbackWarning)
        a @ b
    (call,) = session.calls
    assert call.failed is not isinstance(cause, ResourceExhaustedError)
    assert call.bytes == sum(sent) > a.nbytes + b.nbytes
