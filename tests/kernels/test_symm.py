"""SYMM on every chip, against exact integers and float64; what lies above the diagonal is NaN throughout."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn import interp
from numtrn.interp.clock import of_shape
from numtrn.machine import CHIPS
from numtrn.plan.symm import LIMIT, tile_symm
from numtrn.plan.tiling import TILE
from numtrn.targets.interpreter import _kernel

U = 2.0**-24
orders = st.sampled_from([1, 15, 16, 17, 31, 33, 64, 65, 127, 128, 129, 256, 300, 512, 513, 900])
columns = st.sampled_from([1, 63, 64, 65, 511, 512, 513, 1025])
chips = st.sampled_from(list(CHIPS))
few = settings(max_examples=15, deadline=None)


def random_symmetric(m, seed, low=-8, high=9):
    lower = np.tril(np.random.default_rng(seed).integers(low, high, (m, m)).astype(np.float64))
    return lower + np.tril(lower, -1).T


def stacked(matrix, block, above=np.nan, dtype=np.float32):
    """Lower blocks below each other, ``above`` the diagonal something that must not matter."""
    kept = np.where(np.tri(len(matrix), dtype=bool), matrix, above).astype(dtype)
    edges = range(0, len(matrix), block)
    return np.vstack([kept[i : i + block, j : j + block] for i in edges for j in edges if j <= i])


def simulate(matrix, rhs, block, chip="trn2", *, tf32=0, above=np.nan):
    operands = stacked(matrix, block, above, rhs.dtype), rhs
    return interp.simulate(_kernel("symm"), (*operands, block, tf32), chip=CHIPS[chip])


def launch(matrix, rhs, chip):
    """A launch as it is planned, operands padded by zeros."""
    (m, n), t = rhs.shape, tile_symm(*rhs.shape)
    assert t.launches == 1
    wide, tall = np.zeros((t.m, t.m)), np.zeros((t.m, t.n), np.float32)
    wide[:m, :m], tall[:m, :n] = matrix, rhs
    run = simulate(wide, tall, t.parameters[0], chip)
    assert run.outputs.shape == t.result_shape
    assert run.outputs.dtype == np.float32
    return run.outputs[:m, :n]


@few
@given(orders, columns, chips)
def test_small_integers_are_exact(m, n, chip):
    matrix = random_symmetric(m, m)
    rhs = np.random.default_rng(n).integers(-8, 9, (m, n))
    assert np.array_equal(launch(matrix, rhs.astype(np.float32), chip), matrix @ rhs)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(("block", "blocks"), [(16, 1), (64, 1), (128, 3), (256, 2), (384, 3), (512, 2)])
@pytest.mark.parametrize("n", [40, 600])
def test_every_edge_of_a_block(block, blocks, n, chip):
    matrix = random_symmetric(block * blocks, block)
    rhs = np.random.default_rng(n).integers(-8, 9, (block * blocks, n)).astype(np.float32)
    assert np.array_equal(simulate(matrix, rhs, block, chip).outputs, matrix @ rhs)


@pytest.mark.parametrize("above", [np.nan, np.inf, -np.inf, 3e38, 1.0])
@pytest.mark.parametrize("tf32", [0, 1])
def test_nothing_above_the_diagonal_is_used(above, tf32):
    matrix = random_symmetric(384, 1)
    rhs = np.eye(384, dtype=np.float32)
    for chip in CHIPS:
        for block in (128, 384):
            out = simulate(matrix, rhs, block, chip, tf32=tf32, above=above).outputs
            assert np.array_equal(out, matrix)


@pytest.mark.parametrize("chip", CHIPS)
def test_elements_pass_the_mirror_unchanged(chip):
    rng = np.random.default_rng(5)
    lower = rng.standard_normal((768, 768)) * 2.0 ** rng.integers(-60, 60, (768, 768))
    matrix = np.tril(lower.astype(np.float32))
    matrix += np.tril(matrix, -1).T
    out = simulate(matrix, np.eye(768, dtype=np.float32), 384, chip).outputs
    assert np.array_equal(out, matrix)


@few
@given(orders, st.sampled_from([1, 65, 513]), st.integers(-20, 20), chips)
def test_rounding_stays_below_the_bound_of_any_order_of_summation(m, n, scale, chip):
    rng = np.random.default_rng(m + n)
    lower = np.tril(rng.standard_normal((m, m)).astype(np.float32) * np.float32(2.0) ** scale)
    matrix = (lower + np.tril(lower, -1).T).astype(np.float64)
    rhs = rng.standard_normal((m, n)).astype(np.float32)
    bound = (m + 1) * U * (np.abs(matrix) @ np.abs(rhs))
    assert (np.abs(launch(matrix, rhs, chip) - matrix @ rhs.astype(np.float64)) <= bound).all()


def test_tf32_rounds_both_operands_to_ten_bits():
    matrix = np.float32([[1 + 2**-10, 1 + 2**-12], [1 + 2**-12, 1 + 2**-10]])  # 2^-12: below half a unit
    wide = np.zeros((16, 16), np.float32)
    wide[:2, :2] = matrix
    rhs = np.eye(16, 2, dtype=np.float32)
    exact, cast = (simulate(wide, rhs, 16, tf32=tf32).outputs[:2] for tf32 in (0, 1))
    assert np.array_equal(exact, matrix)
    assert np.array_equal(cast, np.float32([[1 + 2**-10, 1], [1, 1 + 2**-10]]))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_operands_of_16_bits(dtype):
    matrix = random_symmetric(256, 2)
    rhs = np.random.default_rng(3).integers(-8, 9, (256, 70)).astype(dtype)
    assert np.array_equal(simulate(matrix, rhs, 128).outputs, matrix @ rhs.astype(np.float64))


def shapes(t):
    blocks = t.m // t.block_m
    return (blocks * (blocks + 1) // 2 * t.block_m, t.block_m), (t.m, t.n)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("problem", [(9, 3), (100, 513), (300, 70), (700, 1100), (1025, 64), (2100, 900)])
def test_counts_are_the_kernels(problem, chip):
    for tf32 in (False, True):
        t = tile_symm(*problem, 4, tf32)
        operands = tuple(of_shape(shape, np.float32) for shape in shapes(t))
        arguments = (*operands, *t.parameters)
        run = interp.simulate(_kernel("symm"), arguments, chip=CHIPS[chip], dry=True, keep_log=True)
        assert run.instructions == t.instructions
        assert run.engines["tensor"] == t.matmuls
        assert run.engines["scalar"] == t.casts
        assert sum(operand.nbytes for operand in operands) == t.bytes_in
        assert run.outputs.nbytes == t.bytes_out
        matmuls = [i for i in run.log if i.name == "nc_matmul"]
        assert sum(max(64, i.reads[1].shape[1]) for i in matmuls) == t.pe_columns


@pytest.mark.parametrize("chip", CHIPS)
def test_the_largest_launch_fits_and_mirrors_each_tile_once(chip):
    t = tile_symm(LIMIT, 1024)
    arguments = (*(of_shape(shape, np.float32) for shape in shapes(t)), *t.parameters)
    run = interp.simulate(_kernel("symm"), arguments, chip=CHIPS[chip], dry=True, keep_log=True)
    tiles = LIMIT // TILE
    turned = [i for i in run.log if i.name == "nc_transpose"]
    assert sum(i.writes[0].bytes for i in turned) == tiles * (tiles + 1) // 2 * TILE * TILE * 4
    (rows, width), _ = shapes(t)
    diagonal = tiles * (TILE + t.block_m) // 2 * TILE * 4  # of each block on it, tiles down to the diagonal
    off = rows * width * 4 - LIMIT * t.block_m * 4
    loads = [i for i in run.log if i.engine == "dma" and i.writes[0].buffer == "sbuf"]
    read = sum(i.writes[0].bytes for i in loads if i.reads[0].strides[0] == width)  # rows of rhs are longer
    assert read == 2 * off + diagonal


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([2, 4]), st.booleans())
def test_tiling_covers_and_is_bounded(m, n, itemsize, tf32):
    t = tile_symm(m, n, itemsize, tf32)
    _, pieces_m, pieces_k, pieces_n = t.pieces
    assert (pieces_m - 1) * t.m < m <= pieces_m * t.m
    assert (pieces_n - 1) * t.n < n <= pieces_n * t.n
    assert pieces_k == 1
    assert t.k == t.m <= LIMIT
    assert t.n <= LIMIT
    assert t.m % t.block_m == 0
    assert t.block_m == t.block_n == t.parameters[0]
    assert t.block_m in (16, 32, 64, 128, 256, 384, 512)
    assert t.instructions < 20_000
