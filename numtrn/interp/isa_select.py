"""Instructions of VectorE that select by predicate, range or rank (ISA: one section for each)."""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.interp.access import bits, flat, instruction, put, put_bits, wide
from numtrn.interp.core import Core, running
from numtrn.interp.dtypes import Array
from numtrn.interp.enums import expect
from numtrn.interp.enums import reduce_cmd as commands
from numtrn.interp.faults import fault
from numtrn.interp.isa_vector import accumulate
from numtrn.interp.operators import OPERATORS, Operator
from numtrn.interp.rules import (
    apart,
    constant,
    distinct,
    flag,
    int32,
    lane_operand,
    lanes_distinct,
    not_both_psum,
    operator,
    same_elements,
    tile,
    writable,
)
from numtrn.interp.tensor import NkiTensor

__all__ = ["max8", "nc_find_index8", "nc_match_replace8", "range_select", "select_reduce"]

Number = float | NkiTensor
LEAST = -3.4028235e38
"""What range_select puts where the range does not hold; no other value is allowed (ISA: range_select)."""
_MAXIMUM = OPERATORS["maximum"]


def _result(core: Core, dst: NkiTensor, *inputs: NkiTensor) -> None:
    tile(dst, "dst", core)
    writable(dst)
    for data in inputs:
        tile(data, "an input", core)
        distinct(dst, data, "an input")


def _maximum(
    op: Operator, command: commands, reduce_res: NkiTensor | None, dst: NkiTensor, *inputs: Number
) -> None:
    operator(op, "reduce_op")
    lanes_distinct(dst, *inputs)
    expect(command, commands, "reduce_cmd")
    if op.name not in ("maximum", "max"):
        fault("H28", f"reduce_op is nl.maximum here; got {op}")
    if reduce_res is None:
        return
    tile(reduce_res, "reduce_res", running())
    writable(reduce_res)
    apart(dst, reduce_res, *inputs)
    if not reduce_res.kind.is_float or reduce_res.shape[0] != dst.shape[0] or reduce_res.size != dst.shape[0]:
        fault("H18", f"reduce_res must be float of shape ({dst.shape[0]}, 1); got {reduce_res}")


def _reduce(
    core: Core, values: Array, data: NkiTensor, command: commands, reduce_res: NkiTensor | None
) -> None:
    """The shared registers of VectorE; idle may change them (H25)."""
    if command is commands.idle:
        core.vector_registers = None
        if reduce_res is not None:
            fault("H25", "reduce_res needs a reduce_cmd that reduces; got idle")
        return
    total = np.maximum.reduce(flat(values), axis=1)
    core.vector_registers = accumulate(core.vector_registers, total, _MAXIMUM, command, data)
    if reduce_res is not None:
        put(reduce_res, core.vector_registers.values.reshape(reduce_res.shape))


@instruction()
def select_reduce(
    dst: NkiTensor,
    predicate: NkiTensor,
    on_true: NkiTensor,
    on_false: Number,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: commands = commands.idle,
    reduce_op: Operator = _MAXIMUM,
    reverse_pred: bool = False,
    name: str | None = None,
) -> None:
    """``on_true`` where the predicate is true, ``on_false`` elsewhere, and optionally the maximum."""
    core = running()
    flag(reverse_pred, "reverse_pred")
    _result(core, dst, predicate, on_true)
    _maximum(reduce_op, reduce_cmd, reduce_res, dst, predicate, on_true, on_false)
    same_elements(dst, predicate, "predicate")
    same_elements(dst, on_true, "on_true")
    not_both_psum(on_true, predicate, "on_true and predicate")
    if predicate.dtype not in ("int8", "uint8", "int16", "uint16"):
        fault("H41", f"predicate must be int8, uint8, int16 or uint16; got {predicate}")
    if on_true.dtype in ("tfloat32", "int32", "uint32"):
        fault("H41", f"on_true cannot be tfloat32, int32 or uint32; got {on_true}")
    chosen = (bits(predicate) == 0 if reverse_pred else bits(predicate) != 0).reshape(dst.shape)
    other = lane_operand(on_false, dst, "on_false", core, any_float=True)
    values = np.where(chosen, wide(on_true).reshape(dst.shape), other).astype(np.float32, copy=False)
    put(dst, values)
    _reduce(core, values, on_true, reduce_cmd, reduce_res)
    writes = (dst,) if reduce_res is None else (dst, reduce_res)
    reads = (predicate, on_true, *((on_false,) if isinstance(on_false, NkiTensor) else ()))
    core.issue("vector", "select_reduce", writes, reads)


_COMPARISONS = ("equal", "less", "less_equal", "greater", "greater_equal")


@instruction()
def range_select(
    dst: NkiTensor,
    on_true_tile: NkiTensor,
    comp_op0: Operator,
    comp_op1: Operator,
    bound0: NkiTensor,
    bound1: NkiTensor,
    reduce_cmd: commands = commands.reset_reduce,
    reduce_res: NkiTensor | None = None,
    reduce_op: Operator = _MAXIMUM,
    range_start: int = 0,
    on_false_value: Any = LEAST,
    name: str | None = None,
) -> None:
    """Keep elements whose index satisfies two comparisons with a bound for each partition."""
    core = running()
    if core.chip.generation < 3:
        fault("H29", f"range_select needs gen3; {core.chip.name} is gen2")
    for argument, op in (("comp_op0", comp_op0), ("comp_op1", comp_op1)):
        operator(op, argument)
        if op.name not in _COMPARISONS:
            fault("H41", f"{argument} must be equal, less(_equal) or greater(_equal); got {op}")
    _result(core, dst, on_true_tile)
    _maximum(reduce_op, reduce_cmd, reduce_res, dst, on_true_tile, bound0, bound1)
    same_elements(dst, on_true_tile, "on_true_tile")
    if not on_true_tile.kind.is_float:
        fault("H41", f"on_true_tile must be of a floating dtype; got {on_true_tile}")
    if constant(on_false_value, "on_false_value") != np.float32(LEAST):
        fault("H28", f"on_false_value must be {LEAST}; got {on_false_value}")
    values = flat(wide(on_true_tile))
    first = int32(range_start, "range_start")
    if not 0 <= first <= 2**24 - values.shape[1]:
        fault("H21", f"range_start plus the index must stay below 2^24; got {first}")
    places = (first + np.arange(values.shape[1])).astype(np.float32)[None, :]
    inside = np.ones(values.shape, bool)
    for op, bound in ((comp_op0, bound0), (comp_op1, bound1)):
        if not isinstance(bound, NkiTensor):
            fault("H18", f"a bound must be a float32 tile of shape ({dst.shape[0]}, 1); got {bound!r}")
        assert op.compute is not None
        inside &= op.compute(places, np.reshape(lane_operand(bound, on_true_tile, "bound", core), (-1, 1)))
    kept = np.where(inside, values, np.float32(LEAST))
    put(dst, kept.reshape(dst.shape))
    _reduce(core, kept, on_true_tile, reduce_cmd, reduce_res)
    writes = (dst,) if reduce_res is None else (dst, reduce_res)
    core.issue("vector", "range_select", writes, (on_true_tile, bound0, bound1))


# -- eight of them ---------------------------------------------------------------------------------


def _eight(value: NkiTensor, partitions: int, argument: str) -> None:
    if value.shape[0] != partitions or value.size != 8 * partitions:
        fault("H17", f"{argument} must have {partitions} partitions of 8 elements; got {value}")


def _length(data: NkiTensor) -> None:
    count = data.size // data.shape[0]
    if not 8 <= count <= 16384 or data.ndim > 3:
        fault("H30", f"8 to 16384 elements a partition, in at most 3 dimensions, are needed; got {data}")


@instruction()
def max8(dst: NkiTensor, src: NkiTensor, name: str | None = None) -> None:
    """The 8 largest values of each partition, descending."""
    core = running()
    _result(core, dst, src)
    _eight(dst, src.shape[0], "dst")
    _length(src)
    put(dst, -np.sort(-flat(wide(src)), axis=1)[:, :8].reshape(dst.shape))
    core.issue("vector", "max8", (dst,), (src,))


@instruction()
def nc_find_index8(dst: NkiTensor, data: NkiTensor, vals: NkiTensor, name: str | None = None) -> None:
    """Where 8 values occur in each partition; repeated values get successive places."""
    core = running()
    _result(core, dst, data, vals)
    _eight(dst, data.shape[0], "dst")
    _eight(vals, data.shape[0], "vals")
    _length(data)
    if dst.dtype not in ("uint16", "uint32"):
        fault("H41", f"dst must be uint16 or uint32; got {dst}")
    missing = int(np.iinfo(dst.kind.carrier).max)
    put_bits(dst, _places(flat(wide(data)), flat(wide(vals)), range(8), missing).astype(dst.kind.carrier))
    core.issue("vector", "nc_find_index8", (dst,), (data, vals))


def _places(values: Array, wanted: Array, order: Any, missing: int) -> Array:
    """Place of each wanted value, each place used once, served in the given order."""
    found = np.full(wanted.shape, missing, np.int64)
    for row in range(values.shape[0]):
        free = np.ones(values.shape[1], bool)
        for slot in order:
            places = np.flatnonzero((values[row] == wanted[row, slot]) & free)
            if places.size:
                found[row, slot] = places[0]
                free[places[0]] = False
    return found


@instruction()
def nc_match_replace8(
    dst: NkiTensor,
    data: NkiTensor,
    vals: NkiTensor,
    imm: float,
    dst_idx: NkiTensor | None = None,
    name: str | None = None,
) -> None:
    """Replace the first occurrence of 8 values by a constant; repeated values are served from the last."""
    core = running()
    _result(core, dst, data, vals)
    same_elements(dst, data, "data")
    _eight(vals, data.shape[0], "vals")
    values = flat(wide(data))
    found = _places(values, flat(wide(vals)), range(7, -1, -1), -1)
    kept = values.copy()
    for row, slot in np.argwhere(found >= 0):
        kept[row, found[row, slot]] = constant(imm, "imm")
    if dst_idx is not None:
        _result(core, dst_idx)
        apart(dst, dst_idx, data, vals)
        _eight(dst_idx, data.shape[0], "dst_idx")
        if dst_idx.dtype not in ("uint16", "uint32"):
            fault("H41", f"dst_idx must be uint16 or uint32; got {dst_idx}")
        put_bits(dst_idx, found.astype(dst_idx.kind.carrier))
    put(dst, kept.reshape(dst.shape))
    writes = (dst,) if dst_idx is None else (dst, dst_idx)
    core.issue("vector", "nc_match_replace8", writes, (data, vals))
