"""`Array`: a host array whose NumPy functions go through plans (NEP 13 and NEP 18).

Inside a block large products are recorded instead of computed, and so is what is done to them elementwise:
which calls is decided in `numtrn.array.recording`, what becomes of them in `numtrn.array.evaluation`.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from numtrn import dispatch
from numtrn.array import recording
from numtrn.array.evaluation import evaluate, materialise
from numtrn.array.fuse import pair_energies
from numtrn.array.recognise import Recognised, describe, recognise
from numtrn.array.record import Node
from numtrn.array.recording import Step, in_words, is_view, viewed
from numtrn.block import OpenBlock, current, suspended
from numtrn.request import Array as HostArray
from numtrn.request import Request

__all__ = ["Array", "asarray", "asked"]


def asked(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
    """The request that a call makes, which may have recorded arrays among its arguments; computes nothing.

    Raises
    ------
    TypeError, ValueError
        Where the call itself would be wrong.
    """
    if not _any_recorded(args):
        return describe(function, args, kwargs)
    nodes = _nodes(args)
    found = recording.reduction(function, nodes, kwargs)
    pairs = None if found is None else pair_energies(found[0])
    if pairs is not None:
        return pairs.request
    return describe(function, [recording.stand_in(x) for x in nodes], kwargs)


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


class Lazy:
    """What a recorded array and its views share: a node, and from the first need on values in its place."""

    def __init__(self, node: Node) -> None:
        self._lock = threading.Lock()
        self._node: Node | None = node
        self._value: HostArray | None = None

    def node(self) -> Node | None:
        """What is recorded; None once it has been computed."""
        return self._node

    def value(self, why: str) -> HostArray:
        """The values, computed now if they are not there; the same memory each time."""
        with self._lock:
            if self._value is None:
                assert self._node is not None
                self._value = materialise(self._node, why, current())
                self._node = None
            return self._value

    def rebind(self, node: Node) -> bool:
        """Have other contents, after an update in place; False where there are values, which must change."""
        with self._lock:
            if self._value is None:
                self._node = node
            return self._value is None


class Array(NDArrayOperatorsMixin):
    """An array whose NumPy functions go to kernels while a block is open, and to NumPy otherwise.

    Made by `numtrn.asarray`. It is no ndarray; ``np.asarray`` gives its data.

    Inside a block a product that is larger than its operands together is recorded, with a copy of these, and
    so are ufuncs and views of it; sums over it are computed without it. Everything else computes it at its
    first need. Values are those at the time of recording, whatever becomes of the operands.
    """

    __array_priority__ = 1000

    def __init__(self, data: HostArray) -> None:
        self._host: HostArray | None = data
        self._lazy: Lazy | None = None
        self._steps: tuple[Step, ...] = ()

    @classmethod
    def _recorded(cls, lazy: Lazy, steps: tuple[Step, ...] = ()) -> Array:
        array = cls.__new__(cls)
        array._host, array._lazy, array._steps = None, lazy, steps
        return array

    def _node(self) -> Node | None:
        """What is recorded; None where there are values."""
        node = self._lazy.node() if self._host is None and self._lazy is not None else None
        for step in self._steps if node is not None else ():
            node = viewed(node, step)
        return node

    def _values(self, why: str) -> HostArray:
        """The values, computed if need be."""
        if self._host is None:
            assert self._lazy is not None
            values = self._lazy.value(why)
            for step in self._steps:
                values = viewed(values, step)
            self._host = values
        return self._host

    @property
    def _data(self) -> HostArray:
        return self._values("its values")

    def _view(self, step: Step) -> Array:
        """A view of a recorded array, or, where NumPy would make one, a copy."""
        node = self._node()
        if node is None or self._lazy is None:
            return Array(viewed(self._data, step))
        base = self._lazy.node()
        if base is None or not is_view(base.shape, self._steps, step):
            return Array._recorded(Lazy(viewed(node, step)))
        return Array._recorded(self._lazy, (*self._steps, step))

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        node = self._node()
        return self._data.shape if node is None else node.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        node = self._node()
        return self._data.dtype if node is None else node.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def T(self) -> Array:  # noqa: N802 - NumPy's name
        """The array with its axes reversed."""
        return self.transpose()

    def reshape(self, *shape: Any, order: str = "C") -> Array:
        """The array in another shape; see `numpy.reshape`."""
        if self._node() is None or order != "C":
            return Array(self._data.reshape(*shape, order=order))  # type: ignore[call-overload]
        given = shape[0] if len(shape) == 1 else shape
        return cast(Array, np.reshape(self, given))

    def transpose(self, *axes: Any) -> Array:
        """The array with its axes permuted; see `numpy.transpose`."""
        if self._node() is None:
            return Array(self._data.transpose(*axes))
        given = axes[0] if len(axes) == 1 else axes or None
        return cast(Array, np.transpose(self, given))

    def swapaxes(self, axis1: int, axis2: int) -> Array:
        """The array with two axes exchanged; see `numpy.swapaxes`."""
        return cast(Array, np.swapaxes(self, axis1, axis2))

    def ravel(self) -> Array:
        """The array with one axis, in C order; see `numpy.ravel`."""
        return cast(Array, np.ravel(self))

    def squeeze(self, axis: Any = None) -> Array:
        """The array without its axes of 1; see `numpy.squeeze`."""
        return cast(Array, np.squeeze(self, axis=axis))

    def dot(self, other: Any) -> Any:
        """Product with another array; see `numpy.dot`."""
        return np.dot(self, other)

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, **other: Any) -> Any:
        """Sum over axes; see `numpy.sum`."""
        given = {name: value for name, value in (("dtype", dtype), ("out", out)) if value is not None}
        return np.sum(self, axis=axis, **given, **other)

    def copy(self) -> Array:
        """A copy, of which nothing is computed if nothing of the array is."""
        node = self._node()
        return Array(self._data.copy()) if node is None else Array._recorded(Lazy(node))

    def conj(self) -> Array:
        """The complex conjugate; see `numpy.conjugate`."""
        return cast(Array, np.conjugate(self))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        node = self._node()
        step = recording.indexed(node.shape, key) if node is not None else None
        if step is not None:
            return self._view(step)
        return _wrap(self._values("indexing")[_unwrap(key, "indexing")])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._values("assignment to elements")[_unwrap(key, "indexing")] = _unwrap(value, "assignment")

    def __iter__(self) -> Any:
        return (_wrap(row) for row in self._values("iteration"))

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
        return format(self._data, form) if form or self._node() is None else repr(self)

    def __copy__(self) -> Array:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Array:
        return self.copy()

    def __reduce__(self) -> Any:
        return Array, (self._values("pickle"),)

    def __repr__(self) -> str:
        node = self._node()
        if node is None or self.size <= np.get_printoptions()["threshold"]:
            return f"numtrn.{self._data!r}"
        return f"numtrn.Array(recorded {in_words(node)}, shape {self.shape}, {self.dtype.name}, not computed)"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(f"a {self.dtype} array cannot become {np.dtype(dtype)} without a copy")
        data = self._values("numpy.asarray")
        return np.array(data, dtype=dtype) if copy else np.asarray(data, dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc.__name__ in PRODUCTS and method == "__call__":
            return _call(ufunc, inputs, kwargs)
        if method == "__call__" and not set(kwargs) - {"out"}:
            recorded = _record_elementwise(ufunc, inputs, kwargs.get("out"))
            if recorded is not None:
                return recorded
        if method == "outer" and not kwargs and ufunc in recording.SUMS:
            first, second = (asarray(x) for x in inputs)
            return ufunc(first[(..., *(None,) * second.ndim)], second)
        why = f"numpy.{ufunc.__name__}"
        if any(type(x) is np.ndarray and x.size > 1 for x in inputs):
            why += " with an array that is not recorded"
        plain = {name: _unwrap(value, why) for name, value in kwargs.items()}
        result = getattr(ufunc, method)(*(_unwrap(x, why) for x in inputs), **plain)
        return _give(result, kwargs.get("out"))

    def __array_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        if not all(issubclass(kind, (Array, np.ndarray)) for kind in types):
            return NotImplemented
        return _call(function, args, kwargs)


def _record_elementwise(ufunc: np.ufunc, inputs: tuple[Any, ...], out: Any) -> Array | None:
    """A ufunc as a recorded array, or as new contents of a recorded ``out``; None if it must be computed."""
    if current() is None:
        return None
    node = recording.elementwise(ufunc, _nodes(inputs))
    if node is None:
        return None
    if out is None:
        return Array._recorded(Lazy(node))
    (target,) = out
    if not isinstance(target, Array) or target._steps or target._node() is None or target._lazy is None:
        return None
    if (target.shape, target.dtype) != (node.shape, node.dtype):
        return None
    return target if target._lazy.rebind(node) else None


def _call(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """A function on plain data: by kernels where the open block's plan says so, else by NumPy."""
    block, out = current(), kwargs.get("out")
    if out is None and _any_recorded(args):
        found = _on_recorded(function, args, kwargs, block)
        if found is not None:
            return found
    why = f"{getattr(function, '__module__', None) or 'numpy'}.{getattr(function, '__name__', function)}"
    plain_args = _unwrap(args, why)
    plain = {name: _unwrap(value, why) for name, value in kwargs.items()}
    if block is not None and out is None:
        with suspended():
            node = recording.product(function, plain_args, plain, block.min_work)
        if node is not None:
            return Array._recorded(Lazy(node))
    recognised = _recognised(function, plain_args, plain) if block is not None else None
    if block is None or recognised is None or recognised.operands is None:
        return _give(function(*plain_args, **plain), out)
    with suspended():  # what is computed here, refused or not, is not to be caught again below
        value = dispatch.offer_in(block, recognised.request, recognised.operands())
        if value is None:
            return _give(function(*plain_args, **plain), out)
    return _given(function, np.array(value.reshape(recognised.shape), order="C"))


def _on_recorded(
    function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], block: OpenBlock | None
) -> Any:
    """A view of a recorded array, or a sum over it; None where the call has no such meaning."""
    with suspended():
        nodes = _nodes(args)
        if function in recording.QUESTIONS:
            return _wrap(function(*map(recording.stand_in, nodes), **kwargs))
        step = recording.step(function, nodes, kwargs)
        if step is not None:
            place = next(place for place, x in enumerate(nodes) if isinstance(x, Node))
            return args[place]._view(step)
        found = recording.reduction(function, nodes, kwargs)
        node = recording.spread(function, nodes, kwargs) if found is None and block is not None else None
    if node is not None:
        return Array._recorded(Lazy(node))
    if found is None:
        return None
    reduction, shape = found
    return _given(function, evaluate(reduction, block).reshape(shape))


def _given(function: Callable[..., Any], value: HostArray) -> Any:
    """A fresh result: a scalar where it has no axes, but of ``tensordot``, which gives an array always."""
    return _wrap(value if function is np.tensordot else value[()])


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


def _unwrap(x: Any, why: str) -> Any:
    """Arguments with host arrays for numtrn's, which are computed for this."""
    if isinstance(x, Array):
        return x._values(why)
    if isinstance(x, tuple):
        return tuple(_unwrap(item, why) for item in x)
    if isinstance(x, list):
        return [_unwrap(item, why) for item in x]
    return x


def _nodes(args: Any) -> list[Any]:
    """Arguments with nodes for recorded arrays, and host arrays for the other ones of numtrn's."""
    return [(x._node() or x._data) if isinstance(x, Array) else x for x in args]


def _any_recorded(args: Any) -> bool:
    return any(isinstance(x, Array) and x._node() is not None for x in args)
