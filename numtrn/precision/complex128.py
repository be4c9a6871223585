"""complex128 products from three instead of four products of digits (3M), without 3M's loss of accuracy.

The third product is that of digit-wise sums of real and imaginary part. Differences are taken between exact
integers, diagonal by diagonal, so that they are exactly the diagonals of the four products: the cancellation
that N. J. Higham, SIAM J. Matrix Anal. Appl. 13, 681 (1992) warns of cannot happen. Real and imaginary part
of a row share one exponent for that; parts of very different size therefore cost digits (see `guard`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numtrn.precision.digits import StackedPlanes, SummedPlanes
from numtrn.precision.engine import Engine
from numtrn.precision.float64 import check_terms
from numtrn.precision.guard import choose_slices
from numtrn.precision.recombine import recombine
from numtrn.precision.records import Product
from numtrn.precision.scaling import sides
from numtrn.precision.schemes import Scheme
from numtrn.request import Array

__all__ = ["gemm_complex128"]


def gemm_complex128(scheme: Scheme, a: Array, b: Array, engine: Engine) -> Product:
    """C = A B for complex128 operands, the bound of `gemm_float64` for real and imaginary part.

    Real parts and imaginary parts are multiplied in one call, their sums in another: sums of digits leave a
    quarter of the room in an accumulator, which would otherwise hold for all three.

    Raises
    ------
    Declined
        See `numtrn.precision.gemm`.
    """
    batch, _, k = a.shape
    check_terms(k)
    lhs, rhs, slices, note = choose_slices(scheme, *sides(a, b), engine)
    parts = _int64(
        engine.diagonals(StackedPlanes(side=lhs, slices=slices), StackedPlanes(side=rhs, slices=slices))
    )
    real, imaginary = parts[:, :batch], parts[:, batch:]
    cross = _int64(
        engine.diagonals(SummedPlanes(side=lhs, slices=slices), SummedPlanes(side=rhs, slices=slices))
    )
    cross -= real
    cross -= imaginary  # now Ar Bi + Ai Br
    real -= imaginary
    value = np.empty((batch, a.shape[1], b.shape[2]), np.complex128)
    value.real = recombine(real, lhs.exponents, rhs.exponents)
    value.imag = recombine(cross, lhs.exponents, rhs.exponents)
    return Product(value=value, slices=slices, bound=scheme.bound(k), note=note)


def _int64(diagonals: NDArray[Any]) -> NDArray[np.int64]:
    """Diagonals with room for the sum of three."""
    return diagonals.astype(np.int64, copy=False)
