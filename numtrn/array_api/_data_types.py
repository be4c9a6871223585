"""The standard's data types. Functions on them are in the next file.

They are NumPy's own scalar types, as in NumPy's namespace: equal to the ``dtype`` of arrays. A
`numpy.dtype` of float64 would be equal to None too.
"""

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

bool = np.bool_
int8 = np.int8
int16 = np.int16
int32 = np.int32
int64 = np.int64
uint8 = np.uint8
uint16 = np.uint16
uint32 = np.uint32
uint64 = np.uint64
float32 = np.float32
float64 = np.float64
complex64 = np.complex64
complex128 = np.complex128

DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in __all__}
"""The types by name, as arrays have them."""

DEFAULTS: dict[type, np.dtype[Any]] = {
    builtins.bool: DTYPES["bool"],
    int: DTYPES["int64"],
    float: DTYPES["float64"],
    complex: DTYPES["complex128"],
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
