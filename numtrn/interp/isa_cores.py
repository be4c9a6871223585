"""Instructions that need a second core (ISA: sendrecv, core_barrier)."""

from __future__ import annotations

from numtrn.interp.access import bits, instruction, put_bits
from numtrn.interp.core import Core, Launch, running
from numtrn.interp.enums import MemoryRegion, expect
from numtrn.interp.enums import dma_engine as dma_engines
from numtrn.interp.enums import engine as engines
from numtrn.interp.faults import fault
from numtrn.interp.races import check
from numtrn.interp.rules import dma_operand, int32, tensor, writable
from numtrn.interp.tensor import NkiTensor

__all__ = ["core_barrier", "sendrecv"]

GPSIMD_BYTES = {4: 1024, 2: 512, 1: 256}
"""Most bytes a partition that GpSimd's own DMA swaps, by element size (ISA: sendrecv)."""


def _other(core: Core, function: str) -> Launch:
    if core.chip.generation < 3:
        fault("H29", f"{function} needs gen3; {core.chip.name} is gen2")
    if core.launch is None:
        fault("H38", f"{function} needs two cores; this kernel runs on one (kernel[2])")
    return core.launch


@instruction()
def sendrecv(
    src: NkiTensor,
    dst: NkiTensor,
    send_to_rank: int,
    recv_from_rank: int,
    pipe_id: int,
    dma_engine: dma_engines = dma_engines.dma,
    name: str | None = None,
) -> None:
    """Swap tiles with the other core."""
    core = running()
    launch = _other(core, "sendrecv")
    expect(dma_engine, dma_engines, "dma_engine")
    for argument, value in (("src", src), ("dst", dst)):
        dma_operand(value, argument, core)
        if value.buffer is not MemoryRegion.sbuf:
            fault("memory", f"sendrecv moves between SBUFs; {argument} is {value}")
    writable(dst)
    if src.kind is not dst.kind or src.shape != dst.shape:
        fault("H17", f"src and dst must have one dtype and shape; got {src} and {dst}")
    other = 1 - core.rank
    if (send_to_rank, recv_from_rank) != (other, other):
        fault("H38", f"core {core.rank} exchanges with {other}; got {send_to_rank} and {recv_from_rank}")
    limit = GPSIMD_BYTES[src.kind.bytes]
    if dma_engine is dma_engines.gpsimd_dma and src.size // src.shape[0] * src.kind.bytes > limit:
        fault("H30", f"gpsimd_dma moves at most {limit} bytes a partition of this dtype; got {src}")
    brought = launch.meet(core.rank, ("sendrecv", int32(pipe_id, "pipe_id")), (src.dtype, bits(src).copy()))
    if brought[0] != dst.dtype or brought[1].shape != dst.shape:
        fault("H38", f"the cores bring different tiles; got {brought[0]}{list(brought[1].shape)} for {dst}")
    put_bits(dst, brought[1])
    core.issue("dma", "sendrecv", (dst,), (src,), dma_engine=dma_engine.name)


@instruction()
def core_barrier(
    data: NkiTensor, cores: tuple[int, ...], engine: engines = engines.gpsimd, name: str | None = None
) -> None:
    """Wait for the other core; what it wrote to ``data`` may be read afterwards."""
    core = running()
    launch = _other(core, "core_barrier")
    tensor(data, "data")
    if data.buffer is not MemoryRegion.shared_hbm or tuple(cores) != (0, 1):
        fault("H38", f"core_barrier is for shared HBM and cores (0, 1); got {data} and {cores}")
    if type(engine) is not engines or engine in (engines.unknown, engines.dma):
        fault("H41", f"engine must be one that runs instructions; got {engine!r}")
    storage = data.storage
    key = ("core_barrier", id(storage.raw))
    mine = launch.accesses(core.rank, storage.raw)
    written, theirs = launch.meet(core.rank, key, (storage.written(), mine))
    if core.rank == 0:
        check(mine, theirs)
    storage.learn(written)
    launch.meet(core.rank, ("after", *key), None)
    unit = "gpsimd" if engine is engines.sync else engine.name
    core.issue(unit, "core_barrier", (data,), (data,))
