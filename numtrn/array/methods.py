"""ndarray's methods on numtrn arrays: NumPy's functions of these names, so planned and recorded.

What shows memory (``strides``, ``flat``, ``view`` ...) is not here: ``np.asarray(x)`` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from numtrn.array.core import Core
from numtrn.array.lazy import Lazy, OnTarget

__all__ = ["Methods"]


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that is a function of the array and further arguments."""

    def method(self: Core, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__ = function.__name__
    method.__qualname__ = f"Methods.{function.__name__}"
    method.__doc__ = f"See `numpy.{function.__name__}`."
    return method


class Methods(Core):
    """Methods of ndarrays; a base of `numtrn.Array`."""

    __slots__ = ()

    all = _function(np.all)
    any = _function(np.any)
    argmax = _function(np.argmax)
    argmin = _function(np.argmin)
    argpartition = _function(np.argpartition)
    argsort = _function(np.argsort)
    choose = _function(np.choose)
    cumprod = _function(np.cumprod)
    cumsum = _function(np.cumsum)
    diagonal = _function(np.diagonal)
    dot = _function(np.dot)
    max = _function(np.max)
    mean = _function(np.mean)
    min = _function(np.min)
    nonzero = _function(np.nonzero)
    prod = _function(np.prod)
    ptp = _function(np.ptp)
    put = _function(np.put)
    ravel = _function(np.ravel)
    repeat = _function(np.repeat)
    round = _function(np.round)
    searchsorted = _function(np.searchsorted)
    squeeze = _function(np.squeeze)
    std = _function(np.std)
    swapaxes = _function(np.swapaxes)
    take = _function(np.take)
    trace = _function(np.trace)
    var = _function(np.var)

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, **other: Any) -> Any:
        """Sum over axes; see `numpy.sum`."""
        given = {name: value for name, value in (("dtype", dtype), ("out", out)) if value is not None}
        return np.sum(self, axis=axis, **given, **other)  # type: ignore[call-overload]

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **other: Any) -> Any:
        """Values limited to an interval; see `numpy.clip`."""
        return np.clip(self, min, max, out=out, **other)  # type: ignore[call-overload]

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        """Slices along an axis where a condition holds; see `numpy.compress`."""
        return np.compress(condition, self, axis=axis, out=out)  # type: ignore[call-overload]

    def conjugate(self, out: Any = None) -> Any:
        """The complex conjugate; a real array itself, as ndarray's method."""
        is_real = out is None and self.dtype.kind in "biuf"
        return self if is_real else np.conjugate(self, out=out)  # type: ignore[call-overload]

    conj = conjugate

    def reshape(self, *shape: Any, order: str = "C", **other: Any) -> Any:
        """The array in another shape; see `numpy.reshape`."""
        if self._is_here():
            values: Any = self._values("reshape")
            return self._viewed(values.reshape(*shape, order=order, **other))
        given = shape[0] if len(shape) == 1 else shape
        named = other if order == "C" else {"order": order, **other}
        return np.reshape(self, given, **named)  # type: ignore[call-overload]

    def transpose(self, *axes: Any) -> Any:
        """The array with its axes permuted; see `numpy.transpose`."""
        if self._is_here():
            return self._viewed(self._values("transpose").transpose(*axes))
        given = axes[0] if len(axes) == 1 else axes or None
        return np.transpose(self, given)  # type: ignore[call-overload]

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        """The array with its axes reversed; the standard knows it of two axes only."""
        return self.transpose()

    @property
    def mT(self) -> Any:  # noqa: N802 - the standard's name
        """The array with its last two axes exchanged.

        Raises
        ------
        ValueError
            Where it has fewer than two.
        """
        if self.ndim < 2:
            raise ValueError(f"mT takes an array of at least two axes; got {self.ndim}. T reverses all axes")
        return self.swapaxes(-1, -2)

    @property
    def real(self) -> Any:
        """The real part, a view."""
        return np.real(self)

    @real.setter
    def real(self, value: Any) -> None:
        self._assign("real", value)

    @property
    def imag(self) -> Any:
        """The imaginary part, a view where there is one."""
        return np.imag(self)

    @imag.setter
    def imag(self, value: Any) -> None:
        self._assign("imag", value)

    def _assign(self, part: str, value: Any) -> None:
        plain = value._values("assignment") if isinstance(value, Core) else value
        setattr(self._writable("assignment"), part, plain)

    # ---- Copies ----

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
    ) -> Any:
        """The array in another type; itself where that is its own and no copy is wanted."""
        if not copy and np.dtype(dtype) == self.dtype and order == "K":
            return self
        return self._like(self._values("astype").astype(dtype, order, casting))

    def copy(self, order: Any = "C") -> Any:
        """A copy, of which nothing is computed or moved if nothing of the array is."""
        away, node = self._on_target(), self._node()
        if away is not None:
            return self._recorded(OnTarget(replace(away.held), away.shape), self._steps)
        return self._like(self._values("copy").copy(order)) if node is None else self._recorded(Lazy(node))

    def flatten(self, order: Any = "C") -> Any:
        """A copy with one axis."""
        return self._like(self._values("flatten").flatten(order))

    def item(self, *args: Any) -> Any:
        """An element as a scalar of Python's."""
        return self._values("item").item(*args)

    def tolist(self) -> Any:
        """The elements as nested lists of Python's scalars."""
        return self._values("tolist").tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        """The bytes of the elements, in C order."""
        return self._values("tobytes").tobytes(order)

    # ---- Changes in place ----

    def fill(self, value: Any) -> None:
        """Set all elements."""
        self._writable("fill").fill(value._values("fill") if isinstance(value, Core) else value)

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None, **other: Any) -> None:
        """Sort in place; see `numpy.ndarray.sort`."""
        self._writable("sort").sort(axis, kind, order, **other)

    def partition(self, kth: Any, axis: int = -1, kind: Any = "introselect", order: Any = None) -> None:
        """Partition in place; see `numpy.ndarray.partition`."""
        self._writable("partition").partition(kth, axis, kind, order)
