"""Acceptance vectors: what a device must do exactly for numtrn's promises to hold, tried on a target.

Every vector is one launch of a probe kernel whose result is known from integer arithmetic, and names the
property that it tests. Each launch tests one instruction, so that a wrong value has one cause. What follows
from a verdict is not decided here; see `numtrn.verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from numtrn.request import Array
from numtrn.targets import Target
from numtrn.verdict import (
    ADDS,
    BITS,
    BYTES,
    FP16,
    NEEDS,
    SCALAR_CAST,
    SUMS,
    TF32,
    TRANSPOSES,
    VECTOR_CAST,
    Finding,
    Verdict,
    subject,
)

__all__ = ["Vector", "observations", "probe", "table", "vectors"]

ROWS, COLUMNS = 128, 512
PEAK = 2**24
"""Largest sum that a group of matmuls makes, and largest integer that fp32 is sure to hold."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Vector:
    """One launch and what must come of it.

    Attributes
    ----------
    name
        The property it tests.
    case
        What is particular about it.
    kernel, arrays, parameters
        Of the launch.
    expected
        The exact values, as float64, which holds them all.
    """

    name: str
    case: str
    kernel: str
    arrays: tuple[Array, ...]
    parameters: tuple[int, ...]
    expected: Floats


def probe(target: Target) -> Verdict:
    """Try all vectors on a target. Never raises for what the target does; that is a finding."""
    findings: dict[str, Finding] = {}
    counts: dict[str, tuple[int, int]] = {}
    for vector in vectors():
        if vector.name not in findings:
            problem = _try(target, vector)
            if problem is not None:
                findings[vector.name] = problem
        launches, values = counts.get(vector.name, (0, 0))
        counts[vector.name] = launches + 1, values + vector.expected.size
    for name, (launches, values) in counts.items():
        if name not in findings:
            seen = f"{values:,} values of {launches} launches"
            findings[name] = Finding(name=name, outcome="exact", seen=seen)
    ordered = tuple(findings[name] for name in counts)
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Verdict(subject=subject(target), findings=(*ordered, *observations(target)), when=when)


def table(verdict: Verdict) -> str:
    """The findings as text, with what rests on each."""
    from tabulate import tabulate  # here, because only a probe needs it

    rows = [
        (finding.name, finding.outcome, _users(finding.name), finding.seen) for finding in verdict.findings
    ]
    return tabulate(rows, headers=["property", "", "rests on it", "seen"], maxcolwidths=[None, None, 20, 64])


def _users(name: str) -> str:
    return ", ".join(need for need, properties in NEEDS.items() if name in properties)


def _try(target: Target, vector: Vector) -> Finding | None:
    """What is wrong with one vector on a target, or None."""
    try:
        got = target.launch(vector.kernel, vector.arrays, vector.parameters)
    except Exception as cause:
        seen = f"{vector.case}: {type(cause).__name__}: {cause}"
        return Finding(name=vector.name, outcome="not run", seen=seen[:500])
    seen = _difference(np.asarray(got), vector.expected)
    return Finding(name=vector.name, outcome="wrong", seen=f"{vector.case}: {seen}") if seen else None


def _difference(got: Array, expected: Floats) -> str:
    """The first wrong value in words; empty when all are right."""
    if got.shape != expected.shape:
        return f"expected {expected.shape} values, got {got.shape}"
    found = got.astype(np.float64)
    wrong = ~(found == expected)  # NaN is wrong too
    if not wrong.any():
        return ""
    row, column = (int(index) for index in np.argwhere(wrong)[0])
    return (
        f"expected {expected[row, column]:.17g} at row {row}, column {column}, got {found[row, column]:.17g}"
        f"; {np.count_nonzero(wrong):,} of {wrong.size:,} wrong"
    )


def vectors() -> Iterator[Vector]:
    """All acceptance vectors, the same in every run."""
    yield from _sums()
    yield from _sum_casts()
    yield from _byte_casts()
    yield from _adds()
    yield from _shifts()
    yield _transposes()
    yield from _narrow_products()


# -- fp32 sums in PSUM ------------------------------------------------------------------------------


def _sums() -> Iterator[Vector]:
    for case, make in SUM_CASES.items():
        lhs, rhs = make()
        yield Vector(
            name=SUMS,
            case=case,
            kernel="probe_sums",
            arrays=(lhs.astype(ml_dtypes.bfloat16), rhs.astype(ml_dtypes.bfloat16)),
            parameters=(0,),
            expected=lhs.T.astype(np.float64) @ rhs,  # exact: integers far below 2^53
        )


def _signed(k: int, value: int, columns: int) -> Integers:
    """Columns of one value, every other one negative."""
    return np.full((k, columns), value) * np.where(np.arange(columns) % 2, -1, 1)


def _largest() -> tuple[Integers, Integers]:
    return _signed(1024, -128, ROWS), _signed(1024, 128, COLUMNS)


def _odd_at(first: int) -> Callable[[], tuple[Integers, Integers]]:
    """One odd product, 127, among products of 127 * 128: column j has it in row ``first`` + j."""

    def make() -> tuple[Integers, Integers]:
        rhs = np.full((1024, COLUMNS), 128)
        rhs[first + np.arange(COLUMNS), np.arange(COLUMNS)] = 1
        return _signed(1024, 127, ROWS), rhs

    return make


def _climbing() -> tuple[Integers, Integers]:
    """Up by odd products to 2^24 and back to one product; columns start at different places of the way."""
    rhs = np.repeat([127, -127], 1024)[:, np.newaxis] * np.ones(COLUMNS, int)
    rhs[-1] = -126
    columns = [np.roll(rhs[:, j], 4 * j) for j in range(COLUMNS)]
    return _signed(2048, 127, ROWS), np.stack(columns, axis=1)


def _alternating() -> tuple[Integers, Integers]:
    rhs = np.where(np.arange(1024) % 2, -127, 127)[:, np.newaxis] * np.ones(COLUMNS, int)
    rhs[np.arange(COLUMNS) * 2, np.arange(COLUMNS)] = 128
    return _signed(1024, 127, ROWS), rhs


def _random(k: int, peak: int) -> Callable[[], tuple[Integers, Integers]]:
    def make() -> tuple[Integers, Integers]:
        rng = np.random.default_rng(k)
        return rng.integers(-peak, peak + 1, (k, ROWS)), rng.integers(-peak, peak + 1, (k, COLUMNS))

    return make


def _digit_sums() -> tuple[Integers, Integers]:
    rhs = np.tile([256, 255, -256, 253], COLUMNS // 4) * np.ones((256, 1), int)
    rhs[np.arange(COLUMNS) % 256, np.arange(COLUMNS)] = 1
    return _signed(256, 255, ROWS), rhs


SUM_CASES: dict[str, Callable[[], tuple[Integers, Integers]]] = {
    "digits of 128, up to 2^24": _largest,
    "one odd product among large ones, first half": _odd_at(0),
    "one odd product among large ones, second half": _odd_at(512),
    "up to 2^24 and back": _climbing,
    "alternating signs": _alternating,
    "random digits, 8 matmuls": _random(1024, 128),
    "random digits, one matmul": _random(128, 128),
    "digits of 256 up to 2^24": lambda: (_signed(256, 256, ROWS), _signed(256, 256, COLUMNS)),
    "digit sums, 2 matmuls": _digit_sums,
}
"""Operands (K, 128) and (K, 512) whose sums stay within 2^24 in any order of summation."""


# -- casts and transposes ---------------------------------------------------------------------------


def _integers() -> Integers:
    """Integers up to 2^24: all near the end, neighbours of powers of two, and random ones."""
    near = PEAK - np.arange(8192)
    powers = np.array([2**k + d for k in range(24) for d in (-1, 0, 1)])
    rest = ROWS * COLUMNS - 2 * (near.size + powers.size)
    drawn = np.random.default_rng(1).integers(-PEAK, PEAK + 1, rest)
    return np.concatenate((near, -near, powers, -powers, drawn)).reshape(ROWS, COLUMNS)


def _sum_casts() -> Iterator[Vector]:
    values = _integers()
    for name, case in ((SCALAR_CAST, 0), (VECTOR_CAST, 1)):
        yield _cast(name, "integers up to 2^24", values.astype(np.float32), case, values)


def _byte_casts() -> Iterator[Vector]:
    width, word = 256, 8
    row, column, byte = np.ogrid[:ROWS, :width, :word]
    values = (row + column + 37 * byte) % 256 - 128
    planes = values.transpose(0, 2, 1).reshape(ROWS, -1)
    for engine, case in (("ScalarE", 2), ("VectorE", 3)):
        where = f"all bytes, 8 apart, {engine}"
        yield _cast(BYTES, where, values.astype(np.int8).reshape(ROWS, -1), case, planes)


def _transposes() -> Vector:
    row, column = np.ogrid[:ROWS, : 3 * ROWS]
    values = (7 * row + 3 * column) % 513 - 256
    turned = np.concatenate([tile.T for tile in np.split(values, 3, axis=1)], axis=1)
    return _cast(TRANSPOSES, "digits up to 256", values.astype(ml_dtypes.bfloat16), 4, turned)


def _cast(name: str, case: str, source: Array, parameter: int, expected: Any) -> Vector:
    return Vector(
        name=name,
        case=case,
        kernel="probe_casts",
        arrays=(np.ascontiguousarray(source),),
        parameters=(parameter,),
        expected=np.asarray(expected, np.float64),
    )


# -- int32 ------------------------------------------------------------------------------------------


def _adds() -> Iterator[Vector]:
    rng = np.random.default_rng(2)
    size = ROWS * COLUMNS
    totals = 2**31 - 1 - np.arange(size)
    small = rng.integers(0, 2**30, size)
    yield _int32(ADDS, "sums near 2^31", small, totals - small, 0, totals)
    yield _int32(ADDS, "sums near -2^31", -small, small - totals - 1, 0, -totals - 1)
    above, odd = rng.integers(2**24, 2**24 + 2**12, size), 2 * rng.integers(-(2**12), 2**12, size) + 1
    yield _int32(ADDS, "sums around 2^24", above, odd, 0, above + odd)
    one, other = (rng.integers(-(2**30), 2**30, size) for _ in range(2))
    yield _int32(ADDS, "random sums", one, other, 0, one + other)


def _shifts() -> Iterator[Vector]:
    rng = np.random.default_rng(3)
    edges = [2**31 - 1, -(2**31), -1, 0, 1, 255, 256, -255, -256, -257, 2**24 + 1, -(2**24) - 1]
    drawn = rng.integers(-(2**31), 2**31, (2, ROWS * COLUMNS))
    values, others = drawn
    values[: len(edges)] = edges
    yield _int32(BITS, "right by 8, zeros coming in", values, others, 1, (values & 0xFFFFFFFF) >> 8)
    yield _int32(BITS, "right by 8 of signed numbers", values, others, 2, values >> 8)
    yield _int32(BITS, "low 8 bits, left by 16", values, others, 3, (values & 255) << 16)
    yield _int32(BITS, "or", values, others, 4, values | others)


def _int32(
    name: str, case: str, one: Integers, other: Integers, parameter: int, expected: Integers
) -> Vector:
    shape = (ROWS, COLUMNS)
    return Vector(
        name=name,
        case=case,
        kernel="probe_integers",
        arrays=(one.astype(np.int32).reshape(shape), other.astype(np.int32).reshape(shape)),
        parameters=(parameter,),
        expected=expected.astype(np.float64).reshape(shape),
    )


# -- tf32 and fp16 ----------------------------------------------------------------------------------


def _eleven_bits(shape: tuple[int, int], low: int, high: int, seed: int) -> Floats:
    """Numbers of 11 bits, of either sign, with exponents of the leading bit from low to high."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(1024, 2048, shape) * rng.choice([-1.0, 1.0], shape)
    numbers: Floats = np.ldexp(whole, rng.integers(low, high + 1, shape) - 10)
    return numbers


def _narrow_products() -> Iterator[Vector]:
    spread = _eleven_bits((ROWS, COLUMNS), -60, 60, 4)
    yield _cast(TF32, "by DMA", spread.astype(np.float32), 5, spread)
    lhs, rhs = _eleven_bits((1, ROWS), -50, 50, 5), _eleven_bits((1, COLUMNS), -50, 50, 6)
    yield _outer(TF32, "products", lhs, rhs, np.float32, 1)
    lhs, rhs = _eleven_bits((1, ROWS), -14, 14, 7), _eleven_bits((1, COLUMNS), -14, 14, 8)
    yield _outer(FP16, "products of normal numbers", lhs, rhs, np.float16, 0)
    tiny = np.ldexp(np.random.default_rng(9).integers(1, 1024, (1, COLUMNS)), -24)
    yield _outer(FP16, "products with subnormal numbers", lhs, tiny, np.float16, 0)


def _outer(name: str, case: str, lhs: Floats, rhs: Floats, dtype: type, tf32: int) -> Vector:
    """All products of two rows, each alone in its sum."""
    return Vector(
        name=name,
        case=case,
        kernel="probe_sums",
        arrays=(lhs.astype(dtype), rhs.astype(dtype)),
        parameters=(tf32,),
        expected=lhs.T @ rhs,
    )


# -- observations -----------------------------------------------------------------------------------


def observations(target: Target) -> Iterator[Finding]:
    """What is worth knowing, though nothing rests on it: how a target rounds, errors of float32 products."""
    for name, observe in OBSERVATIONS.items():
        try:
            yield Finding(name=name, outcome="seen", seen=observe(target))
        except Exception as cause:
            yield Finding(name=name, outcome="seen", seen=f"nothing: {type(cause).__name__}: {cause}"[:500])


def _fractions(target: Target) -> str:
    whole = np.arange(-ROWS * COLUMNS // 2, ROWS * COLUMNS // 2).reshape(ROWS, COLUMNS)
    values = whole / 4
    got = target.launch("probe_casts", (values.astype(np.float32),), (0,))
    return _rounding(values, np.asarray(got), {name: rule(values) for name, rule in RULES.items()})


def _conversion(parameter: int, bits: int) -> Callable[[Target], str]:
    def observe(target: Target) -> str:
        rng = np.random.default_rng(10)
        values = rng.uniform(-2, 2, (ROWS, COLUMNS)).astype(np.float32)
        # A third are ties: one bit more than the type holds.
        values[::3] = np.ldexp(rng.integers(2 ** (bits - 1), 2**bits, values[::3].shape) + 0.5, -bits)
        exact = values.astype(np.float64)
        mantissa, exponent = np.frexp(exact)
        scaled = np.ldexp(mantissa, bits)
        rounded = {name: np.ldexp(rule(scaled), exponent - bits) for name, rule in RULES.items()}
        got = np.asarray(target.launch("probe_casts", (values,), (parameter,)))
        return _rounding(exact, got, {**rounded, "not at all": exact})

    return observe


RULES: dict[str, Callable[[Floats], Floats]] = {
    "to nearest, ties to even": np.rint,
    "to nearest, ties away from zero": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    "towards zero": np.trunc,
    "down": np.floor,
}


def _rounding(values: Floats, got: Array, candidates: dict[str, Floats]) -> str:
    """Which way of rounding explains the results."""
    found = got.astype(np.float64)
    for name, candidate in candidates.items():
        if np.array_equal(found, candidate):
            return name
    row, column = (int(index) for index in np.argwhere(found != next(iter(candidates.values())))[0])
    return f"in no known way; {values[row, column]:.9g} became {found[row, column]:.9g}"


def _product_error(operand: str) -> Callable[[Target], str]:
    """Largest error of a product of 512 terms of random fp32 numbers."""

    def observe(target: Target) -> str:
        rng = np.random.default_rng(11)
        lhs, rhs = (rng.standard_normal((COLUMNS, n)).astype(np.float32) for n in (ROWS, COLUMNS))
        shift = 12 if operand == "fp16" else 0  # into the middle of fp16's range
        left, right = _terms(lhs, operand, shift), _terms(rhs, operand, shift)
        dtype = np.float16 if operand == "fp16" else np.float32
        if operand != "fp32":  # low high + high low + high high
            left, right = (left[1], left[0], left[0]), (right[0], right[1], right[0])
        arrays = tuple(np.concatenate(terms).astype(dtype) for terms in (left, right))
        got = target.launch("probe_sums", arrays, (int(operand == "tf32"),))
        exact, size = lhs.T.astype(np.float64) @ rhs, np.abs(lhs).T.astype(np.float64) @ np.abs(rhs)
        error = np.abs(np.ldexp(np.asarray(got, np.float64), -2 * shift) - exact) / size
        return f"at most {np.max(error) * 2.0**24:.2f} u |A||B| in sums of {COLUMNS}, u = 2^-24"

    return observe


def _terms(x: Array, operand: str, shift: int) -> tuple[Array, ...]:
    """X itself, or X 2^shift as two numbers of 11 bits."""
    if operand == "fp32":
        return (x,)
    scaled = np.ldexp(x, shift)
    high = _to_eleven_bits(scaled)
    return high, _to_eleven_bits(scaled - high)


def _to_eleven_bits(x: Array) -> Array:
    mantissa, exponent = np.frexp(x)
    rounded: Array = np.ldexp(np.rint(np.ldexp(mantissa, 11)), exponent - 11)
    return rounded


OBSERVATIONS: dict[str, Callable[[Target], str]] = {
    "fractions to int32 by ScalarE": _fractions,
    "fp32 to tf32 by DMA": _conversion(5, 11),
    "fp32 to bf16 by DMA": _conversion(6, 8),
    "fp32 to bf16 by VectorE": _conversion(7, 8),
    "native fp32 product": _product_error("fp32"),
    "three tf32 products": _product_error("tf32"),
    "three fp16 products": _product_error("fp16"),
}
