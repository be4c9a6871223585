"""Scaling by powers of two: exponents of rows and columns, what has to be declined, and the way back.

All scalings are exact except where the result is below the smallest normal number. Nothing here rounds to
a lower type or cuts into digits.

Both operands are seen the same way, as a `Side`: (batch, rows, k), the right operand transposed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numtrn.precision import fixed
from numtrn.precision.fixed import Exponents, exponents
from numtrn.precision.records import Declined, NotFinite
from numtrn.request import Array

__all__ = [
    "Exponents",
    "Side",
    "declined_range",
    "exponents",
    "largest",
    "rescale",
    "scale_inner",
    "sides",
]


SAFE = 400
"""Exponents up to this size can be applied one after the other without over- or underflow on the way."""

INNER_RANGE = 500
"""The inner dimension is scaled, exactly, only where nonzero magnitudes lie in 2^-500 .. 2^500."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One operand with its scaling: parts[.][i, r, k] 2^(inner[i, k] - exponents[i, r]), up to 0.99 in size.

    Attributes
    ----------
    parts
        Real float64 views (batch, rows, k): one, or real and imaginary part.
    exponents
        (batch, rows), shared by the parts.
    inner
        (batch, k), or None for zeros.
    source
        The operand (batch, rows, k), real or complex, where rows of it alone give all of that; else None.
    """

    parts: tuple[Array, ...]
    exponents: Exponents
    inner: Exponents | None = None
    source: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batch, rows, k)."""
        batch, rows, k = self.parts[0].shape
        return batch, rows, k


def sides(a: Array, b: Array) -> tuple[Side, Side]:
    """Both operands with the exponents of A's rows and B's columns; float32 and complex64 are widened.

    Raises
    ------
    NotFinite
        Where operands hold NaN or Inf.
    Declined
        Where the product may overflow.
    """
    k, wide = a.shape[2], np.result_type(a.dtype, np.float64)
    left, right = (x.astype(wide, copy=False) for x in (a, b.transpose(0, 2, 1)))
    lefts, rights = _parts(left), _parts(right)
    rows, columns = largest(lefts), largest(rights)
    e, f = exponents(rows), exponents(columns)
    declined_range(rows, columns, len(lefts) * k, a.dtype)
    return Side(parts=lefts, exponents=e, source=left), Side(parts=rights, exponents=f, source=right)


def _parts(x: Array) -> tuple[Array, ...]:
    return (x.real, x.imag) if x.dtype.kind == "c" else (x,)


def largest(parts: tuple[Array, ...], axis: int = 2) -> Array:
    """Largest magnitude along an axis, over all parts; NaN where there is one."""
    sizes = [_largest(part, axis) for part in parts]
    size: Array = sizes[0] if len(sizes) == 1 else np.maximum(*sizes)
    return size


def _largest(x: Array, axis: int) -> Array:
    if x.dtype != np.float64:
        sizes: Array = np.maximum(x.max(axis=axis), -x.min(axis=axis))
        return sizes
    stacked: Array = np.stack([fixed.largest(matrix, axis - 1) for matrix in x])
    return stacked


def declined_range(rows: Array, columns: Array, terms: int, dtype: np.dtype[Any]) -> None:
    """Tell NaN and Inf, and decline sums of ``terms`` products that may leave the range of ``dtype``.

    Parameters
    ----------
    rows, columns
        Largest magnitudes, (batch, m) and (batch, n).

    Raises
    ------
    NotFinite, Declined
        As said.
    """
    bad_rows, bad_columns = ~np.isfinite(rows), ~np.isfinite(columns)
    if bad_rows.any() or bad_columns.any():
        raise NotFinite(bad_rows, bad_columns)
    e, f = (np.frexp(size.max(axis=1))[1].astype(np.int64) for size in (rows, columns))
    nonzero = (rows.max(axis=1) > 0) & (columns.max(axis=1) > 0)
    limit = int(np.finfo(dtype).maxexp)
    sums = ceil(log2(terms))
    worst = int(np.argmax(np.where(nonzero, e + f, np.iinfo(np.int64).min)))
    if nonzero[worst] and e[worst] + f[worst] + sums >= limit:
        raise Declined(
            f"the product may overflow: magnitudes up to 2^{e[worst]} in A and 2^{f[worst]} in B, sums of "
            f"{terms} products, against 2^{limit} for {dtype.name}; NumPy gives the Inf and the warning"
        )


def scale_inner(lhs: Side, rhs: Side) -> tuple[Side, Side] | None:
    """Move powers of two between A's columns and B's rows, so that both are about equally large.

    Neither the product nor |A||B| changes: A_k 2^g B_k 2^-g. None where that would not be exact, or
    where nothing would move.
    """
    if not (_moderate(lhs) and _moderate(rhs)):
        return None
    left, right = largest(lhs.parts, axis=1), largest(rhs.parts, axis=1)
    both = (left > 0) & (right > 0)
    moved = (np.frexp(right)[1].astype(np.int64) - np.frexp(left)[1]) / 2
    inner = np.where(both, np.trunc(moved), 0).astype(np.int64)  # as much back where A and B change places
    if not inner.any():
        return None
    return _with_inner(lhs, inner), _with_inner(rhs, -inner)


def _moderate(side: Side) -> bool:
    low, high = np.ldexp(1.0, -INNER_RANGE), np.ldexp(1.0, INNER_RANGE)
    for part in side.parts:
        for matrix in part:
            size = np.abs(matrix)
            if (size > high).any() or ((size < low) & (size > 0)).any():
                return False
    return True


def _with_inner(side: Side, inner: Exponents) -> Side:
    factors = np.ldexp(1.0, inner)
    size = np.empty(side.shape[:2])
    for i in range(side.shape[0]):
        size[i] = largest(tuple(part[i : i + 1] * factors[i] for part in side.parts))[0]
    return replace(side, exponents=exponents(size), inner=inner, source=None)


def rescale(value: NDArray[np.float64], rows: Exponents, columns: Exponents) -> None:
    """value[i, j] *= 2^(rows[i] + columns[j]), in place; 0 or 2^-100 <= |value| <= 2^200 expected.

    One rounding where the result is subnormal, none elsewhere.
    """
    if max(np.abs(rows).max(), np.abs(columns).max()) <= SAFE:
        value *= np.ldexp(1.0, rows)[:, np.newaxis]
        value *= np.ldexp(1.0, columns)
    else:
        np.ldexp(value, (rows[:, np.newaxis] + columns).astype(np.int32), out=value)
