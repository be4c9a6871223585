"""Carry out a plan: fold the operands, have precision and the engine compute the product, unfold it.

Precision decides what is multiplied (`numtrn.precision`), the engine makes it (`numtrn.engine`); solves,
factorisations (`numtrn.blocked`), contractions (`numtrn.contract`) and pair energies (`numtrn.pairs`) are
many products. Results are computed aside: nothing the caller owns is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from numtrn.blocked import Blocked, run_blocked
from numtrn.contract import Contracted, multiply, run_contraction
from numtrn.engine import KernelEngine
from numtrn.operands import as_asked
from numtrn.pairs import PairSums, run_pairs
from numtrn.plan import AnyPlan, BlockedPlan, ContractionPlan, Mp2Plan, Plan
from numtrn.precision import Product
from numtrn.request import Array, Operands
from numtrn.residency import Held, Matrix, Source
from numtrn.resident import run_resident
from numtrn.targets import Target
from numtrn.targets.programs import Program

__all__ = ["Account", "Kept", "Outcome", "launch", "launch_resident"]


SILENT = ("numpy.einsum", "scipy.linalg.")
"""How the names begin of functions that never warn of NaN and Inf."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """How a call was computed.

    Attributes
    ----------
    launches, bytes
        Kernel launches, and bytes moved there and back.
    slices
        Digit planes used, or None.
    form
        "Karatsuba" where products of digits were saved so, else empty.
    bound
        Promised componentwise error in units of the plan's measure, such as u |A||B|.
    underflow
        Added to it: this times the plan's ``scales``, such as the largest |A| of the row and |B| of the
        column; see `numtrn.precision.records.Product`.
    note
        What the data made of the plan; may be empty.
    host_work
        Multiply-adds of a contraction's steps that NumPy computed.
    copied
        Bytes of operands that the host copied to lay them out for kernels; making words of float64 is none.
    saved
        Bytes of operands that were not moved, because the target had them.
    core_launches
        Launches on each core, from core 0 on.
    programs, compiled
        Distinct programs launched, and how many of them this machine was not known to have compiled.
    """

    launches: int
    bytes: int
    slices: int | None
    form: str
    bound: float
    underflow: float
    note: str
    host_work: int = 0
    copied: int = 0
    saved: int = 0
    core_launches: tuple[int, ...] = ()
    programs: frozenset[Program] = frozenset()
    compiled: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome(Account):
    """A computed call.

    Attributes
    ----------
    value
        The result: C (batch, m, n) with alpha and beta applied, an einsum's result with its axes in the
        order of the output term, a solution or factor, or pair sums. A fresh array, or a view of one.
    errors
        Of pair energies: the bound of each, (nocc, nocc), of direct and exchange alike.
    """

    value: Array
    errors: Array | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept(Account):
    """A computed product that stays on the target; its bytes are those moved so far."""

    held: Held


def launch(
    plan: AnyPlan, operands: Operands, target: Target, engines: list[KernelEngine] | None = None
) -> Outcome:
    """Run a plan on its operands.

    Parameters
    ----------
    plan
        From `numtrn.plan.make_plan`.
    operands
        Arrays of the plan's request; read only.
    target
        Where the kernels run.
    engines
        Gets the engine before it does anything, whose counts are there also when the launch fails.

    Raises
    ------
    numtrn.precision.Declined
        When the data make NumPy the better place.
    KernelError
        When a kernel's result is not of the shape and dtype promised.
    Exception
        Whatever the target raises.
    """
    engine = KernelEngine(target, operands.memories, plan.shapes, plan.cores)
    if engines is not None:
        engines.append(engine)
    if isinstance(plan, BlockedPlan):
        blocked = run_blocked(plan, operands, engine)
        return _outcome(engine, blocked.value, blocked)
    if isinstance(plan, ContractionPlan):
        with np.errstate(all="ignore"):
            contracted = run_contraction(plan, operands, engine)
        return replace(_outcome(engine, contracted.value, contracted), host_work=contracted.host_work)
    if isinstance(plan, Mp2Plan):
        sums = run_pairs(plan, operands, engine)
        return replace(_outcome(engine, sums.value, sums), errors=sums.errors)
    silent = plan.request.function.startswith(SILENT)
    computed = multiply(plan, operands, engine, silent=silent)
    with np.errstate(all="ignore"):
        outcome = _outcome(engine, as_asked(plan, computed.value, operands), computed)
    return replace(outcome, bound=outcome.bound + plan.own_bound)


def launch_resident(
    plan: Plan,
    left: Matrix,
    right: Matrix,
    memories: Sequence[Source],
    target: Target,
    engines: list[KernelEngine] | None = None,
) -> Kept:
    """Run the plan of a product that can stay on the target (see `numtrn.resident`); otherwise as `launch`.

    Raises
    ------
    numtrn.precision.Declined
        When it is to be made the usual way.
    Exception
        Whatever the target raises.
    """
    engine = KernelEngine(target, memories, plan.shapes)
    if engines is not None:
        engines.append(engine)
    held = run_resident(plan, left, right, engine)
    return Kept(
        held=held,
        launches=engine.launches,
        bytes=engine.bytes,
        slices=None,
        form="",
        bound=plan.bound,
        underflow=0.0,
        note="the result stays on the target",
        copied=engine.copied,
        saved=engine.saved,
        core_launches=engine.core_launches,
        programs=frozenset(engine.programs),
        compiled=engine.compiled,
    )


def _outcome(
    engine: KernelEngine, value: Array, computed: Product | Blocked | Contracted | PairSums
) -> Outcome:
    return Outcome(
        value=value,
        launches=engine.launches,
        bytes=engine.bytes,
        slices=computed.slices,
        form=engine.form,
        bound=computed.bound,
        underflow=computed.underflow,
        note=computed.note,
        copied=engine.copied,
        saved=engine.saved,
        core_launches=engine.core_launches,
        programs=frozenset(engine.programs),
        compiled=engine.compiled,
    )
