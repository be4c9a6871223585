"""Manipulation functions of the standard: shapes, orders of axes, pieces put together and taken apart.

What only views elements is NumPy's function on the array itself, so that a recorded array stays recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import Axes, DType, integers
from numtrn.array_api._helpers import check, given, host, together

__all__ = [
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "concat",
    "expand_dims",
    "flip",
    "moveaxis",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "tile",
    "unstack",
]


def broadcast_arrays(*arrays: Array) -> tuple[Array, ...]:
    """Each of the arrays in the shape to which they broadcast together; read-only views."""
    shape = broadcast_shapes(*(check("broadcast_arrays", x).shape for x in arrays))
    return tuple(broadcast_to(x, shape) for x in arrays)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which shapes broadcast together.

    Raises
    ------
    ValueError
        Where they do not.
    """
    return np.broadcast_shapes(*shapes)


def broadcast_to(x: Array, /, shape: tuple[int, ...]) -> Array:
    """The array in a shape to which it broadcasts; a read-only view."""
    return cast(Array, np.broadcast_to(check("broadcast_to", x), shape))


@together
def concat(arrays: tuple[Array, ...] | list[Array], /, *, axis: int | None = 0) -> Array:
    """Arrays one after the other along an axis; flattened first where that is None."""
    values = [host("concat", x) for x in arrays]
    return given(np.concatenate(values, axis=axis, dtype=_promoted(arrays)), *arrays)


def expand_dims(x: Array, /, axis: int | tuple[int, ...]) -> Array:
    """The array with axes of 1 at these places of the result."""
    return cast(Array, np.expand_dims(check("expand_dims", x), axis))


def flip(x: Array, /, *, axis: Axes = None) -> Array:
    """The elements in reverse along some axes, or along all."""
    return given(np.flip(host("flip", x), axis).copy(), x)


def moveaxis(x: Array, source: int | tuple[int, ...], destination: int | tuple[int, ...], /) -> Array:
    """The array with some axes at other places, the others in their order."""
    moved: Any = np.moveaxis
    return cast(Array, moved(check("moveaxis", x), source, destination))


def permute_dims(x: Array, /, axes: tuple[int, ...]) -> Array:
    """The array with its axes in another order."""
    return cast(Array, np.transpose(check("permute_dims", x), axes))


@together
def repeat(x: Array, repeats: int | Array, /, *, axis: int | None = None) -> Array:
    """Each element several times, along an axis or of the flattened array."""
    values = host("repeat", x)
    if isinstance(repeats, Array):
        return given(np.repeat(values, integers("repeat", "repeats", repeats), axis=axis), x, repeats)
    return given(np.repeat(values, repeats, axis=axis), x)


def reshape(x: Array, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Array:
    """The elements, in C order, in another shape, one extent of which may be -1.

    Raises
    ------
    ValueError
        Where the sizes differ, or ``copy`` is False and the memory cannot be seen in that shape.
    """
    if copy is False and not _is_view(x, shape):
        raise ValueError(f"an array in this memory order cannot be seen as {shape}. Leave out copy=False")
    shaped = cast(Array, np.reshape(check("reshape", x), shape))
    return shaped.copy() if copy else shaped


def roll(x: Array, /, shift: int | tuple[int, ...], *, axis: Axes = None) -> Array:
    """The elements moved along axes, or flattened; what leaves at one end comes in at the other.

    Raises
    ------
    ValueError
        Where there is not one axis for each of several shifts.
    """
    if isinstance(shift, tuple) and (not isinstance(axis, tuple) or len(axis) != len(shift)):
        raise ValueError(f"roll takes as many axes as shifts; got shift={shift} and axis={axis}")
    return given(np.roll(host("roll", x), shift, axis), x)


def squeeze(x: Array, /, axis: int | tuple[int, ...]) -> Array:
    """The array without these axes, which must be of 1."""
    return cast(Array, np.squeeze(check("squeeze", x), axis=axis))


@together
def stack(arrays: tuple[Array, ...] | list[Array], /, *, axis: int = 0) -> Array:
    """Arrays of one shape along a new axis, which has this place in the result."""
    values = [host("stack", x) for x in arrays]
    return given(np.stack(values, axis=axis, dtype=_promoted(arrays)), *arrays)


def tile(x: Array, repetitions: tuple[int, ...], /) -> Array:
    """The array as a tile, so many times along each axis; ones and axes of 1 are put in front."""
    return given(np.tile(host("tile", x), repetitions), x)


def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The slices along an axis."""
    moved = moveaxis(x, axis, 0)
    return tuple(moved[row, ...] for row in range(moved.shape[0]))


def _promoted(arrays: Sequence[Array]) -> DType | None:
    """The dtype of arrays put together, in which arrays without axes count like any other."""
    return np.result_type(*(x.dtype for x in arrays)) if arrays else None


def _is_view(x: Array, shape: tuple[int, ...]) -> bool:
    values = host("reshape", x)
    return not values.size or bool(np.may_share_memory(values, np.reshape(values, shape)))
