"""L5: the implementations behind ``np.dot``, ``inner``, ``tensordot``, ``einsum`` and ``linalg.multi_dot``.

These functions are dispatcher objects of NEP 18, which look for ``__array_function__`` and then call the
implementation that they hold. While any thread has a block open they hold ours; without one they hold
NumPy's, so that outside of blocks nothing is changed and nothing is paid. The objects stay what they are.

Products of two matrices are left to L3, the default einsum to L4; the method ``a.dot(b)`` of more axes is no
dispatcher and cannot be reached.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf, prod
from typing import Any

import numpy as np

from numtrn import forms
from numtrn.forms import Form
from numtrn.intercept import asking, einsum, gate
from numtrn.request import Array

__all__ = ["install", "probe", "uninstall"]

ndarray = np.ndarray

_ours: dict[Any, Callable[..., Any]] = {}
"""By dispatcher what it holds while a block is open; kept for the life of the process."""
_handles_forks = False


def install() -> None:
    """Prepare the dispatchers, and see that they take and give back what they hold.

    Raises
    ------
    RuntimeError
        Where they are built in another way, or threads run without a common lock.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RuntimeError("free-threaded Python: nothing keeps others from a dispatcher while it is changed")
    uninstall()
    try:
        for function, make in REPLACEMENTS.items():
            _add(function, make)
    except Exception:
        uninstall()
        raise
    _handle_forks()


def _add(function: Any, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    original = getattr(function, "_implementation", None)
    if original is None:
        raise RuntimeError(f"{function!r} is no dispatcher with an implementation to replace")
    ours = _ours.setdefault(function, make(original))
    gate.hook.add_dispatcher(function, type(function).__basicsize__, original, ours)
    token = gate.enter(inf)
    held = function._implementation
    gate.leave(token)
    if held is not ours:
        raise RuntimeError(f"{function!r} holds its implementation elsewhere")


def _handle_forks() -> None:
    global _handles_forks
    if not _handles_forks and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=gate.hook.forked)
        _handles_forks = True


def uninstall() -> None:
    """Give the dispatchers their own for good."""
    gate.hook.remove_dispatchers()


def probe() -> list[tuple[Any, Any]]:
    """Contractions that must be caught, beside the right results."""
    a, b = np.arange(6.0).reshape(1, 2, 3), np.arange(12.0).reshape(3, 4)
    expected = np.array([[20, 23, 26, 29], [56, 68, 80, 92]])
    return [
        (np.dot(a, b)[0], expected),
        (np.inner(a, b.T)[0], expected),
        (np.tensordot(a, b, 1)[0], expected),
        (np.einsum("ij,jk->ik", a[0], b, optimize=True), expected),
        (np.linalg.multi_dot([a[0], b, np.eye(4)]), expected),
    ]


# ---- What the dispatchers hold while a block is open ----


def _with_axes(read: Callable[..., Form], original: Callable[..., Any]) -> Callable[..., Any]:
    """``dot`` or ``inner``: of two matrices, or with a vector, the call goes on to BLAS and L3."""
    is_asking = gate.hook.is_asking

    def replacement(*args: Any, **kwargs: Any) -> Any:
        if not is_asking() or not _has_axes(args, kwargs):
            return original(*args, **kwargs)
        return asking.answer(original, read, _fresh, args, kwargs)

    return replacement


def _has_axes(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether both operands are arrays of which NumPy would make one dot product for each element."""
    a = args[0] if args else kwargs.get("a")
    b = args[1] if len(args) > 1 else kwargs.get("b")
    if type(a) is not ndarray or type(b) is not ndarray:
        return False
    return (a.ndim > 2 or b.ndim > 2) and a.ndim > 0 and b.ndim > 0


def _tensordot(original: Callable[..., Any]) -> Callable[..., Any]:
    is_asking = gate.hook.is_asking

    def tensordot(*args: Any, **kwargs: Any) -> Any:
        if not is_asking():
            return original(*args, **kwargs)
        return asking.answer(original, forms.tensordot, _reshaped, args, kwargs)

    return tensordot


def _einsum(original: Callable[..., Any]) -> Callable[..., Any]:
    is_asking = gate.hook.is_asking

    def einsum_(*operands: Any, **kwargs: Any) -> Any:
        if kwargs.get("optimize", False) is False or not is_asking():
            return original(*operands, **kwargs)
        return asking.answer(original, forms.einsum, einsum.give, operands, kwargs)

    return einsum_


def _multi_dot(original: Callable[..., Any]) -> Callable[..., Any]:
    is_asking = gate.hook.is_asking

    def multi_dot(*args: Any, **kwargs: Any) -> Any:
        if not is_asking() or not args or not hasattr(args[0], "__len__") or len(args[0]) < 3:
            return original(*args, **kwargs)  # two are one np.dot
        return asking.answer(original, forms.multi_dot, _fresh, args, kwargs)

    return multi_dot


REPLACEMENTS: dict[Any, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    np.dot: partial(_with_axes, forms.dot),
    np.inner: partial(_with_axes, forms.inner),
    np.tensordot: _tensordot,
    np.einsum: _einsum,
    np.linalg.multi_dot: _multi_dot,
}
"""By dispatcher what makes ours of its implementation."""


def _fresh(form: Form, computed: Array) -> Any:
    """The result in ``out`` or in C order; a scalar where it has no axes."""
    out, shape = form.out, form.reading.shape
    result = np.empty(shape, computed.dtype) if out is None else out
    np.copyto(result, computed.reshape(shape))
    return result if shape else result[()]


def _reshaped(form: Form, computed: Array) -> Array:
    """The result as the view of a matrix that tensordot gives."""
    shape = form.reading.shape
    first, second = form.arrays
    contracted = (first.ndim + second.ndim - len(shape)) // 2
    rows = prod(shape[: first.ndim - contracted])
    matrix = np.empty((rows, prod(shape) // max(rows, 1)), computed.dtype)
    result = matrix.reshape(shape)
    np.copyto(result, computed.reshape(shape))
    return result
