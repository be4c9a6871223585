"""Products of arrays without elements: an empty stack, empty rows, nothing to sum over."""

import numpy as np
import pytest

import numtrn

SHAPES = [
    ((0, 3, 9), (9, 4)),
    ((0, 9), (9, 4)),
    ((3, 9), (9, 0)),
    ((3, 0), (0, 4)),
    ((2, 3, 0), (0, 4)),
    ((0, 0, 3), (3, 2)),
    ((0, 3), (3,)),
    ((3,), (0, 3, 2)),
]


@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_matmul(first, second):
    a, b = np.ones(first), np.ones(second)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True):
        value = numtrn.asarray(a) @ numtrn.asarray(b)
    assert isinstance(value, numtrn.Array)
    assert value.dtype == np.float64
    np.testing.assert_array_equal(np.asarray(value), a @ b)
