"""The spine: a request and its arrays come in; a result computed by kernels, or None for NumPy, goes out.

Every call leaves a record in the session of its block, whatever becomes of it.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from numtrn.block import OpenBlock, current
from numtrn.engine import KernelEngine
from numtrn.errors import KernelError, KernelFallbackWarning, ResourceExhaustedError
from numtrn.launch import Account, Kept, Outcome, launch, launch_resident
from numtrn.plan import AnyPlan, ContractionPlan, Mp2Plan, Plan, Refusal, can_stay, make_plan
from numtrn.precision import Declined
from numtrn.request import Array, Gemm, Operands, Request, Routine
from numtrn.residency import Borrowed, Held, Matrix, Memory, release
from numtrn.session import Call
from numtrn.targets import health
from numtrn.verify import verify

__all__ = ["Computed", "account_in", "announce", "attempt_in", "keep_in", "offer", "offer_in", "refuse_in"]

NOT_THE_USERS = ("numtrn", "numpy", "scipy", "pyscf", "torch")
"""Packages whose frames lie between the user's line and ours."""


T = TypeVar("T", bound=Account)


class Computed(NamedTuple):
    """A call that kernels computed."""

    plan: AnyPlan
    outcome: Outcome


_warned: set[tuple[str, str]] = set()
_warned_lock = threading.Lock()


def offer(request: Request, operands: Operands) -> Array | None:
    """Have kernels compute a call, if the open block's plan says so.

    Parameters
    ----------
    request
        What is asked.
    operands
        Its arrays, which are only read.

    Returns
    -------
    ndarray or None
        The result (see `numtrn.launch.Outcome.value`); None when NumPy is to compute the call: no block
        is open, the plan refused, the data declined, or the kernel failed (with a warning, once for
        each cause).

    Raises
    ------
    KernelError
        When the kernel failed and the block is strict.
    VerificationError
        When the block verifies and the result is outside the promised bound.
    """
    block = current()
    return None if block is None else offer_in(block, request, operands)


def offer_in(block: OpenBlock, request: Request, operands: Operands) -> Array | None:
    """The same for a given block. That nothing is caught meanwhile is the caller's affair."""
    computed = attempt_in(block, request, operands)
    return None if computed is None else computed.outcome.value


def attempt_in(block: OpenBlock, request: Request, operands: Operands) -> Computed | None:
    """The same, with the plan and all that came of it."""
    plan = _planned(block, request)
    return None if plan is None else _run(block, plan, operands)


def keep_in(
    block: OpenBlock, request: Gemm, left: Matrix, right: Matrix, memories: tuple[Memory, ...] = ()
) -> Held | Array | None:
    """The product of two matrices, which stays on the target where it can.

    Parameters
    ----------
    block
        As of `offer_in`, and what that raises.
    request
        What is asked.
    left, right
        Its operands; those that a target holds are brought to the host where they are needed there.
    memories
        Of operands that are numtrn arrays.

    Returns
    -------
    Held, ndarray or None
        A result on the target, one on the host, or None when NumPy is to compute the call.
    """
    plan = _planned(block, request)
    if plan is None:
        return None
    if isinstance(plan, Plan) and _stays(plan) and not block.options.verify:
        try:
            done = _tried(block, plan, partial(launch_resident, plan, left, right, memories, block.target))
        except Declined:
            pass
        else:
            return None if done is None else _accounted(block, *done)
    computed = _run(block, plan, Operands(inputs=(left.values(), right.values()), memories=memories))
    return None if computed is None else computed.outcome.value


def _planned(block: OpenBlock, request: Request) -> AnyPlan | None:
    """The plan of a call; None, and a record, where it is NumPy's.

    Raises
    ------
    KernelError
        When the target has failed for good and the block is strict.
    """
    plan = make_plan(request, block.options, block.target.name, block.refusals)
    if isinstance(plan, Refusal):
        _record(block, request, reason=plan.reason, work=plan.work)
        return None
    gone = health.standing(block.target.name)
    if gone is None:
        return plan
    reason = f"target {block.target.name} is not tried again in this process: {gone}"
    _record(block, request, reason=reason, work=_work(plan), failed=block.options.strict)
    if block.options.strict:
        raise type(gone)(f"{request.function}: {reason}") from gone
    return None


def announce(target: str, strict: bool) -> None:
    """Say at the start of a block that its target has failed for good in this process, if it has.

    Raises
    ------
    KernelError
        Of the failure's type, when the block is strict.
    """
    gone = health.standing(target)
    if gone is None:
        return
    text = f"target {target} is not tried again in this process: {gone}"
    if strict:
        raise type(gone)(text) from gone
    warnings.warn(
        f"{text}. NumPy computes what this block catches", KernelFallbackWarning, stacklevel=_users_level()
    )


def _stays(plan: Plan) -> bool:
    return plan.gemm.stays and can_stay(plan.gemm, plan.scheme, plan.tilings)


def _accounted(block: OpenBlock, kept: Kept, call: Call) -> Held:
    """A result on the target, whose way to the host will be counted with the call that made it."""
    lock = threading.Lock()

    def moved(count: int) -> None:  # once for each copy
        nonlocal call
        with lock:
            call = block.session.amend(call, bytes=call.bytes + count)

    kept.held.moved = moved
    return kept.held


def account_in(block: OpenBlock, plan: AnyPlan, compute: Callable[[], T]) -> T | None:
    """A call that others than `numtrn.launch` carry out, with the same record, warnings and errors."""
    done = _tried(block, plan, lambda engines: compute())
    return None if done is None else done.account


def refuse_in(block: OpenBlock, request: Request, reason: str) -> None:
    """Record that NumPy computes a request, and why."""
    _record(block, request, reason=reason)


def _run(block: OpenBlock, plan: AnyPlan, operands: Operands) -> Computed | None:
    operands = replace(operands, memories=(*operands.memories, *_borrowed(block, operands)))
    engines: list[KernelEngine] = []
    try:
        done = _tried(block, plan, partial(launch, plan, operands, block.target), engines)
    except Declined as declined:
        _record(block, plan.request, reason=declined.reason, work=_work(plan), moved=_moved(engines))
        return None
    if done is None:
        return None
    if block.options.verify:
        verify(plan, operands, done.account)
    return Computed(plan, done.account)


def _borrowed(block: OpenBlock, operands: Operands) -> tuple[Borrowed, ...]:
    """The operands of which the block keeps pieces on the target, known by their contents."""
    if block.lent is None:
        return ()
    return tuple(Borrowed(x, block.lent) for x in operands.inputs if x.size)


class _Done(NamedTuple, Generic[T]):
    """What was computed, and its record."""

    account: T
    call: Call


def _tried(
    block: OpenBlock,
    plan: AnyPlan,
    compute: Callable[[list[KernelEngine]], T],
    engines: list[KernelEngine] | None = None,
) -> _Done[T] | None:
    """A call by kernels, recorded; None where they failed, which is recorded too, and warned of or raised.

    ``compute`` adds the engine of each try to the list that it is given.
    """
    engines = [] if engines is None else engines
    start = time.perf_counter()
    try:
        account, freed = _with_room(block, partial(compute, engines))
    except Declined:
        raise
    except Exception as cause:
        _fail(block, plan, cause, _moved(engines))
        return None
    except BaseException as cause:
        reason = f"ended by {type(cause).__name__}"
        _record(block, plan.request, reason=reason, work=_work(plan), failed=True, moved=_moved(engines))
        raise
    seconds = time.perf_counter() - start
    reason = "; ".join(filter(None, (plan.reason, account.note, freed)))
    vain = _moved(engines[:-1])
    call = _record(
        block, plan.request, reason=reason, plan=plan, outcome=account, seconds=seconds, moved=vain
    )
    return _Done(account, call)


def _moved(engines: Sequence[KernelEngine]) -> int:
    """Bytes that launches moved."""
    return sum(engine.bytes for engine in engines)


def _with_room(block: OpenBlock, compute: Callable[[], T]) -> tuple[T, str]:
    """What was computed, at a second try where the device's memory did not suffice for the first; a note."""
    try:
        return compute(), ""
    except ResourceExhaustedError:
        pass  # the error holds on to what the launch had on the device, so it must be gone before
    freed = release(block.target.name) + (block.lent.empty() if block.lent is not None else 0)
    gc.collect()
    return compute(), f"{freed / 1e6:,.1f} MB of kept operands were dropped for room"


def _fail(block: OpenBlock, plan: AnyPlan, cause: Exception, moved: int) -> None:
    """Record a failed kernel; raise under strict, otherwise warn once for each cause."""
    what = f"kernel {plan.kernel} failed on {block.target.name}: {type(cause).__name__}: {cause}"
    _record(block, plan.request, reason=f"failed: {what}", work=_work(plan), failed=True, moved=moved)
    if block.options.strict:
        raise (type(cause) if isinstance(cause, KernelError) else KernelError)(
            f"{plan.request.function}: {what}. Without strict=True NumPy computes it"
        ) from cause
    key = (plan.kernel, f"{type(cause).__name__}: {cause}")
    with _warned_lock:
        known = key in _warned
        _warned.add(key)
    if not known:
        warnings.warn(
            f"{plan.request.function}: {what}. NumPy computed the call; this cause is not reported again",
            KernelFallbackWarning,
            stacklevel=_users_level(),
        )


def _record(
    block: OpenBlock,
    request: Request,
    *,
    reason: str,
    plan: AnyPlan | None = None,
    outcome: Account | None = None,
    seconds: float | None = None,
    work: int | None = None,
    failed: bool = False,
    moved: int = 0,
) -> Call:
    """Put a call into the session, with the bytes that launches in vain moved before its own."""
    call = Call(
        function=request.function,
        shapes=request.shapes,
        dtype=request.dtype,
        route="numpy",
        reason=reason,
        work=request.work if work is None else work,
        contraction=not isinstance(request, Routine) or request.contraction,
        target=block.target.name,
        chip=block.target.chip.name,
        failed=failed,
        bytes=moved,
    )
    if plan is not None and outcome is not None:
        call = call.by_kernel(
            kernel=plan.kernel,
            scheme=", ".join(filter(None, (plan.scheme.name, outcome.form))),
            seconds=seconds,
            bytes=moved + outcome.bytes,
            launches=outcome.launches,
            slices=outcome.slices,
            bound=_bound(plan, outcome),
            host_work=outcome.host_work,
            copied=outcome.copied,
            saved=outcome.saved,
            core_launches=outcome.core_launches,
            programs=outcome.programs,
            cold=outcome.compiled,
            work=_work(plan),
        )
    block.session.record(call)
    return call


def _work(plan: AnyPlan) -> int:
    """Multiply-adds of a call, whoever computes it in the end."""
    return plan.work if isinstance(plan, ContractionPlan) else plan.request.work


def _bound(plan: AnyPlan, outcome: Account) -> str:
    """The promise of a call in words."""
    if isinstance(plan, Mp2Plan):
        return f"{outcome.bound:.2g} {plan.measure}, of all pairs together"
    text = f"{outcome.bound:g} {plan.scheme.unit_text} {plan.measure}"
    return f"{text} + {outcome.underflow:.2g} {plan.scales}" if outcome.underflow else text


def _users_level() -> int:
    """Stack level, as `warnings.warn` counts it from the caller, of the user's own frame."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in NOT_THE_USERS:
        frame = frame.f_back
        level += 1
    return level
