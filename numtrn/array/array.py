"""`Array`: a host array whose NumPy functions go through plans (NEP 13 and NEP 18)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from numtrn import dispatch
from numtrn.array.recognise import Recognised, recognise
from numtrn.block import current, suspended
from numtrn.request import Array as HostArray

__all__ = ["Array", "asarray"]

PRODUCTS = ("matmul", "matvec", "vecmat", "vecdot")
"""Ufuncs that contract."""
READ = frozenset(("axes", "optimize", "dtype", "casting"))
"""Keywords that leave a call to kernels; others, such as ``out``, are NumPy's."""


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

    def __bool__(self) -> bool:
        return bool(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __index__(self) -> int:
        return operator.index(self._data)

    def __float__(self) -> float:
        return float(self._data)

    def __complex__(self) -> complex:
        return complex(self._data)

    def __format__(self, form: str) -> str:
        return format(self._data, form)

    def __copy__(self) -> Array:
        return Array(self._data.copy())

    def __deepcopy__(self, memo: Any) -> Array:
        return Array(self._data.copy())

    def __repr__(self) -> str:
        return f"numtrn.{self._data!r}"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"a {self.dtype} array cannot become {np.dtype(dtype)} without a copy")
        return np.array(self._data, dtype=dtype) if copy else np.asarray(self._data, dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc.__name__ in PRODUCTS and method == "__call__":
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
    out = kwargs.get("out")
    block = current()
    recognised = _recognised(function, plain_args, plain) if block is not None else None
    if block is None or recognised is None or recognised.operands is None:
        return _give(function(*plain_args, **plain), out)
    with suspended():  # what is computed here, refused or not, is not to be caught again below
        value = dispatch.offer_in(block, recognised.request, recognised.operands())
        if value is None:
            return _give(function(*plain_args, **plain), out)
    return _wrap(np.array(value.reshape(recognised.shape), order="C")[()])


def _recognised(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Recognised | None:
    """The call in neutral terms; None where NumPy is to compute it, or to say what is wrong with it."""
    if set(kwargs) - READ:
        return None
    try:
        return recognise(function, args, kwargs)
    except Exception:  # a wrong call: NumPy's own error is the one to see
        return None


def _give(result: Any, out: Any) -> Any:
    """A result as the caller expects it: what was given as ``out``, and numtrn arrays for the rest."""
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    if isinstance(out, tuple):
        return tuple(_wrap(one) if given is None else given for one, given in zip(result, out, strict=True))
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
