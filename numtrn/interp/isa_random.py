"""Random numbers (ISA: rng and its neighbours). The bits are XORWOW's, not the hardware's.

Each lane has a XORWOW state, of six words in GpSimd and of 24 in VectorE, which kernels set and get, from
gen4 on also in VectorE (ISA: rand_set_state, "each partition in the source tensor seeds the PRNG states for
the corresponding compute lane"). On all generations one seed sets those of VectorE (ISA: set_rng_seed).
"""

from __future__ import annotations

import numpy as np

from numtrn.interp.access import bits, instruction, put, put_bits
from numtrn.interp.core import Core, running
from numtrn.interp.dtypes import Array
from numtrn.interp.enums import engine as engines
from numtrn.interp.faults import fault
from numtrn.interp.rules import (
    distinct,
    lane_operand,
    lanes_distinct,
    one_of,
    partition_start,
    same_elements,
    tile,
    writable,
)
from numtrn.interp.tensor import NkiTensor

__all__ = ["dropout", "rand2", "rand_get_state", "rand_set_state", "rng", "set_rng_seed", "uniform"]

Number = float | NkiTensor
WORDS = {engines.gpsimd: 6, engines.vector: 24}
"""Words of state a lane (ISA: rand_set_state)."""


def _states(core: Core, unit: engines, data: NkiTensor | None = None) -> Array:
    """The states of the lanes that a tile lies in, or of all lanes of an engine."""
    key = f"{unit.name} state"
    if key not in core.random:
        core.random[key] = _seeded(core, unit, WORDS[unit])
    states: Array = core.random[key]
    return states if data is None else states[partition_start(data) :][: data.shape[0]]


def _seeded(core: Core, unit: engines, seed: int) -> Array:
    seeds = np.random.default_rng(seed).integers(1, 2**32, (core.chip.partitions, WORDS[unit]))
    return seeds.astype(np.uint32)


def _words(core: Core, unit: engines, dst: NkiTensor) -> Array:
    """Random words for the elements of a tile: XORWOW (Marsaglia 2003), streams of six words in turn.

    The last word of a state is the counter. Which word is what on the device is not documented.
    """
    states, count = _states(core, unit, dst), dst.size // dst.shape[0]
    lanes, streams = dst.shape[0], WORDS[unit] // 6
    *shifts, counter = (states[:, place::6] for place in range(6))
    out = np.empty((lanes, -(-count // streams), streams), np.uint32)
    for step in range(out.shape[1]):
        x = shifts[0] ^ (shifts[0] >> np.uint32(2))
        v = shifts[4]
        fresh = (v ^ (v << np.uint32(4))) ^ (x ^ (x << np.uint32(1)))
        for place in range(4):
            shifts[place][...] = shifts[place + 1]
        v[...] = fresh
        counter += np.uint32(362437)
        out[:, step] = fresh + counter
    return out.reshape(lanes, -1)[:, :count]


def uniform(core: Core, dst: NkiTensor) -> Array:
    """Numbers from 0 to 1, one excluded, of VectorE, in the shape of ``dst``."""
    return ((_words(core, engines.vector, dst) >> 8).astype(np.float32) / 2**24).reshape(dst.shape)


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
    unit = engines.gpsimd if engine is engines.gpsimd else engines.vector
    words = _words(core, unit, dst)
    put_bits(dst, words.astype(f"u{dst.kind.bytes}").view(dst.kind.carrier))
    core.issue(unit.name, "rng", (dst,), ())


@instruction()
def set_rng_seed(src_seeds: NkiTensor, name: str | None = None) -> None:
    """Seed the generator of VectorE with one 32-bit value."""
    core = running()
    tile(src_seeds, "src_seeds", core)
    if src_seeds.size != 1 or src_seeds.kind.bytes != 4:
        fault("H41", f"src_seeds must be one 32-bit value of shape (1, 1); got {src_seeds}")
    seed = int(bits(src_seeds).reshape(1).view(np.uint32)[0])
    _states(core, engines.vector)[...] = _seeded(core, engines.vector, seed)
    core.issue("vector", "set_rng_seed", (), (src_seeds,))


@instruction()
def rand_set_state(src_seeds: NkiTensor, engine: engines = engines.gpsimd, name: str | None = None) -> None:
    """Set the XORWOW state of each lane."""
    core = running()
    _state_operand(core, src_seeds, engine)
    if src_seeds.storage.psum:
        fault("memory", f"src_seeds must be in SBUF; got {src_seeds}")
    _states(core, engine, src_seeds)[...] = bits(src_seeds)
    core.issue(engine.name, "rand_set_state", (), (src_seeds,))


@instruction()
def rand_get_state(dst: NkiTensor, engine: engines = engines.gpsimd, name: str | None = None) -> None:
    """The XORWOW state of each lane."""
    core = running()
    _state_operand(core, dst, engine)
    writable(dst)
    put_bits(dst, _states(core, engine, dst))
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
    lanes_distinct(dst, min, max)
    if not np.all(low < high):
        fault("H41", f"rand2 needs min < max; got {min!r} and {max!r}")
    if dst.dtype in ("bool_", "float8_e4m3fn"):
        fault("H41", f"rand2 does not write this dtype; got {dst}")
    put(dst, (low + uniform(core, dst) * (high - low)).astype(np.float32))
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
    lanes_distinct(dst, prob)
    kept = uniform(core, data) >= limit
    put_bits(dst, np.where(kept, bits(data), data.kind.carrier.type(0)))
    reads = [data, *((prob,) if isinstance(prob, NkiTensor) else ())]
    core.issue("vector", "dropout", (dst,), reads)
