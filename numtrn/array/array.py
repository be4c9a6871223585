"""`Array`: the numtrn array, and how it is made. No ndarray: ``np.asarray`` gives its data.

What it holds says `numtrn.array.core`; its operators and methods are those modules'; what becomes of NumPy's
functions on it is decided in `numtrn.array.protocols`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from copy import deepcopy
from importlib import import_module
from typing import Any, cast

import numpy as np

from numtrn.array import exchange, recording
from numtrn.array.arguments import Arguments
from numtrn.array.devices import CPU, checked
from numtrn.array.methods import Methods
from numtrn.array.operators import Operators
from numtrn.array.protocols import Protocols
from numtrn.array.recording import in_words
from numtrn.request import Array as HostArray
from numtrn.residency import Memory

__all__ = ["Array", "asarray"]

VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")
"""Of the Array API standard."""


class Array(Operators, Methods, Protocols):
    """An array whose NumPy functions go to kernels while a block is open, and to NumPy otherwise.

    Made by `numtrn.asarray`. It is no ndarray; ``np.asarray`` gives its data. Functions that give an ndarray
    or a scalar of NumPy's for ndarrays give a numtrn array for it, without axes for a scalar.

    Inside a block a product that is larger than its operands together is recorded, with a copy of these, and
    so are ufuncs and views of it; sums over it are computed without it. Everything else computes it at its
    first need. Values are those at the time of recording, whatever becomes of the operands.
    """

    __slots__ = ()

    def _like(self, data: HostArray, memory: Memory | None = None) -> Array:
        if memory is not None and not memory.owned and memory is not self._memory and self._device != CPU:
            data, memory = data.copy(), None
        return Array(data, self._device, memory=memory)

    # ---- Protocols of exchange ----

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"a {self.dtype} array cannot become {np.dtype(dtype)} without a copy")
        if copy or (dtype is not None and np.dtype(dtype) != self.dtype):
            return np.array(self._values("numpy.asarray"), dtype=dtype)
        return self._exported("numpy.asarray")

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        """The module `numtrn.array_api`.

        Raises
        ------
        ValueError
            For an unknown version of the standard.
        """
        if api_version is not None and api_version not in VERSIONS:
            raise ValueError(f"api_version is one of {', '.join(VERSIONS)}; got {api_version!r}")
        return import_module("numtrn.array_api")

    def __dlpack__(
        self,
        /,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule of the host memory; see `numtrn.array.exchange.capsule`."""
        return exchange.capsule(self, stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Host memory, whatever the array's device: that is what goes out."""
        return exchange.HOST

    def to_device(self, device: Any, /, *, stream: Any = None) -> Array:
        """The array on a device; a copy, unless it is there.

        Raises
        ------
        ValueError
            For an unknown device, or a stream: there are none.
        TargetUnavailableError
            Where the simulator or the hardware is not there.
        """
        if stream is not None:
            raise ValueError(f"to_device takes no stream, there are none; got {stream!r}. Leave it out")
        where = checked(device)
        if where == self._device:
            return self
        moved = self.copy()
        moved._device = where
        return cast(Array, moved)

    # ---- Elements ----

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        node = self._node()
        step = recording.indexed(node.shape, key) if node is not None else None
        if step is not None:
            return self._view(step)
        arguments = Arguments(self, "indexing")
        place = arguments.read(key)
        return arguments.given(arguments.read(self)[place])

    def __setitem__(self, key: Any, value: Any) -> None:
        arguments = Arguments(self, "assignment to elements")
        place, values = arguments.read(key), arguments.read(value)
        self._writable("assignment to elements")[place] = values

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        self._values("iteration")
        return (self[place] for place in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    # ---- Without axes, what a scalar is ----

    def __bool__(self) -> bool:
        return bool(self._values("bool"))

    def __int__(self) -> int:
        return int(self._values("int"))

    def __index__(self) -> int:
        return operator.index(self._values("index"))

    def __float__(self) -> float:
        return float(self._values("float"))

    def __complex__(self) -> complex:
        return complex(self._values("complex"))

    def __round__(self, ndigits: int | None = None) -> Any:
        if ndigits is None and not self.shape:
            return round(self.item())
        return np.round(self, 0 if ndigits is None else ndigits)

    def __trunc__(self) -> int:
        return int(self)

    def __format__(self, form: str) -> str:
        if not form:
            return str(self)
        values = self._values("format")
        return format(values if self.shape else values[()], form)

    # ---- Copies, pickles, words ----

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        if self.dtype.hasobject:
            return self._like(deepcopy(self._values("deepcopy"), memo))
        return self.copy()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Buffers out of band, which protocol 5 may make, are this memory itself.
        values = self._exported("pickle") if int(protocol) >= 5 else self._values("pickle")
        more = getattr(self, "__dict__", None) or None
        return exchange.restored, (type(self), values, self._device), more

    def __repr__(self) -> str:
        node = self._node()
        place = "" if self._device == CPU else f", device={self._device!r}"
        if node is None or self.size <= np.get_printoptions()["threshold"]:
            return f"numtrn.{repr(self._values('repr'))[:-1]}{place})"
        words = f"recorded {in_words(node)}, shape {self.shape}, {self.dtype.name}{place}"
        return f"numtrn.Array({words}, not computed)"

    def __str__(self) -> str:
        if self._node() is not None and self.size > np.get_printoptions()["threshold"]:
            return repr(self)
        return str(self._values("str"))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            raise AttributeError(
                f"numtrn arrays have no {name!r}, which shows memory; numpy.asarray(x).{name} has it"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def asarray(x: Any, dtype: Any = None, *, device: Any = None, copy: bool | None = None) -> Array:
    """A numtrn array of ``x``; an ndarray of that dtype is wrapped without a copy.

    Parameters
    ----------
    x : array_like
        Any shape; a numtrn array is given back as it is, where nothing else is asked for.
    dtype : dtype_like, optional
    device : str, optional
        One of ``"cpu"``, ``"interpreter:0"``, ``"simulator:0"`` and ``"neuron:0"``; by default where ``x``
        is, or the host. Memory of arrays elsewhere than on the host is theirs alone: a copy.
    copy : bool, optional
        Whether to copy; None: where needed, False: never.

    Raises
    ------
    ValueError
        For an unknown device, or where a copy is needed and forbidden.
    TypeError
        For masked arrays, whose masks would be lost.
    TargetUnavailableError
        Where the simulator or the hardware is not there.
    """
    if isinstance(x, Array):
        return _converted(x, dtype, device, copy)
    where = checked(device)
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("numtrn arrays have no masks; got a masked array. Give x.filled(value), or x.data")
    data = _host_array(x, dtype, copy)
    owned = bool(copy) or not _shares(data, x)
    if where != CPU and not owned:
        if copy is False:
            raise ValueError(f"an array on {where!r} has memory of its own: copy=False cannot be")
        data, owned = data.copy(), True
    return Array(data, where, owned)


def _converted(x: Array, dtype: Any, device: Any, copy: bool | None) -> Array:
    where = x.device if device is None else checked(device)
    wanted = x.dtype if dtype is None else np.dtype(dtype)
    changes = wanted != x.dtype or where != x.device
    if copy is False and changes:
        found = f"{x.dtype} on {x.device!r}"
        raise ValueError(f"{found} becomes {wanted} on {where!r} by a copy only, which copy=False forbids")
    if wanted != x.dtype:
        x = x.astype(wanted)
        copy = None
    moved = x.to_device(where)
    return moved.copy() if copy and moved is x else moved


def _host_array(x: Any, dtype: Any, copy: bool | None) -> HostArray:
    """The ndarray of an array_like, an array of another library through DLPack where that is all it has."""
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__") and not isinstance(x, np.ndarray):
        x = np.from_dlpack(x)
    if copy:
        return np.array(x, dtype=dtype)
    data = np.asarray(x, dtype=dtype)
    if copy is False and not _shares(data, x):
        raise ValueError(
            f"a copy is needed of {type(x).__name__} for {data.dtype}, and copy=False forbids it"
        )
    return data


def _shares(data: HostArray, x: Any) -> bool:
    """Whether the memory may be that of ``x``."""
    if isinstance(x, np.ndarray):
        return data is x or np.may_share_memory(data, x)
    return not isinstance(x, (bool, int, float, complex, list, tuple, str, np.generic))
