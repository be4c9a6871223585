"""Sets, against Python's own counting and comparing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numtrn.array_api as xp

nan = float("nan")
DTYPES = ["bool", "int8", "uint64", "float32", "float64", "complex64", "complex128"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        elements=st.sampled_from([0, 1, 2] if dtype in DTYPES[:3] else [0.0, -0.0, 1.0, nan]).map(
            np.dtype(dtype).type
        ),
    )
)


@settings(deadline=None)
@given(ARRAYS)
def test_unique(x):
    a = xp.asarray(x)
    flat = x.ravel()
    found = xp.unique_all(a)
    assert found._fields == ("values", "indices", "inverse_indices", "counts")
    values, indices, inverse, counts = (np.asarray(part) for part in found)
    assert values.dtype == x.dtype
    assert inverse.shape == x.shape
    assert {part.dtype for part in (indices, inverse, counts)} == {np.dtype("int64")}
    assert len(indices) == len(counts) == len(values)
    for place, (value, first, number) in enumerate(zip(values, indices, counts, strict=True)):
        equal = [i for i, other in enumerate(flat) if other == value]  # none for NaN
        assert number == (len(equal) or 1)
        assert first == equal[0] if equal else flat[first] != flat[first]
        assert all(inverse.ravel()[i] == place for i in equal)
    assert counts.sum() == x.size
    assert np.isin(inverse, np.arange(len(values))).all()
    for other, names in (
        (xp.unique_counts(a), ("values", "counts")),
        (xp.unique_inverse(a), ("values", "inverse_indices")),
    ):
        assert other._fields == names
        for name in names:
            np.testing.assert_array_equal(np.asarray(getattr(other, name)), np.asarray(getattr(found, name)))
    np.testing.assert_array_equal(np.asarray(xp.unique_values(a)), values)


def test_each_nan_is_an_element():
    x = xp.asarray([[nan, 1.0], [nan, 1.0]])
    assert np.asarray(xp.unique_counts(x).counts).tolist() == [2, 1, 1]
    assert sorted(np.asarray(xp.unique_inverse(x).inverse_indices).ravel().tolist()) == [0, 0, 1, 2]


@pytest.mark.parametrize("invert", [False, True])
def test_isin(invert):
    x = xp.asarray([[0.0, -0.0], [nan, 2.0]])
    expected = np.asarray([[True, True], [False, False]]) != invert
    result = xp.isin(x, xp.asarray([nan, 0.0]), invert=invert)
    np.testing.assert_array_equal(np.asarray(result), expected)
    assert xp.isin(x, xp.zeros(0)).dtype == np.bool_
    many = xp.astype(xp.arange(50), xp.float64)  # NumPy sorts where there are many
    np.testing.assert_array_equal(
        np.asarray(xp.isin(x, many, invert=invert)), [[not invert, not invert], [invert, not invert]]
    )


@pytest.mark.parametrize(
    ("dtype", "numbers", "scalar", "expected"),
    [
        ("uint8", [1, 255], 255, [False, True]),
        ("uint8", [1, 255], 511, [False, False]),
        ("int8", [-1, 1], 255, [False, False]),
        ("uint64", [2**53, 2**53 + 1], 2**53, [True, False]),
        ("uint64", [0, 2**64 - 1], -1, [False, False]),
        ("float32", [1, 2], 2, [False, True]),
    ],
)
def test_isin_of_a_scalar_compares_values(dtype, numbers, scalar, expected):
    x = xp.asarray(np.asarray(numbers, dtype=dtype))
    assert np.asarray(xp.isin(x, scalar)).tolist() == expected
    within = xp.isin(scalar, x)
    assert (within.shape, bool(within)) == ((), any(expected))


def test_isin_of_int64_among_uint64_and_back_is_exact():
    signed = np.asarray([-1, 2**53, 2**53 + 1, 2**62 + 1] * 20)
    unsigned = np.asarray([2**64 - 1, 2**53, 2**62], dtype="uint64")
    x, y = xp.asarray(signed), xp.asarray(unsigned)
    assert np.asarray(xp.isin(x, y)).tolist() == [False, True, False, False] * 20
    assert np.asarray(xp.isin(y, x)).tolist() == [False, True, False]
    assert np.asarray(xp.isin(y, x, invert=True)).tolist() == [True, False, True]


def test_isin_takes_an_array():
    with pytest.raises(TypeError, match="two Python scalars"):
        xp.isin(1, 2)
