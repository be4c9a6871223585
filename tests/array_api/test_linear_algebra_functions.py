"""Products, against integers and NumPy; in a block kernels make them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
import numtrn.array_api as xp

KINDS = "bhilBHILfdFD"
SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3, 4)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
]


def integers(shape, dtype, seed=7):
    return np.random.default_rng(seed).integers(0, 4, shape).astype(dtype)


@pytest.mark.parametrize(("first", "second"), SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_matmul_of_small_integers_is_exact(first, second, kind):
    a, b = integers(first, kind), integers(second, kind, 8)
    result = xp.matmul(xp.asarray(a), xp.asarray(b))
    exact = (
        np.matmul(a.astype(object), b.astype(object)) if a.ndim + b.ndim > 2 else sum(a.astype(object) * b)
    )
    assert isinstance(result, numtrn.Array)
    assert (result.dtype, result.shape) == (a.dtype, np.shape(exact))
    assert (np.asarray(result) == exact).all()


@pytest.mark.parametrize(
    ("first", "second"), [((), (2,)), ((2,), ()), ((2,), (3,)), ((2, 3), (2, 3)), ((2, 2, 2), (3, 2, 2))]
)
def test_matmul_of_wrong_shapes(first, second):
    with pytest.raises(ValueError):
        xp.matmul(xp.ones(first), xp.ones(second))


@pytest.mark.parametrize("function", [xp.matmul, xp.vecdot, xp.tensordot, xp.linalg.outer])
def test_products_take_numbers_in_arrays(function):
    x = xp.ones(2)
    with pytest.raises(TypeError, match="numeric arrays; got bool"):
        function(x, xp.asarray([True, False]))
    with pytest.raises(TypeError, match="numtrn arrays; got float"):
        function(x, 1.0)


def test_products_promote():
    a, b = xp.ones((2, 2), dtype=xp.float32), xp.ones((2, 2), dtype=xp.complex64)
    for function in (xp.matmul, xp.vecdot, xp.tensordot):
        assert function(a, b).dtype == xp.complex64
        assert function(xp.astype(a, xp.float64), b).dtype == xp.complex128
    assert xp.matmul(xp.ones(2, dtype=xp.int8), xp.ones(2, dtype=xp.uint8)).dtype == xp.int16


@pytest.mark.parametrize("axes", [0, 1, 2, ((0, 1), (1, 0)), ([-1], [0]), ((), ())])
def test_tensordot(axes):
    a, b = integers((3, 3, 3), "int64"), integers((3, 3, 3), "int64", 8)
    result = xp.tensordot(xp.asarray(a), xp.asarray(b), axes=axes)
    np.testing.assert_array_equal(np.asarray(result), np.tensordot(a, b, axes))


def test_tensordot_of_arrays_without_axes_and_of_wrong_axes():
    assert xp.tensordot(xp.asarray(2), xp.asarray(3), axes=0).shape == ()
    x = xp.ones((2, 1))
    for axes in (-1, 1, ((0,), (1,)), ((0, 1), (0,)), ((0, 0), (0, 0))):
        with pytest.raises(ValueError):
            xp.tensordot(x, xp.ones((2, 3)) if axes == 1 else x, axes=axes)


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("kind", KINDS)
def test_vecdot_conjugates_the_first(kind, axis):
    a, b = integers((4, 3, 3), kind), integers((3, 3), kind, 8)
    if np.dtype(kind).kind == "c":
        a, b = a * np.array(1j, dtype=kind), b * np.array(1 + 1j, dtype=kind)
    result = xp.vecdot(xp.asarray(a), xp.asarray(b), axis=axis)
    expected = (a.conj() * b).sum(axis=axis, dtype=a.dtype)
    assert result.dtype == a.dtype
    np.testing.assert_array_equal(np.asarray(result), expected)


def test_vecdot_of_vectors_and_of_nothing():
    assert xp.vecdot(xp.asarray([1, 2]), xp.asarray([3, 4])).shape == ()
    assert np.asarray(xp.vecdot(xp.ones((2, 0)), xp.ones((2, 0)))).tolist() == [0, 0]


@pytest.mark.parametrize(("first", "second"), [((1,), (3,)), ((3, 1), (3, 3)), ((), (1,)), ((2, 3), (3, 3))])
def test_vecdot_does_not_broadcast_the_vectors(first, second):
    with pytest.raises((ValueError, IndexError)):
        xp.vecdot(xp.ones(first), xp.ones(second))


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=4))
def test_matrix_transpose(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(np.asarray(xp.matrix_transpose(xp.asarray(x))), x.swapaxes(-1, -2))


def test_matrix_transpose_takes_matrices():
    with pytest.raises(ValueError, match="two axes"):
        xp.matrix_transpose(xp.ones(3))


PRODUCTS = [
    (lambda a, v: xp.matmul(a, a), lambda a, v: a @ a),
    (lambda a, v: xp.matmul(a, v), lambda a, v: a @ v),
    (lambda a, v: xp.tensordot(a, a, axes=1), lambda a, v: a @ a),
    (lambda a, v: xp.vecdot(a[:, None, :], a), lambda a, v: a.conj() @ a.T),
    (lambda a, v: xp.vecdot(a, a, axis=-2), lambda a, v: (a.conj() * a).sum(axis=0)),
    (lambda a, v: xp.linalg.matrix_power(a, 3), lambda a, v: a @ a @ a),
    (lambda a, v: xp.linalg.matrix_power(a, -2), lambda a, v: np.linalg.inv(a @ a)),
    (lambda a, v: xp.linalg.pinv(a), lambda a, v: np.linalg.inv(a)),
    (lambda a, v: xp.linalg.matmul(a, a), lambda a, v: a @ a),
    (lambda a, v: xp.linalg.cholesky(a), lambda a, v: np.linalg.cholesky(a)),
    (lambda a, v: xp.linalg.cholesky(a, upper=True), lambda a, v: np.linalg.cholesky(a).conj().T),
]


@pytest.mark.parametrize("product", range(len(PRODUCTS)))
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_kernels_make_the_products_in_a_block(product, dtype):
    ours, numpys = PRODUCTS[product]
    r = np.random.default_rng(9).normal(size=(2, 20, 20))
    a = r[0] + (1j * r[1] if dtype == "complex128" else 0)
    a = (a @ a.conj().T / 20 + np.eye(20)).astype(dtype)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        result = np.asarray(ours(xp.asarray(a), xp.asarray(a[0])))
    assert session.counts["kernel"] >= 1
    assert session.counts["numpy"] == session.counts["failed"] == 0
    assert result.dtype == a.dtype
    exact = numpys(a.astype("complex128"), a[0].astype("complex128"))
    np.testing.assert_allclose(result, exact, rtol=0, atol=abs(exact).max() * 500 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 2, 2)])
def test_products_of_nothing_in_a_block(shape):
    x = xp.ones(shape)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True):
        for result in (
            xp.matmul(x, x),
            xp.linalg.matrix_power(x, 3),
            xp.linalg.pinv(x),
            xp.linalg.cholesky(x),
        ):
            assert (result.shape, result.dtype) == (shape, xp.float64)
        assert xp.vecdot(x, x).shape == shape[:-1]
        assert xp.tensordot(x, x, axes=0).shape == shape + shape


def test_a_matrix_that_is_not_positive_definite_raises_in_a_block_too():
    with numtrn.enabled(target="interpreter", min_work=0), pytest.raises(np.linalg.LinAlgError):
        xp.linalg.cholesky(-xp.eye(20))
