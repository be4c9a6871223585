"""Random products through kernels against exact arithmetic and NumPy's own special values.

    python benchmarks/fuzz.py [--cases 20000] [--seed N | --seed random] [--jobs 1] [--replay 'Case(...)']

Hypothesis draws the shape of a case: function, dtype, extents, layouts, kinds of elements. Each call is made
by NumPy alone, then in a block. A result from kernels must be within the promise of docs/precision.md, which
is decided in integers, and finite exactly where NumPy's is; a call that is left to NumPy must give NumPy's
bits; the floating-point warnings of both must agree. Violations are printed as cases that can be replayed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.linalg.blas as blas
from exact import Dyadic, parts
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import numtrn

FIXED_SEED = 20251116

PART = 500
"""Cases that one run of hypothesis draws."""

Array = np.ndarray[Any, Any]


# ---- Cases ----


@dataclass(frozen=True)
class Case:
    """One call; everything about it follows from these fields.

    Attributes
    ----------
    function, dtype
        A key of `FUNCTIONS`, and of `UNITS`.
    batch, m, k, n
        Extents of the operands (batch, m, k) and (batch, k, n); batch counts for some functions only.
    left, right
        Kinds of elements, keys of `ELEMENTS`.
    shape_left, shape_right
        What is done to whole rows, columns or elements, keys of `PATTERNS`.
    layout_left, layout_right
        Keys of `LAYOUTS`.
    alpha, beta, transposed
        Of gemm.
    seed
        Of the random numbers.
    """

    function: str
    dtype: str
    batch: int
    m: int
    k: int
    n: int
    left: str
    right: str
    shape_left: str
    shape_right: str
    layout_left: str
    layout_right: str
    alpha: float
    beta: float
    transposed: tuple[bool, bool]
    seed: int


def _whole(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> Array:
    return rng.integers(-(2**bits), 2**bits + 1, shape).astype(float)


def _scaled(rng: np.random.Generator, shape: tuple[int, ...], span: int, middle: int = 0) -> Array:
    return rng.standard_normal(shape) * 2.0 ** (middle + rng.integers(-span, span + 1, shape))


def _alternating(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    signs = np.where(np.indices(shape).sum(axis=0) % 2, -1.0, 1.0)
    return signs * (1 + rng.integers(0, 4, shape) * 2.0**-52)


def _edges(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers beside powers of two and beside the steps of 8-bit digits."""
    near = np.array([1.0, 1 - 2.0**-53, 1 + 2.0**-52, 0.5 + 2.0**-8, 127 / 256, 129 / 256, 1 / 3, 255 / 256])
    return rng.choice(near, shape) * rng.choice([-1.0, 1.0], shape)


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """What symmetry makes zero, but for rounding, in half of the elements."""
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.5, 1e-17, 1.0)


ELEMENTS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.random(shape),
    "graded 2^4": lambda rng, shape: _scaled(rng, shape, 4),
    "graded 2^15": lambda rng, shape: _scaled(rng, shape, 15),
    "graded 2^30": lambda rng, shape: _scaled(rng, shape, 30),
    "graded 2^100": lambda rng, shape: _scaled(rng, shape, 100),
    "graded 2^500": lambda rng, shape: _scaled(rng, shape, 500),
    "half of them noise": _noise,
    "beside powers of two": _edges,
    "alternating": _alternating,
    "powers of two": lambda rng, shape: 2.0 ** rng.integers(-20, 21, shape),
    "integers": lambda rng, shape: _whole(rng, shape, 20),
    "small integers": lambda rng, shape: _whole(rng, shape, 3),
    "constant": lambda rng, shape: np.full(shape, rng.choice([0.1, 1.0, -1 / 3, 1 - 2.0**-53])),
    "all digits 127": lambda rng, shape: np.full(shape, sum(127 * 2.0 ** (-8 * p - 7) for p in range(7))),
    "subnormal": lambda rng, shape: _scaled(rng, shape, 10, -1060),
    "small": lambda rng, shape: _scaled(rng, shape, 20, -520),
    "large": lambda rng, shape: _scaled(rng, shape, 20, 490),
    "huge": lambda rng, shape: _scaled(rng, shape, 10, 1005),
}


def _cancelling(x: Array, rng: np.random.Generator) -> Array:
    """The last half of the inner dimension nearly repeats the first; of one operand with the sign changed."""
    half = x.shape[-1] // 2
    x = x.copy()
    nudged = x[..., :half] * (1 + rng.integers(-2, 3, x[..., :half].shape) * 2.0**-50)
    x[..., half : 2 * half] = -nudged if rng.random() < 0.5 else nudged
    return x


def _some(x: Array, rng: np.random.Generator, share: float) -> Array:
    return rng.random(x.shape) < share


def _lines(x: Array, rng: np.random.Generator, axis: int, share: float = 0.3) -> Array:
    chosen = rng.random(x.shape[axis]) < share
    return np.broadcast_to(chosen[:, np.newaxis] if axis == -2 else chosen, x.shape)


def _with(x: Array, mask: Array, value: float) -> Array:
    return np.where(mask, value, x)


def _one(x: Array, rng: np.random.Generator, value: float) -> Array:
    x = x.copy()
    x[tuple(rng.integers(0, extent) for extent in x.shape)] = value
    return x


def _blocks(x: Array, rng: np.random.Generator) -> Array:
    """A leading part of the inner dimension huge in some rows, zero in the others."""
    half = (x.shape[-1] + 1) // 2
    x = x.copy()
    x[..., :half] *= np.where(rng.random(x.shape[-2]) < 0.5, 2.0**45, 0.0)[:, np.newaxis]
    return x


PATTERNS = {
    "plain": lambda x, rng: x,
    "cancelling": _cancelling,
    "graded rows": lambda x, rng: x * 2.0 ** rng.integers(-40, 41, (x.shape[-2], 1)),
    "graded inner": lambda x, rng: x * 2.0 ** rng.integers(-40, 41, x.shape[-1]),
    "mostly zeros": lambda x, rng: _with(x, _some(x, rng, 0.8), 0.0),
    "zero rows": lambda x, rng: _with(x, _lines(x, rng, -2), 0.0),
    "zero inner": lambda x, rng: _with(x, _lines(x, rng, -1), 0.0),
    "all zero": lambda x, rng: x * 0.0,
    "blocks": _blocks,
    "outlier": lambda x, rng: _one(x, rng, 2.0**40),
    "nan": lambda x, rng: _one(x, rng, np.nan),
    "inf": lambda x, rng: _one(x, rng, rng.choice([np.inf, -np.inf])),
    "inf row": lambda x, rng: _with(x, _lines(x, rng, -2), np.inf),
}
"""Changes to an operand whose last axis is the inner dimension."""

SPECIAL = ("nan", "inf", "inf row")

LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "every second": lambda x: np.repeat(np.repeat(x, 2, axis=-1), 2, axis=-2)[..., ::2, ::2],
    "reversed": lambda x: x[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    "inside a larger array": lambda x: np.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 3), (2, 1)])[..., 1:-3, 2:-1],
}


def operand(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, kind: str, pattern: str) -> Array:
    """Numbers of one kind, their inner dimension last; ranges are narrowed for float32."""
    x = ELEMENTS[kind](rng, shape)
    if dtype in ("float32", "complex64"):
        # An eighth of the exponents keeps a kind what it is: 2^1005 is near the top of both types.
        fraction, exponent = np.frexp(x)
        x = np.ldexp(fraction, exponent // 8)
    x = PATTERNS[pattern](x, rng)
    if dtype.startswith("complex"):
        weights = rng.choice([0.0, 1e-12, 1.0]), rng.choice([0.0, 1.0, 1.0])
        x = x * weights[1] + 1j * weights[0] * PATTERNS[pattern](ELEMENTS["normal"](rng, shape), rng)
    return x.astype(dtype)


def operands(case: Case) -> tuple[Array, Array, Array]:
    """A (batch, m, k), B (batch, k, n) and C (m, n) of a case."""
    rng = np.random.default_rng(case.seed)
    with np.errstate(all="ignore"):
        a = operand(rng, (case.batch, case.m, case.k), case.dtype, case.left, case.shape_left)
        b = operand(rng, (case.batch, case.n, case.k), case.dtype, case.right, case.shape_right)
        c = operand(rng, (case.m, case.n), case.dtype, "graded 2^4", "plain")
    return LAYOUTS[case.layout_left](a), LAYOUTS[case.layout_right](b.swapaxes(-1, -2)), c


# ---- Calls: each gives its result as (batch, m, n) ----


def _gemm(case: Case, a: Array, b: Array, c: Array) -> Array:
    gemm = getattr(
        blas, {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}[case.dtype] + "gemm"
    )
    left, right = (x.T if flag else x for x, flag in zip((a[0], b[0]), case.transposed, strict=True))
    flags = {"trans_a": int(case.transposed[0]), "trans_b": int(case.transposed[1])}
    return gemm(case.alpha, left, right, beta=case.beta, c=c, **flags)[np.newaxis]


FUNCTIONS = {
    "matmul": lambda case, a, b, c: (a[0] @ b[0])[np.newaxis],
    "dot": lambda case, a, b, c: np.dot(a[0], b[0])[np.newaxis],
    "einsum": lambda case, a, b, c: np.einsum("ij,jk->ik", a[0], b[0])[np.newaxis],
    "einsum permuted": lambda case, a, b, c: np.einsum("ji,kj->ki", a[0].T, b[0].T).T[np.newaxis],
    "einsum batched": lambda case, a, b, c: np.einsum("bij,bjk->bki", a, b).swapaxes(1, 2),
    "matmul batched": lambda case, a, b, c: a @ b,
    "matmul broadcast": lambda case, a, b, c: a[0] @ b,
    "gemm": _gemm,
}

BATCHED = ("einsum batched", "matmul batched", "matmul broadcast")


# ---- Judging ----

UNITS = {"float64": 2.0**-53, "complex128": 2.0**-53, "float32": 2.0**-24, "complex64": 2.0**-24}


def promise(dtype: str, k: int) -> float:
    """The table of docs/precision.md."""
    return {
        "float64": min(k, 256) + 1,
        "complex128": min(k, 256) + 1,
        "float32": k + 1,
        "complex64": 2 * k + 1,
    }[dtype]


@dataclass(frozen=True)
class Verdict:
    """What came of a case: a violation or None, the route, slices, and the share of the bound used."""

    problem: str | None
    route: str = "none"
    slices: int | None = None
    used: float = 0.0


def _observed(case: Case, a: Array, b: Array, c: Array) -> tuple[Array, frozenset[str]]:
    """Result and floating-point warnings of a call."""
    said: set[str] = set()
    with np.errstate(over="call", invalid="call", under="ignore", call=lambda kind, _: said.add(kind)):
        return FUNCTIONS[case.function](case, a, b, c), frozenset(said)


def check(case: Case) -> Verdict:
    """Make the call with NumPy and in a block, and judge."""
    a, b, c = operands(case)
    before = [x.copy() for x in (a, b, c)]
    expected, expected_said = _observed(case, a, b, c)
    try:
        with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
            got, said = _observed(case, a, b, c)
    except Exception:
        return Verdict("raised: " + traceback.format_exc(limit=-3))
    if not all(np.array_equal(x, y, equal_nan=True) for x, y in zip(before, (a, b, c), strict=True)):
        return Verdict("an operand was changed")
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        return Verdict(f"gave {got.dtype}{got.shape}, NumPy {expected.dtype}{expected.shape}")
    call = session.calls[0] if session.calls else None
    route = "not caught" if call is None else call.route
    if not all(np.isfinite(x).all() for x in (a, b, c)):
        # With Inf in an operand BLAS warns or not, by the sizes and the padding of its own tiles.
        said, expected_said = said - {"invalid value"}, expected_said - {"invalid value"}
    if said != expected_said:
        return Verdict(f"warned {sorted(said)}, NumPy {sorted(expected_said)}", route)
    if call is None or route != "kernel":
        same = np.array_equal(got, expected, equal_nan=True)
        return Verdict(None if same else "left to NumPy, and not NumPy's bits", route)
    if not np.array_equal(_special(got), _special(expected), equal_nan=True):
        return Verdict(f"{_counted(got)} from a kernel, NumPy {_counted(expected)}", route, call.slices)
    return _within(case, got, (a, b, c), call)


def _special(x: Array) -> Array:
    """NaN and signed infinities where they are, zeros elsewhere; of complex numbers for both parts."""
    x = x.view(x.real.dtype) if x.flags.c_contiguous else np.ascontiguousarray(x).view(x.real.dtype)
    return np.where(np.isfinite(x), 0, x)


def _counted(x: Array) -> str:
    return f"{int(np.isnan(x).sum())} NaN and {int(np.isinf(x).sum())} Inf"


def _within(case: Case, got: Array, given: tuple[Array, Array, Array], call: Any) -> Verdict:
    a, b, c = given
    bound = promise(case.dtype, case.k)
    stated = float(call.bound.split()[0])
    if stated > bound * (1 + 1e-5):
        return Verdict(f"the record promises {stated} for {bound}", "kernel", call.slices)
    used = 0.0
    for index in range(got.shape[0]):
        left = a[0] if case.function == "matmul broadcast" else a[index]
        third = c if case.function == "gemm" else None
        for number, (value, x, y) in enumerate(parts(got[index], left, b[index])):
            addend = None if third is None else (third.imag if number else third.real)
            share = _share(case, value, x, y, addend, bound)
            if share > 1:
                return Verdict(f"{share:.4g} of the bound {bound}", "kernel", call.slices, share)
            used = max(used, share)
    return Verdict(None, "kernel", call.slices, used)


def _share(case: Case, value: Array, x: Array, y: Array, c: Array | None, bound: float) -> float:
    """Largest error in shares of what is allowed, in exact arithmetic."""
    unit = UNITS[case.dtype]
    # Rows and columns with NaN or Inf have no error; that NaN and Inf are NumPy's is known here.
    rows, columns = np.isfinite(x).all(axis=1), np.isfinite(y).all(axis=0)
    x, y = np.where(rows[:, None], x, 0), np.where(columns, y, 0)
    least = Dyadic.of(float(np.finfo(case.dtype).smallest_subnormal))
    left, right = Dyadic.of(x), Dyadic.of(y)
    exact, size = left @ right, abs(left) @ abs(right)
    # fp32 products may each underflow; digits are added exactly and rounded once.
    terms = x.shape[1] if case.dtype in ("float32", "complex64") else 1
    allowed = size * Dyadic.of(bound * unit) + least * Dyadic.of(float(terms))
    if c is not None:
        narrow = np.finfo(case.dtype).dtype.type  # BLAS takes its factors in this type
        alpha, beta = Dyadic.of(narrow(case.alpha)), Dyadic.of(narrow(case.beta))
        third = Dyadic.of(c) * beta
        # A rounding each for alpha, beta and the sum, the latter of both addends.
        rounded = abs(alpha) * size * Dyadic.of(2 * unit) + abs(third) * Dyadic.of(2 * unit)
        allowed = (abs(alpha) * allowed + rounded) * Dyadic.of(1 + 4 * bound * unit)
        allowed = allowed + least * Dyadic.of(3.0)
        exact = alpha * exact + third
    finite = np.isfinite(value) & rows[:, None] & columns  # infinities of a large alpha are NumPy's, too
    error = abs(Dyadic.of(np.where(finite, value, 0)) - exact) / allowed
    return float(np.where(finite, error, 0).max(initial=0.0))


# ---- Drawing ----


COST = 30_000
"""Most multiply-adds of a case in exact arithmetic; extents are cut down to it."""


EXTENTS = [*range(1, 41)] * 2 + [127, 128, 129, 200]
LENGTHS = (
    [*range(1, 21)] * 8 + [*range(20, 140)] + [*range(140, 600, 10)] + [127, 128, 129, 255, 256, 257] * 10
)
DTYPES = ["float64"] * 6 + ["complex128"] * 2 + ["float32", "complex64"]
CHANGES = ["plain"] * 30 + [name for name in PATTERNS if name not in SPECIAL] * 3 + [*SPECIAL]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    function = draw(st.sampled_from(["matmul"] * 3 + [*FUNCTIONS]))
    dtype = draw(st.sampled_from(DTYPES))
    batch = draw(st.integers(1, 3)) if function in BATCHED else 1
    k = draw(st.sampled_from(LENGTHS))
    left = COST // (k * batch * (4 if dtype.startswith("complex") else 1))
    m = min(draw(st.sampled_from(EXTENTS)), max(1, left))
    n = min(draw(st.sampled_from(EXTENTS)), max(1, left // m))
    kinds = st.sampled_from([*ELEMENTS])
    one = draw(kinds)
    return Case(
        function=function,
        dtype=dtype,
        batch=batch,
        m=m,
        k=k,
        n=n,
        left=one,
        right=draw(st.one_of(st.just(one), kinds)),
        shape_left=draw(st.sampled_from(CHANGES)),
        shape_right=draw(st.sampled_from(CHANGES)),
        layout_left=draw(st.sampled_from([*LAYOUTS])),
        layout_right=draw(st.sampled_from([*LAYOUTS])),
        alpha=draw(st.sampled_from([1.0, 1.0, -1.0, 0.1, 2.0**40, 0.0])),
        beta=draw(st.sampled_from([0.0, 1.0, -0.3, 2.0**-30])),
        transposed=(draw(st.booleans()), draw(st.booleans())),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@dataclass
class Tally:
    """Counts of a run, and its violations."""

    routes: Counter[str] = field(default_factory=Counter)
    slices: Counter[int] = field(default_factory=Counter)
    worst: dict[str, tuple[float, Case]] = field(default_factory=dict)
    violations: list[tuple[Case, str]] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """Number of cases judged."""
        return sum(self.routes.values())

    @property
    def counts(self) -> str:
        """Cases by route, and violations."""
        routes = ", ".join(f"{count} {route}" for route, count in sorted(self.routes.items()))
        return f"{routes}; {len(self.violations)} violations"

    def add(self, case: Case, verdict: Verdict) -> None:
        """Count one case."""
        self.routes[verdict.route] += 1
        if verdict.slices:
            self.slices[verdict.slices] += 1
        if verdict.problem:
            self.violations.append((case, verdict.problem))
        elif verdict.used > self.worst.get(case.dtype, (0.0, case))[0]:
            self.worst[case.dtype] = verdict.used, case

    def merge(self, other: Tally) -> None:
        """Add the counts of another run."""
        self.routes += other.routes
        self.slices += other.slices
        self.violations += other.violations
        for dtype, (used, case) in other.worst.items():
            if used > self.worst.get(dtype, (0.0, case))[0]:
                self.worst[dtype] = used, case


def run(count: int, seed_number: int) -> Tally:
    """Draw and judge ``count`` cases."""
    tally = Tally()

    @seed(seed_number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def judge(case: Case) -> None:
        verdict = check(case)
        tally.add(case, verdict)
        if verdict.problem:
            print(f"{verdict.problem}: {case}", file=sys.stderr, flush=True)

    judge()
    return tally


def _run(work: tuple[int, int]) -> Tally:
    return run(*work)


def smaller(case: Case) -> Case:
    """The least extents and plainest operands with which a violation remains, found greedily."""
    simple: dict[str, Any] = {
        "layout_left": "C",
        "layout_right": "C",
        "shape_left": "plain",
        "shape_right": "plain",
        "batch": 1,
        "beta": 0.0,
        "alpha": 1.0,
        "transposed": (False, False),
    }
    for name, value in simple.items():
        candidate = replace(case, **{name: value})
        case = candidate if check(candidate).problem else case
    for name in ("m", "n", "k"):
        for extent in (1, 2, 3, 5, 8, 13, 21, 40, 80, 160, 320):
            candidate = replace(case, **{name: extent})
            if extent < getattr(case, name) and check(candidate).problem:
                case = candidate
                break
    return case


def report(tally: Tally, seconds: float) -> None:
    print(f"{tally.cases} cases in {seconds:.0f} s ({tally.cases / seconds:.0f} a second): {tally.counts}")
    print("slices: " + ", ".join(f"{s}: {count}" for s, count in sorted(tally.slices.items())))
    for dtype, (used, case) in sorted(tally.worst.items()):
        print(f"largest share of the bound, {dtype}: {used:.3f}, {case}")
    kinds: Counter[str] = Counter()
    for case, problem in tally.violations:
        kind = f"{case.dtype} {case.function} " + "".join("#" if x.isdigit() else x for x in problem)
        kinds[kind] += 1
        if kinds[kind] <= 3:
            least = smaller(case)
            print(f"\n{problem}\n  {case}\n  smallest: {check(least).problem}\n  {least}")
    for kind, count in kinds.most_common():
        print(count, kind)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20000)
    parser.add_argument("--seed", default=str(FIXED_SEED))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--replay")
    options = parser.parse_args()
    if options.replay:
        case = eval(options.replay, {"Case": Case})
        verdict = check(case)
        print(verdict)
        return int(verdict.problem is not None)
    first = random.SystemRandom().randrange(2**32) if options.seed == "random" else int(options.seed)
    print(f"seed {first}, {options.jobs} processes, NumPy {np.__version__}", flush=True)
    start, tally = time.perf_counter(), Tally()
    # Parts of one size, so that a seed means the same cases for any number of processes.
    parts_of_it = [(min(PART, options.cases - at), first + at) for at in range(0, options.cases, PART)]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for part in pool.imap_unordered(_run, parts_of_it):
            tally.merge(part)
            print(f"{tally.cases} cases: {tally.counts}", file=sys.stderr, flush=True)
    report(tally, time.perf_counter() - start)
    return int(bool(tally.violations) or tally.cases < options.cases)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
