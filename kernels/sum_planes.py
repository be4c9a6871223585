"""Digit-wise sums of two sets of digit planes: the third product of a complex GEMM (3M) multiplies them.

What makes it more than a port: sums of two digits are integers of at most 256, which bf16 holds exactly, so
nothing is rounded and no carry runs.

Engines     VectorE adds; DMA loads and stores; the others are idle.
SBUF        Three tiles of 128 rows and up to 8192 columns, twice: 96 KiB a partition.
DMA         Rows of up to 16 KiB.
Bound       T_dma = 3 * 2 bytes an element at the DMA rate.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
COLUMNS = 8192


@nki.jit
def sum_planes(first, second):
    """Add two matrices of small integers.

    Parameters
    ----------
    first, second
        [rows, columns] bf16 in HBM: integers of at most 128 in size.

    Returns
    -------
    out
        Their sum, likewise; at most 256 in size.
    """
    rows = first.shape[0]
    columns = first.shape[1]
    out = nl.ndarray((rows, columns), dtype=nl.bfloat16, buffer=nl.shared_hbm)
    for r in range(0, rows, PARTITIONS):
        height = min(PARTITIONS, rows - r)
        for c in range(0, columns, COLUMNS):
            width = min(COLUMNS, columns - c)
            left = load(first, r, height, c, width)
            right = load(second, r, height, c, width)
            total = nl.ndarray((height, width), dtype=nl.bfloat16, buffer=nl.sbuf)
            nisa.tensor_tensor(dst=total, data1=left, data2=right, op=nl.add, engine=nisa.engine.vector)
            nisa.dma_copy(dst=out[r : r + height, c : c + width], src=total)
    return out


def load(source, row, height, column, width):
    """One tile of a matrix, in SBUF."""
    tile = nl.ndarray((height, width), dtype=nl.bfloat16, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source[row : row + height, column : column + width])
    return tile
