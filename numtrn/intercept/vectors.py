"""The inner loops of ``numpy.matvec``, ``vecmat`` and ``vecdot``, a part of L1 where NumPy has them.

NumPy computes each product with a vector by GEMV or DOT. One matrix with many vectors is a GEMM; all else is
bound by reading its operands, and only noted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

import numpy as np

from numtrn.forms import KERNELS, by_vector
from numtrn.intercept import blas
from numtrn.intercept.gate import Caught, hook, set_handler
from numtrn.intercept.private import ufunc_api
from numtrn.intercept.views import conjugated, view
from numtrn.request import Array, Gemm, Operands

__all__ = ["install", "probe", "uninstall"]

MATVEC_WORDS = VECMAT_WORDS = struct.Struct("13q")
"""Addresses of the three arrays; batch and the signature's two; batch strides; strides of each in order."""
VECDOT_WORDS = struct.Struct("2q")
"""Batch and n."""


def install() -> None:
    """Put the thunks in place, for as many of the three as this NumPy has."""
    for letter in KERNELS:
        dtype = np.dtype(letter).name
        set_handler(f"matvec_{letter}", partial(_matvec, dtype))
        set_handler(f"vecmat_{letter}", partial(_vecmat, dtype))
        set_handler(f"vecdot_{letter}", partial(_vecdot, dtype))
    _replace(restore=False)


def uninstall() -> None:
    """Put NumPy's loops back."""
    _replace(restore=True)


def probe() -> list[tuple[Array, Array]]:
    """Products that must be caught, beside the right results."""
    matrix, columns = np.arange(6).reshape(2, 3), np.arange(12).reshape(4, 3)
    expected = np.array([[5, 14], [14, 50], [23, 86], [32, 122]])
    results = []
    for name, ufunc in _present():
        if name == "vecdot":
            continue  # never computed by us, which the self-test asks for
        for letter in KERNELS:
            a, v = matrix.astype(letter), columns.astype(letter)
            results.append((ufunc(a, v) if name == "matvec" else ufunc(v, a.T), expected))
    return results


def _present() -> Iterator[tuple[str, np.ufunc]]:
    for name in ("matvec", "vecmat", "vecdot"):
        ufunc = getattr(np, name, None)
        if isinstance(ufunc, np.ufunc):
            yield name, ufunc


def _replace(*, restore: bool) -> None:
    for name, ufunc in _present():
        for letter in KERNELS:
            hook.replace_loop(ufunc_api, ufunc, np.dtype(letter).num, f"{name}_{letter}", restore)


def _matvec(dtype: str, work: float, words: bytes) -> Caught:
    """(m,n),(n)->(m)."""
    a, v, c, batch, m, n, batch_a, batch_v, batch_c, a_m, a_n, v_n, c_m = MATVEC_WORDS.unpack(words)
    if batch == 1 or batch_a:
        return blas.observed("numpy.matvec", dtype, ((batch, m, n), (batch, n)), work, by_vector("matvec"))
    vectors = view(v, (1, batch, n), (0, batch_v, v_n), dtype)
    matrix = view(a, (1, n, m), (0, a_n, a_m), dtype)
    target = view(c, (1, batch, m), (0, batch_c, c_m), dtype, writeable=True)
    return _gemm("numpy.matvec", dtype, vectors, matrix, target)


def _vecmat(dtype: str, work: float, words: bytes) -> Caught:
    """(n),(n,m)->(m), the vector conjugated."""
    v, a, c, batch, n, m, batch_v, batch_a, batch_c, v_n, a_n, a_m, c_m = VECMAT_WORDS.unpack(words)
    if batch == 1 or batch_a:
        return blas.observed("numpy.vecmat", dtype, ((batch, n), (batch, n, m)), work, by_vector("vecmat"))
    vectors = conjugated(view(v, (1, batch, n), (0, batch_v, v_n), dtype), True)
    matrix = view(a, (1, n, m), (0, a_n, a_m), dtype)
    target = view(c, (1, batch, m), (0, batch_c, c_m), dtype, writeable=True)
    return _gemm("numpy.vecmat", dtype, vectors, matrix, target)


def _vecdot(dtype: str, work: float, words: bytes) -> Caught:
    """(n),(n)->()."""
    shape = VECDOT_WORDS.unpack(words)
    return blas.observed("numpy.vecdot", dtype, (shape, shape), work, by_vector("vecdot"))


def _gemm(function: str, dtype: str, vectors: Array, matrix: Array, target: Array) -> Caught:
    (_, m, k), n = vectors.shape, matrix.shape[2]
    request = Gemm(function=function, dtype=dtype, m=m, k=k, n=n)
    return Caught(request, Operands(inputs=(vectors, matrix)), partial(np.copyto, target))
