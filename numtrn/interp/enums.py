"""Enumerations that kernels pass to instructions (``nki/api/nki/isa/__init__.py``), members only."""

from __future__ import annotations

from enum import Enum

from numtrn.interp.faults import fault

__all__ = [
    "MemoryRegion",
    "dge_mode",
    "dma_engine",
    "engine",
    "expect",
    "matmul_perf_mode",
    "nc_version",
    "oob_mode",
    "reduce_cmd",
]


class MemoryRegion(Enum):
    """Where a tensor lives."""

    sbuf = "sbuf"
    psum = "psum"
    private_hbm = "private_hbm"
    shared_hbm = "shared_hbm"


class engine(Enum):  # noqa: N801
    """The engines of a core."""

    unknown = 0
    tensor = 1
    scalar = 2
    gpsimd = 3
    dma = 4
    vector = 5
    sync = 6


class reduce_cmd(Enum):  # noqa: N801
    """What an instruction does with the accumulator registers."""

    idle = 0
    reset = 1
    reduce = 2
    reset_reduce = 3
    load_reduce = 4


class dge_mode(Enum):  # noqa: N801
    """Who writes the descriptors of a DMA."""

    unknown = 0
    swdge = 1
    hwdge = 2
    none = 3


class oob_mode(Enum):  # noqa: N801
    """What an index out of bounds does."""

    error = 0
    skip = 1


class matmul_perf_mode(Enum):  # noqa: N801
    """Doubled fp8 rate, or not."""

    none = "none"
    double_row = "double_row"


class nc_version(Enum):  # noqa: N801
    """Generations of the NeuronCore."""

    gen2 = 2
    gen3 = 3
    gen4 = 4


class dma_engine(Enum):  # noqa: N801
    """Which DMA carries a ``sendrecv``."""

    dma = 1
    gpsimd_dma = 2


def expect(value: object, kind: type[Enum], argument: str) -> None:
    """Refuse numbers and strings in place of a member of ``kind`` (H41)."""
    if type(value) is not kind:
        fault("H41", f"{argument} must be a member of {kind.__name__}; got {value!r}")
