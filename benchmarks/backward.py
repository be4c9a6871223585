"""Componentwise backward errors of triangular solves and Cholesky, beside SciPy's: writes docs/backward.md.

    python benchmarks/backward.py [--check] [--out docs/backward.md]

Every family of triangles times every order, some seeds each, in float64 and float32. Residuals are formed in
long double (float32: in double). ``--check`` computes the cells of the least order again, and says where the
page differs. Operands are the same each time; SciPy's own errors may differ with its BLAS, ours do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import scipy.linalg as sl
from families import FAMILIES as PRODUCTS
from tabulate import tabulate

import numtrn

PAGE = Path(__file__).parent.parent / "docs" / "backward.md"

ORDERS = {100: 5, 300: 3, 700: 2}
"""Seeds for each order."""

COLUMNS = 40
"""Right-hand sides of a solve."""

DTYPES = ("float64", "float32")

UNITS = {"float64": 2.0**-53, "float32": 2.0**-24}

FACTOR = 1.5
"""Most that the worst error of a family may be, in SciPy's worst."""

Array = np.ndarray[Any, Any]


# ---- Families ----


@dataclass(frozen=True)
class Family:
    """Triangles of one kind.

    Attributes
    ----------
    name, about
        For tables; ``about`` says what is hard.
    make
        ``make(rng, n)`` gives a triangle in float64, or a matrix to factor.
    lower, unit_diagonal
        Which triangle, and whether its diagonal is ones that are not read.
    """

    name: str
    about: str
    make: Callable[[np.random.Generator, int], Array]
    lower: bool = True
    unit_diagonal: bool = False

    def draw(self, n: int, seed: int, dtype: str) -> Array:
        """The matrix of this order and seed, rounded to a dtype; the same one each time."""
        return self.make(np.random.default_rng([n, seed, *self.name.encode()]), n).astype(dtype)

    def right_hand_sides(self, triangle: Array, seed: int) -> Array:
        """Half of them normal, half of them with normal solutions."""
        n = len(triangle)
        rng = np.random.default_rng([n, seed, 1])
        b = rng.standard_normal((n, COLUMNS))
        b[:, ::2] = triangle.astype(float) @ b[:, ::2]
        return np.asfortranarray(b.astype(triangle.dtype))


def wishart(rng: np.random.Generator, n: int) -> Array:
    """G G^T of a normal G, twice as wide as high."""
    g = rng.standard_normal((n, 2 * n))
    return g @ g.T


def gaussians(dimension: int, shift: float) -> Callable[[np.random.Generator, int], Array]:
    """Kernel exp(-|x - y|^2 / 2) of normal points, with a shift of its diagonal."""

    def make(rng: np.random.Generator, n: int) -> Array:
        points = rng.standard_normal((n, dimension))
        squares = ((points[:, None] - points) ** 2).sum(axis=-1)
        return np.exp(-squares / 2) + shift * np.eye(n)

    return make


def _factor(make: Callable[[np.random.Generator, int], Array]) -> Callable[[np.random.Generator, int], Array]:
    return lambda rng, n: np.linalg.cholesky(make(rng, n))


def _unit_factor(rng: np.random.Generator, n: int) -> Array:
    """L of partial pivoting."""
    return sl.lu(rng.standard_normal((n, n)))[1]


def _upper_factor(rng: np.random.Generator, n: int) -> Array:
    """U of partial pivoting."""
    return sl.lu(rng.standard_normal((n, n)))[2]


GRADES = 20.0


def _graded(side: str, sign: int) -> Callable[[np.random.Generator, int], Array]:
    """A factor of a Wishart matrix, its rows or columns scaled from 2^-20 to 2^20, or the other way."""

    def make(rng: np.random.Generator, n: int) -> Array:
        grades = 2.0 ** np.linspace(-sign * GRADES, sign * GRADES, n)
        triangle = _factor(wishart)(rng, n)
        return grades[:, None] * triangle if side == "rows" else triangle * grades

    return make


def _kahan(rng: np.random.Generator, n: int) -> Array:
    return PRODUCTS["Kahan"].make(rng, n, n, 1)[0]


TRIANGLES = [
    Family("Wishart", "factors of G G^T, G n x 2n: well-conditioned", _factor(wishart)),
    Family("LU: L", "unit diagonal, small inverse", _unit_factor, unit_diagonal=True),
    Family("LU: U", "of a normal matrix: condition grows with n", _upper_factor, lower=False),
    Family("rows 2^-20 to 2^20", "elements of B of all sizes", _graded("rows", 1)),
    Family("rows 2^20 to 2^-20", "elements of B of all sizes", _graded("rows", -1)),
    Family("columns 2^-20 to 2^20", "elements of X of all sizes", _graded("columns", 1)),
    Family("columns 2^20 to 2^-20", "elements of X of all sizes", _graded("columns", -1)),
    Family("Kahan", "theta = 1.2: solutions grow as 1.5^n", _kahan, lower=False),
    Family("RBF 2-D", "factor of a Gaussian kernel + 1e-8: nearly singular", _factor(gaussians(2, 1e-8))),
    Family("RBF 3-D", "factor of a Gaussian kernel + 1e-8: nearly singular", _factor(gaussians(3, 1e-8))),
]


def squared(family: Family) -> Family:
    """T T^T, or U^T U, of a family of triangles."""

    def make(rng: np.random.Generator, n: int) -> Array:
        triangle = family.make(rng, n)
        # U^T U is L L^T of L = U^T, all in long double, rounded once
        lower = (triangle if family.lower else triangle.T).astype(np.longdouble)
        half = np.tril(squared_lower(lower)).astype(float)
        return half + np.tril(half, -1).T

    about = "T T^T" if family.lower else "U^T U"
    return Family(family.name, f"{about} of {family.about}", make)


POSITIVE = [
    Family("Wishart", "G G^T, G n x 2n: well-conditioned", wishart),
    *(
        squared(family)
        for family in TRIANGLES
        if family.name != "Wishart" and not family.name.startswith("RBF")
    ),
    Family("RBF 2-D", "Gaussian kernel + 1e-8", gaussians(2, 1e-8)),
    Family("RBF 3-D", "Gaussian kernel + 1e-8", gaussians(3, 1e-8)),
    Family("RBF 2-D + 1e-3", "Gaussian kernel: positive definite in float32 too", gaussians(2, 1e-3)),
]

KINDS = {"trsm": TRIANGLES, "potrf": POSITIVE}


# ---- Measuring ----


@dataclass(frozen=True)
class Row:
    """Worst errors of one family at one order, over its seeds.

    Attributes
    ----------
    kind, family, dtype, n
        Which; the kind is a key of `KINDS`.
    ours, theirs
        Largest componentwise backward error in u |T||X| or u |L||L^T|, through the block and by SciPy.
    route, reason
        Of the session's record; of the first that went to SciPy, if one did.
    nothing
        Why there is no figure: SciPy's own result is not finite, or there is no factor.
    """

    kind: str
    family: str
    dtype: str
    n: int
    ours: float = 0.0
    theirs: float = 0.0
    route: str = "kernel"
    reason: str = ""
    nothing: str = ""

    @property
    def cell(self) -> str:
        """Ours / SciPy's, or SciPy's alone, or why there is none."""
        if self.nothing:
            return self.nothing
        if self.route != "kernel":
            return f"SciPy {self.theirs:.2g}"
        return f"{self.ours:.2g} / {self.theirs:.2g}"


def wide(x: Array) -> Array:
    """In a type whose own roundings do not count."""
    if x.dtype == np.float32:
        return x.astype(np.float64)
    return x.astype(np.longdouble)


def in_units(residual: Array, scale: Array, dtype: str) -> float:
    """Largest |residual| / (u scale); 0 / 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(residual == 0, 0.0, np.abs(residual) / scale)
    return float(ratio.max()) / UNITS[dtype]


def solve_error(triangle: Array, x: Array, b: Array) -> float:
    """|T X - B| in u |T||X|."""
    scale = np.abs(triangle).astype(float) @ np.abs(x).astype(float)
    return in_units(wide(triangle) @ wide(x) - wide(b), scale, b.dtype.name)


def squared_lower(factor: Array) -> Array:
    """The lower triangle of L L^T, by rows of blocks; what stands above it is no result."""
    product, edge = np.zeros_like(factor), 64
    for start in range(0, len(factor), edge):
        end = start + edge
        product[start:end, :end] = factor[start:end, :end] @ factor[:end, :end].T
    return product


def factor_error(a: Array, factor: Array) -> float:
    """|L L^T - A| in u |L||L^T|."""
    scale = np.abs(factor).astype(float) @ np.abs(factor).astype(float).T
    return in_units(np.tril(squared_lower(wide(factor)) - wide(a)), scale, a.dtype.name)


Measure = tuple[float, float, Any]
"""Our error, SciPy's error, and the session's record."""


def in_block(call: Callable[[], Any]) -> tuple[Any, Any]:
    """Result of a call inside a block, and its record."""
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        result = call()
    return result, session.calls[0]


def solves(family: Family, dtype: str, n: int, seed: int) -> list[Measure] | str:
    """Both solves with a triangle, T and T^T; or why not."""
    triangle = np.asfortranarray(family.draw(n, seed, dtype))
    b = family.right_hand_sides(triangle, seed)
    trsm = sl.get_blas_funcs("trsm", (triangle,))
    found = []
    for trans in (0, 1):

        def call(trans: int = trans) -> Any:
            return trsm(1.0, triangle, b, lower=family.lower, trans_a=trans, diag=family.unit_diagonal)

        with np.errstate(all="ignore"):
            theirs = call()
        if not np.isfinite(theirs).all():
            return "overflows"
        ours, record = in_block(call)
        operand = triangle.T if trans else triangle
        found.append((solve_error(operand, ours, b), solve_error(operand, theirs, b), record))
    return found


def factorings(family: Family, dtype: str, n: int, seed: int) -> list[Measure] | str:
    """The lower factor and the upper one; or why not."""
    a = np.asfortranarray(family.draw(n, seed, dtype))
    potrf = sl.get_lapack_funcs("potrf", (a,))
    found = []
    for lower in (1, 0):

        def call(lower: int = lower) -> Any:
            return potrf(a, lower=lower)

        (theirs, info), ((ours, our_info), record) = call(), in_block(call)
        if info or our_info:
            return "not positive definite" if info and our_info else f"info {our_info} / {info}"
        pair = (ours, theirs) if lower else (ours.T, theirs.T)
        found.append((factor_error(a, pair[0]), factor_error(a, pair[1]), record))
    return found


MEASURES = {"trsm": solves, "potrf": factorings}


def measure(kind: str, family: str, dtype: str, n: int) -> Row:
    """A cell of the page: all seeds of one order."""
    (chosen,) = (entry for entry in KINDS[kind] if entry.name == family)
    found: list[Measure] = []
    for seed in range(ORDERS[n]):
        results = MEASURES[kind](chosen, dtype, n, seed)
        if isinstance(results, str):
            return Row(kind, family, dtype, n, nothing=results)
        found += results
    ours, theirs, records = zip(*found, strict=True)
    left = [record for record in records if record.route != "kernel"]
    route, reason = ("numpy", left[0].reason) if left else ("kernel", "")
    return Row(kind, family, dtype, n, max(ours), max(theirs), route, reason)


Job = tuple[str, str, str, int]


def jobs(orders: Iterable[int]) -> list[Job]:
    """Every (kind, family, dtype, n) of the page."""
    return [
        (kind, family.name, dtype, n)
        for kind, families in KINDS.items()
        for dtype in DTYPES
        for family in families
        for n in orders
    ]


@dataclass(frozen=True)
class Worst:
    """Worst errors of a family over its orders, of those that kernels computed."""

    kind: str
    family: str
    dtype: str
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Ours in SciPy's; both may be zero."""
        return 0.0 if self.ours == 0 else self.ours / self.theirs if self.theirs else float("inf")

    @property
    def kept(self) -> bool:
        """Whether the contract is: at most `FACTOR` times SciPy's."""
        return self.ratio <= FACTOR


def worst(rows: Iterable[Row]) -> list[Worst]:
    """Families in order, with their worst errors; those without a figure are left out."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if not row.nothing and row.route == "kernel":
            groups.setdefault((row.kind, row.family, row.dtype), []).append(row)
    return [
        Worst(*key, max(row.ours for row in group), max(row.theirs for row in group))
        for key, group in groups.items()
    ]


# ---- The page ----

HEAD = """\
# Backward errors of triangular solves and Cholesky: figures

Written by `python benchmarks/backward.py`: SciPy {scipy}, NumPy {numpy}, Python {python}, numtrn {version}.
The kernels ran on the embedded interpreter, not on hardware.

Errors are the largest componentwise |T X - B| in u |T||X|, for solves by `?trsm` with T and with its
transpose and {columns} right-hand sides, and |L L^T - A| in u |L||L^T|, for both factors of `?potrf`;
u = 2^-53, or 2^-24 for float32. Residuals are formed in long double, whose own roundings stay below a
fiftieth of the figures (float32: in double). The worst of {seeds} seeds counts.
A cell reads *ours / SciPy's*, or *SciPy* with its error where a matrix was left to it; the last columns are
the worst of each and their ratio, which may be {factor} at most.

{total} cells: {kernel} by kernels, {left} left to SciPy, {nothing} without a figure. {unkept}
families in which our worst is more than {factor} times SciPy's worst.
"""

TITLES = {"trsm": "Triangular solves", "potrf": "Cholesky"}


def page(rows: list[Row]) -> str:
    """The whole of docs/backward.md."""
    figures = [row for row in rows if not row.nothing]
    kernel = [row for row in figures if row.route == "kernel"]
    head = HEAD.format(
        scipy=scipy.__version__,
        numpy=np.__version__,
        python=platform.python_version(),
        version=numtrn.__version__,
        columns=COLUMNS,
        seeds=", ".join(f"{seeds} (n = {n})" for n, seeds in ORDERS.items()),
        factor=FACTOR,
        total=len(rows),
        kernel=len(kernel),
        left=len(figures) - len(kernel),
        nothing=len(rows) - len(figures),
        unkept=sum(not entry.kept for entry in worst(rows)),
    )
    sections = [head]
    for kind, title in TITLES.items():
        for dtype in DTYPES:
            chosen = [row for row in rows if (row.kind, row.dtype) == (kind, dtype)]
            sections.append(f"## {title}, {dtype}\n\n{_table(chosen)}\n")
    return "\n".join([*sections, _left(rows), _families()])


def _markdown(lines: list[list[str]], heads: list[str]) -> str:
    return tabulate(lines, heads, tablefmt="github", disable_numparse=True)


def _table(rows: list[Row]) -> str:
    orders = sorted({row.n for row in rows})
    cells = {(row.family, row.n): row.cell for row in rows}
    summary = {entry.family: entry for entry in worst(rows)}
    lines = []
    for family in dict.fromkeys(row.family for row in rows):
        entry = summary.get(family)
        verdict = ["", ""]
        if entry:
            verdict = [
                f"{entry.ours:.2g} / {entry.theirs:.2g}",
                f"{entry.ratio:.2f}" + " **more**" * (not entry.kept),
            ]
        lines.append([family, *(cells[family, n] for n in orders), *verdict])
    return _markdown(lines, ["family", *(f"n = {n}" for n in orders), "worst", "ratio"])


def _left(rows: list[Row]) -> str:
    lines = [
        [row.kind, row.family, row.dtype, str(row.n), row.reason]
        for row in rows
        if row.route != "kernel" and not row.nothing
    ]
    table = _markdown(lines, ["routine", "family", "dtype", "n", "reason"]) if lines else "Nothing."
    return f"## Left to SciPy\n\n{table}\n"


def _families() -> str:
    lines = [[TITLES[kind], entry.name, entry.about] for kind, entries in KINDS.items() for entry in entries]
    table = _markdown(lines, ["of", "family", "what it is"])
    return f"## Families\n\n{table}\n\n`benchmarks/backward.py` makes them.\n"


# ---- Reading the page back ----


def written(text: str) -> dict[Job, str]:
    """Cells of a page by (kind, family, dtype, n)."""
    heads = {f"{title}, {dtype}": (kind, dtype) for kind, title in TITLES.items() for dtype in DTYPES}
    cells: dict[Job, str] = {}
    section: tuple[str, str] | None = None
    orders: list[int] = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.strip("|").split("|")]
        if line.startswith("## "):
            section = heads.get(line[3:])
        elif section and fields[0] == "family":
            orders = [int(field[4:]) for field in fields[1:-2]]
        elif section and len(fields) == len(orders) + 3 and not fields[0].startswith("-"):
            for n, cell in zip(orders, fields[1:-2], strict=True):
                cells[section[0], fields[0], section[1], n] = cell
    return cells


ALIKE = 1.5
"""Errors of one family on two machines: SciPy and processors differ in last bits of its matrices."""


def differences(text: str, wanted: Iterable[Job]) -> list[str]:
    """What the page says otherwise than a fresh measurement, SciPy's own errors apart."""
    cells, found = written(text), []
    for job in wanted:
        now, then = measure(*job).cell, cells.get(job, "missing")
        if not _alike(then, now):
            found.append(f"{job}: the page says {then!r}, now {now!r}")
    return found


def _alike(then: str, now: str) -> bool:
    """Both of kernels, and our errors within `ALIKE` of each other; or both not, and the same word."""
    first, second = then.split(" / "), now.split(" / ")
    if len(first) != 2 or len(second) != 2:
        return len(first) == len(second) and then.split()[0] == now.split()[0]
    mine, fresh = float(first[0]), float(second[0])
    return max(mine, fresh) <= ALIKE * min(mine, fresh)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compute the least order, compare with the page")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    start = time.perf_counter()
    if np.finfo(np.longdouble).nmant < 63:
        raise SystemExit("long double is no wider than double here: residuals cannot be judged")
    if options.check:
        found = differences(options.out.read_text(encoding="utf-8"), jobs([min(ORDERS)]))
        print("\n".join([*found, f"{len(found)} differences, {time.perf_counter() - start:.0f} s"]))
        return int(bool(found))
    rows = []
    for job in jobs(ORDERS):
        rows.append(measure(*job))
        print(*job, rows[-1].cell, flush=True)
    options.out.write_text(page(rows), encoding="utf-8")
    print("\n".join(_table([r for r in rows if (r.kind, r.dtype) == key]) for key in _sections()))
    failed = [entry for entry in worst(rows) if not entry.kept]
    print(f"{len(rows)} cells in {time.perf_counter() - start:.0f} s; ratio above {FACTOR}: {failed}")
    return int(bool(failed))


def _sections() -> list[tuple[str, str]]:
    return [(kind, dtype) for kind in KINDS for dtype in DTYPES]


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
