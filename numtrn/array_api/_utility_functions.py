"""Utility functions of the standard: all, any, and differences."""

from __future__ import annotations

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import Axes, quiet
from numtrn.array_api._helpers import given, host, together

__all__ = ["all", "any", "diff"]


def all(x: Array, /, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """Whether no element is zero, along some axes or all."""
    return given(np.all(host("all", x), axis=axis, keepdims=keepdims), x)


def any(x: Array, /, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """Whether an element is not zero, along some axes or all."""
    return given(np.any(host("any", x), axis=axis, keepdims=keepdims), x)


@together
@quiet
def diff(
    x: Array,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Array | None = None,
    append: Array | None = None,
) -> Array:
    """The n-th differences of neighbours along an axis, with what is put before and after."""
    parts = [part for part in (prepend, x, append) if part is not None]
    values = [host("diff", part, "numeric") for part in parts]
    joined = np.concatenate(values, axis=axis, dtype=np.result_type(*(part.dtype for part in values)))
    return given(np.diff(joined, n=n, axis=axis), *parts)
