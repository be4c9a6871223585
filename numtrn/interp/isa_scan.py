"""Instructions of VectorE whose elements depend on their neighbours, and exponential (ISA)."""

from __future__ import annotations

import numpy as np

from numtrn.interp.access import flat, instruction, put, wide
from numtrn.interp.core import Core, Registers, running
from numtrn.interp.dtypes import Array
from numtrn.interp.enums import expect
from numtrn.interp.enums import reduce_cmd as commands
from numtrn.interp.faults import fault
from numtrn.interp.isa_vector import accumulate
from numtrn.interp.operators import OPERATORS, Operator
from numtrn.interp.rules import (
    apart,
    distinct,
    flag,
    lane_operand,
    lanes_distinct,
    not_both_psum,
    operator,
    partition_start,
    same_elements,
    tile,
    writable,
)
from numtrn.interp.tensor import NkiTensor

__all__ = ["bn_aggr", "bn_stats", "exponential", "tensor_scalar_cumulative", "tensor_tensor_scan"]

Number = float | NkiTensor


def _result(core: Core, dst: NkiTensor, *inputs: NkiTensor) -> None:
    tile(dst, "dst", core)
    writable(dst)
    for data in inputs:
        tile(data, "an input", core)
        distinct(dst, data, "an input")


def _binary(core: Core, op: Operator, argument: str) -> None:
    operator(op, argument)
    if op.family != "arithmetic" or op.gpsimd:
        fault("H19", f"{argument} must be a binary arithmetic operator of VectorE; got {op}")
    if op.generation > core.chip.generation:
        fault("H29", f"{op} needs gen{op.generation}; {core.chip.name} is gen{core.chip.generation}")


def _lanes(value: Number, data: NkiTensor, argument: str, core: Core) -> Array:
    """One float32 for each partition."""
    lanes = np.ravel(lane_operand(value, data, argument, core))
    return np.broadcast_to(lanes, (data.shape[0],)).astype(np.float32)


def _tiles(*values: object) -> list[NkiTensor]:
    return [value for value in values if isinstance(value, NkiTensor)]


@instruction()
def tensor_tensor_scan(
    dst: NkiTensor,
    data0: NkiTensor,
    data1: NkiTensor,
    initial: Number,
    op0: Operator,
    op1: Operator,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> None:
    """``r[i] = (data0[i] op0 r[i - 1]) op1 data1[i]`` from left to right."""
    core = running()
    _binary(core, op0, "op0")
    _binary(core, op1, "op1")
    flag(reverse0, "reverse0")
    flag(reverse1, "reverse1")
    _result(core, dst, data0, data1)
    same_elements(dst, data0, "data0")
    same_elements(dst, data1, "data1")
    not_both_psum(data0, data1, "data0 and data1")
    lanes_distinct(dst, initial)
    state = _lanes(initial, data0, "initial", core)
    one, other = flat(wide(data0)).T.copy(), flat(wide(data1)).T.copy()
    out = np.empty(one.shape, np.float32)
    assert op0.compute is not None
    assert op1.compute is not None
    for step in range(one.shape[0]):
        row = out[step]
        op0.compute(*((state, one[step]) if reverse0 else (one[step], state)), out=row)
        op1.compute(*((other[step], row) if reverse1 else (row, other[step])), out=row)
        state = row
    put(dst, out.T.reshape(dst.shape))
    core.issue(
        "vector", "tensor_tensor_scan", (dst,), _tiles(data0, data1, initial), op0=op0.name, op1=op1.name
    )


_START = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "maximum": -np.inf, "minimum": np.inf}


@instruction()
def tensor_scalar_cumulative(
    dst: NkiTensor,
    src: NkiTensor,
    op0: Operator,
    op1: Operator,
    imm0: Number,
    imm1: Number | None = None,
    reduce_cmd: commands = commands.reset_reduce,
    name: str | None = None,
) -> None:
    """``r[i] = (src[i] op0 imm0) op1 r[i - 1]``, with the registers as ``r[-1]``."""
    core = running()
    _binary(core, op0, "op0")
    operator(op1, "op1")
    op1 = {"max": OPERATORS["maximum"], "min": OPERATORS["minimum"]}.get(op1.name, op1)
    if op1.name not in _START:
        fault("H28", f"op1 must be add, subtract, multiply, max or min; got {op1}")
    _result(core, dst, src)
    lanes_distinct(dst, imm0, imm1)
    same_elements(dst, src, "src")
    for operand in (dst, src):
        if operand.dtype in ("int32", "uint32", "tfloat32", "bool_"):
            fault("H41", f"tensor_scalar_cumulative has no 32-bit integers; got {operand}")
    state = _initial(core, op1, src, imm1, reduce_cmd)
    assert op0.compute is not None
    assert op1.compute is not None
    values = np.empty((src.size // src.shape[0], src.shape[0]), np.float32)
    op0.compute(flat(wide(src)).T, _lanes(imm0, src, "imm0", core), out=values)
    for row in values:
        op1.compute(row, state, out=row)
        state = row
    core.vector_registers = Registers(partition_start(src), state.copy())
    put(dst, values.T.reshape(dst.shape))
    core.issue(
        "vector", "tensor_scalar_cumulative", (dst,), _tiles(src, imm0, imm1), op0=op0.name, op1=op1.name
    )


def _initial(core: Core, op: Operator, src: NkiTensor, imm1: Number | None, command: commands) -> Array:
    """The registers before the first element (H25)."""
    expect(command, commands, "reduce_cmd")
    if (imm1 is not None) is not (command is commands.load_reduce):
        fault("H25", f"imm1 goes with reduce_cmd.load_reduce, and only with it; got {command}")
    if command is commands.reset_reduce:
        return np.full(src.shape[0], _START[op.name], np.float32)
    if imm1 is not None:
        return _lanes(imm1, src, "imm1", core)
    registers = core.vector_registers
    known = registers is not None and registers.start == partition_start(src)
    if command is not commands.reduce or registers is None or not known:
        fault("H25", f"the accumulator registers of these partitions were not reset before {command}")
    if registers.values.size != src.shape[0]:
        fault("H25", f"the accumulator registers hold {registers.values.size} partitions; got {src}")
    return registers.values


@instruction()
def exponential(
    dst: NkiTensor,
    src: NkiTensor,
    max_value: Number = 0.0,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: commands = commands.idle,
    reduce_init: Number = 0.0,
    name: str | None = None,
) -> None:
    """``exp(src - max_value)``, and optionally its sum over the free dimensions."""
    core = running()
    expect(reduce_cmd, commands, "reduce_cmd")
    if core.chip.generation < 4:
        fault("H29", f"exponential needs gen4; {core.chip.name} is gen{core.chip.generation}")
    _result(core, dst, src)
    lanes_distinct(dst, max_value, reduce_init)
    same_elements(dst, src, "src")
    if dst.dtype in ("uint32", "bool_") or src.dtype in ("tfloat32", "bool_"):
        fault("H41", f"exponential does not take these dtypes; got {src} to {dst}")
    values = np.exp(wide(src) - lane_operand(max_value, src, "max_value", core))
    put(dst, values.reshape(dst.shape))
    loads = reduce_cmd is commands.load_reduce
    if not loads and (isinstance(reduce_init, NkiTensor) or reduce_init != 0.0):
        fault("H25", "reduce_init goes with reduce_cmd.load_reduce only")
    if reduce_cmd is commands.idle:
        core.vector_registers = None
        if reduce_res is not None:
            fault("H25", "reduce_res needs a reduce_cmd that reduces; got idle")
    else:
        total = np.add.reduce(flat(values), axis=1)
        init = _lanes(reduce_init, src, "reduce_init", core) if loads else None
        core.vector_registers = accumulate(
            core.vector_registers, total, OPERATORS["add"], reduce_cmd, src, init
        )
    _read_registers(core, dst, src, reduce_res, max_value, reduce_init)
    writes = (dst,) if reduce_res is None else (dst, reduce_res)
    core.issue("vector", "exponential", writes, _tiles(src, max_value))


def _read_registers(
    core: Core, dst: NkiTensor, src: NkiTensor, reduce_res: NkiTensor | None, *lanes: Number
) -> None:
    if reduce_res is None:
        return
    tile(reduce_res, "reduce_res", core)
    writable(reduce_res)
    apart(dst, reduce_res, src, *lanes)
    if not reduce_res.kind.is_float or reduce_res.shape[0] != src.shape[0] or reduce_res.size != src.shape[0]:
        fault("H18", f"reduce_res must be float of shape ({src.shape[0]}, 1); got {reduce_res}")
    assert core.vector_registers is not None
    put(reduce_res, core.vector_registers.values.reshape(reduce_res.shape))


# -- statistics ------------------------------------------------------------------------------------

BN_STATS_MAX = 512
"""Largest free size of bn_stats (ISA: bn_stats)."""


@instruction()
def bn_stats(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> None:
    """Count, mean and variance times count of the even and of the odd elements of each partition."""
    core = running()
    _result(core, dst, data)
    values = flat(wide(data))
    if values.shape[1] > BN_STATS_MAX:
        fault("H30", f"bn_stats takes at most {BN_STATS_MAX} elements a partition; got {data}")
    if dst.shape[0] != data.shape[0] or dst.size != 6 * data.shape[0]:
        fault("H17", f"dst must have {data.shape[0]} partitions of 6 elements; got {dst}")
    out = np.zeros((data.shape[0], 6), np.float32)
    for first, half in ((0, values[:, 0::2]), (3, values[:, 1::2])):
        count = half.shape[1]
        if count:
            out[:, first] = count
            out[:, first + 1] = half.mean(axis=1)
            out[:, first + 2] = half.var(axis=1) * count
    put(dst, out.reshape(dst.shape))
    core.issue("vector", "bn_stats", (dst,), (data,))


@instruction()
def bn_aggr(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> None:
    """Mean and variance of each partition from the results of bn_stats."""
    core = running()
    _result(core, dst, data)
    values = flat(wide(data))
    if values.shape[1] % 3 or dst.shape[0] != data.shape[0] or dst.size != 2 * data.shape[0]:
        fault("H17", f"data holds triples and dst 2 elements a partition; got {data} and {dst}")
    count, mean, spread = (values[:, k::3] for k in range(3))
    total = count.sum(axis=1)
    center = (count * mean).sum(axis=1) / total
    out = np.empty((data.shape[0], 2), np.float32)
    out[:, 0] = center
    out[:, 1] = (spread + count * (mean - center[:, None]) ** 2).sum(axis=1) / total
    put(dst, out.reshape(dst.shape))
    core.issue("vector", "bn_aggr", (dst,), (data,))
