"""What float64 products cost the host: a table of nanoseconds an element, beside copying memory.

    python benchmarks/host.py [--size 4096] [--rounds 7] [--no-extension]

Each element of an operand is read for its row's or column's largest magnitude, for its magnitude in bf16,
and to be cut into digits; each element of a result is rounded once. A survey is the first two in one. C and F
are the orders of an operand in memory; what is written is in C order, by a survey in the operand's. Results
go to arrays that were used before, so that no page is mapped while the clock runs. The cases take turns, and
the least time of each counts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
from tabulate import tabulate

from numtrn.precision import fixed
from numtrn.precision.scaling import exponents

Case = Callable[[], object]


def cases(size: int) -> dict[str, Case]:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((size, size))
    f = np.asfortranarray(a)
    rows, columns = -exponents(fixed.largest(a, 1)), -exponents(fixed.largest(a, 0))
    copy = np.ones_like(a)
    patterns = np.ones(a.shape, np.uint16)
    short, long = np.ones((*a.shape, 8), np.int8), np.ones((*a.shape, 16), np.int8)
    out = np.ones_like(a)
    found: dict[str, Case] = {"copy of 8 bytes": lambda: np.copyto(copy, a)}
    for name, x in {"C": a, "F": f}.items():
        to = patterns if name == "C" else patterns.T
        found |= {
            f"largest of rows, {name}": lambda x=x: fixed.largest(x, 1),
            f"largest of columns, {name}": lambda x=x: fixed.largest(x, 0),
            f"magnitudes, rows scaled, {name}": lambda x=x: fixed.magnitudes(x, rows, None, patterns),
            f"magnitudes, columns scaled, {name}": lambda x=x: fixed.magnitudes(x, None, columns, patterns),
            f"survey of rows, {name}": lambda x=x, to=to: fixed.survey(x, 1, to),
            f"survey of columns, {name}": lambda x=x, to=to: fixed.survey(x, 0, to),
            f"cut, s = 7, rows scaled, {name}": lambda x=x: fixed.cut(x, rows, None, 7, short),
            f"cut, s = 7, columns scaled, {name}": lambda x=x: fixed.cut(x, None, columns, 7, short),
        }
    for scaled, powers in {"rows": (rows, None), "columns": (None, columns)}.items():
        found[f"cut, s = 7, {scaled} scaled, F to F"] = lambda powers=powers: fixed.cut(
            f, *powers, 7, short.swapaxes(0, 1)
        )
    for s in (8, 10, 14):
        to = short if s <= 8 else long
        found[f"cut, s = {s}, rows scaled, C"] = lambda s=s, to=to: fixed.cut(a, rows, None, s, to)
    for s in (7, 8, 14):
        words = rng.integers(0, 2**24, (size, fixed.result_words(s), size), dtype=np.int32)
        words[:, 0] -= 2**23
        found[f"round, s = {s}, {words.shape[1]} words"] = lambda words=words: fixed.round_words(
            [(1, words)], rows, columns, out
        )
    three = rng.integers(0, 2**24, (size, 3, size), dtype=np.int32)
    total = np.zeros(three.shape, np.int64)
    found["add 3 words of a launch"] = lambda: fixed.add_words(total, three)
    found["round, s = 7, 3 words of int64"] = lambda: fixed.round_words([(1, total)], rows, columns, out)
    return found


def measure(found: dict[str, Case], rounds: int, threads: tuple[int, ...]) -> dict[tuple[str, int], float]:
    best: dict[tuple[str, int], float] = {}
    for turn in range(rounds + 1):
        for count in threads:
            os.environ["NUMTRN_NUM_THREADS"] = str(count)
            for name, case in found.items():
                start = time.perf_counter()
                case()
                taken = time.perf_counter() - start
                if turn:  # the first one is to warm up
                    best[name, count] = min(best.get((name, count), taken), taken)
    return best


def table(found: dict[str, Case], size: int, rounds: int) -> str:
    threads = (1, 2)
    best = measure(found, rounds, threads)
    per = {key: 1e9 * taken / size**2 for key, taken in best.items()}
    rows = [[name, *(per[name, count] for count in threads)] for name in found]
    for order, to in {"C": "C", "F": "F", "F to F": "F"}.items():
        for scaled in ("rows", "columns"):
            parts = (
                f"survey of {scaled}, {to}",
                f"cut, s = 7, {scaled} scaled, {order}",
            )
            sums = [sum(per[part, count] for part in parts) for count in threads]
            rows.append([f"input, {scaled} scaled, s = 7, {order}: survey + cut", *sums])
    return tabulate(rows, ["ns an element", "1 thread", "2 threads"], floatfmt=".2f")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-extension", action="store_true", help="the same in NumPy")
    arguments = parser.parse_args()
    if arguments.no_extension:
        fixed.compiled = None
    how = "NumPy" if fixed.compiled is None else "C"
    print(f"{how}, {arguments.size} x {arguments.size}, {os.cpu_count()} processors\n")
    print(table(cases(arguments.size), arguments.size, arguments.rounds))


if __name__ == "__main__":
    main()
