"""Which core computes what: a product's result blocks, or any list of independent pieces of work.

Pieces along k of one block stay on one core, in their order, so that its sums are the same however many cores
there are. Neighbours stay together, so that cores, and the memories that they share, need few of the other's
operands. Functions of plain integers: nothing runs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from numtrn.plan.tiling import LOWER_LHS, LOWER_RESULT, WHOLE, Tiling
from numtrn.plan.words import whole

__all__ = ["Part", "Share", "assign", "operand_pieces", "parts_of", "shares"]


class Part(NamedTuple):
    """One result block of a tiling: where it is, in pieces, and what it takes.

    Attributes
    ----------
    batch, row, column
        Numbers of its pieces.
    diagonal
        Those of its launches that are on the diagonal of a triangle; none where there is no triangle.
    launches
        All of them, one for each piece along k.
    work
        TensorE columns of all launches.
    """

    batch: int
    row: int
    column: int
    diagonal: int
    launches: int
    work: int


class Share(NamedTuple):
    """What one core does of a tiling."""

    core: int
    parts: tuple[Part, ...]

    @property
    def launches(self) -> int:
        """Launches of it."""
        return sum(part.launches for part in self.parts)


def assign(weights: Sequence[int], cores: int) -> tuple[int, ...]:
    """The core of each piece of work: runs of neighbours, the heaviest as light as runs can be.

    No more than the mean and the largest piece together. Cores that would not make it lighter stay idle.

    >>> assign([1, 1, 1, 1, 1], 2)
    (0, 0, 0, 1, 1)
    >>> assign([4, 1, 1, 1, 1, 4], 3)
    (0, 1, 1, 1, 1, 2)
    >>> assign([1, 1, 1, 1], 3)
    (0, 0, 1, 1)
    """
    low, high = max(weights, default=0), sum(weights)
    while low < high:
        middle = (low + high) // 2
        if _runs(weights, middle)[-1] < cores:
            high = middle
        else:
            low = middle + 1
    return tuple(_runs(weights, low)) if weights else ()


def _runs(weights: Sequence[int], most: int) -> list[int]:
    """The run of each piece, where runs are filled one after the other up to ``most``."""
    numbers, run, filled = [], 0, 0
    for weight in weights:
        if filled and filled + weight > most:
            run, filled = run + 1, 0
        filled += weight
        numbers.append(run)
    return numbers


@lru_cache(maxsize=1024)
def parts_of(t: Tiling) -> tuple[Part, ...]:
    """Result blocks of a tiling, in the order in which one core makes them."""
    batch, m, k, n = t.pieces
    below = t if t.part == WHOLE else whole(t)
    found = []
    for i in range(batch):
        for column in range(n):
            for row in range(column if t.part == LOWER_RESULT else 0, m):
                launches = row + 1 if t.part == LOWER_LHS else k
                diagonal = _on_diagonal(t.part, row, column, launches)
                work = diagonal * t.pe_columns + (launches - diagonal) * below.pe_columns
                found.append(Part(i, row, column, diagonal, launches, work))
    return tuple(found)


def _on_diagonal(part: int, row: int, column: int, launches: int) -> int:
    if part == LOWER_RESULT:
        return launches if row == column else 0
    return int(part == LOWER_LHS)


@lru_cache(maxsize=1024)
def shares(t: Tiling) -> tuple[Share, ...]:
    """What each core does, of as many as the tiling is spread over; those that are idle left out."""
    parts = parts_of(t)
    cores = assign([part.work for part in parts], t.cores)
    return tuple(
        Share(core, tuple(part for part, its in zip(parts, cores, strict=True) if its == core))
        for core in range(max(cores) + 1)
    )


def operand_pieces(t: Tiling, parts: Sequence[Part]) -> tuple[int, int]:
    """Pieces of the left and of the right operand that some result blocks are made of, each counted once."""
    rows = {(part.batch, part.row) for part in parts}
    columns = {(part.batch, part.column) for part in parts}
    k = t.pieces[2]
    return sum(row + 1 if t.part == LOWER_LHS else k for _, row in rows), len(columns) * k
