"""Tilings: they cover the problem, share shapes, keep their bounds, and count what the kernels do."""

from itertools import product
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn import interp
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS
from numtrn.plan.cost import predict
from numtrn.plan.tiling import MAX_INSTRUCTIONS, TILE, bucket, split, tile_gemm
from numtrn.targets.interpreter import _kernel

extent = st.integers(1, 9000)
chips = st.sampled_from(list(CHIPS.values()))
LAYOUTS = list(product((False, True), repeat=2))
"""Whether k is along the rows of A, and of B."""


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
@pytest.mark.parametrize("fast", LAYOUTS)
@pytest.mark.parametrize(
    "problem",
    [(1, 100, 84, 70), (3, 16, 33, 31), (1, 300, 900, 600), (2, 1100, 1040, 1090), (1, 4096, 2048, 4096)],
)
def test_gemm_counts_are_the_kernels_and_fit_the_chip(problem, fast, chip):
    for itemsize, dtype in ((4, np.float32), (2, np.float16)):
        t = tile_gemm(*problem, itemsize, k_is_fast=fast)
        run = interp.simulate(
            _kernel("gemm"), (*shapes(t, fast, dtype), *t.parameters), chip=CHIPS[chip], dry=True
        )
        assert run.outputs.shape == t.result_shape
        assert run.instructions == t.instructions
        assert run.engines["tensor"] == t.matmuls + t.transposes
        assert bool(t.transposes) is any(fast)


def shapes(t, fast, dtype):
    """Operands of one launch without data."""
    a, b = ((side, t.k) if turned else (t.k, side) for side, turned in zip((t.m, t.n), fast, strict=True))
    return [of_shape((t.batch * rows, columns), dtype) for rows, columns in (a, b)]


@given(st.integers(1, 40), extent, extent, extent, st.sampled_from([2, 4]), st.sampled_from(LAYOUTS))
def test_a_layout_changes_no_extent_and_no_byte(batch, m, k, n, itemsize, fast):
    t, lying = tile_gemm(batch, m, k, n, itemsize, k_is_fast=fast), tile_gemm(batch, m, k, n, itemsize)
    assert (t.m, t.k, t.n, t.pieces[1:]) == (lying.m, lying.k, lying.n, lying.pieces[1:])
    assert t.bytes_in * lying.batch == lying.bytes_in * t.batch
    assert t.instructions <= MAX_INSTRUCTIONS
    assert t.transposes == t.batch * sum(
        ceil(t.k / TILE) * ceil(side / TILE) for side, turned in zip((t.m, t.n), fast, strict=True) if turned
    )


@pytest.mark.parametrize("chip", ["trn1", "trn2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("fast", [(True, False), (False, True), (True, True)])
def test_the_clock_has_the_cycles_of_transposes_that_a_tiling_counts(fast, dtype, chip):
    chip = CHIPS[chip]
    t = tile_gemm(1, 600, 700, 1100, np.dtype(dtype).itemsize, k_is_fast=fast)
    clock = time_kernel(_kernel("gemm"), (*shapes(t, fast, dtype), *t.parameters), chip)
    passes = chip.fp32_passes if dtype is np.float32 else 1
    turning = {(2, 4): 4, (3, 4): 2}.get((chip.generation, passes), 1)
    cycles = t.pe_columns * passes + t.turned_columns * turning
    assert clock.bounds_ns["tensor"] * chip.tensor_ghz == pytest.approx(cycles)
    bound = cycles / chip.tensor_ghz * 1e-9
    assert predict(t, passes, chip).device >= bound + chip.kernel_seconds - 1e-12


@pytest.mark.parametrize(
    ("n", "measured_ms"),
    # One kernel, A given as it lies: awslabs/nki-autotune autotune/gemm/trn2-scoreboard.md @616e222b
    [(512, 0.056), (1024, 0.079), (1536, 0.149), (2048, 0.288)],
)
def test_one_launch_with_a_transpose_agrees_with_a_published_measurement(n, measured_ms):
    tiling = tile_gemm(1, n, n, n, 2, k_is_fast=(True, False))
    assert predict(tiling, 1, CHIPS["trn2"]).device * 1e3 == pytest.approx(measured_ms, rel=0.05)
