"""Cost rules: what one instruction takes, from sizes and a chip. Pure functions of numbers.

Each states its source. Paths are in ``aws-neuron/aws-neuron-sdk`` at 81ce03ae; OLD is
``nki/api/nki/isa/__init__.py`` at 1db4d74e (release 2.26), the last one with a cost for nearly every
instruction; A2, A3, A4 are ``nki/guides/architecture/{trainium_inferentia2,trainium2,trainium3}_arch.rst``.
N is the number of elements a partition of the largest operand; the number of partitions costs nothing
(A2). Cycles are of the engine concerned. All of it is published or assumed, none of it measured by us.
"""

from __future__ import annotations

from math import ceil

from numtrn.machine import Chip

__all__ = [
    "activation_cycles",
    "dma_engine_ns",
    "dma_row_ns",
    "dynamic_copy_cycles",
    "gather_cycles",
    "gpsimd_cycles",
    "interval_cycles",
    "matmul_cycles",
    "matmul_passes",
    "memset_cycles",
    "one_operand_cycles",
    "pattern_cycles",
    "predicated_cycles",
    "reciprocal_cycles",
    "reduce_cycles",
    "scalar_tensor_tensor_cycles",
    "scan_cycles",
    "tensor_tensor_cycles",
    "topk_cycles",
    "transpose_cycles",
    "transpose_passes",
    "vector_transpose_cycles",
]

# -- TensorE ---------------------------------------------------------------------------------------


def matmul_passes(fp32: bool, onezero: bool, chip: Chip) -> int:
    """Passes over the moving operand: 4 for fp32 (A2), 2 if an operand is zeros and ones (ISA nc_matmul)."""
    if not fp32:
        return 1
    return chip.fp32_passes // 2 if onezero else chip.fp32_passes


def matmul_cycles(columns: int, passes: int, chip: Chip) -> int:
    """Issue interval of a matmul: max(N, 64) for each pass (A2; OLD nc_matmul)."""
    return max(columns, chip.matmul_min_columns) * passes


def transpose_passes(fp32: bool, chip: Chip) -> int:
    """Passes of a transpose: fp32 is a matmul on trn1 (assumed), half of that from trn2 on (A3)."""
    if not fp32:
        return 1
    return chip.fp32_passes if chip.generation < 3 else chip.fp32_passes // 2


def transpose_cycles(partitions: int, free: int, passes: int) -> int:
    """Transpose of a [P, F] tile: max(P, min(64, F)) back to back (OLD nc_transpose)."""
    return max(partitions, min(64, free)) * passes


def interval_cycles(cycles: int, rows: int) -> float:
    """Share of a matmul in a row tile: 128 / rows of them run together (ISA nc_matmul, tile_size)."""
    return cycles * rows / 128


# -- VectorE ---------------------------------------------------------------------------------------


def one_operand_cycles(n: int, sixteen: bool, psum: bool, contiguous: bool, chip: Chip) -> int:
    """tensor_copy, tensor_scalar and the like: N (OLD); the performance modes of trn2 and trn3 (A3).

    16-bit data run 4 times faster within SBUF, 2 times if not contiguous or with a side in PSUM; fp32
    within SBUF 2 times, as profiles of ``nki/guides/use-neuron-profile.rst`` show.
    """
    speed = 1
    if chip.generation >= 3:
        if sixteen:
            speed = 4 if contiguous and not psum else 2
        elif not psum:
            speed = 2
    return max(ceil(n / speed), chip.engine_min_cycles)


def tensor_tensor_cycles(
    n: int, sixteen: bool, psum_inputs: int, psum: bool, simple: bool, chip: Chip
) -> int:
    """N if exactly one input is in PSUM, or for simple operators on 16-bit data in SBUF; else 2N (OLD).

    On trn2 and trn3 16-bit data within SBUF is twice as fast (A3) with every operator.
    """
    fast = psum_inputs == 1 or (sixteen and not psum and (simple or chip.generation >= 3))
    return max(n if fast else 2 * n, chip.engine_min_cycles)


def scalar_tensor_tensor_cycles(n: int, fast: bool, chip: Chip) -> int:
    """2N; N for subtract then multiply, all bf16, N even (OLD)."""
    return max(n if fast and n % 2 == 0 else 2 * n, chip.engine_min_cycles)


def scan_cycles(n: int, chip: Chip) -> int:
    """tensor_tensor_scan: 2N (OLD)."""
    return max(2 * n, chip.engine_min_cycles)


def reduce_cycles(n: int, fast: bool, chip: Chip) -> int:
    """tensor_reduce: N, N/2 for bf16 add or max (OLD)."""
    return max(ceil(n / 2) if fast else n, chip.engine_min_cycles)


def reciprocal_cycles(n: int, chip: Chip) -> int:
    """8N (OLD; ``nki/api/nki.api.shared.rst``)."""
    return max(8 * n, chip.engine_min_cycles)


def predicated_cycles(n: int, split: bool, chip: Chip) -> int:
    """tensor_copy_predicated: N if the operands are split over SBUF and PSUM, else 2N (OLD)."""
    return max(n if split else 2 * n, chip.engine_min_cycles)


def dynamic_copy_cycles(n: int) -> int:
    """tensor_copy with a dynamic address: max(600, N) (OLD)."""
    return max(600, n)


def memset_cycles(n: int, fast: bool, chip: Chip) -> int:
    """memset: N; N/2 for a zero of 16 bits (OLD)."""
    return max(ceil(n / 2) if fast else n, chip.engine_min_cycles)


def vector_transpose_cycles(n: int, chip: Chip) -> int:
    """32 x 32 blocks: N (OLD nc_transpose)."""
    return max(n, chip.engine_min_cycles)


# -- ScalarE ---------------------------------------------------------------------------------------


def activation_cycles(n: int, reduces: bool, chip: Chip) -> int:
    """Any function: max(64, N), about 64 more with a reduction (OLD; A2)."""
    return max(n, chip.engine_min_cycles) + (64 if reduces else 0)


# -- GpSimd ----------------------------------------------------------------------------------------


def pattern_cycles(n: int) -> int:
    """affine_select and iota: 150 + N (OLD)."""
    return 150 + n


def gpsimd_cycles(n: int) -> int:
    """Other work, for which no cost is published: 150 + 2N is assumed."""
    return 150 + 2 * n


def gather_cycles(indices: int, each: int) -> int:
    """local_gather: 150 + indices x elements / C (OLD); C depends on size and dtype, 1 is assumed."""
    return 150 + indices * each


def topk_cycles(n: int, k: int) -> int:
    """4n + K a partition (ISA topk)."""
    return 4 * n + k


# -- DMA -------------------------------------------------------------------------------------------


def dma_row_ns(size: int, chip: Chip) -> float:
    """One contiguous row on one engine; see `Chip.dma_row_ns` and `Chip.dma_small_bytes_per_ns`."""
    plain = chip.dma_row_ns + size / chip.dma_row_bytes_per_ns
    return max(plain, min(size, chip.dma_small_bytes) / chip.dma_small_bytes_per_ns)


def dma_engine_ns(rows: int, size: int, share: float, chip: Chip) -> float:
    """Rows that one engine moves, one after the other; a transpose reaches a share of the rate (A3)."""
    return rows * dma_row_ns(size, chip) / share
