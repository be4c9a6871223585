"""From an `Instruction` to its cost: which rule of ``costs.py`` holds, with which sizes.

``PRICES`` has an entry for each instruction; one that has none is an error, never free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from numtrn.errors import NumtrnError
from numtrn.interp.clock import costs
from numtrn.interp.core import Instruction, Operand
from numtrn.machine import Chip

__all__ = ["PRICES", "ClockError", "Cost", "Transfer", "price"]

COMPUTE = ("tensor", "vector", "scalar", "gpsimd")


class ClockError(NumtrnError):
    """An instruction that the clock has no cost for."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a compute instruction takes.

    Attributes
    ----------
    busy
        Nanoseconds in which its engine takes no other instruction.
    latency
        Nanoseconds from then until the result can be read.
    least
        ``busy`` without fitted factors: what a lower bound may count.
    table
        Function table that ScalarE needs, or "".
    borrows
        Whether VectorE borrows GpSimd's bus (trn2, trn3 performance modes).
    """

    busy: float
    latency: float
    least: float
    table: str = ""
    borrows: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a DMA moves.

    Attributes
    ----------
    bytes
        In all.
    first, engines
        The DMA engines it uses: so many from ``first`` on.
    engine_ns
        Busy time of each of them.
    hbm
        Bytes that pass HBM, both ways.
    """

    bytes: int
    first: int
    engines: int
    engine_ns: float
    hbm: int


def price(instruction: Instruction, chip: Chip) -> Cost | Transfer:
    """The cost of an instruction.

    Raises
    ------
    ClockError
        If there is no rule for it, or the chip has no published figure for it.
    """
    rule = PRICES.get(instruction.name)
    if rule is None:
        raise ClockError(
            f"the clock has no cost for {instruction.name} on engine {instruction.engine}; add a rule to"
            " numtrn/interp/clock/costs.py and an entry to PRICES in numtrn/interp/clock/prices.py"
        )
    if instruction.engine == "dma":
        return _transfer(instruction, chip)
    return rule(instruction, chip)


# -- operands --------------------------------------------------------------------------------------


def _free(operand: Operand) -> int:
    """Elements a partition."""
    free = 1
    for size in operand.shape[1:]:
        free *= size
    return free


def _largest(instruction: Instruction) -> int:
    return max(_free(operand) for operand in (*instruction.writes, *instruction.reads))


SIXTEEN = ("bfloat16", "float16")


def _sixteen(instruction: Instruction) -> bool:
    return all(operand.dtype in SIXTEEN for operand in (*instruction.writes, *instruction.reads))


def _psum(instruction: Instruction) -> bool:
    return any(operand.buffer == "psum" for operand in (*instruction.writes, *instruction.reads))


def _contiguous(operand: Operand) -> bool:
    return _run(operand, 1) == _free(operand)


def _run(operand: Operand, first: int) -> int:
    """Elements of the longest contiguous run at the end of the access, from dimension ``first`` on."""
    run = 1
    for axis in range(len(operand.shape) - 1, first - 1, -1):
        if operand.shape[axis] == 1:
            continue
        if operand.strides[axis] != run:
            break
        run *= operand.shape[axis]
    return run


def _option(instruction: Instruction, name: str) -> Any:
    for key, value in instruction.options:
        if key == name:
            return value
    return None


# -- engines ---------------------------------------------------------------------------------------


def _vector(cycles: float, chip: Chip, borrows: bool = False) -> Cost:
    busy = cycles / chip.vector_ghz
    return Cost(busy, chip.vector_latency_cycles / chip.vector_ghz, busy, borrows=borrows)


def _scalar(cycles: float, chip: Chip, table: str = "") -> Cost:
    busy = cycles / chip.scalar_ghz
    return Cost(busy, chip.scalar_latency_cycles / chip.scalar_ghz, busy, table)


def _gpsimd(cycles: float, chip: Chip) -> Cost:
    busy = cycles / chip.gpsimd_ghz
    return Cost(busy, 0.0, busy)


def _tensor(cycles: float, chip: Chip) -> Cost:
    least = cycles / chip.tensor_ghz
    return Cost(least * chip.matmul_stretch, chip.matmul_latency_ns, least)


def _matmul(instruction: Instruction, chip: Chip) -> Cost:
    moving = instruction.reads[1]
    fp32 = moving.dtype == "float32"
    if _option(instruction, "is_transpose"):
        passes = costs.transpose_passes(fp32, chip)
    else:
        passes = costs.matmul_passes(fp32, bool(_option(instruction, "onezero")), chip)
    columns = _free(moving) // (2 if _option(instruction, "double_row") else 1)
    size = _option(instruction, "tile_size")
    cycles = costs.matmul_cycles(columns, passes, chip)
    return _tensor(costs.interval_cycles(cycles, size[0] if size else 128), chip)


def _transpose(instruction: Instruction, chip: Chip) -> Cost:
    data = instruction.reads[0]
    if instruction.engine == "vector":
        return _vector(costs.vector_transpose_cycles(_free(data), chip), chip)
    passes = costs.transpose_passes(data.dtype == "float32", chip)
    return _tensor(costs.transpose_cycles(data.shape[0], _free(data), passes), chip)


def _one_operand(instruction: Instruction, chip: Chip) -> Cost:
    """tensor_copy, tensor_scalar and their like, on whichever engine runs them."""
    n = _largest(instruction)
    if instruction.engine == "gpsimd":
        return _gpsimd(costs.gpsimd_cycles(n), chip)
    sixteen = _sixteen(instruction)
    if instruction.engine == "scalar":
        halved = ceil(n / 2) if sixteen and chip.generation >= 4 else n  # A4
        return _scalar(costs.activation_cycles(halved, False, chip), chip)
    psum = _psum(instruction)
    lanes = (*instruction.writes, *instruction.reads)
    contiguous = all(_contiguous(operand) for operand in lanes if _free(operand) > 1)
    cycles = costs.one_operand_cycles(n, sixteen, psum, contiguous, chip)
    return _vector(cycles, chip, borrows=chip.generation >= 3 and cycles < n)


def _tensor_tensor(instruction: Instruction, chip: Chip) -> Cost:
    n = _largest(instruction)
    if instruction.engine == "gpsimd":
        return _gpsimd(costs.gpsimd_cycles(n), chip)
    inputs = sum(operand.buffer == "psum" for operand in instruction.reads)
    simple = _option(instruction, "op") in ("add", "subtract", "multiply")
    operands = (*instruction.writes, *instruction.reads)
    sixteen = _sixteen(instruction) and all(_contiguous(operand) for operand in operands)
    psum = _psum(instruction)
    cycles = costs.tensor_tensor_cycles(n, sixteen, inputs, psum, simple, chip)
    return _vector(cycles, chip, borrows=chip.generation >= 3 and sixteen and not psum)


def _scalar_tensor_tensor(instruction: Instruction, chip: Chip) -> Cost:
    ops = _option(instruction, "op0"), _option(instruction, "op1")
    bfloat16 = all(operand.dtype == "bfloat16" for operand in (*instruction.writes, *instruction.reads))
    fast = bfloat16 and ops == ("subtract", "multiply")
    return _vector(costs.scalar_tensor_tensor_cycles(_largest(instruction), fast, chip), chip)


def _reduce(instruction: Instruction, chip: Chip) -> Cost:
    data = instruction.reads[0]
    fast = data.dtype == "bfloat16" and _option(instruction, "op") in ("add", "maximum", "max")
    return _vector(costs.reduce_cycles(_free(data), fast, chip), chip)


def _predicated(instruction: Instruction, chip: Chip) -> Cost:
    buffers = {operand.buffer for operand in instruction.reads}
    return _vector(costs.predicated_cycles(_largest(instruction), len(buffers) > 1, chip), chip)


def _activation(instruction: Instruction, chip: Chip) -> Cost:
    """A change of function costs a table; copies need none (`Chip.table_load_ns`)."""
    function = str(_option(instruction, "op"))
    cycles = costs.activation_cycles(_largest(instruction), len(instruction.writes) > 1, chip)
    return _scalar(cycles, chip, "" if function in ("copy", "identity") else function)


def _memset(instruction: Instruction, chip: Chip) -> Cost:
    n = _free(instruction.writes[0])
    if instruction.engine == "gpsimd":
        return _gpsimd(costs.gpsimd_cycles(n), chip)
    fast = _sixteen(instruction) and bool(_option(instruction, "zero"))
    return _vector(costs.memset_cycles(n, fast, chip), chip)


def _by_cycles(cycles: Callable[[int, Chip], float]) -> Callable[[Instruction, Chip], Cost]:
    """A rule that needs N only; the engine is the one in the log."""

    def rule(instruction: Instruction, chip: Chip) -> Cost:
        n = _largest(instruction)
        if instruction.engine == "gpsimd":
            return _gpsimd(costs.gpsimd_cycles(n), chip)
        engine = _scalar if instruction.engine == "scalar" else _vector
        return engine(cycles(n, chip), chip)

    return rule


def _on_gpsimd(cycles: Callable[[int], float]) -> Callable[[Instruction, Chip], Cost]:
    return lambda instruction, chip: _gpsimd(cycles(_largest(instruction)), chip)


def _gather(instruction: Instruction, chip: Chip) -> Cost:
    each = _option(instruction, "num_elem_per_idx") or 1
    return _gpsimd(costs.gather_cycles(_free(instruction.reads[-1]), each), chip)


def _topk(instruction: Instruction, chip: Chip) -> Cost:
    kept = max(_free(operand) for operand in instruction.writes)
    return _gpsimd(costs.topk_cycles(_free(instruction.reads[0]), kept), chip)


def _sequencer(instruction: Instruction, chip: Chip) -> Cost:
    """Register moves and barriers: no cost is published; the least cycles of an instruction are assumed."""
    busy = chip.engine_min_cycles / chip.scalar_ghz
    return Cost(busy, 0.0, 0.0)


def _n(n: int, chip: Chip) -> int:
    """N with a floor: bn_stats, dropout, range_select, max8 and others with one operand (OLD)."""
    return max(n, chip.engine_min_cycles)


# -- DMA -------------------------------------------------------------------------------------------


def _transfer(instruction: Instruction, chip: Chip) -> Transfer:
    """Rows dealt to engines by partition (``nki/get-started/about/nki-dma-overview.rst``)."""
    target = instruction.writes[0]
    sources = instruction.reads or instruction.writes[:1]
    operands = (target, *sources)
    chip_side = next((operand for operand in operands if operand.buffer == "sbuf"), None)
    size = min(_row_bytes(operand) for operand in operands)
    moved = max(operand.bytes for operand in operands) * max(1, len(instruction.reads))
    share = _transpose_share(sources[0], chip) if instruction.name == "dma_transpose" else 1.0
    if instruction.name == "dma_compute" and chip.generation < 4:
        share = 0.5  # A4: accumulating DMA has half the rate up to trn2
    if instruction.name == "dma_transpose":
        item = _item(sources[0])
        size = min(_row_bytes(sources[0]), item * sources[0].shape[-1]) if share else item
        share = share or 1.0
    rows = ceil(moved / size)
    if chip_side is None:
        first, engines = 0, min(chip.dma_engines, rows)
    else:
        row = chip_side.strides[0] or 1
        start = chip_side.offset // row
        first = min(start, 127) // chip.dma_partitions
        last = min(start + chip_side.shape[0] - 1, 127) // chip.dma_partitions
        engines = last - first + 1
    hbm = sum(operand.bytes for operand in (target, *instruction.reads) if operand.buffer != "sbuf")
    each = costs.dma_engine_ns(ceil(rows / engines), size, share, chip)
    return Transfer(moved, first, engines, each, hbm)


def _row_bytes(operand: Operand) -> int:
    """Bytes of one contiguous run, which on chip ends with the partition."""
    return _run(operand, 1 if operand.buffer == "sbuf" else 0) * _item(operand)


def _item(operand: Operand) -> int:
    """Bytes of an element."""
    return operand.bytes // prod(operand.shape)


def _transpose_share(source: Operand, chip: Chip) -> float:
    """Share of the DMA rate; 0 on trn1, which has no transpose in its DMA: there every element is a row.

    A3 describes the transposing DMA of trn2. Of trn1 only this is published, that transposes "can degrade DMA
    bandwidth significantly" (``nki/deep-dives/nki_perf_guide.rst``, Opt #10), so the rows are an assumption.
    """
    return chip.dma_transpose_sbuf_share if source.buffer == "sbuf" else chip.dma_transpose_share


def _copied(instruction: Instruction, chip: Chip) -> Cost:
    """A DMA instruction that the log has on a compute engine."""
    return _sequencer(instruction, chip)


_NCYCLES = _by_cycles(_n)

PRICES: dict[str, Callable[[Instruction, Chip], Cost]] = {
    "nc_matmul": _matmul,
    "nc_matmul_mx": _matmul,
    "nc_transpose": _transpose,
    "tensor_copy": _one_operand,
    "tensor_scalar": _one_operand,
    "tensor_tensor": _tensor_tensor,
    "scalar_tensor_tensor": _scalar_tensor_tensor,
    "tensor_tensor_scan": _by_cycles(costs.scan_cycles),
    "tensor_scalar_cumulative": _by_cycles(costs.scan_cycles),
    "tensor_reduce": _reduce,
    "tensor_scalar_reduce": _by_cycles(lambda n, chip: _n(n, chip) + 64),
    "reciprocal": _by_cycles(costs.reciprocal_cycles),
    "tensor_copy_predicated": _predicated,
    "select_reduce": _predicated,
    "memset": _memset,
    "nc_stream_shuffle": _NCYCLES,
    "range_select": _NCYCLES,
    "dropout": _NCYCLES,
    "bn_stats": _NCYCLES,
    "bn_aggr": _by_cycles(lambda n, chip: _n(ceil(13 * n / 3), chip)),
    "max8": _NCYCLES,
    "nc_find_index8": _NCYCLES,
    "nc_match_replace8": _NCYCLES,
    "quantize_mx": _by_cycles(lambda n, chip: _n(ceil(n / 4), chip)),  # A4: 4 elements a cycle
    "exponential": _NCYCLES,
    "activation": _activation,
    "activation_reduce": _activation,
    "activate2": _activation,
    "iota": _on_gpsimd(costs.pattern_cycles),
    "affine_select": _on_gpsimd(costs.pattern_cycles),
    "local_gather": _gather,
    "nc_n_gather": _gather,
    "topk": _topk,
    "tensor_partition_reduce": _on_gpsimd(costs.gpsimd_cycles),
    "nonzero_with_count": _on_gpsimd(costs.gpsimd_cycles),
    "sequence_bounds": _on_gpsimd(costs.gpsimd_cycles),
    "rng": _NCYCLES,
    "rand2": _NCYCLES,
    "set_rng_seed": _sequencer,
    "rand_set_state": _sequencer,
    "rand_get_state": _sequencer,
    "register_alloc": _sequencer,
    "register_move": _sequencer,
    "register_load": _sequencer,
    "register_store": _sequencer,
    "core_barrier": _sequencer,
    "dma_copy": _copied,
    "dma_transpose": _copied,
    "dma_compute": _copied,
    "sendrecv": _copied,
    "shared_identity_matrix": _copied,
}
"""The rule of each instruction; DMA instructions are priced by ``_transfer`` whatever stands here."""
