"""L1: the inner loops of ``numpy.matmul``, through which ``@`` and everything else that multiplies goes.

The loops are replaced with `PyUFunc_ReplaceLoopBySignature`, public C API of NumPy. Casting, byte order and
overlap are resolved by NumPy before a loop runs; batches arrive whole, and broadcasts that cannot be merged
as several calls. Types without a kernel are noted and computed by NumPy. The loops of products with vectors
are another module's (`numtrn.intercept.vectors`).
"""

from __future__ import annotations

import struct
from functools import partial

import numpy as np

from numtrn.forms import KERNELS, unserved
from numtrn.intercept import blas, vectors
from numtrn.intercept.gate import Caught, hook, set_handler
from numtrn.intercept.private import ufunc_api
from numtrn.intercept.views import view
from numtrn.request import Array, Gemm, Operands, Structure, k_is_fast

__all__ = ["install", "probe", "uninstall"]

FUNCTION = "numpy.matmul"
OBSERVED = "egGbBhHiIlLqQ"
"""Type characters of the loops that are only noted; object and bool are not."""

WORDS = struct.Struct("16q")
"""Addresses of A, B, C; batch, m, k, n; strides: of the batch in A, B, C, then rows and columns of each."""


def install() -> None:
    """Put the thunks in place.

    Raises
    ------
    RuntimeError
        Where NumPy has no such loop.
    """
    for letter in KERNELS + OBSERVED:
        recognise = partial(_gemm if letter in KERNELS else _observed, np.dtype(letter).name)
        set_handler(f"matmul_{letter}", recognise)
        _replace(letter, restore=False)
    vectors.install()


def uninstall() -> None:
    """Put NumPy's loops back."""
    for letter in KERNELS + OBSERVED:
        _replace(letter, restore=True)
    vectors.uninstall()


def probe() -> list[tuple[Array, Array]]:
    """Products that must be caught, beside the right results."""
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    expected = np.array([[20, 23, 26, 29], [56, 68, 80, 92]])
    products = [(np.matmul(a.astype(letter), b.astype(letter)), expected) for letter in KERNELS]
    return products + vectors.probe()


def _replace(letter: str, *, restore: bool) -> None:
    hook.replace_loop(ufunc_api, np.matmul, np.dtype(letter).num, f"matmul_{letter}", restore)


def _gemm(dtype: str, _: float, words: bytes) -> Caught:
    a, b, c, batch, m, k, n, *steps = WORDS.unpack(words)
    batch_a, batch_b, batch_c, *steps = steps
    a_rows, a_columns, b_rows, b_columns, c_rows, c_columns = steps
    inputs = (
        view(a, (batch, m, k), (batch_a, a_rows, a_columns), dtype),
        view(b, (batch, k, n), (batch_b, b_rows, b_columns), dtype),
    )
    target = view(c, (batch, m, n), (batch_c, c_rows, c_columns), dtype, writeable=True)
    if batch == 1:
        batch_a = batch_b = 0
    first, second = (a, m, batch_a, a_rows, a_columns), (b, n, batch_b, b_columns, b_rows)
    structure: Structure = "syrk" if first == second else "general"  # one matrix and its transpose
    request = Gemm(
        function=FUNCTION,
        dtype=dtype,
        batch=batch,
        m=m,
        k=k,
        n=n,
        structure=structure,
        k_is_fast=k_is_fast(*inputs),
        shared=structure == "general" and batch > 1 and batch_b == 0 and (m == 1 or batch_a == m * a_rows),
    )
    return Caught(request, Operands(inputs=inputs), partial(np.copyto, target))


def _observed(dtype: str, work: float, words: bytes) -> Caught:
    batch, m, k, n = WORDS.unpack(words)[3:7]
    shapes = Gemm(function=FUNCTION, dtype=dtype, batch=batch, m=m, k=k, n=n).shapes
    return blas.observed(FUNCTION, dtype, shapes, work, unserved(np.dtype(dtype)))
