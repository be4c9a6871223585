"""How A A^T and A B^T + B A^T, lower triangle, are cut into launches of ``kernels/rank_k.py``.

As in `numtrn.plan.tiling`: functions of plain integers, and the instructions counted are those the kernel
issues. A launch gives one triangle; of a larger result it gives the pieces on the diagonal, and those below
it are general products.
"""

from __future__ import annotations

from math import ceil

from numtrn.plan.tiling import TILE, Tiling, Turned, batches, block_edge, split, stacked_rows

__all__ = ["LIMIT", "tile_rank_k"]

LIMIT = 4096
"""Most of N and K in one launch: both operands of SYR2K, 512 columns of each, fit SBUF."""

PANEL_BYTES = 128 * 1024
"""SBUF bytes of a partition that the kernel uses for panels."""


def tile_rank_k(
    batch: int, n: int, k: int, parts: int, itemsize: int, tf32: bool = False, k_is_fast: bool = False
) -> Tiling:
    """Tiling of ``rank_k``.

    Parameters
    ----------
    batch, n, k
        Products, order of each result, length of its sums.
    parts
        1 for A A^T, 2 for A B^T + B A^T.
    itemsize
        Bytes of an element of the operands.
    tf32
        Whether they are cast to tf32.
    k_is_fast
        Whether neighbours in memory are neighbours along k: then the kernel transposes the operands.

    Returns
    -------
    Tiling
        Of a launch on the diagonal, with m = n, a multiple of 128 above 128. Its blocks have the edge
        ``block_n``, and the last of them may reach beyond n: there the kernel computes nothing.
    """
    size_n, pieces_n = split(n, LIMIT)
    size_k, pieces_k = split(k, LIMIT)
    block = block_edge(size_n)
    tiles_k = parts * ceil(size_k / TILE)
    width, kept = _panels(block, itemsize * tiles_k, k_is_fast)
    columns = [
        min(block, m + TILE - c, size_n - c) for m in range(0, size_n, TILE) for c in range(0, m + 1, block)
    ]
    streams = sum(len(range(min(kept, m), m, block)) for m in range(0, size_n, width))
    matmuls = tiles_k * len(columns)
    panels = ceil(size_n / width)
    turned, moves = Turned(0, 0, 0), panels + streams
    if k_is_fast:
        turned = Turned.of(size_n, size_k, width, itemsize)
        moves = streams + max(0, panels - 1 - kept // width)
    filled = sum(count < block for count in columns)
    beyond = -size_n % block
    blank = (beyond > 0) + ceil(size_n / block) * ceil(beyond / TILE)
    instructions = tiles_k * moves + matmuls + 2 * len(columns) + filled + blank
    instructions += parts * turned.instructions
    size_batch, pieces_batch = batches(batch, instructions)
    return Tiling(
        kernel="rank_k",
        batch=size_batch,
        m=size_n,
        k=size_k,
        n=size_n,
        pieces=(pieces_batch, pieces_n, pieces_k, pieces_n),
        parameters=(size_batch, parts, block, int(tf32), int(k_is_fast)),
        slices=0,
        block_m=block,
        block_n=block,
        matmuls=size_batch * matmuls,
        casts=size_batch * len(columns),
        adds=0,
        instructions=size_batch * instructions,
        pe_columns=size_batch * tiles_k * sum(max(64, count) for count in columns),
        bytes_in=size_batch * parts * size_k * size_n * itemsize,
        bytes_out=size_batch * stacked_rows(size_n, block) * block * 4,
        transposes=size_batch * parts * turned.transposes,
        turned_columns=size_batch * parts * turned.columns,
    )


def _panels(block: int, column_bytes: int, k_is_fast: bool) -> tuple[int, int]:
    """Rows of a panel, and rows from the first on whose panels stay, for bytes of a column in a partition."""
    width = 2 * block if 2 * block * column_bytes <= PANEL_BYTES and not k_is_fast else block
    return width, (PANEL_BYTES // (width * column_bytes) - 1) * width
