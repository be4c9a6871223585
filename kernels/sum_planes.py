"""Digit-wise sums of two sets of digit planes: the third product of a complex GEMM (3M) multiplies them.

What makes it more than a port: sums of two digits are integers of at most 256, which bf16 holds exactly, so
nothing is rounded and no carry runs. Beside them it gives the sum of squares of every column of each matmul,
from which the host sees how many matmuls may share a PSUM bank (Cauchy-Schwarz). TensorE adds the squares
over the partitions: its stationary operand has ones in one column only, that of the tile's place, so that
the sums of up to 128 tiles of rows gather in one bank and are evicted once.

Engines     VectorE adds and squares; TensorE adds the squares; ScalarE evicts; DMA is the limit.
SBUF        Four tiles of 128 rows and up to 4096 columns, twice, and evicted sums: 96 KiB a partition.
PSUM        Sums of squares of 4096 columns, all banks: only TensorE waits for their eviction.
DMA         Rows of up to 8 KiB.
Cores       Of two, each adds half of the columns, which are an even number.
Bound       T_dma = 3 * 2 bytes an element at the DMA rate, and 4 for each 128 elements.
Limits      Rows a multiple of height; height <= 128.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
COLUMNS = 4096
BANK_COLUMNS = 512


@nki.jit
def sum_planes(first, second, height):
    """Add two matrices of small integers.

    Parameters
    ----------
    first, second
        [rows, columns] bf16 in HBM: integers of at most 128 in size.
    height
        Rows that one matmul contracts: at most 128, a divisor of ``rows``.

    Returns
    -------
    out
        Their sum, likewise; at most 256 in size.
    squares
        [rows / height, columns] fp32 in HBM: sums of squares of each column over ``height`` rows. Squares
        are rounded to bf16 (2^-8 relative to nearest, 2^-7 in any direction) and added exactly.
    """
    rows = first.shape[0]
    columns = first.shape[1]
    tiles = rows // height
    out = nl.ndarray((rows, columns), dtype=nl.bfloat16, buffer=nl.shared_hbm)
    squares = nl.ndarray((tiles, columns), dtype=nl.float32, buffer=nl.shared_hbm)
    places = min(PARTITIONS, tiles)
    ones = nl.ndarray((height, 2 * places - 1), dtype=nl.bfloat16, buffer=nl.sbuf)
    nisa.memset(dst=ones, value=0.0)
    nisa.memset(dst=ones[0:height, places - 1 : places], value=1.0)
    width = columns // nl.num_programs()
    mine = nl.program_id(0) * width
    for tile in range(0, tiles, PARTITIONS):
        count = min(PARTITIONS, tiles - tile)
        for c in range(0, width, COLUMNS):
            add_columns(first, second, out, squares, ones, tile, count, mine + c, min(COLUMNS, width - c))
    return out, squares


def add_columns(first, second, out, squares, ones, tile, count, column, width):
    """The sums of ``count`` tiles of rows in some columns, and their sums of squares."""
    height = ones.shape[0]
    places = (ones.shape[1] + 1) // 2
    banks = nl.ndarray((count, COLUMNS), dtype=nl.float32, buffer=nl.psum)
    for place in range(count):
        row = (tile + place) * height
        total = add_tile(first, second, row, height, column, width)
        nisa.dma_copy(dst=out[row : row + height, column : column + width], src=total)
        square = nl.ndarray((height, width), dtype=nl.bfloat16, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=square, data1=total, data2=total, op=nl.multiply, engine=nisa.engine.vector)
        begin = places - 1 - place
        for c in range(0, width, BANK_COLUMNS):
            end = min(c + BANK_COLUMNS, width)
            nisa.nc_matmul(
                dst=banks[0:count, c:end],
                stationary=ones[0:height, begin : begin + count],
                moving=square[0:height, c:end],
                accumulate=(place > 0),
            )
    sums = nl.ndarray((count, width), dtype=nl.float32, buffer=nl.sbuf)
    nisa.activation(dst=sums, op=nl.copy, data=banks[0:count, 0:width])
    nisa.dma_copy(dst=squares[tile : tile + count, column : column + width], src=sums)


def add_tile(first, second, row, height, column, width):
    """One tile of the sum, in SBUF."""
    left = load(first, row, height, column, width)
    right = load(second, row, height, column, width)
    total = nl.ndarray((height, width), dtype=nl.bfloat16, buffer=nl.sbuf)
    nisa.tensor_tensor(dst=total, data1=left, data2=right, op=nl.add, engine=nisa.engine.vector)
    return total


def load(source, row, height, column, width):
    """One tile of a matrix, in SBUF."""
    tile = nl.ndarray((height, width), dtype=nl.bfloat16, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source[row : row + height, column : column + width])
    return tile
