"""Operands of plain products as launches take them: packed by the host, or what the target has of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from threading import Lock
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from numtrn.engine.lane import Lane
from numtrn.engine.pieces import starts_of
from numtrn.plan.tiling import Tiling
from numtrn.precision import Magnitudes
from numtrn.precision.threads import Once
from numtrn.request import Array
from numtrn.targets import Resident

__all__ = ["PACK_BYTES", "PLACED_BYTES", "Packed", "Placed", "pack_magnitudes", "pack_operand"]

PACK_BYTES = 512 * 2**20
"""Packed operands of plain products are kept on the host up to this size, and packed again beyond it."""

PLACED_BYTES = 4 * 2**30
"""The same for those placed in one memory of the target for several cores."""

Pack: TypeAlias = "partial[Array | Resident]"
"""Packs a piece of an operand, given where it is, for the lane that is its first argument."""


class Packed:
    """Packed operand pieces, within a budget in bytes; what does not fit is packed again when needed."""

    def __init__(self) -> None:
        self._left = PACK_BYTES
        self._pieces: dict[tuple[str | int, ...], Array | Resident] = {}

    def get(
        self, side: str, where: tuple[slice, ...], pack: Callable[..., Array | Resident]
    ) -> Array | Resident:
        """A piece of a side: known, or packed now."""
        key = (side, *(part.start for part in where))
        if key in self._pieces:
            return self._pieces[key]
        piece = pack(*where)
        ours = isinstance(piece, np.ndarray) and piece.flags.writeable  # else the caller's, or on the target
        size = piece.nbytes if ours else 0  # type: ignore[union-attr]
        if size <= self._left:
            self._left -= size
            self._pieces[key] = piece
        return piece


class Placed:
    """Operand pieces in one memory, placed once for all cores that have it, within a budget in bytes."""

    def __init__(self, t: Tiling) -> None:
        sides = zip(("lhs", "rhs"), (t.m, t.n), strict=True)
        self._sizes = {side: t.bytes_in * extent // (t.m + t.n) for side, extent in sides}
        self._left = PLACED_BYTES
        self._known: set[Hashable] = set()
        self._lock = Lock()
        self._pieces = Once()

    def get(self, side: str, where: tuple[slice, ...], pack: Pack) -> Array | Resident:
        """A piece of a side: placed by any core, or now."""
        key = side, starts_of(where)
        if self._keeps(key, self._sizes[side]):
            return self._pieces.get(key, lambda: self._place(where, pack))
        return self._place(where, pack)

    def _keeps(self, key: Hashable, size: int) -> bool:
        with self._lock:
            if key not in self._known and size <= self._left:
                self._left -= size
                self._known.add(key)
            return key in self._known

    @staticmethod
    def _place(where: tuple[slice, ...], pack: Pack) -> Array | Resident:
        piece = pack(*where)
        lane: Lane = pack.args[0]
        return lane.place(piece) if isinstance(piece, np.ndarray) else piece


def pack_operand(
    lane: Lane,
    side: Array,
    shape: tuple[int, int, int],
    fast: bool,
    dtype: np.dtype[Any],
    *block: slice,
) -> Array | Resident:
    """A block (batch, rows, k) of an operand, in the order in which it lies."""
    if fast:
        return lane.taken(side[block], shape, dtype)
    batch, rows, k = shape
    return lane.taken(side[block].swapaxes(1, 2), (batch, k, rows), dtype)


def pack_magnitudes(
    lane: Lane, side: Magnitudes, shape: tuple[int, int, int], *where: slice
) -> Array | Resident:
    """Magnitudes of a block of an operand."""
    make = partial(_magnitudes, side, where, shape)
    if side.source is None:
        return make()
    source, starts = side.source, starts_of(where)
    if side.layout[0] == 1:  # of several parts, rows are counted through all of them
        source, starts = source[where[:2]], starts[2:]
    return lane.sent(source, ("magnitudes", side.layout, starts, shape), make)


def _magnitudes(side: Magnitudes, where: tuple[slice, ...], shape: tuple[int, int, int]) -> Array:
    """Magnitudes (k, rows) as the kernel reads them; the last row and matrix repeated, zeros along k."""
    i, rows, ks = where
    packed = np.zeros(shape, np.uint16)
    for place, index in enumerate(range(i.start, i.stop)):
        block = side.block(index, rows, ks).T
        packed[place, : block.shape[0], : block.shape[1]] = block
        packed[place, : block.shape[0], block.shape[1] :] = block[:, -1:]
    packed[i.stop - i.start :] = packed[i.stop - i.start - 1]
    stacked: Array = packed.view(ml_dtypes.bfloat16).reshape(shape[0] * shape[1], shape[2])
    return stacked
