"""A A^T and A B^T + B A^T on every chip, against exact integers and float64; counts against the tiling."""

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
from numtrn.plan.rank_k import LIMIT, tile_rank_k
from numtrn.plan.tiling import MAX_INSTRUCTIONS, block_edge
from numtrn.targets.interpreter import _kernel
from numtrn.targets.load import load_kernel

TILE = 128
DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)
chips = st.sampled_from(list(CHIPS))
edges = st.sampled_from([1, 31, 32, 33, 64, 127, 128, 129, 200, 256, 257, 385])
extent = st.integers(1, 9000)


def run(operands_t, batch, parts, block, tf32=0, chip="trn2"):
    arguments = operands_t.reshape(-1, operands_t.shape[-1]), batch, parts, block, tf32
    return interp.simulate(_kernel("rank_k"), arguments, chip=CHIPS[chip]).outputs


def product(operands_t):
    """The whole results (batch, n, n) of operands (batch, parts, k, n)."""
    wide = operands_t.astype(np.float64)
    return (wide.swapaxes(2, 3) @ wide[:, ::-1]).sum(axis=1)


def stacked(whole, block):
    """Lower blocks below each other, zero right of the diagonal tiles and from row n on."""
    batch, n, _ = whole.shape
    tiles = np.arange(n) // TILE
    size = -(-n // block) * block
    padded = np.zeros((batch, size, size))
    padded[:, :n, :n] = np.where(tiles[:, None] >= tiles, whole, 0)
    starts = range(0, size, block)
    return np.concatenate(
        [c[i : i + block, j : j + block] for c in padded for i in starts for j in starts if j <= i]
    )


def block_for(n, larger):
    """An edge that the kernel takes for that order."""
    fitting = [b for b in (16, 32, 64, 128, 256, 384, 512) if b >= TILE or b >= n]
    return fitting[larger % len(fitting)]


@settings(max_examples=40, deadline=None)
@given(edges, edges, st.integers(1, 2), st.integers(1, 3), st.integers(0, 6), chips, st.sampled_from(DTYPES))
def test_small_integers_are_exact(n, k, parts, batch, larger, chip, dtype):
    operands = np.random.default_rng(n * k).integers(-8, 9, (batch, parts, k, n)).astype(dtype)
    block = block_for(n, larger)
    out = run(operands, batch, parts, block, chip=chip)
    assert out.dtype == np.float32
    assert np.array_equal(out, stacked(product(operands), block))


@settings(max_examples=30, deadline=None)
@given(edges, edges, st.integers(1, 2), st.integers(1, 3), chips, st.sampled_from(DTYPES), st.booleans())
def test_operands_as_they_lie_change_no_bit(n, k, parts, batch, chip, dtype, tf32):
    operands = np.random.default_rng(n * k).standard_normal((batch, parts, k, n)).astype(dtype)
    block, tf32 = block_for(n, 3), int(tf32 and dtype is np.float32)
    lying = np.ascontiguousarray(operands.swapaxes(2, 3)).reshape(-1, k)
    turned = interp.simulate(_kernel("rank_k"), (lying, batch, parts, block, tf32, 1), chip=CHIPS[chip])
    assert turned.outputs.tobytes() == run(operands, batch, parts, block, tf32, chip=chip).tobytes()


@pytest.mark.parametrize(
    ("n", "k", "parts", "block"),
    [
        (1100, 2176, 1, 512),  # a second panel, past which the first one's columns stream
        (1100, 2176, 2, 512),  # panels of one block
        (1900, 2176, 1, 128),  # six panels stay, columns of the seventh stream
        (1300, 130, 2, 384),  # all panels stay
    ],
)
def test_panels_that_stay_and_columns_that_stream(n, k, parts, block):
    operands = np.random.default_rng(n).integers(-8, 9, (1, parts, k, n)).astype(np.float32)
    expected = stacked(product(operands), block)
    assert np.array_equal(run(operands, 1, parts, block, chip="trn1"), expected)
    lying = np.ascontiguousarray(operands.swapaxes(2, 3)).reshape(-1, k)
    turned = interp.simulate(_kernel("rank_k"), (lying, 1, parts, block, 0, 1), chip=CHIPS["trn1"]).outputs
    assert np.array_equal(turned, expected)


@pytest.mark.parametrize("parts", [1, 2])
def test_errors_are_those_of_fp32_sums(parts):
    k = 700
    operands = np.random.default_rng(parts).standard_normal((1, parts, k, 300)).astype(np.float32)
    bound = parts * k * 2.0**-24 * product(np.abs(operands))
    out = run(operands, 1, parts, 384).astype(np.float64)
    assert (np.abs(out - stacked(product(operands), 384)) <= stacked(bound, 384)).all()


def test_tf32_rounds_operands_to_ten_bits():
    operands = np.float32([[[[1 + 2**-10, 1 + 2**-12]]]])  # the second is below half a unit of 2^-10
    assert run(operands, 1, 1, 16, tf32=1)[:2, :2].tolist() == [
        [(1 + 2**-10) ** 2, 1 + 2**-10],
        [1 + 2**-10, 1.0],
    ]
    exact = product(operands)[0].astype(np.float32)
    assert np.array_equal(run(operands, 1, 1, 16)[:2, :2], exact)


@given(st.integers(1, 300), extent, extent, st.integers(1, 2), st.sampled_from([2, 4]))
def test_tilings_cover_and_are_bounded(batch, n, k, parts, itemsize):
    t = tile_rank_k(batch, n, k, parts, itemsize)
    for size, piece, count in zip((batch, n, k, n), (t.batch, t.m, t.k, t.n), t.pieces, strict=True):
        assert (count - 1) * piece < size <= count * piece
    assert max(t.m, t.k) <= LIMIT
    assert t.instructions <= MAX_INSTRUCTIONS
    assert t.launches == prod(t.pieces)
    assert t.block_m == t.block_n == block_edge(t.n) <= 512


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    "problem",
    [
        (3, 16, 33, 1),
        (2, 100, 300, 2),
        (1, 640, 1000, 1),
        (2, 1100, 900, 2),
        (1, 2100, 2200, 1),
        (1, 2900, 4096, 2),
        (1, LIMIT, LIMIT, 1),
        (1, LIMIT, LIMIT, 2),
    ],
)
def test_counts_are_the_kernels_and_fit_the_chip(problem, dtype, fast, chip):
    t = tile_rank_k(*problem, np.dtype(dtype).itemsize, k_is_fast=fast)
    rows, columns = (t.n, t.k) if fast else (t.k, t.n)
    operands = of_shape((t.batch * problem[3] * rows, columns), dtype)
    record = interp.simulate(_kernel("rank_k"), (operands, *t.parameters), chip=CHIPS[chip], dry=True)
    assert record.outputs.shape == t.result_shape
    assert record.instructions == t.instructions
    assert record.engines["tensor"] == t.matmuls + t.transposes
    assert bool(t.transposes) is fast
    if not fast:
        assert record.engines["vector"] == t.casts


@pytest.mark.parametrize("parts", [1, 2])
def test_operands_that_fit_are_read_once_and_half_the_matmuls_made(parts):
    t = tile_rank_k(1, 1024, 1024, parts, 4)
    operands = of_shape((parts * t.k, t.n), np.float32)
    timeline = time_kernel(load_kernel("rank_k", modules), (operands, *t.parameters), CHIPS["trn1"])
    assert timeline.hbm_bytes == t.bytes_in + t.bytes_out
    assert timeline.bounds_ns["tensor"] * 2.8 / 4 == pytest.approx(t.pe_columns)
    assert t.pe_columns == parts * 8 * 128 * (8 * 9 // 2)
