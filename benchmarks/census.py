"""Contraction strings of public chemistry code, through a block: writes docs/census.md.

    python benchmarks/census.py [--out docs/census.md]

The strings stand in ``tests/census/strings.json`` with the file each was read in. Operands are small, so that
the page says what becomes of a string, and nothing of times. Collecting strings is not done here.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import expm1, prod
from pathlib import Path
from typing import Any

import numpy as np
import opt_einsum
from opt_einsum.parser import parse_einsum_input
from tabulate import tabulate

import numtrn

ROOT = Path(__file__).parent.parent
STRINGS = ROOT / "tests" / "census" / "strings.json"
PAGE = ROOT / "docs" / "census.md"

DTYPES = ("float64", "float32")

CLASSES = {
    "GEMM, reshapes alone": 4435,
    "GEMM, operand permuted": 6959,
    "GEMM, output permuted": 1386,
    "three or more operands": 10780,
    "GEMV": 4206,
    "full inner product": 1952,
    "diagonal or trace": 702,
    "one operand": 363,
    "outer": 1096,
    "broadcast multiply": 947,
    "batched GEMM, GEMV or dot": 1722,
}
"""Calls with a literal string in the repositories of the list, but for ebcc's, mostly generated, files."""

SMALL = (3, 9)
"""Extents of the small operands: distinct ones, until labels outnumber them."""

MOST_SMALL = 200_000
"""Most multiply-adds of one loop nest over small operands; NumPy makes all of them where it computes."""

DOTS = 2
"""Axes that an ellipsis stands for."""


# ---- What is asked ----


@dataclass(frozen=True)
class Entry:
    """One string of the census.

    Attributes
    ----------
    string
        As written in its source: implicit, spaced or with an ellipsis.
    kind
        One of `CLASSES`.
    source
        ``"owner/repository: path"``.
    """

    string: str
    kind: str
    source: str

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Labels of the operands, with letters for the ellipsis, and last those of the result."""
        written = self.string.replace(" ", "")
        ranks = [len(term.replace("...", "*" * DOTS)) for term in written.split("->")[0].split(",")]
        inputs, output, _ = parse_einsum_input((written, *(np.zeros((2,) * rank) for rank in ranks)))
        return (*inputs.split(","), output)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Labels of the operands."""
        return self.terms[:-1]

    @property
    def output(self) -> str:
        """Labels of the result."""
        return self.terms[-1]

    @property
    def explicit(self) -> str:
        """The string as ``"ij,jk->ik"``."""
        return f"{','.join(self.inputs)}->{self.output}"

    @property
    def labels(self) -> list[str]:
        """Distinct labels, in order of appearance."""
        return list(dict.fromkeys("".join(self.inputs)))

    @property
    def canonical(self) -> str:
        """The string with its labels renamed in order of appearance.

        >>> Entry("pq, qr", "", "").canonical
        'ab,bc->ac'
        """
        names = {label: chr(ord("a") + place) for place, label in enumerate(self.labels)}
        return "".join(names.get(letter, letter) for letter in self.explicit)

    def rng(self) -> np.random.Generator:
        """Random numbers that are this string's own."""
        return np.random.default_rng(zlib.crc32(self.string.encode()))

    def small(self) -> dict[str, int]:
        """Extents from `SMALL` of each label, lowered until the loop nest has at most `MOST_SMALL` steps."""
        least, most = SMALL
        choice, rng = np.arange(least, most + 1), self.rng()
        rounds = -(-len(self.labels) // len(choice))
        drawn = np.concatenate([rng.permutation(choice) for _ in range(rounds)])
        sizes = {label: int(size) for label, size in zip(self.labels, drawn, strict=False)}
        while prod(sizes.values()) > MOST_SMALL and max(sizes.values()) > least:
            largest = max(sizes, key=lambda label: sizes[label])
            sizes[largest] -= 1
        return sizes

    def large(self, work: float) -> dict[str, int]:
        """Extents of every label around the one that gives this many multiply-adds."""
        mean = work ** (1 / len(self.labels))
        factors = np.exp2(self.rng().uniform(-0.5, 0.5, len(self.labels)))
        return {label: max(2, int(mean * factor)) for label, factor in zip(self.labels, factors, strict=True)}

    def operands(self, sizes: dict[str, int], dtype: str) -> list[Any]:
        """Normal random arrays of these extents."""
        rng = self.rng()
        shapes = [[sizes[label] for label in term] for term in self.inputs]
        return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def read(path: Path = STRINGS) -> list[Entry]:
    """The strings of the census."""
    rows = json.loads(path.read_text(encoding="utf-8"))["strings"]
    return [Entry(row["string"], row["class"], row["source"]) for row in rows]


def classify(entry: Entry) -> str:
    """The class of a string, from its labels alone."""
    inputs = entry.inputs
    repeated = any(len(set(term)) < len(term) for term in inputs)
    if len(inputs) > 2:
        return "three or more operands"
    if repeated:
        return "diagonal or trace"
    if len(inputs) == 1:
        return "one operand"
    groups = Groups.of(*inputs, entry.output)
    if not groups.contracted:
        return "broadcast multiply" if groups.batch else "outer"
    if groups.batch:
        return "batched GEMM, GEMV or dot"
    if groups.left and groups.right:
        return _which_gemm(*inputs, entry.output, groups)
    return "GEMV" if groups.left or groups.right else "full inner product"


@dataclass(frozen=True)
class Groups:
    """Labels of a contraction of two operands: in both and the result, in one, contracted, summed in one."""

    batch: str
    left: str
    right: str
    contracted: str
    alone: str

    @classmethod
    def of(cls, first: str, second: str, output: str) -> Groups:
        """The groups of a pair of terms; labels of a diagonal count once."""
        once, other = dict.fromkeys(first), dict.fromkeys(second)
        return cls(
            batch="".join(x for x in once if x in other and x in output),
            left="".join(x for x in once if x not in other and x in output),
            right="".join(x for x in other if x not in once and x in output),
            contracted="".join(x for x in once if x in other and x not in output),
            alone="".join(x for x in (*once, *other) if (x in once) != (x in other) and x not in output),
        )


def _which_gemm(first: str, second: str, output: str, groups: Groups) -> str:
    """Whether operands and result are read as matrices as they lie in memory."""
    left, right, inner = groups.left, groups.right, groups.contracted
    as_they_lie = first in (left + inner, inner + left) and second in (right + inner, inner + right)
    if not as_they_lie:
        return "GEMM, operand permuted"
    return "GEMM, reshapes alone" if output in (left + right, right + left) else "GEMM, output permuted"


def gemm_inside(entry: Entry, sizes: dict[str, int]) -> bool:
    """Whether opt_einsum's order of contraction has a pairwise step with m, n and k larger than one."""
    if len(entry.inputs) < 2:
        return False
    shapes = [tuple(sizes[label] for label in term) for term in entry.inputs]
    _, info = opt_einsum.contract_path(entry.explicit, *shapes, shapes=True, optimize="auto")

    def is_gemm(step: str) -> bool:
        terms, output = step.split("->")
        groups = Groups.of(*terms.split(","), output)
        extents = [prod(sizes[x] for x in part) for part in (groups.left, groups.right, groups.contracted)]
        return min(extents) > 1

    steps = [step[2] for step in info.contraction_list]
    return any(is_gemm(step) for step in steps if step.count(",") == 1)


# ---- What came of it ----


@dataclass(frozen=True)
class Result:
    """One string in one dtype.

    Attributes
    ----------
    entry, dtype
        Which.
    gemm
        Whether a GEMM is inside.
    kernel
        Whether a kernel computed it, or a step of it; of one with a GEMM inside, a step that is a GEMM.
    reason
        Of the session's record, where NumPy computed all of it.
    error
        Largest error in units of what was allowed; at most 1 is right.
    """

    entry: Entry
    dtype: str
    gemm: bool
    kernel: bool
    reason: str
    error: float


def measure(entry: Entry, dtype: str, sizes: dict[str, int] | None = None) -> Result:
    """A string in a block on the interpreter, and its result against longdouble's."""
    sizes = sizes or entry.small()
    operands = entry.operands(sizes, dtype)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value = np.einsum(entry.string, *operands)
        plan = numtrn.explain(np.einsum, entry.string, *operands)
    inside = gemm_inside(entry, sizes)
    kernel = any(call.route == "kernel" for call in session.calls) and (not inside or has_gemm(plan))
    reasons = [call.reason for call in session.calls] or ["never asked: one operand multiplies nothing"]
    return Result(
        entry=entry,
        dtype=dtype,
        gemm=inside,
        kernel=kernel,
        reason="" if kernel else reasons[-1],
        error=excess(value, entry, sizes, operands, session.calls),
    )


def has_gemm(plan: Any) -> bool:
    """Whether kernels compute a product with m, n and k larger than one, in one of the steps of a plan."""
    gemms = [step.gemm for step in getattr(plan, "plans", (plan,)) if hasattr(step, "gemm")]
    return any(min(gemm.m, gemm.n, gemm.k) > 1 for gemm in gemms)


def excess(value: Any, entry: Entry, sizes: dict[str, int], operands: Sequence[Any], calls: Any) -> float:
    """Largest componentwise error of a contraction in units of what `promise` allows.

    The reference is computed in longdouble, pairwise; its own error is allowed for as well. Infinite where
    the result is not of the shape and dtype of NumPy's, or not finite.
    """
    wide = [operand.astype(np.longdouble) for operand in operands]
    dtype = operands[0].dtype
    exact = np.asarray(np.einsum(entry.string, *wide, optimize="greedy"))
    size = np.asarray(np.einsum(entry.string, *map(np.abs, wide), optimize="greedy"))
    value = np.asarray(value)
    if (value.shape, value.dtype) != (exact.shape, dtype) or not np.isfinite(value).all():
        return float("inf")
    terms = prod(sizes[label] for label in entry.labels if label not in entry.output)
    own = any_order(terms, len(operands), float(np.finfo(np.longdouble).eps) / 2)
    allowed = (promise(calls, terms, len(operands), float(np.finfo(dtype).eps) / 2) + 2 * own) * size
    difference = np.abs(value.astype(np.longdouble) - exact)
    return float(np.max(difference / allowed, initial=0.0))


def promise(calls: Iterable[Any], terms: int, operands: int, unit: float) -> float:
    """Componentwise error allowed, in units of einsum(|A|, |B|, ...).

    Let each step s of an order of contraction compute Z = X Y, of what is stored in X and Y, within
    c_s u |X||Y|, componentwise; and let |X' - X| <= g_X size(X), where size(X) is the einsum of the absolute
    values of the operands that X is made of. Since size(X) size(Y), contracted, is size(Z),
    the stored Z' obeys |Z' - Z| <= ((1 + g_X) (1 + g_Y) (1 + c_s u) - 1) size(Z). By induction over the tree
    of the steps the whole errs by at most prod(1 + c_s u) - 1 <= exp(sum c_s u) - 1: all orders of u, not the
    first alone.

    c_s is the number in the session's record of the kernel call; a call left to NumPy is allowed `any_order`.
    """
    total = 0.0
    for call in calls:
        if call.route == "kernel":
            number, power = call.bound.split()[:2]
            base, exponent = power.split("^")
            total += float(number) * float(base) ** int(exponent)
        else:
            total += any_order(terms, operands, unit)
    return expm1(total or any_order(terms, operands, unit))


def any_order(terms: int, operands: int, unit: float) -> float:
    """Sum of c_s u for sums of so many products, in any order of contraction and of addition.

    A sum of K products of two factors errs by at most K u |X||Y| in any order of addition (C.-P. Jeannerod,
    S. Rump, SIAM J. Matrix Anal. Appl. 34, 338 (2013)). Each label is summed in one step, so that the K_s of
    the steps multiply up to `terms`, and the sum of those larger than one is at most `terms`. There are fewer
    steps than operands; two units for each cover those without a sum.
    """
    return (terms + 2 * operands) * unit


# ---- The page ----

PAGE_TEXT = """\
# Contraction strings of chemistry code

Written by `python benchmarks/census.py`, on the interpreter; nothing here is a time.

{strings} strings, all different also after their labels are renamed, from {sources}
(strings, commit). They were chosen in about the proportions of the {found:,} calls of `einsum` and
`contract` with a literal string found there (but for ebcc, whose files are mostly generated), frequent ones
first, none from a test. Each is called as written, in float64 and float32, with extents {least} to {most} and
`min_work=0`. All results are within the promise of `census.promise`; the worst error was {worst:.2g} of what
is allowed.

{classes}

{kernel} of the {gemms} calls with a GEMM inside had one in a kernel, {share:.1%}. A GEMM is inside where
opt_einsum's order of contraction has a pairwise step in which both sides have free labels and labels are
contracted.

## Why the rest stays with NumPy

{reasons}

## Strings

{list}
"""


def commits(path: Path = STRINGS) -> dict[str, str]:
    """The commit of each repository at which its strings were read."""
    read_at: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["read"]
    return read_at


def page(entries: Sequence[Entry], results: Sequence[Result]) -> str:
    """docs/census.md."""
    inside = [result for result in results if result.gemm]
    kernel, read_at = sum(result.kernel for result in inside), commits()
    sources = Counter(entry.source.split(":")[0] for entry in entries)
    return PAGE_TEXT.format(
        strings=len(entries),
        sources=", ".join(f"{name} ({n}, {read_at[name]})" for name, n in sources.most_common()),
        found=sum(CLASSES.values()),
        least=SMALL[0],
        most=SMALL[1],
        worst=max(result.error for result in results),
        classes=_table(
            ("class", "calls found", "strings", "GEMM inside", "of them in a kernel", "others in a kernel"),
            _rows(results),
        ),
        kernel=kernel,
        gemms=len(inside),
        share=kernel / len(inside),
        reasons=_table(("reason", "calls", "such as"), _reasons(results)),
        list=_table(("string", "class", "GEMM inside", *DTYPES, "source"), _strings(entries, results)),
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    return tabulate(list(rows), headers=headers, tablefmt="github", disable_numparse=True)


def _rows(results: Sequence[Result]) -> list[tuple[Any, ...]]:
    """A line for each class, in calls of one dtype's count of strings, and a last one for all."""

    def row(name: str, some: Sequence[Result]) -> tuple[Any, ...]:
        inside = [result for result in some if result.gemm]
        other = [result for result in some if not result.gemm]
        total = sum(CLASSES.values())
        strings = len({result.entry.string for result in some})
        return (
            name,
            f"{CLASSES.get(name, total) / total:.1%}",
            strings,
            len({result.entry.string for result in inside}),
            f"{sum(x.kernel for x in inside)} of {len(inside)} calls" if inside else "-",
            f"{sum(x.kernel for x in other)} of {len(other)} calls" if other else "-",
        )

    rows = [row(kind, [result for result in results if result.entry.kind == kind]) for kind in CLASSES]
    return [*rows, row("all", results)]


def _reasons(results: Sequence[Result]) -> list[tuple[Any, ...]]:
    """Reasons without the figures and labels of the single call, each with a string."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if not result.kernel:
            reason = re.sub(r"\d[\d,]*", "#", re.sub(r"'[^']*'", "'...'", result.reason))
            groups.setdefault(reason, []).append(result)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [(reason, len(group), f"`{group[0].entry.string}`") for reason, group in ordered]


def _strings(entries: Sequence[Entry], results: Sequence[Result]) -> list[tuple[Any, ...]]:
    by = {(result.entry.string, result.dtype): result for result in results}

    def row(entry: Entry) -> tuple[Any, ...]:
        both = [by[entry.string, dtype] for dtype in DTYPES]
        routes = ["kernel" if result.kernel else "NumPy" for result in both]
        return (f"`{entry.string}`", entry.kind, "yes" if both[0].gemm else "", *routes, entry.source)

    return [row(entry) for entry in entries]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the census, print its table, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args(argv)
    entries = read()
    results = [measure(entry, dtype) for entry in entries for dtype in DTYPES]
    text = page(entries, results)
    options.out.write_text(text, encoding="utf-8")
    print(text.split("## Strings")[0])
    return int(any(result.error > 1 for result in results))


if __name__ == "__main__":
    sys.exit(main())
