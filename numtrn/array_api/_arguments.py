"""What functions that move, count, add and multiply elements share. No function of the standard.

Kinds of arguments, the dtypes of sums and of Python scalars beside arrays, and quiet: the standard
knows no floating-point warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import prod
from typing import Any, ParamSpec, TypeVar

import numpy as np

from numtrn.array import Array
from numtrn.array_api._data_type_functions import result_type
from numtrn.array_api._data_types import DTYPES, as_dtype
from numtrn.array_api._helpers import check, host
from numtrn.request import Array as HostArray

__all__ = ["Axes", "DType", "accumulator", "as_index", "beside", "count", "integers", "ordered", "quiet"]

Axes = int | tuple[int, ...] | None
DType = np.dtype[Any]
P = ParamSpec("P")
R = TypeVar("R")

LARGEST = {"b": DTYPES["int64"], "i": DTYPES["int64"], "u": DTYPES["uint64"]}


def quiet(function: Callable[P, R]) -> Callable[P, R]:
    """The function without NumPy's floating-point warnings."""

    @wraps(function)
    def silent(*args: P.args, **kwargs: P.kwargs) -> R:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return silent


def ordered(function: str, x: Any) -> HostArray:
    """Values that have an order, bool among them.

    Raises
    ------
    TypeError
        Where they are complex, whose order the standard leaves open.
    """
    if check(function, x).dtype.kind == "c":
        raise TypeError(
            f"{function} takes arrays whose elements have an order; got {x.dtype}. Take abs or real"
        )
    return host(function, x)


def integers(function: str, what: str, x: Any) -> HostArray:
    """Values that count or place elements, as NumPy's own index dtype.

    Raises
    ------
    TypeError
        Where they are no integers.
    """
    if not isinstance(x, Array) or x.dtype.kind not in "iu":
        got = x.dtype if isinstance(x, Array) else type(x).__name__
        raise TypeError(f"{function} takes {what} as an integer array; got {got}. Convert it by astype")
    return as_index(host(function, x))


def as_index(x: Any) -> HostArray:
    """Indices and counts in the default index dtype."""
    return np.asarray(x).astype(np.intp, copy=False)


def accumulator(dtype: DType, wanted: Any = None) -> DType:
    """The dtype of a sum or product: that asked for, or one that holds many small integers.

    Raises
    ------
    TypeError
        Where imaginary parts would be lost.

    Examples
    --------
    >>> accumulator(np.dtype("uint8"))
    dtype('uint64')
    """
    chosen = LARGEST.get(dtype.kind, dtype) if wanted is None else as_dtype(wanted)
    if dtype.kind == "c" and chosen.kind != "c":
        raise TypeError(f"complex numbers cannot be accumulated as {chosen}. Take real or abs first")
    return chosen


def beside(function: str, scalar: Any, dtype: DType) -> HostArray:
    """A Python scalar as an array of no axes, of the dtype that it has beside an array of ``dtype``.

    Raises
    ------
    TypeError
        Where it is no Python scalar.
    OverflowError
        Where an integer is outside the range of an integer dtype.
    """
    if not isinstance(scalar, (bool, int, float, complex)):
        raise TypeError(f"{function} takes numtrn arrays and Python scalars; got {type(scalar).__name__}")
    chosen = result_type(dtype, scalar)
    if isinstance(scalar, int) and chosen.kind in "iu":
        least, most = np.iinfo(chosen).min, np.iinfo(chosen).max
        if not least <= scalar <= most:
            raise OverflowError(f"{function}: {scalar} is outside {chosen}. Use an array of another type")
    return np.asarray(scalar, dtype=chosen)


def count(shape: Sequence[int], axis: Axes) -> int:
    """Elements that a reduction over these axes takes together.

    Raises
    ------
    numpy.exceptions.AxisError
        Where there is no such axis.
    """
    places = range(len(shape)) if axis is None else np.atleast_1d(axis).tolist()
    for place in places:
        if not -len(shape) <= place < len(shape):
            raise np.exceptions.AxisError(place, len(shape))
    return prod(shape[place] for place in places)
