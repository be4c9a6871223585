"""Linear algebra functions of the standard: products, which are planned while a block is open.

They are NumPy's functions on the arrays themselves. What is more than that is in `numtrn.array_api.linalg`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import quiet
from numtrn.array_api._helpers import check
from numtrn.array_api._manipulation_functions import moveaxis

__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]


@quiet
def matmul(x1: Array, x2: Array, /) -> Array:
    """The product of matrices, of stacks of them, and of vectors."""
    first, second = _factors("matmul", x1, x2)
    return cast(Array, np.matmul(first, second))


def matrix_transpose(x: Array, /) -> Array:
    """The last two axes exchanged."""
    if check("matrix_transpose", x).ndim < 2:
        raise ValueError(f"matrix_transpose takes arrays of at least two axes; got shape {x.shape}")
    return cast(Array, np.swapaxes(x, -1, -2))


@quiet
def tensordot(x1: Array, x2: Array, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Array:
    """Products summed over the last axes of one and the first of the other, or over pairs of axes.

    Raises
    ------
    ValueError
        Where a number of axes is negative, or extents of a pair differ.
    """
    if isinstance(axes, int) and axes < 0:
        raise ValueError(f"tensordot contracts a number of axes that is not negative; got {axes}")
    first, second = _factors("tensordot", x1, x2)
    return cast(Array, np.tensordot(first, second, axes=axes))


@quiet
def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """The inner products of vectors along an axis of both; the first is conjugated.

    NumPy's einsum makes them, which is planned also where they are those of all pairs of vectors.

    Raises
    ------
    ValueError
        Where the extents of that axis differ.
    """
    first, second = _factors("vecdot", x1, x2)
    first, second = (moveaxis(x, axis, -1) for x in (first, second))
    if first.shape[-1] != second.shape[-1]:
        text = f"vecdot contracts axes of one extent; got {first.shape[-1]} and {second.shape[-1]}"
        raise ValueError(text)
    if first.dtype.kind == "c":
        first = cast(Array, np.conjugate(first))
    return cast(Array, np.einsum("...i,...i->...", first, second))


def _factors(function: str, *arrays: Array) -> list[Array]:
    return [check(function, x, "numeric") for x in arrays]
