"""The one decision: a request and the options of a block become a plan or a refusal. No array is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from numtrn.machine import CHIPS, Chip
from numtrn.options import Options
from numtrn.plan import host
from numtrn.plan.contraction import Folding, fold
from numtrn.plan.cost import Prediction, predict, predict_words
from numtrn.plan.records import Plan, Refusal
from numtrn.plan.tiling import Tiling, tile_gemm
from numtrn.plan.words import prefers_karatsuba, tile_karatsuba, tile_least, tile_products
from numtrn.precision import Scheme, choose
from numtrn.request import Contraction, Gemm, Request, Routine, Structure

__all__ = ["DEFAULT_MIN_WORK", "DTYPES", "make_plan", "make_tilings", "threshold"]

DTYPES = ("float32", "float64", "complex64", "complex128")
"""Types that have a kernel."""

DEFAULT_MIN_WORK = 1_000_000
"""Multiply-adds below which, unless the user says otherwise, nothing is looked at."""

THIN = 16
"""With the plan deciding, M and N of at least this; below it a product is bound by reading its operands."""


def threshold(options: Options, target: str) -> float:
    """Multiply-adds below which `make_plan` refuses every request, for a gate to test first.

    On hardware that is what NumPy does on this machine while one kernel call is being made.
    """
    if options.min_work is not None:
        return float(options.min_work)
    if target != "neuron":
        return float(DEFAULT_MIN_WORK)
    chip = CHIPS[options.chip]
    return max(
        DEFAULT_MIN_WORK, (chip.launch_seconds + chip.kernel_seconds) * host.multiply_add_rate("float32")
    )


NOTHING: Mapping[str, str] = MappingProxyType({})


def make_plan(
    request: Request, options: Options, target: str, probed: Mapping[str, str] = NOTHING
) -> Plan | Refusal:
    """Decide who computes a request.

    Parameters
    ----------
    request
        What is asked.
    options
        Of the block.
    target
        Name of the target that the block runs on.
    probed
        What a probe of the target speaks against, by kind of product, with the reason; see
        `numtrn.verdict.refusals`. Empty without a verdict.

    Returns
    -------
    Plan or Refusal
        Both say why.
    """
    if isinstance(request, Routine):
        return Refusal(request=request, reason=request.reason)
    if request.dtype not in DTYPES:
        reason = f"{request.dtype} has no kernel; {', '.join(DTYPES)} do"
        return Refusal(request=request, reason=reason)
    folding: Folding | None = None
    gemm = request
    if isinstance(request, Contraction):
        folded = fold(request)
        if isinstance(folded, str):
            return Refusal(request=request, reason=folded)
        folding, gemm = folded, folded.gemm
    assert isinstance(gemm, Gemm)
    reason = _objection(gemm, options, target)
    if reason:
        return Refusal(request=request, reason=reason)
    chip = CHIPS[options.chip]
    scheme = choose(gemm.dtype, options.precision, gemm.k)
    rests_on = "digits" if scheme.maximum_slices is not None else str(options.precision)
    if rests_on in probed:
        return Refusal(request=request, reason=probed[rests_on])
    tilings = make_tilings(gemm, scheme, chip)
    prediction = _predict(gemm, scheme, tilings, chip)
    numpy_seconds = None
    reason = _merit(gemm, options)
    if options.min_work is None and target == "neuron":
        numpy_seconds = host.predicted_seconds(gemm)
        reason = (
            f"device, link and calls {prediction.total:.2g} s against NumPy {numpy_seconds:.2g} s, predicted"
        )
        if prediction.total >= numpy_seconds:
            return Refusal(request=request, reason=reason)
        scheme = _affordable(gemm, scheme, chip, numpy_seconds)
    return Plan(
        request=request,
        gemm=gemm,
        folding=folding,
        scheme=scheme,
        tilings=tilings,
        target=target,
        chip=chip.name,
        prediction=prediction,
        numpy_seconds=numpy_seconds,
        reason=reason,
    )


def make_tilings(gemm: Gemm, scheme: Scheme, chip: Chip, slices: int | None = None) -> tuple[Tiling, ...]:
    """Tilings of the products that a scheme makes of one product, by default for its least slices."""
    slices = slices or scheme.minimum_slices(gemm.k)
    structure: Structure = "syrk" if gemm.triangle else "general"
    batch, m, k, n, parts = scheme.call(gemm.batch, gemm.m, gemm.k, gemm.n)
    if slices is not None:
        if parts == 1 and prefers_karatsuba(batch, m, k, n, slices, chip, structure):
            return (tile_karatsuba(batch, m, k, n, slices, chip, structure),)
        return tile_products(batch, m, k, n, slices, parts, chip, structure)
    tf32 = scheme.operand_dtype == "tfloat32"
    return (tile_gemm(batch, m, k, n, itemsize(scheme.operand_dtype), tf32),)


def itemsize(operand_dtype: str) -> int:
    """Bytes of an element as a kernel's operand."""
    return 2 if operand_dtype in ("bfloat16", "float16") else 4


def _objection(gemm: Gemm, options: Options, target: str) -> str:
    """Why this product is none for a kernel, whatever it costs; empty when nothing stands against it."""
    if gemm.work == 0:  # np.ones((3, 0)) @ np.ones((0, 3))
        return f"nothing to multiply: batch {gemm.batch}, m {gemm.m}, k {gemm.k}, n {gemm.n}"
    least = threshold(options, target)
    if gemm.work < least:
        name = "min_work" if options.min_work is not None else "the plan's least,"
        return f"{gemm.work:,} multiply-adds are below {name} {least:,.0f}"
    if options.min_work is None and min(gemm.m, gemm.n) < THIN:
        return f"m = {gemm.m}, n = {gemm.n}: thinner than {THIN}, bound by reading its operands"
    return ""


def _merit(gemm: Gemm, options: Options) -> str:
    least = DEFAULT_MIN_WORK if options.min_work is None else options.min_work
    whose = "the plan's least" if options.min_work is None else "min_work"
    return f"{gemm.work:,} multiply-adds, {whose} is {least:,}"


def _affordable(gemm: Gemm, scheme: Scheme, chip: Chip, numpy_seconds: float) -> Scheme:
    """The scheme with no more digits than NumPy leaves time for."""
    least, most = scheme.minimum_slices(gemm.k), scheme.maximum_slices
    if least is None or most is None:
        return scheme
    while most > least:
        tilings = make_tilings(gemm, scheme, chip, most)
        if _predict(gemm, scheme, tilings, chip).total < numpy_seconds:
            break
        most -= 1
    return replace(scheme, maximum_slices=most)


def _predict(gemm: Gemm, scheme: Scheme, tilings: tuple[Tiling, ...], chip: Chip) -> Prediction:
    """Times of a plan's launches, with the guard product where the data choose the slices."""
    guard = scheme.guard(gemm.batch, gemm.m, gemm.k, gemm.n)
    if guard is None:
        passes = chip.fp32_passes if scheme.operand_dtype == "float32" else 1
        return predict(tilings[0], passes, chip)
    least = tile_least(guard.batch, guard.m, guard.k, guard.n)
    return predict_words(tilings, chip) + predict(least, 1, chip)
