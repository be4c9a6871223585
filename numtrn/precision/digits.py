"""Digit planes of a scaled operand: 8-bit signed digits, the integers that bf16 holds exactly.

A scaled element x, |x| <= 127/128, becomes the integer rint(x 2^(8 s - 1)), ties to even, and its s balanced
base-256 digits are all in -128 .. 127: x = sum over p of q_p 2^(-7 - 8 p), up to 2^(-8 s). How many digits
are needed is not decided here (see `guard`).

The leading seven digits are a 55-bit integer; more come from the remainder, which float64 holds exactly.
Signed digits for products on integer and low-precision engines: H. Ootomo, K. Ozaki, R. Yokota,
arXiv 2306.11975; the base of 2^8 is the largest whose products leave room for eight matmuls in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from numtrn.precision.scaling import Side
from numtrn.request import Array

__all__ = ["LEADING", "PEAK", "PEAK_SUM", "Planes", "StackedPlanes", "SummedPlanes"]

LEADING = 7
"""Digits of the leading integer: 55 bits and a sign."""

PEAK = 128
PEAK_SUM = 256
"""Largest |digit|, and the largest of a sum of two."""

CHUNK = 1 << 15
"""Elements worked on at a time, so that intermediate arrays stay in cache."""

WORD = np.dtype("<i8")
"""Least significant byte first, whatever the machine: byte d holds the digit of weight 256^d."""


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
        scaled = side.scaled(part, batch, slice(row_range.start, row_range.stop), ks, 8 * LEADING - 1)
        target = planes[start : start + step].transpose(1, 2, 0)  # (slices, rows, k)
        if k_is_fast:
            _split(scaled, target)
        else:  # work along memory, as the operand lies
            _split(scaled.T, target.transpose(0, 2, 1))
    return planes


def _split(scaled: NDArray[np.float64], planes: Array) -> None:
    """Write the digits of ``scaled`` = x 2^55 into ``planes`` (slices, *scaled.shape), leading ones first."""
    more = planes.shape[0] - LEADING
    leading = np.rint(scaled)
    integer = leading.astype(WORD, order="C")
    if more > 0:
        np.subtract(scaled, leading, out=leading)  # exact, at most 1/2
        leading *= 256.0**more
        np.rint(leading, out=leading)
        rest = leading.astype(WORD, order="C")
        # Half a unit added to every digit makes them unsigned; what leaves the top goes to the leading ones.
        offset = _halves(more)
        rest += offset
        integer += rest >> (8 * more)
        rest ^= offset
        _spread(rest, planes[LEADING:])
    offset = _halves(min(LEADING, planes.shape[0]) - 1)
    integer += offset
    integer ^= offset
    _spread(integer, planes[:LEADING])


def _halves(digits: int) -> int:
    """0x80 in each of the lowest bytes: adding it and flipping the same bits balances the digits."""
    return int.from_bytes(b"\x80" * digits, "little")


def _spread(integer: Array, planes: Array) -> None:
    digits = integer.view(np.int8).reshape(*integer.shape, WORD.itemsize)
    for plane in range(planes.shape[0]):
        planes[plane] = digits[..., planes.shape[0] - 1 - plane]
