"""Digit planes of a scaled operand: 8-bit signed digits, the integers that bf16 holds exactly.

A scaled element x, |x| < 1, is cut from the top: q_0 = rint(2^7 x), the remainder times 256 gives
q_1, and so on. Remainders are exact in float64, so that x = sum over p of q_p 2^(-7 - 8 p) up to 2^(-8 s),
and |q_p| <= 128. The digits of -x are those of x negated: products with the operand's own transpose or
conjugate are symmetric to the last bit. How many digits are needed is not decided here (see `guard`).

Signed digits for products on integer engines: H. Ootomo, K. Ozaki, R. Yokota, arXiv 2306.11975. Base 2^8 is
the largest that bf16 holds with room for eight matmuls in an fp32 accumulator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from numtrn.precision.scaling import Side
from numtrn.request import Array

__all__ = ["PEAK", "PEAK_SUM", "Planes", "StackedPlanes", "SummedPlanes"]

PEAK = 128
PEAK_SUM = 256
"""Largest |digit|, and the largest of a sum of two."""

CHUNK = 1 << 15
"""Elements worked on at a time, so that intermediate arrays stay in cache."""


@dataclass(frozen=True, kw_only=True)
class Planes:
    """Digits of one part of an operand (see `numtrn.precision.engine.Digits`)."""

    side: Side
    slices: int
    part: int = 0
    peak: int = PEAK

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

    def block(self, batch: int, rows: slice, k: slice) -> NDArray[np.float32]:
        """Planes (k, slices, rows) of one block."""
        return _block(self.side, self.part, self.slices, batch, rows, k)


@dataclass(frozen=True, kw_only=True)
class StackedPlanes(Planes):
    """Digits of the real parts of all matrices, then of all imaginary parts: twice the batch."""

    @property
    def batch(self) -> int:
        """Twice the number of matrices."""
        return 2 * self.side.shape[0]

    def block(self, batch: int, rows: slice, k: slice) -> NDArray[np.float32]:
        """Planes (k, slices, rows) of one block."""
        part, index = divmod(batch, self.side.shape[0])
        return _block(self.side, part, self.slices, index, rows, k)


@dataclass(frozen=True, kw_only=True)
class SummedPlanes(Planes):
    """Sums of the digits of real and imaginary part, digit by digit: at most 256, still exact in bf16."""

    peak: int = PEAK_SUM

    def block(self, batch: int, rows: slice, k: slice) -> NDArray[np.float32]:
        """Planes (k, slices, rows) of one block."""
        planes = _block(self.side, 0, self.slices, batch, rows, k)
        planes += _block(self.side, 1, self.slices, batch, rows, k)
        return planes


def _block(side: Side, part: int, slices: int, batch: int, rows: slice, k: slice) -> NDArray[np.float32]:
    row_range, k_range = range(*rows.indices(side.shape[1])), range(*k.indices(side.shape[2]))
    planes = np.empty((len(k_range), slices, len(row_range)), np.float32)
    step = max(1, CHUNK // max(1, len(row_range)))
    strides = side.parts[part].strides
    k_is_fast = abs(strides[2]) <= abs(strides[1])
    for start in range(0, len(k_range), step):
        ks = slice(k_range.start + start, min(k_range.start + start + step, k_range.stop))
        scaled = side.scaled(part, batch, slice(row_range.start, row_range.stop), ks, 7)
        target = planes[start : start + step].transpose(1, 2, 0)  # (slices, rows, k)
        if k_is_fast:
            _cut(scaled, target)
        else:  # work along memory, as the operand lies
            _cut(scaled.T, target.transpose(0, 2, 1))
    return planes


def _cut(rest: NDArray[np.float64], planes: Array) -> None:
    """Write the digits of ``rest`` = 2^7 x into ``planes`` (slices, *rest.shape); uses ``rest`` up."""
    digit = np.empty_like(rest)
    for plane in planes[:-1]:
        np.rint(rest, out=digit)
        plane[...] = digit
        rest -= digit
        rest *= 256.0
    np.rint(rest, out=rest)
    planes[-1] = rest
