"""Which NumPy calls on numtrn arrays are recorded, and as what. Nothing is computed here.

The rules, each a function: `product`, `elementwise`, `spread`, `step` (views) and `reduction`. Each answers
None where the call has no recorded meaning. Arguments are nodes, for numtrn arrays that are not computed, and
plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from operator import index
from string import ascii_letters
from typing import Any, TypeAlias

import numpy as np

from numtrn.array.record import (
    Elementwise,
    Node,
    Product,
    Reshaped,
    Shape,
    Source,
    Transposed,
    groups,
    nodes,
    products,
    snapshot,
)
from numtrn.array.tiles import Reduction
from numtrn.request import Array
from numtrn.subscripts import parse

__all__ = [
    "QUESTIONS",
    "SUMS",
    "Permute",
    "Regroup",
    "Step",
    "contraction",
    "elementwise",
    "extents",
    "in_words",
    "indexed",
    "is_view",
    "laid_out",
    "product",
    "reduction",
    "spread",
    "stand_in",
    "step",
    "viewed",
]

KINDS = "fdFD"
"""Types that are recorded."""


# ---- Products ----


def product(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], min_work: float
) -> Product | None:
    """The contraction to record: one of two plain arrays whose result is larger than both together.

    It must also have the multiply-adds from which a block looks at a call at all.
    """
    if set(kwargs) - {"axes", "optimize"} or not all(_is_plain(x) for x in _arrays(args)):
        return None
    try:
        found = contraction(function, args, kwargs)
    except Exception:  # a wrong call: NumPy's own error is the one to see
        return None
    if found is None:
        return None
    name, subscripts, (a, b) = found
    sizes = extents(subscripts, (a.shape, b.shape))
    if sizes is None:
        return None
    shape = tuple(sizes[label] for label in subscripts.split("->")[1])
    if not outgrows(shape, (a, b)) or prod(sizes.values()) < max(min_work, 1):
        return None
    operands = snapshot(a), snapshot(b)
    dtype = np.result_type(a.dtype, b.dtype)
    return Product(function=name, subscripts=subscripts, operands=operands, shape=shape, dtype=dtype)


def outgrows(shape: Shape, operands: Iterable[Any]) -> bool:
    """Whether a product is larger than its operands together: it is recorded then, and not computed."""
    together: int = sum(x.size for x in operands)
    return prod(shape) > together


def contraction(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, str, tuple[Array, ...]] | None:
    """Name, subscripts and operands of a contraction of two arrays."""
    if function is np.einsum:
        if "axes" in kwargs:
            return None
        subscripts, arrays = parse(args)
        return ("numpy.einsum", subscripts, arrays) if len(arrays) == 2 else None
    forms = {np.matmul: _matmul, np.dot: _dot, np.inner: _inner, np.tensordot: _tensordot}
    if function not in forms or (function is not np.tensordot and (kwargs or len(args) != 2)):
        return None
    form = forms[function](*args, **kwargs)
    return None if form is None else (f"numpy.{function.__name__}", form, tuple(args[:2]))


def _matmul(a: Array, b: Array) -> str | None:
    if a.ndim < 2 or b.ndim != a.ndim or a.shape[:-2] != b.shape[:-2]:
        return None
    lead = ascii_letters[3 : 1 + a.ndim]
    return f"{lead}ab,{lead}bc->{lead}ac"


def _dot(a: Array, b: Array) -> str | None:
    return _tensordot(a, b, ((-1,), (-2,))) if a.ndim >= 2 and b.ndim >= 2 else None


def _inner(a: Array, b: Array) -> str | None:
    return _tensordot(a, b, ((-1,), (-1,))) if a.ndim >= 2 and b.ndim >= 2 else None


def _tensordot(a: Any, b: Any, axes: Any = 2) -> str:
    """Subscripts of a tensordot of two things with a shape."""
    first, second = ascii_letters[: len(a.shape)], list(ascii_letters[26 : 26 + len(b.shape)])
    if np.iterable(axes):
        of_a, of_b = ([index(axis) for axis in np.atleast_1d(given)] for given in axes)
    else:
        of_a, of_b = list(range(-index(axes), 0)), list(range(index(axes)))
    for one, other in zip(of_a, of_b, strict=True):
        second[other] = first[one]
    summed = {first[axis] for axis in of_a}
    output = "".join(label for label in (*first, *second) if label not in summed)
    return f"{first},{''.join(second)}->{output}"


def extents(subscripts: str, shapes: Sequence[Shape]) -> dict[str, int] | None:
    """Size of each label of a contraction that can be recorded."""
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    extents: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(set(term)) != len(term) or len(term) != len(shape):
            return None
        for label, extent in zip(term, shape, strict=True):
            if extents.setdefault(label, extent) != extent:
                return None
    shared = set(terms[0]) & set(terms[1])
    if not shared - set(output) or any(label not in output and label not in shared for label in extents):
        return None
    return extents


# ---- Elementwise ----

SUMS = (np.add, np.subtract)

MOST_NODES = 100
"""Of a longer expression what there is so far is computed before it grows."""


def elementwise(ufunc: np.ufunc, inputs: Sequence[Any]) -> Elementwise | None:
    """The ufunc call to record.

    One that a recorded array goes into, where plain operands have together fewer elements than the result; or
    a sum or difference of plain arrays that broadcast to more elements than they have together, such as the
    orbital energies in a denominator.

    Raises
    ------
    ValueError, TypeError
        As NumPy would, where shapes or dtypes do not fit.
    """
    if ufunc.nout != 1 or ufunc.signature is not None or not all(map(_is_operand, inputs)):
        return None
    arrays = [x for x in inputs if isinstance(x, (Node, np.ndarray))]
    plain = [x for x in arrays if isinstance(x, np.ndarray)]
    if any(x.dtype.char not in KINDS for x in arrays):
        return None
    try:
        shape = np.broadcast_shapes(*(x.shape for x in arrays))
    except ValueError:
        ufunc(*(stand_in(x) for x in inputs))  # NumPy's own error
        return None
    if len(_inner_nodes(inputs)) > MOST_NODES:
        return None
    if len(plain) < len(arrays):
        worthwhile = prod(shape) > sum(x.size for x in plain)
    else:
        outer = prod(shape) > max(x.size for x in plain)
        worthwhile = outer and ufunc in SUMS and all(x.dtype.kind == "f" for x in plain)
    if not worthwhile:
        return None
    dtype = _dtype_of(ufunc, inputs)
    if dtype.char not in KINDS:
        return None
    kept = tuple(map(_kept, inputs))
    return Elementwise(ufunc=ufunc, inputs=kept, shape=shape, dtype=dtype, errors=np.geterr())


def _inner_nodes(inputs: Sequence[Any]) -> list[Node]:
    return list(nodes(*(x for x in inputs if isinstance(x, Node))))


def spread(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Elementwise | None:
    """The product to record that an einsum of two operands is which sums over nothing.

    As of `elementwise`: ``np.einsum("iajb,jb->iajb", t, x)`` is ``t * x``.
    """
    if function is not np.einsum or set(kwargs) - {"optimize"}:
        return None
    if not all(isinstance(x, (Node, str, list, tuple)) or _is_plain(x) for x in args):
        return None
    given = [x for x in args if isinstance(x, (Node, np.ndarray))]
    subscripts, _ = parse([stand_in(x) for x in args])
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    if len(given) != 2 or len(terms) != 2 or set(output) != set("".join(terms)):
        return None
    if any(len(set(term)) != len(term) for term in terms):
        return None
    return elementwise(
        np.multiply, [_laid_out(x, term, output) for x, term in zip(given, terms, strict=True)]
    )


def _laid_out(x: Any, term: str, output: str) -> Any:
    """An operand with its axes in the order of the result, and axes of 1 for those it lacks."""
    x = viewed(x, Permute(tuple(term.index(label) for label in output if label in term)))
    extents = iter(x.shape)
    return viewed(x, Regroup(tuple(next(extents) if label in term else 1 for label in output)))


def _is_operand(x: Any) -> bool:
    return isinstance(x, Node) or _is_plain(x) or isinstance(x, (int, float, complex, np.number))


def _kept(x: Any) -> Any:
    """An input of a ufunc that nobody can change any more."""
    if isinstance(x, np.ndarray):
        return x[()] if x.ndim == 0 else snapshot(x)
    return x


def _dtype_of(ufunc: np.ufunc, inputs: Sequence[Any]) -> np.dtype[Any]:
    """Type of the result, by NumPy's own rules."""
    ones = (np.ones((1,) * len(x.shape), x.dtype) if isinstance(x, (Node, np.ndarray)) else x for x in inputs)
    with np.errstate(all="ignore"):
        return np.asarray(ufunc(*ones)).dtype


# ---- Views ----


@dataclass(frozen=True, slots=True)
class Permute:
    """Axes in another order."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Regroup:
    """Another shape, in C order."""

    shape: Shape


Step: TypeAlias = Permute | Regroup


def viewed(x: Any, step: Step) -> Any:
    """A node, or a computed array, after a step."""
    if isinstance(x, Node):
        return Transposed(x, step.axes) if isinstance(step, Permute) else Reshaped(x, step.shape)
    return x.transpose(step.axes) if isinstance(step, Permute) else x.reshape(step.shape)


def is_view(shape: Shape, steps: Sequence[Step], last: Step) -> bool:
    """Whether NumPy makes a view in this step, not a copy, of an array in C order after the steps before."""
    return laid_out(shape, (*steps, last)) is not None


def laid_out(shape: Shape, steps: Sequence[Step]) -> tuple[Shape, list[int]] | None:
    """Shape and strides, in elements, of an array in C order after some steps; None if one has to copy."""
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    for one in steps:
        if isinstance(one, Permute):
            shape, strides = tuple(shape[k] for k in one.axes), [strides[k] for k in one.axes]
            continue
        found = _strides(shape, strides, one.shape)
        if found is None:
            return None
        shape, strides = one.shape, found
    return shape, strides


def _strides(shape: Shape, strides: Sequence[int], new: Shape) -> list[int] | None:
    """Strides of a view in a new shape; None where axes that are merged do not follow each other."""
    kept = [(extent, stride) for extent, stride in zip(shape, strides, strict=True) if extent != 1]
    found: list[int] = []
    for old, split in groups(tuple(extent for extent, _ in kept), new):
        if any(kept[k][1] != kept[k + 1][0] * kept[k + 1][1] for k in old[:-1]):
            return None
        stride = kept[old[-1]][1] if len(old) else 1
        found += [stride * prod(new[k + 1 : split.stop]) for k in split]
    return found


def step(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Step | None:
    """The view that a call on one recorded array gives."""
    if function is np.einsum and args and isinstance(args[0], str) and not kwargs:
        return _permutation(args)
    if not args or not isinstance(args[0], Node):
        return None
    node, *rest = args
    if function in (np.transpose, np.swapaxes, np.moveaxis):
        # Extents that differ tell where the axes went.
        marked = np.broadcast_to(np.int8(0), tuple(range(2, 2 + len(node.shape))))
        return Permute(tuple(extent - 2 for extent in function(marked, *rest, **kwargs).shape))
    if function in (np.expand_dims, np.squeeze):
        return Regroup(function(_stand_in(node.shape, node.dtype), *rest, **kwargs).shape)
    if function is np.reshape and len(rest) == 1 and not kwargs:
        return Regroup(_reshaped(node.shape, rest[0]))
    if function is np.ravel and not rest and not kwargs:
        return Regroup((prod(node.shape),))
    return None


def _reshaped(shape: Shape, wanted: Any) -> Shape:
    """The shape asked for, with -1 resolved."""
    new = [index(extent) for extent in (wanted if np.iterable(wanted) else (wanted,))]
    given = tuple(new)
    size = prod(shape)
    if new.count(-1) == 1:
        known = prod(extent for extent in new if extent != -1)
        new[new.index(-1)] = size // known if known > 0 else -1
    if prod(new) != size or min(new, default=0) < 0:
        raise ValueError(f"cannot reshape array of size {size} into shape {given}")
    return tuple(new)


def _permutation(args: Sequence[Any]) -> Permute | None:
    """The permutation that an einsum of one recorded array is."""
    if len(args) != 2 or not isinstance(args[1], Node):
        return None
    subscripts, _ = parse([args[0], _stand_in(args[1].shape, args[1].dtype)])
    term, output = subscripts.split("->")
    if sorted(term) != sorted(output) or len(set(term)) != len(term):
        return None
    return Permute(tuple(term.index(label) for label in output))


def indexed(shape: Shape, key: Any) -> Step | None:
    """The view by an index that only adds axes of 1.

    Raises
    ------
    IndexError
        As NumPy's.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if not all(part is None or part is Ellipsis or _is_all(part) for part in parts):
        return None
    return Regroup(_stand_in(shape, np.dtype(np.int8))[key].shape)


def _is_all(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)


# ---- Reductions ----


def reduction(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Reduction, Shape] | None:
    """The reduction of recorded arrays that a call is, and the shape of its result.

    All labels must occur in one recorded operand, and the result must be smaller than that.

    Raises
    ------
    ValueError, TypeError, IndexError
        As NumPy would, where the call is wrong.
    """
    found: tuple[Reduction, Shape] | None = None
    if function is np.sum:
        found = _sum(*args, **kwargs) if not set(kwargs) - {"axis", "keepdims"} and len(args) < 3 else None
    elif function is np.einsum and not set(kwargs) - {"optimize"}:
        found = _einsum(args)
    elif function in (np.vdot, np.dot, np.inner, np.matmul) and len(args) == 2 and not kwargs:
        found = _inner_product(function, *args)
    elif function is np.tensordot and all(isinstance(x, Node) or _is_plain(x) for x in args[:2]):
        found = _einsum((_tensordot(*args, **kwargs), *args[:2]), "numpy.tensordot")
    if found is None or found[0].dtype.char not in KINDS:
        return None
    largest = max(
        (node for node in found[0].nodes if products(node)), key=lambda x: prod(x.shape), default=None
    )
    if largest is None or prod(found[1]) >= prod(largest.shape):
        return None
    return found


def _sum(node: Any, axis: Any = None, keepdims: bool = False) -> tuple[Reduction, Shape] | None:
    if not isinstance(node, Node):
        return None
    if axis is None and not keepdims:
        while isinstance(node, (Reshaped, Transposed)):
            node = node.of
    np.sum(np.empty((0,) * len(node.shape)), axis=axis)  # NumPy's own error where the axes are wrong
    places = range(len(node.shape))
    axes = set(places) if axis is None else {places[index(a)] for a in np.atleast_1d(axis)}
    letters = ascii_letters[: len(places)]
    output = "".join(letters[place] for place in places if place not in axes)
    terms = ((node, letters),)
    found = Reduction(function="numpy.sum", terms=terms, output=output, dtype=node.dtype, how="sum")
    kept = tuple(1 if place in axes else extent for place, extent in enumerate(node.shape))
    return found, kept if keepdims else found.shape


def _einsum(args: Sequence[Any], name: str = "numpy.einsum") -> tuple[Reduction, Shape] | None:
    if not all(isinstance(x, (Node, str, list, tuple)) or _is_plain(x) for x in args):
        return None
    given = [x for x in args if isinstance(x, (Node, np.ndarray))]
    marked = [_stand_in(x.shape, x.dtype) if isinstance(x, (Node, np.ndarray)) else x for x in args]
    try:
        subscripts, _ = parse(marked)
    except Exception:
        np.einsum(*marked)  # NumPy's own error, at once
        return None
    inputs, output = subscripts.split("->")
    if len(given) != len(inputs.split(",")):
        return None
    terms = tuple(zip(map(_node, given), inputs.split(","), strict=True))
    labels = set("".join(inputs.split(",")))
    if not any(
        isinstance(x, Node) and set(term) == labels for x, (_, term) in zip(given, terms, strict=True)
    ):
        return None
    if any(node.dtype.char not in KINDS for node, _ in terms):
        return None
    dtype = np.result_type(*(node.dtype for node, _ in terms))
    found = Reduction(function=name, terms=terms, output=output, dtype=dtype)
    return found, found.shape


def _inner_product(function: Callable[..., Any], a: Any, b: Any) -> tuple[Reduction, Shape] | None:
    """``vdot`` of real arrays, or a product of two vectors."""
    if not all(isinstance(x, Node) or _is_plain(x) for x in (a, b)):
        return None
    a, b = _node(a), _node(b)
    vectors = len(a.shape) == len(b.shape) == 1
    if not (vectors or (function is np.vdot and a.shape == b.shape)) or a.shape != b.shape:
        return None
    if function is np.vdot and (a.dtype.kind == "c" or b.dtype.kind == "c"):
        return None
    while isinstance(a, Reshaped) and isinstance(b, Reshaped) and a.of.shape == b.of.shape:
        a, b = a.of, b.of
    letters = ascii_letters[: len(a.shape)]
    dtype = np.result_type(a.dtype, b.dtype)
    name = f"numpy.{function.__name__}"
    return Reduction(function=name, terms=((a, letters), (b, letters)), output="", dtype=dtype), ()


# ---- Words, stand-ins ----

QUESTIONS: tuple[Callable[..., Any], ...] = (
    *(np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.result_type, np.can_cast),
    *(np.empty_like, np.zeros_like, np.ones_like),
)
"""Functions that look at shape and dtype only."""


def in_words(node: Node) -> str:
    """What a recorded array is, in words.

    Such as ``'iaQ,jbQ->iajb'``, or ``divide of 'iaQ,jbQ->iajb'``.
    """
    names = ", ".join(dict.fromkeys(repr(one.subscripts) for one in products(node)))
    top = next((one for one in nodes(node) if not isinstance(one, (Transposed, Reshaped))), node)
    if isinstance(top, Product):
        return names if top is node else f"view of {names}"
    if isinstance(top, Elementwise):
        return f"{top.ufunc.__name__} of {names or 'small arrays'}"
    return "view"


def _arrays(args: Sequence[Any]) -> list[Any]:
    return [x for x in args if hasattr(x, "shape")]


def _is_plain(x: Any) -> bool:
    return type(x) is np.ndarray and x.dtype.char in KINDS


def _node(x: Any) -> Node:
    """An operand of what is computed at once, which needs no copy."""
    return x if isinstance(x, Node) else Source(x)


def stand_in(x: Any) -> Any:
    """For a node an array of its shape and dtype without memory; anything else as it is."""
    return _stand_in(x.shape, x.dtype) if isinstance(x, Node) else x


def _stand_in(shape: Shape, dtype: np.dtype[Any]) -> Array:
    return np.broadcast_to(np.zeros((), dtype), shape)
