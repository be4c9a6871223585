"""What an operand of an instruction must satisfy, one function for each rule or few.

H-numbers are those of ``hazards.py``, the list of things that pass in a permissive simulator and fail or
differ on a device. Sources: ISA is ``nki/api/nki/isa/__init__.py``, A2 is
``nki/guides/architecture/trainium_inferentia2_arch.rst``, RN is ``release-notes/components/nki.rst``, all in
``aws-neuron/aws-neuron-sdk`` at 81ce03ae. Rules of one instruction only stand in that instruction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.interp.core import Core
from numtrn.interp.dtypes import FLOAT32, Array
from numtrn.interp.enums import engine
from numtrn.interp.faults import fault, hazard
from numtrn.interp.operators import Operator
from numtrn.interp.tensor import NkiTensor, merge

__all__ = [
    "apart",
    "constant",
    "distinct",
    "dma_operand",
    "flag",
    "int32",
    "lane_operand",
    "lanes_distinct",
    "not_both_psum",
    "one_of",
    "operator",
    "partition_start",
    "same_elements",
    "tensor",
    "tile",
    "writable",
]

SBUF_ELEMENTS, PSUM_ELEMENTS = 65536, 4096
"""Largest free size of a compute operand (A2: Vector and Scalar Engine, "64K elements for SBUF or 4K")."""
AP_COUNT, AP_STRIDE, AP_DIMS = 65535, 32767, 5
"""Access pattern fields: uint16 counts, int16 strides, partitions and four free dimensions (A2)."""


def tensor(value: Any, argument: str) -> None:
    """An operand is a tensor (H41)."""
    if type(value) is not NkiTensor:
        fault("H41", f"{argument} must be an NkiTensor; got {value!r}")


def tile(value: Any, argument: str, core: Core, gpsimd: bool = False) -> None:
    """A compute operand is a tile on chip with a legal access; GpSimd has no PSUM (H1, H2, H3, H14, H30)."""
    if type(value) is not NkiTensor:
        tensor(value, argument)
    storage = value.storage
    if storage.core is not core:
        fault("context", f"{argument} belongs to another run of a kernel; got {value}")
    if not storage.taken:
        fault("memory", f"{argument} of a compute instruction must be in SBUF or PSUM; got {value}")
    if gpsimd and storage.psum:
        hazard("H14", f"GpSimd cannot access PSUM (A2); {argument} is {value}")
    if not value.lawful:
        access_limits(value, argument)
        value.lawful = partition_layout(value, argument)


def partition_start(value: NkiTensor) -> int:
    """Partition where the access begins."""
    return value.offset // value.row


def partition_layout(value: NkiTensor, argument: str) -> int:
    """Consecutive partitions, at most 128, from a legal start (H1, H2, H3; A2); 1 if so."""
    count = value.shape[0]
    partition_rows(value, argument)
    start = value.offset // value.row
    step = 32 if count <= 32 else 64 if count <= 64 else value.storage.core.chip.partitions
    if start % step:
        hazard(
            "H1",
            "a compute operand starts at partition 0, 32, 64 or 96 if it has at most 32 partitions,"
            f" at 0 or 64 if at most 64, else at 0; {argument} has {count} from {start}: {value}",
        )
        return 0
    return 1


def partition_rows(value: NkiTensor, argument: str) -> None:
    """Consecutive partitions, at most 128 (H2, H3)."""
    count = value.shape[0]
    limit = value.storage.core.chip.partitions
    if count > limit:
        fault("H3", f"an operand has at most {limit} partitions; {argument} is {value}")
    if value.strides[0] != value.row and count > 1:
        fault(
            "H2",
            f"partitions must be consecutive; {argument} steps by {value.strides[0]} elements where a"
            f" partition has {value.row}: {value}",
        )


def access_limits(value: NkiTensor, argument: str) -> None:
    """Sizes and strides that the access fields can hold (H30)."""
    limit = PSUM_ELEMENTS if value.storage.psum else SBUF_ELEMENTS
    free = value.size // value.shape[0]
    if free > limit:
        fault(
            "H30", f"a compute operand has at most {limit} elements a partition here; {argument} has {free}"
        )
    if value.ndim > AP_DIMS:
        fault("H30", f"an on-chip operand has at most {AP_DIMS} dimensions; {argument} is {value}")
    if max(value.shape) > AP_COUNT or max(value.strides[1:], default=0) > AP_STRIDE:
        joined = merge(value.shape[1:], value.strides[1:])
        if any(size > AP_COUNT or stride > AP_STRIDE for size, stride in joined):
            fault("H30", f"free strides are at most {AP_STRIDE} elements; {argument} has {value.strides[1:]}")


def dma_operand(value: Any, argument: str, core: Core) -> None:
    """A DMA moves between HBM and SBUF, any start partition (H2, H3, H15; ISA: dma_copy, RN 0.3)."""
    tensor(value, argument)
    if value.storage.core is not core:
        fault("context", f"{argument} belongs to another run of a kernel; got {value}")
    if value.storage.psum:
        hazard("H15", f"a DMA cannot access PSUM; {argument} is {value}")
    if value.on_chip:
        partition_rows(value, argument)


def writable(dst: NkiTensor) -> None:
    """A destination may be written, each element once (H35)."""
    if dst.storage.readonly:
        fault("H35", f"kernel arguments are not written; allocate nl.shared_hbm and return it; dst is {dst}")
    if dst.overlaps:
        fault("H30", f"a destination must not repeat elements; dst is {dst} with strides {dst.strides}")


def same_elements(dst: NkiTensor, data: NkiTensor, argument: str) -> None:
    """Equal partitions and elements per partition; nothing broadcasts (H17)."""
    if dst.shape != data.shape and (dst.shape[0] != data.shape[0] or dst.size != data.size):
        fault(
            "H17",
            "operands must have equal partitions and equal elements a partition;"
            f" dst has {list(dst.shape)}, {argument} {list(data.shape)}",
        )


def not_both_psum(one: Any, other: Any, names: str) -> None:
    """Two inputs of one instruction are not both in PSUM (H13; ISA: tensor_tensor and others)."""
    if one.storage.psum and other.storage.psum:
        hazard("H13", f"{names} cannot both be in PSUM; got {one} and {other}")


def distinct(dst: NkiTensor, data: NkiTensor, argument: str) -> None:
    """In place is the same access; other overlaps of dst and an input are not documented."""
    if dst.storage is not data.storage:
        return
    if dst.offset == data.offset and dst.strides == data.strides and dst.shape == data.shape:
        return
    if np.shares_memory(dst.array, data.array):
        fault(
            "alias",
            f"dst may be an input, or apart from it, but not overlap it otherwise; {argument} is {data}",
        )


def lanes_distinct(dst: NkiTensor, *values: Any) -> None:
    """What ``distinct`` says, of the operands that are tiles."""
    for value in values:
        if isinstance(value, NkiTensor):
            distinct(dst, value, "an operand")


def apart(dst: NkiTensor, second: NkiTensor, *inputs: Any) -> None:
    """The two results of one instruction do not overlap; the second is an input, or apart from them."""
    if dst.storage is second.storage and np.shares_memory(dst.array, second.array):
        fault("alias", f"reduce_res must not overlap dst; got {second} and {dst}")
    lanes_distinct(second, *inputs)


def one_of(value: engine, allowed: tuple[engine, ...], function: str) -> None:
    """An engine that the instruction can run on (H19, H41)."""
    if type(value) is not engine:
        fault("H41", f"engine must be a member of nisa.engine; got {value!r}")
    if value is not engine.unknown and value not in allowed:
        names = ", ".join(member.name for member in allowed)
        fault("H19", f"{function} runs on {names}; got engine.{value.name}")


def flag(value: Any, argument: str) -> None:
    """A bool is a bool (H41)."""
    if type(value) is not bool:
        fault("H41", f"{argument} must be True or False; got {value!r}")


def operator(value: Any, argument: str) -> None:
    """An operator is one of nki.language's (H41)."""
    if type(value) is not Operator:
        fault("H41", f"{argument} must be an operator of nki.language, such as nl.add; got {value!r}")


def constant(value: Any, argument: str) -> np.float32:
    """A compile-time number, as the engines take it: float32 (H33)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        fault("H41", f"{argument} must be a number or a tile; got {value!r}")
    single = np.float32(value)
    if isinstance(value, (int, np.integer)):
        if not -(2**31) <= value < 2**31:
            fault("H33", f"integers in kernels have 32 bits; {argument} is {value}")
        if int(single) != value:
            hazard("H21", f"constants become float32, which has no {value}; {argument} is it")
    if np.isinf(single) and not np.isinf(value):
        fault("H33", f"floats in kernels are float32; {argument} is {value!r}")
    return single


def int32(value: Any, argument: str) -> int:
    """A compile-time integer of 32 bits (H33)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        fault("H41", f"{argument} must be an int; got {value!r}")
    if not -(2**31) <= value < 2**31:
        fault("H33", f"integers in kernels have 32 bits; {argument} is {value}")
    return int(value)


def lane_operand(
    value: Any, data: NkiTensor, argument: str, core: Core, any_float: bool = False
) -> Array | np.float32:
    """A number, or one float32 a partition, shaped to broadcast over ``data`` (H18)."""
    if type(value) is not NkiTensor:
        return constant(value, argument)
    tile(value, argument, core)
    if value.size != value.shape[0] or value.shape[0] != data.shape[0] or value.ndim < 2:
        fault("H18", f"{argument} must be a number or a tile of shape ({data.shape[0]}, 1); got {value}")
    if value.kind is not FLOAT32 and not any_float:
        fault("H18", f"{argument} must be float32; got {value}")
    value.storage.require(value)
    if value.storage.inferred:
        value.storage.noticed(value)
    wide = value.kind.widen(value.array)
    return wide if data.ndim == value.ndim else wide.reshape((-1,) + (1,) * (data.ndim - 1))
