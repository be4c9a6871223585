"""Products without elements, inside a block: kernels have nothing to do there, and the shapes are right."""

import numpy as np
import pytest

import numtrn
from numtrn import array_api as xp

SHAPES = [
    ((0,), (0,)),
    ((1, 0), (0,)),
    ((0,), (0, 3)),
    ((2, 0), (0, 3)),
    ((0, 2), (2, 0)),
    ((0, 2, 3), (3, 4)),
    ((0, 0), (0, 0)),
    ((2, 1, 0, 3), (5, 3, 0)),
]


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize(("one", "other"), SHAPES)
def test_matmul(one, other, dtype):
    a, b = np.ones(one, dtype), np.ones(other, dtype)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True):
        found = xp.matmul(xp.asarray(a), xp.asarray(b))
    np.testing.assert_array_equal(np.asarray(found), np.matmul(a, b), strict=True)


def test_matrix_power():
    with numtrn.enabled(target="interpreter", min_work=0, strict=True):
        for shape in ((0, 0), (0, 2, 2), (2, 0, 0)):
            for power in (0, 1, 2, 3, 5):
                assert xp.linalg.matrix_power(xp.ones(shape), power).shape == shape
