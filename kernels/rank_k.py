"""Rank-k products, fp32 results: C = A A^T (SYRK) or C = A B^T + B A^T (SYR2K), the lower triangle alone.

What makes it more than a port: one panel of A^T in SBUF is both stationary and moving operand, so that one
read of A serves both factors, and where it comes as A one transpose on the PE array; TensorE multiplies no
tile above the diagonal, and on it only columns up to the end of the diagonal tile; and both products of SYR2K
accumulate in the same PSUM banks, so that no pass adds them.

Engines     TensorE multiplies and transposes, VectorE evicts PSUM, GpSimd writes zeros, DMA moves; ScalarE
            evicts every other bank of transposed tiles, and is idle without.
SBUF        A panel of rows of all operands, transposed: all of K, two blocks wide, or one where two take more
            than 128 KiB a partition row, or where panels are transposed, so that the first is ready sooner.
            Panels of earlier rows stay while all fit in 128 KiB; of the others, one block of columns at a
            time streams past. A is read once if it fits, else at most (p + 1) / 2 times for p panels. To be
            transposed, strips of 128 rows x 2 KiB, as many as the panel is wide.
PSUM        A bank for each 128 rows of the panel, up to eight, all of K and both products accumulated in it.
            A moving tile serves all of them in turn, so that a bank has the time of the others to be evicted.
            A panel is transposed before, a bank of 2 KiB rows at a time.
HBM         Transposed panels that do not stay, but are read again, are stored as operands_t.
DMA         Rows of 4 KiB for panels, two blocks wide, and of 2 KiB for streams and results, in fp32.
Cores       Of two, each makes half of the rows of every tile, an even number, in the time of all: 64 rows
            take TensorE as long as 128. Both read and transpose everything.
Bound       T_pe = batch parts ceil(K/128) 128 nb (nb + 1) / 2 c / f for nb = N/128 tiles of rows, with c = 4
            cycles for fp32 and 1 otherwise, f the TensorE clock: (nb + 1) / 2 nb of a GEMM of equal size.
            Transposes add batch parts nb ceil(K/128) 128 c' / f, c' = 4 (trn1) or 2 for fp32, else 1.
Limits      block <= 512, a multiple of 128 if N > block; parts * K <= 8192, for a panel to fit SBUF.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
PANEL_BYTES = 131072
ROW_BYTES = 2048


@nki.jit
def rank_k(operands_t, batch, parts, block, tf32, turn=0):
    """Multiply ``batch`` matrices by their transposes, or pairs of matrices by each other's.

    Parameters
    ----------
    operands_t
        [batch * parts * K, N] in HBM, fp32, bf16 or fp16: of each product A^T, with B^T below it for SYR2K.
        Or with ``turn`` [batch * parts * N, K]: A, with B below it.
    batch
        Number of products.
    parts
        1 for A A^T, 2 for A B^T + B A^T.
    block
        Edge of the blocks of the result.
    tf32
        Whether fp32 operands are cast to tf32 on their way in.
    turn
        1 if the contraction lies along the rows of the operands; else 0.

    Returns
    -------
    out
        [batch * b (b + 1) / 2 * block, block] fp32 in HBM, with b = ceil(N / block): of each product the
        blocks (0, 0), (1, 0), (1, 1), (2, 0) ... below each other. Right of the diagonal tiles of 128 rows,
        and from row N on, there are zeros.
    """
    K = operands_t.shape[0] // (batch * parts)
    N = operands_t.shape[1]
    if turn:
        K = operands_t.shape[1]
        N = operands_t.shape[0] // (batch * parts)
    size = 2
    if operands_t.dtype == nl.float32:
        size = 4
    dtype = operands_t.dtype
    if tf32:
        dtype = nl.tfloat32
    column_bytes = size * parts * ((K + PARTITIONS - 1) // PARTITIONS)
    width = block
    if 2 * block * column_bytes <= PANEL_BYTES and not turn:
        width = 2 * block
    keep = PANEL_BYTES // (width * column_bytes) - 1
    blocks = (N + block - 1) // block
    rows = blocks * (blocks + 1) // 2 * block
    out = nl.ndarray((batch * rows, block), dtype=nl.float32, buffer=nl.shared_hbm)
    turned = operands_t
    if turn and (keep + 1) * width < N:
        turned = nl.ndarray((batch * parts * K, N), dtype=operands_t.dtype, buffer=nl.hbm)
    for i in range(batch):
        tops = []
        starts = []
        for p in range(parts):
            tops.append((i * parts + p) * K)
            starts.append((i * parts + p) * N)
        store_zeros(out, i * rows, N, block)
        kept = []
        for m0 in range(0, N, width):
            m1 = min(m0 + width, N)
            panel = []
            if turn:
                panel = turn_panel(operands_t, starts, m0, m1, ROW_BYTES // size, dtype)
                if len(kept) >= keep and m1 < N:
                    store_panel(panel, turned, tops, m0, m1)
            multiply_rows(out, i * rows, turned, tops, K, panel, m0, m1, block, width, kept, dtype)
            if len(kept) < keep:
                kept.append(panel)
    return out


def store_zeros(out, row, N, block):
    """Rows of the result from N on."""
    last = (N - 1) // block
    end = (last + 1) * block
    if end == N:
        return
    zeros = nl.ndarray((min(PARTITIONS, end - N), block), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=zeros, value=0.0, engine=nisa.engine.gpsimd)
    for j in range(last + 1):
        for m in range(N, end, PARTITIONS):
            rows = min(PARTITIONS, end - m) // nl.num_programs()
            r = row + stacked_row(m, j, block) + nl.program_id(0) * rows
            nisa.dma_copy(dst=out[r : r + rows, 0:block], src=zeros[0:rows, 0:block])


def stacked_row(m, j, block):
    """Where row m of a product lies in the stacked blocks, in the j-th block of its row."""
    i = m // block
    return (i * (i + 1) // 2 + j) * block + m - i * block


def multiply_rows(out, row, operands_t, tops, K, panel, m0, m1, block, width, kept, dtype):
    """Rows m0 to m1 of one product, block by block of columns; fills their panel, tile by tile of K."""
    for c0 in range(0, m1, block):
        moving = []
        first = 0
        start = m0
        if c0 >= m0:
            moving = panel
            first = c0 - m0
            start = c0
        elif c0 // width < len(kept):
            moving = kept[c0 // width]
            first = c0 % width
        results = multiply_block(operands_t, tops, K, panel, m0, m1, start, moving, first, c0, block, dtype)
        for r in range(len(results)):
            rows = results[r].shape[0]
            at = row + stacked_row(start + r * PARTITIONS, c0 // block, block) + nl.program_id(0) * rows
            nisa.dma_copy(dst=out[at : at + rows, 0:block], src=results[r])


def multiply_block(operands_t, tops, K, panel, m0, m1, start, moving, first, c0, block, dtype):
    """The panel's rows from ``start`` on by the block of columns c0, in SBUF tiles [at most 128, block].

    A panel that has no tiles yet gets them on the way. ``moving`` holds the columns from ``first`` on, or
    nothing: then they are loaded tile by tile. Every part is multiplied by the other one.
    """
    banks = []
    for m in range(start, m1, PARTITIONS):
        rows = min(PARTITIONS, m1 - m)
        shape = (rows // nl.num_programs(), min(block, m + rows - c0))
        banks.append(nl.ndarray(shape, dtype=nl.float32, buffer=nl.psum))
    for t in range((K + PARTITIONS - 1) // PARTITIONS):
        k = t * PARTITIONS
        depth = min(PARTITIONS, K - k)
        if len(panel) <= t:
            panel.append(load_tiles(operands_t, tops, k, depth, m0, m1, dtype))
        if len(moving) > 0:
            tiles = moving[t]
        else:
            tiles = load_tiles(operands_t, tops, k, depth, c0, c0 + block, dtype)
        for p in range(len(tops)):
            tile = tiles[len(tops) - 1 - p]
            for r in range(len(banks)):
                m = start - m0 + r * PARTITIONS + nl.program_id(0) * banks[r].shape[0]
                nisa.nc_matmul(
                    dst=banks[r],
                    stationary=panel[t][p][0:depth, m : m + banks[r].shape[0]],
                    moving=tile[0:depth, first : first + banks[r].shape[1]],
                    accumulate=(k > 0 or p > 0),
                )
    results = []
    for bank in banks:
        results.append(evict(bank, block))
    return results


def load_tiles(operands_t, tops, k, depth, c0, c1, dtype):
    """Rows from k on of each part, columns c0 to c1, in SBUF, cast to ``dtype`` by the DMA."""
    tiles = []
    for top in tops:
        tile = nl.ndarray((depth, c1 - c0), dtype=dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=operands_t[top + k : top + k + depth, c0:c1])
        tiles.append(tile)
    return tiles


def turn_panel(source, starts, m0, m1, chunk, dtype):
    """Rows m0 to m1 of each part, transposed, tile by tile of K; ``chunk`` columns are loaded at a time."""
    K = source.shape[1]
    panel = []
    for k0 in range(0, K, chunk):
        k1 = min(k0 + chunk, K)
        strips = []
        for start in starts:
            strips.append(load_strips(source, start + m0, start + m1, k0, k1, dtype))
        for k in range(k0, k1, PARTITIONS):
            tiles = []
            for p in range(len(starts)):
                depth = min(PARTITIONS, k1 - k)
                tiles.append(turn_tile(strips[p], k - k0, depth, m1 - m0, chunk, dtype, k // PARTITIONS))
            panel.append(tiles)
    return panel


def load_strips(source, r0, r1, k0, k1, dtype):
    """Rows r0 to r1 in SBUF tiles of at most 128 rows, cast to ``dtype`` by the DMA."""
    strips = []
    for r in range(r0, r1, PARTITIONS):
        strip = nl.ndarray((min(PARTITIONS, r1 - r), k1 - k0), dtype=dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=strip, src=source[r : r + strip.shape[0], k0:k1])
        strips.append(strip)
    return strips


def turn_tile(strips, column, depth, width, bank_columns, dtype, turn):
    """``depth`` columns of all strips, transposed into one tile by TensorE, bank by bank."""
    tile = nl.ndarray((depth, width), dtype=dtype, buffer=nl.sbuf)
    for c0 in range(0, width, bank_columns):
        c1 = min(c0 + bank_columns, width)
        bank = nl.ndarray((depth, c1 - c0), dtype=dtype, buffer=nl.psum)
        for c in range(c0, c1, PARTITIONS):
            strip = strips[c // PARTITIONS]
            nisa.nc_transpose(
                dst=bank[0:depth, c - c0 : c - c0 + strip.shape[0]],
                data=strip[0 : strip.shape[0], column : column + depth],
                engine=nisa.engine.tensor,
            )
        if (turn + c0 // bank_columns) % 2 == 0:
            nisa.tensor_copy(dst=tile[0:depth, c0:c1], src=bank, engine=nisa.engine.vector)
        else:
            nisa.activation(dst=tile[0:depth, c0:c1], op=nl.copy, data=bank)
    return tile


def store_panel(panel, target, tops, m0, m1):
    """The tiles of a panel as columns m0 to m1 of ``target``, each part from its row in ``tops`` on."""
    for t in range(len(panel)):
        for p in range(len(tops)):
            row = tops[p] + t * PARTITIONS
            nisa.dma_copy(dst=target[row : row + panel[t][p].shape[0], m0:m1], src=panel[t][p])


def evict(bank, block):
    """A bank in SBUF, followed by zeros up to the width of a block."""
    rows = bank.shape[0]
    columns = bank.shape[1]
    result = nl.ndarray((rows, block), dtype=nl.float32, buffer=nl.sbuf)
    if columns < block:
        nisa.memset(dst=result[0:rows, columns:block], value=0.0, engine=nisa.engine.gpsimd)
    nisa.tensor_copy(dst=result[0:rows, 0:columns], src=bank, engine=nisa.engine.vector)
    return result
