"""The clock against published kernel times: ``python benchmarks/clock/published.py [--only WORD]``.

Kernels of the Neuron SDK are run from a checkout of ``aws-neuron/aws-neuron-sdk`` that the environment
variable NUMTRN_NEURON_SDK names; without it their rows are left out, and the table says so. The other
kernels are ours, in ``kernels.py`` beside this file. No data is computed. Sources of the times:

A  general/nki/tutorials/matrix_multiplication.rst @49ee15c5, 99th percentile
B  awslabs/nki-autotune: issue 25
C  awslabs/nki-autotune: autotune/gemm/trn2-scoreboard.md @616e222b
D  nki/guides/tutorials/kernel-optimization.rst, profile pictures
E  nki/guides/use-neuron-profile.rst, profile pictures
F  nki/guides/tutorials/fused_mamba.rst
G  trnsci/trnblas: docs/design/mp2_energy_profile_findings.md
"""

from __future__ import annotations

import argparse
import builtins
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from numtrn.interp import modules
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS, Chip

VARIABLE = "NUMTRN_NEURON_SDK"
BF16, F32 = ml_dtypes.bfloat16, np.float32
OURS = Path(__file__).with_name("kernels.py")
EXAMPLES = "nki/examples/matrix_multiplication/matrix_multiplication_nki_kernels.py"


@dataclass(frozen=True)
class Row:
    """One published time, and how to predict it.

    Attributes
    ----------
    source
        Letter of the list above.
    name, chip
        What was timed, and where.
    published_us
        The time.
    predict
        Gives predicted microseconds.
    sdk
        Whether it runs the SDK's own kernel.
    """

    source: str
    name: str
    chip: str
    published_us: float
    predict: Callable[[], float]
    sdk: bool = False


def load(path: Path) -> dict[str, Any]:
    """The functions of a kernel file, with the interpreter as its ``nki``."""

    def import_module(name: str, *rest: Any) -> Any:
        return modules["nki"] if name in modules else __import__(name, *rest)

    space: dict[str, Any] = {
        "__name__": path.stem,
        "__builtins__": {**vars(builtins), "__import__": import_module},
    }
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), space)
    return space


def timed(path: Path, kernel: str, chip: str, shapes: list[tuple[int, ...]], dtype: Any, *rest: Any) -> float:
    """Predicted microseconds of one kernel on operands of these shapes."""
    return _timed(CHIPS[chip], path, kernel, shapes, dtype, *rest)


def _timed(
    chip: Chip, path: Path, kernel: str, shapes: list[tuple[int, ...]], dtype: Any, *rest: Any
) -> float:
    arguments = [of_shape(shape, dtype) for shape in shapes]
    return time_kernel(load(path)[kernel], [*arguments, *rest], chip).total_ns / 1e3


def sdk_row(
    source: str, name: str, chip: str, published_us: float, kernel: str, mkn: tuple[int, int, int], dtype: Any
) -> Row:
    """A matmul of the SDK. SBUF is doubled: the larger ones hold more than SBUF as their loops are written.

    The Neuron compiler may order loads and releases otherwise; here they stay as written.
    """
    m, k, n = mkn
    path = Path(os.environ.get(VARIABLE, "")) / EXAMPLES
    core = replace(CHIPS[chip], sbuf_partition_bytes=2 * CHIPS[chip].sbuf_partition_bytes)

    def predict() -> float:
        return _timed(core, path, kernel, [(k, m), (k, n)], dtype)

    return Row(source, name, chip, published_us, predict, True)


def matmuls() -> Iterator[Row]:
    shape = (4096, 8192, 8192)
    kernels = (
        ("tiled", "nki_matmul_tiled_", 51.80e3, 39.89e3),
        ("loads hoisted", "nki_matmul_hoist_load_", 42.96e3, 28.20e3),
        ("blocked in M and N", "nki_matmul_block_free_dimension_", 22.07e3, 28.41e3),
    )
    for name, kernel, bf16, _ in kernels:
        yield sdk_row("A", f"bf16 {name}", "trn1", bf16, kernel, shape, BF16)
    full = "nki_matmul_fully_optimized_"
    yield sdk_row("A", "bf16 blocked in all", "trn1", 6.97e3, full, shape, BF16)
    for name, kernel, _, fp32 in kernels:
        yield sdk_row("D", f"fp32 {name}", "trn2", fp32, kernel, shape, F32)
    yield sdk_row("D", "fp32 blocked in all", "trn2", 28.30e3, full, shape, F32)


def shapes_on_trn1() -> Iterator[Row]:
    times = {
        (4096, 4096, 4096): 2.694,
        (4096, 4096, 8192): 3.538,
        (4096, 8192, 4096): 3.539,
        (4096, 8192, 8192): 6.991,
        (8192, 4096, 4096): 3.876,
        (8192, 4096, 8192): 7.516,
        (8192, 8192, 4096): 7.476,
        (8192, 8192, 8192): 14.72,
    }
    for shape, milliseconds in times.items():
        yield sdk_row(
            "B",
            "bf16 " + " x ".join(map(str, shape)),
            "trn1",
            1e3 * milliseconds,
            "nki_matmul_fully_optimized_",
            shape,
            BF16,
        )


def squares() -> Iterator[Row]:
    times = {
        512: (0.054, 0.056),
        1024: (0.076, 0.079),
        1536: (0.141, 0.149),
        2048: (0.269, 0.288),
        2560: (0.483, 0.509),
        3072: (0.795, 0.827),
        3584: (1.247, 1.291),
        4096: (1.823, 1.886),
        4608: (2.573, 2.653),
        5120: (3.504, 3.603),
    }
    for kernel, label, column in (("gemm", "A^T given", 0), ("gemm_given", "A given", 1)):
        for n, pair in times.items():
            width = 1024 if n <= 2560 else 512
            yield Row(
                "C",
                f"bf16 {n}, {label}",
                "trn2",
                1e3 * pair[column],
                lambda k=kernel, n=n, w=width: timed(OURS, k, "trn2", [(n, n), (n, n)], BF16, w),
            )


def others() -> Iterator[Row]:
    shapes = [(2048, 2048), (2048, 2048), (2048, 1024), (1024, 1024)]
    yield Row(
        "E", "fp32 MLP of three layers", "trn2", 1870, lambda: timed(OURS, "mlp", "trn2", shapes, F32, 512)
    )

    def mamba(channels: int, steps: int, step: int, again: bool) -> float:
        operands: list[tuple[int, ...]] = [(channels, steps)] * 2 + [(channels, 16)] + [(16, steps)] * 2
        return timed(OURS, "mamba", "trn1", operands, F32, step, again)

    yield Row("F", "Mamba 256 channels, first", "trn1", 172.93, lambda: mamba(256, 512, 512, True))
    yield Row("F", "Mamba 4096 channels, first", "trn1", 2340, lambda: mamba(4096, 512, 512, True))
    yield Row("F", "Mamba 4096 channels, second", "trn1", 1610, lambda: mamba(4096, 512, 512, False))
    yield Row("F", "Mamba 8192 steps, third", "trn1", 27.8e3, lambda: mamba(4096, 8192, 512, False))
    yield Row("G", "MP2 energy, o 64 v 448", "trn1", 213.8e3, mp2)


def mp2() -> float:
    """All 4096 pairs, from the difference between 128 and 64 of them: the kernel is the same for each."""

    def pairs(count: int) -> float:
        operands: list[tuple[int, ...]] = [(count * 448, 448)] * 2 + [(112, 1), (112, 448)]
        return timed(OURS, "mp2", "trn1", operands, F32, count, 448, 112, 15)

    few, more = pairs(64), pairs(128)
    return few + (more - few) * (4096 - 64) / 64


def main() -> None:
    parser = argparse.ArgumentParser(description="The clock against published kernel times")
    parser.add_argument("--only", default="", help="rows whose name, chip or source has this")
    only = parser.parse_args().only
    rows = [row for part in (matmuls, shapes_on_trn1, squares, others) for row in part()]
    chosen = [row for row in rows if only in f"{row.source} {row.chip} {row.name}"]
    runnable = [row for row in chosen if not row.sdk or os.environ.get(VARIABLE)]
    print(f"{'source':6} {'chip':5} {'kernel':32} {'published us':>13} {'predicted us':>13} {'ratio':>7}")
    ratios = []
    began = time.perf_counter()
    for row in runnable:
        predicted = row.predict()
        ratios.append(predicted / row.published_us)
        mark = "" if abs(ratios[-1] - 1) <= 0.2 else "  off"
        print(
            f"{row.source:6} {row.chip:5} {row.name:32} {row.published_us:13,.1f} {predicted:13,.1f}"
            f" {ratios[-1]:7.3f}{mark}",
            flush=True,
        )
    if len(runnable) < len(chosen):
        print(f"{len(chosen) - len(runnable)} rows left out: set {VARIABLE} to a checkout of aws-neuron-sdk")
    if ratios:
        off = sum(abs(ratio - 1) > 0.2 for ratio in ratios)
        median = statistics.median(abs(ratio - 1) for ratio in ratios)
        print(
            f"{len(ratios)} rows, {off} off by more than 20 %; median error {median:.1%};"
            f" {time.perf_counter() - began:.0f} s"
        )
    print("Predictions from published figures; none has been confirmed by a device of ours.")


if __name__ == "__main__":
    main()
