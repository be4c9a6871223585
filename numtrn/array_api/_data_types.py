"""The standard's data types: NumPy's, as arrays carry them. Functions on them are in the next file."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

__all__ = [
    "bool",
    "complex64",
    "complex128",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

bool = np.dtype("bool")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
uint8 = np.dtype("uint8")
uint16 = np.dtype("uint16")
uint32 = np.dtype("uint32")
uint64 = np.dtype("uint64")
float32 = np.dtype("float32")
float64 = np.dtype("float64")
complex64 = np.dtype("complex64")
complex128 = np.dtype("complex128")

DTYPES: dict[str, np.dtype[Any]] = {name: globals()[name] for name in __all__}
"""The types by name."""

DEFAULTS: dict[type, np.dtype[Any]] = {
    builtins.bool: bool,
    int: int64,
    float: float64,
    complex: complex128,
}
"""The type that an array of Python scalars gets."""

KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}
"""NumPy's letters for the kinds of types that the standard's functions on types know."""


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """One of the types, from anything that NumPy takes for it.

    Raises
    ------
    TypeError
        For every other type.
    """
    try:
        found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        found = np.dtype(object)
    if dtype is None or found not in DTYPES.values():
        raise TypeError(f"numtrn.array_api has the data types {', '.join(DTYPES)}; got {dtype!r}")
    return found
