"""All, any and differences, against NumPy and recursion."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn.array_api as xp

nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1), ()])
@pytest.mark.parametrize(
    "rows", [[[0.0, nan], [-0.0, inf]], [[True, False], [True, True]], [[0, 1j], [1, 0]], np.zeros((0, 2))]
)
def test_all_and_any(rows, axis, keepdims):
    x = np.asarray(rows)
    for ours, numpys in ((xp.all, np.all), (xp.any, np.any)):
        result = ours(xp.asarray(x), axis=axis, keepdims=keepdims)
        expected = numpys(x != 0, axis=axis, keepdims=keepdims)
        assert (result.dtype, result.shape) == (np.dtype("bool"), np.shape(expected))
        np.testing.assert_array_equal(np.asarray(result), expected)


def test_of_nothing():
    assert bool(xp.all(xp.zeros(0)))
    assert not bool(xp.any(xp.zeros(0)))


@settings(deadline=None)
@given(
    st.lists(st.integers(-100, 100), max_size=8),
    st.integers(0, 4),
    st.lists(st.integers(-100, 100), max_size=3),
    st.lists(st.integers(-100, 100), max_size=3),
)
def test_diff_with_ends(numbers, n, before, after):
    expected = before + numbers + after
    for _ in range(n):
        expected = [b - a for a, b in pairwise(expected)]
    x, p, a = (xp.asarray(part, dtype=xp.int64) for part in (numbers, before, after))
    assert np.asarray(xp.diff(x, n=n, prepend=p, append=a)).tolist() == expected


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32", "complex64"])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_diff_along_an_axis_keeps_the_dtype(axis, dtype):
    x = np.random.default_rng(6).integers(0, 100, (3, 4)).astype(dtype)
    result = xp.diff(xp.asarray(x), axis=axis)
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(result), np.diff(x, axis=axis))


def test_diff_says_what_is_wrong():
    with pytest.raises(TypeError, match="numeric arrays; got bool"):
        xp.diff(xp.asarray([True]))
    with pytest.raises(ValueError):
        xp.diff(xp.ones(3), n=-1)
    with pytest.raises(IndexError):
        xp.diff(xp.ones(3), axis=1)
    with pytest.raises(ValueError):
        xp.diff(xp.ones((2, 3)), prepend=xp.ones((3, 1)))


def test_differences_of_infinities_are_silent_and_none_are_a_copy():
    x = xp.asarray([inf, inf, 1e308, -1e308])
    assert np.isnan(np.asarray(xp.diff(x))[0])
    same = xp.diff(x, n=0)
    same[0] = 0.0
    assert float(x[0]) == inf
