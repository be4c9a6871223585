"""Predicted times of one launch on one and on two physical cores (LNC 2), by the clock and by plans.

    python benchmarks/lnc.py [--chip trn2]

Predictions from published figures, not measurements.
"""

import argparse

import ml_dtypes
import numpy as np
from tabulate import tabulate

from numtrn.doctor.measure import _planned
from numtrn.interp import modules
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS
from numtrn.plan.tiling import tile_gemm
from numtrn.plan.words import tile_words
from numtrn.targets.load import load_kernel

SLICES = 7


def clocked(t, chip):
    """Seconds of a launch by the interpreter's clock."""
    wide = max(1, t.slices)
    kind = np.dtype(ml_dtypes.bfloat16) if t.slices else np.dtype(np.float32)
    operands = (of_shape((t.batch * t.k, extent * wide), kind) for extent in (t.m, t.n))
    kernel = load_kernel(t.kernel, modules)[chip.lnc]
    return time_kernel(kernel, (*operands, *t.parameters), chip).total_ns * 1e-9


def row(t, chip):
    """One line of the table."""
    chips = [chip.of_cores(lnc) for lnc in (1, 2)]
    times = [clocked(t, each) for each in chips]
    texts = [f"{1e3 * x:.3f} ({1e3 * _planned(t, each):.3f})" for x, each in zip(times, chips, strict=True)]
    return [t.kernel, f"{t.m}, {t.k}, {t.n}", *texts, f"{times[0] / times[1]:.2f}"]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chip", choices=("trn2", "trn3"), default="trn2")
    chip = CHIPS[parser.parse_args().chip]
    tilings = [tile_gemm(1, m, 1024, 1024, 4, False) for m in (128, 512, 2048)]
    tilings += [tile_words(1, m, 1024, 1024, SLICES, chip) for m in (256, 1024)]
    headers = ["kernel", "M, K, N", "one core, ms", "two, ms", "faster by"]
    print(tabulate([row(t, chip) for t in tilings], headers, tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    main()
