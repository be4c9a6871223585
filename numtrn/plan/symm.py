"""How a product by a symmetric matrix, of which the lower blocks are given, is cut into launches.

As in `numtrn.plan.tiling`: functions of plain integers, and the instructions counted are those that
``kernels/symm.py`` issues.
"""

from __future__ import annotations

from math import ceil

from numtrn.plan.tiling import BANK_COLUMNS, TILE, Tiling, dividing_edge, split

__all__ = ["LIMIT", "tile_symm"]

LIMIT = 4096
"""Most of M and of N in one launch; M by SBUF, see ``kernels/symm.py``."""

QUADRANT = 32
"""Edge of what VectorE transposes (``nki/api/nki/isa``: nc_transpose)."""


def tile_symm(m: int, n: int, itemsize: int = 4, tf32: bool = False) -> Tiling:
    """Tiling of ``symm``.

    Parameters
    ----------
    m, n
        Order of the symmetric matrix, and columns of the other.
    itemsize
        Bytes of an element of both.
    tf32
        Whether fp32 operands are multiplied as tf32.

    Returns
    -------
    Tiling
        With ``k = m``, a multiple of ``block_m = block_n``, the edge of the stacked blocks. A matrix of more
        than `LIMIT` rows is cut in p pieces each way, and ``pieces`` is (1, p, 1, pieces of n): launches for
        the pieces on the diagonal; those off it are plain products.
    """
    size_m, pieces_m = split(m, LIMIT)
    size_n, pieces_n = split(n, LIMIT, 64)
    block = dividing_edge(size_m)
    blocks = ceil(size_m / block)
    size_m = blocks * block
    rows = min(TILE, block)
    tiles = size_m // rows
    columns = [min(BANK_COLUMNS, size_n - start) for start in range(0, size_n, BANK_COLUMNS)]
    matmuls = tiles * tiles * len(columns)
    casts = tiles * len(columns)
    loads = blocks * tiles * (1 + len(columns))
    above = tiles * (tiles - 1) // 2
    mirrors = (above + tiles) * (rows // min(rows, QUADRANT)) ** 2 + tiles
    return Tiling(
        kernel="symm",
        batch=1,
        m=size_m,
        k=size_m,
        n=size_n,
        pieces=(1, pieces_m, 1, pieces_n),
        parameters=(block, int(tf32)),
        slices=0,
        block_m=block,
        block_n=block,
        matmuls=matmuls,
        casts=casts,
        adds=0,
        instructions=2 + loads + mirrors + matmuls + 2 * casts,
        pe_columns=tiles * tiles * sum(max(64, c) for c in columns),
        bytes_in=(blocks * (blocks + 1) // 2 * block * block + size_m * size_n) * itemsize,
        bytes_out=size_m * size_n * 4,
    )
