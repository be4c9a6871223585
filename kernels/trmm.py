"""Triangular times general, C = L B, fp32 results: only tiles of L on and below the diagonal are read.

What makes it more than a port: a row of tiles of C takes the tiles of B down to its own and no more, so that
TensorE multiplies and DMA moves half of what a GEMM would; and since row i of C needs B only down to row i, B
enters SBUF in step with the products, and TensorE starts with the first tile of each.

Engines     TensorE multiplies, VectorE evicts PSUM, DMA loads and stores; ScalarE and GpSimd are idle.
SBUF        1024 columns of B, which stay for all of L, M * 32 bytes a partition row of fp32; tiles of 128
            rows of L^T's blocks stream past them. For M <= 2048 L stays too, and is read once.
PSUM        A bank for each 128 rows of a block and 512 columns, up to eight, all of K accumulated in it. A
            tile of L serves all of them in turn; on the diagonal the first rows end first, and are evicted
            while the others go on.
DMA         Rows of 4 KiB for B and the result, of 2 KiB for L, fewer on the diagonal, in fp32.
Cores       Of two, each makes half of the columns: N is even. Both read L.
Bound       T_pe = nb (nb + 1) / 2 N c / f with nb = ceil(M/128), c = 4 cycles for fp32 and 1 otherwise, f the
            TensorE clock; the columns of a bank count 64 at least.
Limits      M <= 4096, for 1024 columns of B to fit SBUF; block <= 512, a multiple of 128 if M > block.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
BANK_COLUMNS = 512
COLUMNS = 1024
HELD_ROWS = 2048


@nki.jit
def trmm(lhs_t, rhs, block, tf32):
    """Multiply a matrix by a lower triangular one.

    Parameters
    ----------
    lhs_t
        [b (b + 1) / 2 * block, block] in HBM, fp32, bf16 or fp16, with b = ceil(M / block): the blocks
        (0, 0), (1, 0), (1, 1), (2, 0) ... of L, each transposed, below each other. Above the diagonal of L,
        its diagonal tiles of 128 rows hold zeros; what lies above those, and beyond row M, is not read.
    rhs
        [M, N] in HBM, of the same dtype.
    block
        Edge of the blocks.
    tf32
        Whether fp32 operands are cast to tf32 on their way in.

    Returns
    -------
    out
        [M, N] fp32 in HBM.
    """
    M, N = rhs.shape
    dtype = rhs.dtype
    if tf32:
        dtype = nl.tfloat32
    out = nl.ndarray((M, N), dtype=nl.float32, buffer=nl.shared_hbm)
    held = []
    columns = N // nl.num_programs()
    mine = nl.program_id(0) * columns
    for n0 in range(0, columns, COLUMNS):
        n1 = min(n0 + COLUMNS, columns)
        multiply_columns(out, lhs_t, held, rhs, mine + n0, mine + n1, block, dtype)
    return out


def multiply_columns(out, lhs_t, held, rhs, n0, n1, block, dtype):
    """Columns n0 to n1 of the product, block by block of rows."""
    M = rhs.shape[0]
    panel = []
    for m0 in range(0, M, block):
        results = multiply_rows(lhs_t, held, rhs, panel, m0, min(m0 + block, M), n0, n1, block, dtype)
        for r in range(len(results)):
            row = m0 + r * PARTITIONS
            nisa.dma_copy(dst=out[row : row + results[r].shape[0], n0:n1], src=results[r])


def multiply_rows(lhs_t, held, rhs, panel, m0, m1, n0, n1, block, dtype):
    """Rows m0 to m1 of the product, in SBUF tiles of at most 128 rows; the panel gets their rows of rhs."""
    banks = []
    for m in range(m0, m1, PARTITIONS):
        row = []
        for n in range(0, n1 - n0, BANK_COLUMNS):
            shape = (min(PARTITIONS, m1 - m), min(BANK_COLUMNS, n1 - n0 - n))
            row.append(nl.ndarray(shape, dtype=nl.float32, buffer=nl.psum))
        banks.append(row)
    for k in range(0, m1, PARTITIONS):
        depth = min(PARTITIONS, m1 - k)
        first = 0
        if k >= m0:
            first = k - m0
            panel.append(load(rhs, k, depth, n0, n1, dtype))
        lhs = load_lhs(lhs_t, held, rhs.shape[0], m0, m1, first, k, depth, block, dtype)
        for r in range(first // PARTITIONS, len(banks)):
            m = r * PARTITIONS - first
            for c in range(len(banks[r])):
                n = c * BANK_COLUMNS
                nisa.nc_matmul(
                    dst=banks[r][c],
                    stationary=lhs[0:depth, m : m + banks[r][c].shape[0]],
                    moving=panel[k // PARTITIONS][0:depth, n : n + banks[r][c].shape[1]],
                    accumulate=(k > 0),
                )
    results = []
    for row in banks:
        results.append(evict(row, n1 - n0))
    return results


def load_lhs(lhs_t, held, M, m0, m1, first, k, depth, block, dtype):
    """Rows k of L^T, columns m0 + first to m1; from ``held``, which keeps a small L, if they are there."""
    i = m0 // block
    j = k // block
    place = k // PARTITIONS
    for m in range(block, m0 + block, block):
        place = place + m // PARTITIONS
    if place < len(held):
        return held[place]
    row = (i * (i + 1) // 2 + j) * block + k - j * block
    tile = load(lhs_t, row, depth, first, m1 - m0, dtype)
    if M <= HELD_ROWS:
        held.append(tile)
    return tile


def load(source, row, rows, c0, c1, dtype):
    """A tile of ``source`` in SBUF, cast to ``dtype`` by the DMA."""
    tile = nl.ndarray((rows, c1 - c0), dtype=dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source[row : row + rows, c0:c1])
    return tile


def evict(banks, columns):
    """Banks side by side in an SBUF tile."""
    rows = banks[0].shape[0]
    result = nl.ndarray((rows, columns), dtype=nl.float32, buffer=nl.sbuf)
    for c in range(len(banks)):
        n = c * BANK_COLUMNS
        nisa.tensor_copy(
            dst=result[0:rows, n : n + banks[c].shape[1]], src=banks[c], engine=nisa.engine.vector
        )
    return result
