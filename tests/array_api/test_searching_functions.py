"""Places and choices, against NumPy, lists, and the standard's rules for scalars."""

from bisect import bisect_left, bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn.array_api as xp

nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float32", "float64"])
def test_extremes(dtype, axis, keepdims):
    x = np.random.default_rng(2).integers(0, 3, (4, 5)).astype(dtype)
    for ours, numpys in ((xp.argmax, np.argmax), (xp.argmin, np.argmin)):
        result = ours(xp.asarray(x), axis=axis, keepdims=keepdims)
        assert result.dtype == np.int64
        np.testing.assert_array_equal(np.asarray(result), numpys(x, axis=axis, keepdims=keepdims))
        assert result.shape == np.shape(numpys(x, axis=axis, keepdims=keepdims))


def test_the_first_of_several_and_nan_before_all():
    assert int(xp.argmax(xp.asarray([1, 3, 3]))) == 1
    assert int(xp.argmin(xp.asarray([2.0, nan, -inf, nan]))) == 1
    with pytest.raises(ValueError):
        xp.argmax(xp.zeros(0))
    with pytest.raises(TypeError, match="have an order; got complex128"):
        xp.argmax(xp.asarray([1j]))


@pytest.mark.parametrize("axis", [None, 0, (0, 1), (), -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_count_nonzero(axis, keepdims):
    x = np.asarray([[0.0, nan, -0.0], [inf, 0.0, 2.0]])
    result = xp.count_nonzero(xp.asarray(x), axis=axis, keepdims=keepdims)
    expected = np.sum(x != 0, axis=axis, keepdims=keepdims)
    assert (result.dtype, result.shape) == (np.dtype("int64"), expected.shape)
    np.testing.assert_array_equal(np.asarray(result), expected)


def test_nonzero():
    rows, columns = xp.nonzero(xp.asarray([[0, 1j], [1, 0]]))
    assert (np.asarray(rows).tolist(), np.asarray(columns).tolist()) == ([0, 1], [1, 0])
    assert xp.nonzero(xp.zeros((0, 3)))[1].shape == (0,)
    with pytest.raises(ValueError, match="at least one axis"):
        xp.nonzero(xp.asarray(1))


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5)), st.lists(st.integers(-6, 6)), st.sampled_from(["left", "right"]))
def test_searchsorted_as_bisection(numbers, sought, side):
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    ascending = sorted(numbers)
    expected = [(bisect_left if side == "left" else bisect_right)(ascending, value) for value in sought]
    x, v = xp.asarray(numbers, dtype=xp.int32), xp.asarray(sought, dtype=xp.float64)
    given_order = xp.asarray(order, dtype=xp.uint64)
    assert np.asarray(xp.searchsorted(x, v, side=side, sorter=given_order)).tolist() == expected
    assert np.asarray(xp.searchsorted(xp.sort(x), v, side=side)).tolist() == expected


def test_searchsorted_for_a_scalar_and_any_shape():
    x = xp.asarray([1.0, 2.0, 4.0], dtype=xp.float32)
    assert xp.searchsorted(x, 2).shape == ()
    assert int(xp.searchsorted(x, 2, side="right")) == 2
    assert xp.searchsorted(x, xp.ones((2, 0))).shape == (2, 0)
    assert xp.searchsorted(x, xp.ones((2, 3))).dtype == np.int64
    assert int(xp.searchsorted(xp.sort(xp.asarray([nan, 1.0])), nan)) == 1  # where sort has it
    assert int(xp.searchsorted(x, xp.asarray(2.0 + 1e-12))) == 2  # in float64, not rounded to float32
    with pytest.raises(ValueError, match="one axis"):
        xp.searchsorted(xp.ones((2, 2)), 1)
    with pytest.raises(ValueError):
        xp.searchsorted(x, 1, side="middle")


CHOICES = [
    ("float32", 1.5, "float32"),
    ("float32", 1, "float32"),
    ("float32", True, "float32"),
    ("float32", 1j, "complex64"),
    ("float64", 1j, "complex128"),
    ("int8", 3, "int8"),
    ("uint8", True, "uint8"),
    ("int8", 1.5, "float64"),
    ("bool", False, "bool"),
    ("bool", 2, "int64"),
]


@pytest.mark.parametrize(("dtype", "scalar", "result"), CHOICES)
def test_where_with_a_scalar_has_the_dtype_of_the_standard(dtype, scalar, result):
    condition = xp.asarray([True, False])
    for shape in ((2,), ()):
        x = xp.ones(shape, dtype=np.dtype(dtype))
        assert xp.where(condition, x, scalar).dtype == np.dtype(result)
        chosen = np.asarray(xp.where(condition, scalar, x))
        assert (chosen.dtype, chosen[0], chosen[1]) == (np.dtype(result), scalar, 1)


def test_where_with_arrays():
    c = xp.asarray([[True], [False]])
    result = xp.where(c, xp.asarray([1, 2], dtype=xp.int8), xp.asarray(300, dtype=xp.int16))
    assert result.dtype == np.int16
    assert np.asarray(result).tolist() == [[1, 2], [300, 300]]
    assert xp.where(xp.asarray(True), xp.asarray(1), 2).shape == ()


def test_where_says_what_is_wrong():
    c, x = xp.asarray([True]), xp.asarray([1], dtype=xp.int8)
    with pytest.raises(TypeError, match="two Python scalars"):
        xp.where(c, 1, 2)
    with pytest.raises(TypeError, match="bool arrays; got int8"):
        xp.where(x, x, x)
    with pytest.raises(OverflowError, match="300 is outside int8"):
        xp.where(c, x, 300)
    with pytest.raises(TypeError, match="Python scalars; got str"):
        xp.where(c, x, "a")
