"""The triangular solve on every chip: exact integers, residuals against long double, counts, padding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import blas

from numtrn import interp
from numtrn.machine import CHIPS
from numtrn.plan.tiling import MAX_INSTRUCTIONS
from numtrn.plan.trsm import TRSM_LIMIT, tile_trsm
from numtrn.precision.inverses import EDGES, diagonal_inverses
from numtrn.targets.interpreter import _kernel

U = 2.0**-24

orders = st.sampled_from([1, 16, 31, 64, 127, 128, 129, 300, 513, 650])
columns = st.sampled_from([1, 63, 64, 65, 128, 513, 1025])
edges = st.sampled_from(EDGES)


def packed(lower, tiling):
    """Blocks of L transposed, below each other, the padding an identity."""
    padded = np.eye(tiling.m, dtype=np.float32)
    padded[: len(lower), : len(lower)] = np.tril(lower)
    edge = tiling.block_m
    blocks = [
        padded[i : i + edge, j : j + edge].T
        for i in range(0, tiling.m, edge)
        for j in range(0, i + edge, edge)
    ]
    return np.ascontiguousarray(np.concatenate(blocks))


def launch(lower, rhs, inverses, chip="trn2"):
    """The whole result of one launch, with its padding, and the run."""
    tiling = tile_trsm(*rhs.shape, inverses.edge)
    assert tiling.launches == 1
    padded = np.zeros((tiling.m, tiling.n), np.float32)
    padded[: rhs.shape[0], : rhs.shape[1]] = rhs
    arrays = packed(lower, tiling), inverses.inverses_t, padded
    assert tiling.bytes_in == sum(array.nbytes for array in arrays)
    run = interp.simulate(_kernel("trsm"), (*arrays, *tiling.parameters), chip=CHIPS[chip])
    return run.outputs, run


def solve(lower, rhs, chip="trn2", edge=128):
    inverses = diagonal_inverses(lower, tile_trsm(*rhs.shape).m, edge=edge)
    return launch(lower, rhs, inverses, chip)[0][: rhs.shape[0], : rhs.shape[1]], inverses


def backward_error(lower, x, rhs):
    """Largest |B - L X| / |L||X| in units of u."""
    wide = lower.astype(np.longdouble)
    residual = np.abs(rhs - wide @ x)
    sizes = np.abs(wide) @ np.abs(x)
    assert np.array_equal(residual == 0, (residual == 0) | (sizes == 0))
    return float(np.max(residual / np.where(sizes > 0, sizes, 1))) / U


def wishart(rng, n):
    g = rng.standard_normal((n, 2 * n))
    return np.linalg.cholesky(g @ g.T).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(orders, columns, edges, st.sampled_from(list(CHIPS)), st.integers(0, 99))
def test_small_integers_are_exact(m, n, edge, chip, seed):
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.integers(-2, 3, (m, m)), -1)
    for start in range(0, m, 128):  # inverses of the tiles have elements -1, 0 and 1
        tile = slice(start, start + 128)
        size = len(lower[tile])
        lower[tile, tile] = np.eye(size) + np.diag(rng.integers(-1, 2, size - 1), -1)
    x = rng.integers(-8, 9, (m, n))
    rhs = (lower @ x).astype(np.float32)
    inverses = diagonal_inverses(lower.astype(np.float32), tile_trsm(m, n).m, edge=edge)
    whole, run = launch(lower, rhs, inverses, chip)
    assert whole.dtype == np.float32
    assert np.array_equal(whole[:m, :n], x)
    assert not whole[m:].any()
    assert not whole[:, n:].any()
    tiling = tile_trsm(m, n, edge)
    assert whole.shape == tiling.result_shape
    assert run.instructions == tiling.instructions
    assert (run.engines["tensor"], run.engines["vector"]) == (tiling.matmuls, tiling.casts)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("n", [1, 31, 127, 128, 129, 300])
def test_residuals_are_those_of_substitution(n, edge, chip):
    rng = np.random.default_rng(n)
    lower, rhs = wishart(rng, n), rng.standard_normal((n, 50)).astype(np.float32)
    x, inverses = solve(lower, rhs, chip, edge)
    error = backward_error(lower, x, rhs)
    assert error <= min(6, inverses.bound)
    assert error <= 1.5 * max(backward_error(lower, blas.strsm(1, lower, rhs, lower=1), rhs), 1)


def test_the_refinement_is_needed_and_made():
    """A Kahan matrix: plain inverses lose two digits, substitution and the kernel none."""
    n, s, c = 100, np.sin(1.2), np.cos(1.2)
    lower = ((np.eye(n) - np.triu(np.full((n, n), c), 1)) * s ** np.arange(n)[:, None]).T.astype(np.float32)
    rhs = np.random.default_rng(0).standard_normal((n, 50)).astype(np.float32)
    x, inverses = solve(lower, rhs)
    plain = inverses.inverses_t[:n, :n].T @ rhs
    assert backward_error(lower, plain, rhs) > 15
    assert backward_error(lower, x, rhs) < 3


def test_what_is_above_the_diagonal_of_the_blocks_is_not_multiplied():
    """Tiles above the diagonal inside a diagonal block may hold anything."""
    rng = np.random.default_rng(1)
    lower, rhs = wishart(rng, 256), rng.standard_normal((256, 64)).astype(np.float32)
    inverses = diagonal_inverses(lower)
    arrays = packed(lower, tile_trsm(256, 64)), inverses.inverses_t, rhs
    arrays[0][128:256, :128] = np.nan  # rows: columns of L; columns: rows of L
    out = interp.simulate(_kernel("trsm"), (*arrays, 256, 128), chip=CHIPS["trn2"]).outputs
    assert backward_error(lower, out, rhs) < 6


@given(st.integers(1, TRSM_LIMIT), st.integers(1, 20_000))
def test_tiling_covers(m, n):
    t = tile_trsm(m, n)
    block, edge = t.parameters
    assert edge == min(128, t.m)
    assert m <= t.m < m + 128 * (t.m // block) + 16
    assert t.m <= TRSM_LIMIT
    assert t.m % block == 0
    assert block in (16, 32, 64, 128, 256, 384, 512)
    assert (t.pieces[3] - 1) * t.n < n <= t.pieces[3] * t.n
    assert t.n <= TRSM_LIMIT
    assert t.instructions <= MAX_INSTRUCTIONS


def test_larger_orders_are_refused():
    with pytest.raises(ValueError, match="order up to 4096; got 4097"):
        tile_trsm(TRSM_LIMIT + 1, 1)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("chip", CHIPS)
def test_the_largest_launch_fits_the_core(chip, edge):
    t = tile_trsm(TRSM_LIMIT, TRSM_LIMIT, edge)
    assert t.instructions <= MAX_INSTRUCTIONS
    blocks = t.m // t.block_m
    shapes = (blocks * (blocks + 1) // 2 * t.block_m, t.block_m), (t.m, 128), (t.m, t.n)
    arrays = [np.broadcast_to(np.zeros((), np.float32), shape) for shape in shapes]
    run = interp.simulate(_kernel("trsm"), (*arrays, *t.parameters), chip=CHIPS[chip], dry=True)
    assert run.instructions == t.instructions
