"""Blocks of a result, out of what launches of sliced products give.

The layouts are those of the kernels; nothing is summed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from numtrn.engine.pieces import Piece, ranges, shifted
from numtrn.plan.tiling import Tiling
from numtrn.precision import Block
from numtrn.request import Array

__all__ = ["blocks_of", "lower_blocks"]


def blocks_of(t: Tiling, piece: Piece, totals: Sequence[Array]) -> Iterator[Block]:
    """The output blocks of a launch, each (rows, limbs, columns)."""
    limbs, width = t.limbs, t.block_n
    spread = [total.reshape(t.batch, t.m, t.n // width, limbs, width) for total in totals]
    rows = piece.rows.stop - piece.rows.start
    for place, i in enumerate(range(piece.batch.start, piece.batch.stop)):
        for number, columns in enumerate(ranges(piece.columns.stop - piece.columns.start, width)):
            extent = columns.stop - columns.start
            sums = tuple(total[place, :rows, number, :, :extent] for total in spread)
            yield Block(i, piece.rows, shifted(columns, piece.columns.start), sums)


def lower_blocks(t: Tiling, piece: Piece, totals: Sequence[Array]) -> Iterator[Block]:
    """The output blocks of a launch that gives those on and below the diagonal only."""
    width, blocks = t.block_m, t.m // t.block_m
    spread = [total.reshape(t.batch, -1, width, t.limbs, width) for total in totals]
    parts = ranges(piece.rows.stop - piece.rows.start, width)
    for place, i in enumerate(range(piece.batch.start, piece.batch.stop)):
        for number, (row, column) in enumerate((r, c) for r in range(blocks) for c in range(r + 1)):
            if row < len(parts):
                height, extent = (part.stop - part.start for part in (parts[row], parts[column]))
                rows, columns = (shifted(parts[at], piece.rows.start) for at in (row, column))
                sums = tuple(total[place, number, :height, :, :extent] for total in spread)
                yield Block(i, rows, columns, sums)
