"""Set functions of the standard. What compares equal is one element: zeros of both signs are, NaNs never."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import as_index
from numtrn.array_api._helpers import given, host, together
from numtrn.request import Array as HostArray

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


@together
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
    found = _isin(elements, among)
    return given(~found if invert else found, *arrays)


def unique_all(x: Array, /) -> UniqueAll:
    """The distinct elements, sorted, their first places, the places among them of all, and their numbers."""
    found = _unique(host("unique_all", x), inverse=True, counts=True)
    return UniqueAll(*(given(part, x) for part in found))


def unique_counts(x: Array, /) -> UniqueCounts:
    """The distinct elements, sorted, and how often each occurs."""
    values, _, counts = _unique(host("unique_counts", x), counts=True)
    return UniqueCounts(given(values, x), given(counts, x))


def unique_inverse(x: Array, /) -> UniqueInverse:
    """The distinct elements, sorted, and the place among them of each element of the array."""
    values, _, inverse = _unique(host("unique_inverse", x), inverse=True)
    return UniqueInverse(given(values, x), given(inverse, x))


def unique_values(x: Array, /) -> Array:
    """The distinct elements, sorted."""
    return given(_unique(host("unique_values", x))[0], x)


def _unique(x: HostArray, *, inverse: bool = False, counts: bool = False) -> tuple[HostArray, ...]:
    """NumPy's unique with first places always, for which it sorts so that equal elements keep their order."""
    unique: Any = np.unique  # its overloads want literals
    parts = unique(x, return_index=True, return_inverse=inverse, return_counts=counts, equal_nan=False)
    values, *places = (np.asarray(part) for part in parts)
    if inverse:  # of another shape in NumPy 1.26
        places[1] = places[1].reshape(x.shape)
    return values, *(as_index(part) for part in places)


def _isin(elements: HostArray, among: HostArray) -> HostArray:
    """Which elements are among others, by value."""
    common = np.result_type(elements.dtype, among.dtype)
    if common.kind == "f" and {elements.dtype.kind, among.dtype.kind} == {"i", "u"}:
        unsigned = np.isin(elements.astype(np.uint64), among[among >= 0].astype(np.uint64))
        return np.asarray(unsigned & (elements >= 0))
    return np.isin(elements.astype(common, copy=False), among.astype(common, copy=False))


def _values(x: Array | int, other: Array) -> HostArray:
    """Values of an array, or a Python scalar in the other's dtype if that can hold it."""
    if isinstance(x, Array):
        return host("isin", x)
    if isinstance(x, int) and other.dtype.kind in "iu":
        info = np.iinfo(other.dtype)
        return np.asarray(x, dtype=other.dtype if info.min <= x <= info.max else None)
    return np.asarray(x)
