"""Tilings: they cover the problem, share shapes, keep their bounds, and count what the kernels do."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn import interp
from numtrn.machine import CHIPS
from numtrn.plan.tiling import MAX_INSTRUCTIONS, bucket, split, tile_gemm
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


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("problem", [(1, 100, 84, 70), (3, 16, 33, 31), (1, 300, 900, 600)])
def test_gemm_counts_are_the_kernels(problem, chip):
    for itemsize, dtype in ((4, np.float32), (2, np.float16)):
        t = tile_gemm(*problem, itemsize)
        operands = np.ones((t.batch * t.k, t.m), dtype), np.ones((t.batch * t.k, t.n), dtype)
        run = interp.simulate(_kernel("gemm"), (*operands, *t.parameters), chip=CHIPS[chip])
        assert run.instructions == t.instructions
        assert run.engines["tensor"] == t.matmuls
