"""Instructions of TensorE: ``nc_matmul`` and its transpose mode (ISA: nc_matmul)."""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.interp.access import bits, flat, instruction
from numtrn.interp.core import Core, running
from numtrn.interp.dtypes import BFLOAT16, F32, FLOAT32, TFLOAT32, Array
from numtrn.interp.enums import expect, matmul_perf_mode
from numtrn.interp.faults import fault, hazard
from numtrn.interp.matmuls import Product
from numtrn.interp.memory import OTHER, READ, UNWRITTEN
from numtrn.interp.rules import flag, partition_start, tile, writable
from numtrn.interp.tensor import NkiTensor

__all__ = ["nc_matmul", "one_bank"]


@instruction(3)
def nc_matmul(
    dst: NkiTensor,
    stationary: NkiTensor,
    moving: NkiTensor,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    accumulate: bool | None = None,
    tile_position: tuple[int, ...] = (),
    tile_size: tuple[int, ...] = (),
    perf_mode: matmul_perf_mode = matmul_perf_mode.none,
    name: str | None = None,
) -> None:
    """``dst = stationary.T @ moving``, or added to ``dst``, in float32.

    The order of summation over the partitions is not documented; here it is that of NumPy's float32 BLAS,
    which may sum consecutive matmuls of one accumulation group together (``matmuls.py``).
    """
    core = running()
    tile(dst, "dst", core)
    tile(stationary, "stationary", core)
    tile(moving, "moving", core)
    writable(dst)
    double = perf_mode is not matmul_perf_mode.none
    if double:
        if tile_size and tile_size[1] != 128:
            fault("H29", f"double_row does not go with column tiles; got tile_size {tile_size}")
        _double_row(core, stationary, moving, perf_mode, is_transpose)
    rows = stationary.shape[0]
    width = stationary.size // rows // (2 if double else 1)
    length = moving.size // rows // (2 if double else 1)
    _geometry(core, dst, stationary, moving, width, length)
    if tile_position or tile_size:
        _tiling(core, tile_position, tile_size, rows, width)
    if is_transpose:
        flag(is_transpose, "is_transpose")
        _transpose(core, dst, stationary, moving, accumulate)
    else:
        if dst.kind is not FLOAT32 and (core.chip.generation < 4 or dst.kind is not BFLOAT16):
            fault("H9", f"a matmul result must be float32 (or bfloat16 from gen4) in PSUM; dst is {dst}")
        if is_stationary_onezero or is_moving_onezero:
            _onezero(is_stationary_onezero, stationary, "stationary")
            _onezero(is_moving_onezero, moving, "moving")
        storage = stationary.storage
        if not storage.full:
            storage.require(stationary)
        storage = moving.storage
        if not storage.full:
            storage.require(moving)
        add = adds(dst, accumulate)
        if not core.dry and (double or not _entered(core, dst, stationary, moving, add)):
            depth = rows * (2 if double else 1)
            a, b = _operand(stationary), _operand(moving)
            _multiply(core, dst, a.reshape(depth, width), b.reshape(depth, length), add)
    dst.storage.wrote_matmul(dst)
    if is_transpose:
        dst.storage.set_origin(dst, OTHER)
    core.issue(
        "tensor",
        "nc_matmul",
        (dst,),
        (stationary, moving),
        accumulate=accumulate,
        is_transpose=is_transpose,
        double_row=double,
        onezero=is_stationary_onezero or is_moving_onezero,
        tile_position=tile_position,
        tile_size=tile_size,
    )


def _entered(core: Core, dst: NkiTensor, stationary: NkiTensor, moving: NkiTensor, add: bool) -> bool:
    """Leave the product of plain matrices to be computed with its neighbours (``matmuls.py``)."""
    target, one, other = dst.matrix, stationary.matrix, moving.matrix
    if dst.kind is not FLOAT32 or target is None or one is None or other is None:
        return False
    product = Product((target,), one, other, add, (one.rows,))
    core.matmuls.enter(product, dst.storage, stationary.storage, moving.storage)
    return True


def _multiply(core: Core, dst: NkiTensor, a: Array, b: Array, add: bool) -> None:
    target = flat(dst.array)
    if dst.kind is FLOAT32 and np.may_share_memory(target, dst.array):
        core.matmuls.multiply([target], a, b, add)
        return
    part = core.matmuls.scratch(target.shape)
    np.matmul(a.T, b, out=part)
    if add:
        part += dst.kind.widen(target)
    dst.array[...] = dst.kind.narrow(part).reshape(dst.shape)


def _operand(data: NkiTensor) -> Array:
    """An operand in float32."""
    if not data.storage.full:
        data.storage.require(data)
    kind = data.kind
    if kind is TFLOAT32 and data.storage.kind is not TFLOAT32:
        return kind.narrow(data.array)
    return data.array if data.storage.core.dry else kind.widen(data.array)


def adds(dst: NkiTensor, accumulate: bool | None) -> bool:
    """Whether a matmul adds to ``dst``; refuses what hardware leaves undefined (H10, H11, H12)."""
    if accumulate is False:
        return False
    storage = dst.storage
    least, most = storage.origins(dst)
    if accumulate is True:
        if least == UNWRITTEN:
            hazard(
                "H10",
                f"accumulate=True needs a location begun by a matmul with accumulate=False; dst is {dst}",
            )
            storage.zero_unbegun(dst)
        if least == OTHER:
            _not_begun(dst)
        return True
    if accumulate is not None:
        fault("H41", f"accumulate must be True, False or None; got {accumulate!r}")
    storage.inferred = True
    if most == UNWRITTEN:
        return False
    if least == UNWRITTEN:
        hazard(
            "H12",
            f"accumulate=None is ambiguous on a dst partly written before; say True or False; dst is {dst}",
        )
        storage.zero_unbegun(dst)
    if least == OTHER:
        _not_begun(dst)
    if most == READ:
        hazard(
            "H12",
            "accumulate=None after the tile was read: whether the compiler then starts a new group is not"
            f" documented; say True or False, or allocate a new tile; dst is {dst}",
        )
    return True


def _not_begun(dst: NkiTensor) -> None:
    hazard(
        "H11", f"a matmul cannot add to what another instruction wrote (undefined on hardware); dst is {dst}"
    )


def _geometry(
    core: Core, dst: NkiTensor, stationary: NkiTensor, moving: NkiTensor, width: int, length: int
) -> None:
    """The rules on what is where, and how large, and of which type; asked once for equal operands."""
    passed = core.passed
    operands = (dst.geometry, stationary.geometry, moving.geometry, width)
    if passed is not None and operands in passed:
        return
    _memories(dst, stationary, moving)
    _sizes(core, dst, stationary, moving, width, length)
    _types(core, stationary, moving)
    one_bank(core, dst)
    if passed is not None:
        passed.add(operands)


def _memories(dst: NkiTensor, stationary: NkiTensor, moving: NkiTensor) -> None:
    if not dst.storage.psum:
        fault("memory", f"a matmul writes to PSUM; dst is {dst}")
    if stationary.storage.psum or moving.storage.psum:
        fault("memory", f"a matmul reads from SBUF; got {stationary} and {moving}")


def _sizes(
    core: Core, dst: NkiTensor, stationary: NkiTensor, moving: NkiTensor, width: int, length: int
) -> None:
    chip = core.chip
    if stationary.shape[0] != moving.shape[0]:
        fault("H17", f"stationary and moving need equal partitions; got {stationary} and {moving}")
    starts = partition_start(stationary), partition_start(moving)
    if starts[0] != starts[1]:  # not documented either way; the rows of the array meet both
        hazard(
            "H1", f"stationary and moving must start at the same partition; got {starts[0]} and {starts[1]}"
        )
    if width > chip.stationary_free_max:
        fault(
            "H7",
            f"stationary has at most {chip.stationary_free_max} free elements; got {width}: {stationary}",
        )
    limit = chip.moving_free_max * (2 if dst.kind is BFLOAT16 and chip.generation >= 4 else 1)
    if length > limit:
        fault("H7", f"moving has at most {limit} free elements on {chip.name}; got {length}: {moving}")
    if dst.shape[0] != width or dst.size != width * length:
        fault("H17", f"dst must have {width} partitions of {length} elements; got {dst}")


def _types(core: Core, stationary: NkiTensor, moving: NkiTensor) -> None:
    one, other = stationary.kind, moving.kind
    for kind in (one, other):
        if not 0 < kind.matmul <= core.chip.generation:
            fault("H29", f"TensorE of {core.chip.name} does not multiply {kind.name}")
    if one is other:
        return
    if (one.carrier == F32) != (other.carrier == F32):
        hazard("H8", f"float32 and tfloat32 only multiply each other; got {one.name} and {other.name}")
    if {one.name, other.name} == {"float8_e4m3", "float8_e4m3fn"}:
        hazard("H8", "float8_e4m3 and float8_e4m3fn cannot be mixed")


def one_bank(core: Core, dst: NkiTensor) -> None:
    """TensorE writes inside one PSUM bank before gen4 (H7)."""
    if core.chip.generation >= 4:
        return
    size = dst.kind.bytes
    first = dst.offset % dst.row
    last = first + sum((n - 1) * stride for n, stride in zip(dst.shape[1:], dst.strides[1:], strict=True))
    bank = core.chip.psum_bank_bytes
    if first * size // bank != ((last + 1) * size - 1) // bank:
        fault(
            "H7",
            f"TensorE writes inside one PSUM bank of {bank} bytes; dst covers bytes {first * size} to"
            f" {(last + 1) * size} of a partition: {dst}",
        )


def _tiling(core: Core, position: Any, size: Any, rows: int, width: int) -> None:
    """Tiles of rows and of columns (ISA: the body text; its parameter text knows rows only)."""
    if len(position) != 2 or len(size) != 2:
        fault(
            "H41", f"tile_position and tile_size must both be given, two numbers each; got {position}, {size}"
        )
    allowed = (64, 128) if core.chip.generation < 3 else (32, 64, 128)
    if size[0] not in allowed or position[0] % size[0] or not 0 <= position[0] < 128:
        fault(
            "H29",
            f"row tiles on {core.chip.name} have {allowed} rows, from a multiple; got {position}, {size}",
        )
    if size[1] not in allowed or position[1] % size[1] or not 0 <= position[1] < 128:
        fault(
            "H29",
            f"column tiles on {core.chip.name} have {allowed} columns, from a multiple;"
            f" got {position}, {size}",
        )
    if rows > size[0] or width > size[1]:
        fault("H7", f"stationary must fit tile_size {size}; it is {rows} x {width}")


def _double_row(
    core: Core, stationary: NkiTensor, moving: NkiTensor, mode: matmul_perf_mode, is_transpose: bool
) -> None:
    expect(mode, matmul_perf_mode, "perf_mode")
    if core.chip.generation < 3 or is_transpose:
        fault(
            "H29",
            f"double_row needs gen3 and no transpose mode; got {core.chip.name}, is_transpose={is_transpose}",
        )
    for data in (stationary, moving):
        if not data.dtype.startswith("float8") or data.ndim != 3 or data.shape[1] != 2:
            fault("H29", f"double_row needs float8 operands of shape [K, 2, free]; got {data}")


def _onezero(claimed: bool, data: NkiTensor, argument: str) -> None:
    flag(claimed, f"is_{argument}_onezero")
    values = _operand(data)
    if claimed and not ((values == 0) | (values == 1)).all():
        hazard("H8", f"is_{argument}_onezero=True needs zeros and ones only; {argument} has other values")


def _transpose(
    core: Core, dst: NkiTensor, stationary: NkiTensor, moving: NkiTensor, accumulate: bool | None
) -> None:
    """Transpose mode: moves the bits of stationary, with an identity matrix as moving."""
    rows = stationary.shape[0]
    identity = flat(_operand(moving))
    if identity.shape != (rows, rows) or not np.array_equal(identity, np.eye(rows, dtype=np.float32)):
        fault("H26", f"is_transpose=True needs an identity matrix of {rows} x {rows} as moving; got {moving}")
    if accumulate:
        fault("H10", "is_transpose=True with accumulate=True is not documented")
    if core.chip.generation < 3:
        if dst.kind is not FLOAT32:
            fault("H9", f"on gen2 a transpose is a matmul, whose result is float32; dst is {dst}")
        values = _operand(stationary)
        if not np.isfinite(values).all():
            fault("H26", "on gen2 a transpose by TensorE spreads NaN and infinity; the data has some")
        dst.array[...] = flat(values).T.reshape(dst.shape)
        return
    if dst.kind is not stationary.kind:
        fault("H26", f"a transpose keeps the dtype from gen3 on; got {stationary.dtype} to {dst.dtype}")
    dst.array[...] = flat(bits(stationary)).T.reshape(dst.shape)
