"""Carry out products, and contractions of several operands step by step.

What a step is and who computes it is `numtrn.plan`'s; this module keeps the list of operands, has kernels
compute their steps and leaves the others to NumPy, and adds up what the steps' promises make of the result's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import prod

import numpy as np

from numtrn.engine import KernelEngine
from numtrn.operands import as_asked, as_gemm
from numtrn.plan import ContractionPlan, Plan
from numtrn.plan.stages import Stage, host_bound
from numtrn.precision import Declined, Product, gemm
from numtrn.request import Array, Operands

__all__ = ["Contracted", "multiply", "run_contraction"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Contracted:
    """A computed contraction, and how it was come by.

    Attributes
    ----------
    value
        The result, with its axes in the order of the output term.
    slices, bound, note
        As of a `numtrn.precision.Product`; the bound is in units of u |A||B||C|...
    underflow
        Absolute, to be added to the bound.
    host_work
        Multiply-adds of the steps that NumPy computed.
    """

    value: Array
    slices: int | None
    bound: float
    underflow: float
    note: str
    host_work: int


def multiply(plan: Plan, operands: Operands, engine: KernelEngine, *, silent: bool = True) -> Product:
    """The product (batch, m, n) of a plan; `numtrn.operands.as_asked` makes of it what was asked.

    Unless it is to be ``silent``, NaN and Inf warn as the caller's settings of `numpy.errstate` say.
    """
    with np.errstate(all="ignore"):  # the caller's settings are for NumPy's own arithmetic
        a, b = as_gemm(plan, operands)
    if plan.folding is not None:
        engine.copied += plan.folding.copied
    with np.errstate(all="ignore") if silent else nullcontext():
        return gemm(plan.scheme, a, b, engine, structure=plan.gemm.structure)


def run_contraction(plan: ContractionPlan, operands: Operands, engine: KernelEngine) -> Contracted:
    """Contract the operands in the order of the plan.

    Raises
    ------
    Declined
        When the data let no step be a kernel's, are not finite, or over- or underflow on the way.
    """
    if not all(np.isfinite(array).all() for array in operands.inputs):
        raise Declined("NaN or Inf: what becomes of them is for the order in which NumPy multiplies")
    work = _Work(plan=plan, engine=engine)
    left = [_Term(array.astype(plan.request.dtype, copy=False)) for array in operands.inputs]
    for step in plan.stages:
        taken = [left[place] for place in step.places]
        for place in sorted(step.places, reverse=True):
            del left[place]
        left.append(work.contract(step, taken))
        taken.clear()
    if not work.by_kernels:
        raise Declined(f"no step for a kernel: {work.declined}")
    result = left[0]
    if not np.isfinite(result.value).all():
        raise Declined("the result overflows, or an intermediate one: NumPy multiplies in its own order")
    limits = np.finfo(plan.request.dtype)
    if result.faded > max(float(limits.tiny), float(limits.eps) / 2 * _largest(result.value)):
        raise Declined("an intermediate result underflows: NumPy multiplies in its own order")
    return Contracted(
        value=result.value,
        slices=work.slices,
        bound=result.bound,
        underflow=result.lost,
        note="; ".join(work.notes),
        host_work=work.host_work,
    )


@dataclass(frozen=True, slots=True)
class _Term:
    """An operand or an intermediate result: off by at most bound u times its terms' sizes, and lost.

    Beside that, ``faded`` is what underflow of the dtype itself may have taken from any of its elements.
    """

    value: Array
    bound: float = 0.0
    lost: float = 0.0
    faded: float = 0.0

    @property
    def largest(self) -> float:
        """Its largest element, for what may vanish."""
        return _largest(self.value) + self.lost


def _largest(value: Array) -> float:
    """Size of the largest element; of real ones without an array of sizes."""
    if value.dtype.kind == "c":
        return float(np.abs(value).max(initial=0.0))
    return max(float(value.max(initial=0.0)), -float(value.min(initial=0.0)))


@dataclass(slots=True)
class _Work:
    """Computes steps, and keeps the account."""

    plan: ContractionPlan
    engine: KernelEngine
    slices: int | None = None
    by_kernels: int = 0
    host_work: int = 0
    declined: str = ""
    notes: list[str] = field(default_factory=list)

    def contract(self, step: Stage, taken: Sequence[_Term]) -> _Term:
        """The result of one step."""
        operands = Operands(inputs=tuple(term.value for term in taken))
        if step.plan is not None:
            try:
                computed = multiply(step.plan, operands, self.engine)
                value = as_asked(step.plan, computed.value, operands)
                bound = computed.bound + step.plan.own_bound
                vanished = (
                    computed.underflow * prod(term.largest for term in taken) if computed.underflow else 0.0
                )
                self.by_kernels += 1
                if computed.slices is not None:
                    self.slices = max(self.slices or 0, computed.slices)
                return self._after(step, taken, value, bound, vanished)
            except Declined as declined:
                self.declined = declined.reason
                self.notes.append(f"{step.request.subscripts} by NumPy: {declined.reason}")
        self.host_work += step.work
        value = np.einsum(step.request.subscripts, *operands.inputs, optimize=True, order="C")
        return self._after(step, taken, value, host_bound(step.request, self.plan.scheme), 0.0)

    def _after(
        self, step: Stage, taken: Sequence[_Term], value: Array, bound: float, vanished: float
    ) -> _Term:
        """The result with what its own operands' errors, and their products, add to it."""
        unit = self.plan.scheme.unit
        factor = (1 + bound * unit) * prod(1 + term.bound * unit for term in taken)
        first_order = bound + sum(term.bound for term in taken)
        total = first_order + max(0.0, (factor - 1) / unit - first_order)
        terms = _terms(step)
        lost, faded = vanished, terms * float(np.finfo(value.dtype).smallest_subnormal)
        if any(term.lost or term.faded for term in taken):
            sizes = [term.largest for term in taken]
            for place, term in enumerate(taken):
                others = terms * prod(sizes[:place] + sizes[place + 1 :])
                lost += others * term.lost
                faded += others * term.faded
        return _Term(value, total, lost, faded)


def _terms(step: Stage) -> int:
    """Products that are added to one element of a step's result."""
    inputs, output = step.request.subscripts.split("->")
    summed = set(inputs) - set(output) - {","}
    return prod(step.request.extents[label] for label in summed)
