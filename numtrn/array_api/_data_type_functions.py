"""Data type functions: conversion, limits, kinds, and the promotion of types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from numtrn.array import Array, promotion
from numtrn.array_api._data_types import KINDS, as_dtype
from numtrn.array_api._helpers import check, host, made, placed

__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]


@dataclass(frozen=True, slots=True)
class FloatLimits:
    """What `finfo` gives: Python numbers of the real type."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class IntegerLimits:
    """What `iinfo` gives: Python numbers."""

    bits: int
    max: int
    min: int
    dtype: np.dtype[Any]


@placed
def astype(x: Array, dtype: Any, /, *, copy: bool = True, device: str | None = None) -> Array:
    """The array in another type; ``copy=False`` gives ``x`` itself where nothing changes.

    Raises
    ------
    TypeError
        From complex to real: take `real`, `imag` or `abs` first.
    """
    kind, target = check("astype", x).dtype.kind, as_dtype(dtype)
    if kind == "c" and target.kind not in "bc":
        raise TypeError(f"astype takes no complex array to {target}; take real(x), imag(x) or abs(x) first")
    place = x.device if device is None else device
    if x.dtype == target:
        moved = x if place == x.device else x.to_device(place)
        return moved.copy() if copy and moved is x else moved
    with np.errstate(all="ignore"):
        return made(host("astype", x).astype(target), place)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion can make the one type into the other."""
    source, target = _type_of(from_), as_dtype(to)
    return bool(np.promote_types(source, target) == target)


def finfo(type: Any, /) -> FloatLimits:
    """Limits of a floating-point type, or of the parts of a complex one; an array stands for its type.

    Raises
    ------
    TypeError
        For other types.
    """
    dtype = _type_of(type)
    if dtype.kind not in "fc":
        raise TypeError(f"finfo takes floating-point types; got {dtype}. iinfo takes integers")
    found = np.finfo(dtype)
    return FloatLimits(
        bits=int(found.bits),
        eps=float(found.eps),
        max=float(found.max),
        min=float(found.min),
        smallest_normal=float(found.smallest_normal),
        dtype=np.dtype(found.dtype),
    )


def iinfo(type: Any, /) -> IntegerLimits:
    """Limits of an integer type; an array stands for its type.

    Raises
    ------
    TypeError
        For other types.
    """
    dtype = _type_of(type)
    if dtype.kind not in "iu":
        raise TypeError(f"iinfo takes integer types; got {dtype}. finfo takes floating-point ones")
    found = np.iinfo(dtype)
    return IntegerLimits(bits=int(found.bits), max=int(found.max), min=int(found.min), dtype=dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a type is another one, or of a kind; a tuple of kinds and types stands for any of them.

    Types beyond the standard's, such as float16, belong to kinds too.

    Raises
    ------
    TypeError, ValueError
        For what is no type, and for an unknown kind.
    """
    found = dtype if isinstance(dtype, np.dtype) else as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if not isinstance(kind, str):
        return bool(found == as_dtype(kind))
    if kind not in KINDS:
        raise ValueError(f"isdtype takes the kinds {', '.join(map(repr, KINDS))}; got {kind!r}")
    return found.kind in KINDS[kind]


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The type to which arrays, types and Python scalars promote; scalars count by their kind alone.

    Types of different kinds, where the standard leaves it open, promote as in NumPy 2: int64 and float32 to
    float64.

    Raises
    ------
    TypeError
        Where there is neither an array nor a type.
    """
    operands = [x if promotion.is_weak(x) else _type_of(x) for x in arrays_and_dtypes]
    if all(map(promotion.is_weak, operands)):
        raise TypeError("result_type takes one array or data type at least; Python scalars alone have none")
    return promotion.result_type(*operands)


def _type_of(x: Any) -> np.dtype[Any]:
    return x.dtype if isinstance(x, Array) else as_dtype(x)
