"""Elements by places, against NumPy."""

import numpy as np
import pytest

import numtrn.array_api as xp


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take(axis, dtype):
    x = np.arange(12.0).reshape(3, 4)
    places = np.asarray([2, 0, 0], dtype=dtype)
    result = xp.take(xp.asarray(x), xp.asarray(places), axis=axis)
    np.testing.assert_array_equal(np.asarray(result), np.take(x, [2, 0, 0], axis))


def test_take_counts_from_the_end_and_takes_nothing():
    x = xp.asarray([1, 2, 3])
    assert np.asarray(xp.take(x, xp.asarray([-1, 0]))).tolist() == [3, 1]
    assert xp.take(x, xp.asarray([], dtype=xp.int64)).shape == (0,)


def test_take_says_what_is_wrong():
    x = xp.ones((2, 3))
    with pytest.raises(ValueError, match="needs axis="):
        xp.take(x, xp.asarray([0]))
    with pytest.raises(ValueError, match="of one axis"):
        xp.take(x, xp.asarray([[0]]), axis=0)
    with pytest.raises(TypeError, match="integer array; got float64"):
        xp.take(x, xp.asarray([0.0]), axis=0)
    with pytest.raises(TypeError, match="integer array; got list"):
        xp.take(x, [0], axis=0)
    with pytest.raises(IndexError):
        xp.take(x, xp.asarray([2]), axis=0)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_take_along_axis_of_an_argsort(axis):
    x = np.random.default_rng(1).integers(0, 5, (3, 4, 2))
    a = xp.asarray(x)
    result = xp.take_along_axis(a, xp.argsort(a, axis=axis), axis=axis)
    np.testing.assert_array_equal(np.asarray(result), np.sort(x, axis=axis))


@pytest.mark.parametrize(
    ("shape", "places"), [((3, 4), (1, 2)), ((1, 4), (3, 5)), ((3, 0), (3, 0)), ((0, 4), (1, 2))]
)
def test_take_along_axis_broadcasts_the_other_axes(shape, places):
    x = np.arange(np.prod(shape)).reshape(shape)
    indices = -np.ones(places, dtype="int32")
    result = np.asarray(xp.take_along_axis(xp.asarray(x), xp.asarray(indices)))
    rows = max(shape[0], places[0]) if 0 not in (shape[0], places[0]) else 0
    assert result.shape == (rows, places[1])
    for i, j in np.ndindex(result.shape):
        assert result[i, j] == x[i if shape[0] > 1 else 0, -1]


def test_take_along_axis_takes_as_many_axes():
    with pytest.raises(ValueError, match="2 axes, as x has; got 1"):
        xp.take_along_axis(xp.ones((2, 3)), xp.asarray([0]))
    with pytest.raises(TypeError, match="integer array"):
        xp.take_along_axis(xp.ones(2), xp.ones(2))
