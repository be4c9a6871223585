"""How float32, float64, complex64 and complex128 become what the matrix engine multiplies, and come back.

Host arithmetic in NumPy only: which products are made is decided here, making them is left to an `Engine`.
Kernels, targets and plans are unknown here.
"""

from __future__ import annotations

import numpy as np

from numtrn.precision.complex128 import gemm_complex128
from numtrn.precision.engine import Digits, Engine
from numtrn.precision.float64 import gemm_float64
from numtrn.precision.records import Declined, Product
from numtrn.precision.schemes import Scheme, choose
from numtrn.precision.single import gemm_single
from numtrn.request import Array

__all__ = ["Declined", "Digits", "Engine", "Product", "Scheme", "choose", "gemm"]


def gemm(scheme: Scheme, a: Array, b: Array, engine: Engine) -> Product:
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

    Returns
    -------
    Product
        C (batch, m, n), fresh and C-contiguous, with the promised bound. Zeros where an extent is 0.

    Raises
    ------
    Declined
        When the data make NumPy the better place: they hold NaN or Inf, the result may overflow, or
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
    with np.errstate(all="ignore"):
        if scheme.maximum_slices is None:
            return gemm_single(scheme, a, b, engine)
        if a.dtype.kind == "c":
            return gemm_complex128(scheme, a, b, engine)
        return gemm_float64(scheme, a, b, engine)


def _check(scheme: Scheme, a: Array, b: Array) -> None:
    if a.dtype != np.dtype(scheme.dtype) or b.dtype != a.dtype:
        raise ValueError(f"scheme {scheme.name!r} multiplies {scheme.dtype}; got {a.dtype} and {b.dtype}")
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise ValueError(f"A must be (batch, m, k) and B (batch, k, n); got {a.shape} and {b.shape}")
