"""How a product is cut into launches, and which core has which.

Geometry only: ranges of the batch, of rows and columns of C, and of k.
"""

from __future__ import annotations

from itertools import groupby, product
from typing import NamedTuple

from numtrn.plan.cores import shares
from numtrn.plan.tiling import LOWER_LHS, LOWER_RESULT, WHOLE, Tiling

__all__ = ["Piece", "ranges", "shared_out", "shifted", "starts_of", "sweep"]


class Piece(NamedTuple):
    """What one launch computes: ranges of the batch, of rows and columns of C, and of k."""

    batch: slice
    rows: slice
    columns: slice
    k: slice

    @property
    def block(self) -> tuple[int, int, int]:
        """Which block of the result it is a part of."""
        return self.batch.start, self.rows.start, self.columns.start

    @property
    def lhs(self) -> tuple[slice, slice, slice]:
        """Where its part of A is: in the batch, along rows, along k."""
        return self.batch, self.rows, self.k

    @property
    def rhs(self) -> tuple[slice, slice, slice]:
        """The same of B, along columns."""
        return self.batch, self.columns, self.k

    def on_diagonal(self, part: int) -> bool:
        """Whether it holds the diagonal of what is a triangle: the result, or A."""
        along = self.columns if part == LOWER_RESULT else self.k
        return part != WHOLE and bool(self.rows.start == along.start)

    def is_needed(self, part: int) -> bool:
        """Whether it is not wholly above that diagonal."""
        if part == LOWER_RESULT:
            return bool(self.rows.start >= self.columns.start)
        return part != LOWER_LHS or bool(self.k.start < self.rows.stop)


def sweep(t: Tiling, batch: int, m: int, k: int, n: int) -> list[Piece]:
    """Every launch of a tiling; those that add up along k follow each other."""
    return [
        Piece(i, rows, columns, ks)
        for i, columns, rows, ks in product(
            ranges(batch, t.batch), ranges(n, t.n), ranges(m, t.m), ranges(k, t.k)
        )
    ]


def ranges(extent: int, size: int) -> list[slice]:
    """An extent cut into pieces of a size, the last one smaller."""
    return [slice(start, min(start + size, extent)) for start in range(0, extent, size)]


def shared_out(t: Tiling, pieces: list[Piece]) -> list[list[Piece]]:
    """The pieces of each core, in their order."""
    if t.cores == 1:
        return [pieces]
    blocks = [list(block) for _, block in groupby(pieces, key=lambda piece: piece.block)]
    found, start = [], 0
    for share in shares(t):
        end = start + len(share.parts)
        found.append([piece for block in blocks[start:end] for piece in block])
        start = end
    assert start == len(blocks), f"{len(blocks)} blocks, {start} of them given to cores"
    return found


def starts_of(where: tuple[slice, ...]) -> tuple[int, ...]:
    """Where ranges begin."""
    return tuple(part.start for part in where)


def shifted(part: slice, start: int) -> slice:
    """A range of a piece as one of the whole, in which the piece begins at ``start``."""
    return slice(start + part.start, start + part.stop)
