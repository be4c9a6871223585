"""Shapes, orders and pieces: NumPy is the oracle, and the standard where it says otherwise."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numtrn
import numtrn.array_api as xp

DTYPES = [np.dtype(kind) for kind in "?bhilBHILfdFD"]
SHAPES = [(), (0,), (1,), (5,), (2, 3), (0, 3), (2, 1, 3), (2, 0, 3, 1)]


def values(shape, dtype="float64"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def same(result, expected):
    expected = np.asarray(expected)
    assert isinstance(result, numtrn.Array)
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(np.asarray(result), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_dtype_and_shape(shape, dtype):
    x = values(shape, dtype)
    a = xp.asarray(x)
    same(xp.flip(a), np.flip(x))
    same(xp.roll(a, 2), np.roll(x, 2))
    same(xp.tile(a, (2, 1)), np.tile(x, (2, 1)))
    same(xp.repeat(a, 3), np.repeat(x, 3))
    same(xp.reshape(a, (-1,)), x.reshape(-1))
    same(xp.expand_dims(a, axis=0), x[None])
    same(xp.stack([a, a], axis=-1), np.stack([x, x], axis=-1))
    same(xp.concat([a, a], axis=None), np.concatenate([x, x], axis=None))
    same(xp.broadcast_to(a, (2, *x.shape)), np.broadcast_to(x, (2, *x.shape)))
    for axis in range(-x.ndim, x.ndim):
        same(xp.flip(a, axis=axis), np.flip(x, axis))
        same(xp.roll(a, -1, axis=axis), np.roll(x, -1, axis))
        same(xp.moveaxis(a, axis, 0), np.moveaxis(x, axis, 0))
        same(xp.concat([a, a], axis=axis), np.concatenate([x, x], axis))
        same(xp.repeat(a, 2, axis=axis), np.repeat(x, 2, axis))
        rows = xp.unstack(a, axis=axis)
        assert len(rows) == x.shape[axis]
        for row, expected in zip(rows, np.moveaxis(x, axis, 0), strict=True):
            same(row, expected)


@settings(deadline=None)
@given(hnp.arrays("int16", hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)), st.data())
def test_axes_in_any_order(x, data):
    order = data.draw(st.permutations(range(x.ndim)))
    signed = tuple(axis - x.ndim if data.draw(st.booleans()) else axis for axis in order)
    same(xp.permute_dims(xp.asarray(x), signed), x.transpose(order))
    count = data.draw(st.integers(0, x.ndim))
    source, target = signed[:count], tuple(data.draw(st.permutations(range(x.ndim))))[:count]
    same(xp.moveaxis(xp.asarray(x), source, target), np.moveaxis(x, source, target))


@pytest.mark.parametrize("axes", [(0, 1), (-1, 0), (3, 1), (-1, -3), ()])
def test_expand_dims_by_several_axes(axes):
    x = values((2, 3))
    result = xp.expand_dims(xp.asarray(x), axes)
    total = 2 + len(axes)
    kept = iter(x.shape)
    assert result.shape == tuple(1 if i in {a % total for a in axes} else next(kept) for i in range(total))
    same(xp.squeeze(result, axes), x)


@pytest.mark.parametrize("axis", [3, -4, (0, 5)])
def test_expand_dims_names_a_wrong_axis(axis):
    with pytest.raises(IndexError):
        xp.expand_dims(xp.ones((2, 3)), axis)


def test_expand_dims_of_an_axis_twice():
    with pytest.raises(ValueError, match="repeated"):
        xp.expand_dims(xp.ones(2), (0, 0))


def test_squeeze_only_axes_of_one():
    x = xp.ones((1, 2, 1))
    assert xp.squeeze(x, (0, -1)).shape == (2,)
    assert xp.squeeze(x, ()).shape == (1, 2, 1)
    with pytest.raises(ValueError):
        xp.squeeze(x, 1)
    with pytest.raises(IndexError):
        xp.squeeze(x, 3)


def test_arrays_put_together_promote_and_one_without_axes_counts_too():
    small, large = xp.asarray(3, dtype=xp.int64), xp.asarray([1, 2], dtype=xp.int8)
    same(xp.concat([small, large], axis=None), np.asarray([3, 1, 2], dtype="int64"))
    same(xp.stack([xp.ones((), dtype=xp.float64), xp.ones((), dtype=xp.float32)]), np.ones(2))
    result = xp.concat((xp.ones(2, dtype=xp.float32), xp.ones(1, dtype=xp.complex64)))
    assert result.dtype == np.complex64


def test_concat_takes_arrays_of_the_same_other_axes():
    with pytest.raises(ValueError):
        xp.concat([xp.ones((2, 3)), xp.ones((3, 2))])
    with pytest.raises(ValueError):
        xp.concat([])
    with pytest.raises(TypeError, match="numtrn arrays; got ndarray"):
        xp.concat([np.ones(2)])


def test_broadcasting():
    shapes = [(3, 1), (1, 4), (1, 1), (4,), ()]
    arrays = [xp.asarray(values(shape, dtype)) for shape, dtype in zip(shapes, "fdilB", strict=True)]
    together = xp.broadcast_arrays(*arrays)
    assert isinstance(together, tuple)
    for one, each in zip(together, arrays, strict=True):
        same(one, np.broadcast_to(np.asarray(each), (3, 4)))
    assert xp.broadcast_shapes(*shapes) == (3, 4)
    assert xp.broadcast_shapes() == ()
    assert xp.broadcast_shapes((0,), (1,)) == (0,)
    with pytest.raises(ValueError):
        xp.broadcast_shapes((2,), (3,))
    with pytest.raises(ValueError):
        xp.broadcast_arrays(xp.ones(2), xp.ones(3))


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64"])
def test_repeat_by_an_array_of_any_integer_dtype(dtype):
    x = values((2, 3))
    times = np.asarray([2, 0, 1], dtype=dtype)
    same(xp.repeat(xp.asarray(x), xp.asarray(times), axis=1), np.repeat(x, [2, 0, 1], axis=1))
    same(xp.repeat(xp.asarray(x), xp.asarray([2], dtype=times.dtype), axis=0), np.repeat(x, 2, axis=0))


def test_repeat_counts_by_integers():
    with pytest.raises(TypeError, match="repeats as an integer array; got float64"):
        xp.repeat(xp.ones(2), xp.ones(2))


@pytest.mark.parametrize(
    ("shift", "axis"), [(1, (0, 1)), ((1, -2), (0, 1)), ((1, 1), (1, 1)), (7, -1), ((0,), (0,))]
)
def test_roll_along_axes(shift, axis):
    x = values((3, 4))
    same(xp.roll(xp.asarray(x), shift, axis=axis), np.roll(x, shift, axis))


@pytest.mark.parametrize(("shift", "axis"), [((1, 2), None), ((1, 2), (0,)), ((1,), 0)])
def test_roll_has_an_axis_for_each_of_several_shifts(shift, axis):
    with pytest.raises(ValueError, match="as many axes as shifts"):
        xp.roll(xp.ones((3, 4)), shift, axis=axis)


def test_reshape_copies_as_asked():
    x = xp.asarray(values((2, 3)))
    turned = xp.permute_dims(x, (1, 0))
    same(xp.reshape(turned, (6,)), values((2, 3)).T.reshape(6))
    same(xp.reshape(x, (3, -1), copy=False), values((3, 2)))
    same(xp.reshape(xp.zeros((0, 2)), (2, 0), copy=False), np.zeros((2, 0)))
    with pytest.raises(ValueError, match="copy=False"):
        xp.reshape(turned, (6,), copy=False)
    copied = xp.reshape(x, (6,), copy=True)
    copied[0] = 9.0
    assert float(x[0, 0]) == 0


@pytest.mark.parametrize("shape", [(4,), (-1, -1), (5, -1)])
def test_reshape_keeps_the_number_of_elements(shape):
    with pytest.raises(ValueError):
        xp.reshape(xp.ones((2, 3)), shape)


@pytest.mark.parametrize(
    ("shape", "repetitions"), list(itertools.product([(), (2,), (2, 3)], [(), (2,), (2, 0, 3)]))
)
def test_tile(shape, repetitions):
    x = values(shape)
    same(xp.tile(xp.asarray(x), repetitions), np.tile(x, repetitions))


@pytest.mark.parametrize("function", [xp.flip, xp.stack, xp.unstack, xp.concat, xp.squeeze])
def test_an_axis_that_is_not_there(function):
    x = xp.ones((1, 1))
    with pytest.raises((IndexError, ValueError)):
        function([x] if function in (xp.stack, xp.concat) else x, axis=4)


def test_results_are_where_their_arguments_are():
    x = xp.ones((2, 2), device="interpreter:0")
    for result in (xp.flip(x), xp.reshape(x, (4,)), xp.concat([x, x]), xp.unstack(x)[0], xp.tile(x, (2,))):
        assert result.device == "interpreter:0"
    with pytest.raises(ValueError, match="to_device"):
        xp.concat([x, xp.ones((2, 2))])
