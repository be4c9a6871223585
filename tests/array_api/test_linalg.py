"""The extension linalg: what the results must satisfy, norms from their definitions, edges."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
import numtrn.array_api as xp
from numtrn.array_api import linalg

FLOATS = ["float32", "float64", "complex64", "complex128"]
STACKS = [(3, 3), (2, 3, 3), (0, 3, 3), (0, 0), (2, 0, 0), (1, 1)]
RECTANGLES = [(3, 5), (5, 3), (2, 4, 3), (0, 3), (3, 0), (2, 0, 3), (0, 2, 3)]


def matrices(shape, dtype, seed=10):
    r = np.random.default_rng(seed).normal(size=(2, *shape))
    return (r[0] + (1j * r[1] if np.dtype(dtype).kind == "c" else 0)).astype(dtype)


def definite(shape, dtype):
    a = matrices(shape, dtype)
    return a @ adjoint(a) + np.eye(shape[-1], dtype=dtype)


def adjoint(a):
    return a.conj().swapaxes(-1, -2)


def real(dtype):
    return np.zeros((), dtype).real.dtype


def near(result, expected, tolerance=200):
    eps = np.finfo(result.dtype).eps
    assert result.shape == expected.shape
    scale = np.abs(expected).max(initial=1)
    np.testing.assert_allclose(np.asarray(result), expected, rtol=0, atol=tolerance * eps * scale)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", STACKS)
class TestSquare:
    def test_cholesky(self, shape, dtype):
        a = definite(shape, dtype)
        lower, upper = linalg.cholesky(xp.asarray(a)), linalg.cholesky(xp.asarray(a), upper=True)
        assert lower.dtype == upper.dtype == a.dtype
        L, U = np.asarray(lower), np.asarray(upper)
        near(L @ adjoint(L), a)
        near(adjoint(U) @ U, a)
        assert (np.triu(L, 1) == 0).all()
        assert (np.tril(U, -1) == 0).all()

    def test_eigh(self, shape, dtype):
        a = definite(shape, dtype)
        found = linalg.eigh(xp.asarray(a))
        assert found._fields == ("eigenvalues", "eigenvectors")
        w, V = (np.asarray(part) for part in found)
        assert (w.dtype, V.dtype) == (real(dtype), a.dtype)
        near(V * w[..., None, :] @ adjoint(V), a)
        near(np.asarray(linalg.eigvalsh(xp.asarray(a))), w)

    def test_eig(self, shape, dtype):
        a = matrices(shape, dtype)
        found = linalg.eig(xp.asarray(a))
        assert found._fields == ("eigenvalues", "eigenvectors")
        w, V = (np.asarray(part) for part in found)
        assert w.dtype == V.dtype == np.result_type(a.dtype, np.complex64)
        near(V * w[..., None, :], a @ V)
        values = np.asarray(linalg.eigvals(xp.asarray(a)))
        assert values.dtype == w.dtype
        near(values.sum(axis=-1), a.trace(axis1=-2, axis2=-1))

    def test_inverse_and_solve(self, shape, dtype):
        a, one = definite(shape, dtype), np.eye(shape[-1], dtype=dtype)
        inverse = linalg.inv(xp.asarray(a))
        assert inverse.dtype == a.dtype
        near(a @ np.asarray(inverse), one + 0 * a)
        near(np.asarray(linalg.solve(xp.asarray(a), xp.asarray(one))), np.asarray(inverse))

    def test_determinants(self, shape, dtype):
        a = definite(shape, dtype)
        det, found = linalg.det(xp.asarray(a)), linalg.slogdet(xp.asarray(a))
        assert found._fields == ("sign", "logabsdet")
        assert (det.dtype, found.sign.dtype, found.logabsdet.dtype) == (a.dtype, a.dtype, real(dtype))
        assert det.shape == found.sign.shape == found.logabsdet.shape == shape[:-2]
        near(det, np.prod(np.linalg.eigvalsh(a.astype("complex128")), axis=-1), 1000)
        near(np.asarray(found.sign) * np.exp(np.asarray(found.logabsdet)), np.asarray(det), 1000)

    def test_power(self, shape, dtype):
        a = definite(shape, dtype)
        for n, expected in ((0, np.eye(shape[-1]) + 0 * a), (1, a), (2, a @ a), (5, a @ a @ a @ a @ a)):
            result = linalg.matrix_power(xp.asarray(a), n)
            assert result.dtype == a.dtype
            near(result, expected.astype(dtype))
        near(np.asarray(linalg.matrix_power(xp.asarray(a), -2)) @ a @ a, np.eye(shape[-1]) + 0 * a, 2000)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [*RECTANGLES, (3, 3)])
class TestRectangular:
    def test_qr(self, shape, dtype):
        a = matrices(shape, dtype)
        for mode in ("reduced", "complete"):
            found = linalg.qr(xp.asarray(a), mode=mode)
            assert found._fields == ("Q", "R")
            Q, R = (np.asarray(part) for part in found)
            assert Q.dtype == R.dtype == a.dtype
            k = min(shape[-2:]) if mode == "reduced" else shape[-2]
            assert (Q.shape, R.shape) == ((*shape[:-1], k), (*shape[:-2], k, shape[-1]))
            near(Q @ R, a)
            near(adjoint(Q) @ Q, np.zeros((*shape[:-2], k, k)) + np.eye(k))
            assert (np.tril(R, -1) == 0).all()

    def test_svd(self, shape, dtype):
        a = matrices(shape, dtype)
        m, n, k = *shape[-2:], min(shape[-2:])
        for full in (False, True):
            found = linalg.svd(xp.asarray(a), full_matrices=full)
            assert found._fields == ("U", "S", "Vh")
            U, S, Vh = (np.asarray(part) for part in found)
            assert (U.dtype, S.dtype, Vh.dtype) == (a.dtype, real(dtype), a.dtype)
            assert U.shape[-2:] == (m, m if full else k)
            assert Vh.shape[-2:] == (n if full else k, n)
            near(U[..., :k] * S[..., None, :] @ Vh[..., :k, :], a)
            assert (np.diff(S, axis=-1) <= 0).all()
        near(np.asarray(linalg.svdvals(xp.asarray(a))), S)

    def test_pseudo_inverse(self, shape, dtype):
        a = matrices(shape, dtype)
        p = linalg.pinv(xp.asarray(a))
        assert (p.dtype, p.shape) == (a.dtype, (*shape[:-2], shape[-1], shape[-2]))
        P = np.asarray(p)
        near(a @ P @ a, a, 2000)
        near(adjoint(a @ P), a @ P, 2000)
        near(adjoint(P @ a), P @ a, 2000)

    def test_diagonals(self, shape, dtype):
        a = matrices(shape, dtype)
        for offset in (-9, -1, 0, 1, 9):
            expected = np.diagonal(a, offset, -2, -1)
            np.testing.assert_array_equal(np.asarray(linalg.diagonal(xp.asarray(a), offset=offset)), expected)
            near(linalg.trace(xp.asarray(a), offset=offset), np.asarray(expected.sum(axis=-1)))


def test_cholesky_reads_the_lower_triangle_only():
    a = np.asarray([[4.0, 9.0], [2.0, 5.0]])
    np.testing.assert_allclose(np.asarray(linalg.cholesky(xp.asarray(a))), [[2, 0], [1, 2]])
    np.testing.assert_allclose(np.asarray(linalg.cholesky(xp.asarray(a), upper=True)), [[2, 1], [0, 2]])


SOLVES = [
    ((3, 3), (3,)),
    ((2, 3, 3), (3,)),
    ((3, 3, 3), (3, 3)),
    ((2, 3, 3), (3, 4)),
    ((3, 3), (5, 3, 2)),
    ((4, 1, 3, 3), (2, 3, 2)),
    ((2, 3, 3), (1, 3, 0)),
]


@pytest.mark.parametrize(("first", "second"), SOLVES)
def test_solve_takes_a_vector_only_where_it_has_one_axis(first, second):
    a, b = matrices(first, "float64"), matrices(second, "float64", 11)
    x = np.asarray(linalg.solve(xp.asarray(a), xp.asarray(b)))
    vector = len(second) == 1
    lead = np.broadcast_shapes(first[:-2], second[:-2])
    assert x.shape == ((*first[:-2], 3) if vector else (*lead, *second[-2:]))
    product = a @ (x[..., None] if vector else x)
    np.testing.assert_allclose(
        product, np.broadcast_to(b[:, None] if vector else b, product.shape), atol=1e-10
    )


def test_solve_promotes():
    a, b = xp.eye(2, dtype=xp.float32), xp.ones(2, dtype=xp.complex64)
    assert linalg.solve(a, b).dtype == xp.complex64
    assert linalg.solve(a, xp.ones(2)).dtype == xp.float64


def test_what_cannot_be_solved():
    for function in (linalg.inv, lambda a: linalg.solve(a, xp.ones(2)), lambda a: linalg.matrix_power(a, -1)):
        with pytest.raises(np.linalg.LinAlgError):
            function(xp.ones((2, 2)))
    found = linalg.slogdet(xp.ones((2, 2)))
    assert (float(found.sign), float(found.logabsdet)) == (0, -inf)


# ---- Products and ranks ----


@pytest.mark.parametrize("dtype", ["int8", "uint16", *FLOATS])
@pytest.mark.parametrize(
    ("first", "second", "axis"), [((3,), (3,), -1), ((4, 3), (3,), -1), ((2, 3, 1), (3, 5), -2)]
)
def test_cross(first, second, axis, dtype):
    a, b = (
        np.random.default_rng(seed).integers(0, 9, s).astype(dtype) for seed, s in ((1, first), (2, second))
    )
    result = linalg.cross(xp.asarray(a), xp.asarray(b), axis=axis)
    assert result.dtype == a.dtype
    whole = np.int64 if a.dtype.kind in "iu" else a.dtype
    x, y = (np.moveaxis(v, axis, -1).astype(whole) for v in (a, b))
    x, y = (np.moveaxis(v, -1, 0) for v in np.broadcast_arrays(x, y))
    exact = np.stack(
        [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]], axis=-1
    )
    np.testing.assert_array_equal(np.asarray(result), np.moveaxis(exact, -1, axis).astype(a.dtype))


@pytest.mark.parametrize(("first", "second"), [((2,), (2,)), ((1,), (3,)), ((3, 2), (3, 3))])
def test_cross_is_of_three_elements(first, second):
    with pytest.raises(ValueError, match="three elements"):
        linalg.cross(xp.ones(first), xp.ones(second))


def test_outer():
    a, b = xp.asarray([1, 2], dtype=xp.int8), xp.asarray([3.0, inf, nan])
    result = np.asarray(linalg.outer(a, b))
    np.testing.assert_array_equal(result, [[3, inf, nan], [6, inf, nan]])
    assert linalg.outer(a, a).dtype == xp.int8
    assert linalg.outer(xp.ones(0), b).shape == (0, 3)
    with pytest.raises(ValueError, match="one axis"):
        linalg.outer(xp.ones((2, 2)), b)


@pytest.mark.parametrize(
    ("kind", "result"), [("b", "int64"), ("I", "uint64"), ("f", "float32"), ("D", "complex128")]
)
def test_trace_of_many_small_integers(kind, result):
    x = xp.asarray(100 * np.eye(5, dtype=kind))
    assert linalg.trace(x).dtype == np.dtype(result)
    assert complex(linalg.trace(x)) == 500
    assert linalg.trace(x, dtype=xp.complex64).dtype == xp.complex64


def test_ranks():
    x = np.stack([np.diag([1, 1e-3, 1e-6]), np.diag([1e9, 0, 0]), np.zeros((3, 3))])
    a = xp.asarray(x)
    assert np.asarray(linalg.matrix_rank(a)).tolist() == [3, 1, 0]
    assert np.asarray(linalg.matrix_rank(a, rtol=1e-4)).tolist() == [2, 1, 0]
    rank = linalg.matrix_rank(a, rtol=xp.asarray([1e-2, 2.0, 0.0]))
    assert (np.asarray(rank).tolist(), rank.dtype) == ([1, 0, 0], np.dtype("int64"))
    assert linalg.matrix_rank(a[0, ...], rtol=xp.asarray(1e-4)).shape == ()
    assert int(linalg.matrix_rank(xp.zeros((0, 3)))) == 0
    pinv = np.asarray(linalg.pinv(a, rtol=xp.asarray([1e-2, 0.1, 0.0])))
    np.testing.assert_allclose(
        pinv, np.stack([np.diag([1, 0, 0]), np.diag([1e-9, 0, 0]), np.zeros((3, 3))]), atol=1e-25
    )


def test_rank_by_default_at_epsilon():
    for dtype in (xp.float32, xp.float64):
        eps = xp.finfo(dtype).eps
        above, below = (xp.asarray(np.diag([1, part * eps]), dtype=dtype) for part in (2.1, 1.9))
        assert (int(linalg.matrix_rank(above)), int(linalg.matrix_rank(below))) == (2, 1)


# ---- Norms ----


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, inf, -inf, None])
def test_matrix_norm(ord, dtype, keepdims):
    a = matrices((2, 4, 3), dtype)
    size = abs(a.astype("complex128"))
    S = np.linalg.svd(a.astype("complex128"), compute_uv=False)
    expected = {
        "fro": np.sqrt((size**2).sum(axis=(1, 2))),
        None: np.sqrt((size**2).sum(axis=(1, 2))),
        "nuc": S.sum(axis=1),
        1: size.sum(axis=1).max(axis=1),
        -1: size.sum(axis=1).min(axis=1),
        2: S.max(axis=1),
        -2: S.min(axis=1),
        inf: size.sum(axis=2).max(axis=1),
        -inf: size.sum(axis=2).min(axis=1),
    }[ord]
    result = linalg.matrix_norm(xp.asarray(a), ord=ord, keepdims=keepdims)
    assert result.dtype == real(dtype)
    near(result, expected[:, None, None] if keepdims else expected)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 3, 0)])
@pytest.mark.parametrize("ord", ["fro", "nuc", 1, 2, inf])
def test_a_matrix_without_elements_has_the_norm_0(ord, shape):
    result = linalg.matrix_norm(xp.ones(shape, dtype=xp.complex64), ord=ord)
    assert (result.shape, result.dtype) == (shape[:-2], xp.float32)
    assert not np.asarray(result).any()


def test_a_matrix_norm_that_is_not_there():
    for ord in (3, 0.5, "max"):
        with pytest.raises(ValueError):
            linalg.matrix_norm(xp.ones((2, 2)), ord=ord)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, 0, 1), ()])
@pytest.mark.parametrize("ord", [0, 1, 2, 3, -1, -2, 0.5, 2.5, inf, -inf])
def test_vector_norm(ord, axis, keepdims):
    a = np.random.default_rng(12).uniform(0.5, 2, (2, 3, 4))
    expected = {
        0: lambda: np.sum(a != 0, axis=axis, keepdims=keepdims),
        inf: lambda: np.max(a, axis=axis, keepdims=keepdims),
        -inf: lambda: np.min(a, axis=axis, keepdims=keepdims),
    }.get(ord, lambda: np.sum(a**ord, axis=axis, keepdims=keepdims) ** (1 / ord))()
    for dtype in FLOATS:
        result = linalg.vector_norm(xp.asarray((-a).astype(dtype)), ord=ord, axis=axis, keepdims=keepdims)
        assert isinstance(result, numtrn.Array)
        assert result.dtype == real(dtype)
        near(result, np.asarray(expected))


@pytest.mark.parametrize("ord", [0, 1, 2, 3, -1, inf, -inf])
def test_vector_norms_at_the_edges(ord):
    of_zeros = float(linalg.vector_norm(xp.zeros(3), ord=ord))
    assert of_zeros == 0
    of_nothing = float(linalg.vector_norm(xp.zeros(0), ord=ord))
    assert of_nothing == (inf if ord < 0 else 0)
    alone = linalg.vector_norm(xp.asarray(-3.0, dtype=xp.float32), ord=ord)
    assert (alone.shape, alone.dtype) == ((), xp.float32)
    assert float(alone) == pytest.approx(1 if ord == 0 else 3)
    assert float(linalg.vector_norm(xp.asarray([3 + 4j]), ord=ord)) == pytest.approx(1 if ord == 0 else 5)
    assert ord == 0 or np.isnan(float(linalg.vector_norm(xp.asarray([1.0, nan]), ord=ord)))


def test_a_vector_norm_has_a_number_for_its_order():
    with pytest.raises(TypeError, match="'fro'"):
        linalg.vector_norm(xp.ones(2), ord="fro")


# ---- Arguments ----

SQUARE = ["cholesky", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "slogdet"]


@pytest.mark.parametrize("name", [*SQUARE, "matrix_norm", "matrix_rank", "pinv", "qr", "svd", "svdvals"])
def test_arguments_are_floating_matrices(name):
    function = getattr(linalg, name)
    with pytest.raises(TypeError, match=f"{name} takes floating arrays; got int64"):
        function(xp.asarray([[1]]))
    with pytest.raises(ValueError, match="two axes; got shape"):
        function(xp.ones(3))
    with pytest.raises(TypeError, match="numtrn arrays; got ndarray"):
        function(np.ones((2, 2)))
    if name in SQUARE:
        with pytest.raises(ValueError, match="square"):
            function(xp.ones((2, 3)))


def test_modes_and_powers_that_are_not_there():
    with pytest.raises(ValueError, match="'raw'"):
        linalg.qr(xp.ones((2, 2)), mode="raw")
    with pytest.raises(TypeError):
        linalg.matrix_power(xp.eye(2), 1.5)


@settings(deadline=None)
@given(st.integers(-3, 9))
def test_powers_of_two(n):
    assert float(linalg.matrix_power(xp.asarray([[2.0]]), n)[0, 0]) == 2.0**n


def test_a_power_of_one_is_a_copy():
    x = xp.eye(2)
    linalg.matrix_power(x, 1)[0, 0] = 5.0
    assert float(x[0, 0]) == 1


def test_results_are_where_their_arguments_are():
    x = xp.eye(3, device="interpreter:0")
    for result in (linalg.inv(x), linalg.qr(x).R, linalg.pinv(x), linalg.matrix_power(x, 3), xp.matmul(x, x)):
        assert result.device == "interpreter:0"
    with pytest.raises(ValueError, match="to_device"):
        linalg.solve(x, xp.ones(3))
