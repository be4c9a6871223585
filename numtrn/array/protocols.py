"""NumPy's functions and ufuncs on numtrn arrays (NEP 18, NEP 13): planned, recorded, or NumPy's own.

Inside a block what has a kernel is planned and what has a recorded meaning is recorded (which calls:
`numtrn.array.recording`); the rest is computed by NumPy on host memory, with numtrn arrays coming back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from numtrn import dispatch
from numtrn.array import held, promotion, recording
from numtrn.array.arguments import Arguments, is_plain
from numtrn.array.core import Core
from numtrn.array.devices import agree
from numtrn.array.evaluation import evaluate
from numtrn.array.fuse import pair_energies
from numtrn.array.lazy import Lazy
from numtrn.array.recognise import Recognised, describe, recognise
from numtrn.array.record import Node
from numtrn.block import OpenBlock, current, suspended
from numtrn.request import Request

__all__ = ["Protocols", "asked", "defers", "knows"]

PRODUCTS = ("matmul", "matvec", "vecmat", "vecdot")
"""Ufuncs that contract."""
READ = frozenset(("axes", "optimize", "dtype", "casting"))
"""Keywords that leave a call to kernels; others, such as ``out``, are NumPy's."""


class Protocols(Core):
    """What NumPy asks of other arrays; a base of `numtrn.Array`."""

    __slots__ = ()
    __array_priority__ = 1000

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _on_ufunc(self, ufunc, method, inputs, kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        if not all(issubclass(kind, Core) or is_plain(kind) for kind in types):
            return NotImplemented
        return _call(self, function, args, kwargs)


# ---- Whose call it is ----


def defers(other: Any) -> bool:
    """Whether an operator of ours leaves the call to the other operand, as an ndarray's would.

    One that disables ufuncs, or that has no ufuncs but a higher priority than an ndarray; masked arrays and
    matrices, whose masks and meanings ours would lose.
    """
    kind = type(other)
    if issubclass(kind, (Core, np.generic)) or promotion.is_weak(other):
        return False
    if issubclass(kind, np.ndarray):
        return not is_plain(kind)
    if hasattr(kind, "__array_ufunc__"):
        return kind.__array_ufunc__ is None
    return bool(getattr(other, "__array_priority__", 0) > 0)


def knows(x: Any) -> bool:
    """Whether an operand of a ufunc is ours to compute with: no array of another library, no subclass."""
    kind = type(x)
    if issubclass(kind, Core):
        return True
    return is_plain(kind) if issubclass(kind, np.ndarray) else not hasattr(kind, "__array_ufunc__")


def _on_ufunc(
    one: Core, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """A ufunc, or a method of it; NotImplemented where another array has to answer."""
    out = kwargs.get("out") or ()
    if not all(map(knows, (*inputs, *out))):
        return NotImplemented
    if method == "__call__" and ufunc.__name__ in PRODUCTS:
        return _call(one, ufunc, inputs, kwargs)
    if method == "__call__" and current() is not None and not set(kwargs) - {"out"}:
        recorded = _record_elementwise(one, ufunc, inputs, out)
        if recorded is not None:
            return recorded
    if method == "outer" and np.ndim(inputs[1]):
        first: Any = inputs[0] if isinstance(inputs[0], Core) else np.asarray(inputs[0])
        return ufunc(first[(..., *(None,) * np.ndim(inputs[1]))], inputs[1], **kwargs)
    return _by_numpy(one, ufunc, method, inputs, kwargs)


# ---- Ufuncs ----


def _by_numpy(one: Core, ufunc: np.ufunc, method: str, inputs: Any, kwargs: Mapping[str, Any]) -> Any:
    why = f"numpy.{ufunc.__name__}"
    if any(type(x) is np.ndarray and x.size > 1 for x in inputs):
        why += " with an array that is not recorded"
    arguments = Arguments(one, why)
    plain = [arguments.read(x) for x in inputs]
    if method == "at":
        plain[0] = arguments.written(inputs[0])
    given = {name: arguments.written(x) if name == "out" else arguments.read(x) for name, x in kwargs.items()}
    if promotion.BY_VALUE and method == "__call__" and not set(kwargs) & {"dtype", "signature", "sig"}:
        plain = promotion.by_dtype(ufunc, plain)
    return arguments.given(getattr(ufunc, method)(*plain, **given))


def _record_elementwise(one: Core, ufunc: np.ufunc, inputs: tuple[Any, ...], out: Any) -> Core | None:
    """A ufunc as a recorded array, or as new contents of a recorded ``out``; None if it must be computed."""
    operands = [x[()] if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in _nodes(one, inputs)]
    if not any(isinstance(x, (Node, np.ndarray)) for x in operands):
        return None
    if promotion.BY_VALUE and _looks_at_values(ufunc, operands):
        return None
    node = recording.elementwise(ufunc, operands)
    if node is None:
        return None
    if not out:
        return one._recorded(Lazy(node))
    (target,) = out
    if not isinstance(target, Core) or target._steps or target._node() is None or target._lazy is None:
        return None
    if (target.shape, target.dtype) != (node.shape, node.dtype):
        return None
    return target if target._lazy.rebind(node) else None


def _looks_at_values(ufunc: np.ufunc, operands: list[Any]) -> bool:
    """Whether this NumPy could choose another type for the result than the types of the operands say."""
    if not any(isinstance(x, np.generic) for x in operands):
        return False
    dtypes = [x.dtype for x in operands if isinstance(x, (Node, np.ndarray))]
    return bool(dtypes) and any(
        np.result_type(x.dtype, *dtypes) != np.result_type(*dtypes)
        for x in operands
        if isinstance(x, np.generic)
    )


# ---- Functions ----


def _call(one: Core, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A function on plain data: by kernels where the open block's plan says so, else by NumPy."""
    block = current()
    kept: held.Kept | None = None
    if kwargs.get("out") is None:
        found = _without_values(one, function, args, kwargs, block)
        if found is not None:
            return found
        kept = None if block is None else held.keep(one, function, args, kwargs, block)
        if kept is not None and kept.value is not None:
            return kept.value
    arguments = Arguments(one, _name(function))
    plain_args, plain = _typed(function, *arguments.of(function, args, kwargs))
    if block is None:
        return arguments.given(_compute(function, plain_args, plain))
    if kept is not None:  # refused, or failed
        with suspended():
            return arguments.given(function(*plain_args, **plain))
    return _in_block(one, block, arguments, function, plain_args, plain)


def _without_values(
    one: Core, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], block: OpenBlock | None
) -> Any:
    """What needs no values of arrays that are recorded or that a target holds; None where values do."""
    found = _on_recorded(one, function, args, kwargs, block) if _any_recorded(args) else None
    return _on_target(one, function, args, kwargs) if found is None else found


def _in_block(
    one: Core, block: OpenBlock, arguments: Arguments, function: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    """A function of values: recorded, or by kernels where the block's plan says so, else by NumPy."""
    with suspended():
        node = recording.product(function, args, kwargs, block.min_work)
    if node is not None:
        return one._recorded(Lazy(node))
    recognised = _recognised(function, args, kwargs)
    if recognised is None or recognised.operands is None:
        return arguments.given(_compute(function, args, kwargs))
    with suspended():  # what is computed here, refused or not, is not to be caught again below
        operands = replace(recognised.operands(), memories=arguments.memories)
        value = dispatch.offer_in(block, recognised.request, operands)
        if value is None:
            return arguments.given(function(*args, **kwargs))
    return one._like(np.array(value.reshape(recognised.shape), order="C"))


def _on_target(one: Core, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What needs no values of arrays that a target holds: their views, and questions about their form."""
    if function in recording.QUESTIONS and any(isinstance(x, Core) and x._on_target() for x in args):
        stand_ins = [
            np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, Core) else x for x in args
        ]
        return Arguments(one, "").given(_compute(function, stand_ins, kwargs))
    return held.view(function, args, kwargs)


def _name(function: Callable[..., Any]) -> str:
    """What the session calls it."""
    return f"{getattr(function, '__module__', None) or 'numpy'}.{getattr(function, '__name__', function)}"


def _typed(function: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Arguments of functions that look at values, on a NumPy that does."""
    if not promotion.BY_VALUE:
        return args, kwargs
    if function is np.where and len(args) == 3:
        return (args[0], *promotion.among(args[1:])), kwargs
    if function is np.clip:
        names = ("a", "a_min", "a_max")
        given = dict(zip(names, args[:3], strict=False)) | {
            name: kwargs[name] for name in names if name in kwargs
        }
        there = {name: x for name, x in given.items() if x is not None}
        typed = given | dict(zip(there, promotion.among(list(there.values())), strict=True))
        rest = {name: x for name, x in kwargs.items() if name not in names}
        return tuple(typed.get(name) for name in names) + args[3:], rest
    return args, kwargs


def _compute(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What NumPy answers."""
    return promotion.result_type(*args) if function is np.result_type else function(*args, **kwargs)


def _on_recorded(
    one: Core, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], block: OpenBlock | None
) -> Any:
    """A view of a recorded array, or a sum over it; None where the call has no such meaning."""
    with suspended():
        nodes = _nodes(one, args)
        if function in recording.QUESTIONS:
            stand_ins = [recording.stand_in(x) for x in nodes]
            return Arguments(one, "").given(_compute(function, stand_ins, kwargs))
        step = recording.step(function, nodes, kwargs)
        if step is not None:
            place = next(place for place, x in enumerate(nodes) if isinstance(x, Node))
            return args[place]._view(step)
        found = recording.reduction(function, nodes, kwargs)
        node = recording.spread(function, nodes, kwargs) if found is None and block is not None else None
    if node is not None:
        return one._recorded(Lazy(node))
    if found is None:
        return None
    reduction, shape = found
    return one._like(evaluate(reduction, block).reshape(shape))


def _recognised(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Recognised | None:
    """The call in neutral terms; None where NumPy is to compute it, or to say what is wrong with it."""
    if set(kwargs) - READ:
        return None
    try:
        return recognise(function, args, kwargs)
    except Exception:  # a wrong call: NumPy's own error is the one to see
        return None


def _nodes(one: Core, args: Iterable[Any]) -> list[Any]:
    """Arguments with nodes for recorded arrays, and host arrays for the other ones of numtrn's."""
    found: list[Any] = []
    for x in args:
        if isinstance(x, Core):
            agree(one.device, x.device)
            node = x._node()
            found.append(x._values("an operand") if node is None else node)
        else:
            found.append(x)
    return found


def _any_recorded(args: Iterable[Any]) -> bool:
    return any(isinstance(x, Core) and x._node() is not None for x in args)


# ---- What a call would be ----


def asked(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
    """The request that a call makes, which may have recorded arrays among its arguments; computes nothing.

    Raises
    ------
    TypeError, ValueError
        Where the call itself would be wrong.
    """
    if not _any_recorded(args):
        return describe(function, args, kwargs)
    nodes = _nodes(next(x for x in args if isinstance(x, Core)), args)
    found = recording.reduction(function, nodes, kwargs)
    pairs = None if found is None else pair_energies(found[0])
    if pairs is not None:
        return pairs.request
    return describe(function, [recording.stand_in(x) for x in nodes], kwargs)
