"""The products that precision asks for, spread over the cores of a target.

What is multiplied is decided in `numtrn.precision`, how it is cut in `numtrn.plan`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from numtrn.engine.blocks import blocks_of, lower_blocks
from numtrn.engine.exact import chunks_fit, group_of
from numtrn.engine.lane import Lane
from numtrn.engine.packing import Packed, Placed, pack_magnitudes, pack_operand
from numtrn.engine.pieces import Piece, shared_out, sweep
from numtrn.engine.planes import Made, Planes, Store
from numtrn.plan.tiling import LOWER_RESULT, WHOLE, Tiling
from numtrn.plan.words import regroup, whole
from numtrn.precision import Block, Magnitudes, Words
from numtrn.precision.fixed import add_words
from numtrn.precision.threads import merged
from numtrn.request import Array, Structure, k_is_fast
from numtrn.structured import STORED, STRUCTURES, multiply, solve

__all__ = ["KEEP_BYTES", "KernelEngine"]

T = TypeVar("T")

KEEP_BYTES = 4 * 2**30
"""Digit planes that several launches use stay on the target up to this size, and are made again beyond it."""


class KernelEngine(Lane):
    """Implements `numtrn.precision.Engine` on several cores; the lane that it is itself is the first.

    Attributes
    ----------
    form
        "Karatsuba" where a product of words took that form; its sums are the same integers.
    """

    form = ""

    @contextmanager
    def lanes(self, cores: int) -> Iterator[list[KernelEngine]]:
        """Engines for one core each, whose counts are this one's when they are done; itself for one core."""
        if cores == 1:
            yield [self]
            return
        lanes = [
            KernelEngine(self._target, self._memories, self.cutting.shapes, core=core)
            for core in range(cores)
        ]
        try:
            yield lanes
        finally:
            for lane in lanes:
                self.add(lane)
                self.form = self.form or lane.form

    def product(
        self, lhs: Array, rhs: Array, operand_dtype: str, structure: Structure = "general"
    ) -> NDArray[np.float32]:
        """C[i] = lhs[i] @ rhs[i] with fp32 accumulation; see `numtrn.precision.Engine.product`."""
        if structure in STRUCTURES:
            return multiply(self, lhs, rhs, operand_dtype, structure)
        batch, m, k = lhs.shape
        n = rhs.shape[2]
        stored = np.dtype(STORED.get(operand_dtype, np.float32))
        fast = k_is_fast(lhs, rhs)
        t = self.cutting.gemm(batch, m, k, n, stored.itemsize, operand_dtype == "tfloat32", fast)
        of_lhs = lhs, (t.batch, t.m, t.k), fast[0], stored
        of_rhs = rhs.swapaxes(1, 2), (t.batch, t.n, t.k), fast[1], stored

        def parts(
            lane: KernelEngine, kept: Packed | Placed, mine: list[Piece]
        ) -> Generator[tuple[Piece, Array], None, None]:
            for piece in mine:
                left = kept.get("lhs", piece.lhs, partial(pack_operand, lane, *of_lhs))
                right = kept.get("rhs", piece.rhs, partial(pack_operand, lane, *of_rhs))
                part = lane.launch(t, (left, right), np.float32).reshape(t.batch, t.m, t.n)
                filled = (along.stop - along.start for along in (piece.batch, piece.rows, piece.columns))
                yield piece, part[tuple(slice(extent) for extent in filled)]

        pieces = sweep(t, batch, m, k, n)
        if len(pieces) == 1:
            ((_, only),) = parts(self, Packed(), pieces)
            return np.require(only, requirements="W")
        # Sums over several pieces of K are formed in float64, so that they add no error worth counting.
        total = np.zeros((batch, m, n), np.float32 if t.pieces[2] == 1 else np.float64)
        with closing(self._spread(t, pieces, parts)) as found:
            for piece, part in found:
                total[piece.batch, piece.rows, piece.columns] += part
        return total.astype(np.float32, copy=False)

    def _spread(
        self,
        t: Tiling,
        pieces: list[Piece],
        work: Callable[[KernelEngine, Packed | Placed, list[Piece]], Generator[T, None, None]],
    ) -> Generator[T, None, None]:
        """What comes of the pieces of plain operands, on all cores of a tiling."""
        with self.lanes(t.cores) as lanes:
            memories: dict[int, Packed | Placed] = {}
            for lane in lanes:
                memories.setdefault(lane.hbm, Packed() if len(lanes) == 1 else Placed(t))
            shared = zip(lanes, shared_out(t, pieces), strict=True)
            yield from merged([work(lane, memories[lane.hbm], mine) for lane, mine in shared])

    def solve(self, factor: Array, columns: Array, limit: float) -> NDArray[np.float32] | None:
        """factor^-1 columns in fp32, of a factor that fits one launch; see `numtrn.structured.solve`."""
        return solve(self, factor, columns, limit)

    def least(self, lhs: Magnitudes, rhs: Magnitudes) -> tuple[float, float]:
        """Lower bounds of the product's elements; see `numtrn.precision.Engine.least`.

        Only the least elements of each row come back. Over several pieces of K the sum of the least ones is
        taken, which is no more than the least sum; a sum that is not zero has a part that is not.
        """
        t = self.cutting.least(lhs.batch, lhs.rows, lhs.k, rhs.rows)

        def parts(
            lane: KernelEngine, kept: Packed | Placed, mine: list[Piece]
        ) -> Generator[tuple[float, float], None, None]:
            sums = np.zeros(0)
            for piece in mine:
                left = kept.get("lhs", piece.lhs, partial(pack_magnitudes, lane, lhs, (t.batch, t.k, t.m)))
                right = kept.get("rhs", piece.rhs, partial(pack_magnitudes, lane, rhs, (t.batch, t.k, t.n)))
                part = lane.launch(t, (left, right), np.float32)
                rows = part[:, 0].astype(np.float64)
                sums = rows if piece.k.start == 0 else sums + rows
                filled = sums.reshape(t.batch, t.m)[: piece.batch.stop - piece.batch.start]
                yield float(filled.min()) if piece.k.stop == lhs.k else np.inf, float(part[:, 1].min())

        pieces = sweep(t, lhs.batch, lhs.rows, lhs.k, rhs.rows)
        with closing(self._spread(t, pieces, parts)) as found:
            least, nonzero = zip(*found, strict=True)
        return min(least), min(nonzero)

    def words(self, lhs: Words, rhs: Words, structure: Structure = "general") -> Generator[Block, None, None]:
        """The exact product, block by block; see `numtrn.precision.Engine.words`."""
        extents = lhs.batch, lhs.rows, lhs.k, rhs.rows
        t = self.cutting.karatsuba(*extents, lhs.slices, structure) if lhs.parts == 1 else None
        if t is not None:
            with self.lanes(t.cores) as lanes:
                planes = self._planes(lanes, t, lhs, rhs, structure)
                if all(self._on_all([each.make_all() for each in planes])) and self._fits(t, lanes, planes):
                    self.form = "Karatsuba"
                    yield from self._multiply(lanes, (t,), planes)
                    return
        tilings = self.cutting.products(*extents, lhs.slices, lhs.parts, structure)
        with self.lanes(tilings[0].cores) as lanes:
            yield from self._multiply(lanes, tilings, self._planes(lanes, tilings[0], lhs, rhs, structure))

    def _planes(
        self, lanes: list[KernelEngine], t: Tiling, lhs: Words, rhs: Words, structure: Structure
    ) -> list[Planes]:
        """Planes for a tiling, of words as its kernels read them, for each core."""
        if self.cutting.few:
            lhs, rhs = (side.recut(t.slices) for side in (lhs, rhs))
        pieces = sweep(t, lhs.batch, lhs.rows, lhs.k, rhs.rows)
        needed = [piece for piece in pieces if piece.is_needed(t.part)]
        shared = list(zip(lanes, shared_out(t, needed), strict=True))
        of_memory = Counter(lane.hbm for lane in lanes)
        there = {hbm: Store(KEEP_BYTES // cores, cores) for hbm, cores in of_memory.items()}
        return [Planes(lane, t, lhs, rhs, structure, mine, there[lane.hbm]) for lane, mine in shared]

    @staticmethod
    def _on_all(works: list[Generator[T, None, None]]) -> list[T]:
        """What every core came to."""
        with closing(merged(works)) as found:
            return list(found)

    def _multiply(
        self, lanes: list[KernelEngine], tilings: tuple[Tiling, ...], planes: list[Planes]
    ) -> Generator[Block, None, None]:
        """Every block of a product."""
        with closing(
            merged([lane._share(tilings, its) for lane, its in zip(lanes, planes, strict=True)])
        ) as blocks:
            yield from blocks

    def _share(self, tilings: tuple[Tiling, ...], planes: Planes) -> Generator[Block, None, None]:
        """Every launch of a core, and its blocks."""
        totals: list[Array] = []
        triangle = tilings[0].part
        below = tilings if triangle == WHOLE else tuple(whole(t) for t in tilings)
        for piece, following in zip(planes.pieces, [*planes.pieces[1:], planes.pieces[0]], strict=True):
            diagonal = piece.on_diagonal(triangle)
            products = tilings if diagonal else below
            for place, (t, pair) in enumerate(zip(products, planes.next(), strict=True)):
                part = self._part(t, *pair)
                if piece.k.start == 0:
                    totals.append(part)
                else:
                    totals[place] = totals[place].astype(np.int64, copy=False)
                    add_words(totals[place], part)
                del part
            if following.k.start == 0:
                lower = diagonal and triangle == LOWER_RESULT
                yield from (lower_blocks if lower else blocks_of)(tilings[0], piece, totals)
                totals.clear()  # before the next launch gives as much again

    def _part(self, t: Tiling, left: Made, right: Made) -> Array:
        """One launch of one product; as many matmuls in a bank as the sums of digits leave room for."""
        if left.norms is not None and right.norms is not None and not self.cutting.few:
            t = regroup(t, group_of(t, left.norms, right.norms))
        return self.launch(t, (left.planes, right.planes), np.int32)

    @staticmethod
    def _fits(t: Tiling, lanes: list[KernelEngine], planes: list[Planes]) -> bool:
        """Whether every chunk of the products of digit sums stays exact; see `chunks_fit`."""
        of_memory = {lane.hbm: (lane, each.store) for lane, each in zip(lanes, planes, strict=True)}
        return all(
            chunks_fit(t, ((want[0], want[4], lane.fetch(sums)) for want, sums in store.squares.items()))
            for lane, store in of_memory.values()
        )
