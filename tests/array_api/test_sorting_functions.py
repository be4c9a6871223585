"""Orders, against Python's sorted, which is stable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numtrn.array_api as xp

nan = float("nan")


@settings(deadline=None)
@given(st.lists(st.integers(-2, 2)), st.booleans(), st.booleans())
def test_equal_elements_keep_their_order(numbers, descending, stable):
    x = xp.asarray(numbers, dtype=xp.int8)
    order = np.asarray(xp.argsort(x, descending=descending, stable=stable)).tolist()
    assert [numbers[i] for i in order] == sorted(numbers, reverse=descending)
    if stable:  # sorted(reverse=True) keeps it too
        assert order == sorted(range(len(numbers)), key=numbers.__getitem__, reverse=descending)
    assert np.asarray(xp.sort(x, descending=descending, stable=stable)).tolist() == [
        numbers[i] for i in order
    ]


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["bool", "uint8", "int64", "float32", "float64"]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    ),
    st.data(),
)
def test_any_axis_and_dtype(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    a = xp.asarray(x)
    ascending = np.sort(x, axis=axis)
    np.testing.assert_array_equal(np.asarray(xp.sort(a, axis=axis)), ascending)
    np.testing.assert_array_equal(
        np.asarray(xp.sort(a, axis=axis, descending=True)), np.flip(ascending, axis)
    )
    for descending in (False, True):
        places = xp.argsort(a, axis=axis, descending=descending)
        assert (places.dtype, places.shape) == (np.dtype("int64"), x.shape)
        sorted_by = np.take_along_axis(x, np.asarray(places), axis)
        np.testing.assert_array_equal(sorted_by, np.asarray(xp.sort(a, axis=axis, descending=descending)))


def test_zeros_of_both_signs_are_equal():
    zeros = [0.0, -0.0, -0.0, 0.0]
    for descending in (False, True):
        result = np.asarray(xp.sort(xp.asarray(zeros), descending=descending))
        assert np.signbit(result).tolist() == [False, True, True, False]


def test_nan_counts_as_the_largest():
    x = xp.asarray([1.0, nan, 3.0, nan])
    assert np.asarray(xp.argsort(x)).tolist() == [0, 2, 1, 3]
    assert np.asarray(xp.argsort(x, descending=True)).tolist() == [1, 3, 2, 0]
    assert int(xp.argsort(x, descending=True)[0]) == int(xp.argmax(x))


def test_what_has_no_order_or_no_axis():
    for function in (xp.sort, xp.argsort):
        with pytest.raises(TypeError, match="have an order; got complex64"):
            function(xp.ones(2, dtype=xp.complex64))
        with pytest.raises(IndexError):
            function(xp.ones(2), axis=1)
        with pytest.raises(IndexError):
            function(xp.asarray(1.0), descending=True)


def test_the_argument_stays():
    x = xp.asarray([2, 1])
    xp.sort(x)
    xp.sort(x, descending=True)
    assert np.asarray(x).tolist() == [2, 1]
