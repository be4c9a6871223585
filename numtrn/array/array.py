"""`Array`: a host array whose NumPy functions go through plans (NEP 13 and NEP 18)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from numtrn import dispatch
from numtrn.array.recognise import recognise
from numtrn.block import current, suspended
from numtrn.request import Array as HostArray
from numtrn.request import Routine

__all__ = ["Array", "asarray"]


def asarray(x: Any, dtype: Any = None) -> Array:
    """A numtrn array of ``x``; an ndarray of that dtype is wrapped without a copy.

    Parameters
    ----------
    x : array_like
        Any shape; a numtrn array is given back as it is.
    dtype : dtype_like, optional

    Returns
    -------
    Array
    """
    if isinstance(x, Array) and (dtype is None or x.dtype == np.dtype(dtype)):
        return x
    return Array(np.asarray(x, dtype=dtype))


class Array(NDArrayOperatorsMixin):
    """An array whose NumPy functions go to kernels while a block is open, and to NumPy otherwise.

    Made by `numtrn.asarray`. It is no ndarray; ``np.asarray`` gives its data.
    """

    __array_priority__ = 1000

    def __init__(self, data: HostArray) -> None:
        self._data = data

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def T(self) -> Array:  # noqa: N802 - NumPy's name
        """The array with its axes reversed."""
        return Array(self._data.T)

    def reshape(self, *shape: Any) -> Array:
        """The array in another shape; see `numpy.reshape`."""
        return Array(self._data.reshape(*shape))

    def transpose(self, *axes: Any) -> Array:
        """The array with its axes permuted; see `numpy.transpose`."""
        return Array(self._data.transpose(*axes))

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, key: Any) -> Any:
        return _wrap(self._data[_unwrap(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._data[_unwrap(key)] = _unwrap(value)

    def __iter__(self) -> Any:
        return (_wrap(row) for row in self._data)

    def __float__(self) -> float:
        return float(self._data)

    def __repr__(self) -> str:
        return f"numtrn.{self._data!r}"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"a {self.dtype} array cannot become {np.dtype(dtype)} without a copy")
        return np.array(self._data, dtype=dtype) if copy else np.asarray(self._data, dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.matmul and method == "__call__" and not set(kwargs) - {"out"}:
            return _call(ufunc, inputs, kwargs)
        plain = {name: _unwrap(value) for name, value in kwargs.items()}
        result = getattr(ufunc, method)(*(_unwrap(x) for x in inputs), **plain)
        return _give(result, kwargs.get("out"))

    def __array_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        if not all(issubclass(kind, (Array, np.ndarray)) for kind in types):
            return NotImplemented
        return _call(function, args, kwargs)


def _call(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """A function on plain data: by kernels where the open block's plan says so, else by NumPy."""
    plain_args = _unwrap(args)
    plain = {name: _unwrap(value) for name, value in kwargs.items()}
    planned = False
    if current() is not None and not set(kwargs) - {"axes", "optimize"}:
        recognised = recognise(function, plain_args, plain)
        if recognised.operands is not None and not isinstance(recognised.request, Routine):
            planned = True
            value = dispatch.offer(recognised.request, recognised.operands())
            if value is not None:
                return _wrap(np.array(value.reshape(recognised.shape), order="C")[()])
    if planned:  # refused, and recorded: NumPy's own code, not to be caught again below
        with suspended():
            return _give(function(*plain_args, **plain), kwargs.get("out"))
    return _give(function(*plain_args, **plain), kwargs.get("out"))


def _give(result: Any, out: Any) -> Any:
    """A result as the caller expects it: the ``out`` that was given, or a numtrn array."""
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    return out if out is not None else _wrap(result)


def _wrap(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return Array(x)
    if isinstance(x, (tuple, list)):
        return (
            type(x)(*(_wrap(item) for item in x)) if hasattr(x, "_fields") else type(x)(_wrap(i) for i in x)
        )
    return x


def _unwrap(x: Any) -> Any:
    if isinstance(x, Array):
        return x._data
    if isinstance(x, tuple):
        return tuple(_unwrap(item) for item in x)
    if isinstance(x, list):
        return [_unwrap(item) for item in x]
    return x
