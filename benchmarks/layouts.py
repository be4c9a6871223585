"""Predicted times of products by the layout of their operands: ``python benchmarks/layouts.py``.

An operand has K across its rows, as TensorE reads it, or along them, and is then transposed on the chip. For
n^3 on one core; nothing is computed, and no device has confirmed it.
"""

from __future__ import annotations

import argparse
from typing import Any

import ml_dtypes
import numpy as np
from tabulate import tabulate

from numtrn.interp import modules
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS, Chip
from numtrn.plan.rank_k import tile_rank_k
from numtrn.plan.tiling import tile_gemm
from numtrn.targets.load import load_kernel

SIZES = (512, 1024, 2048)
DTYPES: dict[str, Any] = {"bf16": ml_dtypes.bfloat16, "fp32": np.float32}
AS_READ = (False, False)
TURNED = {"one": ((True, False), (False, True)), "both": ((True, True),)}


def gemm_us(n: int, dtype: Any, k_is_fast: tuple[bool, bool], chip: Chip) -> float:
    """Device time of one square product in microseconds."""
    tiling = tile_gemm(1, n, n, n, np.dtype(dtype).itemsize, k_is_fast=k_is_fast)
    arguments = (of_shape((n, n), dtype), of_shape((n, n), dtype), *tiling.parameters)
    return time_kernel(load_kernel("gemm", modules), arguments, chip).total_ns / 1e3


def rank_k_us(n: int, dtype: Any, k_is_fast: bool, chip: Chip) -> float:
    """The same of A A^T."""
    tiling = tile_rank_k(1, n, n, 1, np.dtype(dtype).itemsize, k_is_fast=k_is_fast)
    arguments = (of_shape((n, n), dtype), *tiling.parameters)
    return time_kernel(load_kernel("rank_k", modules), arguments, chip).total_ns / 1e3


def row(n: int, name: str, chip: Chip) -> list[str]:
    """One line of the table."""
    dtype = DTYPES[name]
    plain, rank = gemm_us(n, dtype, AS_READ, chip), rank_k_us(n, dtype, False, chip)
    worst = {label: max(gemm_us(n, dtype, k, chip) for k in layouts) for label, layouts in TURNED.items()}
    turned = rank_k_us(n, dtype, True, chip)
    return [
        chip.name,
        name,
        str(n),
        f"{plain:.1f}",
        *(f"{time / plain - 1:+.1%}" for time in worst.values()),
        f"{rank:.1f}",
        f"{turned / rank - 1:+.1%}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chip", choices=tuple(CHIPS), action="append")
    arguments = parser.parse_args()
    rows = [row(n, name, CHIPS[chip]) for chip in arguments.chip or CHIPS for name in DTYPES for n in SIZES]
    headers = ["chip", "operands", "n", "gemm us", "one turned", "both", "rank_k us", "turned"]
    print(tabulate(rows, headers=headers, disable_numparse=True))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
