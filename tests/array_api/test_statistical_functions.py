"""Reductions, against exact arithmetic and NumPy; dtypes and empty ones by the standard."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
import numtrn.array_api as xp

nan, inf = float("nan"), float("inf")
WIDE = {"b": "int64", "h": "int64", "i": "int64", "l": "int64", "B": "uint64", "H": "uint64", "I": "uint64"}
WIDE |= {"L": "uint64", "?": "int64"} | {kind: kind for kind in "fdFD"}
AXES = [None, 0, 1, -1, (0, 1), (-1, 0), ()]


@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize("name", ["sum", "prod", "cumulative_sum", "cumulative_prod"])
def test_small_integers_are_accumulated_in_64_bits(name, kind):
    x = xp.asarray(np.ones(5, dtype=kind))
    function = getattr(xp, name)
    assert function(x).dtype == np.dtype(WIDE[kind])
    for dtype in (xp.uint8, xp.int16, xp.complex64):
        if np.dtype(kind).kind != "c" or dtype == xp.complex64:
            assert function(x, dtype=dtype).dtype == dtype


def test_sums_do_not_overflow_where_the_result_is_wide():
    big = xp.asarray([255, 255], dtype=xp.uint8)
    assert int(xp.sum(big)) == 510
    assert int(xp.prod(big)) == 255**2
    assert np.asarray(xp.cumulative_sum(big)).tolist() == [255, 510]
    assert int(xp.sum(big, dtype=xp.uint8)) == 254
    assert float(xp.sum(xp.full(3, 3e38, dtype=xp.float32), dtype=xp.float64)) == 3 * float(np.float32(3e38))


def test_imaginary_parts_are_not_dropped():
    for function in (xp.sum, xp.prod, xp.cumulative_sum):
        with pytest.raises(TypeError, match="as float64"):
            function(xp.asarray([1j]), dtype=xp.float64)
    with pytest.raises(TypeError, match="data types"):
        xp.sum(xp.ones(2), dtype="float16")


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "std", "var"])
def test_axes(name, axis, keepdims):
    x = np.random.default_rng(3).normal(size=(3, 4))
    result = getattr(xp, name)(xp.asarray(x), axis=axis, keepdims=keepdims)
    expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    assert isinstance(result, numtrn.Array)
    assert result.shape == np.shape(expected)
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "std", "var"])
@pytest.mark.parametrize("axis", [2, -3, (0, 2), (0, 0)])
def test_an_axis_that_is_not_there_or_twice(name, axis):
    with pytest.raises((ValueError, IndexError)):
        getattr(xp, name)(xp.ones((2, 2)), axis=axis)


@settings(deadline=None)
@given(st.lists(st.integers(-(10**6), 10**6), min_size=1), st.sampled_from([0, 1, 0.5, -1.5]))
def test_moments_of_integers(numbers, correction):
    x = xp.asarray(numbers, dtype=xp.int32)
    mean = Fraction(sum(numbers), len(numbers))
    assert float(xp.mean(x)) == pytest.approx(float(mean), rel=1e-14)
    assert (xp.mean(x).dtype, xp.var(x).dtype) == (np.dtype("float64"),) * 2
    divisor = len(numbers) - Fraction(correction)
    variance = float(xp.var(x, correction=correction))
    if divisor <= 0:
        assert math.isnan(variance)
        assert math.isnan(float(xp.std(x, correction=correction)))
        return
    exact = sum((number - mean) ** 2 for number in numbers) / divisor
    assert variance == pytest.approx(float(exact), rel=1e-12, abs=1e-12)
    assert float(xp.std(x, correction=correction)) == pytest.approx(math.sqrt(exact), rel=1e-12, abs=1e-6)


@pytest.mark.parametrize("dtype", [xp.float32, xp.float64, xp.complex64])
def test_nothing_has_no_mean_and_says_so_without_a_warning(dtype):
    x = xp.zeros((0, 3), dtype=dtype)
    assert xp.mean(x, axis=0).dtype == dtype
    assert np.isnan(np.asarray(xp.mean(x, axis=0))).tolist() == [True] * 3
    assert xp.mean(x, axis=1).shape == (0,)
    assert complex(xp.sum(x)) == 0
    assert complex(xp.prod(x)) == 1
    if dtype != xp.complex64:
        assert np.isnan(np.asarray(xp.var(x, axis=0, keepdims=True))).tolist() == [[True] * 3]
        assert np.isnan(float(xp.std(x, correction=-1)))
        with pytest.raises(ValueError):
            xp.max(x)


def test_a_variance_without_freedom_is_nan_also_where_numpy_divides():
    x = xp.asarray([[1.0, 2.0]])
    assert np.isnan(np.asarray(xp.var(x, axis=1, correction=2))).all()
    assert np.isnan(float(xp.std(x, correction=3)))
    assert xp.var(xp.ones((3, 0), dtype=xp.float32), axis=0).shape == (0,)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "std", "var"])
def test_nan_propagates_and_overflow_is_silent(name):
    function = getattr(xp, name)
    assert math.isnan(float(function(xp.asarray([1.0, nan, inf]))))
    function(xp.asarray([1e308, 1e308, -inf, inf]))


def test_parts_of_a_complex_mean_are_means_of_their_own():
    mean = complex(xp.mean(xp.asarray([complex(inf, 1), complex(0, 3)])))
    assert mean == complex(inf, 2)
    mean = complex(xp.mean(xp.asarray([complex(nan, 1), complex(0, 3)])))
    assert math.isnan(mean.real)
    assert mean.imag == 2


def test_what_has_no_order_has_no_extremes():
    for name in ("max", "min", "std", "var"):
        with pytest.raises(TypeError, match="have an order; got complex128"):
            getattr(xp, name)(xp.asarray([1j]))


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("shape", [(0,), (4,), (2, 3), (3, 0, 2)])
@pytest.mark.parametrize("dtype", ["int8", "float32", "complex128"])
def test_cumulative(shape, dtype, initial):
    x = np.random.default_rng(4).integers(-3, 4, shape).astype(dtype)
    for axis in range(-len(shape), len(shape)):
        for ours, numpys, neutral in ((xp.cumulative_sum, np.cumsum, 0), (xp.cumulative_prod, np.cumprod, 1)):
            result = np.asarray(ours(xp.asarray(x), axis=axis, include_initial=initial))
            expected = numpys(x, axis=axis)
            if initial:
                first, result = np.split(result, [1], axis=axis)
                assert (first == neutral).all()
                assert first.shape[axis] == 1
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_cumulative_needs_an_axis_where_there_are_several():
    for function in (xp.cumulative_sum, xp.cumulative_prod):
        for shape in ((), (2, 2)):
            with pytest.raises(ValueError, match="needs axis="):
                function(xp.ones(shape))
    assert np.asarray(xp.cumulative_sum(xp.asarray([True, True]), include_initial=True)).tolist() == [0, 1, 2]


def test_a_recorded_array_is_summed_without_it():
    x = np.random.default_rng(5).normal(size=(64, 2))
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        T = xp.matmul(xp.asarray(x), xp.asarray(x.T))
        total, mean = float(xp.sum(T)), float(xp.mean(T))
    assert total == pytest.approx((x @ x.T).sum(), rel=1e-12)
    assert mean == pytest.approx((x @ x.T).mean(), rel=1e-12)
    assert "materialised" not in str(session)
