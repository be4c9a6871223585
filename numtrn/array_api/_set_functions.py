"""Set functions of the standard. What compares equal is one element: zeros of both signs are, NaNs never."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import as_index
from numtrn.array_api._helpers import given, host

__all__ = ["isin", "unique_all", "unique_counts", "unique_inverse", "unique_values"]


class UniqueAll(NamedTuple):
    """Result of `unique_all`."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """Result of `unique_counts`."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """Result of `unique_inverse`."""

    values: Array
    inverse_indices: Array


def isin(x1: Array | int, x2: Array | int, /, *, invert: bool = False) -> Array:
    """Whether each element of ``x1`` is, or with ``invert`` is not, in ``x2``; one of them is an array.

    Raises
    ------
    TypeError
        Where both are Python scalars.
    """
    arrays = [x for x in (x1, x2) if isinstance(x, Array)]
    if not arrays:
        raise TypeError("isin takes an array as x1 or x2; got two Python scalars. Make one of them an array")
    elements, among = (_values(x, arrays[0]) for x in (x1, x2))
    return given(np.isin(elements, among, invert=invert), *arrays)


def unique_all(x: Array, /) -> UniqueAll:
    """The distinct elements, sorted, their first places, the places among them of all, and their numbers."""
    return UniqueAll(*_unique("unique_all", x, index=True, inverse=True, counts=True))


def unique_counts(x: Array, /) -> UniqueCounts:
    """The distinct elements, sorted, and how often each occurs."""
    return UniqueCounts(*_unique("unique_counts", x, counts=True))


def unique_inverse(x: Array, /) -> UniqueInverse:
    """The distinct elements, sorted, and the place among them of each element of the array."""
    return UniqueInverse(*_unique("unique_inverse", x, inverse=True))


def unique_values(x: Array, /) -> Array:
    """The distinct elements, sorted."""
    return _unique("unique_values", x, counts=True)[0]


def _unique(
    function: str, x: Array, index: bool = False, inverse: bool = False, counts: bool = False
) -> tuple[Array, ...]:
    values = host(function, x)
    unique: Any = np.unique  # its overloads want literals
    found, *others = unique(
        values, return_index=index, return_inverse=inverse, return_counts=counts, equal_nan=False
    )
    if inverse:  # of another shape in NumPy 1.26
        others[index] = others[index].reshape(values.shape)
    return given(found, x), *(given(as_index(other), x) for other in others)


def _values(x: Array | int, other: Array) -> Any:
    """Values of an array, or a Python scalar in the other's dtype if that can hold it."""
    if isinstance(x, Array):
        return host("isin", x)
    if isinstance(x, int) and other.dtype.kind in "iu":
        info = np.iinfo(other.dtype)
        return np.asarray(x, dtype=other.dtype if info.min <= x <= info.max else None)
    return np.asarray(x)
