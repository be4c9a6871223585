"""Promotion of ufuncs' operands as NumPy 2 has it (NEP 50), on every NumPy.

Python scalars are weak: they take the type of the arrays, of a wider kind where they need one. Axes do not
matter: an array without axes counts as any other. NumPy before version 2 looks at values instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["BY_VALUE", "among", "by_dtype", "is_weak", "result_type", "weak_dtype", "with_dtypes"]

BY_VALUE = np.lib.NumpyVersion(np.__version__) < "2.0.0"
"""Whether this NumPy looks at values."""

COMPARISONS = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)
"""Python integers of any size compare with any array."""


def is_weak(x: Any) -> bool:
    """Whether this is a scalar of Python's, which has no type of its own among arrays."""
    return isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic)


def weak_dtype(scalar: complex, strong: np.dtype[Any]) -> np.dtype[Any]:
    """The type that a scalar of Python's takes beside arrays of type ``strong``."""
    if isinstance(scalar, bool):
        return np.dtype(bool)
    if isinstance(scalar, int):
        return np.dtype(int) if strong.kind == "b" else strong
    if isinstance(scalar, float):
        return np.dtype(float) if strong.kind in "biu" else strong
    if strong.kind == "c":
        return strong
    return np.dtype(complex) if strong.kind in "biu" else np.result_type(strong, np.complex64)


def with_dtypes(inputs: Sequence[Any], comparing: bool = False) -> list[Any]:
    """Operands with arrays for scalars of Python's, of the types they take.

    Parameters
    ----------
    inputs : sequence of ndarray, scalar or array_like
    comparing : bool, default False
        Whether an integer that does not fit may stay as it is.

    Raises
    ------
    OverflowError
        For an integer outside of its type.
    """
    strong = [np.asarray(x) for x in inputs if not is_weak(x)]
    if not strong or any(x.dtype.kind not in "biufc" for x in strong):
        return list(inputs)
    dtype = np.result_type(*(x.dtype for x in strong))
    return [_typed(x, weak_dtype(x, dtype), comparing) if is_weak(x) else x for x in inputs]


def _typed(scalar: Any, dtype: np.dtype[Any], comparing: bool) -> Any:
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= scalar <= np.iinfo(dtype).max:
        if comparing:
            return scalar
        raise OverflowError(f"Python integer {scalar} out of bounds for {dtype}")
    return np.asarray(scalar, dtype=dtype)


def by_dtype(ufunc: np.ufunc, inputs: Sequence[Any]) -> list[Any]:
    """Operands that a NumPy that looks at values promotes by their types; of NumPy 2 as they are.

    An array without axes gets one among arrays that have some: then its values are not looked at.
    """
    if not BY_VALUE or ufunc.signature is not None or len(inputs) < 2:
        return list(inputs)
    return among(inputs, ufunc in COMPARISONS)


def among(inputs: Sequence[Any], comparing: bool = False) -> list[Any]:
    """The same for operands of any function that broadcasts them."""
    inputs = with_dtypes(inputs, comparing)
    arrays = [x if is_weak(x) else np.asarray(x) for x in inputs]
    if not any(np.ndim(x) for x in arrays):
        return arrays
    return [x if is_weak(x) or x.ndim else x.reshape(1) for x in arrays]


def result_type(*operands: Any) -> np.dtype[Any]:
    """`numpy.result_type` of arrays, dtypes and scalars, by types alone."""
    if not BY_VALUE:
        return np.result_type(*operands)
    strong = [
        np.dtype(x if isinstance(x, type) else getattr(x, "dtype", x)) for x in operands if not is_weak(x)
    ]
    if not strong or any(x.kind not in "biufc" for x in strong):
        return np.result_type(*operands)
    dtype = np.result_type(*strong)
    return np.result_type(dtype, *(weak_dtype(x, dtype) for x in operands if is_weak(x)))
