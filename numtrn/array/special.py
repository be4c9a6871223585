"""Elementwise functions on host arrays that the Array API standard wants otherwise than NumPy.

They differ at infinities, NaN and overflow; elsewhere they are NumPy's, with its warnings. The operators of
`numtrn.Array` and `numtrn.array_api` share them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.request import Array

__all__ = ["acosh", "expm1", "floor_divide", "power", "remainder", "sign", "tan", "tanh"]


def floor_divide(x1: Array, x2: Array) -> Array:
    """Quotient rounded towards minus infinity; ``floor(x1 / x2)`` where an operand is infinite.

    NumPy answers NaN for an infinity divided by a finite number, and -1 for a number divided by an
    infinity of the other sign.

    Parameters
    ----------
    x1, x2 : ndarray
        Broadcast against each other, promoted by their dtypes alone. Other than real ones are left to NumPy.
    """
    x1, x2 = _promoted(x1, x2)
    if x1.dtype.kind != "f" or x2.dtype.kind != "f":
        return np.asarray(np.floor_divide(x1, x2))
    infinite = np.isinf(x1) | np.isinf(x2)
    if not infinite.any():
        return np.asarray(np.floor_divide(x1, x2))
    result: Array = np.empty(infinite.shape, x1.dtype)
    np.floor_divide(x1, x2, out=result, where=~infinite)
    np.divide(x1, x2, out=result, where=infinite)
    return np.floor(result, out=result, where=infinite)


def remainder(x1: Array, x2: Array) -> Array:
    """Remainder with the divisor's sign, as Python's ``%``: NumPy's, promoted by dtypes alone."""
    return np.asarray(np.remainder(*_promoted(x1, x2)))


def power(x1: Array, x2: Array) -> Array:
    """Power; of -0 and minus infinity also to 0.5, where NumPy may take the square root, +0 and infinity."""
    x1, x2 = _promoted(x1, x2)
    if x1.dtype.kind == "f":
        x1 = np.where((x2 == 0.5) & ((x1 == 0) | np.isinf(x1)), np.abs(x1), x1)
    return np.asarray(np.power(x1, x2))


def acosh(x: Array) -> Array:
    """Inverse hyperbolic cosine; of ``0 + NaN j`` ``NaN + πj/2``, also where NumPy does not say so."""
    result = np.asarray(np.arccosh(x))
    if x.dtype.kind == "c":
        result.imag[(x.real == 0) & np.isnan(x.imag)] = np.pi / 2
    return result


def expm1(x: Array) -> Array:
    """``exp(x) - 1``; of complex numbers at 0, infinities, NaN and overflow as ``exp`` has it."""
    result = np.asarray(np.expm1(x))
    if x.dtype.kind == "c":
        special = ~(np.isfinite(x) & np.isfinite(result)) | (x == 0)
        result[special] = np.exp(x[special]) - 1
    return result


def tanh(x: Array) -> Array:
    """Hyperbolic tangent; of complex numbers with infinite real part ±1 ± 0j, with the signs of the parts."""
    result = np.asarray(np.tanh(x))
    if x.dtype.kind == "c":
        infinite, real_zero = np.isinf(x.real), (x.real == 0) & ~np.isfinite(x.imag)
        result.real[infinite] = np.copysign(1, x.real[infinite])
        result.imag[infinite] = np.copysign(0, x.imag[infinite])
        result.real[real_zero] = x.real[real_zero]
        result.imag[real_zero] = np.nan
    return result


def tan(x: Array) -> Array:
    """Tangent; of complex numbers as ``-1j * tanh(1j * x)``."""
    if x.dtype.kind != "c":
        return np.asarray(np.tan(x))
    turned = tanh(_parts(-x.imag, x.real))
    return _parts(turned.imag, -turned.real)


def sign(x: Array) -> Array:
    """Sign of each element; of complex numbers ``x / abs(x)``, as from NumPy 2 on, and 0 for 0."""
    if x.dtype.kind != "c" or np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        return np.asarray(np.sign(x))
    size: Any = np.abs(x)
    return np.asarray(np.where(size == 0, x.dtype.type(0), x / np.where(size == 0, 1, size)), x.dtype)


def _promoted(x1: Array, x2: Array) -> tuple[Array, Array]:
    """Real operands in their common type, which NumPy before version 2 chooses by values too."""
    if {x1.dtype.kind, x2.dtype.kind} <= set("biuf"):
        dtype = np.result_type(x1.dtype, x2.dtype)
        return np.asarray(x1, dtype), np.asarray(x2, dtype)
    return x1, x2


def _parts(real: Array, imag: Array) -> Array:
    """Complex numbers of these parts, whose signs of zeros an addition would lose."""
    result: Array = np.empty(real.shape, np.result_type(real.dtype, np.complex64))
    result.real, result.imag = real, imag
    return result
