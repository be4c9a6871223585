"""How float32, float64, complex64 and complex128 become what the matrix engine multiplies, and come back.

Host arithmetic in NumPy only: which products are made is decided here, making them is left to an `Engine`.
Kernels, targets and plans are unknown here.
"""

from __future__ import annotations

import numpy as np

from numtrn.precision.engine import Block, Engine, Magnitudes, Words
from numtrn.precision.finite import gemm_apart
from numtrn.precision.records import Declined, NotFinite, Product
from numtrn.precision.schemes import Scheme, choose
from numtrn.precision.single import gemm_single
from numtrn.precision.sliced import gemm_sliced
from numtrn.request import MIRRORED, Array, Structure

__all__ = ["Block", "Declined", "Engine", "Magnitudes", "Product", "Scheme", "Words", "choose", "gemm"]


def gemm(
    scheme: Scheme,
    a: Array,
    b: Array,
    engine: Engine,
    structure: Structure = "general",
    normwise: bool = False,
) -> Product:
    """C[i] = A[i] B[i] under a scheme.

    Parameters
    ----------
    scheme
        From `choose`, for the dtype of the operands.
    a
        (batch, m, k) of the scheme's dtype and any strides; only read.
    b
        (batch, k, n), likewise.
    engine
        Makes the products.
    structure
        What is known of A and B, so that about half of the work may do (`numtrn.request.Structure`); for
        sliced schemes, others ignore it.
    normwise
        Whether a bound in units of the norms of A's rows and B's columns will do, in place of |A||B|: sliced
        schemes then take as many digits for all data, and decline for no range of theirs.

    Returns
    -------
    Product
        C (batch, m, n), fresh and C-contiguous, with the promised bound. Zeros where an extent is 0.

    Raises
    ------
    Declined
        When the data make NumPy the better place: many rows hold NaN or Inf, the result may overflow, or
        their range asks for more digits than the engine does faster than NumPy.
    ValueError
        When dtypes or shapes are not those of the scheme and of a product.
    """
    _check(scheme, a, b)
    batch, m, k = a.shape
    n = b.shape[2]
    if 0 in (batch, m, k, n):
        zeros = np.zeros((batch, m, n), a.dtype)
        return Product(value=zeros, slices=None, bound=scheme.bound(k), note="nothing to multiply")
    try:
        return _gemm(scheme, a, b, engine, structure, normwise)
    except NotFinite as found:
        if structure == "trmm":
            raise Declined("operands hold NaN or Inf, which must not meet the zeros of a triangle") from None
        rest = structure if structure in MIRRORED else "general"
        return gemm_apart(
            lambda x, y: _gemm(scheme, x, y, engine, rest, normwise), a, b, found.rows, found.columns
        )


def _gemm(
    scheme: Scheme, a: Array, b: Array, engine: Engine, structure: Structure, normwise: bool
) -> Product:
    with np.errstate(all="ignore"):  # the caller's settings are for NumPy's own arithmetic
        if scheme.maximum_slices is None:
            return gemm_single(scheme, a, b, engine, structure)
        return gemm_sliced(scheme, a, b, engine, structure, normwise)


def _check(scheme: Scheme, a: Array, b: Array) -> None:
    if a.dtype != np.dtype(scheme.dtype) or b.dtype != a.dtype:
        raise ValueError(f"scheme {scheme.name!r} multiplies {scheme.dtype}; got {a.dtype} and {b.dtype}")
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise ValueError(f"A must be (batch, m, k) and B (batch, k, n); got {a.shape} and {b.shape}")
