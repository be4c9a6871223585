"""Instructions of ScalarE (ISA: activation, activation_reduce, activate2).

The hardware evaluates piecewise polynomials in float32 whose error bounds are not published; NumPy's
float32 functions stand in for them. Inputs outside the published range are refused (H24).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.interp.access import flat, instruction, put, wide
from numtrn.interp.core import Core, Registers, running
from numtrn.interp.dtypes import Array
from numtrn.interp.enums import expect
from numtrn.interp.enums import reduce_cmd as commands
from numtrn.interp.faults import fault, hazard
from numtrn.interp.operators import Operator
from numtrn.interp.rules import (
    apart,
    distinct,
    flag,
    lane_operand,
    lanes_distinct,
    operator,
    partition_start,
    same_elements,
    tile,
    writable,
)
from numtrn.interp.tensor import NkiTensor

__all__ = ["activate2", "activation", "activation_reduce"]

Number = float | NkiTensor


@instruction()
def activation(
    dst: NkiTensor,
    op: Operator,
    data: NkiTensor,
    bias: Number | None = None,
    scale: Number = 1.0,
    reduce_op: Operator | None = None,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: commands = commands.idle,
    name: str | None = None,
) -> None:
    """``op(data * scale + bias)``, and optionally its sum over the free dimensions."""
    core = running()
    operator(op, "op")
    expect(reduce_cmd, commands, "reduce_cmd")
    if op.activate is None:
        fault("H24", f"{op} is not an activation function this interpreter has")
    tile(dst, "dst", core)
    tile(data, "data", core)
    writable(dst)
    same_elements(dst, data, "data")
    lanes = [value for value in (bias, scale) if isinstance(value, NkiTensor)]
    for value in (data, *lanes):
        if value.storage is dst.storage:
            distinct(dst, value, "an input")
    _bias(core, op, bias)
    values = _affine(core, data, scale, bias)
    if op.domain is not None:
        _inside(op, values)
    if reduce_res is not None:
        tile(reduce_res, "reduce_res", core)
        writable(reduce_res)
        apart(dst, reduce_res, data, *lanes)
    activated = op.activate(values)
    put(dst, activated)
    _reduce(core, data, activated, reduce_op, reduce_res, reduce_cmd)
    writes = (dst,) if reduce_res is None else (dst, reduce_res)
    core.issue("scalar", "activation", writes, (data, *lanes), op=op.name)


def _affine(core: Core, data: NkiTensor, scale: Number, bias: Number | None) -> Array:
    values = wide(data)
    if isinstance(scale, NkiTensor) or scale != 1.0:
        values = values * lane_operand(scale, data, "scale", core)
    if bias is not None:
        values = values + lane_operand(bias, data, "bias", core, any_float=True)
    return values


def _bias(core: Core, op: Operator, bias: Number | None) -> None:
    generation = core.chip.generation
    if bias is None:
        return
    if generation < 3 and not isinstance(bias, NkiTensor):
        fault("H18", f"on gen2 bias must be a tile of shape (partitions, 1); got {bias!r}")
    if isinstance(bias, NkiTensor) and bias.dtype == "tfloat32":
        fault("H18", "bias may have any dtype but tfloat32")
    if generation < 3 and op.name == "reciprocal":
        fault("H29", "activation nl.reciprocal takes no bias on gen2")


def _inside(op: Operator, values: Array) -> None:
    """Refuse inputs outside the valid range; NaN passes (H24)."""
    assert op.domain is not None
    low, high = op.domain
    size = np.abs(values) if op.signed else values
    outside = (size < low) | (size > high)
    if outside.any():
        sign = "magnitude" if op.signed else "value"
        found = float(values[outside].flat[0])
        hazard("H24", f"activation {op} is valid for {sign} {low:.6g} to {high:.6g}; got {found!r}")


def _reduce(
    core: Core,
    data: NkiTensor,
    activated: Array,
    reduce_op: Operator | None,
    reduce_res: NkiTensor | None,
    command: commands,
) -> None:
    """Plain accumulation in registers, as the prose of ISA says (its pseudo-code adds twice)."""
    start, count = partition_start(data), data.shape[0]
    if command is commands.load_reduce:
        fault("H25", "activation has no reduce_cmd.load_reduce")
    if reduce_op is not None and reduce_op.name != "add":
        fault("H28", f"activation reduces with nl.add only; got {reduce_op}")
    if command in (commands.reset, commands.reset_reduce):
        core.scalar_registers = Registers(start, np.zeros(count, np.float32))
    registers = core.scalar_registers
    if command in (commands.reduce, commands.reset_reduce):
        if reduce_op is None:
            fault("H28", f"{command} needs reduce_op=nl.add")
        _known(registers, start, count)
        assert registers is not None
        registers.values = registers.values + np.add.reduce(flat(activated), axis=1)
    if reduce_res is not None:
        _known(registers, start, count)
        assert registers is not None
        if reduce_res.shape[0] != count or reduce_res.size != count:
            fault("H18", f"reduce_res must have shape ({count}, 1); got {reduce_res}")
        put(reduce_res, registers.values.reshape(reduce_res.shape).copy())


def _known(registers: Registers | None, start: int, count: int) -> None:
    if registers is None or registers.start != start or registers.values.size != count:
        fault("H25", "the accumulator registers of these partitions were not reset; begin with reset_reduce")


@instruction()
def activation_reduce(
    dst: NkiTensor,
    op: Operator,
    data: NkiTensor,
    reduce_op: Operator,
    reduce_res: NkiTensor | None,
    bias: Number | None = None,
    scale: Number = 1.0,
    name: str | None = None,
) -> None:
    """``activation`` with its sum, from a reset."""
    activation(
        dst=dst,
        op=op,
        data=data,
        bias=bias,
        scale=scale,
        reduce_op=reduce_op,
        reduce_res=reduce_res,
        reduce_cmd=commands.reset_reduce,
    )


# -- generation 4 ----------------------------------------------------------------------------------

_PAIRS = (
    ("multiply", "add"),
    ("multiply", "subtract"),
    ("multiply", "bypass"),
    ("add", "bypass"),
    ("subtract", "bypass"),
    ("bypass", "bypass"),
)
_IDENTITY = {"add": 0.0, "maximum": -np.inf, "minimum": np.inf, "abs_max": 0.0, "abs_min": np.inf}


@instruction(version=(0, 4))
def activate2(
    dst: NkiTensor,
    op: Operator,
    data: NkiTensor,
    imm0: Number,
    imm1: Number,
    op0: Operator,
    op1: Operator,
    relu_param: Number = 0.0,
    reverse0: bool = False,
    reverse1: bool = False,
    reduce_op: Operator | None = None,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: commands = commands.idle,
    name: str | None = None,
) -> None:
    """``op((data op0 imm0) op1 imm1)``, and optionally its reduction over the free dimensions."""
    core = running()
    _pair(core, op, op0, op1)
    expect(reduce_cmd, commands, "reduce_cmd")
    tile(dst, "dst", core)
    tile(data, "data", core)
    writable(dst)
    same_elements(dst, data, "data")
    lanes_distinct(dst, data, imm0, imm1, relu_param)
    values = wide(data)
    for stage, (alu, value, reverse) in enumerate(((op0, imm0, reverse0), (op1, imm1, reverse1))):
        flag(reverse, f"reverse{stage}")
        if alu.name != "bypass":
            other = lane_operand(value, data, f"imm{stage}", core)
            assert alu.compute is not None
            values = alu.compute(other, values) if reverse else alu.compute(values, other)
        elif reverse:
            fault("H41", f"reverse{stage} needs op{stage}; got {alu}")
    if op.domain is not None:
        _inside(op, values)
    activated = _activated(op, values, relu_param, data, core)
    if reduce_res is not None:
        tile(reduce_res, "reduce_res", core)
        writable(reduce_res)
        apart(dst, reduce_res, data, imm0, imm1, relu_param)
    put(dst, activated if activated is not values else values.copy())
    _accumulate(core, data, activated, reduce_op, reduce_res, reduce_cmd)
    writes = (dst,) if reduce_res is None else (dst, reduce_res)
    lanes = [value for value in (imm0, imm1, relu_param) if isinstance(value, NkiTensor)]
    core.issue("scalar", "activate2", writes, (data, *lanes), op=op.name, op0=op0.name, op1=op1.name)


def _pair(core: Core, op: Operator, op0: Operator, op1: Operator) -> None:
    if core.chip.generation < 4:
        fault("H29", f"activate2 needs gen4; {core.chip.name} is gen{core.chip.generation}")
    for argument, value in (("op", op), ("op0", op0), ("op1", op1)):
        operator(value, argument)
    if op.activate is None and op.name != "prelu":
        fault("H24", f"{op} is not an activation function this interpreter has")
    if (op0.name, op1.name) not in _PAIRS:
        fault("H19", f"activate2 has these (op0, op1): {_PAIRS}; got ({op0}, {op1})")


def _activated(op: Operator, values: Array, relu_param: Number, data: NkiTensor, core: Core) -> Array:
    if op.activate is not None:
        found: Array = op.activate(values)
        return found
    slope = lane_operand(relu_param, data, "relu_param", core)
    return np.where(values > 0, values, values * slope).astype(np.float32, copy=False)


def _accumulate(
    core: Core,
    data: NkiTensor,
    activated: Array,
    reduce_op: Operator | None,
    reduce_res: NkiTensor | None,
    command: commands,
) -> None:
    """The registers that activation uses as well, with any of five reductions."""
    start, count = partition_start(data), data.shape[0]
    if command is commands.load_reduce:
        fault("H25", "activate2 has no reduce_cmd.load_reduce")
    if command is not commands.idle:
        if reduce_op is None or reduce_op.name not in _IDENTITY:
            fault("H28", f"activate2 reduces by add, maximum, minimum, abs_max or abs_min; got {reduce_op}")
        if command is not commands.reduce:
            core.scalar_registers = Registers(start, np.full(count, _IDENTITY[reduce_op.name], np.float32))
        if command is not commands.reset:
            _known(core.scalar_registers, start, count)
            assert core.scalar_registers is not None
            total = core.scalar_registers.values
            core.scalar_registers = Registers(start, _fold(reduce_op, total, flat(activated)))
    if reduce_res is not None:
        _known(core.scalar_registers, start, count)
        assert core.scalar_registers is not None
        if reduce_res.shape[0] != count or reduce_res.size != count:
            fault("H18", f"reduce_res must have shape ({count}, 1); got {reduce_res}")
        put(reduce_res, core.scalar_registers.values.reshape(reduce_res.shape).copy())


def _fold(op: Operator, total: Array, values: Array) -> Array:
    joined = np.concatenate([total[:, None], values], axis=1)
    folded: Array
    if op.fold is not None:
        folded = op.fold.reduce(joined, axis=1)
        return folded
    pick: Any = np.argmax if op.name == "abs_max" else np.argmin
    last = joined[:, ::-1]  # of equal magnitudes the later one stays (language: abs_max, abs_min)
    folded = last[np.arange(last.shape[0]), pick(np.abs(last), axis=1)]
    return folded
