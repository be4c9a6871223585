"""How L B with a lower triangular L is cut into launches of ``kernels/trmm.py``.

As in `numtrn.plan.tiling`: functions of plain integers, and the instructions counted are those the kernel
issues. A launch has one triangle; of a larger L it has the pieces on the diagonal, and those below it are
general products.
"""

from __future__ import annotations

from math import ceil

from numtrn.plan.tiling import BANK_COLUMNS, TILE, Tiling, block_edge, split, stacked_rows

__all__ = ["LIMIT", "tile_trmm"]

LIMIT = 4096
"""Most of M and N in one launch: 1024 columns of B fit SBUF."""

HELD_ROWS = 2048
"""Largest order of which L stays in SBUF."""

COLUMNS = 1024
"""Columns of B in SBUF."""


def tile_trmm(m: int, n: int, itemsize: int, tf32: bool = False) -> Tiling:
    """Tiling of ``trmm`` for an L of order m, n columns and operands of ``itemsize`` bytes.

    It is that of a launch on the diagonal, with k = m, a multiple of 128 above 128. The blocks of L have the
    edge ``block_m``, and the last of them may reach beyond m: there nothing is read.
    """
    size_m, pieces_m = split(m, LIMIT)
    size_n, pieces_n = split(n, LIMIT, 64)
    block = block_edge(size_m)
    tiles = ceil(size_m / TILE)
    banks = [min(BANK_COLUMNS, size_n - start) for start in range(0, size_n, BANK_COLUMNS)]
    panels = ceil(size_n / COLUMNS)
    products = tiles * (tiles + 1) // 2
    lhs_loads = sum(ceil(min(start + block, size_m) / TILE) for start in range(0, size_m, block))
    loads = lhs_loads * (1 if size_m <= HELD_ROWS else panels) + tiles * panels
    matmuls, casts = products * len(banks), tiles * len(banks)
    return Tiling(
        kernel="trmm",
        batch=1,
        m=size_m,
        k=size_m,
        n=size_n,
        pieces=(1, pieces_m, 1, pieces_n),
        parameters=(block, int(tf32)),
        slices=0,
        block_m=block,
        block_n=size_n,
        matmuls=matmuls,
        casts=casts,
        adds=0,
        instructions=loads + matmuls + casts + tiles * panels,
        pe_columns=products * sum(max(64, columns) for columns in banks),
        bytes_in=(stacked_rows(size_m, block) * block + size_m * size_n) * itemsize,
        bytes_out=size_m * size_n * 4,
    )
