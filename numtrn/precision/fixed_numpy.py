"""The arithmetic of ``_fixed.c`` in NumPy, to the same bits, for where that was not built.

Every function works on one block, small enough for its intermediate arrays to stay in cache (see `fixed`,
which says what they mean and checks the arguments). A change here is a change in the C file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_words", "convert", "largest", "round_words"]

Numbers = NDArray[np.float64]
Powers = NDArray[np.int32] | None

SHIFTER = 1.5 * 2.0**52
"""x + SHIFTER - SHIFTER is x rounded to an integer, |x| < 2^51."""

SHIFTER_BITS = np.uint64(0x4338_0000_0000_0000)
MAGNITUDE = np.uint64(0x7FFF_FFFF_FFFF_FFFF)
SMALLEST_BITS = np.uint64((1023 - 100) << 52)
POWER_MOST = 2044
BITS = 24
MASK = (1 << BITS) - 1


def largest(x: Numbers, axis: int, out: NDArray[np.int64]) -> None:
    """Bits of the largest magnitudes: those of non-negative numbers are ordered as the numbers are."""
    np.max(x.view(np.int64) & np.int64(MAGNITUDE), axis=axis, out=out)


def convert(x: Numbers, rows: Powers, columns: Powers, slices: int, out: NDArray[Any]) -> None:
    """Words of ``slices`` digits into uint64 (rows, columns, 1 or 2), or magnitudes (0) into uint16."""
    power = _power(rows, columns, 8 * slices - 1 if slices else 0).clip(-POWER_MOST, POWER_MOST)
    first = power >> 1
    with np.errstate(all="ignore"):
        t = x * np.ldexp(1.0, first) * np.ldexp(1.0, power - first)
        if slices == 0:
            out[...] = _truncated(t)
        elif slices <= 8:
            low = _offset(slices)
            out[:, :, 0] = (_to_integer(t) + low) ^ low
        else:
            _two_words(t, _offset(slices - 8), out)


def _power(rows: Powers, columns: Powers, more: int) -> NDArray[np.int64]:
    power = np.full((1, 1), more, np.int64)
    if rows is not None:
        power = power + rows[:, np.newaxis]
    return power if columns is None else power + columns


def _truncated(t: Numbers) -> NDArray[np.uint64]:
    size = t.view(np.uint64) & MAGNITUDE
    pattern = (size >> np.uint64(45)) - np.uint64((1023 - 127) << 7)
    return np.where(size >= SMALLEST_BITS, pattern, np.uint64(0)) & np.uint64(0xFFFF)


def _offset(count: int) -> np.uint64:
    return np.uint64(0x80 * ((256**count - 1) // 255))


def _shifted_integer(total: Numbers) -> NDArray[np.uint64]:
    return total.view(np.uint64) - SHIFTER_BITS


def _to_integer(t: Numbers) -> NDArray[np.uint64]:
    """rint(t), |t| <= 2^63, modulo 2^64."""
    upper = t * 2.0**-32 + SHIFTER
    lower = (t - (upper - SHIFTER) * 2.0**32) + SHIFTER
    return (_shifted_integer(upper) << np.uint64(32)) + _shifted_integer(lower)


def _two_words(t: Numbers, high: np.uint64, out: NDArray[np.uint64]) -> None:
    low = _offset(8)
    scaled = t * 2.0**-64
    first = scaled * 2.0**-32 + SHIFTER
    second = (scaled - (first - SHIFTER) * 2.0**32) + SHIFTER
    rest = t - ((first - SHIFTER) * 2.0**32 + (second - SHIFTER)) * 2.0**64
    upper = (_shifted_integer(first) << np.uint64(32)) + _shifted_integer(second)
    lower = _to_integer(rest)
    upper -= (rest < 0) & (lower != 0)
    total = lower + low
    upper += high
    upper += total < low
    out[:, :, 0] = total ^ low
    out[:, :, 1] = upper ^ high


def round_words(
    terms: Sequence[tuple[int, NDArray[Any]]], rows: Powers, columns: Powers, out: Numbers
) -> None:
    """Exact sums, one rounding."""
    words = terms[0][1].shape[1]
    w = [np.zeros(out.shape, np.int64) for _ in range(words)]
    for factor, part in terms:
        for i in range(words):
            w[i] += factor * part[:, i].astype(np.int64)
    for i in range(words - 1, 0, -1):
        w[i - 1] += w[i] >> BITS
        w[i] &= MASK
    power = _power(rows, columns, -BITS * (words - 1))
    with np.errstate(all="ignore"):
        value = _round_three(w) if words == 3 else _round_more(w)
        # Powers beyond these decide nothing but between 0, Inf and the numbers between.
        np.ldexp(value, power.clip(-5000, 5000).astype(np.int32), out=out)
        subnormal = (value != 0) & (np.frexp(value)[1] + power < -1021)
    for r, c in zip(*np.nonzero(subnormal), strict=True):  # rounded twice so far
        exact = sum(int(word[r, c]) << (BITS * (words - 1 - i)) for i, word in enumerate(w))
        out[r, c] = _round_subnormal(exact, int(np.broadcast_to(power, out.shape)[r, c]))


def _round_three(w: list[NDArray[np.int64]]) -> Numbers:
    value: Numbers = w[0].astype(np.float64) * 2.0 ** (2 * BITS) + (w[1] << BITS | w[2]).astype(np.float64)
    return value


def _round_more(w: list[NDArray[np.int64]]) -> Numbers:
    words = len(w)
    sign = w[0] >> 63
    carry = -sign
    limbs = []
    for word in w[:0:-1]:
        size = ((word ^ sign) & MASK) + carry
        carry = size >> BITS
        limbs.append(size & MASK)
    size = (w[0] ^ sign) + carry
    limb = np.array([size >> BITS, size & MASK, *limbs[::-1]])
    zeros = np.zeros_like(size)
    for _ in range(words - 3):
        empty = limb[0] == 0
        limb[:-1] = np.where(empty, limb[1:], limb[:-1])
        limb[-1][empty] = 0
        zeros += empty
    upper = limb[0] << BITS | limb[1]
    lower = limb[2] << BITS | limb[3] | limb[4:].any(axis=0)
    value: Numbers = upper.astype(np.float64) * 2.0 ** (2 * BITS) + lower.astype(np.float64)
    value *= np.ldexp(1.0, BITS * (words - 3 - zeros))
    value *= np.where(sign < 0, -1.0, 1.0)
    return value


def _round_subnormal(n: int, power: int) -> float:
    """N 2^power in units of 2^-1074, rounded to nearest even."""
    size, drop = abs(n), -1074 - power
    if drop <= 0:
        units = size << -drop
    elif drop > size.bit_length() + 1:
        units = 0
    else:
        units, rest = size >> drop, size & ((1 << drop) - 1)
        half = 1 << (drop - 1)
        units += rest > half or (rest == half and units & 1)
    return math.copysign(math.ldexp(units, -1074), n)


def add_words(total: NDArray[np.int64], part: NDArray[np.int32]) -> None:
    """Add."""
    total += part
