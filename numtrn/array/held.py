"""Products of float32 arrays whose results stay on the target until somebody asks for values.

Here calls become matrices in memory or on the target; whether the result can stay there is
`numtrn.dispatch.keep_in`'s and the plan's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from numtrn import dispatch
from numtrn.array import recording
from numtrn.array.core import Core
from numtrn.array.devices import agree
from numtrn.array.lazy import OnTarget
from numtrn.array.record import Shape, Source
from numtrn.array.recording import Permute, Regroup
from numtrn.block import OpenBlock, suspended
from numtrn.request import Gemm, k_is_fast
from numtrn.residency import Held, Matrix

__all__ = ["Kept", "keep", "view"]

VIEWS = (np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze, np.reshape, np.ravel)
"""Functions that may give a view of an array without its values."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a product: a result, or None where NumPy is to compute it."""

    value: Core | None


def view(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Core | None:
    """A view of an array on the target, which stays there; None where a call is none, or has to copy."""
    if function not in VIEWS or not args or not isinstance(args[0], Core):
        return None
    form = args[0]._on_target()
    if form is None:
        return None
    step = recording.step(function, [Source(form.stand_in(args[0]._steps)), *args[1:]], kwargs)
    if step is None:
        return None
    steps = (*args[0]._steps, step)
    return None if recording.laid_out(form.shape, steps) is None else args[0]._recorded(form, steps)


def keep(
    one: Core,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    block: OpenBlock,
) -> Kept | None:
    """A product of two float32 arrays, computed where its result may stay; None where the call is no such.

    Arrays whose product is larger than both together are not among them: these are recorded.

    Raises
    ------
    KernelError, VerificationError
        As `numtrn.dispatch.offer_in`.
    """
    operands = [x for x in args if hasattr(x, "shape")][:2]
    if len(operands) < 2 or not all(map(_is_operand, operands)) or operands[0] is operands[1]:
        return None
    found = _contraction(function, args, kwargs)
    if found is None:
        return None
    name, labels = found
    extents = recording.extents(labels.subscripts, [x.shape for x in operands])
    if extents is None:
        return None
    shape = tuple(extents[label] for label in labels.output)
    if recording.outgrows(shape, operands):
        return None
    left = _matrix(operands[0], labels.first, (labels.batch, labels.left, labels.contracted), extents)
    right = _matrix(operands[1], labels.second, (labels.batch, labels.contracted, labels.right), extents)
    if left is None or right is None:
        return None
    for x in operands:
        agree(one.device, x.device if isinstance(x, Core) else one.device)
    memories = tuple(x._memory for x in operands if isinstance(x, Core) and x._memory is not None)
    with suspended():
        result = dispatch.keep_in(block, _request(name, left, right), left, right, memories)
    if isinstance(result, Held):
        return Kept(one._recorded(OnTarget(result, shape)))
    return Kept(None if result is None else one._like(result.reshape(shape)))


def _request(name: str, left: Matrix, right: Matrix) -> Gemm:
    """The product of two matrices, whose result may stay."""
    batch, m, k = left.shape
    return Gemm(
        function=name,
        dtype="float32",
        batch=batch,
        m=m,
        k=k,
        n=right.shape[2],
        k_is_fast=k_is_fast(left.stand_in, right.stand_in),
        held=(left.held is not None, right.held is not None),
        stays=True,
    )


def _is_operand(x: Any) -> bool:
    known = isinstance(x, Core) or type(x) is np.ndarray
    return (
        known and x.dtype == np.float32 and x.ndim > 1 and not (isinstance(x, Core) and x._node() is not None)
    )


@dataclass(frozen=True, slots=True)
class _Labels:
    """A contraction of two operands whose labels are a product's, in the order of the result."""

    subscripts: str
    first: str
    second: str
    output: str
    batch: str
    left: str
    contracted: str
    right: str


def _contraction(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[str, _Labels] | None:
    """The name and labels of a call that is a product, results in the order batch, left, right."""
    try:
        stand_ins = [np.broadcast_to(np.float32(0), x.shape) if isinstance(x, Core) else x for x in args]
        found = None if set(kwargs) - {"axes"} else recording.contraction(function, stand_ins, kwargs)
    except Exception:  # a wrong call: NumPy's own error is the one to see
        return None
    if found is None:
        return None
    name, subscripts, _ = found
    inputs, output = subscripts.split("->")
    first, second = inputs.split(",")
    if len(set(first)) < len(first) or len(set(second)) < len(second):
        return None
    batch = "".join(label for label in output if label in first and label in second)
    left = "".join(label for label in output if label not in second)
    right = "".join(label for label in output if label not in first)
    contracted = "".join(label for label in first if label in second and label not in output)
    if output != batch + left + right or not contracted:
        return None
    return name, _Labels(subscripts, first, second, output, batch, left, contracted, right)


def _matrix(x: Any, term: str, groups: tuple[str, str, str], extents: Mapping[str, int]) -> Matrix | None:
    """An operand (batch, rows, columns) as it lies, in memory or on the target, if it lies so."""
    axes = tuple(term.index(label) for group in groups for label in group)
    batch, rows, columns = (prod(extents[label] for label in group) for group in groups)
    shape = batch, rows, columns
    form = x._on_target() if isinstance(x, Core) else None
    if form is None:
        values = x._values("a product") if isinstance(x, Core) else x
        matrix = values.transpose(axes).reshape(shape)
        return Matrix(host=matrix) if np.may_share_memory(matrix, values) else None
    lies = recording.laid_out(form.shape, (*x._steps, Permute(axes), Regroup(shape)))
    if lies is None:
        return Matrix(host=x._values("a product").transpose(axes).reshape(shape))
    return _on_target(form.held, *lies)


def _on_target(held: Held, shape: Shape, strides: list[int]) -> Matrix | None:
    """What is held, or its transposes, where extents and strides are those."""
    batch, rows, columns = held.shape
    for turned, extents, along in (
        (False, (batch, rows, columns), (rows * columns, columns, 1)),
        (True, (batch, columns, rows), (rows * columns, 1, columns)),
    ):
        alike = all(s == t for s, t, extent in zip(strides, along, extents, strict=True) if extent > 1)
        if shape == extents and alike:
            return Matrix(held=held, turned=turned)
    return None
