"""Compiled programs and predicted time of DF-MP2 runs: shapes that suit each product, against few shapes.

    python benchmarks/programs.py [--chip trn2]

Two ways to the energy are predicted: the ordinary NumPy of ``numtrn demo`` (one product a pair of calls, with
the digits that its data asked for: 14, and 8 for the factorisation), and ``numtrn.mp2``. Nothing runs; every
time is predicted from published figures, without the host's own work.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

from tabulate import tabulate

from numtrn.machine import CHIPS, Chip
from numtrn.options import Options
from numtrn.plan import Mp2Plan, make_plan
from numtrn.plan.blocked import BLOCK, Update, largest_block, steps
from numtrn.plan.cost import predict, predict_words
from numtrn.plan.ladder import Cutting
from numtrn.plan.programs import _digits, _plain, programs_of
from numtrn.plan.tiling import Tiling
from numtrn.request import Cholesky, Mp2, Solve, Triangular

SIZES = {
    "water cc-pVDZ": (24, 4, 19, 84),
    "benzene cc-pVDZ": (114, 15, 93, 420),
    "trnblas small": (128, 16, 112, 384),
    "trnblas medium": (512, 64, 448, 1536),
    "trnblas large": (768, 96, 672, 2304),
}
"""Basis functions, correlated and virtual orbitals, auxiliary functions."""

DIGITS, FACTOR_DIGITS = 14, 8
GUARD_WORK = 1 << 20
"""Multiply-adds from which the guard is a kernel's."""

Product = tuple[int, int, int, int, int, str]
"""Batch, m, k, n, digits, structure."""


def demo_products(nao: int, nocc: int, nvir: int, naux: int, shared: bool) -> Iterator[tuple[Product, int]]:
    """Products of the demo and how often each occurs; with one matrix for a batch in one, or one by one."""
    yield (1, nocc, nao, naux * nao, DIGITS, "general"), 1
    yield ((1, naux * nocc) if shared else (naux, nocc)) + (nao, nvir, DIGITS, "general"), 1
    lower = Triangular(uplo="lower", unit=False)
    factor = Cholesky(function="", dtype="float64", n=naux)
    solve = Solve(function="", dtype="float64", n=naux, columns=nocc * nvir, factors=(lower,))
    for request, digits in ((factor, FACTOR_DIGITS), (solve, DIGITS)):
        for step, count in steps(request, largest_block(naux, BLOCK), 0):
            if isinstance(step, Update):
                yield (1, step.m, step.k, step.n, digits, step.structure), count
    for j in range(1, nocc + 1):
        yield (1, nvir, naux, nvir * j, DIGITS, "general"), 1


def demo_run(size: tuple[int, int, int, int], shapes: str, chip: Chip) -> tuple[set[object], float, int]:
    """Programs, predicted seconds and bytes over the link of the demo's formula."""
    cut, programs, seconds, moved = Cutting(shapes, chip), set(), 0.0, 0
    for (batch, m, k, n, digits, structure), count in demo_products(*size, shared=cut.few):
        karatsuba = cut.karatsuba(batch, m, k, n, digits, structure)
        tilings: tuple[Tiling, ...] = (
            (karatsuba,) if karatsuba else cut.products(batch, m, k, n, digits, 1, structure)
        )
        programs |= set(_digits(tilings, cut, (True, False)))
        predicted = predict_words(tilings, chip)
        if batch * m * k * n >= GUARD_WORK:
            guard = cut.least(batch, m, k, n)
            programs.add(_plain(guard, 2, "bfloat16"))
            predicted += predict(guard, 1, chip)
        seconds, moved = seconds + count * predicted.total, moved + count * predicted.bytes
    return programs, seconds, moved


def mp2_run(size: tuple[int, int, int, int], shapes: str, chip: Chip) -> tuple[set[object], float, int]:
    """The same of ``numtrn.mp2``."""
    _, nocc, nvir, naux = size
    request = Mp2(function="f", dtype="float64", nocc=(nocc, nocc), nvir=(nvir, nvir), naux=naux)
    plan = make_plan(request, Options(min_work=0, shapes=shapes, chip=chip.name), "interpreter")
    assert isinstance(plan, Mp2Plan)
    return set(programs_of(plan)), plan.prediction.total, plan.prediction.bytes


def main() -> None:
    """Print both ways at all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chip", choices=list(CHIPS), default="trn2")
    chip = CHIPS[parser.parse_args().chip]
    kinds = Counter[str]()
    for title, run in (("ordinary NumPy, as the demo", demo_run), ("numtrn.mp2", mp2_run)):
        rows, union = [], {"fine": set(), "few": set()}
        for name, size in SIZES.items():
            (fine, seconds, moved), (few, few_seconds, few_moved) = (run(size, s, chip) for s in union)
            union["fine"] |= fine
            union["few"] |= few
            times, bytes_moved = (seconds, few_seconds, few_seconds / seconds), (moved / 1e6, few_moved / 1e6)
            rows.append([name, len(fine), len(few), *times, *bytes_moved])
        rows.append(["all of them", *map(len, union.values())])
        headers = ["run", "fine", "few", "fine s", "few s", "ratio", "fine MB", "few MB"]
        print(f"{title}: programs, and predicted seconds and bytes on {chip.name}")
        print(tabulate(rows, headers=headers, floatfmt=".3g"), end="\n\n")
        kinds.update(getattr(program, "kernel", "") for program in union["few"])
    print("programs of the ladder by kernel:", dict(kinds))


if __name__ == "__main__":
    main()
