"""Predicted times on 1, 2, 8 and 32 cores: ``python benchmarks/cores.py [--chip trn2]``.

Plans are made as on hardware, where predicted times decide over how many of the cores a call is spread;
nothing runs. The last column is the device's time when all cores are used that have something to do, whatever
the link takes. Every figure comes from published rates and is a prediction, none was measured; that the host
calls of several cores do not wait for each other is assumed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from tabulate import tabulate

from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.plan import Mp2Plan, Plan, Refusal, make_plan
from numtrn.request import Gemm, Mp2

CORES = (1, 2, 8, 32)
EDGE = 4096
MEDIUM = {"nocc": (64, 64), "nvir": (448, 448), "naux": 1536}
HEADERS = (
    "call",
    "cores",
    "used",
    "device ms",
    "link ms",
    "calls ms",
    "together ms",
    "MB moved",
    "device ms, all used",
)
TITLE = "predicted from published figures, not measured; {}"


def requests() -> Iterator[tuple[str, Gemm | Mp2]]:
    """What is asked, by name."""
    for dtype in ("float32", "float64", "complex128"):
        yield f"{dtype} {EDGE}^3", Gemm(function="numpy.matmul", dtype=dtype, m=EDGE, k=EDGE, n=EDGE)
    for dtype in ("float32", "float64"):
        yield f"MP2 medium, {dtype}", Mp2(function="numtrn.mp2", dtype=dtype, **MEDIUM)  # type: ignore[arg-type]


def planned(request: Gemm | Mp2, cores: int, chip: str, target: str) -> Plan | Mp2Plan:
    """The plan on hardware, or the one elsewhere, which uses what it may."""
    options = Options(chip=chip, cores=cores, min_work=0, shapes="few")
    plan = make_plan(request, options, target)
    assert not isinstance(plan, Refusal), plan
    assert isinstance(plan, Plan | Mp2Plan)
    return plan


def row(name: str, request: Gemm | Mp2, cores: int, chip: str) -> tuple[str | int | float, ...]:
    """One line of the table."""
    plan, all_used = (planned(request, cores, chip, target) for target in ("neuron", "interpreter"))
    used = plan.used_cores if isinstance(plan, Mp2Plan) else max(t.cores for t in plan.tilings)
    times = plan.prediction
    seconds = (times.device, times.link, times.fixed, times.total)
    milliseconds = (1e3 * each for each in seconds)
    return (name, cores, used, *milliseconds, times.bytes / 1e6, 1e3 * all_used.prediction.device)


def table(chip: str) -> str:
    """All lines."""
    rows = [row(name, request, cores, chip) for name, request in requests() for cores in CORES]
    return tabulate(rows, headers=HEADERS, floatfmt=".1f", tablefmt="github")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chip", choices=tuple(CHIPS), default="trn2")
    chip = parser.parse_args().chip
    print(TITLE.format(chip))
    print(table(chip))


if __name__ == "__main__":
    main()
