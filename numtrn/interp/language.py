"""Functions of ``nki.language`` that kernels use; the module object is made in ``modules.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.interp.core import running
from numtrn.interp.dtypes import lookup
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault
from numtrn.interp.memory import Storage
from numtrn.interp.rules import AP_DIMS, int32
from numtrn.interp.tensor import NkiTensor

__all__ = ["TileSize", "is_hbm", "is_on_chip", "is_psum", "is_sbuf", "ndarray", "shared_identity_matrix"]

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
    if dst is not None:
        fault("unsupported", "this interpreter does not have shared_identity_matrix(dst=) yet")
    matrix = ndarray((n, n), dtype)
    kind = matrix.kind
    matrix.array[...] = kind.narrow(np.eye(n, dtype=np.float32))
    matrix.storage.wrote(matrix)
    running().issue("dma", "shared_identity_matrix", (matrix,), ())
    return matrix


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
    """Index of this core among those that run the kernel: always 0 here."""
    return 0


def num_programs(axes: int = 0) -> int:
    """Number of cores that run the kernel: always 1 here."""
    return 1


def program_ndim() -> int:
    """Dimensions of the launch grid: none here."""
    return 0


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

    psum_bank_fmax = psum_fmax

    @property
    def psum_bank_fmax_bytes(self) -> int:
        """Bytes of a PSUM bank."""
        return running().chip.psum_bank_bytes

    @property
    def psum_num_banks(self) -> int:
        """PSUM banks."""
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
        """Bytes of SBUF, all partitions, nominal."""
        return running().chip.sbuf_partition_bytes * running().chip.partitions

    @property
    def sbuf_fmax_bytes(self) -> int:
        """Usable bytes of a partition."""
        return running().chip.sbuf_usable_bytes

    total_available_sbuf_size = sbuf_fmax_bytes

    @property
    def sbuf_fmax(self) -> int:
        """Usable float32 elements of a partition."""
        return running().chip.sbuf_usable_bytes // 4

    def __getattr__(self, name: str) -> int:
        fault("unsupported", f"this interpreter does not have nl.tile_size.{name} yet")
