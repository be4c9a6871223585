"""Sorting functions of the standard.

NaN counts as larger than every number: it comes last in ascending order, as in NumPy, and first in descending
order, so that the first of `argsort` is what `argmax` finds. What compares equal keeps its order in both.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import as_index, ordered
from numtrn.array_api._helpers import given

__all__ = ["argsort", "sort"]


def argsort(x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Places along an axis in the order in which their elements are sorted."""
    values = ordered("argsort", x)
    if not descending:
        return given(as_index(np.argsort(values, axis=axis, kind=_kind(stable))), x)
    backwards = np.argsort(np.flip(values, axis), axis=axis, kind=_kind(stable))
    last = values.shape[axis] - 1
    return given(as_index(last - np.flip(backwards, axis)), x)


def sort(x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """The elements sorted along an axis."""
    values = ordered("sort", x)
    if not descending:
        return given(np.sort(values, axis=axis, kind=_kind(stable)), x)
    backwards = np.sort(np.flip(values, axis), axis=axis, kind=_kind(stable))
    return given(np.flip(backwards, axis).copy(), x)


def _kind(stable: bool) -> Literal["stable"] | None:
    return "stable" if stable else None
