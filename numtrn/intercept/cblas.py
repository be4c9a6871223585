"""L3: the CBLAS functions that NumPy's ``dot``, ``inner`` and ``tensordot`` call, past the matmul ufunc.

NumPy's extension module imports them from its BLAS; the import slots in memory are pointed at the thunks.
NumPy mirrors the triangle of a SYRK itself. A BLAS linked statically into NumPy has no slots and stays out of
reach.
"""

from __future__ import annotations

import struct
from functools import partial

import numpy as np

from numtrn.intercept import blas
from numtrn.intercept.gate import Caught, hook, set_handler
from numtrn.intercept.private import ufunc_api
from numtrn.intercept.views import DTYPES
from numtrn.request import Array

__all__ = ["install", "probe", "uninstall"]

FUNCTION = "numpy.dot"

# Values of the enumerations of cblas.h.
BY_ROWS = 101
TRANS = {111: "N", 112: "T", 113: "C"}
UPPER = 121

SYMBOLS = {"cblas_{}": 32, "scipy_cblas_{}": 32, "cblas_{}64_": 64, "scipy_cblas_{}64_": 64}
"""Names under which NumPy builds import a function, and the bits of its integers."""

GEMM_WORDS = struct.Struct("14q")
"""Order, trans of A and of B, then the rest as in BLAS."""
SYRK_WORDS = struct.Struct("11q")
"""Order, uplo, trans, then the rest as in BLAS."""


def install() -> None:
    """Point the import slots at the thunks.

    Raises
    ------
    RuntimeError
        Where NumPy imports none of the functions, or a slot cannot be written.
    """
    for prefix, dtype in DTYPES.items():
        for bits in (32, 64):
            set_handler(f"cblas_{prefix}gemm_{bits}", partial(_gemm, dtype))
            set_handler(f"cblas_{prefix}syrk_{bits}", partial(_syrk, dtype))
    if not _replace(restore=False):
        raise RuntimeError("NumPy imports no cblas_?gemm: it was built without a BLAS, or with one inside")


def uninstall() -> None:
    """Point the slots back."""
    _replace(restore=True)


def probe() -> list[tuple[Array, Array]]:
    """Products that must be caught, beside the right results."""
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    product, square = np.array([[20, 23, 26, 29], [56, 68, 80, 92]]), np.array([[5, 14], [14, 50]])
    results = []
    for letter in "fdFD":
        left = a.astype(letter)
        results += [(np.dot(left, b.astype(letter)), product), (np.dot(left, left.T), square)]
    return results


def _replace(*, restore: bool) -> int:
    return sum(
        hook.replace_import(
            ufunc_api, symbol.format(prefix + routine), f"cblas_{prefix}{routine}_{bits}", restore
        )
        for prefix in DTYPES
        for routine in ("gemm", "syrk")
        for symbol, bits in SYMBOLS.items()
    )


def _gemm(dtype: str, _: float, words: bytes) -> Caught:
    order, trans_a, trans_b, *rest = GEMM_WORDS.unpack(words)
    stored = blas.Stored(FUNCTION, dtype, order == BY_ROWS)
    return blas.gemm(stored, TRANS[trans_a], TRANS[trans_b], *rest)


def _syrk(dtype: str, _: float, words: bytes) -> Caught:
    order, uplo, trans, *rest = SYRK_WORDS.unpack(words)
    stored = blas.Stored(FUNCTION, dtype, order == BY_ROWS)
    return blas.syrk(stored, "upper" if uplo == UPPER else "lower", TRANS[trans], *rest)
