"""Triangular times general on every chip, against exact integers and float64; counts against the tiling."""

from math import prod

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn import interp
from numtrn.interp import modules
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS
from numtrn.plan.tiling import MAX_INSTRUCTIONS, block_edge, stacked_rows
from numtrn.plan.trmm import LIMIT, tile_trmm
from numtrn.targets.interpreter import _kernel
from numtrn.targets.load import load_kernel

TILE = 128
DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)
chips = st.sampled_from(list(CHIPS))
edges = st.sampled_from([1, 31, 32, 33, 64, 127, 128, 129, 200, 256, 257, 385])
columns = st.sampled_from([1, 63, 64, 511, 512, 513, 1024, 1025])
extent = st.integers(1, 9000)


def stacked(lower, block):
    """Blocks of a triangle, each transposed, below each other; NaN in tiles above the diagonal and beyond."""
    m = len(lower)
    tiles = np.arange(m) // TILE
    size = -(-m // block) * block
    padded = np.full((size, size), np.nan)
    padded[:m, :m] = np.where(tiles[:, None] >= tiles, lower.astype(float), np.nan)
    starts = range(0, size, block)
    parts = [padded[i : i + block, j : j + block].T for i in starts for j in starts if j <= i]
    return np.concatenate(parts).astype(lower.dtype)


def run(lower, rhs, block, tf32=0, chip="trn2"):
    arguments = stacked(lower, block), rhs, block, tf32
    return interp.simulate(_kernel("trmm"), arguments, chip=CHIPS[chip]).outputs


def integers(m, n, dtype=np.float32):
    """A lower triangle and a matrix."""
    rng = np.random.default_rng(m * n)
    lower = np.tril(rng.integers(-8, 9, (m, m))).astype(dtype)
    return lower, rng.integers(-8, 9, (m, n)).astype(dtype)


@settings(max_examples=40, deadline=None)
@given(edges, columns, st.integers(0, 6), chips, st.sampled_from(DTYPES))
def test_small_integers_are_exact_and_what_is_above_is_not_read(m, n, larger, chip, dtype):
    lower, rhs = integers(m, n, dtype)
    fitting = [b for b in (16, 32, 64, 128, 256, 384, 512) if b >= TILE or b >= m]
    out = run(lower, rhs, fitting[larger % len(fitting)], chip=chip)
    assert out.dtype == np.float32
    assert np.array_equal(out, lower.astype(np.float64) @ rhs.astype(np.float64))


@pytest.mark.parametrize(("m", "block"), [(1100, 384), (2100, 512)])
def test_a_triangle_that_stays_and_one_that_streams_twice(m, block):
    lower, rhs = integers(m, 1100)
    assert np.array_equal(run(lower, rhs, block, chip="trn1"), lower.astype(np.float64) @ rhs)


def test_rows_take_the_rows_above_them_only():
    lower, rhs = integers(700, 200)
    spoilt = rhs.copy()
    spoilt[256:] = np.nan
    out = run(lower, spoilt, 384)
    assert np.array_equal(out[:256], run(lower, rhs, 384)[:256])
    assert np.isnan(out[256:]).all()


def test_errors_are_those_of_fp32_sums():
    rng = np.random.default_rng(7)
    lower = np.tril(rng.standard_normal((700, 700))).astype(np.float32)
    rhs = rng.standard_normal((700, 90)).astype(np.float32)
    exact = lower.astype(np.float64) @ rhs
    terms = np.arange(1, 701)[:, None]
    bound = terms * 2.0**-24 * (np.abs(lower.astype(np.float64)) @ np.abs(rhs))
    assert (np.abs(run(lower, rhs, 384) - exact) <= bound).all()


def test_tf32_rounds_operands_to_ten_bits():
    lower = np.float32([[1 + 2**-10, 0], [0, 1 + 2**-12]])  # the second is below half a unit of 2^-10
    rhs = np.ones((2, 1), np.float32)
    assert run(lower, rhs, 16, tf32=1).ravel().tolist() == [1 + 2**-10, 1.0]
    assert np.array_equal(run(lower, rhs, 16).ravel(), np.diag(lower))


@given(extent, extent, st.sampled_from([2, 4]))
def test_tilings_cover_and_are_bounded(m, n, itemsize):
    t = tile_trmm(m, n, itemsize)
    for size, piece, count in ((m, t.m, t.pieces[1]), (n, t.n, t.pieces[3])):
        assert (count - 1) * piece < size <= count * piece <= count * LIMIT
    assert t.instructions <= MAX_INSTRUCTIONS
    assert t.launches == prod(t.pieces)
    assert t.k == t.m
    assert t.block_m == block_edge(t.m) <= 512


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    "problem", [(16, 33), (100, 700), (640, 1100), (2048, 2100), (2100, 2100), (LIMIT, LIMIT)]
)
def test_counts_are_the_kernels_and_fit_the_chip(problem, dtype, chip):
    t = tile_trmm(*problem, np.dtype(dtype).itemsize)
    record = interp.simulate(
        _kernel("trmm"), (*operands(t, dtype), *t.parameters), chip=CHIPS[chip], dry=True
    )
    assert record.outputs.shape == t.result_shape
    assert record.instructions == t.instructions
    assert record.engines["tensor"] == t.matmuls
    assert record.engines["vector"] == t.casts


def operands(t, dtype):
    return of_shape((stacked_rows(t.m, t.block_m), t.block_m), dtype), of_shape((t.m, t.n), dtype)


def test_the_triangle_is_read_once_without_its_zero_tiles_and_half_the_matmuls_made():
    t = tile_trmm(1024, 2048, 4)
    timeline = time_kernel(
        load_kernel("trmm", modules), (*operands(t, np.float32), *t.parameters), CHIPS["trn1"]
    )
    tiles = 8 * 9 // 2
    assert timeline.hbm_bytes == 4 * (tiles * TILE**2 + 2 * t.m * t.n)
    assert timeline.bounds_ns["tensor"] * 2.8 / 4 == pytest.approx(t.pe_columns)
    assert t.pe_columns == tiles * t.n
