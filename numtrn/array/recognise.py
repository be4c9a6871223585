"""From a NumPy or SciPy function and its arguments to a request, without C hooks and computing nothing.

`numtrn.explain` and numtrn arrays use it. A function becomes a request by its row in a table; what has no
row, or a form that has no kernel, becomes a `Routine` with the reason.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from numtrn.array.level3 import described, is_described
from numtrn.request import Array, Contraction, Gemm, Operands, Request, Routine
from numtrn.subscripts import parse

__all__ = ["Recognised", "describe", "recognise"]

DOT_FAMILY = ("numpy.dot", "numpy.inner", "numpy.tensordot")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    """A call in neutral terms.

    Attributes
    ----------
    request
        What it asks.
    shape
        Of its result.
    operands
        Gives the arrays as the request names them; None where only the question can be answered.
    """

    request: Request
    shape: tuple[int, ...] = ()
    operands: Callable[[], Operands] | None = None


def describe(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Request:
    """The request that a call on plain arrays makes.

    Raises
    ------
    TypeError, ValueError
        Where the call itself would be wrong.
    """
    try:
        request = recognise(function, args, kwargs).request
    except ValueError:
        raise
    except (TypeError, IndexError) as problem:
        name = getattr(function, "__name__", repr(function))
        text = f"{name} with these arguments is no right call, so there is nothing to explain: {problem}"
        raise TypeError(text) from problem
    if isinstance(request, Gemm) and request.function in DOT_FAMILY and _by_vector(request):
        reason = "NumPy computes a product with a vector by GEMV or DOT, for which there is no kernel"
        return Routine(
            function=request.function,
            dtype=request.dtype,
            shapes=request.shapes,
            work=request.work,
            reason=reason,
            contraction=True,
        )
    return request


def _by_vector(gemm: Gemm) -> bool:
    """Whether np.dot takes an operand for a vector: one row, or one column, but for an outer product."""
    outer = gemm.k == 1 and gemm.m > 1 and gemm.n > 1
    return not outer and 1 in (gemm.m, gemm.k, gemm.n)


def recognise(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Recognised:
    """A call as a request, the shape of its result, and its arrays.

    Raises
    ------
    TypeError, ValueError
        Where the call itself would be wrong.
    """
    rows: dict[Any, Callable[..., Recognised]] = {
        np.matmul: _matmul,
        np.dot: _dot,
        np.ndarray.dot: _dot,
        np.inner: _inner,
        np.tensordot: _tensordot,
        np.einsum: _einsum,
    }
    row = rows.get(function)
    if row is not None:
        return row(
            *args, **{name: value for name, value in kwargs.items() if name not in ("out", "optimize")}
        )
    if is_described(function):
        request, shape = described(function, *args, **kwargs)
        return Recognised(request=request, shape=shape)
    called = f"{getattr(function, '__module__', None) or ''}.{getattr(function, '__name__', function)}"
    return _routine(
        called.lstrip("."), args, "numtrn does not catch this function; products made inside it may be"
    )


def _matmul(a: Any, b: Any, /, axes: Any = None, **other: Any) -> Recognised:
    a, b = np.asarray(a), np.asarray(b)
    if axes is not None or other:
        given = ", ".join(f"{name}=" for name in ("axes", *other))
        return _routine(
            "numpy.matmul", (a, b), f"{given} was given: only the call itself tells", contraction=True
        )
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul takes arrays of at least one dimension; got a scalar")
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.ndim > 1 else ()
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(
            f"matmul contracts the last axis of A with the last but one of B; got {a.shape}, {b.shape}"
        )
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    (m, k), n = left.shape[-2:], right.shape[-1]
    request = Gemm(function="numpy.matmul", dtype=_dtype(a, b), batch=prod(lead), m=m, k=k, n=n)

    def operands() -> Operands:
        stacked = (
            np.broadcast_to(x, lead + x.shape[-2:])
            .reshape(-1, *x.shape[-2:])
            .astype(request.dtype, copy=False)
            for x in (left, right)
        )
        return Operands(inputs=tuple(stacked))

    return Recognised(request=request, shape=lead + rows + columns, operands=operands)


def _dot(a: Any, b: Any) -> Recognised:
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 2 or b.ndim != 2:
        reason = "np.dot makes one GEMM of two matrices only; use matmul, tensordot or einsum for more axes"
        return _routine("numpy.dot", (a, b), reason)
    return _product("numpy.dot", a, b)


def _inner(a: Any, b: Any) -> Recognised:
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 2 or b.ndim != 2:
        reason = "np.inner makes one GEMM of two matrices only; use tensordot or einsum for more axes"
        return _routine("numpy.inner", (a, b), reason)
    return _product("numpy.inner", a, b.T)


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Recognised:
    a, b = np.asarray(a), np.asarray(b)
    if not np.iterable(axes):
        count = operator.index(axes)
        axes_a, axes_b = list(range(a.ndim - count, a.ndim)), list(range(count))
    else:
        axes_a, axes_b = (_axes(x, given) for x, given in zip((a, b), axes, strict=True))
    if [a.shape[i] for i in axes_a] != [b.shape[i] for i in axes_b]:
        raise ValueError(
            f"tensordot contracts axes of equal size; got {a.shape}, {b.shape} and axes={axes!r}"
        )
    free_a = [axis for axis in range(a.ndim) if axis not in axes_a]
    free_b = [axis for axis in range(b.ndim) if axis not in axes_b]
    shape = tuple(a.shape[i] for i in free_a) + tuple(b.shape[i] for i in free_b)
    k = prod(a.shape[i] for i in axes_a)
    m, n = prod(a.shape[i] for i in free_a), prod(b.shape[i] for i in free_b)
    request = Gemm(function="numpy.tensordot", dtype=_dtype(a, b), m=m, k=k, n=n)

    def operands() -> Operands:
        first = a.transpose(free_a + axes_a).reshape(1, m, k).astype(request.dtype, copy=False)
        second = b.transpose(axes_b + free_b).reshape(1, k, n).astype(request.dtype, copy=False)
        return Operands(inputs=(first, second))

    return Recognised(request=request, shape=shape, operands=operands)


def _einsum(*args: Any, **other: Any) -> Recognised:
    subscripts, arrays = parse(args)
    for name, value in other.items():
        if value is not None and value not in ("K", "safe"):
            return _routine(
                "numpy.einsum", arrays, f"{name}= was given: NumPy computes that", contraction=True
            )
    if any(array.dtype.char not in "fdFD" for array in arrays):
        kinds = ", ".join(sorted({array.dtype.name for array in arrays}))
        return _routine("numpy.einsum", arrays, f"operands of {kinds} stay with NumPy", contraction=True)
    request = Contraction(
        function="numpy.einsum",
        dtype=_dtype(*arrays),
        subscripts=subscripts,
        shapes=tuple(x.shape for x in arrays),
        strides=tuple(x.strides for x in arrays),
        same=tuple(next(j for j, y in enumerate(arrays) if y is x) for x in arrays),
    )
    extents = request.extents
    shape = tuple(extents[label] for label in subscripts.split("->")[1])
    return Recognised(request=request, shape=shape, operands=lambda: Operands(inputs=arrays))


def _axes(x: Array, given: Any) -> list[int]:
    """Axes counted from the front."""
    return [range(x.ndim)[operator.index(axis)] for axis in np.atleast_1d(given)]


def _product(function: str, a: Array, b: Array) -> Recognised:
    """A plain product of two matrices."""
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"{function} contracts axes of equal size; got {a.shape[1]} and {b.shape[0]}")
    request = Gemm(function=function, dtype=_dtype(a, b), m=a.shape[0], k=a.shape[1], n=b.shape[1])

    def operands() -> Operands:
        return Operands(inputs=tuple(x[None].astype(request.dtype, copy=False) for x in (a, b)))

    return Recognised(request=request, shape=(a.shape[0], b.shape[1]), operands=operands)


def _routine(function: str, args: Sequence[Any], reason: str, *, contraction: bool = False) -> Recognised:
    arrays = [x for x in args if isinstance(x, np.ndarray)]
    request = Routine(
        function=function,
        dtype=_dtype(*arrays) if arrays else "",
        shapes=tuple(x.shape for x in arrays),
        work=0,
        reason=reason,
        contraction=contraction,
    )
    return Recognised(request=request)


def _dtype(*arrays: Array) -> str:
    return str(np.result_type(*(x.dtype for x in arrays)).name)
