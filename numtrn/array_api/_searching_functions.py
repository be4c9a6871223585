"""Searching functions of the standard: where elements are, and which of two to take."""

from __future__ import annotations

from typing import Literal

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import Axes, as_index, beside, integers, ordered
from numtrn.array_api._helpers import given, host, together
from numtrn.request import Array as HostArray

__all__ = ["argmax", "argmin", "count_nonzero", "nonzero", "searchsorted", "where"]


def argmax(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Place of the first maximum, or of the first NaN, along an axis or in the flattened array."""
    return given(as_index(np.argmax(ordered("argmax", x), axis=axis, keepdims=keepdims)), x)


def argmin(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Place of the first minimum, or of the first NaN, along an axis or in the flattened array."""
    return given(as_index(np.argmin(ordered("argmin", x), axis=axis, keepdims=keepdims)), x)


def count_nonzero(x: Array, /, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """Number of elements that are not zero, along some axes or all."""
    return given(as_index(np.count_nonzero(host("count_nonzero", x), axis=axis, keepdims=keepdims)), x)


def nonzero(x: Array, /) -> tuple[Array, ...]:
    """Places of the elements that are not zero, in C order: an array for each axis.

    Raises
    ------
    ValueError
        Where the array has no axes.
    """
    values = host("nonzero", x)
    if not values.ndim:
        raise ValueError("nonzero takes arrays of at least one axis; got one without. Use x != 0")
    return tuple(given(as_index(places), x) for places in np.nonzero(values))


@together
def searchsorted(
    x1: Array,
    x2: Array | int | float,
    /,
    *,
    side: Literal["left", "right"] = "left",
    sorter: Array | None = None,
) -> Array:
    """Places in an ascending array before which values could be inserted; NaN comes last, as in `sort`.

    Raises
    ------
    ValueError
        Where ``x1`` has not one axis, or ``side`` is another word.
    """
    values = ordered("searchsorted", x1)
    if values.ndim != 1:
        raise ValueError(f"searchsorted searches an array of one axis; got shape {values.shape}")
    is_array = isinstance(x2, Array)
    sought = ordered("searchsorted", x2) if is_array else beside("searchsorted", x2, values.dtype)
    order = None if sorter is None else integers("searchsorted", "the sorter", sorter)
    common = np.result_type(values.dtype, sought.dtype)
    found = np.searchsorted(values.astype(common), sought.astype(common), side=side, sorter=order)
    return given(as_index(found), *(x for x in (x1, x2, sorter) if isinstance(x, Array)))


@together
def where(
    condition: Array, x1: Array | int | float | complex | bool, x2: Array | int | float | complex | bool, /
) -> Array:
    """Elements of ``x1`` where the condition holds, of ``x2`` elsewhere; at least one of them an array.

    Raises
    ------
    TypeError
        Where the condition is not of bool, or both are Python scalars.
    """
    choice = host("where", condition, "bool")
    if isinstance(x1, Array):
        first = host("where", x1)
        second = _values(x2, first)
    elif isinstance(x2, Array):
        second = host("where", x2)
        first = _values(x1, second)
    else:
        raise TypeError("where takes an array as x1 or x2; got two Python scalars. Make one of them an array")
    if first.dtype != second.dtype:
        common = np.result_type(first.dtype, second.dtype)
        first, second = first.astype(common), second.astype(common)
    chosen = np.where(choice, first, second)
    return given(chosen, condition, *(x for x in (x1, x2) if isinstance(x, Array)))


def _values(x: Array | int | float | complex | bool, other: HostArray) -> HostArray:
    """Values of an array, or of a Python scalar beside one."""
    return host("where", x) if isinstance(x, Array) else beside("where", x, other.dtype)
