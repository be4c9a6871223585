"""What NumPy's contracting functions ask, as subscripts: explicit, of one letter per label, without ellipses.

Everything is read from shapes and small arguments alone, and remembered. Einsum's own strings are parsed by
opt_einsum; nothing is decided here.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod
from operator import index
from typing import Any

import numpy as np

from numtrn.request import Array, Contraction

__all__ = [
    "Reading",
    "parse",
    "read_chain",
    "read_dot",
    "read_einsum",
    "read_inner",
    "read_tensordot",
    "read_vectors",
    "take_apart",
]

CAPITALS = string.ascii_uppercase + string.ascii_lowercase
LETTERS = frozenset(CAPITALS + ",->. ")
LABELS = string.ascii_lowercase + string.ascii_uppercase
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A contraction of given shapes.

    Attributes
    ----------
    subscripts
        Explicit, such as ``"ij,jk->ik"``.
    work
        Multiply-adds of the single loop nest over all labels.
    shape
        Of the result.
    path
        Order of contraction that the function promises, as in `numtrn.request.Contraction`; None: any.
    """

    subscripts: str
    work: int
    shape: Shape
    path: tuple[tuple[int, ...], ...] | None = None


# ---- Functions that say with axes what they contract ----


@lru_cache(maxsize=1024)
def read_dot(first: Shape, second: Shape) -> Reading:
    """``numpy.dot``: the last axis of A with the last but one of B, or with its only one.

    Raises
    ------
    ValueError
        For scalars, and for extents that differ; the same of all that follow.

    Examples
    --------
    >>> read_dot((2, 3, 4), (5, 4, 6)).subscripts
    'abc,dce->abde'
    """
    return _read_axes(first, second, (len(first) - 1,), (max(len(second) - 2, 0),))


@lru_cache(maxsize=1024)
def read_inner(first: Shape, second: Shape) -> Reading:
    """``numpy.inner``: the last axes with each other.

    >>> read_inner((2, 3, 4), (5, 4)).subscripts
    'abc,dc->abd'
    """
    return _read_axes(first, second, (len(first) - 1,), (len(second) - 1,))


def read_tensordot(first: Shape, second: Shape, axes: Any) -> Reading:
    """``numpy.tensordot``: so many last axes with so many first ones, or the axes named.

    >>> read_tensordot((2, 3, 4), (4, 2, 5), ((0, 2), (1, 0))).subscripts
    'abc,cad->bd'
    """
    is_count = isinstance(axes, np.ndarray) and axes.ndim == 0
    if is_count or not isinstance(axes, list | tuple | np.ndarray):  # an iterator could not be read twice
        count = index(axes)
        return _read_axes(first, second, tuple(range(-count, 0)), tuple(range(count)))
    ours, theirs = (
        tuple(map(index, given)) if isinstance(given, list | tuple | np.ndarray) else (index(given),)
        for given in axes
    )
    return _read_axes(first, second, ours, theirs)


@lru_cache(maxsize=1024)
def _read_axes(first: Shape, second: Shape, ours: tuple[int, ...], theirs: tuple[int, ...]) -> Reading:
    """Two operands of which the named axes are contracted; the result has the rest, in order."""
    places = [range(len(first))[axis] for axis in ours], [range(len(second))[axis] for axis in theirs]
    sizes = [first[place] for place in places[0]], [second[place] for place in places[1]]
    if any(len(set(named)) < len(named) for named in places) or sizes[0] != sizes[1]:
        raise ValueError(
            f"axes of equal size are contracted, each once; got shapes {first} and {second}, "
            f"axes {ours} and {theirs}"
        )
    labels = iter(LABELS)
    term = [next(labels) for _ in first]
    partner = dict(zip(places[1], (term[place] for place in places[0]), strict=True))
    other = [partner[place] if place in partner else next(labels) for place in range(len(second))]
    output = [label for label in term + other if label not in partner.values()]
    return _reading(f"{''.join(term)},{''.join(other)}->{''.join(output)}", (first, second))


@lru_cache(maxsize=256)
def read_chain(shapes: tuple[Shape, ...]) -> Reading:
    """``numpy.linalg.multi_dot``: matrices in a row, multiplied in the order of least work.

    >>> read_chain(((9, 2), (2, 9), (9, 2))).path
    ((1, 2), (0, 1))
    """
    if any(len(shape) != 2 for shape in shapes[1:-1]) or {len(shapes[0]), len(shapes[-1])} - {1, 2}:
        raise ValueError(f"multi_dot multiplies matrices, and vectors at its ends; got shapes {shapes}")
    if any(one[-1] != next_one[0] for one, next_one in pairwise(shapes)):
        raise ValueError(f"multi_dot multiplies matrices whose extents agree; got shapes {shapes}")
    if len(shapes) >= len(LABELS):
        raise ValueError(
            f"one contraction is read of at most {len(LABELS) - 1} matrices, a letter for each extent; "
            f"got {len(shapes)}. NumPy multiplies them two by two, and each product is caught by itself"
        )
    edges = LABELS[: len(shapes) + 1]
    terms = [edges[place : place + 2] for place in range(len(shapes))]
    terms[0] = terms[0][-len(shapes[0]) :]
    terms[-1] = terms[-1][: len(shapes[-1])]
    output = (edges[0] if len(terms[0]) == 2 else "") + (edges[-1] if len(terms[-1]) == 2 else "")
    reading = _reading(f"{','.join(terms)}->{output}", shapes)
    extents = (shapes[0][-2:-1] or (1,)) + tuple(shape[0] for shape in shapes[1:]) + (shapes[-1][1:] or (1,))
    return Reading(reading.subscripts, reading.work, reading.shape, _chain_path(extents))


def _chain_path(extents: Shape) -> tuple[tuple[int, ...], ...]:
    """The order of least work for matrices extents[i] x extents[i + 1]: the classical dynamic programme."""
    count = len(extents) - 1
    best: dict[tuple[int, int], tuple[int, int]] = {(place, place): (0, place) for place in range(count)}
    for length in range(1, count):
        for start in range(count - length):
            stop = start + length
            best[start, stop] = min(
                (
                    best[start, cut][0]
                    + best[cut + 1, stop][0]
                    + extents[start] * extents[cut + 1] * extents[stop + 1],
                    cut,
                )
                for cut in range(start, stop)
            )
    remaining: list[tuple[int, int]] = [(place, place) for place in range(count)]
    path: list[tuple[int, ...]] = []

    def multiply(start: int, stop: int) -> None:
        if start == stop:
            return
        cut = best[start, stop][1]
        multiply(start, cut)
        multiply(cut + 1, stop)
        parts = (start, cut), (cut + 1, stop)
        path.append(tuple(sorted(map(remaining.index, parts))))
        remaining[:] = [part for part in remaining if part not in parts] + [(start, stop)]

    multiply(0, count - 1)
    return tuple(path)


VECTORS = {"matvec": ("mn", "n", "m"), "vecmat": ("n", "nm", "m"), "vecdot": ("n", "n", "")}
"""Core terms of the products with vectors."""


@lru_cache(maxsize=256)
def read_vectors(name: str, first: Shape, second: Shape) -> Reading:
    """``numpy.matvec``, ``vecmat`` or ``vecdot``, which broadcast all axes but their last ones.

    >>> read_vectors("matvec", (3, 4), (7, 4)).subscripts
    'mn,An->Am'
    """
    core = VECTORS[name]
    leads = [len(shape) - len(term) for shape, term in zip((first, second), core, strict=False)]
    if min(leads) < 0:
        raise ValueError(f"{name} takes {core[0]} and {core[1]} last axes; got shapes {first} and {second}")
    batch = CAPITALS[: max(leads)]
    terms = [batch[len(batch) - lead :] + term for lead, term in zip(leads, core, strict=False)]
    subscripts = f"{terms[0]},{terms[1]}->{batch}{core[2]}"
    reading = _reading(subscripts, (first, second))
    if first[-1] != second[-2 if name == "vecmat" else -1]:
        raise ValueError(f"{name} contracts axes of equal size; got shapes {first} and {second}")
    return reading


# ---- Einsum ----


def take_apart(operands: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Subscripts and arrays of einsum's two forms: subscripts first, or labels after each array.

    Raises
    ------
    TypeError
        Where a list of labels is none.
    """
    if isinstance(operands[0], str):
        return operands[0], tuple(operands[1:])
    for labels in (*operands[1::2], *operands[len(operands) // 2 * 2 :]):
        if not isinstance(labels, list | tuple):  # an iterator could not be read twice
            raise TypeError("labels are given as lists or tuples")
    written = ",".join(map(_letters, operands[1::2]))
    if len(operands) % 2:
        written += "->" + _letters(operands[-1])
    return written, tuple(operands[: len(operands) // 2 * 2 : 2])


def _letters(labels: Sequence[Any]) -> str:
    """A list of labels as letters: 0 to 25 are capitals, 26 to 51 small ones, as in NumPy."""
    if any(label is not Ellipsis and (type(label) is bool or index(label) < 0) for label in labels):
        raise ValueError("labels are integers from 0 to 51")
    return "".join("..." if label is Ellipsis else CAPITALS[label] for label in labels)


@lru_cache(maxsize=1024)
def read_einsum(written: str, shapes: tuple[Shape, ...]) -> Reading:
    """``numpy.einsum`` of subscripts as they are written.

    Raises
    ------
    Exception
        Of whatever kind, where einsum itself would raise.
    """
    if not set(written) <= LETTERS:
        raise ValueError("a character that is no label")
    given, arrow, result = written.partition("->")
    if arrow and "..." in given and "..." not in result:
        raise ValueError("einsum does not sum over an ellipsis")
    # Only the shapes matter: stand-ins keep the caller's arrays out of the cache.
    arrays = [np.broadcast_to(np.zeros((), np.int8), shape) for shape in shapes]
    return _reading(parse((written, *arrays))[0], shapes)


def _reading(subscripts: str, shapes: tuple[Shape, ...]) -> Reading:
    extents = Contraction(function="", dtype="", subscripts=subscripts, shapes=shapes).extents
    shape = tuple(extents[label] for label in subscripts.split("->")[1])
    return Reading(subscripts, prod(extents.values()), shape)


def parse(args: Sequence[Any]) -> tuple[str, tuple[Array, ...]]:
    """Subscripts and operands of an einsum call.

    Parameters
    ----------
    args
        Its positional arguments, in any of einsum's forms: explicit, implicit, with ellipses, or with
        lists of integers.

    Returns
    -------
    subscripts : str
        Such as ``"ij,jk->ik"``.
    operands : tuple of ndarray

    Raises
    ------
    ValueError, TypeError
        Where the subscripts do not fit the operands.
    """
    # Imported where used: a block without einsum need not pay for it.
    from opt_einsum.parser import parse_einsum_input

    inputs, output, given = parse_einsum_input(tuple(args))
    operands = tuple(np.asarray(operand) for operand in given)
    _check(inputs.split(","), output, operands)
    return f"{inputs}->{output}", operands


def _check(terms: Sequence[str], output: str, operands: Sequence[Array]) -> None:
    """What opt_einsum leaves to whoever computes: extents that agree, and an output of distinct labels."""
    if len(set(output)) < len(output) or not set(output) <= set("".join(terms)):
        raise ValueError(f"einsum's output names labels of its operands, each once; got {output!r}")
    extents: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        if len(term) != operand.ndim:
            raise ValueError(f"einsum's term {term!r} names {len(term)} axes; its operand has {operand.ndim}")
        if len({*zip(term, operand.shape, strict=True)}) != len(set(term)):  # 'ii' of (1, 3)
            raise ValueError(f"einsum's term {term!r} takes a diagonal of two extents, {operand.shape}")
        for label, extent in zip(term, operand.shape, strict=True):
            if extent != 1 and extents.setdefault(label, extent) != extent:
                raise ValueError(f"einsum's label {label!r} has two extents, {extents[label]} and {extent}")
