"""Digit planes of both operands on the target, made in the order in which the launches want them.

Words are cut here (`numtrn.precision` says how) and kernels make planes of them; what is multiplied with
what is `numtrn.engine.products`'.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from numtrn.engine.lane import Lane
from numtrn.engine.pieces import Piece
from numtrn.plan.tiling import TILE, Tiling
from numtrn.precision import Words
from numtrn.precision.fixed import word_bytes
from numtrn.precision.threads import Once, ahead
from numtrn.request import Array, Structure
from numtrn.targets import Resident

__all__ = ["Made", "Planes", "Store"]


class Want(NamedTuple):
    """Digit planes that a launch reads: of which side and part, and where."""

    side: int
    part: int
    batch: slice
    rows: slice
    k: slice

    @property
    def key(self) -> tuple[int, int, int, int, int]:
        return self.side, self.part, self.batch.start, self.rows.start, self.k.start


class Made(NamedTuple):
    """Planes on the target; of sums of digits also the largest norms of their columns, see `group_of`."""

    planes: Resident
    norms: Array | None = None


@dataclass(eq=False)
class Store:
    """Digit planes in one memory, for all cores that have it.

    Attributes
    ----------
    budget
        Bytes of planes that each of them keeps there.
    cores
        How many they are.
    planes, sums
        Of parts of an operand, and of the sums of their digits.
    squares
        Sums of squares that a pre-pass gave beside the planes.
    norms
        Of planes of sums.
    """

    budget: int
    cores: int
    planes: Once = field(default_factory=Once)
    sums: Once = field(default_factory=Once)
    squares: dict[tuple[int, int, int, int, int], Resident] = field(default_factory=dict)
    norms: dict[tuple[int, ...], Array] = field(default_factory=dict)


class Planes:
    """Digit planes of both operands on the target, made in the order in which the launches want them.

    Words are cut one piece ahead in a thread of their own, while the target works; of several cores each
    cuts what it makes planes of, while the others work.
    """

    def __init__(
        self,
        lane: Lane,
        t: Tiling,
        lhs: Words,
        rhs: Words,
        structure: Structure,
        pieces: list[Piece],
        store: Store,
    ) -> None:
        self._lane, self._t, self._sides = lane, t, (lhs, rhs)
        self.pieces, self.store = pieces, store
        alike = (t.m, t.block_m) == (t.n, t.block_n)
        same = structure == "syrk" or (structure == "herk" and lhs.parts == 1)
        self._shared = alike and same and lane.twins
        names = (("lhs", lhs), ("rhs", rhs))
        self._tilings = tuple(lane.cutting.planes(t, side, words.k_is_fast) for side, words in names)
        self._wanted = iter([self._of(piece) for piece in self.pieces])
        self._keys, made = self._budget()
        self._there = {want.key: words for want in made if (words := self._found(want)) is not None}
        missing = [want for want in made if want.key not in self._there]
        alone = store.cores == 1
        self._words = ahead(partial(_cut, t, self._sides), missing) if alone else None

    def next(self) -> list[tuple[Made, Made]]:
        """Pairs of planes for the products of the next launch: real, imaginary and summed parts."""
        sides = [self._of_side(wants) for wants in next(self._wanted)]
        return list(zip(*sides, strict=True))

    def _of(self, piece: Piece) -> list[list[Want]]:
        parts = range(self._sides[0].parts)
        sides = (0, 0) if self._shared else (0, 1)
        places = zip(sides, (piece.lhs, piece.rhs), strict=True)
        return [[Want(side, part, *where) for part in parts] for side, where in places]

    def _budget(self) -> tuple[set[tuple[int, ...]], list[Want]]:
        """Which planes are kept once made, first come first kept, and all that will be made, in order."""
        keys: set[tuple[int, ...]] = set()
        made, left = [], self.store.budget
        for want in (want for piece in self.pieces for wants in self._of(piece) for want in wants):
            if want.key not in keys:
                made.append(want)
                size = self._tilings[want.side].bytes_out
                if size <= left:
                    left -= size
                    keys.add(want.key)
        return keys, made

    def _of_side(self, wants: list[Want]) -> list[Made]:
        parts = [self._get(want) for want in wants]
        made = [Made(part) for part in parts]
        return made if len(parts) == 1 else [*made, self._sum(wants, parts)]

    def _sum(self, wants: list[Want], parts: list[Resident]) -> Made:
        """Digit-wise sums of the parts of a complex operand."""
        key = (*wants[0].key, len(parts))
        if key in self.store.sums or all(want.key in self._keys for want in wants):
            return self.store.sums.get(key, lambda: self._added(key, parts))
        return self._added(key, parts)

    def _added(self, key: tuple[int, ...], parts: list[Resident]) -> Made:
        t, norms = self._t, self.store.norms
        height = min(TILE, t.k)
        summed, squares = self._lane.keep("sum_planes", parts, (height,))
        if key not in norms:
            block = (t.block_m, t.block_n)[key[0]]
            found = self._lane.fetch(squares).reshape(t.batch, t.k // height, -1, t.slices, block)
            norms[key] = np.sqrt(found.max(axis=(2, 4)).astype(np.float64))
        return Made(summed, norms[key])

    def _get(self, want: Want) -> Resident:
        if want.key in self.store.planes or want.key in self._keys:
            return self.store.planes.get(want.key, lambda: self._planes_of(want))
        return self._planes_of(want)

    def _planes_of(self, want: Want) -> Resident:
        t = self._tilings[want.side]
        planes, *squares = self._lane.keep(t.kernel, (self._cut(want),), t.parameters)
        if squares:
            self.store.squares[want.key] = squares[0]
        return planes

    def _cut(self, want: Want) -> Array | Resident:
        """Words of one piece: what the target has of them, or the next that were cut."""
        if want.key in self._there:
            return self._there[want.key]
        source = self._source(want)
        if self._words is None:
            make = partial(_cut, self._t, self._sides, want)
        else:
            make = partial(next, self._words)
        if source is None:
            return make()
        words = make()
        return self._lane.sent(source, self._name(want), lambda: words)

    def _found(self, want: Want) -> Resident | None:
        """Words of one piece that the target has from an earlier call."""
        source = self._source(want)
        return None if source is None else self._lane.known(source, self._name(want))

    def _source(self, want: Want) -> Array | None:
        """The rows that words are of, all along k: their exponents are those of whole rows."""
        source = self._sides[want.side].source
        return None if source is None else source[want.batch, want.rows]

    def _name(self, want: Want) -> Hashable:
        """What words depend on beside their source."""
        words, t = self._sides[want.side], self._t
        extents = t.batch, (t.m, t.n)[want.side], t.k
        return "words", want.part, words.slices, words.k_is_fast, want.k.start, extents

    def make_all(self) -> Generator[bool, None, None]:
        """Make all planes before the first launch; False, and nothing made, where not all can be kept."""
        wanted = {want.key: want for piece in self.pieces for wants in self._of(piece) for want in wants}
        if len(self._keys) == len(wanted):
            for want in wanted.values():
                self._get(want)
        yield len(self._keys) == len(wanted)


def _cut(t: Tiling, sides: tuple[Words, Words], want: Want) -> Array:
    """Words of one piece as the kernel reads them, zeros around: stacked along rows, or along k."""
    words = sides[want.side]
    extent, size = (t.m, t.n)[want.side], word_bytes(words.slices)
    rows, ks = want.rows.stop - want.rows.start, want.k.stop - want.k.start
    count = want.batch.stop - want.batch.start
    shape = (t.batch, extent, t.k) if words.k_is_fast else (t.batch, t.k, extent)
    filled = (count, rows, ks) if words.k_is_fast else (count, ks, rows)
    packed = (np.empty if filled == shape else np.zeros)((*shape, size), np.int8)
    for place, i in enumerate(range(want.batch.start, want.batch.stop)):
        out = packed[place, : filled[1], : filled[2]]
        words.cut(want.part, i, want.rows, want.k, out if words.k_is_fast else out.transpose(1, 0, 2))
    return packed.reshape(t.batch * shape[1], -1)
