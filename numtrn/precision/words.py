"""A scaled operand as the engine asks for it: fixed-point words, and magnitudes truncated to bf16.

Blocks are made when asked for, by `numtrn.precision.fixed`; how many digits are needed is not decided here
(see `guard`). Signed digits for products on integer engines: H. Ootomo, K. Ozaki, R. Yokota, arXiv
2306.11975. Base 2^8 is the largest that bf16 holds with room for eight matmuls in an fp32 accumulator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from numtrn.precision import fixed
from numtrn.precision.scaling import Exponents, Side
from numtrn.request import Array

__all__ = ["SideMagnitudes", "SideWords"]


@dataclass(frozen=True, kw_only=True)
class SideWords:
    """Fixed-point words of an operand (see `numtrn.precision.engine.Words`)."""

    side: Side
    slices: int
    outermost: bool = False

    @property
    def batch(self) -> int:
        """Number of matrices."""
        return self.side.shape[0]

    @property
    def rows(self) -> int:
        """Rows of A, or columns of B."""
        return self.side.shape[1]

    @property
    def k(self) -> int:
        """Extent of the contraction."""
        return self.side.shape[2]

    @property
    def parts(self) -> int:
        """Real matrices that the operand consists of."""
        return len(self.side.parts)

    @property
    def k_is_fast(self) -> bool:
        """Whether (rows, k) is the order in memory."""
        _, rows, k = (abs(stride) for stride in self.side.parts[0].strides)
        return k <= rows and not self.outermost

    def recut(self, slices: int) -> SideWords:
        """The same operand in so many digits, with k outermost."""
        return replace(self, slices=slices, outermost=True)

    @property
    def source(self) -> Array | None:
        """What words depend on alone, if on anything: elements, whose rows give exponents."""
        return self.side.source

    def cut(self, part: int, batch: int, rows: slice, k: slice, out: NDArray[np.int8]) -> None:
        """Write the words of one block (rows, k, bytes)."""
        x, of_rows, of_k = _block(self.side, part, batch, rows, k)
        if out.strides[0] >= out.strides[1]:
            fixed.cut(x, of_rows, of_k, self.slices, out)
        else:  # the engine wants k outermost
            fixed.cut(x.T, of_k, of_rows, self.slices, out.transpose(1, 0, 2))


@dataclass(frozen=True, kw_only=True)
class SideMagnitudes:
    """Truncated magnitudes of an operand (see `numtrn.precision.engine.Magnitudes`).

    Of a complex one the parts side by side along k, [|Ar|, |Ai|]; ``crosswise``, as the right operand, with
    twice the rows too: [|Br|, |Bi|] above [|Bi|, |Br|], so that products are those of the real and of the
    imaginary part.
    """

    side: Side
    crosswise: bool = False

    @property
    def batch(self) -> int:
        """Number of matrices."""
        return self.side.shape[0]

    @property
    def rows(self) -> int:
        """Rows, twice those of the operand where it is taken crosswise."""
        return self.side.shape[1] * (len(self.side.parts) if self.crosswise else 1)

    @property
    def source(self) -> Array | None:
        """What they depend on alone, if on anything: elements, whose rows give exponents."""
        return self.side.source

    @property
    def layout(self) -> tuple[int, bool]:
        """What is made of them: parts of the operand, and whether crosswise."""
        return len(self.side.parts), self.crosswise

    @property
    def k(self) -> int:
        """Extent of the contraction, of all parts."""
        return self.side.shape[2] * len(self.side.parts)

    def block(self, batch: int, rows: slice, k: slice) -> NDArray[np.uint16]:
        """Bit patterns of bf16 (rows, k), fresh."""
        row_runs, k_runs = _runs(rows, self.side.shape[1]), _runs(k, self.side.shape[2])
        out = np.empty((rows.stop - rows.start, k.stop - k.start), np.uint16)
        row = 0
        for swapped, run in row_runs:
            height, column = run.stop - run.start, 0
            for part, along in k_runs:
                width = along.stop - along.start
                x, of_rows, of_k = _block(self.side, part ^ swapped, batch, run, along)
                fixed.magnitudes(x, of_rows, of_k, out[row : row + height, column : column + width])
                column += width
            row += height
        return out


def _runs(where: slice, extent: int) -> list[tuple[int, slice]]:
    """A range of several parts laid end to end, as (part, range in it)."""
    runs = []
    for part in range(where.start // extent, (where.stop - 1) // extent + 1):
        start, stop = max(where.start - part * extent, 0), min(where.stop - part * extent, extent)
        runs.append((part, slice(start, stop)))
    return runs


def _block(side: Side, part: int, batch: int, rows: slice, k: slice) -> tuple[Array, Exponents, Exponents]:
    """Elements (rows, k) as they lie, and the powers of two of rows and of k."""
    x = side.parts[part][batch, rows, k]
    inner = np.zeros(x.shape[1], np.int64) if side.inner is None else side.inner[batch, k]
    return x, -side.exponents[batch, rows], inner
