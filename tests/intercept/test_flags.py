"""Every flag of GEMM and SYRK, in four types: the result is BLAS's, and nothing else of C is touched."""

import itertools

import numpy as np
import pytest
import scipy.linalg as sl

from numtrn.intercept import blas, views

DTYPES = ("float32", "float64", "complex64", "complex128")
rng = np.random.default_rng(1)


def random(*shape, dtype):
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def close(result, reference):
    assert result.dtype == reference.dtype
    assert result.flags.f_contiguous == reference.flags.f_contiguous
    tolerance = 1e-4 if reference.dtype.char in "fF" else 1e-12
    np.testing.assert_allclose(result, reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("trans_a", "trans_b"), list(itertools.product(range(3), repeat=2)))
@pytest.mark.parametrize("beta", [0.0, 0.75])
def test_fortran_gemm(spy, dtype, trans_a, trans_b, beta):
    gemm = sl.get_blas_funcs("gemm", dtype=np.dtype(dtype))
    a = random(4, 6, dtype=dtype) if trans_a == 0 else random(6, 4, dtype=dtype)
    b = random(6, 5, dtype=dtype) if trans_b == 0 else random(5, 6, dtype=dtype)
    c = random(4, 5, dtype=dtype)
    alpha = 1.5 - 0.5j if "complex" in dtype else 1.5

    def call():
        return gemm(alpha, a, b, beta=beta, c=c, trans_a=trans_a, trans_b=trans_b)

    result, (request,) = spy.inside(call)
    close(result, call())
    assert (request.m, request.k, request.n) == (4, 6, 5)
    assert request.reads_c == (beta != 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("trans", "lower", "beta"), list(itertools.product((0, 1), (0, 1), (0.0, 2.0))))
def test_fortran_syrk_touches_one_triangle(spy, dtype, trans, lower, beta):
    syrk = sl.get_blas_funcs("syrk", dtype=np.dtype(dtype))
    a = random(5, 3, dtype=dtype)
    size = 3 if trans else 5
    c = random(size, size, dtype=dtype)

    def call():
        return syrk(0.5, a, beta=beta, c=c, trans=trans, lower=lower)

    result, (request,) = spy.inside(call)
    close(result, call())
    assert request.triangle == ("lower" if lower else "upper")


def test_fortran_gemm_in_place(spy):
    gemm = sl.blas.dgemm
    a, b = np.asfortranarray(rng.standard_normal((4, 4))), rng.standard_normal((4, 4))
    c = np.asfortranarray(rng.standard_normal((4, 4)))
    expected = a @ b + 2 * c
    result, (request,) = spy.inside(lambda: gemm(1.0, a, b, beta=2.0, c=c, overwrite_c=True))
    assert request.reads_c
    np.testing.assert_allclose(result, expected)
    assert np.shares_memory(result, c)


def test_beta_zero_does_not_read_c(spy):
    a = rng.standard_normal((4, 4))
    c = np.full((4, 4), np.nan, order="F")
    result, _ = spy.inside(lambda: sl.blas.dgemm(1.0, a, a, beta=0.0, c=c))
    np.testing.assert_allclose(result, a @ a)


def test_alpha_zero_does_not_read_a(spy):
    nan = np.full((4, 4), np.nan)
    result, (request,) = spy.inside(lambda: sl.blas.dgemm(0.0, nan, nan))
    np.testing.assert_array_equal(result, sl.blas.dgemm(0.0, nan, nan))
    assert "alpha is 0" in request.reason


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_dot_family(spy, dtype):
    a, b = random(6, 4, dtype=dtype), random(4, 5, dtype=dtype)
    calls = [
        lambda: np.dot(a, b),
        lambda: np.dot(b.T, a.T),
        lambda: np.dot(np.asfortranarray(a), np.asfortranarray(b)),
        lambda: a.dot(a.T),
        lambda: a.T.dot(a),
        lambda: np.inner(a, b.T),
        lambda: np.dot(a[::2], b[:, 1:4]),
    ]
    for call in calls:
        reference = call()
        result, (request,) = spy.inside(call)
        tolerance = 1e-5 if dtype in ("float32", "complex64") else 1e-13
        np.testing.assert_allclose(result, reference, rtol=tolerance, atol=10 * tolerance)
        assert request.dtype == dtype


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("trans", ["N", "T", "C"])
def test_cblas_orders_that_numpy_does_not_use(by_rows, trans):
    memory = np.arange(30.0) * (1 + 1j)
    stored = blas.Stored("f", "complex128", by_rows)
    plain = np.array([[memory[i * 6 + j if by_rows else i + j * 6] for j in range(5)] for i in range(3)])
    read = {"N": plain, "T": plain.T, "C": plain.conj().T}[trans]
    np.testing.assert_array_equal(stored.matrix(memory.ctypes.data, *read.shape, 6, trans), read)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("triangle", ["lower", "upper"])
def test_copying_a_triangle(order, triangle):
    target, source = np.zeros((4, 4), order=order), rng.standard_normal((4, 4))
    views.copy_triangle(target, source, triangle)
    np.testing.assert_array_equal(target, np.tril(source) if triangle == "lower" else np.triu(source))


def test_views_read_as_written():
    memory = np.arange(12.0)
    for shape, strides, start, expected in [
        ((2, 3), (24, 8), 0, memory[:6].reshape(2, 3)),
        ((3,), (-8,), 2, memory[2::-1]),
        ((2, 3), (0, 16), 0, np.broadcast_to(memory[:6:2], (2, 3))),
    ]:
        array = views.view(memory.ctypes.data + 8 * start, shape, strides, "float64")
        np.testing.assert_array_equal(array, expected)
        assert not array.flags.writeable
