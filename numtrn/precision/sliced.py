"""float64 and complex128 products from exact products of 8-bit digits, rounded once.

The method is the error-free splitting of K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, Numer. Algorithms 59, 95
(2012), with integer digits (arXiv 2306.11975). Scaling, the number of digits, and cutting and rounding have a
module each; `guard` holds the derivation of the bound.

Complex products take three real ones instead of four (3M), the third of digit-wise sums of real and imaginary
part. Differences are taken between exact integers of equal weight, so that they are exactly the sums of the
four products: the cancellation that N. J. Higham, SIAM J. Matrix Anal. Appl. 13, 681 (1992) warns of cannot
happen. Real and imaginary part of a row share one exponent for that; parts of very different size therefore
cost digits.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np

from numtrn.precision import fixed
from numtrn.precision.engine import Block, Engine
from numtrn.precision.guard import choose_slices
from numtrn.precision.records import Declined, Product
from numtrn.precision.scaling import Side, sides
from numtrn.precision.schemes import Scheme
from numtrn.precision.words import SideWords
from numtrn.request import MIRRORED, Array, Structure

__all__ = ["MOST_TERMS", "gemm_sliced"]

MOST_TERMS = 1 << 26
"""Products in a sum, at most: sums over several launches then stay well inside int64."""

WEIGHT = 14
"""The product of two first digits has the weight 2^-14."""

REAL = (((1, 0),),)
COMPLEX = (((1, 0), (-1, 1)), ((1, 2), (-1, 0), (-1, 1)))
"""Parts of the result as (coefficient, product): Ar Br - Ai Bi, and (Ar + Ai)(Br + Bi) - Ar Br - Ai Bi."""


def gemm_sliced(
    scheme: Scheme,
    a: Array,
    b: Array,
    engine: Engine,
    structure: Structure = "general",
    normwise: bool = False,
) -> Product:
    """C = A B within the scheme's bound componentwise, plus half the least subnormal number.

    With ``normwise`` the bound is for the norms of a row of A and of a column of B in place of their |A||B|:
    the number of digits then does not depend on the data, and there is no guard.

    Where the result is its own mirror image by structure, half the blocks are computed, and the others are
    the mirror images of those. Of Hermitian results all above the diagonal is a mirror image, and the
    diagonal is made real: digits of -x are not those of x with other signs, so that products of digits that
    are left out, within the bound, would not be mirror images.

    Raises
    ------
    Declined
        See `numtrn.precision.gemm`.
    """
    batch, m, k = a.shape
    if k > MOST_TERMS:
        raise Declined(f"sums of K = {k:,} products; carries in int64 allow {MOST_TERMS:,}")
    fixed_slices = scheme.normwise_slices(k) if normwise else None
    if fixed_slices is None:
        lhs, rhs, slices, note = choose_slices(scheme, *sides(a, b), engine, structure)
    else:
        lhs, rhs = sides(a, b)
        slices, note = fixed_slices, ""
    value = np.empty((batch, m, b.shape[2]), np.complex128 if scheme.complex else np.float64)
    words = SideWords(side=lhs, slices=slices), SideWords(side=rhs, slices=slices)
    hermitian = structure in ("herk", "her2k")
    with closing(engine.words(*words, structure)) as blocks:
        for block in blocks:
            _round(block, lhs, rhs, value)
            if structure in MIRRORED:
                _mirror(value[block.batch], block, hermitian)
            del block  # whose sums are as large as the result; the next ones are on their way
    bound = scheme.normwise_bound(k) if normwise else scheme.bound(k)
    return Product(value=value.astype(a.dtype, copy=False), slices=slices, bound=bound, note=note)


def _mirror(value: Array, block: Block, hermitian: bool) -> None:
    """Fill in what a block of one matrix says of the upper triangle, and make a Hermitian diagonal real."""
    below, above = value[block.rows, block.columns], value[block.columns, block.rows]
    if block.rows != block.columns:
        above[...] = below.T
    elif hermitian:
        np.copyto(above, below.T.copy(), where=_upper(len(above)))
    if hermitian and value.dtype.kind == "c":
        imaginary = above.imag
        where = True if block.rows != block.columns else _upper(len(above))
        np.subtract(0.0, imaginary, out=imaginary, where=where)  # zero stays positive
        if block.rows == block.columns:
            np.fill_diagonal(imaginary, 0.0)


def _upper(extent: int) -> Array:
    """What lies above a diagonal."""
    return ~np.tri(extent, dtype=bool)


def _round(block: Block, lhs: Side, rhs: Side, value: Array) -> None:
    """Round the sums of a block to their place in the result."""
    out = value[block.batch, block.rows, block.columns]
    of_rows = lhs.exponents[block.batch, block.rows] - WEIGHT
    of_columns = rhs.exponents[block.batch, block.columns]
    parts = (out.real, out.imag) if value.dtype.kind == "c" else (out,)
    for part, terms in zip(parts, COMPLEX if len(parts) == 2 else REAL, strict=True):
        fixed.round_words([(factor, block.sums[i]) for factor, i in terms], of_rows, of_columns, part)
