"""L4: ``numpy.einsum``, which by default computes in a C loop of its own and never reaches BLAS.

``np.einsum`` looks up ``c_einsum`` in its module at each call; that private global is replaced. What a call
means is left to `numtrn.forms`, what it allows to the original: a call that is wrong goes there at once.
``einsum(optimize=)`` is caught as a whole one layer further out, in `numtrn.intercept.dispatchers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from numtrn import forms
from numtrn.forms import Form
from numtrn.intercept import asking, gate
from numtrn.intercept.private import einsumfunc
from numtrn.request import Array

__all__ = ["give", "install", "probe", "uninstall"]


def install() -> None:
    """Put our function in place of ``c_einsum``.

    Raises
    ------
    RuntimeError
        Where NumPy has no such global.
    """
    original = getattr(einsumfunc, "c_einsum", None)
    if original is None:
        raise RuntimeError("this NumPy's einsum has no c_einsum to replace")
    if not hasattr(original, "numtrn_original"):
        einsumfunc.c_einsum = _replacement(original)


def uninstall() -> None:
    """Put the original back."""
    present = getattr(einsumfunc, "c_einsum", None)
    einsumfunc.c_einsum = getattr(present, "numtrn_original", present)


def probe() -> list[tuple[Any, Any]]:
    """Contractions that must be caught, beside the right results."""
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    calls: list[tuple[Any, ...]] = [("ij,jk->ik", a, b), ("ij,jk", a, b), (a, [0, 1], b, [1, 2])]
    expected = np.array([[20, 23, 26, 29], [56, 68, 80, 92]])
    return [(np.einsum(*call), expected) for call in calls]


def _replacement(original: Callable[..., Any]) -> Callable[..., Any]:
    is_asking = gate.hook.is_asking

    def c_einsum(*operands: Any, **kwargs: Any) -> Any:
        # A string with one operand, or one operand with its labels, multiplies nothing.
        if not is_asking() or len(operands) < 3:
            return original(*operands, **kwargs)
        return asking.answer(original, forms.einsum, give, operands, kwargs)

    c_einsum.numtrn_original = original  # type: ignore[attr-defined]
    return c_einsum


# ---- Giving the result as einsum would ----


def give(form: Form, computed: Array) -> Any:
    """The result as the call returns it: in ``out``, or fresh, or a scalar where it has no axes."""
    shape, result = form.reading.shape, form.out
    if result is None:
        result = _stepwise(form, computed.dtype) if form.stepwise else _allocated(form, computed.dtype)
        if result is None or not (shape or form.stepwise):
            return computed.reshape(())[()]
    np.copyto(result, computed.reshape(shape), casting=form.casting)
    return result


def _allocated(form: Form, dtype: np.dtype[Any]) -> Array:
    """An array in the memory layout that c_einsum gives its result.

    There an iterator allocates it, whose axes are the output's and then the summed labels; so do we.
    """
    terms, output = form.reading.subscripts.split("->")
    labels = output + "".join(sorted(set(terms) - set(output) - {","}))
    operands, inputs = zip(*map(_without_repeats, form.arrays, terms.split(",")), strict=True)
    iterator = np.nditer(  # type: ignore[call-overload]
        [*operands, None],
        flags=["external_loop", "buffered", "delay_bufalloc", "grow_inner", "refs_ok", "reduce_ok"],
        op_flags=[*[["readonly"]] * len(operands), ["readwrite", "allocate", "no_broadcast"]],
        op_dtypes=[*[None] * len(operands), dtype],
        op_axes=[[term.find(label) for label in labels] for term in (*inputs, output)],
        order=form.order,
        casting="safe",
    )
    result: Array = iterator.operands[-1]
    return result


def _without_repeats(array: Array, term: str) -> tuple[Array, str]:
    """An operand with the diagonal taken of each label that it has twice, and its term."""
    for label in set(term):
        while term.count(label) > 1:
            first, second = term.index(label), term.rindex(label)
            array = array.diagonal(axis1=first, axis2=second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + label
    return array, term


@dataclass(frozen=True, slots=True)
class _Layout:
    """How an array lies in memory, whatever its extents.

    Attributes
    ----------
    axes
        By falling stride.
    steps
        1 for each axis, or -1 where it runs backwards.
    is_dense
        Whether nothing lies between its elements.
    """

    axes: tuple[int, ...]
    steps: tuple[int, ...]
    is_dense: bool

    @classmethod
    def of(cls, array: Array) -> _Layout:
        strides = array.strides
        axes = tuple(sorted(range(len(strides)), key=lambda axis: -abs(strides[axis])))
        steps = tuple(-1 if stride < 0 else 1 for stride in strides)
        forwards = array[tuple(slice(None, None, step) for step in steps)]
        return cls(axes, steps, forwards.transpose(axes).flags.c_contiguous)

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        """A new array of this layout."""
        spaced = (2,) * (not self.is_dense)
        array = np.empty([*(shape[axis] for axis in self.axes), *spaced], dtype)
        if spaced:
            array = array[..., 0]
        if self.axes != tuple(range(len(shape))):
            array = array.transpose(np.argsort(self.axes).tolist())
        return array[tuple(slice(None, None, step) for step in self.steps)] if -1 in self.steps else array


def _stepwise(form: Form, dtype: np.dtype[Any]) -> Array | None:
    """An array in the memory layout that einsum's steps leave its result in; None where that is a scalar."""
    shapes = tuple(array.shape for array in form.arrays)
    layouts = tuple(map(_Layout.of, form.arrays))
    question = form.reading.subscripts, shapes, layouts, form.optimize, form.order
    layout = gate.hook.call_busy(_modelled, question, None)
    return None if layout is None else layout.empty(form.reading.shape, dtype)


@lru_cache(maxsize=256)
def _modelled(question: tuple[Any, ...], _: None) -> _Layout | None:
    """Layout of a result; None where it is a scalar.

    NumPy's own einsum tells, with the steps that it takes for these shapes, of which the model has extents of
    two at most.
    """
    subscripts, shapes, layouts, optimize, order = question
    # Only the shapes matter: stand-ins keep the caller's arrays out of the cache.
    whole = [np.broadcast_to(np.zeros((), np.int8), shape) for shape in shapes]
    is_given = isinstance(optimize, tuple) and optimize[0] == "einsum_path"
    path = list(optimize) if is_given else np.einsum_path(subscripts, *whole, optimize=optimize)[0]
    models = [
        layout.empty([min(extent, 2) for extent in shape], np.dtype(np.int64))
        for shape, layout in zip(shapes, layouts, strict=True)
    ]
    for model in models:
        model[...] = 1
    result = np.einsum(subscripts, *models, optimize=path, order=order)
    return _Layout.of(result) if isinstance(result, np.ndarray) else None
