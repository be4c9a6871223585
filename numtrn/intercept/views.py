"""Arrays over memory that a caught call names by address. Nothing here knows what a call means.

Such an array owns nothing: it must not outlive the call.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from numtrn.request import Array, Triangle

__all__ = [
    "DTYPES",
    "conjugated",
    "copy_triangle",
    "integer_at",
    "letter_at",
    "matrix",
    "scalar_at",
    "view",
]

DTYPES = {"s": "float32", "d": "float64", "c": "complex64", "z": "complex128"}
"""BLAS prefixes."""


class _Memory:
    """What `numpy.asarray` needs to see memory as an array (the array interface, version 3)."""

    __slots__ = ("__array_interface__",)

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def view(
    address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str, *, writeable: bool = False
) -> Array:
    """An array of the given strides, in bytes, whose first element is at an address."""
    return np.asarray(
        _Memory(
            {
                "version": 3,
                "data": (address, not writeable),
                "shape": shape,
                "strides": strides,
                "typestr": np.dtype(dtype).str,
            }
        )
    )


def matrix(
    address: int, rows: int, columns: int, leading: int, dtype: str, *, by_rows: bool, writeable: bool = False
) -> Array:
    """A BLAS matrix: stored by rows (C) or by columns (Fortran), with its leading dimension in elements."""
    item = np.dtype(dtype).itemsize
    strides = (leading * item, item) if by_rows else (item, leading * item)
    return view(address, (rows, columns), strides, dtype, writeable=writeable)


def scalar_at(address: int, dtype: str) -> complex:
    """Value of the scalar at an address."""
    return complex(view(address, (), (), dtype)[()])


def integer_at(address: int) -> int:
    """Value of the 32-bit integer at an address."""
    return ctypes.c_int32.from_address(address).value


def letter_at(address: int) -> str:
    """The character at an address, upper case."""
    return chr(ctypes.c_ubyte.from_address(address).value).upper()


def conjugated(array: Array, wanted: bool) -> Array:
    """The array, or its complex conjugate (a copy, where it is complex)."""
    if not wanted or array.dtype.kind != "c":
        return array
    copy: Array = array.conj()
    copy.flags.writeable = False
    return copy


def copy_triangle(target: Array, source: Array, triangle: Triangle) -> None:
    """Copy one triangle of a square matrix, with its diagonal, and touch nothing else."""
    rows, columns = np.ogrid[: target.shape[0], : target.shape[1]]
    np.copyto(target, source, where=rows >= columns if triangle == "lower" else rows <= columns)
