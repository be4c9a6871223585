"""Python's operators of numtrn arrays: ufuncs, but where the Array API standard wants otherwise.

Another operand with ufuncs of its own (dask, xarray, sparse) gets its turn inside the ufunc, by NEP 13; one
without gets it by NotImplemented.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from numtrn.array import promotion, special
from numtrn.array.arguments import Arguments, is_plain
from numtrn.array.core import Core
from numtrn.array.protocols import Protocols, defers, knows
from numtrn.request import Array as HostArray

__all__ = ["Operators"]

Binary: TypeAlias = Callable[[Any, Any], Any]


def _forward(function: Binary, name: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return NotImplemented if defers(other) else function(self, other)

    return _named(method, f"__{name}__")


def _reflected(function: Binary, name: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return NotImplemented if defers(other) else function(other, self)

    return _named(method, f"__r{name}__")


def _in_place(function: Callable[..., Any], name: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return NotImplemented if defers(other) else function(self, other, out=(self,))

    return _named(method, f"__i{name}__")


def _matmul_in_place(x: Core, other: Any, out: Any) -> Any:
    """As ``matmul``, which would repeat the product with a vector along the rows of ``out``."""
    matrix = (-2, -1)
    axes = [matrix, matrix, matrix] if x.ndim > 1 else [(-1,), matrix, (-1,)]
    return np.matmul(x, other, out=out, axes=axes)  # type: ignore[call-overload]


def _unary(function: Callable[[Any], Any], name: str) -> Any:
    def method(self: Any) -> Any:
        return function(self)

    return _named(method, f"__{name}__")


def _comparison(ufunc: np.ufunc, name: str) -> Any:
    """``==`` or ``!=``; with what has no such ufunc, such as a string, as an ndarray answers."""
    plain = getattr(operator, name)

    def method(self: Any, other: Any) -> Any:
        if defers(other):
            return NotImplemented
        try:
            return ufunc(self, other)
        except TypeError:
            if not knows(other):
                raise
            arguments = Arguments(self, f"numpy.{ufunc.__name__}")
            return arguments.given(plain(arguments.read(self), arguments.read(other)))

    return _named(method, f"__{name}__")


def _named(method: Any, name: str) -> Any:
    method.__name__ = name
    method.__qualname__ = f"Operators.{name}"
    return method


# ---- Where the standard wants otherwise ----

Special: TypeAlias = Callable[[HostArray, HostArray], HostArray]


def _by_standard(ufunc: np.ufunc, function: Special) -> Callable[..., Any]:
    """Like a ufunc of two, on host memory; arrays of other libraries are left to the ufunc."""

    def computed(x1: Any, x2: Any, out: Any = None) -> Any:
        if not (_is_ours(x1) and _is_ours(x2)):
            return ufunc(x1, x2) if out is None else ufunc(x1, x2, out=out)
        one = x1 if isinstance(x1, Core) else x2
        arguments = Arguments(one, f"numpy.{ufunc.__name__}")
        operands = [arguments.read(x) for x in (x1, x2)]
        value = function(*(np.asarray(x) for x in promotion.with_dtypes(operands)))
        return arguments.given(value) if out is None else _filled(out[0], value, ufunc)

    return computed


def _is_ours(x: Any) -> bool:
    """Whether no other array, nor a subclass of ours, has ufuncs of its own."""
    kind = type(x)
    if issubclass(kind, Protocols):
        return kind.__array_ufunc__ is Protocols.__array_ufunc__
    return issubclass(kind, (np.generic, list)) or promotion.is_weak(x) or is_plain(kind)


def _filled(x: Core, value: HostArray, ufunc: np.ufunc) -> Core:
    """The array with other values in its memory.

    Raises
    ------
    TypeError, ValueError
        Where they are of another kind, or need another shape.
    """
    if value.shape != x.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {x.shape} doesn't match the broadcast shape "
            f"{value.shape}; write the call without ``=``"
        )
    if not np.can_cast(value.dtype, x.dtype, "same_kind"):
        raise TypeError(
            f"an update in place keeps the type; {ufunc.__name__} gives {value.dtype} for {x.dtype}. "
            "Write the call without ``=``"
        )
    x._writable(f"numpy.{ufunc.__name__}")[...] = value
    return x


_floor_divide = _by_standard(np.floor_divide, special.floor_divide)
_remainder = _by_standard(np.remainder, special.remainder)
_special_power = _by_standard(np.power, special.power)


def _power(x1: Any, x2: Any, out: Any = None) -> Any:
    """Other scalar exponents than 0.5 stay with the ufunc, and recorded arrays recorded."""
    plain = promotion.is_weak(x2) and x2 != 0.5
    if plain or (isinstance(x1, Core) and x1._node() is not None):
        return np.power(x1, x2) if out is None else np.power(x1, x2, out=out)
    return _special_power(x1, x2, out)


def _divmod(x1: Any, x2: Any) -> Any:
    if not (_is_ours(x1) and _is_ours(x2)):
        return np.divmod(x1, x2)
    return _floor_divide(x1, x2), _remainder(x1, x2)


class Operators:
    """Python's operators; a base of `numtrn.Array`."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    __lt__ = _forward(np.less, "lt")
    __le__ = _forward(np.less_equal, "le")
    __eq__ = _comparison(np.equal, "eq")
    __ne__ = _comparison(np.not_equal, "ne")
    __gt__ = _forward(np.greater, "gt")
    __ge__ = _forward(np.greater_equal, "ge")

    __add__ = _forward(np.add, "add")
    __radd__ = _reflected(np.add, "add")
    __iadd__ = _in_place(np.add, "add")
    __sub__ = _forward(np.subtract, "sub")
    __rsub__ = _reflected(np.subtract, "sub")
    __isub__ = _in_place(np.subtract, "sub")
    __mul__ = _forward(np.multiply, "mul")
    __rmul__ = _reflected(np.multiply, "mul")
    __imul__ = _in_place(np.multiply, "mul")
    __matmul__ = _forward(np.matmul, "matmul")
    __rmatmul__ = _reflected(np.matmul, "matmul")
    __imatmul__ = _in_place(_matmul_in_place, "matmul")
    __truediv__ = _forward(np.true_divide, "truediv")
    __rtruediv__ = _reflected(np.true_divide, "truediv")
    __itruediv__ = _in_place(np.true_divide, "truediv")
    __floordiv__ = _forward(_floor_divide, "floordiv")
    __rfloordiv__ = _reflected(_floor_divide, "floordiv")
    __ifloordiv__ = _in_place(_floor_divide, "floordiv")
    __mod__ = _forward(_remainder, "mod")
    __rmod__ = _reflected(_remainder, "mod")
    __imod__ = _in_place(_remainder, "mod")
    __divmod__ = _forward(_divmod, "divmod")
    __rdivmod__ = _reflected(_divmod, "divmod")
    __pow__ = _forward(_power, "pow")
    __rpow__ = _reflected(_power, "pow")
    __ipow__ = _in_place(_power, "pow")
    __lshift__ = _forward(np.left_shift, "lshift")
    __rlshift__ = _reflected(np.left_shift, "lshift")
    __ilshift__ = _in_place(np.left_shift, "lshift")
    __rshift__ = _forward(np.right_shift, "rshift")
    __rrshift__ = _reflected(np.right_shift, "rshift")
    __irshift__ = _in_place(np.right_shift, "rshift")
    __and__ = _forward(np.bitwise_and, "and")
    __rand__ = _reflected(np.bitwise_and, "and")
    __iand__ = _in_place(np.bitwise_and, "and")
    __xor__ = _forward(np.bitwise_xor, "xor")
    __rxor__ = _reflected(np.bitwise_xor, "xor")
    __ixor__ = _in_place(np.bitwise_xor, "xor")
    __or__ = _forward(np.bitwise_or, "or")
    __ror__ = _reflected(np.bitwise_or, "or")
    __ior__ = _in_place(np.bitwise_or, "or")

    __neg__ = _unary(np.negative, "neg")
    __pos__ = _unary(np.positive, "pos")
    __abs__ = _unary(np.absolute, "abs")
    __invert__ = _unary(np.invert, "invert")
