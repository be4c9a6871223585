"""Functions of ``nki.language`` that compute: each makes a new tile with one or a few instructions.

NKI does not say which instructions it makes; those here are the obvious ones. Functions for which no
instruction exists (ceil, floor, trunc, cos, tan) are computed in NumPy and counted as one activation.
Operands never broadcast (H17); what hardware does not do is refused (H36).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from numtrn.interp.access import put, wide
from numtrn.interp.core import running
from numtrn.interp.dtypes import Array
from numtrn.interp.enums import MemoryRegion, engine
from numtrn.interp.faults import fault
from numtrn.interp.isa_data import nc_stream_shuffle, nc_transpose, tensor_copy, tensor_copy_predicated
from numtrn.interp.isa_gather import nc_n_gather
from numtrn.interp.isa_scalar import activation
from numtrn.interp.isa_tensor import nc_matmul
from numtrn.interp.isa_vector import reciprocal as vector_reciprocal
from numtrn.interp.isa_vector import tensor_reduce, tensor_scalar, tensor_tensor
from numtrn.interp.language import ndarray
from numtrn.interp.operators import CALLS, OPERATORS
from numtrn.interp.rules import tile
from numtrn.interp.tensor import NkiTensor

__all__ = ["FUNCTIONS"]

Tile = NkiTensor
Value = Tile | float


def _like(x: Tile, dtype: str | None, shape: tuple[int, ...] | None = None) -> Tile:
    """A new tile of SBUF."""
    tile(x, "x", running())
    return ndarray(shape or x.shape, dtype or x.dtype)


def _operand(x: Any, name: str) -> Tile:
    if not isinstance(x, NkiTensor):
        fault("H41", f"nl.{name} takes a tile; got {x!r}")
    return x


# -- two operands ----------------------------------------------------------------------------------


def _binary(name: str) -> Callable[..., Tile]:
    op = OPERATORS[name]

    def compute(x: Any, y: Any, dtype: str | None = None) -> Tile:
        first, second = isinstance(x, NkiTensor), isinstance(y, NkiTensor)
        out = _like(_operand(x if first else y, name), dtype)
        if first and second:
            if x.shape != y.shape:
                fault("H17", f"nl.{name} does not broadcast; got {x} and {y}; use nl.broadcast_to")
            tensor_tensor(dst=out, data1=x, data2=y, op=op)
        elif first:
            if name == "power":
                fault("H36", "nl.power takes a tile as exponent")
            tensor_scalar(dst=out, data=x, op0=op, operand0=y)
        else:
            tensor_scalar(dst=out, data=y, op0=op, operand0=x, reverse0=True)
        return out

    return compute


def _refused(name: str, instead: str) -> Callable[..., NoReturn]:
    def compute(x: Value, y: Value, dtype: str | None = None) -> NoReturn:
        fault("H36", f"nl.{name} does not work on hardware; {instead}")

    return compute


# -- one operand -----------------------------------------------------------------------------------


def _activated(name: str) -> Callable[..., Tile]:
    op = OPERATORS[name]

    def compute(x: Tile, dtype: str | None = None) -> Tile:
        out = _like(_operand(x, name), dtype)
        activation(dst=out, op=op, data=x)
        return out

    return compute


def _evaluated(name: str, function: Callable[[Array], Array]) -> Callable[..., Tile]:
    def compute(x: Tile, dtype: str | None = None) -> Tile:
        out = _like(_operand(x, name), dtype)
        put(out, function(wide(x)))
        running().issue("scalar", "activation", (out,), (x,), op=name)
        return out

    return compute


def _scalar(name: str, op: str, operand: Value | None) -> Callable[..., Tile]:
    def compute(x: Tile, dtype: str | None = None) -> Tile:
        out = _like(_operand(x, name), dtype)
        tensor_scalar(dst=out, data=x, op0=OPERATORS[op], operand0=operand)
        return out

    return compute


def _reciprocal(x: Tile, dtype: str | None = None) -> Tile:
    out = _like(_operand(x, "reciprocal"), dtype)
    vector_reciprocal(dst=out, data=x)
    return out


def _rsqrt(x: Tile, dtype: str | None = None) -> Tile:
    out = _like(_operand(x, "rsqrt"), dtype)
    if running().version >= (0, 5):
        tensor_scalar(dst=out, data=x, op0=OPERATORS["rsqrt"], operand0=None)
    else:
        activation(dst=out, op=OPERATORS["rsqrt"], data=x)
    return out


def _copy(x: Tile, dtype: str | None = None) -> Tile:
    """On VectorE into SBUF; up to 0.5 on ScalarE into the memory of ``x``."""
    tile(x, "x", running())
    if running().version >= (0, 6):
        out = ndarray(x.shape, dtype or x.dtype)
        tensor_copy(dst=out, src=x, engine=engine.vector)
    else:
        out = ndarray(x.shape, dtype or x.dtype, buffer=x.buffer)
        activation(dst=out, op=OPERATORS["copy"], data=x)
    return out


# -- reductions ------------------------------------------------------------------------------------


def _axes(x: Tile, axis: Any) -> tuple[int, ...]:
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(a + x.ndim if a < 0 else a for a in axes)


def _kept(x: Tile, axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape after a reduction; a tile keeps two dimensions."""
    shape = x.shape[: x.ndim - len(axes)]
    return shape + (1,) * len(axes) if keepdims else shape if len(shape) > 1 else (*shape, 1)


def _reduction(name: str, op: str) -> Callable[..., Tile]:
    def compute(x: Tile, axis: Any, dtype: str | None = None, keepdims: bool = False) -> Tile:
        axes = _axes(_operand(x, name), axis)
        out = _like(x, dtype, _kept(x, axes, keepdims))
        tensor_reduce(dst=out, op=OPERATORS[op], data=x, axis=axes)
        return out

    return compute


def _wide_reduction(
    x: Tile, axis: Any, keepdims: bool, dtype: str | None, name: str, function: Callable[..., Array]
) -> Tile:
    """A reduction with float32 in between, counted as one tensor_reduce."""
    axes = _axes(_operand(x, name), axis)
    if not axes or axes != tuple(range(x.ndim - len(axes), x.ndim)) or axes[0] < 1:
        fault("H28", f"axis must name the last free dimensions of {x}, in order; got {axis}")
    out = _like(x, dtype, _kept(x, axes, keepdims))
    put(out, function(wide(x), axis=axes).reshape(out.shape))
    running().issue("vector", "tensor_reduce", (out,), (x,), op=name, axis=axes)
    return out


def _mean(x: Tile, axis: Any, dtype: str | None = None, keepdims: bool = False) -> Tile:
    return _wide_reduction(x, axis, keepdims, dtype, "mean", np.mean)


def _var(x: Tile, axis: Any, dtype: str | None = None, keepdims: bool = False) -> Tile:
    return _wide_reduction(x, axis, True, dtype, "var", np.var)


def _all(x: Tile, axis: Any, dtype: str | None = None) -> Tile:
    return _wide_reduction(x, axis, False, dtype, "all", _every)


def _every(values: Array, axis: tuple[int, ...]) -> Array:
    every: Array = np.all(values != 0, axis=axis).astype(np.float32)
    return every


# -- tiles of other shapes -------------------------------------------------------------------------


def _broadcast_to(x: Tile, shape: tuple[int, ...], dtype: str | None = None) -> Tile:
    """Repeat size-one dimensions; the partition by shuffles of one row to each quadrant."""
    shape = tuple(shape)
    if len(shape) != x.ndim or any(have not in (1, want) for have, want in zip(x.shape, shape, strict=True)):
        fault("H17", f"broadcast_to repeats dimensions of size 1 and keeps the rank; got {shape} for {x}")
    if shape == x.shape and dtype in (None, x.dtype):
        return x
    if shape[0] != x.shape[0]:
        x = _spread(x, shape[0])
    if shape == x.shape and dtype in (None, x.dtype):
        return x
    strides = tuple(
        0 if have != want else stride for have, want, stride in zip(x.shape, shape, x.strides, strict=True)
    )
    out = _like(x, dtype, shape)
    source = NkiTensor(x.storage, x.kind, shape, strides, x.offset, x.row, True)
    tensor_copy(dst=out, src=source)
    return out


def _spread(x: Tile, partitions: int) -> Tile:
    out = _like(x, None, (partitions, *x.shape[1:]))
    for start in range(0, partitions, 32):
        group = out[start : min(start + 32, partitions)]
        nc_stream_shuffle(dst=group, src=x, shuffle_mask=[0] * 32)
    return out


def _expand_dims(x: Tile, axis: int) -> Tile:
    return x.expand_dim(axis + x.ndim + 1 if axis < 0 else axis)


def _transpose(x: Tile, dtype: str | None = None) -> Tile:
    """In PSUM."""
    if x.ndim != 2:
        fault("H26", f"nl.transpose takes a tile of two dimensions; got {x}")
    out = ndarray((x.shape[1], x.shape[0]), dtype or x.dtype, buffer=MemoryRegion.psum)
    nc_transpose(dst=out, data=x, engine=engine.tensor)
    return out


def _matmul(x: Tile, y: Tile, transpose_x: bool = False) -> Tile:
    """In PSUM."""
    if not transpose_x:
        fault("H36", "nl.matmul works with transpose_x=True only")
    out = ndarray((x.size // x.shape[0], y.size // y.shape[0]), "float32", buffer=MemoryRegion.psum)
    nc_matmul(dst=out, stationary=x, moving=y, accumulate=False)
    return out


def _where(condition: Tile, x: Value, y: Value, dtype: str | None = None) -> Tile:
    """``x`` where the condition is 1, ``y`` where it is 0."""
    like = next((value for value in (x, y) if isinstance(value, NkiTensor)), condition)
    out = _like(like, dtype)
    predicate = ndarray(condition.shape, "uint8")
    tensor_copy(dst=predicate, src=condition)
    for value, otherwise in ((x, False), (y, True)):
        chosen = value
        if isinstance(value, NkiTensor) and value.kind is not out.kind:
            chosen = _like(value, out.dtype)
            tensor_copy(dst=chosen, src=value)
        if otherwise:
            _complete(out, chosen, predicate)
        elif isinstance(chosen, NkiTensor):
            tensor_copy(dst=out, src=chosen)
        else:
            put(out, np.full(out.shape, chosen, np.float32))
            running().issue("vector", "memset", (out,), ())
    return out


def _complete(out: Tile, value: Value, predicate: Tile) -> None:
    tensor_copy_predicated(dst=out, src=value, predicate=predicate, reverse_pred=True)


def _gather_flattened(data: Tile, indices: Tile, axis: int = 0, dtype: str | None = None) -> Tile:
    if axis != 0 or dtype not in (None, data.dtype):
        fault("unsupported", "this interpreter has gather_flattened with axis=0 and the dtype of data only")
    out = _like(data, None, indices.shape)
    nc_n_gather(dst=out, data=data, indices=indices)
    return out


# -- compositions ----------------------------------------------------------------------------------


def _softmax(x: Tile, axis: Any = -1, dtype: str | None = None) -> Tile:
    axes = _axes(x, axis)
    most = OPERATORS["max"](x, axis=axes, dtype="float32", keepdims=True)
    shifted = OPERATORS["subtract"](x, _broadcast_to(most, x.shape), dtype="float32")
    powers = OPERATORS["exp"](shifted)
    total = FUNCTIONS["sum"](powers, axis=axes, keepdims=True)
    inverse: Tile = _broadcast_to(_reciprocal(total), x.shape)
    result: Tile = OPERATORS["multiply"](powers, inverse, dtype=dtype or x.dtype)
    return result


def _rms_norm(
    x: Tile,
    w: Tile,
    axis: Any,
    n: int,
    epsilon: float = 1e-6,
    dtype: str | None = None,
    compute_dtype: str | None = None,
) -> Tile:
    kind = compute_dtype or "float32"
    axes = _axes(x, axis)
    squares = OPERATORS["square"](x, dtype=kind)
    mean = ndarray(_kept(x, axes, True), "float32")
    total = FUNCTIONS["sum"](squares, axis=axes, dtype="float32", keepdims=True)
    tensor_scalar(
        dst=mean, data=total, op0=OPERATORS["multiply"], operand0=1.0 / n, op1=OPERATORS["add"],
        operand1=epsilon,
    )  # fmt: skip
    scaled = OPERATORS["multiply"](x, _broadcast_to(_rsqrt(mean), x.shape), dtype=kind)
    result: Tile = OPERATORS["multiply"](scaled, w, dtype=dtype or x.dtype)
    return result


_BINARY = (
    "add",
    "subtract",
    "multiply",
    "maximum",
    "minimum",
    "abs_max",
    "abs_min",
    "power",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
    "logical_and",
    "logical_or",
    "logical_xor",
)
_ACTIVATED = (
    "abs",
    "square",
    "exp",
    "log",
    "sqrt",
    "tanh",
    "sigmoid",
    "relu",
    "gelu",
    "gelu_apprx_sigmoid",
    "gelu_apprx_tanh",
    "gelu_dx",
    "gelu_apprx_sigmoid_dx",
    "silu",
    "silu_dx",
    "softplus",
    "mish",
    "erf",
    "erf_dx",
    "sign",
)

CALLS.update({name: _binary(name) for name in _BINARY})
CALLS.update({name: _activated(name) for name in _ACTIVATED})
CALLS.update(
    {
        "sin": _evaluated("sin", np.sin),
        "arctan": _evaluated("arctan", np.arctan),
        "reciprocal": _reciprocal,
        "rsqrt": _rsqrt,
        "copy": _copy,
        "invert": _scalar("invert", "invert", None),
        "max": _reduction("max", "maximum"),
        "min": _reduction("min", "minimum"),
    }
)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "all": _all,
    "broadcast_to": _broadcast_to,
    "ceil": _evaluated("ceil", np.ceil),
    "cos": _evaluated("cos", np.cos),
    "divide": _refused("divide", "multiply by nl.reciprocal"),
    "expand_dims": _expand_dims,
    "floor": _evaluated("floor", np.floor),
    "fmod": _refused("fmod", "subtract multiples"),
    "gather_flattened": _gather_flattened,
    "logical_not": _scalar("logical_not", "equal", 0.0),
    "matmul": _matmul,
    "mean": _mean,
    "mod": _refused("mod", "subtract multiples"),
    "negative": _scalar("negative", "multiply", -1.0),
    "prod": _reduction("prod", "multiply"),
    "rms_norm": _rms_norm,
    "softmax": _softmax,
    "sum": _reduction("sum", "add"),
    "tan": _evaluated("tan", np.tan),
    "transpose": _transpose,
    "trunc": _evaluated("trunc", np.trunc),
    "var": _var,
    "where": _where,
}
"""Functions that are not operators, by name."""
