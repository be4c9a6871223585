"""From diagonals to float64: one rounding, decided in Python integers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.precision.recombine import MOST_TERMS, recombine

LARGEST = 2 * 2**14 * MOST_TERMS  # of diagonal 0; diagonal t has t + 1 times as much


def exact(diagonals, exponent):
    """N 2^exponent in float64: Python converts integers with one rounding, ties to even."""
    total = 0
    for d in diagonals:
        total = 256 * total + int(d)
    return math.ldexp(float(total), exponent - 14 - 8 * (len(diagonals) - 1))


def check(columns, exponent=0):
    """`columns`: lists of diagonals, one for each output."""
    diagonals = np.array(columns, np.int64).T.reshape(len(columns[0]), 1, 1, len(columns))
    value = recombine(diagonals, np.array([[exponent]]), np.zeros((1, len(columns)), np.int64))
    assert value.ravel().tolist() == [exact(column, exponent) for column in columns]


@pytest.mark.parametrize("slices", range(7, 12))
@pytest.mark.parametrize("bits", [4, 20, 33, 41])
def test_random(slices, bits):
    assert LARGEST == 2**41
    rng = np.random.default_rng([slices, bits])
    limits = np.arange(1, slices + 1) * 2**bits
    check(rng.integers(-limits, limits + 1, (3000, slices)).tolist())
    check([limits.tolist(), (-limits).tolist()])


@pytest.mark.parametrize("slices", range(7, 12))
def test_ties_and_their_neighbours(slices):
    # 53 bits, a half, and one bit at every place below it or none.
    columns = []
    for lead in range(1, 8 * slices - 54 + 30):
        for odd in (0, 1):
            for below in (None, *range(0, lead - 1, 5)):
                n = (((1 << 52) + odd) << lead) + (1 << (lead - 1)) + (0 if below is None else 1 << below)
                for signed in (n, -n, n - 2, -n + 2):
                    columns.append(split(signed, slices))
    check(columns)


def split(n, slices):
    digits = []
    for _ in range(slices - 1):
        digits.append(n & 255)
        n >>= 8
    assert abs(n) < 2**50
    return [n, *digits[::-1]]


@given(st.integers(7, 16), st.data())
@settings(max_examples=200, deadline=None)
def test_cancellation(slices, data):
    draw = st.integers(-LARGEST, LARGEST)
    column = data.draw(st.lists(draw, min_size=slices, max_size=slices))
    # The next diagonal takes away nearly all of the one before it.
    for t in range(slices - 1):
        if data.draw(st.booleans()) and 256 * abs(column[t]) < LARGEST:
            column[t + 1] = -256 * column[t] + data.draw(st.integers(-2, 2))
    check([column])


@pytest.mark.parametrize("exponent", [-1200, -1100, -1022, -900, 399, 500, 900])
def test_scaling_over_the_whole_range(exponent):
    rng = np.random.default_rng(0)
    check(rng.integers(-(2**20), 2**20, (500, 7)).tolist(), exponent)


def test_exponents_that_leave_the_range_on_the_way():
    diagonals = np.full((7, 1, 2, 2), 5, np.int64)
    rows, columns = np.array([[1024, -1074]]), np.array([[-1000, 1024]])
    with np.errstate(all="ignore"):
        value = recombine(diagonals, rows, columns)[0]
    assert value[0, 0] == exact([5] * 7, 24)
    assert value[1, 1] == exact([5] * 7, -50)
    assert value[1, 0] == 0
