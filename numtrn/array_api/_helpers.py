"""What the chapters share: arguments in, results out. No function of the standard."""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.array import Array
from numtrn.request import Array as HostArray

__all__ = ["given", "host"]

KINDS = {
    "any": "biufc",
    "bool": "b",
    "integer": "iu",
    "integer or bool": "biu",
    "real numeric": "iuf",
    "real floating": "f",
    "complex floating": "c",
    "floating": "fc",
    "numeric": "iufc",
}
"""NumPy's kinds of dtypes by the standard's words for them."""


def host(function: str, x: Any, kinds: str = "any") -> HostArray:
    """The values of an argument, which are not to be written.

    Raises
    ------
    TypeError
        Where it is no numtrn array, or of another kind than the function takes.
    """
    if not isinstance(x, Array):
        raise TypeError(
            f"{function} takes numtrn arrays; got {type(x).__name__}. Make one by numtrn.array_api.asarray"
        )
    if x.dtype.kind not in KINDS[kinds]:
        raise TypeError(f"{function} takes {kinds} arrays; got {x.dtype}. Convert it by astype")
    return x._values(f"array_api.{function}")


def given(value: Any, *like: Array) -> Array:
    """A fresh result as an array, where the arguments ``like`` are."""
    return Array(np.asarray(value))
