"""Casts between dtypes by DMA, copies and arithmetic, against NumPy, ml_dtypes and written-out cases."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interp.support import filled, loaded, nisa, nl, refused, run, sbuf, stored

FLOATS = {
    nl.float16: np.float16,
    nl.bfloat16: ml_dtypes.bfloat16,
    nl.float8_e4m3: ml_dtypes.float8_e4m3,
    nl.float8_e4m3fn: ml_dtypes.float8_e4m3fn,
    nl.float8_e5m2: ml_dtypes.float8_e5m2,
}
INTS = [nl.int8, nl.int16, nl.int32, nl.uint8, nl.uint16, nl.uint32]


def by_dma(values, dtype, levels=None):
    return run(lambda x: stored(loaded(x, dtype)), values, levels=levels)


def by_copy(values, dtype, levels=None):
    def kernel(x):
        result = sbuf(x.shape, dtype)
        nisa.tensor_copy(dst=result, src=loaded(x))
        return stored(result)

    return run(kernel, values, levels=levels)


def same_bits(one, other):
    return one.dtype == other.dtype and np.array_equal(one.view(np.uint8), other.view(np.uint8))


@pytest.mark.parametrize("cast", [by_dma, by_copy])
@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
def test_float32_to_narrow_floats_as_ml_dtypes(cast, dtype, values):
    x = np.array([values], np.float32)
    with np.errstate(all="ignore"):
        expected = x.astype(FLOATS[dtype])
    out = cast(x, dtype)
    finite = np.isfinite(expected.astype(np.float32))
    assert out.dtype == expected.dtype
    assert np.array_equal(out[finite].view(np.uint8), expected[finite].view(np.uint8))
    assert np.array_equal(np.isnan(out.astype(np.float32)), np.isnan(expected.astype(np.float32)))
    assert np.array_equal(np.isinf(out.astype(np.float32)), np.isinf(expected.astype(np.float32)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_narrow_float_comes_back(dtype):
    kind = np.dtype(FLOATS[dtype])
    bits = np.arange(2 ** (8 * kind.itemsize), dtype=f"u{kind.itemsize}")
    values = bits.reshape(-1 if bits.size == 256 else 128, bits.size // (1 if bits.size == 256 else 128))
    values = values.reshape(1, -1) if bits.size == 256 else values
    narrow = values.view(kind)
    with np.errstate(all="ignore"):
        expected = narrow.astype(np.float32)
    assert np.array_equal(by_dma(narrow, nl.float32), expected, equal_nan=True)
    assert same_bits(by_dma(narrow, dtype), narrow)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 + 2**-8, 1.0),  # ties to even
        (1 + 3 * 2**-8, 1 + 2**-6),
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (-(1 + 2**-8), -1.0),
        (3.4028235e38, np.inf),  # the largest float32 is above the largest bfloat16
        (2.0**-133, 2.0**-133),  # the smallest bfloat16
        (2.0**-134, 0.0),
        (-0.0, -0.0),
    ],
)
def test_bfloat16_rounds_to_nearest_even(value, expected):
    out = by_copy(np.float32([[value]]), nl.bfloat16)
    assert same_bits(out, np.array([[expected]], ml_dtypes.bfloat16))


def test_nan_stays_nan_in_bfloat16_and_tfloat32():
    x = np.array([[0x7F800001, 0x7FFFFFFF, 0xFFC00000, 0xFF800001]], np.uint32).view(np.float32)
    assert np.isnan(by_copy(x, nl.bfloat16).astype(np.float32)).all()
    assert np.isnan(by_dma(x, nl.tfloat32)).all()


@pytest.mark.parametrize("cast", [by_dma, by_copy])
@pytest.mark.parametrize("dtype", INTS)
def test_float32_to_int_rounds_to_even_and_saturates(cast, dtype):
    bounds = np.iinfo(dtype)
    x = np.float32([[0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 1e10, -1e10, np.inf, -np.inf, 100.5]])
    exact = [0, 2, 2, 0, -2, 0, 10**10, -(10**10), 2**40, -(2**40), 100]
    expected = np.array([[min(max(v, bounds.min), bounds.max) for v in exact]], dtype)
    assert same_bits(cast(x, dtype), expected)


@pytest.mark.parametrize("value", [2**31 - 128, 2**31, -(2**31), 2**32 - 256, 2**32])
def test_float32_to_32_bit_ints_at_the_edges(value):
    for dtype in (nl.int32, nl.uint32):
        bounds = np.iinfo(dtype)
        expected = min(max(value, bounds.min), bounds.max)
        assert by_copy(np.float32([[value]]), dtype)[0, 0] == expected


def test_nan_to_int_is_refused():
    def kernel(x):
        result, tile = sbuf((1, 2), nl.int32), loaded(x)
        nisa.tensor_copy(dst=result, src=tile)  # refused

    refused("H22", "NaN", "int32", kernel=kernel, arguments=[np.float32([[1, np.nan]])])


def test_int32_to_another_dtype_goes_through_float32():
    x = np.int32([[2**24, 2**24 + 1, 2**24 + 3, -(2**24) - 1, 7]])
    expected = x.astype(np.float32)
    assert expected[0, 1] == 2**24
    assert same_bits(by_copy(x, nl.float32, levels={"H21": "off"}), expected)
    assert same_bits(
        by_dma(x, nl.uint32, levels={"H21": "off"}), np.clip(expected, 0, None).astype(np.uint32)
    )


@pytest.mark.parametrize("cast", [by_dma, by_copy])
@pytest.mark.parametrize("dtype", [*INTS, *FLOATS, nl.float32])
def test_equal_dtypes_copy_bits(cast, dtype):
    kind = np.dtype(FLOATS.get(dtype, dtype))
    bits = np.random.default_rng(3).integers(0, 256, (33, 8 * kind.itemsize), np.uint8)
    x = bits.view(kind)
    assert same_bits(cast(x, dtype), x)


def test_booleans():
    x = np.array([[True, False, True]])
    out = run(lambda x: stored(loaded(x)), x)
    assert same_bits(out, x)
    assert np.array_equal(run(lambda: stored(filled((1, 2), nl.bool_, True))), [[True, True]])
    assert np.array_equal(by_copy(np.float32([[0, -2, 0.5]]), nl.bool_), [[False, True, True]])


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(nl.int32, 1.0), (nl.float32, 1), (nl.bfloat16, 0), (nl.uint8, -1), (nl.uint8, 256), (nl.bool_, 1)],
)
def test_memset_wants_a_constant_of_the_kind_of_the_tile(dtype, value):
    def kernel():
        tile = sbuf((1, 2), dtype)
        nisa.memset(dst=tile, value=value)  # refused

    refused("H20", dtype, value, kernel=kernel)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_constants_have_32_bits(value):
    def integer():
        tile = filled((1, 2))
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=value)  # refused

    def floating():
        tile = filled((1, 2))
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1e39)  # refused

    refused("H33", value, kernel=integer)
    refused("H33", "1e+39", kernel=floating)
