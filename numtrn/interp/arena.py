"""The host memory of tiles: one block for each memory and element type, handed out from its start.

Tiles that a kernel makes one after the other so lie one after the other, as the contraction tiles of a
panel do on chip; `matmuls.py` multiplies such neighbours at once. Which tiles are neighbours depends on the
kernel alone, so that sums have the same order in every run.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arena", "Matrix", "aligned"]

Array = NDArray[Any]
F32 = np.dtype(np.float32)

SMALL = 256
"""Integers up to here, digits and sums of two, are looked for."""

LINE = 64
"""Bytes of a cache line."""

IMAGE_ELEMENTS = 1 << 24
"""Float32 images are all dropped when they hold more than this, which is twice what SBUF holds."""


class Arena:
    """Memory that tiles of one element type take from the first gap that holds them.

    Parameters
    ----------
    carrier
        NumPy type of the elements.
    size
        Elements.

    Attributes
    ----------
    memory
        The elements.
    images
        Matrices of them in float32.
    """

    __slots__ = ("_bounds", "_gaps", "_image_elements", "images", "memory")

    def __init__(self, carrier: np.dtype[Any], size: int) -> None:
        self.memory = aligned(size, carrier)
        self._gaps: list[tuple[int, int]] = [(0, size)]  # start and stop, in order
        self.images: dict[Matrix, Array] = {}
        self._bounds: dict[Matrix, float] = {}
        self._image_elements = 0

    def take(self, size: int) -> int | None:
        """Where ``size`` elements are free, which are then taken; None if nowhere."""
        for at, (start, stop) in enumerate(self._gaps):
            if stop - start >= size:
                if stop - start == size:
                    del self._gaps[at]
                else:
                    self._gaps[at] = (start + size, stop)
                return start
        return None

    def give(self, start: int, size: int) -> None:
        """Make taken elements free again."""
        if self.images:
            self.forget(start, size)
        gaps = self._gaps
        gap = (start, start + size)
        insort(gaps, gap)
        at = gaps.index(gap)
        if at + 1 < len(gaps) and gaps[at + 1][0] == gap[1]:
            gaps[at : at + 2] = [(start, gaps[at + 1][1])]
        if at and gaps[at - 1][1] == start:
            gaps[at - 1 : at + 1] = [(gaps[at - 1][0], gaps[at][1])]

    def view(self, start: int, step: int, rows: int, columns: int) -> Array:
        """A matrix in place."""
        memory = self.memory
        size = memory.itemsize
        return np.ndarray((rows, columns), memory.dtype, memory, start * size, (step * size, size))

    def image(self, matrix: Matrix) -> Array:
        """A matrix in float32, kept until an element of it is written."""
        found = self.images.get(matrix)
        if found is None:
            if self._image_elements > IMAGE_ELEMENTS:
                self.images.clear()
                self._bounds.clear()
                self._image_elements = 0
            found = matrix.widen(self.view(*matrix[2:]))
            self.images[matrix] = found
            self._image_elements += found.size
        return found

    def bound(self, matrix: Matrix) -> float:
        """Largest size of a matrix of small integers, known to 2^8; inf of all others."""
        found = self._bounds.get(matrix)
        if found is None:
            values = self.image(matrix)
            found = max(float(values.max()), -float(values.min()))
            if not found <= SMALL or not np.array_equal(np.rint(values), values):
                found = inf
            self._bounds[matrix] = found
        return found

    def forget(self, start: int, size: int) -> None:
        """Drop the images that have an element among these."""
        stop = start + size
        for matrix in [key for key in self.images if key.start < stop and start < key.stop]:
            self._image_elements -= self.images.pop(matrix).size
            self._bounds.pop(matrix, None)


def aligned(size: int, carrier: np.dtype[Any]) -> Array:
    """Memory from the start of a cache line, where BLAS is fastest."""
    raw = np.empty(size * carrier.itemsize + LINE, np.uint8)
    skipped = -raw.ctypes.data % LINE
    return raw[skipped : skipped + size * carrier.itemsize].view(carrier)


class Matrix(NamedTuple):
    """A matrix in an arena, its rows contiguous.

    Attributes
    ----------
    arena
        Where it is.
    widen
        From its elements to float32.
    start, step
        First element, and elements from one row to the next.
    rows, columns
        Extents.
    """

    arena: Arena
    widen: Callable[[Array], Array]
    start: int
    step: int
    rows: int
    columns: int

    @property
    def stop(self) -> int:
        """The element after its last."""
        return self.start + (self.rows - 1) * self.step + self.columns

    @property
    def wide(self) -> Array:
        """Its values in float32: in place, or an image of them."""
        arena = self.arena
        return arena.view(*self[2:]) if arena.memory.dtype == F32 else arena.image(self)

    @property
    def bound(self) -> float:
        """Its largest size if it holds small integers, else inf; never asked of float32."""
        return inf if self.arena.memory.dtype == F32 else self.arena.bound(self)

    def below(self, other: Matrix) -> Matrix | None:
        """Both as one if ``other`` continues this one with further rows."""
        arena, widen, start, step, rows, columns = self
        if other.start != start + rows * step or other != (
            arena,
            widen,
            other.start,
            step,
            other.rows,
            columns,
        ):
            return None
        return Matrix(arena, widen, start, step, rows + other.rows, columns)

    def beside(self, other: Matrix) -> Matrix | None:
        """Both as one if ``other`` continues this one with further columns."""
        arena, widen, start, step, rows, columns = self
        if other.start != start + columns or other != (arena, widen, other.start, step, rows, other.columns):
            return None
        return Matrix(arena, widen, start, step, rows, columns + other.columns)
