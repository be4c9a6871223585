"""The one decision: a request and the options of a block become a plan or a refusal. No array is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from numtrn import profile
from numtrn.machine import Chip
from numtrn.options import Options
from numtrn.plan import host, mp2
from numtrn.plan.blocked import BLOCK, BLOCKS, BlockedPlan, Step, Update, largest_block, promise, steps
from numtrn.plan.contraction import Folding, fold
from numtrn.plan.cost import Prediction, predict, predict_words
from numtrn.plan.ladder import Cutting
from numtrn.plan.mp2 import Mp2Plan
from numtrn.plan.path import order
from numtrn.plan.records import Plan, Refusal
from numtrn.plan.stages import ContractionPlan, Stage, Undecided, walk
from numtrn.plan.structured import tile_structured
from numtrn.plan.tiling import Tiling
from numtrn.plan.trsm import TRSM_LIMIT
from numtrn.precision import Scheme, choose
from numtrn.request import Cholesky, Contraction, Gemm, Mp2, Request, Routine, Solve

__all__ = ["DEFAULT_MIN_WORK", "DTYPES", "can_stay", "make_plan", "make_tilings", "threshold"]

DTYPES = ("float32", "float64", "complex64", "complex128")
"""Types that have a kernel."""

DEFAULT_MIN_WORK = 1_000_000
"""Multiply-adds below which, unless the user says otherwise, nothing is looked at."""

FEW = 64
"""Right-hand sides of a solve up to which NumPy keeps it."""

MANY = 64
"""Inner products in one call from which they are NumPy's: each would be a matmul of one element."""

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
    chip = profile.chip(options.chip, target)
    return max(
        DEFAULT_MIN_WORK, (chip.launch_seconds + chip.kernel_seconds) * host.multiply_add_rate("float32")
    )


NO_TIME = Prediction(device=0.0, link=0.0, fixed=0.0)
NOTHING: Mapping[str, str] = MappingProxyType({})


def make_plan(
    request: Request, options: Options, target: str, probed: Mapping[str, str] = NOTHING
) -> AnyPlan | Refusal:
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
    Plan, ContractionPlan, BlockedPlan, Mp2Plan or Refusal
        All say why.
    """
    try:
        if isinstance(request, Routine):
            raise _RefusedError(request.reason)
        if request.dtype not in DTYPES:
            raise _RefusedError(f"{request.dtype} has no kernel; {', '.join(DTYPES)} do")
        if isinstance(request, Mp2):
            return _pair_energies(request, options, target, probed)
        if isinstance(request, Solve | Cholesky):
            return _blocked(request, options, target, probed)
        if isinstance(request, Contraction) and len(request.shapes) > 2:
            return _contraction(request, options, target, probed)
        return _product(request, options, target, probed)
    except _RefusedError as refused:
        return Refusal(request=request, reason=str(refused), steps_work=refused.steps_work)


AnyPlan: TypeAlias = Plan | ContractionPlan | BlockedPlan | Mp2Plan
"""What is not refused."""


class _RefusedError(Exception):
    """A request is none for a kernel; the text says why."""

    def __init__(self, reason: str, steps_work: int | None = None) -> None:
        super().__init__(reason)
        self.steps_work = steps_work


def _product(request: Gemm | Contraction, options: Options, target: str, probed: Mapping[str, str]) -> Plan:
    """The plan of one product."""
    folding: Folding | None = None
    gemm = request
    if isinstance(request, Contraction):
        folded = fold(request)
        if isinstance(folded, str):
            raise _RefusedError(folded)
        folding, gemm = folded, folded.gemm
    assert isinstance(gemm, Gemm)
    if gemm.work == 0:  # np.ones((3, 0)) @ np.ones((0, 3))
        raise _RefusedError(f"nothing to multiply: batch {gemm.batch}, m {gemm.m}, k {gemm.k}, n {gemm.n}")
    if gemm.shared:  # one B for all of A, below each other
        gemm = replace(gemm, m=gemm.batch * gemm.m, batch=1, shared=False)
    if gemm.batch > MANY and gemm.m == gemm.n == 1:  # 'ab,ab->a'
        raise _RefusedError(f"{gemm.batch:,} inner products of {gemm.k:,}: no matrix among them")
    _large_enough(gemm.work, options, target)
    if options.min_work is None and min(gemm.m, gemm.n) < THIN:
        raise _RefusedError(f"m = {gemm.m}, n = {gemm.n}: thinner than {THIN}, bound by reading its operands")
    cutting = _cutting(options, target)
    scheme = _scheme(gemm.dtype, options, gemm.k, probed)
    tilings = make_tilings(gemm, scheme, cutting)
    prediction = _predict(gemm, scheme, tilings, cutting)
    merit = _merit(gemm.work, prediction, gemm.dtype, options, target)
    if merit.numpy_seconds is not None:

        def predicted(slices: int) -> Prediction:
            return _predict(gemm, scheme, make_tilings(gemm, scheme, cutting, slices), cutting)

        most = _affordable(scheme, gemm.k, predicted, merit.numpy_seconds)
        scheme = replace(scheme, maximum_slices=most)
    return Plan(
        request=request,
        gemm=gemm,
        folding=folding,
        scheme=scheme,
        tilings=tilings,
        target=target,
        chip=options.chip,
        prediction=prediction,
        numpy_seconds=merit.numpy_seconds,
        reason=merit.reason,
        shapes=options.shapes_on(target),
        cores=options.cores or 1,
    )


def _contraction(
    request: Contraction, options: Options, target: str, probed: Mapping[str, str]
) -> ContractionPlan:
    """The plan of a contraction of several operands: each step decided by itself."""
    chosen = order(request)
    stages = tuple(_stage(step, options, target, probed) for step in walk(request, chosen))
    plans = [stage.plan for stage in stages if stage.plan is not None]
    if not plans:
        tried = max(stages, key=lambda stage: stage.work)
        raise _RefusedError(
            f"{len(stages)} steps, none for a kernel; {tried.request.subscripts}: {tried.reason}",
            steps_work=sum(stage.work for stage in stages),
        )
    return ContractionPlan(
        request=request,
        order=chosen,
        stages=stages,
        target=target,
        chip=options.chip,
        prediction=sum((plan.prediction for plan in plans), start=NO_TIME),
        reason=max(plans, key=lambda plan: plan.gemm.work).reason,
        shapes=options.shapes_on(target),
        cores=options.cores or 1,
    )


def _stage(step: Undecided, options: Options, target: str, probed: Mapping[str, str]) -> Stage:
    """Who computes one step."""
    plan, reason, work = None, step.why_none, step.request.work
    kind = "elementwise product" if len(step.places) == 2 else "einsum"
    if step.folding is not None:
        kind, work = step.folding.kind, step.folding.gemm.work
        try:
            plan = _product(step.request, options, target, probed)
        except _RefusedError as refused:
            reason = str(refused)
    return Stage(places=step.places, request=step.request, kind=kind, work=work, plan=plan, reason=reason)


def _blocked(
    request: Solve | Cholesky, options: Options, target: str, probed: Mapping[str, str]
) -> BlockedPlan:
    """The plan of a solve or of a factorisation."""
    if request.n < 2 or request.work == 0:
        raise _RefusedError(f"n = {request.n}: nothing to multiply")
    _large_enough(request.work, options, target)
    if options.min_work is None and isinstance(request, Solve) and request.columns <= FEW:
        raise _RefusedError(
            f"{request.columns} right-hand sides, at most {FEW}: bound by reading the triangular matrix"
        )
    cutting = _cutting(options, target)
    scheme = _scheme(request.dtype, options, request.n, probed)
    direct = TRSM_LIMIT if request.dtype == "float32" and scheme.operand_dtype == "float32" else 0
    block = largest_block(request.n)
    if not isinstance(options.precision, str) and promise(request, scheme, block, direct) > options.precision:
        direct = 0  # substitution may keep what the kernel does not
    # On hardware a launch costs what the host solves many rows in; elsewhere times decide nothing.
    sizes = BLOCKS if target == "neuron" else (BLOCK,)
    choices = {largest_block(request.n, size) for size in sizes}
    predictions = {choice: _predict_blocked(request, options, choice, direct, cutting) for choice in choices}
    block = min(choices, key=lambda choice: (predictions[choice].total, choice))
    prediction = predictions[block]
    merit = _merit(request.work, prediction, request.dtype, options, target)
    if merit.numpy_seconds is not None:

        def predicted(slices: int) -> Prediction:
            return _predict_blocked(request, options, block, direct, cutting, slices)

        most = _affordable(scheme, request.n, predicted, merit.numpy_seconds)
        scheme = replace(scheme, maximum_slices=most)
    return BlockedPlan(
        request=request,
        scheme=scheme,
        kernel=_kernel(request, scheme, direct),
        block=block,
        direct=direct,
        steps=steps(request, block, direct),
        precision=options.precision,
        target=target,
        chip=options.chip,
        prediction=prediction,
        numpy_seconds=merit.numpy_seconds,
        reason=merit.reason,
        shapes=options.shapes_on(target),
        cores=options.cores or 1,
    )


def _pair_energies(request: Mp2, options: Options, target: str, probed: Mapping[str, str]) -> Mp2Plan:
    """The plan of pair energies: the fp32 kernel that keeps integrals on the chip, or products of blocks."""
    if request.work == 0:
        raise _RefusedError(f"no pairs: nocc {request.nocc}, nvir {request.nvir}")
    _large_enough(request.work, options, target)
    cutting, given = _cutting(options, target), not request.naux
    scheme = _scheme(request.dtype, options, max(1, request.naux), probed)
    fused = mp2.is_fused(request, scheme)
    if given and not (fused and options.min_work is not None):
        raise _RefusedError("no product in it: sums of given integrals are bound by reading them")
    if fused:
        return _fused_energies(request, scheme, options, target)
    sizes = mp2.block_sizes(request)
    steps = mp2.products(request, sizes)

    slices = scheme.normwise_slices(request.naux)
    lanes = mp2.pair_cores(request, sizes, cutting.cores)
    if lanes > 1:  # each product on a core of its own
        cutting = replace(cutting, cores=1)
    cut = [(make_tilings(gemm, scheme, cutting, slices), count) for gemm, count in steps]
    times = [_predict_tilings(tilings, scheme, cutting.figures) for tilings, _ in cut]
    prediction = mp2.on_cores(request, sizes, lanes, times)
    merit = _merit(request.work, prediction, request.dtype, options, target, mp2.epilogue_seconds(request))
    return Mp2Plan(
        request=request,
        scheme=scheme,
        kernel=scheme.kernel,
        block=sizes,
        products=steps,
        device_bytes=lanes * max(mp2.device_bytes(tilings) for tilings, _ in cut),
        host_bytes=lanes * mp2.host_bytes(request, sizes),
        target=target,
        chip=options.chip,
        prediction=prediction,
        numpy_seconds=merit.numpy_seconds,
        reason=merit.reason,
        shapes=options.shapes_on(target),
        cores=options.cores or 1,
        used_cores=max(lanes, *(tilings[0].cores for tilings, _ in cut)),
    )


def _fused_energies(request: Mp2, scheme: Scheme, options: Options, target: str) -> Mp2Plan:
    """The plan of the kernel that keeps integrals on the chip."""
    predicted = mp2.predict_fused(request, scheme, _cutting(options, target))
    if predicted is None:
        raise _RefusedError(f"an orbital, {max(request.nvir)} x {request.naux}, does not fit SBUF in fp32")
    prediction, device_bytes, used = predicted
    merit = _merit(request.work, prediction, request.dtype, options, target, mp2.epilogue_seconds(request))
    return Mp2Plan(
        request=request,
        scheme=scheme,
        kernel=mp2.FUSED,
        block=request.nocc,
        products=(),
        device_bytes=device_bytes,
        host_bytes=0,
        target=target,
        chip=options.chip,
        prediction=prediction,
        numpy_seconds=merit.numpy_seconds,
        reason=merit.reason,
        shapes=options.shapes_on(target),
        cores=options.cores or 1,
        used_cores=used,
    )


def _kernel(request: Solve | Cholesky, scheme: Scheme, direct: int) -> str:
    """The kernel that most of the work is for."""
    if not direct:
        return scheme.kernel
    return "trsm" if isinstance(request, Solve) else "rank_k"


def _scheme(dtype: str, options: Options, k: int, probed: Mapping[str, str]) -> Scheme:
    """The scheme of a type, unless a probe speaks against it."""
    scheme = choose(dtype, options.precision, k)
    rests_on = "digits" if scheme.maximum_slices is not None else str(options.precision)
    if rests_on in probed:
        raise _RefusedError(probed[rests_on])
    return scheme


def _large_enough(work: int, options: Options, target: str) -> None:
    least = threshold(options, target)
    if work < least:
        name = "min_work" if options.min_work is not None else "the plan's least,"
        raise _RefusedError(f"{work:,} multiply-adds are below {name} {least:,.0f}")


class _Merit(NamedTuple):
    """Why a kernel, and the seconds of NumPy where they decided."""

    reason: str
    numpy_seconds: float | None = None


def _merit(
    work: int, prediction: Prediction, dtype: str, options: Options, target: str, beside: float = 0.0
) -> _Merit:
    """The one comparison: predicted device, link and calls against predicted BLAS on this host.

    ``beside`` are seconds of NumPy that are no products.
    """
    if options.min_work is not None:
        return _Merit(f"{work:,} multiply-adds, min_work is {options.min_work:,}")
    if target != "neuron":
        return _Merit(f"{work:,} multiply-adds, the plan's least is {DEFAULT_MIN_WORK:,}")
    numpy_seconds = host.predicted_seconds(work, dtype) + beside
    reason = f"device, link and calls {prediction.total:.2g} s against NumPy {numpy_seconds:.2g} s, predicted"
    if prediction.measured:
        reason += f" with this machine's profile of {prediction.measured}"
    if prediction.total >= numpy_seconds:
        raise _RefusedError(reason)
    return _Merit(reason, numpy_seconds)


def _cutting(options: Options, target: str) -> Cutting:
    """Shapes by published figures, so that what is compiled ahead is what runs; times by the profile."""
    return Cutting(
        options.shapes_on(target),
        profile.published(options.chip, target).of_cores(options.lnc),
        options.cores or 1,
        timed=target == "neuron",
        profile=profile.chip(options.chip, target).of_cores(options.lnc),
    )


def make_tilings(
    gemm: Gemm, scheme: Scheme, cutting: Cutting | Chip, slices: int | None = None
) -> tuple[Tiling, ...]:
    """Tilings of the products that a scheme makes of one product, by default for its least slices.

    Of a chip alone those that suit the product best.
    """
    cut = Cutting("fine", cutting) if isinstance(cutting, Chip) else cutting
    if gemm.stays or any(gemm.held):  # of what lies in one memory
        cut = replace(cut, cores=1)
    slices = slices or scheme.minimum_slices(gemm.k)
    batch, m, k, n, parts = scheme.call(gemm.batch, gemm.m, gemm.k, gemm.n)
    if slices is not None:
        karatsuba = cut.karatsuba(batch, m, k, n, slices, gemm.structure) if parts == 1 else None
        return (karatsuba,) if karatsuba else cut.products(batch, m, k, n, slices, parts, gemm.structure)
    tf32 = scheme.operand_dtype == "tfloat32"
    size = itemsize(scheme.operand_dtype)
    if scheme.complex or scheme.terms > 1:
        in_c_order = (True, False)  # as precision makes reals of complex, and terms of one operand
        return (cut.gemm(batch, m, k, n, size, tf32, in_c_order),)
    return tile_structured(gemm.structure, batch, m, k, n, size, tf32, gemm.k_is_fast, cut)


def can_stay(gemm: Gemm, scheme: Scheme, tilings: tuple[Tiling, ...]) -> bool:
    """Whether a product's operands and result may lie on the target: float32, plain, in one launch."""
    plain = gemm.dtype == scheme.operand_dtype == "float32" and scheme.maximum_slices is None
    alone = (gemm.structure, gemm.reads_c, scheme.terms) == ("general", False, 1)
    return plain and alone and len(tilings) == 1 and prod(tilings[0].pieces) == 1


def itemsize(operand_dtype: str) -> int:
    """Bytes of an element as a kernel's operand."""
    return 2 if operand_dtype in ("bfloat16", "float16") else 4


def _affordable(
    scheme: Scheme, k: int, predicted: Callable[[int], Prediction], numpy_seconds: float
) -> int | None:
    """Most digits that NumPy leaves time for; None of a scheme without."""
    least, most = scheme.minimum_slices(k), scheme.maximum_slices
    if least is None or most is None:
        return None
    while most > least and predicted(most).total >= numpy_seconds:
        most -= 1
    return most


def _predict(gemm: Gemm, scheme: Scheme, tilings: tuple[Tiling, ...], cutting: Cutting) -> Prediction:
    """Times of a plan's launches, with the guard product where the data choose the slices."""
    guard, chip = scheme.guard(gemm.batch, gemm.m, gemm.k, gemm.n), cutting.figures
    if can_stay(gemm, scheme, tilings):
        return predict(tilings[0], chip.fp32_passes, chip, gemm.held, gemm.stays)
    if guard is None:
        return _predict_tilings(tilings, scheme, chip)
    least = cutting.least(guard.batch, guard.m, guard.k, guard.n)
    return _predict_tilings(tilings, scheme, chip) + predict(least, 1, chip)


def _predict_tilings(tilings: tuple[Tiling, ...], scheme: Scheme, chip: Chip) -> Prediction:
    """The same without a guard."""
    if scheme.maximum_slices is not None:
        return predict_words(tilings, chip)
    passes = chip.fp32_passes if scheme.operand_dtype == "float32" else 1
    return sum((predict(tiling, passes, chip) for tiling in tilings), start=NO_TIME)


def _predict_blocked(
    request: Solve | Cholesky,
    options: Options,
    block: int,
    direct: int,
    cutting: Cutting | Chip,
    slices: int | None = None,
) -> Prediction:
    """Times of all steps of a solve or a factorisation; of at least so many slices where given."""
    cut = Cutting("fine", cutting) if isinstance(cutting, Chip) else cutting
    each = (
        _predict_step(step, request.dtype, options.precision, direct, cut, slices) * count
        for step, count in steps(request, block, direct)
    )
    return sum(each, start=NO_TIME)


@lru_cache(maxsize=4096)
def _predict_step(
    step: Step, dtype: str, precision: str | float, direct: int, cutting: Cutting, slices: int | None = None
) -> Prediction:
    """Times of a product between blocks, or of one on the diagonal, the host's unless a kernel solves it."""
    if isinstance(step, Update):
        gemm = Gemm(function="", dtype=dtype, m=step.m, k=step.k, n=step.n, structure=step.structure)
        scheme = choose(dtype, precision, step.k)
        least = scheme.minimum_slices(step.k)
        digits = None if least is None else max(least, slices or least)
        return _predict(gemm, scheme, make_tilings(gemm, scheme, cutting, digits), cutting)
    if direct and step.columns:
        chip = cutting.figures
        return predict(cutting.trsm(step.n, step.columns), chip.fp32_passes, chip)
    return Prediction(device=0.0, link=0.0, fixed=host.predicted_seconds(step.work, dtype))
