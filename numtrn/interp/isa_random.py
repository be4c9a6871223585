"""Random numbers (ISA: rng and its neighbours). The bits are XORWOW's or NumPy's, not the hardware's.

Lanes of GpSimd hold a XORWOW state of six words each, which kernels can set and get; VectorE has one seed.
"""

from __future__ import annotations

import numpy as np

from numtrn.interp.access import bits, instruction, put, put_bits, wide
from numtrn.interp.core import Core, running
from numtrn.interp.dtypes import Array
from numtrn.interp.enums import engine as engines
from numtrn.interp.faults import fault
from numtrn.interp.rules import distinct, lane_operand, one_of, same_elements, tile, writable
from numtrn.interp.tensor import NkiTensor

__all__ = ["dropout", "generator", "rand2", "rand_get_state", "rand_set_state", "rng", "set_rng_seed"]

Number = float | NkiTensor
WORDS = {engines.gpsimd: 6, engines.vector: 24}
"""Words of state a lane (ISA: rand_set_state)."""


def generator(core: Core) -> np.random.Generator:
    """The generator of VectorE."""
    found = core.random.get("vector")
    if found is None:
        found = core.random["vector"] = np.random.default_rng(0)
    assert isinstance(found, np.random.Generator)
    return found


def _states(core: Core, unit: engines) -> Array:
    """The states of all lanes of an engine."""
    key = f"{unit.name} state"
    if key not in core.random:
        seeds = np.random.default_rng(1).integers(1, 2**32, (core.chip.partitions, WORDS[unit]))
        core.random[key] = seeds.astype(np.uint32)
    states: Array = core.random[key]
    return states


def _xorwow(states: Array, count: int) -> Array:
    """``count`` words of each lane (Marsaglia 2003); the last word of a state is the counter."""
    out = np.empty((states.shape[0], count), np.uint32)
    for step in range(count):
        x = states[:, 0] ^ (states[:, 0] >> np.uint32(2))
        v = states[:, 4]
        fresh = (v ^ (v << np.uint32(4))) ^ (x ^ (x << np.uint32(1)))
        states[:, 0:4] = states[:, 1:5]
        states[:, 4] = fresh
        states[:, 5] += np.uint32(362437)
        out[:, step] = fresh + states[:, 5]
    return out


@instruction()
def rng(dst: NkiTensor, engine: engines = engines.vector, name: str | None = None) -> None:
    """Random bits in an integer tile."""
    core = running()
    one_of(engine, (engines.vector, engines.gpsimd), "rng")
    if engine is engines.gpsimd and core.chip.generation < 3:
        fault("H29", f"rng on GpSimd needs gen3; {core.chip.name} is gen2")
    tile(dst, "dst", core, engine is engines.gpsimd)
    writable(dst)
    if dst.kind.family != "int":
        fault("H41", f"rng writes integers; got {dst}")
    free = dst.size // dst.shape[0]
    if engine is engines.gpsimd:
        words = _xorwow(_states(core, engine)[: dst.shape[0]], free)
    else:
        words = generator(core).integers(0, 2**32, (dst.shape[0], free), dtype=np.uint32)
    put_bits(dst, words.astype(f"u{dst.kind.bytes}").view(dst.kind.carrier))
    core.issue("gpsimd" if engine is engines.gpsimd else "vector", "rng", (dst,), ())


@instruction()
def set_rng_seed(src_seeds: NkiTensor, name: str | None = None) -> None:
    """Seed the generator of VectorE with one 32-bit value."""
    core = running()
    tile(src_seeds, "src_seeds", core)
    if src_seeds.size != 1 or src_seeds.kind.bytes != 4:
        fault("H41", f"src_seeds must be one 32-bit value of shape (1, 1); got {src_seeds}")
    seed = int(bits(src_seeds).reshape(1).view(np.uint32)[0])
    core.random["vector"] = np.random.default_rng(seed)
    core.issue("vector", "set_rng_seed", (), (src_seeds,))


@instruction()
def rand_set_state(src_seeds: NkiTensor, engine: engines = engines.gpsimd, name: str | None = None) -> None:
    """Set the XORWOW state of each lane."""
    core = running()
    _state_operand(core, src_seeds, engine)
    if src_seeds.storage.psum:
        fault("memory", f"src_seeds must be in SBUF; got {src_seeds}")
    states = _states(core, engine)
    states[: src_seeds.shape[0]] = bits(src_seeds).reshape(src_seeds.shape[0], -1)
    core.issue(engine.name, "rand_set_state", (), (src_seeds,))


@instruction()
def rand_get_state(dst: NkiTensor, engine: engines = engines.gpsimd, name: str | None = None) -> None:
    """The XORWOW state of each lane."""
    core = running()
    _state_operand(core, dst, engine)
    writable(dst)
    put_bits(dst, _states(core, engine)[: dst.shape[0]].copy())
    core.issue(engine.name, "rand_get_state", (dst,), ())


def _state_operand(core: Core, value: NkiTensor, unit: engines) -> None:
    if unit not in WORDS:
        fault("H19", f"the states are those of gpsimd and vector; got {unit}")
    needed = 4 if unit is engines.vector else 3
    if core.chip.generation < needed:
        fault("H29", f"the state of {unit.name} needs gen{needed}; {core.chip.name} is not")
    tile(value, "the state", core, unit is engines.gpsimd)
    if value.dtype != "uint32" or value.ndim != 2 or value.shape[1] != WORDS[unit]:
        fault("H41", f"a state is uint32 with {WORDS[unit]} words a partition; got {value}")


@instruction()
def rand2(dst: NkiTensor, min: Number, max: Number, name: str | None = None) -> None:
    """Uniform numbers from min to max."""
    core = running()
    if core.chip.generation < 4:
        fault("H29", f"rand2 needs gen4; {core.chip.name} is gen{core.chip.generation}")
    tile(dst, "dst", core)
    writable(dst)
    low, high = lane_operand(min, dst, "min", core), lane_operand(max, dst, "max", core)
    if not np.all(low < high):
        fault("H41", f"rand2 needs min < max; got {min!r} and {max!r}")
    uniform = generator(core).random(dst.shape, dtype=np.float32)
    put(dst, (low + uniform * (high - low)).astype(np.float32))
    reads = [value for value in (min, max) if isinstance(value, NkiTensor)]
    core.issue("vector", "rand2", (dst,), reads)


@instruction()
def dropout(dst: NkiTensor, data: NkiTensor, prob: Number, name: str | None = None) -> None:
    """Zero where a random number falls below the probability."""
    core = running()
    tile(dst, "dst", core)
    tile(data, "data", core)
    writable(dst)
    same_elements(dst, data, "data")
    distinct(dst, data, "data")
    if dst.kind is not data.kind:
        fault("H17", f"dropout keeps the dtype; got {data} to {dst}")
    limit = lane_operand(prob, data, "prob", core, any_float=data.kind.is_float)
    kept = generator(core).random(data.shape, dtype=np.float32) >= limit
    put(dst, np.where(kept, wide(data), np.float32(0)).reshape(dst.shape))
    reads = [data, *((prob,) if isinstance(prob, NkiTensor) else ())]
    core.issue("vector", "dropout", (dst,), reads)
