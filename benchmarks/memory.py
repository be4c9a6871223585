"""Peak host memory of one float64 product through kernels, against operands and result of np.matmul.

    python benchmarks/memory.py [--size 4096] [--interpreter 2048]

What a device would hold must not count, so that the launches of the first figure compute nothing: `Absent`
takes the operands and gives results of the right shape and dtype, which are host memory as they would be
after a copy from a device. The second figure is the interpreter's, which keeps device memory on the host; 0
leaves it out. Each is measured in a process of its own: by how much the largest resident set exceeds that
before the operands were made. Beside it stand the bytes of arrays alive at the peak, as `tracemalloc` counts
them; NumPy's own result array is among them from the start, though nothing is written to it until the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np

import numtrn
from numtrn import api
from numtrn.machine import CHIPS, Chip
from numtrn.plan.tiling import LOWER_RESULT
from numtrn.plan.words import plane_count
from numtrn.precision.fixed import result_words, word_bytes
from numtrn.targets import Counters, Resident

ALLOWED = 1.5
"""Most of host memory, in operands and result of the product."""

MB = 1e6

Array = np.ndarray[Any, Any]


class Absent:
    """A target that computes nothing and keeps nothing."""

    name = "interpreter"
    cores = 1

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.launches = 0

    @property
    def counters(self) -> Counters:
        """What it did: launches alone."""
        return Counters(launches=self.launches)

    def launch(self, kernel: str, arrays: Sequence[Any], parameters: Sequence[int]) -> Array:
        """A result of the shape and dtype that the kernel would give."""
        self.launches += 1
        if kernel == "least_product":
            # The guard asks how large |A||B| is at least; of normal numbers a multiple of K.
            lhs, batch = arrays[0], parameters[0]
            return np.full((lhs.shape[1] * batch, 2), lhs.shape[0] / batch / 64, np.float32)
        batch, slices = parameters[:2]
        planes = slices if kernel == "sliced_gemm" else plane_count(slices) * parameters[4]
        m, n = (operand.value.shape[1] // planes for operand in arrays)
        if parameters[-1] == LOWER_RESULT:
            (block_m, block_n), blocks = parameters[2:4], m // parameters[2]
            rows = batch * blocks * (blocks + 1) // 2 * block_m
            return np.zeros((rows, result_words(slices) * block_n), np.int32)
        return np.zeros((batch * m, n * result_words(slices)), np.int32)

    def keep(self, kernel: str, arrays: Sequence[Any], parameters: Sequence[int]) -> tuple[Resident, ...]:
        """The shape of digit planes is all that is kept."""
        self.launches += 1
        batch, slices, block, *depth, transpose = parameters
        rows, columns = arrays[0].shape[0] // batch, arrays[0].shape[1] // word_bytes(slices)
        extent, k = (rows, columns) if transpose else (columns, rows)
        if kernel == "digit_planes":
            return (Resident(_shaped(batch * k, extent * slices)),)
        planes = Resident(_shaped(batch * k // depth[0], extent * plane_count(slices) * depth[0]))
        chunks, pairs = k // (128 * depth[0]), plane_count(slices) - slices
        return planes, Resident(np.zeros((batch * chunks * min(128, block), extent // block * pairs), "f4"))

    def fetch(self, resident: Resident) -> Array:
        """Sums of squares, which certify anything."""
        squares: Array = resident.value
        return squares


def _shaped(*shape: int) -> Array:
    """Digit planes without memory."""
    planes: Array = np.broadcast_to(np.zeros((), ml_dtypes.bfloat16), shape)
    return planes


def measured(size: int, absent: bool) -> dict[str, float]:
    """One product of ``size`` cubed in this process: bytes and seconds."""
    target = Absent(CHIPS["trn2"])
    select = (lambda *_: target) if absent else api.select
    with mock.patch.object(api, "select", select), numtrn.enabled(target="interpreter", min_work=0):
        np.ones((64, 64)) @ np.ones((64, 64))  # everything is imported
    before = _resident()
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((size, size)), rng.standard_normal((size, size))
    with (
        mock.patch.object(api, "select", select),
        numtrn.enabled(target="interpreter", min_work=0, strict=True) as session,
    ):
        start = time.perf_counter()
        tracemalloc.start()
        c = a @ b
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        seconds = time.perf_counter() - start
    (call,) = session.calls
    if call.route != "kernel":
        raise SystemExit(f"the product was left to NumPy: {call.reason}")
    needed = a.nbytes + b.nbytes + c.nbytes
    return {
        "operands and result": needed,
        "peak": a.nbytes + b.nbytes + peak,
        "resident": _resident() - before,
        "seconds": seconds,
        "launches": call.launches,
        "slices": call.slices or 0,
    }


def _resident() -> int:
    """Bytes of the largest resident set of this process until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_process(size: int, absent: bool) -> dict[str, float]:
    """`measured` in a fresh process, whose largest resident set is that of the product."""
    command = [sys.executable, __file__, "--measure", str(size), *(["--absent"] if absent else [])]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(process.stderr)
    figures: dict[str, float] = json.loads(process.stdout)
    return figures


def show(title: str, size: int, figures: dict[str, float]) -> float:
    """Print the figures of one product, and give its peak in operands and result."""
    needed = figures["operands and result"]
    ratio = figures["resident"] / needed
    print(
        f"{title}, {size} cubed, {figures['slices']:.0f} slices, {figures['launches']:.0f} launches: "
        f"resident {figures['resident'] / MB:,.0f} MB, {ratio:.2f} of operands and result "
        f"({needed / MB:,.0f} MB); arrays alive {figures['peak'] / MB:,.0f} MB, "
        f"{figures['peak'] / needed:.2f}; {figures['seconds']:.0f} s",
        flush=True,
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--interpreter", type=int, default=2048)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--absent", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure, options.absent)))
        return 0
    ratio = show("launches that compute nothing", options.size, in_process(options.size, absent=True))
    print(f"allowed: {ALLOWED:.2f}; {'kept' if ratio <= ALLOWED else 'NOT kept'}")
    if options.interpreter:
        show("interpreter", options.interpreter, in_process(options.interpreter, absent=False))
    return int(ratio > ALLOWED)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
