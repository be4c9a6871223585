"""From exact diagonals back to float64: carries in int64, one rounding, one scaling by powers of two.

N = sum over t of D[t] 256^(s - 1 - t) is formed in limbs of three diagonals, 24 bits: N = h + m + l with

    l   an integer in 0 .. 2^48 - 1, the lowest two limbs,
    m   a multiple of 2^48 in 0 .. 2^72 - 2^48, the third, where the rest is too long for one float64,
    h   a multiple of 2^48, or of 2^72 with m, of at most 53 bits.

All three are float64 numbers. Without m, h + l is one correctly rounded addition. With it, TwoSum (Knuth)
gives h + m = v + w exactly, |w| <= ulp(v)/2. If w = 0, v + l is one correctly rounded addition. If not, v
has ulp >= 2^49, because w is a multiple of 2^48; every number and midpoint near v is then a multiple of
2^48, so replacing l > 0 by 2^47 leaves the rounding as it is (S. Boldo, G. Melquiond, IEEE Trans. Comput.
57, 462 (2008), use an odd last bit to the same end). w + 2^47 is exact: w < 2^76 for K <= 2^26. So C is N
rounded once.

More than 11 diagonals have more limbs than that. Their sign is taken out first, so that all limbs are in
0 .. 2^24 - 1. From the highest one that is not zero, four limbs hold at least 73 bits, all that a rounding
looks at but whether anything follows: that is kept as an odd last bit (Boldo and Melquiond). The upper two
limbs and the lower two are exact in float64, and one addition rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numtrn.precision.scaling import Exponents, rescale

__all__ = ["MOST_TERMS", "recombine"]

Integers = NDArray[np.int64]

MOST_TERMS = 1 << 26
"""Products in a sum, at most: then no carry leaves int64, and h above has 53 bits."""

LIMB = 3
BITS = 8 * LIMB
MASK = (1 << BITS) - 1
EXACT = 1 << 53
FEW = 11
"""Diagonals up to which three terms hold the sum."""
CHUNK = 1 << 14
"""Outputs worked on at a time, so that intermediate arrays stay in cache."""


def recombine(diagonals: Integers, rows: Exponents, columns: Exponents) -> NDArray[np.float64]:
    """C[i, r, c] = 2^(rows[i, r] + columns[i, c]) sum over t of D[t, i, r, c] 2^(-14 - 8 t), rounded once.

    Parameters
    ----------
    diagonals
        D (slices, batch, m, n) of int32 or int64, slices 7 to 16, |D[t]| <= 2 (t + 1) 2^14 `MOST_TERMS`;
        only read.
    rows, columns
        (batch, m) and (batch, n).

    Returns
    -------
    ndarray
        (batch, m, n) float64; rounded a second time where it is subnormal.
    """
    slices, batch, m, n = diagonals.shape
    value = np.empty((batch, m, n))
    unit = 14 + 8 * (slices - 1)
    step = max(1, CHUNK // n)
    round_sum = _round if slices <= FEW else _round_many
    for i in range(batch):
        for start in range(0, m, step):
            where = slice(start, start + step)
            block = value[i, where]
            round_sum(diagonals[:, i, where], block)
            rescale(block, rows[i, where] - unit, columns[i])
    return value


def _round(diagonals: Integers, out: NDArray[np.float64]) -> None:
    """Write N, rounded once, to ``out``."""
    stop = len(diagonals)
    low, carry = _limb(diagonals[stop - 3 : stop], None)
    middle, carry = _limb(diagonals[stop - 6 : stop - 3], carry)
    middle <<= BITS
    middle |= low
    tail = middle.astype(np.float64)  # l
    if stop > 3 * LIMB:
        third, carry = _limb(diagonals[stop - 9 : stop - 6], carry)
        head = _horner(diagonals[: stop - 9], carry)
    else:
        head = _horner(diagonals[: stop - 6], carry)
        if max(int(head.max()), -int(head.min())) <= EXACT:
            np.multiply(head, 2.0 ** (2 * BITS), out=out)
            out += tail
            return
        third = head & MASK
        head >>= BITS
    high = head * 2.0 ** (3 * BITS)
    mid = third * 2.0 ** (2 * BITS)
    np.add(high, mid, out=out)
    back = out - high
    error = (high - (out - back)) + (mid - back)
    sticky = error + (tail > 0) * 2.0 ** (2 * BITS - 1)
    out += np.where(error == 0, tail, sticky)


def _round_many(diagonals: Integers, out: NDArray[np.float64]) -> None:
    """Write N, rounded once, to ``out``, for any number of diagonals."""
    negative = _limbs(diagonals)[-1] < 0
    limbs = _limbs(np.where(negative, -diagonals, diagonals))
    found = limbs != 0
    # Three limbs of zero below the lowest, so that every highest limb has three that follow.
    padded = np.concatenate((np.zeros_like(limbs[:3]), limbs))
    highest = len(limbs) - 1 - found[::-1].argmax(axis=0)
    first, second, third, fourth = (
        np.take_along_axis(padded, (highest + 3 - place)[None], axis=0)[0] for place in range(4)
    )
    follows = np.cumsum(found, axis=0) - found  # nonzero limbs below each one
    below = np.maximum(highest - 3, 0)[None]
    odd = np.where(highest > 3, np.take_along_axis(follows, below, axis=0)[0] > 0, False)
    upper = (first << BITS | second).astype(np.float64) * 2.0 ** (2 * BITS)
    upper += (third << BITS | fourth | odd).astype(np.float64)
    np.ldexp(np.where(negative, -upper, upper), BITS * (highest - 3), out=out)


def _limbs(diagonals: Integers) -> Integers:
    """N in limbs of 24 bits, the lowest first; the last one holds the sign and is -1 or 0."""
    limbs, carry = [], None
    for stop in range(len(diagonals), 0, -LIMB):
        low, carry = _limb(diagonals[max(stop - LIMB, 0) : stop], carry)
        limbs.append(low)
    assert carry is not None
    while ((carry != 0) & (carry != -1)).any():
        limbs.append(carry & MASK)
        carry = carry >> BITS
    return np.array([*limbs, carry])


def _limb(diagonals: Integers, carry: Integers | None) -> tuple[Integers, Integers]:
    """The low 24 bits of three diagonals and a carry, and what goes on to the next limb."""
    total = _horner(diagonals, carry)
    low = total & MASK
    total >>= BITS
    return low, total


def _horner(diagonals: Integers, carry: Integers | None) -> Integers:
    """Sum of diagonals, the last with weight 1 and each before it with 256 times more, plus a carry."""
    total: Integers = diagonals[0].astype(np.int64)
    for diagonal in diagonals[1:]:
        total <<= 8
        total += diagonal
    if carry is not None:
        total += carry
    return total
