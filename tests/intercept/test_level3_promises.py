"""What solves, factorisations and scaled products promise at the ends of the range and at low precision."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import blas, lapack

import numtrn
from numtrn import blocked, dispatch, launch
from numtrn.plan import make_plan
from numtrn.precision import Declined
from numtrn.request import Solve, Triangular

OPTIONS = {"min_work": 1, "target": "interpreter", "strict": True, "verify": True}
"""With them a result beyond its promise raises."""

N = 24


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def lower(rng, dtype="float64", n=N):
    return (np.tril(rng.standard_normal((n, n))) + 3 * np.eye(n)).astype(dtype)


def complex_(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def by_kernel(call, **options):
    with numtrn.enabled(**OPTIONS | options) as session:
        result = call()
    assert session.calls[-1].route == "kernel", session.calls[-1].reason
    return result, session.calls[-1]


@pytest.mark.parametrize("stored", [0, 1])
def test_the_imaginary_diagonal_that_cholesky_ignores_is_no_violation(rng, stored):
    half = complex_(rng, N, N)
    a = half @ half.conj().T + N * np.eye(N) + 1j * np.diag(np.arange(1.0, N + 1))
    (factor, info), _ = by_kernel(lambda: lapack.zpotrf(a, lower=stored))
    assert info == 0
    np.testing.assert_allclose(factor, lapack.zpotrf(a, lower=stored)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("prefix", "dtype", "large", "small"), [("d", "float64", 1000, -66), ("s", "float32", 100, -44)]
)
def test_solutions_that_are_subnormal_are_no_violation(rng, prefix, dtype, large, small):
    factor = lower(rng, dtype) * dtype_power(dtype, large)
    columns = rng.standard_normal((N, 5)).astype(dtype) * dtype_power(dtype, small)
    x, _ = by_kernel(lambda: getattr(blas, prefix + "trsm")(1, factor, columns, lower=1))
    assert 0 < np.abs(x).max() < np.finfo(dtype).smallest_normal


@pytest.mark.parametrize("beta", [0.0, 2.0**-1070])
def test_factors_that_are_subnormal_are_no_violation(rng, beta):
    a, b, c = (rng.standard_normal(shape) for shape in ((20, 30), (30, 10), (20, 10)))
    by_kernel(lambda: blas.dgemm(2.0**-1070, a, b, beta=beta, c=c))


@pytest.mark.parametrize("precision", ["float16x3", "tfloat32x3", "tfloat32", "bfloat16", "float32"])
def test_graded_columns_at_lowered_precision(rng, precision):
    """What is lost in fp32's range of exponents is said, and is all that is lost beyond the bound."""
    grades = 2.0 ** np.round(np.linspace(0, 40 if precision == "float16x3" else 400, N))
    _, call = by_kernel(
        lambda: blas.dtrsm(1, lower(rng) * grades, rng.standard_normal((N, 5)), lower=1), precision=precision
    )
    assert "max|T_i| max|X_j|" in call.bound


@pytest.mark.parametrize(("precision", "unit"), [("bfloat16", 2.0**-8), ("tfloat32", 2.0**-11)])
def test_blocks_on_the_host_are_promised_the_hosts_accuracy(precision, unit):
    """Units of a lowered precision count for the updates only: the promise is less than |T||X| itself."""
    for dtype in ("float32", "float64"):
        request = Solve(function="", dtype=dtype, n=1000, columns=100, factors=(Triangular(uplo="lower"),))
        plan = make_plan(request, numtrn.options.Options(min_work=0, precision=precision), "interpreter")
        assert 2 <= plan.bound <= 5
        assert plan.scheme.unit == unit


@pytest.mark.parametrize(("n", "accuracy"), [(10, 20.0), (90, 92.0), (90, 200.0)])
def test_a_solve_in_float32_keeps_the_accuracy_asked_for(rng, n, accuracy):
    columns = rng.standard_normal((n, 7)).astype(np.float32)
    factor = lower(rng, "float32", n)
    _, call = by_kernel(lambda: blas.strsm(1, factor, columns, lower=1), precision=accuracy)
    assert float(call.bound.split()[0]) <= accuracy
    assert call.kernel == ("trsm" if accuracy == 200 else "gemm")


def test_two_factors_are_promised_twice_the_bound():
    one = Solve(function="", dtype="float64", n=100, columns=9, factors=(Triangular(uplo="lower"),))
    two = Solve(function="", dtype="float64", n=100, columns=9, factors=(Triangular(uplo="lower"),) * 2)
    plans = [make_plan(request, numtrn.options.Options(min_work=0), "interpreter") for request in (one, two)]
    assert plans[1].bound == pytest.approx(2 * plans[0].bound)
    assert [plan.measure for plan in plans] == ["|T||X|", "|T1||T2||X|"]


def test_long_updates_that_numpy_makes_are_promised_numpys_accuracy(rng, monkeypatch):
    n, half = 520, 512
    make = blocked.gemm

    def gemm(scheme, a, b, *rest, **words):
        if a.shape[2] == half:
            raise Declined("the test declines")
        return make(scheme, a, b, *rest, **words)

    factor, columns = np.eye(n) + np.tril(rng.random((n, n))) / n, rng.random((n, 3))
    _, usual = by_kernel(lambda: blas.dtrsm(1, factor, columns, lower=1))
    monkeypatch.setattr(blocked, "gemm", gemm)
    x, call = by_kernel(lambda: blas.dtrsm(1, factor, columns, lower=1))
    assert "updates by NumPy: the test declines" in call.reason
    assert float(usual.bound.split()[0]) < half < float(call.bound.split()[0])
    np.testing.assert_allclose(factor @ x, columns, rtol=1e-12)


def dtype_power(dtype, exponent):
    return np.dtype(dtype).type(2.0**exponent)


@pytest.mark.parametrize("stored", [0, 1])
@pytest.mark.parametrize("trans", [0, 1])
def test_a_factor_and_a_triangle_of_graded_rows(rng, stored, trans):
    """Rows of an upper triangle are multiplied in reverse; what is allowed must come back with them."""
    rows = 2.0 ** -np.arange(0.0, 2 * N, 2)
    factor = rng.standard_normal((N, N)) * (rows if trans else rows[:, np.newaxis])
    b = rng.standard_normal((N, 5))
    by_kernel(lambda: blas.dtrmm(0.3, factor, b, lower=stored, trans_a=trans), precision="bfloat16")
    by_kernel(lambda: blas.dtrmm(0.3, factor[::-1].copy(), b, lower=stored, trans_a=trans))


# ---- her2k, whose alpha is in an operand ----


@pytest.mark.parametrize("trans", [0, 2])
@pytest.mark.parametrize(
    ("prefix", "dtype", "exponent", "digits"), [("z", "complex128", -1010, 53), ("c", "complex64", -110, 24)]
)
def test_a_small_alpha_makes_nothing_vanish(rng, prefix, dtype, exponent, digits, trans):
    real = np.finfo(dtype).dtype.type
    x, y = complex_(rng, 12, 9).astype(dtype), complex_(rng, 12, 9).astype(dtype)
    if trans:
        x, y = np.asfortranarray(x.conj().T), np.asfortranarray(y.conj().T)
    routine = getattr(blas, prefix + "her2k")
    alpha = (0.75 - 0.5j) * 2.0**exponent
    spread = real(2.0**20)
    value, _ = by_kernel(lambda: routine(alpha, x / spread, y * spread, trans=trans))
    expected = routine(0.75 - 0.5j, x, y, trans=trans)
    sizes = routine(2, np.abs(x), np.abs(y), trans=trans).real
    assert np.all(np.abs(value * real(2.0**-exponent) - expected) <= 100 * 2.0**-digits * sizes)


def test_factors_in_an_operand_never_warn(rng):
    x, y = complex_(rng, 12, 9) * 1e10, complex_(rng, 12, 9) * 1e-300
    alone = blas.zher2k(1e300, x, y)
    with np.errstate(all="raise"), numtrn.enabled(**OPTIONS):
        np.testing.assert_allclose(blas.zher2k(1e300, x, y), alone, rtol=1e-12)
        blas.zher2k(1e-300, x * 1e-30, y * 1e290)


# ---- What verifying must see ----


@pytest.mark.parametrize("precision", ["full", "bfloat16", "float16x3"])
@pytest.mark.parametrize("name", ["dtrsm", "dpotrs", "dpotrf", "strsm", "zpotrf"])
def test_a_solution_beyond_the_promise_is_seen(rng, monkeypatch, name, precision):
    real = launch.launch

    def wrong(plan, operands, target, *engines):
        outcome = real(plan, operands, target, *engines)
        value = outcome.value.copy()
        value[-1, 0] += 20 * max(outcome.bound * plan.scheme.unit, 1e-12) * np.abs(value).max()
        return replace(outcome, value=value)

    monkeypatch.setattr(dispatch, "launch", wrong)
    dtype = {"d": "float64", "s": "float32", "z": "complex128"}[name[0]]
    factor = lower(rng, dtype)
    columns = rng.standard_normal((N, 3)).astype(dtype)
    given = {
        "trsm": (1, factor, columns),
        "potrs": (factor, columns),
        "potrf": ((factor @ factor.T + N * np.eye(N)).astype(dtype),),
    }[name[1:]]
    routine = getattr(blas if name.endswith("trsm") else lapack, name)
    with (
        numtrn.enabled(**OPTIONS | {"precision": precision}),
        pytest.raises(numtrn.VerificationError, match=name),
    ):
        routine(*given, lower=1)
