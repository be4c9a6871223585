"""Time of MP2's epilogue on the host for one integral: ``python benchmarks/mp2_epilogue.py``.

Direct and exchange sums of one tile of T in float64 as `numtrn.pairs` makes them, beside the usual line for
each pair, ``einsum("ab,ab,ab->", T, 2 T - T^t, 1 / D)``. Nanoseconds for each T_ab of pairs i <= j on this
machine, the least of some rounds; `numtrn.plan.mp2.ELEMENT_SECONDS` rests on the first column.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from tabulate import tabulate

from numtrn import pairs
from numtrn.pair_bounds import Spin
from numtrn.plan.mp2 import ELEMENT_SECONDS
from numtrn.request import Array, Mp2

NOCC = 4
SIZES = (112, 224, 448)


def usual(t: Array, e_occ: Array, e_vir: Array) -> None:
    """The energy of each pair as it is written down."""
    virtual = e_vir[:, None] + e_vir
    for i in range(NOCC):
        for j in range(i, NOCC):
            pair = t[i, :, j]
            np.einsum("ab,ab,ab->", pair, 2 * pair - pair.T, 1 / (e_occ[i] + e_occ[j] - virtual))


def least(function: Callable[[], object], rounds: int) -> float:
    """Seconds of the quickest round."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def row(nvir: int, rounds: int) -> list[str]:
    """One line of the table."""
    rng = np.random.default_rng(0)
    b = rng.standard_normal((NOCC, nvir, 1))
    t = np.einsum("iaQ,jbQ->iajb", b, b)
    e_occ, e_vir = -np.arange(1.0, NOCC + 1), np.arange(1.0, nvir + 1)
    request = Mp2(function="", dtype="float64", nocc=(NOCC, NOCC), nvir=(nvir, nvir), naux=1)
    spin, sums, every = Spin(b, e_occ, e_vir), np.zeros((2, NOCC, NOCC)), (0, np.arange(NOCC))
    elements = request.pairs * nvir**2
    ours = least(lambda: pairs._epilogue(sums, t, request, spin, spin, every, every), rounds) / elements * 1e9
    theirs = least(lambda: usual(t, e_occ, e_vir), rounds) / elements * 1e9
    return [str(nvir), f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    headers = ["virtual orbitals", "ns, numtrn.pairs", "ns, usual line", "ratio"]
    print(tabulate([row(nvir, rounds) for nvir in SIZES], headers=headers, disable_numparse=True))
    print(f"plans assume {ELEMENT_SECONDS * 1e9:.0f} ns")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
