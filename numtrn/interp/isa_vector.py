"""Element-by-element and reducing instructions of VectorE and GpSimd (ISA: one section for each).

They compute in float32 and cast on the way in and out; bitvec operators work on integer bits; GpSimd
computes 32-bit integers exactly, and what it does on overflow is not documented, so that is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.interp.access import bits, flat, instruction, put, put_bits, result, wide
from numtrn.interp.core import Core, Registers, running, since
from numtrn.interp.dtypes import F32, Array
from numtrn.interp.enums import engine as engines
from numtrn.interp.enums import expect, reduce_cmd
from numtrn.interp.faults import fault, hazard
from numtrn.interp.operators import Operator
from numtrn.interp.rules import (
    apart,
    distinct,
    flag,
    int32,
    lane_operand,
    not_both_psum,
    one_of,
    operator,
    partition_start,
    same_elements,
    tile,
    writable,
)
from numtrn.interp.tensor import NkiTensor

__all__ = [
    "reciprocal",
    "scalar_tensor_tensor",
    "tensor_reduce",
    "tensor_scalar",
    "tensor_scalar_reduce",
    "tensor_tensor",
]

INT32 = ("int32", "uint32")
Number = float | NkiTensor


@instruction()
def tensor_tensor(
    dst: NkiTensor,
    data1: NkiTensor,
    data2: NkiTensor,
    op: Operator,
    engine: engines = engines.unknown,
    name: str | None = None,
) -> None:
    """``data1 op data2``, element by element."""
    core = running()
    operator(op, "op")
    one_of(engine, (engines.vector, engines.gpsimd), "tensor_tensor")
    _alu(core, op)
    integers = data1.dtype in INT32 and data2.dtype in INT32 and dst.dtype in INT32
    psum = data1.storage.psum or data2.storage.psum or dst.storage.psum
    if op.family == "bitvec" and engine is engines.gpsimd:
        fault("H19", f"bitvec operators run on VectorE only; got {op} on engine.gpsimd")
    gpsimd = (
        engine is engines.gpsimd
        or op.gpsimd
        or (engine is engines.unknown and integers and not psum and op.family != "bitvec")
    )
    _inputs(core, dst, (data1, data2), gpsimd)
    not_both_psum(data1, data2, "data1 and data2")
    if op.gpsimd and engine is engines.vector:
        fault("H14", f"{op} runs on GpSimd only; got engine.vector")
    if op.family == "bitvec":
        put_bits(dst, _bitvec(op, (dst, data1, data2), bits(data1), bits(data2).reshape(data1.shape)))
    elif gpsimd and integers and not op.gpsimd:
        _exact(op, dst, bits(data1), bits(data2).reshape(data1.shape))
    else:
        out = result(dst, data1.shape)
        _apply(op, wide(data1), wide(data2).reshape(data1.shape), False, out)
        put(dst, out)
    core.issue("gpsimd" if gpsimd else "vector", "tensor_tensor", (dst,), (data1, data2), op=op.name)


@instruction()
def tensor_scalar(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Operator,
    operand0: Number | None,
    reverse0: bool = False,
    op1: Operator | None = None,
    operand1: Number | None = None,
    reverse1: bool = False,
    engine: engines = engines.unknown,
    name: str | None = None,
) -> None:
    """``(data op0 operand0) op1 operand1`` with numbers or one value a partition."""
    core = running()
    one_of(engine, (engines.vector, engines.scalar, engines.gpsimd), "tensor_scalar")
    _operators(core, op0, op1)
    single = op1 is not None and (op1.family == "unary" or op1.name == "invert")
    if (op1 is None) is not (operand1 is None) and not single:
        fault("H18", f"op1 and operand1 go together; got {op1} and {operand1!r}")
    gpsimd = op0.gpsimd or (op1 is not None and op1.gpsimd)
    _scalar_engine(engine, op0, op1, gpsimd)
    _inputs(core, dst, (data,), gpsimd)
    if op0.family == "bitvec":
        values = _bitvec_scalar(core, op0, operand0, reverse0, (dst, data), bits(data))
        if op1 is not None:
            values = _bitvec_scalar(core, op1, operand1, reverse1, (dst, data), values)
        put_bits(dst, values)
    else:
        one = _lane(core, op0, operand0, dst, data, "operand0", gpsimd)
        two = None if op1 is None else _lane(core, op1, operand1, dst, data, "operand1", gpsimd)
        out = result(dst, data.shape)
        _apply(op0, wide(data), one, reverse0, out)
        if op1 is not None:
            _apply(op1, out, two, reverse1, out)
        put(dst, out)
    unit = "gpsimd" if gpsimd else "scalar" if engine is engines.scalar else "vector"
    reads = [data, *(value for value in (operand0, operand1) if isinstance(value, NkiTensor))]
    core.issue(unit, "tensor_scalar", (dst,), reads, op0=op0.name, op1=None if op1 is None else op1.name)


@instruction()
def scalar_tensor_tensor(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Operator,
    operand0: Number,
    op1: Operator,
    operand1: NkiTensor,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> None:
    """``(data op0 operand0) op1 operand1`` with a number or one value a partition, then a tile."""
    core = running()
    _operators(core, op0, op1)
    if op0.family == "bitvec":
        fault("H19", f"scalar_tensor_tensor takes arithmetic operators only; got {op0} and {op1}")
    if op0.gpsimd or op1.gpsimd or op1.family == "unary":
        fault("H19", f"scalar_tensor_tensor runs on VectorE with a binary op1; got {op0} and {op1}")
    _inputs(core, dst, (data, operand1), False)
    not_both_psum(data, operand1, "data and operand1")
    one = _lane(core, op0, operand0, dst, data, "operand0", False)
    other = wide(operand1).reshape(data.shape)
    if operand1.storage is dst.storage:
        other = other.copy()  # the first operator may write in place
    out = result(dst, data.shape)
    _apply(op0, wide(data), one, reverse0, out)
    _apply(op1, out, other, reverse1, out)
    put(dst, out)
    reads = [data, operand1, *((operand0,) if isinstance(operand0, NkiTensor) else ())]
    core.issue("vector", "scalar_tensor_tensor", (dst,), reads, op0=op0.name, op1=op1.name)


@instruction()
def tensor_reduce(
    dst: NkiTensor,
    op: Operator,
    data: NkiTensor,
    axis: int | tuple[int, ...],
    negate: bool = False,
    keepdims: bool = False,
    name: str | None = None,
) -> None:
    """Reduce the last free dimensions of ``data``."""
    core = running()
    operator(op, "op")
    flag(negate, "negate")
    flag(keepdims, "keepdims")
    tile(dst, "dst", core)
    tile(data, "data", core)
    writable(dst)
    axes = _trailing(axis, data)
    if op.fold is None or not op.family:
        fault(
            "H28",
            f"{op} is not a reduction this interpreter has (add, multiply, maximum, minimum, bitwise_*)",
        )
    kept = data.shape[: -len(axes)]
    shape = kept + (1,) * len(axes) if keepdims else kept
    if dst.shape[0] != data.shape[0] or dst.size != _count(kept):
        fault("H17", f"dst must hold {list(shape)} after reducing axes {axes} of {data}; got {dst}")
    distinct(dst, data, "data")
    if op.family == "bitvec":
        _same_integers((dst, data), op)
        if negate:
            fault("H19", f"negate needs an arithmetic operator; got {op}")
        put_bits(dst, op.fold.reduce(bits(data), axis=axes))
    else:
        values = op.fold.reduce(wide(data), axis=axes)
        put(dst, (-values if negate else values).reshape(dst.shape))
    core.issue("vector", "tensor_reduce", (dst,), (data,), op=op.name, axis=axes)


@instruction()
def tensor_scalar_reduce(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Operator,
    operand0: Number,
    reduce_op: Operator,
    reduce_res: NkiTensor | None = None,
    reverse0: bool = False,
    reduce_cmd: reduce_cmd = reduce_cmd.reset_reduce,
    reduce_init: Number | None = None,
    reduce_res_negate: bool = False,
    name: str | None = None,
) -> None:
    """``data op0 operand0``, and its reduction over all free dimensions."""
    core = running()
    _operators(core, op0, None)
    operator(reduce_op, "reduce_op")
    if core.version < (0, 6):
        _since(core, reduce_res, reduce_cmd, reduce_res_negate)
    if op0.family == "bitvec" or op0.gpsimd or reverse0:
        fault(
            "H19",
            f"tensor_scalar_reduce has arithmetic op0 on VectorE and no reverse0; got {op0}, {reverse0}",
        )
    if reduce_op.fold is None or reduce_op.family == "bitvec":
        fault("H28", f"reduce_op must be add, multiply, max or min; got {reduce_op}")
    _inputs(core, dst, (data,), False)
    if reduce_res is not None:
        _per_partition(core, reduce_res, data)
        apart(dst, reduce_res, data, operand0, reduce_init)
    one = _lane(core, op0, operand0, dst, data, "operand0", False)
    init = None if reduce_init is None else lane_operand(reduce_init, data, "reduce_init", core)
    out = result(dst, data.shape)
    _apply(op0, wide(data), one, False, out)
    put(dst, out)
    total = reduce_op.fold.reduce(flat(out), axis=1)
    core.vector_registers = accumulate(core.vector_registers, total, reduce_op, reduce_cmd, data, init)
    if reduce_res is not None:
        values = core.vector_registers.values
        put(reduce_res, (-values if reduce_res_negate else values).reshape(reduce_res.shape))
    writes = (dst,) if reduce_res is None else (dst, reduce_res)
    reads = [data, *((operand0,) if isinstance(operand0, NkiTensor) else ())]
    core.issue("vector", "tensor_scalar_reduce", writes, reads, op0=op0.name, reduce_op=reduce_op.name)


@instruction()
def reciprocal(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> None:
    """``1 / data`` in float32."""
    core = running()
    _inputs(core, dst, (data,), False)
    out = result(dst, data.shape)
    np.reciprocal(wide(data), out=out)
    put(dst, out)
    core.issue("vector", "reciprocal", (dst,), (data,))


def _since(core: Core, reduce_res: NkiTensor | None, command: reduce_cmd, negate: bool) -> None:
    """What tensor_scalar_reduce could not do in older versions (H39)."""
    if reduce_res is None or negate:
        since((0, 6), "tensor_scalar_reduce without reduce_res, or with reduce_res_negate,")
    if command is not reduce_cmd.reset_reduce:
        since((0, 4), "reduce_cmd of tensor_scalar_reduce")


def accumulate(
    registers: Registers | None,
    total: Array,
    op: Operator,
    command: reduce_cmd,
    data: NkiTensor,
    init: Array | np.float32 | None = None,
) -> Registers:
    """Accumulator registers after one instruction; they must have been reset for these lanes (H25)."""
    expect(command, reduce_cmd, "reduce_cmd")
    start = partition_start(data)
    if (init is not None) is not (command is reduce_cmd.load_reduce):
        fault("H25", f"reduce_init goes with reduce_cmd.load_reduce, and only with it; got {command}")
    if command is reduce_cmd.reset_reduce:
        return Registers(start, total)
    if command is reduce_cmd.load_reduce:
        return Registers(start, op.fold(np.ravel(init).astype(F32) if init is not None else total, total))
    if command is not reduce_cmd.reduce:
        fault("H25", f"tensor_scalar_reduce takes reset_reduce, reduce or load_reduce; got {command}")
    if registers is None or registers.start != start or registers.values.shape != total.shape:
        fault("H25", f"the accumulator registers of these partitions were not reset before {command}")
    return Registers(start, op.fold(registers.values, total))


# -- operands --------------------------------------------------------------------------------------


def _inputs(core: Core, dst: NkiTensor, inputs: tuple[NkiTensor, ...], gpsimd: bool) -> None:
    tile(dst, "dst", core, gpsimd)
    writable(dst)
    for data in inputs:
        tile(data, "data", core, gpsimd)
        same_elements(dst, data, "data")
        if data.storage is dst.storage:
            distinct(dst, data, "data")


def _lane(
    core: Core,
    op: Operator,
    value: Number | None,
    dst: NkiTensor,
    data: NkiTensor,
    argument: str,
    gpsimd: bool,
) -> Array | np.float32 | None:
    if op.family == "unary":
        if value is not None and (isinstance(value, NkiTensor) or value != 0):
            fault("H18", f"{argument} must be None or 0 for the unary {op}; got {value!r}")
        return None
    if type(value) is NkiTensor:
        if value.storage is dst.storage:
            distinct(dst, value, argument)
        if gpsimd and value.storage.psum:
            hazard("H14", f"GpSimd cannot access PSUM (A2); {argument} is {value}")
        if value.storage is dst.storage:
            return np.copy(lane_operand(value, data, argument, core))
    return lane_operand(value, data, argument, core)


def _per_partition(core: Core, value: NkiTensor, data: NkiTensor) -> None:
    tile(value, "reduce_res", core)
    writable(value)
    if value.shape[0] != data.shape[0] or value.size != data.shape[0]:
        fault("H18", f"reduce_res must have shape ({data.shape[0]}, 1); got {value}")


def _trailing(axis: Any, data: NkiTensor) -> tuple[int, ...]:
    """The reduced axes, which are the last ones and never the partitions (H28)."""
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    wanted = tuple(range(data.ndim - len(axes), data.ndim))
    if not axes or axes != wanted or wanted[0] < 1:
        fault("H28", f"axis must name the last free dimensions of {data}, in order; got {axis}")
    return axes


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


# -- operators -------------------------------------------------------------------------------------


def _alu(core: Core, op: Operator) -> None:
    if not op.family or op.family == "unary":
        fault("H19", f"{op} is not a binary ALU operator")
    if op.generation > core.chip.generation:
        fault("H29", f"{op} needs gen{op.generation}; {core.chip.name} is gen{core.chip.generation}")


def _operators(core: Core, op0: Operator, op1: Operator | None) -> None:
    for argument, op in (("op0", op0), ("op1", op1)):
        if op is None and argument == "op1":
            continue
        operator(op, argument)
        assert op is not None
        if not op.family:
            fault("H19", f"{op} is not an ALU operator; {argument} must be one")
        if op.generation > core.chip.generation:
            fault(
                "H29",
                f"{op} as {argument} needs gen{op.generation}; {core.chip.name} is gen{core.chip.generation}",
            )
    if op1 is not None and (op0.family == "bitvec") is not (op1.family == "bitvec"):
        fault("H19", f"op0 and op1 must both be bitvec or both arithmetic; got {op0} and {op1}")


_SCALAR_PAIRS = (("multiply", "add"), ("multiply", None), ("add", None))


def _scalar_engine(engine: engines, op0: Operator, op1: Operator | None, gpsimd: bool) -> None:
    """What ScalarE and GpSimd can run of tensor_scalar. ISA lists the pairs for trn2; assumed for all."""
    if engine is engines.scalar and (op0.name, None if op1 is None else op1.name) not in _SCALAR_PAIRS:
        fault("H19", f"ScalarE runs (multiply, add), (multiply, None) and (add, None); got ({op0}, {op1})")
    if engine is engines.gpsimd and op0.name != "rsqrt":
        fault("H19", f"engine.gpsimd is only for rsqrt in tensor_scalar; got {op0}")
    if engine is engines.vector and gpsimd:
        fault("H14", f"{op0} runs on GpSimd only; got engine.vector")


def _apply(op: Operator, values: Array, other: Any, reverse: bool, out: Array) -> None:
    assert op.compute is not None
    if op.family == "unary":
        op.compute(values, out=out)
    elif reverse:
        op.compute(other, values, out=out)
    else:
        op.compute(values, other, out=out)


def _exact(op: Operator, dst: NkiTensor, one: Array, other: Array) -> None:
    """Write 32-bit integers as GpSimd computes them, without rounding."""
    assert op.compute is not None
    if dst.storage.core.dry:  # there are no values whose sum could overflow
        put_bits(dst, one)
        return
    if op.name == "add" and one.dtype == other.dtype == dst.kind.carrier == np.int32:
        least, most = int(one.min()) + int(other.min()), int(one.max()) + int(other.max())
        if least >= -(2**31) and most < 2**31:
            if dst.shape == one.shape:
                np.add(one, other, out=dst.array)
                dst.storage.wrote(dst)
            else:
                put_bits(dst, np.add(one, other))
            return
    unsigned = one.dtype == np.uint32 and other.dtype == np.uint32 and op.name == "multiply"
    kind = np.uint64 if unsigned else np.int64
    out = np.empty(one.shape, kind)
    op.compute(one.astype(kind), other.astype(kind), out=out)
    bounds = np.iinfo(dst.kind.carrier)
    if out.min() < bounds.min or out.max() > bounds.max:
        fault(
            "H21",
            f"GpSimd integer overflow is not documented; {op} gave {out.min()}..{out.max()} for {dst.dtype}",
        )
    put_bits(dst, out.astype(dst.kind.carrier))


def _same_integers(operands: tuple[NkiTensor, ...], op: Operator) -> None:
    kinds = {operand.kind for operand in operands}
    if len(kinds) != 1 or operands[0].kind.family != "int":
        names = ", ".join(operand.dtype for operand in operands)
        fault("H19", f"bitvec operators need integer operands of one dtype; {op} got {names}")


def _bitvec(op: Operator, operands: tuple[NkiTensor, ...], one: Array, other: Any) -> Array:
    _same_integers(operands, op)
    assert op.compute is not None
    kind = one.dtype
    if op.name == "invert":
        fault("H19", "invert takes one operand; use tensor_scalar")
    if op.name not in ("left_shift", "right_shift"):
        return op.compute(one, other).astype(kind, copy=False)  # type: ignore[no-any-return]
    width = 8 * kind.itemsize
    if np.min(other) < 0 or np.max(other) >= width:
        fault("H19", f"shifts of {kind} go from 0 to {width - 1}; got {np.min(other)} to {np.max(other)}")
    plain = np.dtype(f"u{kind.itemsize}")  # both shifts are logical
    shifted: Array = op.compute(one.view(plain), np.asarray(other).astype(plain)).astype(plain, copy=False)
    return shifted.view(kind)


def _bitvec_scalar(
    core: Core, op: Operator, value: Any, reverse: bool, operands: tuple[NkiTensor, ...], values: Array
) -> Array:
    data = operands[-1]
    if op.name == "invert":
        if value is not None and (isinstance(value, NkiTensor) or value != 0):
            fault("H18", f"the operand of the unary {op} must be None or 0; got {value!r}")
        _same_integers(operands, op)
        return np.invert(values)
    other: Any
    if type(value) is NkiTensor:
        tile(value, "operand", core)
        if value.size != value.shape[0] or value.shape[0] != data.shape[0]:
            fault("H18", f"an operand must be a number or a tile of shape ({data.shape[0]}, 1); got {value}")
        other = bits(value).reshape((-1,) + (1,) * (data.ndim - 1))
        operands = (*operands, value)
    else:
        number = int32(value, "operand") if not 2**31 <= _plain(value) < 2**32 else int(value)
        bounds = np.iinfo(data.kind.carrier) if data.kind.family == "int" else np.iinfo(np.int32)
        if not bounds.min <= number <= bounds.max:
            fault("H33", f"the operand of {op} must fit {data.dtype}; got {number}")
        other = data.kind.carrier.type(number)
    if reverse:
        return _bitvec(op, operands, np.broadcast_to(other, values.shape), values)
    return _bitvec(op, operands, values, other)


def _plain(value: Any) -> int:
    return value if isinstance(value, int) else 0
