"""Exact products of 8-bit digit planes, the device half of a float64 GEMM.

out[t] = sum over p + q = t of lhs[p].T @ rhs[q], as integers, for planes p and q of the operands.

What makes it more than a port: TensorE multiplies bf16 exactly and PSUM adds in fp32, so a sum of integers
stays exact up to 2^24. With digits |q| <= 128 that is eight matmuls of 128 rows in one bank; then ScalarE
casts the bank to int32 and GpSimd, which has native int32, adds it to the accumulator in SBUF. No rounding
happens here at all: the result is the same for every tiling, order of summation and target.

Engines     TensorE s (s + 1) / 2 products for s slices, the limit; ScalarE casts every bank; GpSimd adds;
            VectorE is idle; DMA.
SBUF        For one block of block_m x block_n outputs: int32 accumulators of every diagonal, and all digit
            planes of ``depth`` * 128 rows of both operands, twice, so that the next rows load meanwhile.
PSUM        A fresh bank for each group of ``group`` matmuls and each 128 rows of the block; the banks of a
            group, at most four, are filled together, and two such sets rotate.
DMA         Operand rows hold all planes of a block side by side: 2 * slices * block_m bytes (7 KiB at
            7 x 512); result rows 4 * slices * block_n bytes (14 KiB).
Bound       T_pe = batch s (s + 1) / 2 ceil(M/128) ceil(K/128) N / f, f the TensorE clock.
Limits      K slices 128^2 < 2^31 (256^2 with digit sums), for the int32 accumulators.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128


@nki.jit
def sliced_gemm(lhs, rhs, batch, slices, block_m, block_n, depth, group):
    """Multiply ``batch`` pairs of sliced matrices stacked along their rows, in blocks of the result.

    Parameters
    ----------
    lhs
        [batch * K, (M / block_m) * slices * block_m] bf16 in HBM: for each block of M, the planes
        side by side, most significant first.
    rhs
        [batch * K, (N / block_n) * slices * block_n] bf16 in HBM, likewise.
    batch
        Number of pairs.
    slices
        Digit planes of each operand, s; the diagonals t = 0 .. s - 1 are computed.
    block_m, block_n
        Rows and columns of one output block; block_n <= 512.
    depth
        Tiles of 128 contraction rows that are in SBUF together.
    group
        Matmuls accumulated in one PSUM bank: group * 128 * max|digit|^2 <= 2^24.

    Returns
    -------
    out
        [batch * M, (N / block_n) * slices * block_n] int32 in HBM: for each block of N, the
        diagonals side by side.
    """
    K = lhs.shape[0] // batch
    blocks_m = lhs.shape[1] // (slices * block_m)
    blocks_n = rhs.shape[1] // (slices * block_n)
    M = blocks_m * block_m
    out = nl.ndarray((batch * M, blocks_n * slices * block_n), dtype=nl.int32, buffer=nl.shared_hbm)
    for i in range(batch):
        for bm in range(blocks_m):
            for bn in range(blocks_n):
                columns = bn * slices * block_n
                totals = multiply_block(lhs, rhs, i * K, K, bm, bn, slices, block_m, block_n, depth, group)
                for tile in range(len(totals)):
                    row = i * M + bm * block_m + tile * PARTITIONS
                    rows = totals[tile].shape[0]
                    nisa.dma_copy(
                        dst=out[row : row + rows, columns : columns + slices * block_n], src=totals[tile]
                    )
    return out


def multiply_block(lhs, rhs, row, K, bm, bn, slices, block_m, block_n, depth, group):
    """All diagonals of one output block: an int32 tile [rows, slices * block_n] for each 128 rows."""
    totals = []
    for m in range(0, block_m, PARTITIONS):
        rows = min(PARTITIONS, block_m - m)
        totals.append(nl.ndarray((rows, slices * block_n), dtype=nl.int32, buffer=nl.sbuf))
    for k in range(0, K, depth * PARTITIONS):
        end = min(k + depth * PARTITIONS, K)
        lhs_planes = load_planes(lhs, row + k, row + end, bm * slices * block_m, slices * block_m)
        rhs_planes = load_planes(rhs, row + k, row + end, bn * slices * block_n, slices * block_n)
        for t in range(slices):
            add_diagonal(totals, lhs_planes, rhs_planes, t, block_m, block_n, group, k == 0)
    return totals


def load_planes(source, r0, r1, column, width):
    """Rows r0 to r1 of one block's planes as SBUF tiles of at most 128 rows."""
    planes = []
    for r in range(r0, r1, PARTITIONS):
        rows = min(PARTITIONS, r1 - r)
        tile = nl.ndarray((rows, width), dtype=nl.bfloat16, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=source[r : r + rows, column : column + width])
        planes.append(tile)
    return planes


def add_diagonal(totals, lhs_planes, rhs_planes, t, block_m, block_n, group, first):
    """Add the products of planes p + q = t to diagonal t of ``totals``, ``group`` matmuls to a bank."""
    tiles = len(lhs_planes)
    count = (t + 1) * tiles
    for g in range(0, count, group):
        banks = []
        for total in totals:
            banks.append(nl.ndarray((total.shape[0], block_n), dtype=nl.float32, buffer=nl.psum))
        for i in range(g, min(g + group, count)):
            p = i // tiles
            k = i % tiles
            depth = lhs_planes[k].shape[0]
            for r in range(len(banks)):
                m = p * block_m + r * PARTITIONS
                nisa.nc_matmul(
                    dst=banks[r],
                    stationary=lhs_planes[k][0:depth, m : m + banks[r].shape[0]],
                    moving=rhs_planes[k][0:depth, (t - p) * block_n : (t - p + 1) * block_n],
                    accumulate=(i > g),
                )
        for r in range(len(banks)):
            diagonal = totals[r][0 : banks[r].shape[0], t * block_n : (t + 1) * block_n]
            add_bank(diagonal, banks[r], first and g == 0)


def add_bank(diagonal, bank, first):
    """Add a bank to its part of a diagonal; the first one is the diagonal so far."""
    if first:
        nisa.activation(dst=diagonal, op=nl.copy, data=bank)
    else:
        integers = nl.ndarray(bank.shape, dtype=nl.int32, buffer=nl.sbuf)
        nisa.activation(dst=integers, op=nl.copy, data=bank)
        nisa.tensor_tensor(dst=diagonal, data1=diagonal, data2=integers, op=nl.add, engine=nisa.engine.gpsimd)
