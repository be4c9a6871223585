"""Inverted diagonal tiles: right inverses, bounds that hold under the worst rounding, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.precision.inverses import EDGES, choose_inverses, diagonal_inverses

U = 2.0**-24
RNG_SEED = 5


def normal(n, seed=0, diagonal=1.0):
    """Lower triangular, normal below a diagonal of that size."""
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.standard_normal((n, n)), -1)
    return (lower + diagonal * np.diag(1 + rng.random(n))).astype(np.float32)


def pivoted(n):
    """L of the factors of a normal matrix with partial pivoting."""
    a = np.random.default_rng(n).standard_normal((n, n))
    for k in range(n - 1):
        p = k + np.argmax(np.abs(a[k:, k]))
        a[[k, p]] = a[[p, k]]
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return (np.tril(a, -1) + np.eye(n)).astype(np.float32)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(("n", "size"), [(1, 16), (31, 32), (127, 128), (128, 128), (129, 256), (300, 384)])
def test_inverses_are_those_of_the_parts(n, size, edge):
    lower = normal(n, n, diagonal=12.0)
    found = diagonal_inverses(lower, size, edge=edge)
    assert found.edge == min(edge, size)
    assert found.inverses_t.dtype == np.float32
    padded, expected = np.eye(size), np.zeros((size, min(128, size)))
    padded[:n, :n] = lower
    for i in range(0, size, found.edge):
        part = slice(i, i + found.edge)
        expected[part, i % 128 : i % 128 + found.edge] = np.linalg.inv(padded[part, part]).T
    assert found.inverses_t.shape == expected.shape
    assert np.allclose(found.inverses_t, expected, rtol=U, atol=1e-12)
    assert found.bounds.shape == found.spreads.shape == (size // found.edge,)


def test_any_strides_and_what_lies_above_the_diagonal():
    lower = normal(200, diagonal=12.0)
    expected = diagonal_inverses(lower, 256)
    wide = np.full((400, 600), np.nan, np.float32)
    wide[::2, ::3] = np.where(np.tri(200, dtype=bool), lower, np.nan)
    for view in (wide[::2, ::3], np.asfortranarray(wide[::2, ::3])):
        found = diagonal_inverses(view, 256)
        assert np.array_equal(found.inverses_t, expected.inverses_t)
        assert np.array_equal(found.bounds, expected.bounds)
    unit = lower / 12
    np.fill_diagonal(unit, np.nan)
    ones = np.where(np.eye(200, dtype=bool), np.float32(1), unit)
    assert np.array_equal(diagonal_inverses(unit, unit=True).inverses_t, diagonal_inverses(ones).inverses_t)


class Rounded:
    """Arithmetic in float64 with every rounding error as large as the model allows, its sign random."""

    def __init__(self, rng):
        self.rng = rng

    def off(self, value, size):
        return value + self.rng.choice([-1.0, 1.0], value.shape) * size

    def dot(self, a, b, terms):
        gamma = terms * U / (1 - terms * U)
        return self.off(a @ b, gamma * (np.abs(a) @ np.abs(b)))

    def sum(self, a, b):
        return self.off(a + b, U * np.abs(a + b) / (1 + U))

    def part(self, L, W, T):
        """The kernel's steps for one part."""
        terms = np.arange(1, len(L) + 1)[:, None]
        Y = self.dot(W, T, terms)
        R = self.sum(T, -self.dot(L, Y, terms))
        return self.sum(Y, self.dot(W, R, terms))

    def whole(self, L, found, B):
        """All of the kernel's steps."""
        X = np.zeros_like(B)
        edge = found.edge
        for r in range(0, len(L), edge):
            rows, tile = slice(r, r + edge), r // 128 * 128
            T = B[rows]
            if tile:
                T = self.sum(T, -self.dot(L[rows, :tile], X[:tile], tile))
            if r > tile:
                T = self.sum(T, -self.dot(L[rows, tile:r], X[tile:r], r - tile))
            W = found.inverses_t[rows, r - tile : r - tile + edge].T.astype(np.float64)
            X[rows] = self.part(L[rows, rows], W, T)
        return X


def excess(L, X, T, found):
    """Residual over both bounds of the only tile: the largest ratios."""
    residual, size = np.abs(T - L @ X), np.abs(L) @ np.abs(X)
    scales = np.abs(L / np.diagonal(L)).max(axis=1)[:, None]
    gamma = len(L) * U / (1 - len(L) * U)
    by_rows = ((1 + U) * gamma + U) * size + found.spreads[0] * U * (size / scales).max(axis=0) * scales
    assert not residual[size == 0].any()
    size[size == 0] = 1
    by_rows[by_rows == 0] = 1
    return (residual / (found.bounds[0] * U * size)).max(), (residual / by_rows).max()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([16, 32, 64, 128]), st.sampled_from([0.5, 1.0, 3.0, 10.0, 100.0]), st.integers(0, 10**6)
)
def test_no_rounding_exceeds_the_bounds(n, diagonal, seed):
    rng = np.random.default_rng(seed)
    lower = normal(n, seed, diagonal)
    lower *= 2.0 ** rng.integers(-20, 21, n).astype(np.float32)[:, None]
    lower *= 2.0 ** rng.integers(-20, 21, n).astype(np.float32)
    found = diagonal_inverses(lower)
    L, W = lower.astype(np.float64), found.inverses_t.T.astype(np.float64)
    spikes = np.eye(n)[:, rng.permutation(n)[:8]]
    X = np.concatenate((rng.standard_normal((n, 8)), spikes, rng.standard_normal((n, 8)) ** 9), axis=1)
    T = L @ X
    if np.isfinite(found.spreads[0]):
        assert excess(L, Rounded(rng).part(L, W, T), T, found)[1] <= 1 + 1e-6
    if np.isfinite(found.bounds[0]):
        assert excess(L, Rounded(rng).part(L, W, T), T, found)[0] <= 1 + 1e-6


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(EDGES), st.sampled_from([128, 256, 384]), st.integers(0, 10**6))
def test_no_rounding_exceeds_the_bound_of_the_whole(edge, n, seed):
    rng = np.random.default_rng(seed)
    lower = normal(n, seed, 30.0) * 2.0 ** rng.integers(-20, 21, n).astype(np.float32)[:, None]
    found = diagonal_inverses(lower, edge=edge)
    L = lower.astype(np.float64)
    B = L @ np.concatenate((np.eye(n)[:, rng.permutation(n)[:8]], rng.standard_normal((n, 8))), axis=1)
    X = Rounded(rng).whole(L, found, B)
    residual, size = np.abs(B - L @ X), np.abs(L) @ np.abs(X)
    assert (residual <= (1 + 1e-6) * found.bound * U * size + 1e-15 * size).all()
    assert (residual > 0.3 * min(n - 128, edge) * U * size).any()


def test_bounds_are_not_far_above_what_rounding_can_do():
    n = 128
    found = diagonal_inverses(normal(n, 3, 100.0))
    L, W = normal(n, 3, 100.0).astype(np.float64), found.inverses_t.T.astype(np.float64)
    rng = np.random.default_rng(RNG_SEED)
    T = L @ rng.standard_normal((n, 200))
    componentwise, by_rows = excess(L, Rounded(rng).part(L, W, T), T, found)
    assert componentwise > 0.1
    assert by_rows > 0.5
    assert found.bound < 3 * n


def test_figures_of_known_matrices():
    """A diagonal has the bound of its roundings; a well-conditioned factor about the order; others say no."""
    t = 128
    assert diagonal_inverses(np.diag(np.float32([3, 7, 11]))).bounds[0] < 2 * 4 + 4
    assert diagonal_inverses(normal(4 * t, diagonal=100.0)).bound < 4 * t
    assert diagonal_inverses(np.eye(t + 1, dtype=np.float32)).bound < t + 4
    found = diagonal_inverses(pivoted(100))
    assert 1e4 < found.bound < 1e6  # because of small elements of L
    assert 10 < found.spread < 1000
    assert diagonal_inverses(normal(t, diagonal=0.5)).spread == np.inf


def test_the_largest_inverses_within_a_limit():
    pivoted_lower, wide = pivoted(300), normal(300, diagonal=100.0)
    assert choose_inverses(wide, 600).edge == 128
    assert choose_inverses(pivoted_lower, 1e7).edge == 128
    assert choose_inverses(pivoted_lower, 5000).edge == 64
    assert choose_inverses(pivoted_lower, 300).edge == 32
    assert choose_inverses(pivoted_lower, 255) is None  # sums of 256 products
    assert choose_inverses(np.eye(16, dtype=np.float32), 40).edge == 16
    assert choose_inverses(np.eye(16, dtype=np.float32), 40, 32).edge == 32
    assert choose_inverses(np.eye(16, dtype=np.float32), 40, 128) is None  # sums of 96 products
    assert choose_inverses(np.eye(16, dtype=np.float32), 140, 128).edge == 128


def test_sums_of_long_rows_count():
    n = 40 * 128
    lower = np.lib.stride_tricks.as_strided(np.float32([1]), (1, 1), (0, 0))
    assert diagonal_inverses(lower, n).bound == pytest.approx(39 * 128, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e-40])
def test_a_diagonal_that_cannot_be_inverted_is_not_certified(value):
    lower = normal(300, diagonal=20.0)
    lower[200, 200] = value
    found = diagonal_inverses(lower)
    assert np.isfinite(found.inverses_t).all()
    assert np.array_equal(np.isfinite(found.bounds), [True, False, True])
    assert np.array_equal(np.isfinite(found.spreads), [True, False, True])
    assert found.bound == np.inf
    assert found.spread == np.inf


def test_elements_off_the_diagonal_count():
    for value in (np.nan, np.inf, 1e-40, 3e38):
        lower = normal(128, diagonal=20.0)
        lower[100, 20] = value
        assert diagonal_inverses(lower).bound == np.inf
    lower = np.eye(128, dtype=np.float32)
    lower[np.arange(1, 128), np.arange(127)] = 0.5  # what fills in has no element of L to be measured by
    found = diagonal_inverses(lower)
    assert found.bound == np.inf
    assert found.spread < 1
    lower = np.diag(np.full(3, 1e-39, np.float32))
    assert diagonal_inverses(lower).bound == np.inf


def test_inverses_have_no_subnormal_elements():
    """A device may take them for zeros; the bounds know of it."""
    lower = np.diag(np.float32([1, 2.0**100]))
    lower[1, 0] = 2.0**-30
    found = diagonal_inverses(lower)
    assert np.array_equal(found.inverses_t, np.diag(np.float32([1, 2.0**-100])))
    assert diagonal_inverses(np.float32([[2.0**127]])).bound == np.inf


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match="float64 of shape"):
        diagonal_inverses(np.eye(3))
    with pytest.raises(ValueError, match=r"of shape \(3, 2\)"):
        diagonal_inverses(np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="128, 64, 32 rows; got 16"):
        diagonal_inverses(np.eye(3, dtype=np.float32), edge=16)
    for size in (100, 192, 64):
        with pytest.raises(ValueError, match="multiple of 128"):
            diagonal_inverses(np.eye(100, dtype=np.float32), size)
