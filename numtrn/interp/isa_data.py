"""Instructions that move, transpose, fill or select (ISA: one section for each)."""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.interp.access import bits, flat, instruction, put, put_bits, wide
from numtrn.interp.core import Core, running
from numtrn.interp.dtypes import Array
from numtrn.interp.enums import dge_mode as dge_modes
from numtrn.interp.enums import engine as engines
from numtrn.interp.enums import expect
from numtrn.interp.enums import oob_mode as oob_modes
from numtrn.interp.faults import fault, hazard
from numtrn.interp.isa_indirect import indirect_copy, outside
from numtrn.interp.isa_tensor import one_bank
from numtrn.interp.operators import OPERATORS, Operator
from numtrn.interp.registers import VirtualRegister
from numtrn.interp.rules import (
    constant,
    distinct,
    dma_operand,
    flag,
    int32,
    not_both_psum,
    one_of,
    operator,
    partition_start,
    same_elements,
    tile,
    writable,
)
from numtrn.interp.tensor import IndirectTensor, NkiTensor

__all__ = [
    "affine_select",
    "dma_copy",
    "dma_transpose",
    "iota",
    "memset",
    "nc_stream_shuffle",
    "nc_transpose",
    "tensor_copy",
    "tensor_copy_predicated",
]

KEEP = 255
"""Entry of a shuffle mask that leaves a partition alone (ISA: nc_stream_shuffle)."""

# -- DMA -------------------------------------------------------------------------------------------


@instruction(2, indirect=True)
def dma_copy(
    dst: NkiTensor,
    src: NkiTensor,
    priority: int | None = None,
    oob_mode: oob_modes = oob_modes.error,
    dge_mode: dge_modes = dge_modes.unknown,
    engine: engines = engines.unknown,
    name: str | None = None,
) -> None:
    """Copy between HBM and SBUF, casting through float32 if the types differ."""
    core = running()
    if type(dst) is IndirectTensor or type(src) is IndirectTensor:
        indirect_copy(core, dst, src, priority, oob_mode, dge_mode, engine)
        return
    dma_operand(dst, "dst", core)
    dma_operand(src, "src", core)
    writable(dst)
    if dst.size != src.size:
        fault("H17", f"dma_copy needs equal element counts; dst has {list(dst.shape)}, src {list(src.shape)}")
    if priority is not None or dge_mode is not dge_modes.unknown or engine is not engines.unknown:
        _dge(core, dst, src, priority, dge_mode, engine)
    if oob_mode is not oob_modes.error:
        expect(oob_mode, oob_modes, "oob_mode")
    if src.storage is dst.storage and np.shares_memory(dst.array, src.array):
        fault("alias", f"a DMA must not read what it writes; dst is {dst}, src {src}")
    if dst.kind is src.kind:
        put_bits(dst, bits(src))
    else:
        put(dst, wide(src))
    core.issue("dma", "dma_copy", (dst,), (src,), dge_mode=dge_mode.name, trigger=engine.name)


def _dge(
    core: Core, dst: NkiTensor, src: NkiTensor, priority: int | None, mode: dge_modes, engine: engines
) -> None:
    """Rules of descriptor generation (H16, H29; ISA: dma_copy)."""
    expect(mode, dge_modes, "dge_mode")
    expect(engine, engines, "engine")
    if priority is not None and core.chip.generation < 4:
        fault("H29", f"priority needs gen4; {core.chip.name} is gen{core.chip.generation}")
    if priority is not None and priority not in range(4):
        fault("H29", f"priority is 0 to 3; got {priority!r}")
    if mode is dge_modes.hwdge:
        if core.chip.generation < 3:
            hazard("H16", f"dge_mode.hwdge needs gen3; {core.chip.name} is gen2")
        if dst.kind is not src.kind:
            hazard("H16", f"dge_mode.hwdge does not cast; got {src.dtype} to {dst.dtype}")
        if engine not in (engines.unknown, engines.sync, engines.scalar):
            hazard("H16", f"engine of a hwdge DMA is sync or scalar; got engine.{engine.name}")
    elif engine is not engines.unknown:
        hazard("H16", f"engine is only valid with dge_mode.hwdge; got engine.{engine.name} with {mode}")


_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}


@instruction(3, indirect=True)
def dma_transpose(
    dst: NkiTensor,
    src: NkiTensor,
    axes: tuple[int, ...] | None = None,
    priority: int | None = None,
    dge_mode: dge_modes = dge_modes.unknown,
    oob_mode: oob_modes = oob_modes.error,
    name: str | None = None,
) -> None:
    """Transpose into SBUF, elements of 2 or 4 bytes; 4 is not documented to compile."""
    core = running()
    if type(src) is IndirectTensor:
        _gather_transpose(core, dst, src, axes, oob_mode, dge_mode)
        return
    dma_operand(dst, "dst", core)
    dma_operand(src, "src", core)
    writable(dst)
    expect(dge_mode, dge_modes, "dge_mode")
    expect(oob_mode, oob_modes, "oob_mode")
    if not dst.on_chip:
        fault("H27", f"dma_transpose writes to SBUF; dst is {dst}")
    wanted = _AXES.get(src.ndim)
    if wanted is None or (axes is not None and tuple(axes) != wanted):
        fault("H27", f"axes must be (1, 0), (2, 1, 0) or (3, 1, 2, 0) by rank; got {axes} for {src}")
    if dst.kind is not src.kind or src.kind.bytes not in (2, 4):
        fault("H27", f"dma_transpose keeps a dtype of 2 or 4 bytes; got {src.dtype} to {dst.dtype}")
    if dst.shape != tuple(src.shape[k] for k in wanted):
        fault("H27", f"dst must have the transposed shape of {src}; got {dst}")
    _hwdge_transpose(core, src, dge_mode, priority)
    if src.storage is dst.storage and np.shares_memory(dst.array, src.array):
        fault("alias", f"a DMA must not read what it writes; dst is {dst}, src {src}")
    put_bits(dst, bits(src).transpose(wanted))
    core.issue("dma", "dma_transpose", (dst,), (src,), dge_mode=dge_mode.name)


def _gather_transpose(
    core: Core,
    dst: NkiTensor,
    src: IndirectTensor,
    axes: tuple[int, ...] | None,
    oob_mode: oob_modes,
    mode: dge_modes,
) -> None:
    """Gather rows of HBM by index and transpose them (ISA: dma_transpose, indirect)."""
    if src.vector is None:
        dma_transpose(dst, src.located(), axes, dge_mode=mode)
        return
    dma_operand(dst, "dst", core)
    writable(dst)
    rows, wanted = src.shape[0], _AXES.get(src.ndim)
    if core.chip.generation < 3 or mode not in (dge_modes.unknown, dge_modes.swdge):
        fault("H27", f"an indirect transpose needs gen3 and swdge; got {mode} on {core.chip.name}")
    if wanted is None or (axes is not None and tuple(axes) != wanted):
        fault("H27", f"axes must be (1, 0), (2, 1, 0) or (3, 1, 2, 0) by rank; got {axes} for {src}")
    if src.kind.bytes != 2 or dst.kind is not src.kind or src.shape[-1] > 128 or rows % 16:
        fault("H27", f"an indirect transpose takes rows of at most 128 elements of 2 bytes; got {src}, {dst}")
    lanes, columns = src.vector.shape[0], src.vector.size // src.vector.shape[0]
    if src.vector.dtype != "uint32" or lanes % 16 or (columns > 1 and lanes != 128):
        fault("H27", f"the indices must be uint32 with 16 to 128 partitions; got {src.vector}")
    if dst.shape != tuple(src.shape[k] for k in wanted) or not dst.on_chip:
        fault("H27", f"dst must have the transposed shape of {src} in SBUF; got {dst}")
    for place, (index, row) in enumerate(src.rows()):
        if row is None:
            outside(oob_mode, index, src)
            continue
        column = dst[..., place : place + 1]
        put_bits(column, bits(row).transpose(wanted))
    core.issue("dma", "dma_transpose", (dst,), (src, src.vector), dge_mode=dge_modes.swdge.name)


def _hwdge_transpose(core: Core, src: NkiTensor, mode: dge_modes, priority: int | None) -> None:
    if priority is not None and core.chip.generation < 4:
        fault("H29", f"priority needs gen4; {core.chip.name} is gen{core.chip.generation}")
    if mode is dge_modes.unknown:
        return
    if mode is not dge_modes.hwdge or core.chip.generation < 3:
        fault(
            "H27",
            f"dma_transpose takes dge_mode.unknown, or hwdge from gen3 on; got {mode} on {core.chip.name}",
        )
    rows = src.shape[0]
    if core.version < (0, 6) and src.shape[-1] % 128:
        fault("H27", f"before NKI 0.6 the last dimension of a hwdge transpose is 128; got {src}")
    shaped = rows == 16 if src.ndim == 2 else rows in (1, 2, 4, 8, 16) and rows * src.shape[-2] % 16 == 0
    if not shaped or src.shape[-1] > 128 or src.kind.bytes != 2:
        fault("H27", f"a hwdge transpose needs 16 rows of at most 128 elements of 2 bytes; got {src}")


# -- copies and fills ------------------------------------------------------------------------------


@instruction()
def tensor_copy(
    dst: NkiTensor, src: NkiTensor, engine: engines = engines.unknown, name: str | None = None
) -> None:
    """Copy on chip: the bits if the types are equal, else through float32."""
    core = running()
    if engine is not engines.unknown:
        one_of(engine, (engines.vector, engines.scalar, engines.gpsimd), "tensor_copy")
    if engine is engines.scalar and not core.chip.scalar_engine_copies:
        fault("H19", f"tensor_copy does not run on ScalarE of {core.chip.name}; use activation with nl.copy")
    gpsimd = engine is engines.gpsimd
    tile(dst, "dst", core, gpsimd)
    tile(src, "src", core, gpsimd)
    writable(dst)
    same_elements(dst, src, "src")
    if src.storage is dst.storage:
        distinct(dst, src, "src")
    if dst.kind is src.kind:
        put_bits(dst, bits(src))
    else:
        values = wide(src)
        put(dst, values)
    core.issue("vector" if engine is engines.unknown else engine.name, "tensor_copy", (dst,), (src,))


@instruction()
def memset(dst: NkiTensor, value: Any, engine: engines = engines.unknown, name: str | None = None) -> None:
    """Fill with a constant: an int for integer tiles, a float for others (RN 0.3; H20)."""
    core = running()
    one_of(engine, (engines.vector, engines.gpsimd), "memset")
    tile(dst, "dst", core, engine is engines.gpsimd)
    writable(dst)
    kind = dst.kind
    if kind.is_float:
        if not isinstance(value, (float, np.floating)):
            hazard("H20", f"memset of a {kind.name} tile needs a float constant; got {value!r}")
        dst.array[...] = kind.narrow(np.full(1, constant(value, "value"), np.float32))
    else:
        if isinstance(value, bool) is not (kind.family == "bool") or not isinstance(value, (int, np.integer)):
            hazard("H20", f"memset of a {kind.name} tile needs an int (or bool) constant; got {value!r}")
            value = kind.narrow(np.full(1, constant(value, "value"), np.float32))[0]
        bounds = np.iinfo(kind.carrier)
        if not bounds.min <= value <= bounds.max:
            hazard("H20", f"the constant must fit {kind.name}; got {value}")
        dst.array[...] = min(max(value, bounds.min), bounds.max)
    dst.storage.wrote(dst)
    core.issue("gpsimd" if engine is engines.gpsimd else "vector", "memset", (dst,), ())


@instruction()
def tensor_copy_predicated(
    dst: NkiTensor, src: Any, predicate: NkiTensor, reverse_pred: bool = False, name: str | None = None
) -> None:
    """Copy where the predicate is true; elsewhere ``dst`` keeps its value."""
    core = running()
    flag(reverse_pred, "reverse_pred")
    tile(dst, "dst", core)
    tile(predicate, "predicate", core)
    writable(dst)
    same_elements(dst, predicate, "predicate")
    distinct(dst, predicate, "predicate")
    if predicate.dtype not in ("uint8", "uint16", "uint32"):
        fault("H41", f"predicate must be uint8, uint16 or uint32; got {predicate}")
    chosen = (bits(predicate) == 0 if reverse_pred else bits(predicate) != 0).reshape(dst.shape)
    if isinstance(src, NkiTensor):
        tile(src, "src", core)
        same_elements(dst, src, "src")
        distinct(dst, src, "src")
        not_both_psum(src, predicate, "src and predicate")
        if src.kind is not dst.kind:
            fault("H17", f"src and dst must have one dtype; got {src.dtype} and {dst.dtype}")
        values = bits(src).reshape(dst.shape)
    else:
        values = dst.kind.narrow(np.full(1, constant(src, "src"), np.float32))
    if not chosen.all():
        dst.storage.require(dst)
    np.copyto(dst.array, values, where=chosen)
    dst.storage.wrote(dst)
    reads = (dst, predicate, src) if isinstance(src, NkiTensor) else (dst, predicate)
    core.issue("vector", "tensor_copy_predicated", (dst,), reads)


# -- transposes and shuffles -----------------------------------------------------------------------


@instruction()
def nc_transpose(
    dst: NkiTensor, data: NkiTensor, engine: engines = engines.unknown, name: str | None = None
) -> None:
    """Transpose partitions and flattened free dimensions, on TensorE (SBUF to PSUM) or VectorE (32 x 32)."""
    core = running()
    one_of(engine, (engines.tensor, engines.vector), "nc_transpose")
    tile(dst, "dst", core)
    tile(data, "data", core)
    writable(dst)
    if dst.storage is data.storage and np.shares_memory(dst.array, data.array):
        fault("alias", f"a transpose in place is not documented; got {data} to {dst}")
    rows, columns = data.shape[0], data.size // data.shape[0]
    if dst.kind is not data.kind:
        fault("H26", f"nc_transpose keeps the dtype; got {data.dtype} to {dst.dtype}")
    if dst.shape[0] != columns or dst.size != data.size:
        fault("H17", f"dst must have {columns} partitions of {rows} elements; got {dst}")
    matrix = engine is engines.tensor or (
        engine is engines.unknown and dst.storage.psum and not data.storage.psum
    )
    limit = 128 if matrix else 32
    if rows > limit or columns > limit:
        fault("H26", f"nc_transpose takes at most {limit} x {limit} on this engine; got {rows} x {columns}")
    if matrix:
        _by_matmul(core, dst, data)
    values = flat(bits(data)).T
    dst.array[...] = values.reshape(dst.shape)
    dst.storage.wrote(dst)
    core.issue("tensor" if matrix else "vector", "nc_transpose", (dst,), (data,))


def _by_matmul(core: Core, dst: NkiTensor, data: NkiTensor) -> None:
    if not dst.storage.psum or data.storage.psum:
        fault("H26", f"nc_transpose on TensorE goes from SBUF to PSUM; got {data} to {dst}")
    one_bank(core, dst)
    if core.chip.generation < 3 and data.kind.is_float and not np.isfinite(wide(data)).all():
        fault("H26", "on gen2 a transpose by TensorE spreads NaN and infinity; the data has some")


@instruction()
def nc_stream_shuffle(
    dst: NkiTensor, src: NkiTensor, shuffle_mask: list[int], name: str | None = None
) -> None:
    """Move partitions within each group of 32; entry 255 keeps what ``dst`` has."""
    core = running()
    tile(dst, "dst", core)
    tile(src, "src", core)
    writable(dst)
    if dst.kind is not src.kind or dst.size // dst.shape[0] != src.size // src.shape[0]:
        fault("H17", f"a shuffle needs one dtype and equal elements a partition; got {src} to {dst}")
    if len(shuffle_mask) != 32 or any(not 0 <= entry < 32 and entry != KEEP for entry in shuffle_mask):
        fault("H41", f"shuffle_mask has 32 entries of 0 to 31, or {KEEP} to keep; got {shuffle_mask}")
    _shuffle_starts(dst, src)
    distinct(dst, src, "src")
    source = np.copy(flat(bits(src)))
    groups = -(-dst.shape[0] // 32)
    for group in range(groups):
        for lane, entry in enumerate(shuffle_mask):
            row = 32 * group + lane
            if entry != KEEP and row < dst.shape[0]:
                _shuffle_row(dst, source, row, 32 * group + entry)
    core.issue("vector", "nc_stream_shuffle", (dst,), (src,))


def _shuffle_row(dst: NkiTensor, source: Array, row: int, origin: int) -> None:
    if origin >= source.shape[0]:
        fault("H31", f"the shuffle reads partition {origin} of a source with {source.shape[0]}")
    one = dst[row : row + 1]
    put_bits(one, source[origin])


def _shuffle_starts(dst: NkiTensor, src: NkiTensor) -> None:
    active = -(-max(dst.shape[0], src.shape[0]) // 32) * 32
    step = 32 if active == 32 else 64 if active == 64 else 128
    for operand in (dst, src):
        if partition_start(operand) % step:
            hazard("H1", f"a shuffle of {active} partitions starts at a multiple of {step}; got {operand}")


# -- patterns --------------------------------------------------------------------------------------


def _affine(pattern: Any, offset: Any, multiplier: Any, dst: NkiTensor) -> Array:
    """``offset + partition * multiplier + sum(step * index)`` in 32-bit integers, shaped (P, free)."""
    if not 1 <= len(pattern) <= 4:
        fault("H30", f"a pattern has one to four [step, count] pairs; got {pattern}")
    free = np.zeros(1, np.int64)
    for step, count in pattern:
        ramp = np.arange(int32(count, "count"), dtype=np.int64) * int32(step, "step")
        free = (free[:, None] + ramp).ravel()
    if free.size * dst.shape[0] != dst.size:
        fault("H17", f"the counts of pattern {pattern} must multiply to the elements a partition of {dst}")
    lanes = np.arange(dst.shape[0], dtype=np.int64) * int32(multiplier, "channel_multiplier")
    start = offset.read() if isinstance(offset, VirtualRegister) else int32(offset, "offset")
    values: Array = lanes[:, None] + free + start
    if values.min() < -(2**31) or values.max() >= 2**31:
        fault(
            "H33", f"the pattern must stay within 32-bit integers; it spans {values.min()} to {values.max()}"
        )
    return values


@instruction()
def iota(
    dst: NkiTensor,
    pattern: list[list[int]],
    offset: int = 0,
    channel_multiplier: int = 0,
    name: str | None = None,
) -> None:
    """Write an affine pattern, computed in 32-bit integers."""
    core = running()
    tile(dst, "dst", core, gpsimd=True)
    writable(dst)
    values = _affine(pattern, offset, channel_multiplier, dst)
    if dst.kind.family != "int":
        put(dst, values.astype(np.float32).reshape(dst.shape))
    else:
        bounds = np.iinfo(dst.kind.carrier)
        if values.min() < bounds.min or values.max() > bounds.max:
            hazard("H22", f"the pattern must fit {dst.dtype}; it spans {values.min()} to {values.max()}")
            values = np.clip(values, bounds.min, bounds.max)
        put_bits(dst, values.astype(dst.kind.carrier))
    core.issue("gpsimd", "iota", (dst,), ())


_COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")


@instruction()
def affine_select(
    dst: NkiTensor,
    pattern: list[list[int]],
    channel_multiplier: int,
    on_true_tile: NkiTensor,
    on_false_value: float,
    cmp_op: Operator = OPERATORS["equal"],
    offset: int = 0,
    name: str | None = None,
) -> None:
    """Keep elements where an affine expression compares true with zero; a constant elsewhere."""
    core = running()
    operator(cmp_op, "cmp_op")
    if cmp_op.name not in _COMPARISONS:
        fault("H41", f"cmp_op must be a comparison; got {cmp_op}")
    if not isinstance(on_false_value, (float, np.floating)):
        hazard("H20", f"on_false_value must be a float; got {on_false_value!r}")
    tile(dst, "dst", core, gpsimd=True)
    tile(on_true_tile, "on_true_tile", core, gpsimd=True)
    writable(dst)
    same_elements(dst, on_true_tile, "on_true_tile")
    distinct(dst, on_true_tile, "on_true_tile")
    affine = _affine(pattern, offset, channel_multiplier, dst)
    assert cmp_op.compute is not None
    chosen = cmp_op.compute(affine, 0).reshape(dst.shape)
    other = dst.kind.narrow(np.full(1, constant(on_false_value, "on_false_value"), np.float32))
    if on_true_tile.kind is dst.kind:
        values = bits(on_true_tile).reshape(dst.shape)
    else:
        values = dst.kind.narrow(wide(on_true_tile)).reshape(dst.shape)
    put_bits(dst, np.where(chosen, values, other))
    core.issue("gpsimd", "affine_select", (dst,), (on_true_tile,), cmp_op=cmp_op.name)
