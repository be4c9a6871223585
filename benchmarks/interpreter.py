"""What the interpreter costs on this machine: ``OPENBLAS_NUM_THREADS=1 python benchmarks/interpreter.py``.

Ratios to NumPy are of interleaved rounds in one process, processor time, the least of each. The last line
is the wall time of predicting an 8192-cubed product without data, not the time that it predicts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from clock.published import load

import numtrn
from numtrn.interp import modules, simulate
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS
from numtrn.targets.load import load_kernel

CHIP = CHIPS["trn2"]
nisa, nl = modules["nki.isa"], modules["nki.language"]


def least(rounds: int, *functions: Callable[[], Any]) -> list[float]:
    """Least processor seconds of each function over interleaved rounds, after one round to warm up."""
    best = [float("inf")] * len(functions)
    for turn in range(rounds + 1):
        for position, function in enumerate(functions):
            began = time.process_time()
            function()
            if turn:
                best[position] = min(best[position], time.process_time() - began)
    return best


def fp32(n: int) -> float:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
    a_t = np.ascontiguousarray(a.T)
    kernel = load_kernel("gemm", modules)
    here, there = least(3, lambda: simulate(kernel, (a_t, b, 1, False), chip=CHIP), lambda: np.matmul(a, b))
    return here / there


def sliced(n: int) -> float:
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal((n, n)) for _ in range(2))

    def here() -> None:
        with numtrn.enabled(target="interpreter", chip="trn2", min_work=0, strict=True):
            np.matmul(a, b)

    times = least(2, here, lambda: np.matmul(a, b))
    return times[0] / times[1]


def small_instructions(count: int) -> dict[str, float]:
    """Microseconds of single instructions on tiles so small that computing them takes no time."""

    def program(source: Any, name: str, times: int) -> Any:
        one, two, three = (nl.ndarray((32, 2), dtype=nl.float32, buffer=nl.sbuf) for _ in range(3))
        bank = nl.ndarray((2, 2), dtype=nl.float32, buffer=nl.psum)
        nisa.dma_copy(dst=one, src=source)
        nisa.memset(dst=two, value=1.0)
        nisa.memset(dst=three, value=1.0)
        for _ in range(times):
            if name == "nc_matmul":
                nisa.nc_matmul(dst=bank, stationary=one[0:32, 0:2], moving=two[0:32, 0:2], accumulate=False)
            elif name == "tensor_copy":
                nisa.tensor_copy(dst=two[0:32, 0:1], src=one[0:32, 1:2])
            elif name == "tensor_tensor":
                nisa.tensor_tensor(
                    dst=three[0:32, 0:1], data1=one[0:32, 0:1], data2=two[0:32, 1:2], op=nl.add
                )
            elif name == "activation":
                nisa.activation(dst=two[0:32, 0:1], op=nl.square, data=one[0:32, 0:1])
            else:
                nisa.dma_copy(dst=two[0:32, 0:1], src=source[0:32, 0:1])
        out = nl.ndarray((32, 2), dtype=nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(dst=out, src=two)
        return out

    source = np.ones((32, 2), np.float32)
    found = {}
    for name in ("nc_matmul", "tensor_copy", "tensor_tensor", "activation", "dma_copy"):

        def run(times: int, name: str = name) -> None:
            simulate(program, (source, name, times), chip=CHIP)

        none, many = least(3, lambda: run(0), lambda: run(count))
        found[name] = 1e6 * (many - none) / count
    return found


def dry(n: int) -> tuple[float, float]:
    """Wall seconds of predicting an n-cubed bf16 product, and the predicted milliseconds."""
    kernel = load(Path(__file__).parent / "clock" / "kernels.py")["gemm"]
    shape = of_shape((n, n), ml_dtypes.bfloat16)
    began = time.perf_counter()
    timeline = time_kernel(kernel, (shape, shape, 512), CHIP)
    return time.perf_counter() - began, timeline.total_ns / 1e6


def main() -> None:
    print(f"NumPy {np.__version__}; ratios to np.matmul on this machine, one process")
    print(f"fp32 GEMM 2048^3              {fp32(2048):8.2f}   (at most 1.6)")
    print(f"sliced float64 GEMM 1024^3    {sliced(1024):8.2f}   (at most 25)")
    each = small_instructions(3000)
    listed = ", ".join(f"{name} {micro:.1f}" for name, micro in each.items())
    print(f"overhead, us an instruction   {max(each.values()):8.1f}   (at most 15): {listed}")
    seconds, predicted = dry(8192)
    print(f"dry 8192^3 bf16, wall s       {seconds:8.1f}   (at most 10); predicts {predicted:.2f} ms on trn2")


if __name__ == "__main__":
    main()
