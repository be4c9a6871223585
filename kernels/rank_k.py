"""Rank-k products, fp32 results: C = A A^T (SYRK) or C = A B^T + B A^T (SYR2K), the lower triangle alone.

What makes it more than a port: one panel of A^T in SBUF is both stationary and moving operand, so that one
read of A serves both factors; TensorE multiplies no tile above the diagonal, and on it only columns up to the
diagonal tile; and both products of SYR2K accumulate in the same PSUM banks, so that no sum runs after them.

Engines     TensorE multiplies, VectorE evicts PSUM, GpSimd writes the zeros, DMA loads and stores; ScalarE idles.
SBUF        The panel of ``width`` rows of the operands (two blocks, or one where two are over 128 KiB a
            partition row), transposed: all of K. Panels of earlier rows stay while they fit in the same
            128 KiB; of the others, tiles of one block of columns stream past. So A is read once if it fits,
            else once and half a time for each panel.
PSUM        A bank for each 128 rows of the panel, up to eight, all of K and both products accumulated in it.
            Every moving tile serves all of them in turn, so that a bank is evicted while seven others fill.
DMA         Rows of 4 width bytes (4 KiB) for panels, of 4 block bytes (2 KiB) for streams and results.
Bound       T_pe = batch parts ceil(K/128) 128 nb (nb + 1) / 2 c / f for nb = N/128 tiles of rows, c = 4 cycles
            for fp32 and 1 otherwise, f the TensorE clock: (nb + 1) / 2 nb of a GEMM of equal size.
Limits      block <= 512, a multiple of 128 if N > block; block parts K <= 2^21 for fp32: one panel fits SBUF.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
PANEL_BYTES = 131072


@nki.jit
def rank_k(operands_t, batch, parts, block, tf32):
    """Multiply ``batch`` matrices by their transposes, or pairs of matrices by each other's.

    Parameters
    ----------
    operands_t
        [batch * parts * K, N] in HBM, fp32, bf16 or fp16: of each product A^T, with B^T below it for SYR2K.
    batch
        Number of products.
    parts
        1 for A A^T, 2 for A B^T + B A^T.
    block
        Edge of the blocks of the result.
    tf32
        Whether fp32 operands are cast to tf32 on their way in.

    Returns
    -------
    out
        [batch * b (b + 1) / 2 * block, block] fp32 in HBM, with b = ceil(N / block): of each product the blocks
        (0, 0), (1, 0), (1, 1), (2, 0) ... below each other. Zero are what tiles of 128 rows hold right of
        their diagonal tile, and rows from N on.
    """
    K = operands_t.shape[0] // (batch * parts)
    N = operands_t.shape[1]
    size = 2
    if operands_t.dtype == nl.float32:
        size = 4
    dtype = operands_t.dtype
    if tf32:
        dtype = nl.tfloat32
    column_bytes = size * parts * ((K + PARTITIONS - 1) // PARTITIONS)
    width = block
    if 2 * block * column_bytes <= PANEL_BYTES:
        width = 2 * block
    keep = PANEL_BYTES // (width * column_bytes) - 1
    blocks = (N + block - 1) // block
    rows = blocks * (blocks + 1) // 2 * block
    out = nl.ndarray((batch * rows, block), dtype=nl.float32, buffer=nl.shared_hbm)
    for i in range(batch):
        store_zeros(out, i * rows, N, block)
        kept = []
        for m0 in range(0, N, width):
            m1 = min(m0 + width, N)
            panel = multiply_rows(
                out, i * rows, operands_t, i * parts * K, K, parts, m0, m1, block, width, kept, dtype
            )
            if len(kept) < keep:
                kept.append(panel)
            panel = []
    return out


def store_zeros(out, row, N, block):
    """Rows of the result from N on."""
    last = (N - 1) // block
    end = (last + 1) * block
    if N == end:
        return
    zeros = nl.ndarray((min(PARTITIONS, end - N), block), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=zeros, value=0.0, engine=nisa.engine.gpsimd)
    for j in range(last + 1):
        for m in range(N, end, zeros.shape[0]):
            rows = min(zeros.shape[0], end - m)
            r = row + row_of(last, j, m, block)
            nisa.dma_copy(dst=out[r : r + rows, 0:block], src=zeros[0:rows, 0:block])


def row_of(i, j, m, block):
    """Where row m of the product lies in the stacked blocks, in block (i, j)."""
    return (i * (i + 1) // 2 + j) * block + m - i * block


def multiply_rows(out, row, operands_t, top, K, parts, m0, m1, block, width, kept, dtype):
    """Rows m0 to m1 of one product; gives their panel, all of K."""
    panel = []
    for k in range(0, K, PARTITIONS):
        for p in range(parts):
            panel.append(load(operands_t, top + p * K + k, min(PARTITIONS, K - k), m0, m1, dtype))
    for c0 in range(0, m1, block):
        moving = []
        first = 0
        if c0 >= m0:
            moving = panel
            first = c0 - m0
        elif c0 // width < len(kept):
            moving = kept[c0 // width]
            first = c0 % width
        results = multiply_block(operands_t, top, K, parts, panel, m0, m1, moving, first, c0, block, dtype)
        m = max(m0, c0)
        for result in results:
            r = row + row_of(m // block, c0 // block, m, block)
            nisa.dma_copy(dst=out[r : r + result.shape[0], 0:block], src=result)
            m = m + result.shape[0]
    return panel


def load(source, row, rows, c0, c1, dtype):
    """A tile of ``source`` in SBUF, cast to ``dtype`` by the DMA."""
    tile = nl.ndarray((rows, c1 - c0), dtype=dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source[row : row + rows, c0:c1])
    return tile


def multiply_block(operands_t, top, K, parts, panel, m0, m1, moving, first, c0, block, dtype):
    """Columns from c0 of the panel's rows on and below them, in SBUF tiles [at most 128, block].

    ``moving`` holds these columns from ``first`` on, or nothing: then they are loaded tile by tile. Part p is
    multiplied by the other one, parts - 1 - p.
    """
    start = max(m0, c0)
    banks = []
    for m in range(start, m1, PARTITIONS):
        rows = min(PARTITIONS, m1 - m)
        columns = min(c0 + block, m + rows) - c0
        banks.append(nl.ndarray((rows, columns), dtype=nl.float32, buffer=nl.psum))
    for t in range(len(panel)):
        depth = panel[t].shape[0]
        part = parts - 1 - t % parts
        if len(moving) > 0:
            tile = moving[t - t % parts + part]
        else:
            tile = load(operands_t, top + part * K + t // parts * PARTITIONS, depth, c0, c0 + block, dtype)
        for r in range(len(banks)):
            m = start - m0 + r * PARTITIONS
            nisa.nc_matmul(
                dst=banks[r],
                stationary=panel[t][0:depth, m : m + banks[r].shape[0]],
                moving=tile[0:depth, first : first + banks[r].shape[1]],
                accumulate=(t > 0),
            )
    results = []
    for bank in banks:
        results.append(evict(bank, block))
    return results


def evict(bank, block):
    """A bank in SBUF, followed by zeros up to the width of a block."""
    rows = bank.shape[0]
    columns = bank.shape[1]
    result = nl.ndarray((rows, block), dtype=nl.float32, buffer=nl.sbuf)
    if columns < block:
        nisa.memset(dst=result[0:rows, columns:block], value=0.0, engine=nisa.engine.gpsimd)
    nisa.tensor_copy(dst=result[0:rows, 0:columns], src=bank, engine=nisa.engine.vector)
    return result
