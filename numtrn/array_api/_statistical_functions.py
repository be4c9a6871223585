"""Statistical functions of the standard: reductions, and sums and products on the way.

Wider than the standard asks: bool counts as 0 and 1, and integers have a mean, a variance and a deviation, in
float64. A sum or a mean of a recorded array is computed without it where it can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import Axes, DType, accumulator, count, ordered, quiet
from numtrn.array_api._helpers import check, given, host
from numtrn.request import Array as HostArray

__all__ = ["cumulative_prod", "cumulative_sum", "max", "mean", "min", "prod", "std", "sum", "var"]


@quiet
def cumulative_prod(
    x: Array, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Array:
    """Products of the elements up to each along an axis, with 1 in front if asked for."""
    return _cumulative("cumulative_prod", np.cumprod, x, axis, dtype, 1 if include_initial else None)


@quiet
def cumulative_sum(
    x: Array, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Array:
    """Sums of the elements up to each along an axis, with 0 in front if asked for."""
    return _cumulative("cumulative_sum", np.cumsum, x, axis, dtype, 0 if include_initial else None)


@quiet
def max(x: Array, /, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """The largest elements; NaN where there is one.

    Raises
    ------
    ValueError
        Where there are no elements, as in NumPy.
    """
    return given(np.max(ordered("max", x), axis=axis, keepdims=keepdims), x)


@quiet
def mean(x: Array, /, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """The means; NaN where there are no elements. Parts of complex numbers have means of their own."""
    floating = None if check("mean", x).dtype.kind in "fc" else np.dtype(np.float64)
    total = host("mean", sum(x, axis=axis, dtype=floating, keepdims=keepdims))
    elements = count(x.shape, axis)
    if total.dtype.kind != "c":
        return given(np.asarray(total / elements, dtype=total.dtype), x)
    means = np.empty_like(total)
    means.real, means.imag = total.real / elements, total.imag / elements
    return given(means, x)


@quiet
def min(x: Array, /, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """The smallest elements; NaN where there is one.

    Raises
    ------
    ValueError
        Where there are no elements, as in NumPy.
    """
    return given(np.min(ordered("min", x), axis=axis, keepdims=keepdims), x)


@quiet
def prod(x: Array, /, *, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    """The products, of integers in 64 bits."""
    values = host("prod", x)
    return given(np.prod(values, axis=axis, dtype=accumulator(values.dtype, dtype), keepdims=keepdims), x)


@quiet
def std(x: Array, /, *, axis: Axes = None, correction: int | float = 0.0, keepdims: bool = False) -> Array:
    """The standard deviations, with a divisor less by the correction; NaN where that is not positive."""
    return given(np.sqrt(_variance("std", x, axis, correction, keepdims)), x)


@quiet
def sum(x: Array, /, *, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    """The sums, of integers in 64 bits."""
    chosen = accumulator(check("sum", x).dtype, dtype)
    other = {} if chosen == x.dtype and chosen.kind in "fc" else {"dtype": chosen}
    total: Any = np.sum
    return cast(Array, total(x, axis=axis, keepdims=keepdims, **other))


@quiet
def var(x: Array, /, *, axis: Axes = None, correction: int | float = 0.0, keepdims: bool = False) -> Array:
    """The variances, with a divisor less by the correction; NaN where that is not positive."""
    return given(_variance("var", x, axis, correction, keepdims), x)


def _variance(function: str, x: Array, axis: Axes, correction: float, keepdims: bool) -> HostArray:
    values = ordered(function, x)
    elements = count(values.shape, axis)
    if elements and elements > correction:
        return np.asarray(np.var(values, axis=axis, ddof=correction, keepdims=keepdims))
    none = np.sum(values, axis=axis, keepdims=keepdims)
    return np.full(np.shape(none), np.nan, dtype=values.dtype if values.dtype.kind == "f" else np.float64)


def _cumulative(
    function: str,
    ufunc: Callable[..., HostArray],
    x: Array,
    axis: int | None,
    dtype: DType | None,
    initial: int | None,
) -> Array:
    values = host(function, x)
    if axis is None and values.ndim != 1:
        raise ValueError(f"{function} of an array of {values.ndim} axes needs axis=")
    place = 0 if axis is None else axis
    chosen = accumulator(values.dtype, dtype)
    totals = ufunc(values, axis=place, dtype=chosen)
    if initial is None:
        return given(totals, x)
    shape = list(totals.shape)
    shape[place] = 1
    return given(np.concatenate((np.full(shape, initial, dtype=chosen), totals), axis=place), x)
