"""Kernels on two cores, ``kernel[2]``: the same bits as on one, every element written once, no races.

The interpreter refuses races, control flow that differs between the cores, and outputs with gaps. Operands
are small integers: of others its fp32 sums depend on how the BLAS of this machine takes a tile's shape.
"""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn import interp
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS
from numtrn.plan.ladder import Cutting
from numtrn.plan.mp2_tiling import tile_pairs
from numtrn.plan.tiling import LOWER_LHS, LOWER_RESULT
from numtrn.plan.words import plane_count
from numtrn.precision.fixed import result_words, word_bytes
from numtrn.targets.interpreter import _kernel

chips = st.sampled_from(["trn2", "trn3"])
extents = st.sampled_from([2, 16, 32, 64, 128, 256, 384, 640])
columns = st.sampled_from([1, 64, 448, 512, 576])
few = settings(max_examples=8, deadline=None)


def both(name, *arguments, chip="trn2"):
    """What one core gives, and what two give, which must have the same bits."""
    one, two = (
        interp.simulate(kernel, arguments, chip=CHIPS[chip]) for kernel in (_kernel(name), _kernel(name)[2])
    )
    assert len(two.others) == 1
    assert two.instructions == two.others[0].instructions  # the same program on both
    outputs = [run.outputs if isinstance(run.outputs, tuple) else (run.outputs,) for run in (one, two)]
    return list(zip(*outputs, strict=True))


def same(pairs):
    assert all(one.shape == two.shape and one.tobytes() == two.tobytes() for one, two in pairs)


def digits(seed, batch, k, extent, slices):
    """Words of digits (batch, K, extent, slices), as the host ships them."""
    rng = np.random.default_rng(seed)
    words = np.zeros((batch, k, extent, word_bytes(slices)), np.int8)
    words[..., :slices] = rng.integers(-128, 128, (batch, k, extent, slices))
    return words.reshape(batch * k, -1)


def planes(seed, batch, k, extent, slices):
    """Digit planes, whatever their order."""
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (batch * k, extent * slices)).astype(ml_dtypes.bfloat16)


@settings(max_examples=20, deadline=None)
@given(
    extents,
    st.sampled_from([1, 127, 128, 300]),
    columns,
    st.integers(1, 2),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.sampled_from([(np.float32, 0), (np.float32, 1), (np.float16, 0), (ml_dtypes.bfloat16, 0)]),
    chips,
)
def test_gemm(m, k, n, batch, turned, kind, chip):
    dtype, tf32 = kind
    rng = np.random.default_rng(m * k * n)
    lhs = rng.integers(-8, 9, (batch * m, k) if turned[0] else (batch * k, m)).astype(dtype)
    rhs = rng.integers(-8, 9, (batch * n, k) if turned[1] else (batch * k, n)).astype(dtype)
    same(both("gemm", lhs, rhs, batch, tf32, *turned, chip=chip))


def test_gemm_of_several_panels_keeps_its_transposes_apart():
    """Both operands are transposed, and lhs is kept in memory of each core's own."""
    rng = np.random.default_rng(7)
    lhs, rhs = (rng.integers(-8, 9, (2 * extent, 140)) for extent in (1152, 1088))
    same(both("gemm", lhs.astype(np.float32), rhs.astype(np.float32), 2, 0, 1, 1))


@pytest.mark.parametrize("m", [1, 33, 129])
def test_an_odd_number_of_rows_is_refused(m):
    a = np.ones((4, m), np.float32)
    with pytest.raises(interp.KernelFault, match="written completely"):
        interp.simulate(_kernel("gemm")[2], (a, np.ones((4, 5), np.float32), 1, 0), chip=CHIPS["trn2"])


@few
@given(extents, st.sampled_from([1, 128, 300]), columns, st.integers(1, 2), chips)
def test_least_product(m, k, n, batch, chip):
    rng = np.random.default_rng(m * k * n)
    lhs, rhs = (rng.integers(0, 3, (batch * k, extent)).astype(ml_dtypes.bfloat16) for extent in (m, n))
    same(both("least_product", lhs, rhs, batch, chip=chip))


@few
@given(
    st.sampled_from([16, 32, 128, 384, 1280]),
    st.sampled_from([(64, 1), (192, 3), (512, 2)]),
    st.sampled_from([7, 9, 16]),
    st.integers(1, 2),
    st.integers(0, 1),
    chips,
)
def test_digit_planes(k, blocks, slices, batch, transpose, chip):
    block, count = blocks
    shape = (batch, block * count, k) if transpose else (batch, k, block * count)
    words = digits(k, *shape, slices)
    same(both("digit_planes", words, batch, slices, block, transpose, chip=chip))


@few
@given(
    st.sampled_from([16, 64, 128, 256, 384, 512]),
    st.sampled_from([(64, 2), (192, 1), (512, 1)]),
    st.sampled_from([128, 384]),
    st.sampled_from([(7, 1), (8, 2), (16, 1)]),
    st.sampled_from([0, LOWER_RESULT, LOWER_LHS]),
    chips,
)
def test_sliced_gemm(block_m, blocks_n, k, cut, part, chip):
    slices, batch = cut
    block_n, count = blocks_n
    blocks_m = 1 if block_m > 256 else 2
    if part == LOWER_RESULT:
        block_n, count = block_m, blocks_m
    if part == LOWER_LHS:
        k = block_m * blocks_m
    lhs = planes(1, batch, k, block_m * blocks_m, slices)
    rhs = planes(2, batch, k, block_n * count, slices)
    same(both("sliced_gemm", lhs, rhs, batch, slices, block_m, block_n, 2, 4, part, chip=chip))


@few
@given(
    st.sampled_from([16, 64, 128, 384, 512]),
    st.sampled_from([(1, 1), (2, 3), (4, 1)]),
    st.sampled_from([7, 8]),
    st.integers(0, 1),
    chips,
)
def test_karatsuba_planes(block, cut, slices, transpose, chip):
    depth, chunks = cut
    k, extent = 128 * depth * chunks, 2 * block
    shape = (1, extent, k) if transpose else (1, k, extent)
    words = digits(block, *shape, slices)
    made, squares = both("karatsuba_planes", words, 1, slices, block, depth, transpose, chip=chip)
    same([made])
    pairs = plane_count(slices) - slices
    largest = [found.reshape(chunks, -1, 2, pairs).max(axis=1) for found in squares]
    assert np.array_equal(*largest)


@few
@given(
    st.sampled_from([16, 128, 256, 384, 512]),
    st.sampled_from([64, 192, 512]),
    st.sampled_from([(1, 1), (2, 2)]),
    st.sampled_from([7, 8]),
    st.sampled_from([0, LOWER_RESULT]),
    chips,
)
def test_karatsuba_gemm(block_m, block_n, cut, slices, part, chip):
    depth, chunks = cut
    block_n = block_m if part else block_n
    rng = np.random.default_rng(block_m)
    lhs, rhs = (
        rng.integers(-64, 64, (chunks * 128, plane_count(slices) * depth * 2 * block))
        for block in (block_m, block_n)
    )
    lhs, rhs = lhs.astype(ml_dtypes.bfloat16), rhs.astype(ml_dtypes.bfloat16)
    pairs = both("karatsuba_gemm", lhs, rhs, 1, slices, block_m, block_n, depth, part, chip=chip)
    same(pairs)
    assert pairs[0][0].shape[1] % (result_words(slices) * block_n) == 0


@few
@given(st.sampled_from([(16, 1), (128, 2), (128, 130)]), st.sampled_from([2, 448, 4096, 8200]), chips)
def test_sum_planes(tiles, width, chip):
    height, count = tiles
    width = min(width, 448) if count > 2 else width
    one, other = (planes(seed, 1, height * count, width, 1) for seed in (1, 2))
    same(both("sum_planes", one, other, height, chip=chip))


sides = st.sampled_from([16, 64, 128, 384, 640])
halves = st.sampled_from([2, 16, 64, 448, 1024, 1152])
fp32 = st.sampled_from([(np.float32, 0), (np.float32, 1), (ml_dtypes.bfloat16, 0)])


def block_of(m):
    """An edge that the kernels of triangles take."""
    return m if m <= 128 else 128 if m % 256 else 256


def triangle(m, seed, dtype=np.float32):
    """Blocks of a triangle below each other: (0, 0), (1, 0), (1, 1) ..., each lower triangular by itself."""
    block = block_of(m)
    count = m // block * (m // block + 1) // 2
    blocks = np.random.default_rng(seed).integers(-3, 4, (count, block, block))
    return np.triu(blocks).reshape(-1, block).astype(dtype), block


@few
@given(sides, halves, fp32, chips)
def test_symm_and_trmm(m, n, kind, chip):
    dtype, tf32 = kind
    lower, block = triangle(m, 1, dtype)
    rhs = np.random.default_rng(2).integers(-3, 4, (m, n)).astype(dtype)
    for name in ("symm", "trmm"):
        same(both(name, lower, rhs, block, tf32, chip=chip))


@few
@given(sides, halves, st.sampled_from([16, 32, 128]), chips)
def test_trsm(m, n, edge, chip):
    edge = min(m, max(edge, 32))
    lower, block = triangle(m, 1)
    blocks = lower.reshape(-1, block, block) * 0
    for i in range(m // block):  # X_i = B_i - L_i0 X_0: integers
        blocks[i * (i + 1) // 2] = np.random.default_rng(i).integers(-1, 2, (block, block))
        blocks[i * (i + 1) // 2 + i] = np.eye(block)
    lower = blocks.reshape(-1, block)
    inverses = np.tile(np.eye(min(m, 128), dtype=np.float32), (max(1, m // 128), 1))
    rhs = np.random.default_rng(2).integers(-3, 4, (m, n)).astype(np.float32)
    same(both("trsm", lower, inverses, rhs, block, edge, chip=chip))


@few
@given(
    st.sampled_from([2, 16, 64, 128, 192, 384, 640]),
    st.sampled_from([1, 128, 300]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(0, 1),
    fp32,
    chips,
)
def test_rank_k(n, k, batch, parts, turn, kind, chip):
    dtype, tf32 = kind
    shape = (batch * parts * n, k) if turn else (batch * parts * k, n)
    operands = np.random.default_rng(3).integers(-3, 4, shape).astype(dtype)
    block = n if n <= 128 else 256
    same(both("rank_k", operands, batch, parts, block, tf32, turn, chip=chip))


@pytest.mark.parametrize("same_orbitals", [False, True])
@pytest.mark.parametrize("v", [20, 128, 140])
def test_mp2_pairs(v, same_orbitals):
    rng = np.random.default_rng(4)
    t = tile_pairs((3, 3), (v, v), 30, same=same_orbitals, exchange=True, tf32=False)
    assert t is not None
    for launch in t.launches:
        first, second = t.spins
        moving = rng.integers(-3, 4, (30, launch.oi * first.width)).astype(np.float32)
        other = moving
        if not launch.triangle:
            other = rng.integers(-3, 4, (30, launch.oj * second.width)).astype(np.float32)
        table = np.full((128, first.v + launch.oi + second.tiles(launch.oj)), 2.0, np.float32)
        same(both("mp2_pairs", moving, other, table, *launch.parameters))


def test_probes():
    rng = np.random.default_rng(5)
    numbers = rng.integers(-(2**20), 2**20, (128, 256)).astype(np.int32)
    for case in range(5):
        same(both("probe_integers", numbers, numbers[::-1].copy(), case))
    for case in (0, 1, 5, 6, 7):
        same(both("probe_casts", numbers.astype(np.float32), case))
    for case in (2, 3):
        same(both("probe_casts", numbers.view(np.int8), case))
    same(both("probe_casts", (numbers % 128).astype(ml_dtypes.bfloat16), 4))
    small = (numbers % 8).astype(np.float32)
    same(both("probe_sums", small[:, :128].copy(), small, 0))


@pytest.mark.parametrize("chip", ["trn2", "trn3"])
def test_the_clock_sees_half_of_the_work(chip):
    """Predicted: a launch on two cores takes little more than half of the time on one."""
    arguments = of_shape((1024, 2048), np.float32), of_shape((1024, 2048), np.float32), 1, 0
    one, two = (
        time_kernel(kernel, arguments, CHIPS[chip]).total_ns
        for kernel in (_kernel("gemm"), _kernel("gemm")[2])
    )
    assert 0.5 < two / one < 0.62


@settings(max_examples=60, deadline=None)
@given(*[st.integers(1, 5000)] * 3, st.integers(7, 16), st.sampled_from(["fine", "few"]), chips)
def test_what_is_halved_of_a_launch_is_even(m, k, n, slices, shapes, chip):
    cut = Cutting(shapes, CHIPS[chip])
    assert cut.gemm(1, m, k, n, 4).m % 2 == 0
    assert cut.least(1, m, k, n).m % 2 == 0
    assert cut.rank_k(1, m, k, 1, 4, False, True).m % 2 == 0
    assert cut.symm(m, n).n % 2 == cut.trmm(m, n).n % 2 == cut.trsm(min(m, 4096), n).n % 2 == 0
    tilings = [*cut.products(1, m, k, n, slices, 1), cut.karatsuba(1, m, k, n, slices)]
    for t in filter(None, tilings):
        assert t.block_m % 2 == t.block_n % 2 == t.k % 2 == 0
