"""From a NumPy or SciPy function and its arguments to a request, without C hooks and computing nothing.

`numtrn.explain` and numtrn arrays use it. A function becomes a request by its row in a table; what has no
row, or a form that has no kernel, becomes a `Routine` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from numtrn import forms
from numtrn.array.level3 import described, is_described
from numtrn.forms import Form
from numtrn.request import Array, Contraction, Gemm, Operands, Request, Routine
from numtrn.subscripts import take_apart

__all__ = ["Recognised", "describe", "recognise"]

DOT_FAMILY = ("numpy.dot", "numpy.inner")
BY_VECTOR = "NumPy computes a product with a vector by GEMV or DOT, for which there is no kernel"


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
        return Routine(
            function=request.function,
            dtype=request.dtype,
            shapes=request.shapes,
            work=request.work,
            reason=BY_VECTOR,
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
    row = _rows().get(function)
    if row is not None:
        return row(*args, **kwargs)
    if is_described(function):
        request, shape = described(function, *args, **kwargs)
        return Recognised(request=request, shape=shape)
    called = f"{getattr(function, '__module__', None) or ''}.{getattr(function, '__name__', function)}"
    return _routine(
        called.lstrip("."), args, "numtrn does not catch this function; products made inside it may be"
    )


@cache
def _rows() -> dict[Any, Callable[..., Recognised]]:
    """By function what recognises its calls; functions that this NumPy lacks are left out."""
    from opt_einsum import contract  # where used: most processes need not pay for it

    rows: dict[Any, Callable[..., Recognised]] = {
        np.matmul: _matmul,
        np.dot: partial(_dot, forms.dot),
        np.ndarray.dot: _method_dot,
        np.inner: partial(_dot, forms.inner),
        np.tensordot: partial(_form, forms.tensordot),
        np.einsum: _einsum,
        np.linalg.multi_dot: _multi_dot,
        contract: partial(_form, forms.contract),
    }
    for name in ("matvec", "vecmat", "vecdot"):
        if hasattr(np, name):
            rows[getattr(np, name)] = partial(_vectors, name)
    newer: dict[str, Callable[..., Recognised]] = {
        "matmul": _matmul,
        "tensordot": partial(_form, forms.tensordot),
        "vecdot": _linalg_vecdot,
    }
    return rows | {getattr(np.linalg, name): row for name, row in newer.items() if hasattr(np.linalg, name)}


def _matmul(a: Any, b: Any, /, axes: Any = None, out: Any = None, **other: Any) -> Recognised:
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
    batch = prod(lead)
    request = Gemm(
        function="numpy.matmul",
        dtype=_dtype(a, b),
        batch=batch,
        m=m,
        k=k,
        n=n,
        shared=batch > 1 and prod(right.shape[:-2]) == 1 and _below_each_other(left),
    )

    def operands() -> Operands:
        stacked = (
            np.broadcast_to(x, lead + x.shape[-2:])
            .reshape(request.batch, *x.shape[-2:])
            .astype(request.dtype, copy=False)
            for x in (left, right)
        )
        return Operands(inputs=tuple(stacked))

    return Recognised(
        request=request, shape=lead + rows + columns, operands=operands if out is None else None
    )


def _below_each_other(stack: Array) -> bool:
    """Whether all rows of all matrices are those of one matrix in memory."""
    axes = [
        (extent, step)
        for extent, step in zip(stack.shape[:-1], stack.strides[:-1], strict=True)
        if extent > 1
    ]
    return all(outer[1] == inner[0] * inner[1] for outer, inner in pairwise(axes))


def _form(read: Callable[..., Form], *args: Any, **kwargs: Any) -> Recognised:
    """A call as `numtrn.forms` reads it."""
    form = read(*args, **kwargs)
    request = form.request()
    if isinstance(request, Routine) or form.out is not None:  # NumPy knows where a result goes
        return Recognised(request=request, shape=form.reading.shape)
    return Recognised(
        request=request, shape=form.reading.shape, operands=lambda: Operands(inputs=form.arrays)
    )


def _dot(read: Callable[..., Form], *args: Any, **kwargs: Any) -> Recognised:
    """``np.dot`` or ``np.inner``: of two matrices BLAS's product, of more axes a contraction."""
    if any(np.ndim(operand) == 0 for operand in (*args, *kwargs.values())[:2]):
        arrays = [np.asarray(operand) for operand in (*args, *kwargs.values())[:2]]
        return _routine("numpy.dot", arrays, "a product with a scalar, bound by memory", contraction=True)
    form = read(*args, **kwargs)
    a, b = form.arrays
    if a.ndim > 2 or b.ndim > 2:
        return _form(read, *args, **kwargs)
    if min(a.ndim, b.ndim) < 2:
        return _routine(form.function, form.arrays, BY_VECTOR, contraction=True)
    recognised = _product(form.function, a, b.T if read is forms.inner else b)
    return recognised if form.out is None else replace(recognised, operands=None)


def _method_dot(a: Any, b: Any, out: Any = None) -> Recognised:
    recognised = _dot(forms.dot, a, b, out)
    if isinstance(recognised.request, Contraction):
        reason = "the method dot of more than two axes cannot be reached; np.dot, matmul and einsum can"
        return _routine("numpy.ndarray.dot", (np.asarray(a), np.asarray(b)), reason, contraction=True)
    return recognised


def _multi_dot(arrays: Any, *, out: Any = None) -> Recognised:
    if len(arrays) == 2:
        return _dot(forms.dot, *arrays, out)
    operands = [np.asarray(array) for array in arrays]
    if len({operand.dtype for operand in operands}) > 1:
        reason = "multi_dot of mixed dtypes: its products of two are caught each by itself"
        return _routine("numpy.linalg.multi_dot", operands, reason, contraction=True)
    return _form(forms.multi_dot, arrays, out=out)


def _vectors(name: str, first: Any, second: Any, /, out: Any = None, **other: Any) -> Recognised:
    if other:
        given = ", ".join(f"{keyword}=" for keyword in other)
        arrays = np.asarray(first), np.asarray(second)
        reason = f"{given} was given: only the call itself tells"
        return _routine(f"numpy.{name}", arrays, reason, contraction=True)
    recognised = _form(partial(forms.vectors, name), first, second)
    return recognised if out is None else replace(recognised, operands=None)


def _linalg_vecdot(first: Any, second: Any, /, *, axis: int = -1) -> Recognised:
    return _vectors("vecdot", np.moveaxis(first, axis, -1), np.moveaxis(second, axis, -1))


def _einsum(*args: Any, **other: Any) -> Recognised:
    _, arrays = take_apart(args)
    if len(arrays) == 1:
        return _routine(
            "numpy.einsum", arrays, "a single operand multiplies nothing: NumPy computes it", contraction=True
        )
    return _form(forms.einsum, *args, **other)


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
