"""What the chapters share: arguments in, results out. No function of the standard."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from numtrn.array import Array
from numtrn.array.devices import agree, checked
from numtrn.array_api._data_types import DTYPES
from numtrn.request import Array as HostArray

__all__ = ["KINDS", "check", "common_device", "given", "host", "made", "placed", "together"]

P = ParamSpec("P")
R = TypeVar("R")

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

STANDARD = frozenset(DTYPES.values())


def check(function: str, x: Any, kinds: str = "any") -> Array:
    """An argument that is a numtrn array of the kinds which a function takes; computes nothing.

    Raises
    ------
    TypeError
        Where it is no numtrn array, or of another kind.
    """
    if not isinstance(x, Array):
        raise TypeError(
            f"{function} takes numtrn arrays; got {type(x).__name__}. Make one by numtrn.array_api.asarray"
        )
    dtype = x.dtype
    if dtype.kind not in KINDS[kinds]:
        raise TypeError(f"{function} takes {kinds} arrays; got {dtype}. Convert it by astype")
    if dtype not in STANDARD:
        raise TypeError(
            f"{function} takes arrays of the Array API's types; got {dtype}. NumPy's functions take it"
        )
    return x


def host(function: str, x: Any, kinds: str = "any") -> HostArray:
    """The values of an argument, which are not to be written.

    Raises
    ------
    TypeError
        Where it is no numtrn array, or of another kind than the function takes.
    """
    return check(function, x, kinds)._values(f"array_api.{function}")


def made(data: HostArray, device: str | None = None) -> Array:
    """Fresh memory as an array on a device; ``None`` is the default one."""
    return Array(data, checked(device))


def given(value: Any, *like: Array) -> Array:
    """A fresh result as an array, where the arguments ``like`` are."""
    return made(np.asarray(value), common_device(*like))


def placed(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which refuses a ``device=`` that is not there before it does anything."""

    @wraps(function)
    def on_device(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.get("device") is not None:
            checked(kwargs["device"])
        return function(*args, **kwargs)

    return on_device


def together(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which refuses arrays of different devices before it does anything.

    Arrays are looked for among the arguments and in lists and tuples among them.
    """

    @wraps(function)
    def on_one_device(*args: P.args, **kwargs: P.kwargs) -> R:
        given = (*args, *kwargs.values())
        inside = (y for x in given for y in (x if isinstance(x, (list, tuple)) else (x,)))
        common_device(*(x for x in inside if isinstance(x, Array)))
        return function(*args, **kwargs)

    return on_one_device


def common_device(*arrays: Array) -> str | None:
    """The device of all the arrays; None of none.

    Raises
    ------
    ValueError
        Where they are on different ones.
    """
    for x in arrays[1:]:
        agree(arrays[0].device, x.device)
    return arrays[0].device if arrays else None
