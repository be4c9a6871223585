"""Products promised in units of the norms of rows and columns: the bound, and digits that no data change."""

import numpy as np
import pytest

from numtrn.precision import Declined, choose, gemm
from tests.precision import oracle
from tests.precision.engines import ExactEngine, StrictEngine
from tests.precision.families import FAMILIES, family

PRECISIONS = ("full", "fast", 2.0, 2.0**24)


def norms(a, b):
    """|A_i||B_j|, scaled so that squares neither overflow nor vanish."""
    parts = []
    for x, axis in ((a, 1), (b, 0)):
        largest = np.abs(x).max(axis=axis, keepdims=True)
        largest[largest == 0] = 1.0
        parts.append(largest * np.linalg.norm(x / largest, axis=axis, keepdims=True))
    return parts[0] * parts[1]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("k", [1, 7, 300, 2000])
@pytest.mark.parametrize("name", FAMILIES)
def test_bound(name, k, precision):
    scheme = choose("float64", precision)
    a, b = family(name, 24, k, 20)
    result = gemm(scheme, a[None], b[None], ExactEngine(), normwise=True)
    assert result.slices == scheme.normwise_slices(k)
    assert result.bound == scheme.normwise_bound(k) <= scheme.bound(k)
    assert oracle.error(result.value[0], oracle.product(a, b), norms(a, b)) <= result.bound


@pytest.mark.parametrize("precision", ["fast", 2.0**24])
def test_the_bound_is_not_for_the_product_of_magnitudes(precision):
    """Where |A||B| is far below the norms, fewer digits show: so a test of the bound could fail."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20, 20))
    a[:, 10:], b[:10] = 1e-12 * a[:, 10:], 1e-12 * b[:10]
    scheme = choose("float64", precision)
    result = gemm(scheme, a[None], b[None], ExactEngine(), normwise=True)
    assert oracle.error(result.value[0], oracle.product(a, b), oracle.size(a, b)) > scheme.bound(20)


def test_worst_digits_come_near_the_bound():
    """One large element in a row and small ones of the largest digits: what is left out adds up."""
    slices, k = 7, 300
    scheme = choose("float64", "fast")
    assert scheme.normwise_slices(k) == slices
    a = np.full((2, k), sum(127 * 2.0 ** (-8 * p - 7) for p in range(1, 7)))
    b = a.T.copy()
    a[:, 0] = b[1] = 0.5
    result = gemm(scheme, a[None], b[None], ExactEngine(), normwise=True)
    error = oracle.error(result.value[0], oracle.product(a, b), norms(a, b))
    assert 0.3 * scheme.normwise_bound(k) < error <= scheme.normwise_bound(k)


@pytest.mark.parametrize("name", ["normal", "graded inner"])
def test_strict_engine_and_structure_give_the_same_bits(name):
    a, _ = family(name, 9, 40, 8)
    scheme = choose("float64", "full")
    values = [
        gemm(scheme, a[None], a.T[None], engine(), structure, normwise=True).value.tobytes()
        for engine in (ExactEngine, StrictEngine)
        for structure in ("general", "syrk")
    ]
    assert len(set(values)) == 1


def test_nothing_but_overflow_and_nan_is_declined():
    scheme = choose("float64", "full")
    wild = 10.0 ** np.random.default_rng(1).uniform(-140, 140, (6, 9))
    assert gemm(scheme, wild[None], wild.T[None], ExactEngine(), normwise=True).slices == 8
    with pytest.raises(Declined, match="may overflow"):
        gemm(scheme, wild[None] * 1e150, wild.T[None], ExactEngine(), normwise=True)


def test_schemes_without_digits_are_as_ever():
    scheme = choose("float32", "full")
    a = np.ones((1, 3, 4), np.float32)
    plain, normwise = (
        gemm(scheme, a, a.transpose(0, 2, 1), ExactEngine(), normwise=n) for n in (False, True)
    )
    assert plain.bound == normwise.bound == scheme.normwise_bound(4)
    assert scheme.normwise_slices(4) is None
