"""float64 products from exact products of 8-bit digits, at least as accurate as the classical bound of dgemm.

The method is the error-free splitting of K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, Numer. Algorithms 59, 95
(2012), with integer digits (arXiv 2306.11975). Scaling, digits, their number and the last rounding have a
module each; `guard` holds the derivation of the bound.
"""

from __future__ import annotations

from numtrn.precision.digits import Planes
from numtrn.precision.engine import Engine
from numtrn.precision.guard import choose_slices
from numtrn.precision.recombine import MOST_TERMS, recombine
from numtrn.precision.records import Declined, Product
from numtrn.precision.scaling import sides
from numtrn.precision.schemes import Scheme
from numtrn.request import Array

__all__ = ["check_terms", "gemm_float64"]


def gemm_float64(scheme: Scheme, a: Array, b: Array, engine: Engine) -> Product:
    """C = A B for float64 operands; |C - AB| <= (min(K, 256) + 1) 2^-53 |A||B| componentwise, plus 2^-1074.

    Raises
    ------
    Declined
        See `numtrn.precision.gemm`.
    """
    k = a.shape[2]
    check_terms(k)
    lhs, rhs, slices, note = choose_slices(scheme, *sides(a, b), engine)
    diagonals = engine.diagonals(Planes(side=lhs, slices=slices), Planes(side=rhs, slices=slices))
    value = recombine(diagonals, lhs.exponents, rhs.exponents)
    return Product(value=value, slices=slices, bound=scheme.bound(k), note=note)


def check_terms(k: int) -> None:
    """Decline sums that are too long for the carries."""
    if k > MOST_TERMS:
        raise Declined(f"sums of K = {k:,} products; carries in int64 allow {MOST_TERMS:,}")
