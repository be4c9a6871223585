r"""How many digits the data need for the promised bound: the criterion, and the guard that tests it.

Derivation. Let a and b stand for a row of A and a column of B after scaling, |a_k|, |b_k| < 1, P for
the sum of |a_k||b_k|, u = 2^-53, and s for the number of digits.

1. Fixed point: a_k = x_k + x'_k with |x_k| <= 1 and |x'_k| <= 2^(-8s), likewise b_k = y_k + y'_k. So
   sum a b - sum x y = sum (x y' + x' b) is at most 2 K 2^(-8s).
2. x_k y_k = sum of q_p q'_r 2^(-14 - 8 (p + r)) with |q q'| <= 2^14. Diagonals t = p + r >= s are dropped;
   diagonal t has 2 s - 1 - t pairs, so that they are at most
   K sum over t >= s of (2 s - 1 - t) 2^(-8t) <= K (s - 1) (256/255) 2^(-8s).
3. The kept diagonals are summed exactly; S is their sum. With c(s) = 2 + (s - 1) 256/255 the error so far
   is |S - sum a b| <= E = K c(s) 2^(-8s).
4. C is S rounded once: |C - sum a b| <= E + u |S| <= E (1 + u) + u P.

So |C - sum a b| <= (L + 1) u P whenever K c(s) 2^(-8s) (1 + u) <= L u P. L = K would do for the classical
bound of dgemm; L = min(K, 256) is chosen, because errors of NumPy's own do not grow so long. A complex
component is a sum over 2 K products: 2 K in place of K above, for the same promise. Outputs with P = 0 are
exact zeros, because digits of zeros are zeros. So are terms with a zero in a or b, which add nothing to E:
where a has K' elements that are not zero, K' takes the place of K in E, but not in L. Rather than asking less
of such a row, the guard counts K / K' times its P, rounded down to a power of two; otherwise the first row of
a triangle would ask for digits that nothing else needs. Likewise for columns, where no row has enough zeros.

The guard replaces P by a lower bound G: magnitudes truncated to bf16, and to zero below 2^-100, multiplied
with fp32 accumulation. Their products are exact in fp32, or flushed to zero, or below 2^-126 wrong by at
most 2^-149. Each of at most terms + 8 additions, in any order, rounding or truncating, errs by at most 2^-23
of its result, so that G = computed exp(-(terms + 8) 2^-22) - terms 2^-149 is no larger than P (1 + u)^-1.
Guaranteed accuracy by a guard from the data is the idea of arXiv 2511.13778, which estimates exponent spans
instead.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from numtrn.precision.engine import Engine
from numtrn.precision.records import Declined
from numtrn.precision.scaling import Exponents, Side, scale_inner
from numtrn.precision.schemes import FLOAT64_UNIT, SPARE, Scheme, required
from numtrn.precision.words import SideMagnitudes
from numtrn.request import Structure

__all__ = ["choose_slices", "lower_bound"]

PLAIN = 2.0**-50
"""Products of two magnitudes of this size at least are normal numbers, and zero in the guard is zero."""

STRIP = 256
"""Rows that are looked at together."""

HOST_WORK = 1 << 20
"""Multiply-adds up to which the guard product is made by NumPy: no launch pays for itself there."""

SMALLEST = 2.0**-100
"""Scaled magnitudes below this count as zero: products with them are too small for any number of digits."""


def choose_slices(
    scheme: Scheme, lhs: Side, rhs: Side, engine: Engine, structure: Structure = "general"
) -> tuple[Side, Side, int, str]:
    """The operands, with the inner dimension scaled where that saves digits, the digits, and a note.

    Zeros are counted when more than the least digits seem to be needed, or at once where ``structure``
    promises many of them; that changes no choice.

    Raises
    ------
    Declined
        When more digits would be needed than the scheme has.
    """
    k = lhs.shape[2]
    least, most = scheme.minimum_slices(k), scheme.maximum_slices
    assert least is not None
    assert most is not None
    terms, promised = len(lhs.parts) * k, scheme.bound(k) - 1
    if scheme.unit != FLOAT64_UNIT:
        promised -= SPARE
    needs = {s: required(s, terms, promised, scheme.unit) for s in range(least, most + 1)}
    bound, slices = 0.0, None
    if structure != "trmm":
        bound = lower_bound(lhs, rhs, engine)
        slices = _fewest(bound, needs)
    if slices != least:
        gains = _gains(lhs), _gains(rhs)
        if gains[0].any():
            gains = gains[0], np.zeros_like(gains[1])
        if structure == "trmm" or gains[1].any() or gains[0].any():
            bound = lower_bound(_gained(lhs, gains[0]), _gained(rhs, gains[1]), engine)
            slices = _fewest(bound, needs)
    if slices == least:
        return lhs, rhs, slices, ""
    moved = scale_inner(lhs, rhs)
    if moved is not None:
        inner_bound = lower_bound(_gained(moved[0], gains[0]), _gained(moved[1], gains[1]), engine)
        fewer = _fewest(inner_bound, needs)
        if fewer is not None and (slices is None or fewer < slices):
            return *moved, fewer, f"{fewer} slices, inner dimension scaled"
        bound = max(bound, inner_bound)
    if slices is None:
        raise Declined(
            f"the operands' range asks for more than {most} slices, beyond which NumPy is faster: the "
            f"least element of |A||B| is {_size(bound)} of its row's and column's scale, "
            f"{needs[most]:.2g} is needed"
        )
    return lhs, rhs, slices, f"{slices} slices for the operands' range"


def _gains(side: Side) -> Exponents:
    """(batch, rows): powers of two by which the terms of a sum are more than a row has nonzero elements."""
    counts = np.sum([np.count_nonzero(part, axis=2) for part in side.parts], axis=0)
    ratios = len(side.parts) * side.shape[2] // np.maximum(counts, 1)
    return np.where(counts > 0, np.frexp(ratios)[1].astype(np.int64) - 1, 0)


def _gained(side: Side, gains: Exponents) -> Side:
    """As the guard is to see an operand: rows times 2^gain."""
    return replace(side, exponents=side.exponents - gains, source=None) if gains.any() else side


def _fewest(bound: float, needs: dict[int, float]) -> int | None:
    return next((slices for slices, need in needs.items() if bound >= need), None)


def _size(bound: float) -> str:
    return f"about {bound:.2g}" if bound > 0 else f"below {SMALLEST:.2g}"


def lower_bound(lhs: Side, rhs: Side, engine: Engine) -> float:
    """No more than the least nonzero element of the scaled |A||B|; inf when all are zero.

    Of complex operands: of |Ar||Br| + |Ai||Bi| and of |Ar||Bi| + |Ai||Br|.
    """
    a, b = SideMagnitudes(side=lhs), SideMagnitudes(side=rhs, crosswise=True)
    smallest = 0.0
    if a.batch * a.rows * a.k * b.rows >= HOST_WORK:
        smallest, nonzero = engine.least(a, b)
        if smallest == 0.0 and _seen(lhs) and _seen(rhs):
            smallest = nonzero
    if smallest == 0.0:
        smallest = _least_nonzero(lhs, rhs, _whole(a), _whole(b).transpose(0, 2, 1), engine)
    bound: float = smallest * exp(-(a.k + 8) * 2.0**-22) - a.k * 2.0**-149
    return max(0.0, bound)


def _seen(side: Side) -> bool:
    """Whether products of any two elements that are not zero are normal numbers in the guard."""
    for part in side.parts:
        for i, matrix in enumerate(part):
            inner = 0 if side.inner is None else side.inner[i]
            for start in range(0, len(matrix), STRIP):
                rows = slice(start, start + STRIP)
                size = np.abs(np.ldexp(matrix[rows], inner - side.exponents[i, rows, np.newaxis]))
                if ((size < PLAIN) & (matrix[rows] != 0)).any():
                    return False
    return True


def _least_nonzero(
    lhs: Side, rhs: Side, a: NDArray[np.float32], b: NDArray[np.float32], engine: Engine
) -> float:
    """Least element of the product that is not exactly zero for zeros in the operands."""
    sums = _multiply(a, b, engine)
    smallest = float(sums.min())
    if smallest > 0.0:
        return smallest
    # Either nothing but zeros meets, and the element is exact, or the bound is zero.
    if _meets_unseen(lhs, rhs, sums, engine):
        return 0.0
    return float(np.min(sums, where=sums > 0, initial=np.inf))


def _whole(magnitudes: SideMagnitudes) -> NDArray[np.float32]:
    """All magnitudes (batch, rows, k) at once: of small operands, and where zeros have to be looked at."""
    whole = np.empty((magnitudes.batch, magnitudes.rows, magnitudes.k), np.uint32)
    for i in range(magnitudes.batch):
        whole[i] = magnitudes.block(i, slice(0, magnitudes.rows), slice(0, magnitudes.k))
    whole <<= 16
    return whole.view(np.float32)


def _meets_unseen(lhs: Side, rhs: Side, sums: NDArray[np.float32], engine: Engine) -> bool:
    """Whether nonzero elements meet in some output where the guard product is zero."""
    a, b = _pattern(lhs), _pattern(rhs)
    # Outputs of rows or columns that are zero throughout need no product to be told.
    live: NDArray[np.bool_] = (sums == 0) & a.any(axis=2, keepdims=True)
    half = b.shape[2] // 2
    crosswise = b if len(rhs.parts) == 1 else np.concatenate((b, np.roll(b, half, axis=2)), axis=1)
    live &= np.any(crosswise, axis=2, keepdims=True).swapaxes(1, 2)
    if not live.any():
        return False
    meets = _multiply(a.astype(np.float32), crosswise.transpose(0, 2, 1).astype(np.float32), engine)
    return bool((meets[live] > 0).any())


def _pattern(side: Side) -> NDArray[np.bool_]:
    return np.concatenate([part != 0 for part in side.parts], axis=2)


def _multiply(a: NDArray[np.float32], b: NDArray[np.float32], engine: Engine) -> NDArray[np.float32]:
    batch, m, k = a.shape
    if batch * m * k * b.shape[2] < HOST_WORK:
        product: NDArray[np.float32] = np.matmul(a, b)
        return product
    return engine.product(a, b, "bfloat16")
