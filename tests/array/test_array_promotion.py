"""Types of results are those of NEP 50 and of the standard's tables, on every NumPy; here written out."""

import operator

import numpy as np
import pytest

import numtrn
from numtrn.array import promotion

SIGNED, UNSIGNED = ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32", "uint64")
FLOATING, COMPLEX = ("float32", "float64"), ("complex64", "complex128")

# The tables of the standard, "Type Promotion Rules"; rows and columns in the order of the names.
SIGNED_TABLE = """
i1 i2 i4 i8
i2 i2 i4 i8
i4 i4 i4 i8
i8 i8 i8 i8
"""
UNSIGNED_TABLE = """
u1 u2 u4 u8
u2 u2 u4 u8
u4 u4 u4 u8
u8 u8 u8 u8
"""
MIXED_TABLE = """
i2 i4 i8
i2 i4 i8
i4 i4 i8
i8 i8 i8
"""
FLOATING_TABLE = """
f4 f8 c8 c16
f8 f8 c16 c16
c8 c16 c8 c16
c16 c16 c16 c16
"""


def table(text, rows, columns):
    lines = [line.split() for line in text.split("\n") if line]
    return [
        (row, column, np.dtype(cell))
        for row, line in zip(rows, lines, strict=True)
        for column, cell in zip(columns, line, strict=True)
    ]


PAIRS = [
    *table(SIGNED_TABLE, SIGNED, SIGNED),
    *table(UNSIGNED_TABLE, UNSIGNED, UNSIGNED),
    *table(MIXED_TABLE, SIGNED, UNSIGNED[:3]),
    *table(FLOATING_TABLE, FLOATING + COMPLEX, FLOATING + COMPLEX),
    ("bool", "bool", np.dtype(bool)),
]
SHAPES = [((2,), (2,)), ((), (2,)), ((2,), ()), ((), ()), ((2, 1), ())]


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_two_arrays_whatever_their_axes(first, second, expected, shapes):
    for types in ((first, second), (second, first)):
        x, y = (numtrn.asarray(np.ones(s, t)) for s, t in zip(shapes, types, strict=True))
        results = [np.add(x, y), x * y, np.where(x == y, x, y), np.maximum(np.asarray(x), y)]
        if "complex" not in first + second:
            results += [np.clip(x, y, None)]
        if np.dtype(first).kind in "iuf" and np.dtype(second).kind in "iuf":
            results += [x // y, x % y]
        assert [got.dtype for got in results] == [expected] * len(results)
        assert np.result_type(x, y) == expected


WEAK = [
    *[(kind, 3, kind) for kind in SIGNED + UNSIGNED + FLOATING + COMPLEX],
    *[(kind, True, kind) for kind in SIGNED + UNSIGNED + FLOATING + COMPLEX],
    *[(kind, 2.5, "float64") for kind in ("bool", *SIGNED, *UNSIGNED)],
    *[(kind, 2.5, kind) for kind in FLOATING + COMPLEX],
    *[(kind, 1j, "complex128") for kind in ("bool", *SIGNED, *UNSIGNED, "float64", "complex128")],
    *[(kind, 1j, "complex64") for kind in ("float32", "complex64")],
    ("float16", 2.5, "float16"),
    ("float16", 3, "float16"),
    ("float16", 1j, "complex64"),
    ("float32", 1e10, "float32"),
    ("float32", 2**40, "float32"),
]


@pytest.mark.parametrize(("kind", "scalar", "expected"), WEAK)
@pytest.mark.parametrize("shape", [(), (3,), (0,)])
def test_scalars_of_pythons_are_weak(kind, scalar, expected, shape):
    x = numtrn.asarray(np.ones(shape, kind))
    for got in (x + scalar, scalar * x, np.multiply(x, scalar), np.where(x == x, x, scalar)):
        assert got.dtype == expected
    if not isinstance(scalar, complex) and "complex" not in kind and kind != "bool":
        assert (x // scalar).dtype == (x % scalar).dtype == (scalar // x).dtype == np.dtype(expected)
    assert np.result_type(x, scalar) == expected


def test_integers_that_do_not_fit_are_errors():
    x = numtrn.asarray(np.array([1, 2], np.uint8))
    for call in (operator.add, operator.mul, operator.floordiv, operator.mod, operator.and_, np.maximum):
        for other in (256, -1):
            with pytest.raises(OverflowError, match=f"Python integer {other} out of bounds for uint8"):
                call(x, other)
    with pytest.raises(OverflowError):
        x += 300
    assert x.tolist() == [1, 2]


def test_integers_that_do_not_fit_can_be_compared():
    x = numtrn.asarray(np.array([1, 255], np.uint8))
    assert (x < 300).tolist() == [True, True]
    assert (x > -1).tolist() == [True, True]
    assert (x == 256).tolist() == [False, False]


@pytest.mark.parametrize("scalar", [np.float64(3), np.int64(3), np.array(3.0)], ids=repr)
def test_scalars_of_numpys_are_not_weak(scalar):
    x = numtrn.asarray(np.ones(2, np.float32))
    assert (x + scalar).dtype == (scalar + x).dtype == np.float64
    assert (x // scalar).dtype == np.float64


def test_an_update_in_place_casts_within_a_kind():
    x = numtrn.asarray(np.ones(2, np.float32))
    x += numtrn.asarray(0.5)
    assert (x.dtype, x.tolist()) == (np.float32, [1.5, 1.5])


@pytest.mark.parametrize("scalar", [np.float64(2), 2.0, 2, np.float32(2)], ids=repr)
def test_recorded_arrays_promote_as_computed_ones(scalar):
    x = np.ones((30, 2), np.float32)
    expected = np.float64 if isinstance(scalar, np.float64) else np.float32
    with numtrn.enabled(target="interpreter", min_work=1):
        a = numtrn.asarray(x)
        product = a @ a.T
        assert product._node() is not None
        for got in (product * scalar, product + numtrn.asarray(np.asarray(scalar, expected))):
            assert got.dtype == expected
            assert np.asarray(got).dtype == expected


def test_result_types_of_types_and_arrays():
    x = numtrn.asarray(np.ones((), np.float32))
    assert np.result_type(x, np.float64) == np.float64
    assert np.result_type(x, "int8", 3) == np.float32
    assert promotion.result_type(np.int8, 2.5) == np.float64


def test_other_kinds_are_left_to_numpy():
    days = np.array(["2024-01-05"], "M8[D]")
    got = numtrn.asarray(days) + 3
    assert np.array_equal(np.asarray(got), days + 3)
    assert np.asarray(numtrn.asarray(np.array([1, "a"], object)) * 2).tolist() == [2, "aa"]
