"""Arguments of a call on numtrn arrays as host memory, and its results as numtrn arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from numtrn.array.core import Core
from numtrn.array.devices import agree
from numtrn.request import Array as HostArray
from numtrn.residency import Memory

__all__ = ["Arguments", "is_plain"]

WRITTEN: dict[Any, str] = {
    np.copyto: "dst",
    np.put: "a",
    np.place: "arr",
    np.putmask: "a",
    np.put_along_axis: "arr",
    np.fill_diagonal: "a",
}
"""Functions that change an argument, and its name. It is the first."""
LENDING = (np.apply_along_axis, np.apply_over_axes, np.fromfunction, np.pad)
"""Functions that show memory to functions of the caller's, who may keep it."""
OVERRIDES = (
    "__array_ufunc__",
    "__array_function__",
    "__array_finalize__",
    "__array_wrap__",
    "__array_priority__",
)


def is_plain(kind: type) -> bool:
    """Whether arrays of this type are nothing but ndarrays; masked arrays and matrices are more."""
    if kind in (np.ndarray, np.memmap):
        return True
    return issubclass(kind, np.ndarray) and not any(
        getattr(kind, name, None) is not getattr(np.ndarray, name, None) for name in OVERRIDES
    )


class Arguments:
    """What goes into one call, and what comes out of it.

    Parameters
    ----------
    one
        The array that was asked; results are where it is.
    why
        What needs values, in words.
    """

    def __init__(self, one: Core, why: str) -> None:
        self._one = one
        self._why = why
        self._ours: list[tuple[HostArray, Core]] = []
        self._outs: list[HostArray] = []
        self._foreign: list[HostArray] = []
        self._lends = False  # whether a result may be memory that others have, and nothing tells

    def of(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """All arguments of a function on host memory.

        Raises
        ------
        ValueError
            Where arrays are of different devices.
        """
        self._lends = function in LENDING
        written = _written(function, args, kwargs)
        plain = tuple(self.written(x) if place in written else self.read(x) for place, x in enumerate(args))
        return plain, {
            name: self.written(x) if name in written else self.read(x) for name, x in kwargs.items()
        }

    def read(self, x: Any) -> Any:
        """An argument that is read, with host arrays for numtrn's."""
        if isinstance(x, Core):
            return self._memory(x, x._exported(self._why) if self._lends else x._values(self._why))
        if isinstance(x, np.ndarray):
            self._foreign.append(x)
            self._lends |= x.dtype.hasobject
        elif type(x) is list:
            return [self.read(item) for item in x]
        elif isinstance(x, tuple):
            return tuple(self.read(item) for item in x)
        elif hasattr(type(x), "__array__") and not isinstance(x, np.generic):
            self._lends = True
        return x

    def written(self, x: Any) -> Any:
        """An argument that is changed, or a tuple of such; it is given back as it came."""
        if isinstance(x, tuple):
            return tuple(self.written(item) for item in x)
        if isinstance(x, Core):
            return self._memory(x, x._writable(self._why))
        if isinstance(x, np.ndarray):
            self._outs.append(x)
        return x

    def _memory(self, x: Core, memory: HostArray) -> HostArray:
        agree(self._one._device, x._device)
        self._ours.append((memory, x))
        self._lends |= memory.dtype.hasobject
        return memory

    @property
    def memories(self) -> tuple[Memory, ...]:
        """Of the numtrn arrays among the arguments."""
        return tuple(x._memory for _, x in self._ours if x._memory is not None)

    def given(self, result: Any) -> Any:
        """A result with numtrn arrays for ndarrays and NumPy's scalars, also in tuples and lists.

        What was an argument is that argument again.
        """
        if isinstance(result, np.ndarray):
            return self._array(result)
        if isinstance(result, np.generic):
            return self._one._like(np.asarray(result))
        if isinstance(result, (tuple, list)):
            items = [self.given(item) for item in result]
            if all(item is before for item, before in zip(items, result, strict=True)):
                return result
            return type(result)(*items) if hasattr(result, "_fields") else type(result)(items)
        return result

    def _array(self, result: HostArray) -> Any:
        for memory, x in self._ours:
            if memory is result:
                return x
        if (self._outs and any(result is x for x in self._outs)) or not is_plain(type(result)):
            return result
        array = self._one._like(result, self._memory_of(result))
        self._ours.append((result, array))  # another result may be it, or a view of it
        return array

    def _memory_of(self, result: HostArray) -> Memory | None:
        """Whose memory a result lies in: an argument's, that of others, or, None, its own."""
        if result.base is None:
            is_fresh = not self._lends and all(result is not x for x in self._foreign)
            return None if is_fresh else Memory(result, owned=False)
        for _, x in self._ours:
            if x._memory is not None and x._memory.covers(result):
                return x._memory
        root: Any = result
        while isinstance(root.base, np.ndarray):
            root = root.base
        lent = self._lends or any(np.may_share_memory(result, x) for x in self._foreign)
        return Memory(root, owned=root.base is None and not lent)


def _written(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> set[int | str]:
    """Places and names of the arguments that a call changes."""
    found: set[int | str] = {"out"}
    if function in WRITTEN:
        found |= {0, WRITTEN[function]}
    elif _given(function, args, kwargs, "overwrite_input", False) or (
        function is np.nan_to_num and not _given(function, args, kwargs, "copy", True)
    ):
        found |= {0, "a", "x"}
    if len(args) > 1:
        found.add(_place_of(function, "out"))
    return found


def _given(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str, default: bool
) -> Any:
    """What a call gives for a parameter that is not the first, by name or place."""
    if name in kwargs or len(args) < 2:
        return kwargs.get(name, default)
    place = _place_of(function, name)
    return args[place] if 0 <= place < len(args) else default


@cache
def _place_of(function: Callable[..., Any], name: str) -> int:
    """Where a parameter stands among the arguments; -1 where there is none."""
    try:
        return list(signature(function).parameters).index(name)
    except (ValueError, TypeError):  # a function in C of an older NumPy
        return {(np.dot, "out"): 2, (np.concatenate, "out"): 2}.get((function, name), -1)
