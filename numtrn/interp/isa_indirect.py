"""DMAs with indices that are read when they run, and ``dma_compute`` (ISA: dma_copy, dma_compute)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from numtrn.interp.access import bits, instruction, put, put_bits, wide
from numtrn.interp.core import Core, running
from numtrn.interp.dtypes import Array
from numtrn.interp.enums import dge_mode as dge_modes
from numtrn.interp.enums import engine as engines
from numtrn.interp.enums import expect
from numtrn.interp.enums import oob_mode as oob_modes
from numtrn.interp.faults import fault, hazard
from numtrn.interp.operators import Operator
from numtrn.interp.rules import dma_operand, operator, writable
from numtrn.interp.tensor import IndirectTensor, NkiTensor

__all__ = ["dma_compute", "indirect_copy", "outside"]

SOURCES = 16
"""Most sources of a dma_compute (ISA)."""


def outside(mode: oob_modes, index: int, view: NkiTensor) -> None:
    """An index beyond the tensor faults on a device unless it is to be skipped (H31)."""
    expect(mode, oob_modes, "oob_mode")
    if mode is oob_modes.error:
        fault("H31", f"a dynamic index must stay inside the tensor; got {index} for {view}")


def _move(dst: NkiTensor, src: NkiTensor) -> None:
    if dst.kind is src.kind:
        put_bits(dst, bits(src))
    else:
        put(dst, wide(src))


def _vector(view: NkiTensor) -> NkiTensor | None:
    return view.vector if isinstance(view, IndirectTensor) else None


def indirect_copy(
    core: Core,
    dst: NkiTensor,
    src: NkiTensor,
    priority: int | None,
    oob_mode: oob_modes,
    dge_mode: dge_modes,
    engine: engines,
) -> None:
    """``dma_copy`` with a dynamic offset on either side, or with indices on one."""
    expect(dge_mode, dge_modes, "dge_mode")
    vectors = [vector for vector in (_vector(dst), _vector(src)) if vector is not None]
    if dge_mode is dge_modes.none:
        fault("H16", "dge_mode.none is for addresses known before the kernel runs")
    if dge_mode is dge_modes.hwdge and (vectors or dst.kind is not src.kind or core.chip.generation < 3):
        fault("H16", f"dge_mode.hwdge needs gen3, one dtype and no vector_offset; got {src} to {dst}")
    if engine is not engines.unknown and dge_mode is not dge_modes.hwdge:
        fault("H16", f"engine is only valid with dge_mode.hwdge; got engine.{engine.name} with {dge_mode}")
    if priority is not None and core.chip.generation < 4:
        fault("H29", f"priority needs gen4; {core.chip.name} is gen{core.chip.generation}")
    if dst.size != src.size or (vectors and dst.shape[0] != src.shape[0]):
        fault("H17", f"dma_copy needs equal element counts; dst has {list(dst.shape)}, src {list(src.shape)}")
    for target, source in _pairs(dst, src, oob_mode):
        _operands(core, target, source)
        _move(target, source)
    mode = dge_modes.swdge if dge_mode is dge_modes.unknown else dge_mode
    indices = [view.scalar for view in (dst, src) if isinstance(view, IndirectTensor)]
    reads = (src, *vectors, *(index for index in indices if isinstance(index, NkiTensor)))
    core.issue("dma", "dma_copy", (dst,), reads, dge_mode=mode.name, trigger=engine.name)


def _operands(core: Core, dst: NkiTensor, src: NkiTensor) -> None:
    dma_operand(dst, "dst", core)
    dma_operand(src, "src", core)
    writable(dst)
    if src.storage is dst.storage and np.shares_memory(dst.array, src.array):
        fault("alias", f"a DMA must not read what it writes; dst is {dst}, src {src}")


def _pairs(dst: NkiTensor, src: NkiTensor, mode: oob_modes) -> list[tuple[NkiTensor, NkiTensor]]:
    """Windows to copy between, without those outside."""
    if _vector(dst) is None and _vector(src) is None:
        places = []
        for view in (dst, src):
            place = view.place() if isinstance(view, IndirectTensor) else view
            if place is None:
                outside(mode, -1, view)
                return []
            places.append(place)
        return [(places[0], places[1])]
    if _vector(dst) is not None and _vector(src) is not None:
        fault("H31", f"only one side of a DMA has indices; got {dst} and {src}")
    rows = scattered(dst, mode) if _vector(dst) is not None else found(src, mode)
    other = src if _vector(dst) is not None else dst
    other = other.located() if isinstance(other, IndirectTensor) else other
    pairs = [(row, other[at : at + 1] if other.shape[0] > 1 else other) for at, row in rows]
    return pairs if _vector(dst) is not None else [(other_row, row) for row, other_row in pairs]


def found(view: NkiTensor, mode: oob_modes) -> list[tuple[int, NkiTensor]]:
    """Position and window of every row that an index selects."""
    assert isinstance(view, IndirectTensor)
    kept = []
    for at, (index, row) in enumerate(view.rows()):
        if row is None:
            outside(mode, index, view)
        else:
            kept.append((at, row))
    return kept


def scattered(view: NkiTensor, mode: oob_modes) -> list[tuple[int, NkiTensor]]:
    """The same for a destination, whose indices must differ (H40)."""
    rows = found(view, mode)
    starts = sorted(row.offset for _, row in rows)
    reach = 1 + sum((n - 1) * stride for n, stride in zip(view.shape[1:], view.strides[1:], strict=True))
    if any(after - before < reach for before, after in pairwise(starts)) and _collide(rows):
        hazard("H40", f"the order of writes to one row is not documented; indices of {view} repeat")
    return rows


def _collide(rows: list[tuple[int, NkiTensor]]) -> bool:
    """Whether windows have an element in common."""
    count = np.zeros(rows[0][1].storage.size, np.uint8)
    for _, row in rows:
        part = np.ndarray(row.shape, np.uint8, count, row.offset, row.strides)
        if part.any():
            return True
        part.fill(1)
    return False


@instruction(indirect=True)
def dma_compute(
    dst: NkiTensor,
    srcs: list[NkiTensor],
    reduce_op: Operator,
    scales: list[float] | None = None,
    unique_indices: bool = True,
    oob_mode: oob_modes = oob_modes.error,
    name: str | None = None,
) -> None:
    """Sum of the sources in float32, or rows added to those that an index selects."""
    core = running()
    operator(reduce_op, "reduce_op")
    if reduce_op.name != "add" or (scales is not None and any(scale != 1.0 for scale in scales)):
        fault("H40", f"dma_compute adds without scales; got {reduce_op} and {scales}")
    if unique_indices is not True:
        fault("H40", "unique_indices must be True")
    if not isinstance(srcs, (list, tuple)) or not 1 <= len(srcs) <= SOURCES:
        fault("H41", f"srcs must be a list of 1 to {SOURCES} tensors; got {srcs!r}")
    if len(srcs) == 1:
        hazard("H40", "whether one source replaces dst or is added to it is contradictory; list dst as well")
    if any(src.size != dst.size for src in srcs):
        fault("H17", f"dma_compute needs equal element counts; got {srcs} for {dst}")
    if any(_vector(view) is not None for view in (dst, *srcs)):
        _read_modify_write(core, dst, list(srcs), oob_mode)
    else:
        _sum(core, dst, list(srcs))
    reads = [*srcs, *(vector for vector in map(_vector, srcs) if vector is not None)]
    core.issue("dma", "dma_compute", (dst,), reads, op=reduce_op.name)


def _sum(core: Core, dst: NkiTensor, srcs: list[NkiTensor]) -> None:
    if any(isinstance(view, IndirectTensor) for view in (dst, *srcs)):
        fault("H40", "dma_compute has static addresses, or a vector_offset")
    dma_operand(dst, "dst", core)
    writable(dst)
    total: Any = None
    for src in srcs:
        dma_operand(src, "a source", core)
        same = src.offset == dst.offset and src.strides == dst.strides and src.shape == dst.shape
        if src.storage is dst.storage and not same and np.shares_memory(src.array, dst.array):
            fault("alias", f"a source is dst itself, or apart from it; got {src} and {dst}")
        values: Array = wide(src).reshape(dst.shape)
        total = values.copy() if total is None else total + values
    put(dst, total)


def _same_access(one: NkiTensor, other: NkiTensor) -> bool:
    places = (one.offset, one.strides, one.shape, one.kind)
    return one.storage is other.storage and places == (other.offset, other.strides, other.shape, other.kind)


def _read_modify_write(core: Core, dst: NkiTensor, srcs: list[NkiTensor], mode: oob_modes) -> None:
    """``dst[indices] += src`` in HBM, or ``dst += src[indices]`` in SBUF."""
    indexed = [src for src in srcs if _vector(src) is not None]
    plain = [src for src in srcs if _vector(src) is None]
    if len(indexed) != 1 or len(plain) != 1:
        fault("H40", f"with a vector_offset there are two sources, one of them indexed; got {srcs}")
    if _vector(dst) is None:  # gather
        target, rows = dst, found(indexed[0], mode)
        if not _same_access(plain[0], dst):
            fault("H40", f"a gather adds to dst, which must be a source; got {plain[0]} and {dst}")
        pairs = [(target[at : at + 1], row) for at, row in rows]
    else:
        if not _same_access(indexed[0], dst) or _vector(dst) is not _vector(indexed[0]):
            fault("H40", f"a scatter adds to dst, which must be a source; got {indexed[0]} and {dst}")
        pairs = [(row, plain[0][at : at + 1]) for at, row in scattered(dst, mode)]
    for place, addend in pairs:
        _operands(core, place, addend)
        put(place, wide(place) + wide(addend).reshape(place.shape))
