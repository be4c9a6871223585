"""Digit planes: they are the rounded fixed-point number, whatever the block, the layout and the number."""

from fractions import Fraction

import numpy as np
import pytest

from numtrn.precision.digits import Planes, StackedPlanes, SummedPlanes
from numtrn.precision.scaling import Side, exponents, largest, scale_inner, sides
from tests.precision.engines import blocks, checked

EDGES = [
    0.0,
    1.0,
    -1.0,
    127 / 128,
    -127 / 128,
    1 - 2.0**-53,
    0.5,
    2.0**-8,
    -(2.0**-8),
    2.0**-1074,
    1 / 3,
    -1 / 3,
]


def value(planes):
    """The numbers that planes (k, slices, rows) stand for, as fractions (rows, k)."""
    total = np.zeros((planes.shape[2], planes.shape[0]), object)
    for p in range(planes.shape[1]):
        total = total + np.vectorize(lambda q, p=p: Fraction(int(q), 2 ** (7 + 8 * p)), otypes=[object])(
            planes[:, p].T
        )
    return total


def tricky(slices):
    """Elements whose digits carry: ties, all ones, one below and above a power of two."""
    unit = 2.0 ** (1 - 8 * slices)
    near = [
        base + step * unit
        for base in (0.0, 0.25, -0.25, 2.0**-20, 127 / 256)
        for step in (-1.5, -0.5, 0.5, 1.5)
    ]
    ones = [sign * (0.5 - 2.0**-j) for sign in (1, -1) for j in (2, 9, 53, 54)]
    halves = [sum(128 * 2.0 ** (-8 * p - 7) for p in range(1, j)) for j in range(2, 8)]
    return np.array(EDGES + near + ones + halves + [-x for x in halves])


def side(x, parts=1):
    parts = (x,) if parts == 1 else (x.real, x.imag)
    return Side(parts=parts, exponents=exponents(largest(parts)))


@pytest.mark.parametrize("slices", [7, 8, 9, 10, 11, 16])
@pytest.mark.parametrize("scale", [0, -1060, 900])
def test_digits_are_the_rounded_fixed_point_number(slices, scale):
    with np.errstate(under="ignore"):
        x = np.ldexp(np.concatenate((tricky(slices), np.random.default_rng(0).standard_normal(40))), scale)
    x = np.stack((x, x[::-1] / 4, np.zeros_like(x)))[None]
    operand = side(x)
    planes = checked(
        Planes(side=operand, slices=slices),
        Planes(side=operand, slices=slices).block(0, slice(0, 3), slice(0, x.shape[2])),
        slice(0, x.shape[2]),
        slice(0, 3),
    )
    unit = Fraction(2) ** (1 - 8 * slices)
    for row in range(3):
        exponent = int(operand.exponents[0, row])
        scaled = [Fraction(float(element)) / Fraction(2) ** exponent for element in x[0, row]]
        assert max(map(abs, scaled)) < 1
        assert value(planes)[row].tolist() == [round(element / unit) * unit for element in scaled]


@pytest.mark.parametrize("slices", [7, 8, 11])
@pytest.mark.parametrize("layout", ["C", "F", "reversed"])
def test_blocks_are_cuts_of_the_whole(slices, layout):
    x = np.random.default_rng(2).standard_normal((2, 50, 70)) * np.exp2(np.arange(70) - 30)
    x = {"C": x, "F": x.transpose(0, 2, 1).copy().transpose(0, 2, 1), "reversed": x[:, ::-1, ::-1]}[layout]
    digits = Planes(side=side(x), slices=slices)
    whole = digits.block(1, slice(0, 50), slice(0, 70))
    for rows in blocks(50, 17):
        for ks in blocks(70, 23):
            assert np.array_equal(digits.block(1, rows, ks), whole[ks, :, rows])


def test_long_blocks_are_worked_in_chunks():
    x = np.random.default_rng(2).standard_normal((1, 70, 5000))
    digits = Planes(side=side(x), slices=7)
    whole = digits.block(0, slice(0, 70), slice(0, 5000))
    assert np.array_equal(whole[4321:, :, 69:], digits.block(0, slice(69, 70), slice(4321, 5000)))


@pytest.mark.parametrize("slices", [7, 9])
def test_complex_planes(slices):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 9)) + 1j * rng.standard_normal((2, 5, 9))
    x[0, 0] = 1 + 1j
    operand = side(x, parts=2)
    stacked, summed = StackedPlanes(side=operand, slices=slices), SummedPlanes(side=operand, slices=slices)
    assert (stacked.batch, summed.batch) == (4, 2)
    assert (stacked.peak, summed.peak) == (128, 256)
    whole = slice(0, 5), slice(0, 9)
    for i in range(2):
        real, imaginary = stacked.block(i, *whole), stacked.block(2 + i, *whole)
        assert np.array_equal(real + imaginary, checked(summed, summed.block(i, *whole), *whole[::-1]))


def test_inner_scaling_moves_powers_of_two_only():
    rng = np.random.default_rng(0)
    g = np.linspace(-200, 200, 30).round()
    a, b = rng.standard_normal((1, 3, 30)) * 2.0**g, rng.standard_normal((1, 30, 3)) * 2.0 ** -g[:, None]
    lhs, rhs = scale_inner(*sides(a, b))
    assert np.array_equal(lhs.inner, -rhs.inner)
    for operand in lhs, rhs:
        block = np.abs(operand.scaled(0, 0, slice(0, 3), slice(0, 30)))
        assert block.max() < 1
        assert block.min() > 2.0**-14
    assert scale_inner(*sides(a / a, b / b)) is None, "nothing to move"
    assert scale_inner(*sides(np.ldexp(a, 400), b)) is None, "would not be exact"
