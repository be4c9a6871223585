"""L4: ``numpy.einsum``, which by default computes in a C loop of its own and never reaches BLAS.

``np.einsum`` looks up ``c_einsum`` in its module at each call; that private global is replaced. What the
subscripts mean is left to `numtrn.subscripts`, what they allow to the original: a call that is wrong goes
there at once. ``einsum(optimize=True)`` comes to the matmul loops or CBLAS by itself.
"""

from __future__ import annotations

import string
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import index
from typing import Any

import numpy as np
from numpy import ndarray

from numtrn.intercept import gate
from numtrn.intercept.blas import observed
from numtrn.intercept.private import einsumfunc
from numtrn.intercept.views import first_places
from numtrn.request import Array, Contraction, Operands, Request
from numtrn.subscripts import parse

__all__ = ["install", "probe", "uninstall"]

FUNCTION = "numpy.einsum"
KERNELS = "fdFD"
DEFAULTS = {"order": "K", "casting": "safe"}
LABELS = string.ascii_uppercase + string.ascii_lowercase
LETTERS = frozenset(LABELS + ",->. ")


@dataclass(frozen=True, slots=True)
class Reading:
    """Explicit subscripts of one letter per label, multiply-adds, and the shape of the result."""

    subscripts: str
    work: int
    shape: tuple[int, ...]


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
    forms: list[tuple[Any, ...]] = [("ij,jk->ik", a, b), ("ij,jk", a, b), (a, [0, 1], b, [1, 2])]
    expected = np.array([[20, 23, 26, 29], [56, 68, 80, 92]])
    return [(np.einsum(*form), expected) for form in forms]


def _replacement(original: Callable[..., Any]) -> Callable[..., Any]:
    is_asking = gate.hook.is_asking

    def c_einsum(*operands: Any, **kwargs: Any) -> Any:
        # A string with one operand, or one operand with its labels, multiplies nothing.
        if not is_asking() or len(operands) < 3:
            return original(*operands, **kwargs)
        return _caught(original, operands, kwargs)

    c_einsum.numtrn_original = original  # type: ignore[attr-defined]
    return c_einsum


def _caught(original: Callable[..., Any], operands: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call inside a block of this thread."""
    block = gate.block_here()
    if block is None and not gate.is_probing():
        return original(*operands, **kwargs)
    try:
        written, arrays = _take_apart(operands)
        reading = _read(written, _shapes(arrays))
    except Exception:  # operands that are no arrays, or wrong subscripts, of which the original tells
        return original(*operands, **kwargs)
    if reading.work == 0 or (block is not None and reading.work < block.min_work):
        gate.hook.count_small(reading.work)
        return original(*operands, **kwargs)
    request = _request(reading, arrays, kwargs)
    computed = gate.hook.call_busy(gate.offer, request, Operands(inputs=arrays))
    if computed is not None:
        try:
            return _give(computed, reading, arrays, kwargs.get("out"))
        except Exception as error:  # a result of the wrong shape, say; nothing has been written then
            gate.unrecognised(error)
            return original(*operands, **kwargs)
    start = time.perf_counter()
    result = original(*operands, **kwargs)
    if block is not None:
        block.session.time_last(time.perf_counter() - start)
    return result


# ---- Reading a call ----


def _take_apart(operands: Sequence[Any]) -> tuple[str, tuple[Array, ...]]:
    """Subscripts and arrays of einsum's two forms: subscripts first, or labels after each array.

    Raises
    ------
    TypeError
        Where a list of labels is none.
    ValueError
        For a single operand.
    """
    if isinstance(operands[0], str):
        written, arrays = operands[0], tuple(operands[1:])
    else:
        for labels in (*operands[1::2], *operands[len(operands) // 2 * 2 :]):
            if not isinstance(labels, list | tuple):  # an iterator could not be read twice
                raise TypeError("labels are given as lists or tuples")
        arrays = tuple(operands[: len(operands) // 2 * 2 : 2])
        written = ",".join(map(_letters, operands[1::2]))
        if len(operands) % 2:
            written += "->" + _letters(operands[-1])
    if len(arrays) < 2:
        raise ValueError("a single operand multiplies nothing")
    return written, arrays


def _shapes(arrays: tuple[Array, ...]) -> tuple[tuple[int, ...], ...]:
    """Shapes of the operands.

    Raises
    ------
    TypeError
        Where one is not exactly an array.
    """
    if len(arrays) == 2:  # the usual case, which small calls wait for
        a, b = arrays
        if type(a) is ndarray and type(b) is ndarray:
            return a.shape, b.shape
    for array in arrays:
        if type(array) is not ndarray:
            raise TypeError("only exact arrays are looked at")
    return tuple(array.shape for array in arrays)


def _letters(labels: Sequence[Any]) -> str:
    """A list of labels as letters: 0 to 25 are capitals, 26 to 51 small ones, as in NumPy."""
    if any(label is not Ellipsis and (type(label) is bool or index(label) < 0) for label in labels):
        raise ValueError("labels are integers from 0 to 51")
    return "".join("..." if label is Ellipsis else LABELS[label] for label in labels)


@lru_cache(maxsize=1024)
def _read(written: str, shapes: tuple[tuple[int, ...], ...]) -> Reading:
    """What a call asks.

    Raises
    ------
    Exception
        Of whatever kind, where einsum itself would raise.
    """
    # Only the shapes matter: stand-ins keep the caller's arrays out of the cache.
    arrays = [np.broadcast_to(np.zeros((), np.int8), shape) for shape in shapes]
    if not set(written) <= LETTERS:
        raise ValueError("a character that is no label")
    given, arrow, result = written.partition("->")
    if arrow and "..." in given and "..." not in result:
        raise ValueError("einsum does not sum over an ellipsis")
    subscripts, _ = parse((written, *arrays))
    request = Contraction(function=FUNCTION, dtype="", subscripts=subscripts, shapes=shapes)
    extents = request.extents
    return Reading(subscripts, request.work, tuple(extents[label] for label in subscripts.split("->")[1]))


def _request(reading: Reading, arrays: tuple[Array, ...], kwargs: dict[str, Any]) -> Request:
    """The contraction, or why NumPy must compute it."""
    shapes = tuple(array.shape for array in arrays)
    for array in arrays:
        if array.dtype.char not in KERNELS:
            name = array.dtype.name
            reason = f"{name} stays with NumPy: no kernel gives NumPy's own accuracy for it"
            return observed(FUNCTION, name, shapes, reading.work, reason).request
    dtype = np.result_type(*arrays)
    reason = _objection(reading, kwargs, dtype)
    if reason:
        return observed(FUNCTION, dtype.name, shapes, reading.work, reason).request
    return Contraction(
        function=FUNCTION,
        dtype=dtype.name,
        subscripts=reading.subscripts,
        shapes=shapes,
        strides=tuple(array.strides for array in arrays),
        same=first_places(arrays),
    )


def _objection(reading: Reading, kwargs: dict[str, Any], dtype: np.dtype[Any]) -> str:
    """Why these arguments leave the call to NumPy; empty when they do not."""
    for name, value in kwargs.items():
        if name != "out" and not _is_default(name, value):
            return f"{name}= was given: NumPy computes that"
    out = kwargs.get("out")
    if out is None:
        return ""
    # einsum computes in the common type of the operands and out, and casts safely or not at all.
    if type(out) is np.ndarray and (out.dtype, out.shape, out.flags.writeable) == (
        dtype,
        reading.shape,
        True,
    ):
        return ""
    return f"out= is not a writeable {dtype.name} array of shape {reading.shape}"


def _is_default(name: str, value: Any) -> bool:
    return value is None if name == "dtype" else isinstance(value, str) and value == DEFAULTS.get(name)


# ---- Giving the result as einsum would ----


def _give(computed: Array, reading: Reading, arrays: tuple[Array, ...], out: Array | None) -> Any:
    """The result as the call returns it: in ``out``, or fresh, or a scalar where it has no axes."""
    if out is None and not reading.shape:
        return computed.reshape(())[()]
    result = _allocated(reading.subscripts, arrays, computed.dtype) if out is None else out
    np.copyto(result, computed.reshape(reading.shape))
    return result


def _allocated(subscripts: str, arrays: tuple[Array, ...], dtype: np.dtype[Any]) -> Array:
    """An array in the memory layout that c_einsum gives its result.

    There an iterator allocates it, whose axes are the output's and then the summed labels; so do we.
    """
    terms, output = subscripts.split("->")
    labels = output + "".join(sorted(set(terms) - set(output) - {","}))
    operands, inputs = zip(*map(_without_repeats, arrays, terms.split(",")), strict=True)
    iterator = np.nditer(  # type: ignore[call-overload]
        [*operands, None],
        flags=["external_loop", "buffered", "delay_bufalloc", "grow_inner", "refs_ok", "reduce_ok"],
        op_flags=[*[["readonly"]] * len(arrays), ["readwrite", "allocate", "no_broadcast"]],
        op_dtypes=[*[None] * len(arrays), dtype],
        op_axes=[[term.find(label) for label in labels] for term in (*inputs, output)],
        order="K",
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
