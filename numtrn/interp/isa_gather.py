"""Instructions of GpSimd that gather, search or reduce across partitions (ISA: one section for each).

Each of its eight cores sees 16 partitions, and only SBUF (A2).
"""

from __future__ import annotations

import numpy as np

from numtrn.interp.access import bits, flat, instruction, put, put_bits, wide
from numtrn.interp.core import Core, running
from numtrn.interp.dtypes import Array
from numtrn.interp.faults import fault
from numtrn.interp.operators import Operator
from numtrn.interp.rules import apart, int32, operator, partition_start, tile, writable
from numtrn.interp.tensor import NkiTensor

__all__ = [
    "local_gather",
    "nc_n_gather",
    "nonzero_with_count",
    "sequence_bounds",
    "tensor_partition_reduce",
    "topk",
]

LANES = 16
"""Partitions of one GpSimd core."""


def _tiles(core: Core, dst: NkiTensor, *inputs: NkiTensor) -> None:
    for data in inputs:
        tile(data, "an input", core, gpsimd=True)
    tile(dst, "dst", core, gpsimd=True)
    writable(dst)
    for data in inputs:
        if data.storage is dst.storage and np.shares_memory(data.array, dst.array):
            fault("alias", f"dst must not overlap an input here; got {dst} and {data}")


def _typed(value: NkiTensor, argument: str, *dtypes: str) -> None:
    if value.dtype not in dtypes:
        fault("H41", f"{argument} must be {' or '.join(dtypes)}; got {value}")


def _inside(index: Array, size: int) -> None:
    if index.size and (index.min() < 0 or index.max() >= size):
        fault("H31", f"indices must be less than {size}; they span {index.min()} to {index.max()}")


@instruction()
def nc_n_gather(dst: NkiTensor, data: NkiTensor, indices: NkiTensor, name: str | None = None) -> None:
    """Elements of each partition by index."""
    core = running()
    _tiles(core, dst, data, indices)
    _typed(indices, "indices", "uint32")
    if dst.kind is not data.kind:
        fault("H17", f"dst must have the dtype of data; got {dst} and {data}")
    if not data.shape[0] == indices.shape[0] == dst.shape[0] or dst.size != indices.size:
        fault("H17", f"dst and indices need the partitions of data and equal sizes; got {dst}, {indices}")
    source, index = flat(bits(data)), flat(bits(indices)).astype(np.int64)
    _inside(index, source.shape[1])
    put_bits(dst, np.take_along_axis(source, index, axis=1))
    core.issue("gpsimd", "nc_n_gather", (dst,), (data, indices))


@instruction()
def local_gather(
    dst: NkiTensor,
    src_buffer: NkiTensor,
    index: NkiTensor,
    num_elem_per_idx: int = 1,
    num_valid_indices: int | None = None,
    name: str | None = None,
) -> None:
    """Elements at the offsets that the 16 partitions of a core hold together, down the partitions first."""
    core = running()
    _tiles(core, dst, src_buffer, index)
    _typed(index, "index", "uint16")
    rows, width = src_buffer.shape[0], num_elem_per_idx
    if rows != index.shape[0] or rows != dst.shape[0] or rows % LANES:
        fault("H17", f"partitions must be equal and a multiple of 16; got {dst}, {src_buffer}, {index}")
    if dst.kind is not src_buffer.kind:
        fault("H17", f"dst must have the dtype of src_buffer; got {dst} and {src_buffer}")
    if width not in (1, 2, 4, 8, 16, 32):
        fault("H41", f"num_elem_per_idx is 1, 2, 4, 8, 16 or 32; got {width}")
    every = index.size // rows * LANES
    valid = every if num_valid_indices is None else num_valid_indices
    if not 0 < valid <= min(every, 4096) or dst.size // rows != valid * width:
        fault("H17", f"{valid} indices of {every}, at most 4096, give {valid * width} elements; got {dst}")
    source, places = flat(bits(src_buffer)), flat(bits(index)).astype(np.int64)
    out = np.empty((rows, valid * width), source.dtype)
    for first in range(0, rows, LANES):
        order = places[first : first + LANES].T.reshape(-1)[:valid]
        columns = (order[:, None] + np.arange(width)).reshape(-1)
        _inside(columns, source.shape[1])
        out[first : first + LANES] = source[first : first + LANES, columns]
    put_bits(dst, out)
    core.issue("gpsimd", "local_gather", (dst,), (src_buffer, index), num_elem_per_idx=width)


@instruction()
def tensor_partition_reduce(dst: NkiTensor, op: Operator, data: NkiTensor, name: str | None = None) -> None:
    """Reduce over the partitions into one; the shape of ``dst`` is taken to be (1, free)."""
    core = running()
    operator(op, "op")
    _tiles(core, dst, data)
    if dst.shape[0] != 1 or dst.size != data.size // data.shape[0]:
        fault("H17", f"dst must have one partition of {data.size // data.shape[0]} elements; got {dst}")
    if op.name in ("bitwise_or", "bitwise_and"):
        if dst.kind is not data.kind or data.kind.family != "int":
            fault("H19", f"bitvec operators need integer operands of one dtype; got {data} to {dst}")
        put_bits(dst, op.fold.reduce(bits(data), axis=0))
    elif op.name == "average":
        put(dst, np.mean(wide(data), axis=0, dtype=np.float32).reshape(dst.shape))
    elif op.name in ("add", "max", "maximum"):
        put(dst, op.fold.reduce(wide(data), axis=0).reshape(dst.shape))
    else:
        fault("H28", f"partitions reduce by add, average, max, bitwise_or or bitwise_and; got {op}")
    core.issue("gpsimd", "tensor_partition_reduce", (dst,), (data,), op=op.name)


@instruction()
def nonzero_with_count(
    dst: NkiTensor, src: NkiTensor, index_offset: int = 0, padding_val: int = -1, name: str | None = None
) -> None:
    """Indices of the elements that are not zero, padding, and their number; partitions 0, 16, ... only."""
    core = running()
    if core.chip.generation < 3:
        fault("H29", f"nonzero_with_count needs gen3; {core.chip.name} is gen2")
    _tiles(core, dst, src)
    _typed(src, "src", "float32", "int32")
    _typed(dst, "dst", "int32")
    length = src.size // src.shape[0]
    if dst.shape[0] != src.shape[0] or dst.size // dst.shape[0] != length + 1:
        fault("H17", f"dst needs one element a partition more than {src}; got {dst}")
    if partition_start(src) % LANES or partition_start(dst) % LANES:
        fault("H1", f"nonzero_with_count works on partitions 0, 16, ..., 112; got {src} and {dst}")
    offset, padding = int32(index_offset, "index_offset"), int32(padding_val, "padding_val")
    for row in range(0, src.shape[0], LANES):
        found = np.flatnonzero(bits(src[row : row + 1]))
        out = np.full(length + 1, padding, np.int32)
        out[: found.size] = found + offset
        out[-1] = found.size
        put_bits(dst[row : row + 1], out)
    core.issue("gpsimd", "nonzero_with_count", (dst,), (src,))


@instruction()
def sequence_bounds(dst: NkiTensor, segment_ids: NkiTensor, name: str | None = None) -> None:
    """Where the run of equal ids around each element starts and ends; n and -1 for padding."""
    core = running()
    _tiles(core, dst, segment_ids)
    for argument, value in (("dst", dst), ("segment_ids", segment_ids)):
        _typed(value, argument, "float32", "int32")
    ids = flat(bits(segment_ids))
    length = ids.shape[1]
    if ids.shape[0] != 1 or dst.shape[0] != 1 or dst.size != 2 * length:
        fault("H17", f"segment_ids is (1, n) and dst (1, 2, n); got {segment_ids} and {dst}")
    if ids.min() < 0:
        fault("H31", f"segment ids are not negative; got {ids.min()}")
    starts, ends = np.full(length, length, np.float32), np.full(length, -1, np.float32)
    edges = np.flatnonzero(np.diff(ids[0])) + 1
    for first, last in zip([0, *edges], [*edges, length], strict=True):
        if ids[0, first] != 0:
            starts[first:last], ends[first:last] = first, last
    put(dst, np.stack([starts, ends]).reshape(dst.shape))
    core.issue("gpsimd", "sequence_bounds", (dst,), (segment_ids,))


@instruction(version=(0, 6))
def topk(val_dst: NkiTensor, idx_dst: NkiTensor, src: NkiTensor, n: int, name: str | None = None) -> None:
    """The k largest of n elements that 16 partitions hold together, in ascending order, and their indices.

    Every partition of a group gets the same result; the order of equal values is not documented.
    """
    core = running()
    _tiles(core, val_dst, src)
    _tiles(core, idx_dst, src)
    apart(val_dst, idx_dst)
    _typed(src, "src", "bfloat16")
    _typed(val_dst, "val_dst", "bfloat16")
    _typed(idx_dst, "idx_dst", "uint32")
    rows, columns = src.shape[0], src.size // src.shape[0]
    count = val_dst.size // val_dst.shape[0]
    if not rows == val_dst.shape[0] == idx_dst.shape[0] or rows % LANES or idx_dst.size != val_dst.size:
        fault("H17", f"topk needs equal partitions, a multiple of 16; got {src}, {val_dst} and {idx_dst}")
    if not 8 <= n < 65536 or columns < -(-n // LANES) or not 1 <= count <= min(n, 32767):
        fault("H17", f"topk takes 8 to 65535 elements and k of 1 to 32767, at most n; got n={n}, k={count}")
    values, order = flat(wide(src)), flat(bits(src))
    best = np.empty((rows, count), np.uint16)
    index = np.empty((rows, count), np.uint32)
    for first in range(0, rows, LANES):
        snake = values[first : first + LANES].T.reshape(-1)[:n]
        chosen = np.argsort(snake, kind="stable")[n - count :]
        best[first : first + LANES] = order[first : first + LANES].T.reshape(-1)[chosen]
        index[first : first + LANES] = chosen
    put_bits(val_dst, best)
    put_bits(idx_dst, index)
    core.issue("gpsimd", "topk", (val_dst, idx_dst), (src,), n=n)
