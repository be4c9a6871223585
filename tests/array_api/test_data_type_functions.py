"""Conversion, limits, kinds and promotion, held against the standard's tables and IEEE 754."""

import numpy as np
import pytest

import numtrn
from numtrn import array_api as xp
from numtrn.array_api._data_types import DTYPES

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
FLOATING = ("float32", "float64", "complex64", "complex128")
MIXED = {  # of a signed and an unsigned integer, from the standard
    "uint8": ("int16", "int16", "int32", "int64"),
    "uint16": ("int32", "int32", "int32", "int64"),
    "uint32": ("int64", "int64", "int64", "int64"),
}
FLOATS = (  # row and column in the order of FLOATING
    ("float32", "float64", "complex64", "complex128"),
    ("float64", "float64", "complex128", "complex128"),
    ("complex64", "complex128", "complex64", "complex128"),
    ("complex128", "complex128", "complex128", "complex128"),
)


def table():
    yield "bool", "bool", "bool"
    for names in (SIGNED, UNSIGNED):
        yield from ((a, b, names[max(i, j)]) for i, a in enumerate(names) for j, b in enumerate(names))
    yield from ((a, b, MIXED[a][j]) for a in MIXED for j, b in enumerate(SIGNED))
    yield from ((a, b, FLOATS[i][j]) for i, a in enumerate(FLOATING) for j, b in enumerate(FLOATING))
    # kinds that the standard does not connect, as NumPy 2 has them
    yield from [("uint64", "int8", "float64"), ("bool", "int8", "int8"), ("int8", "float32", "float32")]
    yield from [("int32", "float32", "float64"), ("int64", "complex64", "complex128")]


@pytest.mark.parametrize(("one", "other", "common"), list(table()))
def test_promotion(one, other, common):
    a, b = DTYPES[one], DTYPES[other]
    assert xp.result_type(a, b) == xp.result_type(b, a) == DTYPES[common]
    x, y = xp.ones(2, dtype=a), xp.ones((), dtype=b)  # axes do not count
    assert xp.result_type(x, b) == xp.result_type(x, y) == DTYPES[common]
    function = xp.logical_or if common == "bool" else xp.multiply
    if "bool" not in (one, other) or common == "bool":
        assert function(x, y).dtype == function(y, x).dtype == DTYPES[common]
    assert xp.can_cast(a, b) == (common == other)


SCALARS = [
    ("int8", 1, "int8"),
    ("uint64", -1, "uint64"),
    ("float32", 1, "float32"),
    ("float32", 1.5, "float32"),
    ("complex64", 1.5, "complex64"),
    ("float32", 1j, "complex64"),
    ("float64", 1j, "complex128"),
    ("bool", True, "bool"),
    ("int8", True, "int8"),
    ("bool", 1, "int64"),
    ("int8", 1.5, "float64"),
    ("int8", 1j, "complex128"),
]


@pytest.mark.parametrize(("name", "scalar", "common"), SCALARS)
def test_scalars_count_by_their_kind(name, scalar, common):
    x = xp.zeros(2, dtype=DTYPES[name])
    assert xp.result_type(x, scalar) == xp.result_type(scalar, x.dtype) == DTYPES[common]


def test_scalars_alone_have_no_type():
    with pytest.raises(TypeError, match="one array or data type at least"):
        xp.result_type(1, 2.0)


def test_astype_copies_unless_told_not_to():
    x = xp.asarray([0.0, 1.5, -2.5])
    assert xp.astype(x, xp.float64) is not x
    assert xp.astype(x, xp.float64, copy=False) is x
    y = xp.astype(x, xp.float64)
    y[0] = 7.0
    assert float(x[0]) == 0.0
    assert xp.astype(x, xp.int8, copy=False).dtype == xp.int8
    assert [bool(v) for v in xp.astype(x, xp.bool)] == [False, True, True]


def test_astype_of_complex_and_of_nan():
    x = xp.asarray([1 + 2j])
    with pytest.raises(TypeError, match=r"astype takes no complex array to float64; take real\(x\)"):
        xp.astype(x, xp.float64)
    assert xp.astype(x, xp.bool)[0]
    xp.astype(xp.asarray([xp.nan, xp.inf]), xp.int32)  # any value, and no warning


def test_astype_to_a_device():
    x = xp.asarray([1.0])
    y = xp.astype(x, xp.float64, copy=False, device="interpreter:0")
    assert (x.device, y.device) == ("cpu", "interpreter:0")
    assert xp.astype(y, xp.float32).device == "interpreter:0"


@pytest.mark.parametrize(("name", "digits", "most"), [("float32", 24, 128), ("float64", 53, 1024)])
def test_finfo(name, digits, most):
    real, number = DTYPES[name], {"float32": "complex64", "float64": "complex128"}[name]
    for given in (real, xp.zeros(1, dtype=real), DTYPES[number], xp.zeros((), dtype=DTYPES[number])):
        found = xp.finfo(given)
        assert found.bits == digits + {24: 8, 53: 11}[digits]
        assert found.eps == 2.0 ** (1 - digits)
        assert found.max == -found.min == 2.0 ** (most - 1) * (2 - 2.0 ** (1 - digits))
        assert found.smallest_normal == 2.0 ** (2 - most)
        assert found.dtype == real
        assert {type(x) for x in (found.eps, found.max, found.min, found.smallest_normal)} == {float}


@pytest.mark.parametrize("name", SIGNED + UNSIGNED)
def test_iinfo(name):
    bits = int(name.removeprefix("u").removeprefix("int"))
    least, most = (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for given in (DTYPES[name], xp.zeros(1, dtype=DTYPES[name])):
        found = xp.iinfo(given)
        assert (found.bits, found.min, found.max, found.dtype) == (bits, least, most, DTYPES[name])
        assert {type(x) for x in (found.bits, found.min, found.max)} == {int}


def test_limits_of_the_wrong_kind_are_refused():
    with pytest.raises(TypeError, match="iinfo takes integers"):
        xp.finfo(xp.int8)
    with pytest.raises(TypeError, match="finfo takes floating-point ones"):
        xp.iinfo(xp.zeros(2))


def test_isdtype():
    kinds = {
        "bool": {"bool"},
        "signed integer": set(SIGNED),
        "unsigned integer": set(UNSIGNED),
        "integral": {*SIGNED, *UNSIGNED},
        "real floating": set(FLOATING[:2]),
        "complex floating": set(FLOATING[2:]),
        "numeric": {*SIGNED, *UNSIGNED, *FLOATING},
    }
    for kind, names in kinds.items():
        assert {name for name, dtype in DTYPES.items() if xp.isdtype(dtype, kind)} == names
    assert xp.isdtype(xp.int8, ("bool", xp.int8))
    assert not xp.isdtype(xp.int8, ("bool", xp.int16, "real floating"))
    assert not xp.isdtype(xp.int8, ())
    assert xp.isdtype(np.dtype("float16"), "real floating")
    with pytest.raises(ValueError, match=r"isdtype takes the kinds 'bool'.*got 'integer'"):
        xp.isdtype(xp.int8, "integer")


def test_numpy_agrees_on_numtrn_arrays():
    assert numtrn.asarray(np.ones(2, "f4")).dtype == xp.float32
