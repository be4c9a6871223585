"""Componentwise errors of products through kernels, beside NumPy's: writes docs/accuracy.md.

    python benchmarks/accuracy.py [--check] [--out docs/accuracy.md]

Every family of `families.py` times every length K, against exact arithmetic. ``--check`` computes the rows of
short K again, and says where the page differs. Operands are the same each time; NumPy's own errors may
differ with its BLAS, ours do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from exact import Dyadic, in_units, parts
from families import FAMILIES, SOURCES, circulant, complementary, scaled_block
from tabulate import tabulate

import numtrn

PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"

LENGTHS = (1, 2, 64, 255, 256, 257, 1000, 10000)
QUICK = (1, 2, 64, 257)

ROWS, COLUMNS = 24, 20

UNITS = {"float64": 2.0**-53, "complex128": 2.0**-53, "float32": 2.0**-24, "complex64": 2.0**-24}

OTHERS = {
    "complex128": (
        "normal",
        "uniform",
        "constant 0.1",
        "graded rows and columns 2^±30",
        "half of them noise",
    ),
    "float32": ("normal", "uniform", "constant 0.1", "graded inner 2^±30", "integers 2^19"),
    "complex64": ("normal", "uniform", "constant 0.1"),
}
"""Families of the dtypes that get a shorter list."""

FACTOR = 1.5
"""Most that the worst error of a family may be, in NumPy's worst."""


# ---- Measuring ----


@dataclass(frozen=True)
class Row:
    """One product.

    Attributes
    ----------
    family, dtype, k
        Which.
    ours, theirs
        Largest componentwise error in u |A||B|, through the block and by NumPy.
    bound
        Promise in the same unit, of the session's record; None where NumPy computed the call.
    slices, route, reason
        Of the session's record.
    """

    family: str
    dtype: str
    k: int
    ours: float
    theirs: float
    bound: float | None
    slices: int | None
    route: str
    reason: str

    @property
    def cell(self) -> str:
        """Ours / NumPy's (slices), or NumPy's alone."""
        if self.route != "kernel":
            return f"NumPy {self.theirs:.2g}"
        return f"{self.ours:.2g} / {self.theirs:.2g}" + (f" ({self.slices})" if self.slices else "")

    @property
    def within(self) -> bool:
        """Whether the promise is kept; a row of NumPy's has none."""
        return self.bound is None or self.ours <= self.bound


def operands(family: str, dtype: str, k: int) -> tuple[Any, Any]:
    """A and B of a family in a dtype; imaginary parts come from a second draw, with columns reversed."""
    m, n = (ROWS, COLUMNS) if not dtype.startswith("complex") else (ROWS // 2, COLUMNS // 2)
    a, b = FAMILIES[family].draw(m, k, n)
    if dtype.startswith("complex"):
        a, b = a + 1j * a[::-1], b - 1j * b[:, ::-1]
    return a.astype(dtype), b.astype(dtype)


def measure(family: str, dtype: str, k: int, chip: str = "trn2") -> Row:
    """One product in a block and by NumPy, against exact arithmetic."""
    a, b = operands(family, dtype, k)
    with numtrn.enabled(target="interpreter", chip=chip, min_work=0, strict=True) as session:
        c = a @ b
    plain = a @ b
    (call,) = session.calls
    pairs = zip(parts(c, a, b), parts(plain, a, b), strict=True)
    errors = [in_units([x, y], left, right, UNITS[dtype]) for (x, left, right), (y, _, _) in pairs]
    ours, theirs = (max(column) for column in zip(*errors, strict=True))
    bound = float(call.bound.split()[0]) if call.bound else None
    return Row(family, dtype, k, ours, theirs, bound, call.slices, call.route, call.reason)


def jobs(lengths: Sequence[int]) -> list[tuple[str, str, int]]:
    """Every (family, dtype, K) of the page."""
    pairs = [(family, "float64") for family in FAMILIES]
    pairs += [(family, dtype) for dtype, families in OTHERS.items() for family in families]
    return [(family, dtype, k) for family, dtype in pairs for k in lengths]


@dataclass(frozen=True)
class Worst:
    """Worst errors of a family over its lengths, of the rows that kernels computed."""

    family: str
    dtype: str
    ours: float
    theirs: float

    @property
    def kept(self) -> bool:
        """Whether ours is at most `FACTOR` times NumPy's; both may be zero."""
        return self.ours <= FACTOR * self.theirs


def worst(rows: Iterable[Row]) -> list[Worst]:
    """Families in order, with their worst errors."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.family, row.dtype), []).append(row)
    return [
        Worst(
            *key,
            max((row.ours for row in group if row.route == "kernel"), default=0.0),
            max(row.theirs for row in group),
        )
        for key, group in groups.items()
    ]


# ---- The grading tests as their authors judge them ----


@dataclass(frozen=True)
class Grade:
    """A grading test on one size: what was asked, what came, and where it was computed."""

    test: str
    size: int
    route: str
    slices: int | None
    passed: bool


def grade(test: str, size: int) -> Grade:
    """Run test 1b, 2b or 3b on square matrices, with its authors' tolerance of 10 n u."""
    rng = np.random.default_rng(size)
    name, _, span = test.partition(" ")
    exponent = float(span or 0)
    make = {"1b": complementary, "2b": circulant(exponent), "3b": scaled_block(exponent)}[name]
    a, b = make(rng, size, size, size)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        c = a @ b
    exact = Dyadic.of(a) @ Dyadic.of(b)
    if name == "1b":
        zeros = ~((a != 0).astype(float) @ (b != 0)).astype(bool)
        passed = bool(zeros.any()) and not c[zeros].any()
    else:  # all terms are positive: the relative error is the componentwise one
        passed = bool(((abs(Dyadic.of(c) - exact) / abs(exact)) <= 10 * size * 2.0**-53).all())
    (call,) = session.calls
    return Grade(test, size, call.route, call.slices, passed)


GRADES = ("1b", "2b 8", "2b 16", "2b 32", "2b 128", "2b 490", "3b 8", "3b 16", "3b 32", "3b 490")
GRADE_SIZES = (16, 64, 128)


def slope(rows: Iterable[Row], ours: bool) -> float:
    """Growth of the error with K, as an exponent, over the uniform family; grade A allows 1."""
    points = [(row.k, row.ours if ours else row.theirs) for row in rows]
    x, y = np.log([k for k, _ in points]), np.log([error for _, error in points])
    return float(np.polyfit(x, y, 1)[0])


# ---- The page ----

HEAD = """\
# Accuracy: figures

Written by `python benchmarks/accuracy.py`: NumPy {numpy}, Python {python}, numtrn {version}. The kernels ran
on the embedded interpreter, not on hardware; a device gives the same figures if it adds and casts as
`docs/precision.md` says it must.

Errors are the largest componentwise |C - AB| in u |A||B| against exact arithmetic; u = 2^-53, or 2^-24 for
float32 and complex64. Real products are {m} x K x {n}; complex ones are half as wide, and the worse of
their parts counts. A cell reads *ours / NumPy's (slices)*, or *NumPy* with its error where the data were
left to it; the last column is the worst of each, ours of the products that kernels made.

{total} products: {kernel} by kernels, {numpy_rows} left to NumPy. {broken} beyond the promise; {unkept}
families in which our worst is more than {factor} times NumPy's worst.
"""


def page(rows: list[Row], grades: list[Grade]) -> str:
    """The whole of docs/accuracy.md."""
    kernel = [row for row in rows if row.route == "kernel"]
    head = HEAD.format(
        numpy=np.__version__,
        python=platform.python_version(),
        version=numtrn.__version__,
        m=ROWS,
        n=COLUMNS,
        total=len(rows),
        kernel=len(kernel),
        numpy_rows=len(rows) - len(kernel),
        broken=sum(not row.within for row in rows),
        unkept=sum(not entry.kept for entry in worst(rows)),
        factor=FACTOR,
    )
    sections = [head]
    for dtype in UNITS:
        sections.append(f"## {dtype}\n\n{_table([row for row in rows if row.dtype == dtype])}\n")
    sections += [_left_to_numpy(rows), _grading(grades, rows), _families()]
    return "\n".join(sections)


def _markdown(lines: list[list[str]], heads: list[str]) -> str:
    return tabulate(lines, heads, tablefmt="github", disable_numparse=True)


def _table(rows: list[Row]) -> str:
    lengths = sorted({row.k for row in rows})
    cells = {(row.family, row.k): row.cell for row in rows}
    bounds = {row.k: f"{row.bound:g}" for row in rows if row.bound is not None}
    summary = {entry.family: entry for entry in worst(rows)}
    lines = [["promised", *(bounds.get(k, "") for k in lengths), ""]]
    for family, entry in summary.items():
        verdict = f"{entry.ours:.2g} / {entry.theirs:.2g}" + ("" if entry.kept else " **more**")
        lines.append([family, *(cells[family, k] for k in lengths), verdict])
    heads = ["family", *(f"K = {k}" for k in lengths), "worst"]
    return _markdown(lines, heads)


def _left_to_numpy(rows: list[Row]) -> str:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.route != "kernel":
            groups.setdefault((row.family, row.dtype), []).append(row)
    lines = [
        [family, dtype, ", ".join(str(row.k) for row in group), group[0].reason]
        for (family, dtype), group in groups.items()
    ]
    table = _markdown(lines, ["family", "dtype", "K", "reason, of the first"])
    return f"## Left to NumPy\n\n{table if lines else 'Nothing.'}\n"


def _grading(grades: list[Grade], rows: list[Row]) -> str:
    uniform = [row for row in rows if row.family == "uniform" and row.dtype == "float64"]
    found = {(entry.test, entry.size): entry for entry in grades}
    lines = [[test, *(_verdict(found[test, size]) for size in GRADE_SIZES)] for test in GRADES]
    table = _markdown(lines, ["test", *(f"n = {n}" for n in GRADE_SIZES)])
    return GRADING.format(
        source=SOURCES["grading"], table=table, ours=slope(uniform, True), theirs=slope(uniform, False)
    )


GRADING = """\
## Grading tests

{source}.

Square products in float64, with a tolerance of 10 n u as in the programs that NVIDIA published for
these tests. 1b asks for exact zeros, which Strassen's method misses; 2b and 3b scale the inner dimension by
powers of two from 2^s to 2^-s (s in the first column), which fixed point misses.

{table}

Grade A lets the componentwise error grow at most linearly with K. Over the uniform family the fitted exponent
is {ours:.2f} for kernels and {theirs:.2f} for NumPy.
"""


def _verdict(entry: Grade) -> str:
    where = f"({entry.slices} slices)" if entry.route == "kernel" else "(left to NumPy)"
    return f"{'passed' if entry.passed else '**failed**'} {where}"


def _families() -> str:
    lines = [[family.name, family.about, family.source] for family in FAMILIES.values()]
    table = _markdown(lines, ["family", "what is hard", "source"])
    sources = "\n".join(f"- {key}: {text}" for key, text in SOURCES.items())
    return f"## Families\n\n{table}\n\n{sources}\n\n`benchmarks/families.py` makes them.\n"


# ---- Reading the page back ----


def written(text: str) -> dict[tuple[str, str, int], str]:
    """Cells of a page by (family, dtype, K)."""
    cells: dict[tuple[str, str, int], str] = {}
    dtype, lengths = "", [0]
    for line in text.splitlines():
        fields = [field.strip() for field in line.strip("|").split("|")]
        if line.startswith("## "):
            dtype = line[3:] if line[3:] in UNITS else ""
        elif dtype and fields[0] == "family":
            lengths = [int(field[4:]) for field in fields[1:-1]]
        elif dtype and fields[0] in FAMILIES:
            for k, cell in zip(lengths, fields[1:-1], strict=True):
                cells[fields[0], dtype, k] = cell
    return cells


def differences(text: str, wanted: Iterable[tuple[str, str, int]]) -> list[str]:
    """What the page says otherwise than a fresh product, NumPy's own errors apart."""
    cells, found = written(text), []
    for job in wanted:
        row = measure(*job)
        if not row.within:
            found.append(f"{job}: {row.ours:g} is beyond the promise {row.bound:g}")
        if not _alike(cells.get(job, "missing"), row.cell):
            found.append(f"{job}: the page says {cells.get(job, 'nothing')!r}, now {row.cell!r}")
    return found


ALIKE = 1.5
"""Errors of one family on two machines: NumPy and processors differ in last bits of its matrices."""


def _alike(first: str, second: str) -> bool:
    """Whether two cells tell the same of us: who computed, the slices, and about the error."""
    if first.startswith("NumPy") or second.startswith("NumPy"):
        return first.startswith("NumPy") and second.startswith("NumPy")
    (ours, slices), (other, others) = _ours(first), _ours(second)
    return slices == others and ours <= ALIKE * other + 0.1 and other <= ALIKE * ours + 0.1


def _ours(cell: str) -> tuple[float, str]:
    """Our error and the slices."""
    ours, _, rest = cell.partition(" / ")
    try:
        return float(ours), rest.partition(" ")[2]
    except ValueError:
        return float("nan"), cell


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    start = time.perf_counter()
    if options.check:
        found = differences(options.out.read_text(encoding="utf-8"), jobs(QUICK))
        print("\n".join([*found, f"{len(found)} differences, {time.perf_counter() - start:.0f} s"]))
        return int(bool(found))
    rows = []
    for job in jobs(LENGTHS):
        rows.append(measure(*job))
        print(*job, rows[-1].cell, flush=True)
    grades = [grade(test, size) for test in GRADES for size in GRADE_SIZES]
    options.out.write_text(page(rows, grades), encoding="utf-8")
    failed = [row for row in rows if not row.within], [entry for entry in worst(rows) if not entry.kept]
    print(f"{len(rows)} products in {time.perf_counter() - start:.0f} s; beyond promise or factor: {failed}")
    return int(any(failed))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
