"""The programs of a plan, known before anything runs: what a warm-up compiles.

Data may ask for others: more digits, or the form without Karatsuba's, which is listed beside that. The guard
of products with digits chosen by the data is listed with them.
"""

from __future__ import annotations

from collections.abc import Iterator

from numtrn.machine import CHIPS
from numtrn.plan.decide import AnyPlan, itemsize, make_tilings
from numtrn.plan.ladder import Cutting
from numtrn.plan.mp2 import Mp2Plan
from numtrn.plan.mp2_tiling import PairTiling, tile_pairs
from numtrn.plan.records import Plan
from numtrn.plan.stages import ContractionPlan
from numtrn.plan.tiling import TILE, Tiling
from numtrn.plan.words import counted_launches, plane_count
from numtrn.precision import Scheme
from numtrn.request import Gemm
from numtrn.targets.programs import Program

__all__ = ["programs_of"]


def programs_of(plan: AnyPlan) -> tuple[Program, ...]:
    """Distinct programs of a plan, in the order in which they are needed.

    Raises
    ------
    TypeError
        Of a plan whose programs depend on more than the plan.
    """
    cutting = Cutting(plan.shapes, CHIPS[plan.chip])
    if isinstance(plan, Mp2Plan):
        found = _pairs(plan, cutting)
    elif isinstance(plan, ContractionPlan):
        found = (program for each in plan.plans for program in programs_of(each))
    elif isinstance(plan, Plan):
        found = _product(plan.gemm, plan.scheme, cutting, None)
    else:
        raise TypeError(f"programs are listed of products and of pair energies; got a {type(plan).__name__}")
    return tuple(dict.fromkeys(found))


def _pairs(plan: Mp2Plan, cutting: Cutting) -> Iterator[Program]:
    if plan.fused:
        request = plan.request
        tf32 = plan.scheme.operand_dtype == "tfloat32"
        tiling = tile_pairs(
            request.nocc,
            request.nvir,
            request.naux,
            same=request.same,
            exchange=request.exchange,
            tf32=tf32,
        )
        assert tiling is not None
        yield from _fused(tiling, request.naux)
        return
    slices = plan.scheme.normwise_slices(plan.request.naux)
    for gemm, _ in plan.products:
        yield from _product(gemm, plan.scheme, cutting, slices)


def _fused(tiling: PairTiling, naux: int) -> Iterator[Program]:
    first, second = tiling.spins
    for launch in tiling.launches:
        table = TILE, first.v + launch.oi + second.tiles(launch.oj)
        shapes = (naux, launch.oi * first.width), (naux, launch.oj * second.width), table
        yield Program("mp2_pairs", launch.parameters, tuple((shape, "float32") for shape in shapes))


def _product(gemm: Gemm, scheme: Scheme, cutting: Cutting, slices: int | None) -> Iterator[Program]:
    if scheme.maximum_slices is None:
        for t in make_tilings(gemm, scheme, cutting):
            yield _plain(t, itemsize(scheme.operand_dtype), scheme.operand_dtype)
        return
    batch, m, k, n, parts = scheme.call(gemm.batch, gemm.m, gemm.k, gemm.n)
    guard = scheme.guard(gemm.batch, gemm.m, gemm.k, gemm.n) if slices is None else None
    if guard is not None:
        least = cutting.least(guard.batch, guard.m, guard.k, guard.n)
        yield _plain(least, 2, "bfloat16")
    digits = slices or scheme.minimum_slices(gemm.k)
    assert digits is not None
    fast = (True, True) if slices is not None else gemm.k_is_fast
    chosen = make_tilings(gemm, scheme, cutting, digits)
    yield from _digits(chosen, cutting, fast)
    if chosen[0].kernel == "karatsuba_gemm":
        plain = cutting.products(batch, m, k, n, digits, parts, gemm.structure)
        yield from _digits(plain, cutting, fast)


def _digits(tilings: tuple[Tiling, ...], cutting: Cutting, fast: tuple[bool, bool]) -> Iterator[Program]:
    first = tilings[0]
    for side, along in (("lhs", fast[0]), ("rhs", fast[1])):
        planes = cutting.planes(first, side, along)
        yield Program(planes.kernel, planes.parameters, (((planes.rows, planes.columns), "int8"),))
    for tiling in tilings:
        for count, launch in counted_launches(tiling):
            if count:
                yield _words(launch)


def _words(t: Tiling) -> Program:
    depth, planes = (t.parameters[4], plane_count(t.slices)) if "karatsuba" in t.kernel else (1, t.slices)
    shapes = ((t.batch * t.k // depth, extent * planes * depth) for extent in (t.m, t.n))
    return Program(t.kernel, t.parameters, tuple((shape, "bfloat16") for shape in shapes))


def _plain(t: Tiling, size: int, dtype: str) -> Program:
    stored = dtype if size == 2 else "float32"
    fast = tuple(bool(flag) for flag in t.parameters[2:4]) if t.kernel == "gemm" else (False, False)
    sides = zip((t.m, t.n), fast, strict=True)
    shapes = ((t.batch * m, t.k) if along else (t.batch * t.k, m) for m, along in sides)
    return Program(t.kernel, t.parameters, tuple((shape, stored) for shape in shapes))
