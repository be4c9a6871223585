"""Functions of ``nki.language`` that kernels use; the module object is made in ``modules.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from numtrn.interp.access import bits, put
from numtrn.interp.core import running, since
from numtrn.interp.dtypes import Array, lookup, of_numpy
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault
from numtrn.interp.isa_data import dma_copy, dma_transpose, memset, tensor_copy
from numtrn.interp.isa_random import dropout as drop
from numtrn.interp.isa_random import set_rng_seed, uniform
from numtrn.interp.isa_scan import BN_STATS_MAX
from numtrn.interp.memory import Storage
from numtrn.interp.rules import AP_DIMS, constant, int32, tensor
from numtrn.interp.tensor import ASSIGN, NkiTensor

__all__ = [
    "TileSize",
    "device_print",
    "dropout",
    "empty_like",
    "full",
    "is_hbm",
    "is_on_chip",
    "is_psum",
    "is_sbuf",
    "load",
    "load_transpose2d",
    "ndarray",
    "num_programs",
    "ones",
    "program_id",
    "program_ndim",
    "rand",
    "random_seed",
    "shared_constant",
    "shared_identity_matrix",
    "store",
    "zeros",
    "zeros_like",
]

HBM = (MemoryRegion.private_hbm, MemoryRegion.shared_hbm)


def ndarray(
    shape: tuple[int, ...],
    dtype: str,
    buffer: MemoryRegion = MemoryRegion.sbuf,
    name: str = "",
    address: Any = None,
) -> NkiTensor:
    """A new tensor with undefined contents."""
    core = running()
    if address is not None:
        fault("H5", f"this interpreter does not have manual addresses yet; got address={address!r}")
    if type(buffer) is not MemoryRegion:
        fault("H41", f"buffer must be nl.sbuf, nl.psum, nl.hbm or nl.shared_hbm; got {buffer!r}")
    if not isinstance(shape, (tuple, list)) or not shape:
        fault("H41", f"shape must be a tuple of sizes; got {shape!r}")
    sizes = tuple(size if type(size) is int else int32(size, "a size") for size in shape)
    if min(sizes) < 1:
        fault("H41", f"sizes must be positive; got {sizes}")
    if buffer not in HBM:
        if sizes[0] > core.chip.partitions:
            fault("H3", f"a tile has at most {core.chip.partitions} partitions; got {sizes}")
        if not 2 <= len(sizes) <= AP_DIMS:
            fault("H30", f"a tile has 2 to {AP_DIMS} dimensions, the first the partitions; got {sizes}")
    return NkiTensor.of(Storage(core, lookup(dtype), sizes, buffer, name))


def shared_identity_matrix(n: int, dtype: str = "uint8", dst: NkiTensor | None = None) -> NkiTensor:
    """An identity matrix in SBUF, loaded by a DMA."""
    matrix = ndarray((n, n), dtype) if dst is None else dst
    if matrix.shape != (n, n) or matrix.buffer is not MemoryRegion.sbuf:
        fault("H17", f"dst must be a tile of SBUF of shape ({n}, {n}); got {matrix}")
    kind = matrix.kind
    matrix.array[...] = kind.narrow(np.eye(n, dtype=np.float32))
    matrix.storage.wrote(matrix)
    running().issue("dma", "shared_identity_matrix", (matrix,), ())
    return matrix


def full(
    shape: tuple[int, ...],
    fill_value: float,
    dtype: str,
    buffer: MemoryRegion = MemoryRegion.sbuf,
    name: str = "",
) -> NkiTensor:
    """A new tensor filled with a constant, by a memset or, in HBM, by a DMA."""
    out = ndarray(shape, dtype, buffer, name)
    family = out.kind.family
    value = float(fill_value) if family == "float" else int(fill_value)
    if out.on_chip:
        memset(dst=out, value=bool(value) if family == "bool" else value)
    else:
        put(out, np.full(out.shape, constant(value, "fill_value"), np.float32))
        running().issue("dma", "dma_copy", (out,), ())
    return out


def zeros(
    shape: tuple[int, ...], dtype: str, buffer: MemoryRegion = MemoryRegion.sbuf, name: str = ""
) -> NkiTensor:
    """A new tensor of zeros; in PSUM it is not a legal start of an accumulation (H11)."""
    return full(shape, 0, dtype, buffer, name)


def ones(
    shape: tuple[int, ...], dtype: str, buffer: MemoryRegion = MemoryRegion.sbuf, name: str = ""
) -> NkiTensor:
    """A new tensor of ones."""
    return full(shape, 1, dtype, buffer, name)


def empty_like(
    x: NkiTensor, dtype: str | None = None, buffer: MemoryRegion | None = None, name: str = ""
) -> NkiTensor:
    """A new tensor of the same shape."""
    return ndarray(x.shape, dtype or x.dtype, buffer or x.buffer, name)


def zeros_like(
    x: NkiTensor, dtype: str | None = None, buffer: MemoryRegion | None = None, name: str = ""
) -> NkiTensor:
    """A new tensor of zeros of the same shape."""
    return zeros(x.shape, dtype or x.dtype, buffer or x.buffer, name)


def load(src: NkiTensor, dtype: str | None = None) -> NkiTensor:
    """A new tile of SBUF with the values of a tensor in HBM."""
    _in_hbm(src, "src", "nl.load")
    out = ndarray(src.shape, dtype or src.dtype)
    dma_copy(dst=out, src=src)
    return out


def load_transpose2d(src: NkiTensor, dtype: str | None = None) -> NkiTensor:
    """A new tile of SBUF with the transposed values of a matrix in HBM."""
    _in_hbm(src, "src", "nl.load_transpose2d")
    if src.ndim != 2:
        fault("H27", f"nl.load_transpose2d takes two dimensions; got {src}")
    out = ndarray((src.shape[1], src.shape[0]), src.dtype)
    dma_transpose(dst=out, src=src)
    if dtype in (None, src.dtype):
        return out
    cast = ndarray(out.shape, dtype or src.dtype)
    tensor_copy(dst=cast, src=out)
    return cast


def store(dst: NkiTensor, value: NkiTensor) -> None:
    """Write a tile of SBUF to HBM."""
    _in_hbm(dst, "dst", "nl.store")
    tensor(value, "value")
    if value.storage.psum:
        fault("H36", f"nl.store takes a tile of SBUF; got {value}")
    dma_copy(dst=dst, src=value)


def _in_hbm(value: Any, argument: str, function: str) -> None:
    if not isinstance(value, NkiTensor) or value.on_chip:
        fault("memory", f"{argument} of {function} must be in HBM; got {value!r}")


def _assign(view: NkiTensor, value: Any) -> None:
    """What ``view[...] = value`` means where it is let pass."""
    tensor(value, "an assigned value")
    if view.on_chip and value.on_chip:
        tensor_copy(dst=view, src=value)
    else:
        dma_copy(dst=view, src=value)


ASSIGN.append(_assign)


def rand(
    shape: tuple[int, ...], dtype: str, buffer: MemoryRegion = MemoryRegion.sbuf, name: str = ""
) -> NkiTensor:
    """A new tensor of uniform numbers from 0 to 1."""
    out = ndarray(shape, dtype, buffer, name)
    put(out, uniform(running(), out))
    running().issue("vector", "rng", (out,), ())
    return out


def random_seed(seed: NkiTensor) -> None:
    """Seed what ``rand`` uses, with a tile of one element."""
    set_rng_seed(src_seeds=seed)


def dropout(x: NkiTensor, rate: float | NkiTensor, dtype: str | None = None) -> NkiTensor:
    """A new tile with some elements zeroed."""
    out = ndarray(x.shape, dtype or x.dtype)
    drop(dst=out, data=x, prob=rate)
    return out


def shared_constant(constant: Any) -> NkiTensor:
    """A tensor in shared HBM with the values of an array, or of a ``.npy`` file."""
    values: Array = np.load(Path(constant)) if isinstance(constant, (str, Path)) else np.asarray(constant)
    kind = of_numpy(values.dtype)
    if kind is None or values.ndim == 0 or values.size == 0:
        fault("H41", f"a constant has a dtype of NKI and elements; got {values.dtype}{list(values.shape)}")
    data = np.array(values, order="C").reshape(-1).view(kind.carrier)
    data.flags.writeable = False
    core = running()
    return NkiTensor.of(Storage(core, kind, values.shape, MemoryRegion.shared_hbm, "constant", data))


def device_print(print_prefix: str, tensor: NkiTensor) -> None:
    """Print a tensor of SBUF or HBM."""
    if tensor.storage.psum:
        fault("memory", f"device_print takes SBUF or HBM; got {tensor}")
    values = bits(tensor).view(tensor.kind.numpy) if tensor.kind.bytes != 4 else bits(tensor)
    sys.stdout.write(f"{print_prefix} {values}\n")


def is_hbm(buffer: MemoryRegion) -> bool:
    """Whether a buffer is in HBM."""
    return buffer in HBM


def is_on_chip(buffer: MemoryRegion) -> bool:
    """Whether a buffer is SBUF or PSUM."""
    return buffer in (MemoryRegion.sbuf, MemoryRegion.psum)


def is_psum(buffer: MemoryRegion) -> bool:
    """Whether a buffer is PSUM."""
    return buffer is MemoryRegion.psum


def is_sbuf(buffer: MemoryRegion) -> bool:
    """Whether a buffer is SBUF."""
    return buffer is MemoryRegion.sbuf


def program_id(axis: int = 0) -> int:
    """Index of this core among those that run the kernel."""
    _axis(axis)
    return running().rank


def num_programs(axes: int = 0) -> int:
    """Number of cores that run the kernel."""
    _axis(axes)
    launch = running().launch
    return 1 if launch is None else launch.size


def program_ndim() -> int:
    """Dimensions of the launch grid."""
    return 0 if running().launch is None else 1


def _axis(axis: Any) -> None:
    if axis not in (0, (0,)):
        fault("H41", f"the launch grid has one axis, 0; got {axis!r}")


class TileSize:
    """``nl.tile_size``: sizes of the running chip (``nki/api/nki.language.tile_size.rst``)."""

    @property
    def pmax(self) -> int:
        """Partitions."""
        return running().chip.partitions

    @property
    def psum_fmax(self) -> int:
        """float32 elements of a PSUM bank."""
        return running().chip.psum_bank_bytes // 4

    @property
    def psum_bank_fmax(self) -> int:
        """float32 elements of a PSUM bank (0.4)."""
        since((0, 4), "nl.tile_size.psum_bank_fmax")
        return self.psum_fmax

    @property
    def bn_stats_fmax(self) -> int:
        """Free size of bn_stats."""
        return BN_STATS_MAX

    @property
    def psum_bank_fmax_bytes(self) -> int:
        """Bytes of a PSUM bank (0.4)."""
        since((0, 4), "nl.tile_size.psum_bank_fmax_bytes")
        return running().chip.psum_bank_bytes

    @property
    def psum_num_banks(self) -> int:
        """PSUM banks (0.5)."""
        since((0, 5), "nl.tile_size.psum_num_banks")
        return running().chip.psum_banks

    @property
    def gemm_stationary_fmax(self) -> int:
        """Free size of a stationary operand."""
        return running().chip.stationary_free_max

    @property
    def gemm_moving_fmax(self) -> int:
        """Free size of a moving operand that is legal on every chip."""
        return min(512, running().chip.moving_free_max)

    @property
    def sbuf_size_bytes(self) -> int:
        """Bytes of SBUF, all partitions, nominal (0.4)."""
        since((0, 4), "nl.tile_size.sbuf_size_bytes")
        return running().chip.sbuf_partition_bytes * running().chip.partitions

    @property
    def sbuf_fmax_bytes(self) -> int:
        """Usable bytes of a partition (0.4)."""
        since((0, 4), "nl.tile_size.sbuf_fmax_bytes")
        return running().chip.sbuf_usable_bytes

    @property
    def total_available_sbuf_size(self) -> int:
        """Usable bytes of a partition."""
        return running().chip.sbuf_usable_bytes

    @property
    def sbuf_fmax(self) -> int:
        """Usable float32 elements of a partition (0.4)."""
        since((0, 4), "nl.tile_size.sbuf_fmax")
        return running().chip.sbuf_usable_bytes // 4

    def __getattr__(self, name: str) -> int:
        fault("unsupported", f"this interpreter does not have nl.tile_size.{name} yet")
