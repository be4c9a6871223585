"""Indexing functions of the standard: elements by arrays of places."""

from __future__ import annotations

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import integers
from numtrn.array_api._helpers import given, host, together

__all__ = ["take", "take_along_axis"]


@together
def take(x: Array, indices: Array, /, *, axis: int | None = None) -> Array:
    """The slices at these places along an axis, which may be left out for one axis alone.

    Raises
    ------
    IndexError
        Where a place is outside the axis, as in NumPy.
    ValueError
        Where ``indices`` has not one axis, or ``axis`` is missing.
    """
    values, places = host("take", x), integers("take", "indices", indices)
    if places.ndim != 1:
        raise ValueError(f"take takes indices of one axis; got shape {places.shape}. Use x[indices]")
    if axis is None and values.ndim != 1:
        raise ValueError(f"take from an array of {values.ndim} axes needs axis=")
    return given(np.take(values, places, axis=axis), x, indices)


@together
def take_along_axis(x: Array, indices: Array, /, *, axis: int = -1) -> Array:
    """Elements at places along an axis, for each place of the other axes; these broadcast.

    Raises
    ------
    IndexError
        Where a place is outside the axis, as in NumPy.
    ValueError
        Where the numbers of axes differ.
    """
    values, places = host("take_along_axis", x), integers("take_along_axis", "indices", indices)
    if places.ndim != values.ndim:
        raise ValueError(f"take_along_axis takes indices of {values.ndim} axes, as x has; got {places.ndim}")
    return given(np.take_along_axis(values, places, axis), x, indices)
