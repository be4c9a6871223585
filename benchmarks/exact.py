"""Exact arithmetic on arrays of binary floating-point numbers, to judge computed products by.

A `Dyadic` holds Python integers and one exponent, so that sums and products are those of mathematics,
whatever the range of the operands. It knows nothing of the code it judges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Dyadic", "U", "in_units", "parts"]

U = 2.0**-53


@dataclass(frozen=True, eq=False)
class Dyadic:
    """The array ``digits * 2**exponent``, with Python integers for digits."""

    digits: Any
    exponent: int

    @classmethod
    def of(cls, x: Any) -> Dyadic:
        """Finite float64 or narrower numbers, exactly."""
        x = np.asarray(x, np.float64)
        fraction, exponents = np.frexp(x)
        least = int(exponents.min(where=x != 0, initial=2000))
        if least == 2000:
            return cls(np.zeros(x.shape, object), 0)
        whole = np.ldexp(fraction, 53).astype(np.int64).astype(object)
        shift = np.where(x != 0, exponents - least, 0).astype(object)
        return cls(np.asarray(whole << shift, object), least - 53)

    def __matmul__(self, other: Dyadic) -> Dyadic:
        return Dyadic(np.asarray(self.digits.dot(other.digits), object), self.exponent + other.exponent)

    def __mul__(self, other: Dyadic) -> Dyadic:
        return Dyadic(np.asarray(self.digits * other.digits, object), self.exponent + other.exponent)

    def __add__(self, other: Dyadic) -> Dyadic:
        (mine, theirs), exponent = _aligned(self, other)
        return Dyadic(np.asarray(mine + theirs, object), exponent)

    def __neg__(self) -> Dyadic:
        return Dyadic(np.asarray(-self.digits, object), self.exponent)

    def __sub__(self, other: Dyadic) -> Dyadic:
        return self + (-other)

    def __abs__(self) -> Dyadic:
        return Dyadic(np.asarray(abs(self.digits), object), self.exponent)

    def __gt__(self, other: Dyadic) -> np.ndarray:
        (mine, theirs), _ = _aligned(self, other)
        return np.asarray(mine > theirs, bool)

    def __truediv__(self, other: Dyadic) -> np.ndarray:
        """Quotients rounded to float64: 0 for 0/0, inf for anything else over zero."""
        (mine, theirs), _ = _aligned(self, other)
        pairs = zip(np.ravel(mine), np.ravel(theirs), strict=True)
        return np.array([_quotient(a, b) for a, b in pairs]).reshape(np.shape(mine))


def _aligned(first: Dyadic, second: Dyadic) -> tuple[tuple[Any, Any], int]:
    exponent = min(first.exponent, second.exponent)
    shifted = [x.digits * 2 ** (x.exponent - exponent) for x in (first, second)]
    return (shifted[0], shifted[1]), exponent


def _quotient(a: int, b: int) -> float:
    if b == 0:
        return 0.0 if a == 0 else float("inf")
    try:
        return a / b
    except OverflowError:
        return float("inf")


def parts(c: Any, a: Any, b: Any) -> list[tuple[Any, Any, Any]]:
    """The real products that a product consists of: (part of c, left, right).

    Of a complex product the real part is [Ar, -Ai] [Br; Bi], the imaginary part [Ar, Ai] [Bi; Br].
    """
    if c.dtype.kind != "c":
        return [(c, a, b)]
    real = np.hstack([a.real, -a.imag]), np.vstack([b.real, b.imag])
    imaginary = np.hstack([a.real, a.imag]), np.vstack([b.imag, b.real])
    return [(c.real, *real), (c.imag, *imaginary)]


def in_units(values: list[Any], a: Any, b: Any, unit: float = U) -> list[float]:
    """Largest componentwise |c - ab| / (unit |a||b|) of each of several computed real products."""
    left, right = Dyadic.of(a), Dyadic.of(b)
    product, size = left @ right, abs(left) @ abs(right) * Dyadic.of(unit)
    return [float((abs(Dyadic.of(c) - product) / size).max(initial=0.0)) for c in values]
