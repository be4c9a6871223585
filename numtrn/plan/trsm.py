"""How a triangular solve is cut into launches of ``trsm``, and what one launch holds.

As in `numtrn.plan.tiling`: functions of plain integers, and the instructions counted are those the kernel
issues.
"""

from __future__ import annotations

from math import ceil

from numtrn.plan.tiling import TILE, Tiling, bucket, dividing_edge, split

__all__ = ["TRSM_LIMIT", "tile_trsm"]

TRSM_LIMIT = 4096
"""Largest order, and most right-hand sides, of one launch; the order by SBUF, see ``kernels/trsm.py``."""

GROUP_COLUMNS = 1024
COLUMN_STEP = 64
LINKS = 4


def tile_trsm(m: int, n: int, edge: int = TILE) -> Tiling:
    """Tiling of ``trsm``, which takes (lower_t, inverses_t, rhs) and then the parameters.

    The order is rounded up to ``tiling.m``, a multiple of ``tiling.block_m``, the edge of L's stacked blocks:
    there L continues as the identity, and B with zeros. More right-hand sides than fit are several launches.

    Parameters
    ----------
    m
        Order of L, at most `TRSM_LIMIT`.
    n
        Right-hand sides.
    edge
        Rows of an inverse, 128, 64 or 32, as of the `numtrn.precision.inverses.Inverses` of the launch.

    Raises
    ------
    ValueError
        If the order is larger; such a solve is several, with products between them.
    """
    if m > TRSM_LIMIT:
        raise ValueError(f"one launch solves systems of order up to {TRSM_LIMIT}; got {m}: divide L")
    block = dividing_edge(bucket(m))
    blocks = ceil(m / block)
    size = blocks * block
    size_n, pieces_n = split(n, TRSM_LIMIT, COLUMN_STEP)
    tiles = ceil(size / TILE)
    groups = _equal(size_n, ceil(size_n / GROUP_COLUMNS))
    strips = [strip for group in groups for strip in _equal(group, 2)]
    edge = min(edge, size)
    parts = min(TILE, size) // edge
    matmuls = tiles * (tiles - 1) // 2 + (LINKS * parts - 1) * tiles
    evictions = LINKS * parts * tiles - 1  # the first tile has nothing to subtract
    transfers = tiles * (tiles + 1) // 2 + 3 * tiles
    elements_in = blocks * (blocks + 1) // 2 * block**2 + size * (min(TILE, size) + size_n)
    return Tiling(
        kernel="trsm",
        batch=1,
        m=size,
        k=size,
        n=size_n,
        pieces=(1, 1, 1, pieces_n),
        parameters=(block, edge),
        slices=0,
        block_m=block,
        block_n=size_n,
        matmuls=len(strips) * matmuls,
        casts=len(strips) * evictions,
        adds=0,
        instructions=len(strips) * (matmuls + evictions) + len(groups) * transfers,
        pe_columns=matmuls * sum(max(64, strip) for strip in strips),
        bytes_in=4 * elements_in,
        bytes_out=4 * size * size_n,
    )


def _equal(columns: int, parts: int) -> list[int]:
    """Columns of each part, equal multiples of 64 but for the last."""
    width = ceil(columns / (parts * COLUMN_STEP)) * COLUMN_STEP
    return [min(width, columns - start) for start in range(0, columns, width)]
