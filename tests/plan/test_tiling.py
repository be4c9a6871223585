"""Tilings: they cover the problem, share shapes, keep their bounds, and count what the kernels do."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn import interp
from numtrn.machine import CHIPS
from numtrn.plan.tiling import MAX_INSTRUCTIONS, bucket, split, tile_gemm, tile_sliced
from numtrn.targets.interpreter import _kernel

extent = st.integers(1, 9000)
chips = st.sampled_from(list(CHIPS.values()))


@given(extent, st.sampled_from([64, 128]))
def test_bucket_rounds_up_by_little(size, step):
    rounded = bucket(size, step)
    assert size <= rounded < 2 * size + 16
    assert rounded - size < 128


@given(extent, st.sampled_from([512, 1024, 2048]))
def test_split_covers_in_equal_pieces(size, limit):
    piece, count = split(size, limit)
    assert piece <= limit
    assert (count - 1) * piece < size <= count * piece


@given(st.integers(1, 300), extent, extent, extent, st.sampled_from([2, 4]))
def test_gemm_tiling_covers_and_is_bounded(batch, m, k, n, itemsize):
    t = tile_gemm(batch, m, k, n, itemsize)
    for size, piece, count in zip((batch, m, k, n), (t.batch, t.m, t.k, t.n), t.pieces, strict=True):
        assert (count - 1) * piece < size <= count * piece
    assert t.instructions <= MAX_INSTRUCTIONS
    assert t.launches == prod(t.pieces)


@given(st.integers(1, 300), extent, extent, extent, st.integers(7, 16), st.sampled_from([128, 256]), chips)
def test_sliced_tiling_covers_and_is_bounded(batch, m, k, n, slices, peak, chip):
    t = tile_sliced(batch, m, k, n, slices, peak, chip)
    for size, piece, count in zip((batch, m, k, n), (t.batch, t.m, t.k, t.n), t.pieces, strict=True):
        assert (count - 1) * piece < size <= count * piece
    assert t.m % t.block_m == 0
    assert t.n % t.block_n == 0
    assert t.block_n <= 512
    # int32 accumulators stay exact, and so does every PSUM group
    assert t.k * slices * peak**2 < 2**31
    group = t.parameters[-1]
    assert group * 128 * peak**2 <= 2**24
    assert t.instructions <= MAX_INSTRUCTIONS


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("problem", [(1, 100, 84, 70), (3, 16, 33, 31), (1, 300, 900, 600)])
def test_gemm_counts_are_the_kernels(problem, chip):
    for itemsize, dtype in ((4, np.float32), (2, np.float16)):
        t = tile_gemm(*problem, itemsize)
        operands = np.ones((t.batch * t.k, t.m), dtype), np.ones((t.batch * t.k, t.n), dtype)
        run = interp.simulate(_kernel("gemm"), (*operands, *t.parameters), chip=CHIPS[chip])
        assert run.instructions == t.instructions
        assert run.engines["tensor"] == t.matmuls


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(("slices", "peak"), [(7, 128), (8, 256), (11, 128)])
@pytest.mark.parametrize("problem", [(1, 100, 84, 70), (2, 140, 600, 20), (1, 600, 700, 550)])
def test_sliced_counts_are_the_kernels_and_fit_sbuf(problem, slices, peak, chip):
    import ml_dtypes

    t = tile_sliced(*problem, slices, peak, CHIPS[chip])
    operands = (
        np.ones((t.batch * t.k, slices * t.m), ml_dtypes.bfloat16),
        np.ones((t.batch * t.k, slices * t.n), ml_dtypes.bfloat16),
    )
    run = interp.simulate(_kernel("sliced_gemm"), (*operands, *t.parameters), chip=CHIPS[chip])
    assert run.instructions == t.instructions
    assert run.engines["tensor"] == t.matmuls
    assert run.peak_sbuf_bytes <= CHIPS[chip].sbuf_usable_bytes
