"""Loops whose bounds a device would find in registers, and ``no_reorder`` (LANG: one function for each).

They run here as ordinary loops; what makes them differ from Python's is that the loop variable is a
register (H37). Tensors that a body allocates are not tracked beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numtrn.interp.core import running, since
from numtrn.interp.faults import fault
from numtrn.interp.registers import VirtualRegister
from numtrn.interp.rules import int32

__all__ = ["dynamic_range", "fori_loop", "no_reorder", "while_loop"]

Bound = int | VirtualRegister


def _bound(value: Bound, argument: str) -> int:
    return value.read() if isinstance(value, VirtualRegister) else int32(value, argument)


def _steps(lower: Bound, upper: Bound, step: int, name: str) -> range:
    if running().ordered:
        fault("H37", f"{name} does not work inside nl.no_reorder")
    if isinstance(step, VirtualRegister) or int32(step, "step") < 1:
        fault("H37", f"step of {name} is a positive int known when the kernel is built; got {step}")
    return range(_bound(lower, "lower"), _bound(upper, "upper"), step)


def dynamic_range(start: Bound, stop: Bound | None = None, step: int = 1) -> Iterator[VirtualRegister]:
    """Registers from start to stop (deprecated in 0.6.0 for `fori_loop`)."""
    lower, upper = (0, start) if stop is None else (start, stop)
    for value in _steps(lower, upper, step, "nl.dynamic_range"):
        yield VirtualRegister(value, frozen=True)


def fori_loop(lower: Bound, upper: Bound, body_fun: Callable[[VirtualRegister], Any], step: int = 1) -> None:
    """``body_fun(i)`` for every i, which is a register passed by value (0.6.0)."""
    since((0, 6), "nl.fori_loop")
    for value in _steps(lower, upper, step, "nl.fori_loop"):
        returned = body_fun(VirtualRegister(value))
        if returned is not None:
            fault("H37", f"the body of nl.fori_loop returns nothing; got {returned!r}")


def while_loop(init: VirtualRegister, body_fun: Callable[[VirtualRegister], VirtualRegister]) -> None:
    """``r = body_fun(r)`` while r is not zero (0.6.0)."""
    since((0, 6), "nl.while_loop")
    if running().ordered:
        fault("H37", "nl.while_loop does not work inside nl.no_reorder")
    condition = init
    while _condition(condition):
        condition = body_fun(VirtualRegister(condition.read()))


def _condition(register: Any) -> bool:
    if not isinstance(register, VirtualRegister):
        fault("H37", f"the condition of nl.while_loop is a register; got {register!r}")
    return register.read() != 0


@contextmanager
def no_reorder() -> Iterator[None]:
    """Program order, which is what this interpreter keeps anyway."""
    core = running()
    core.ordered += 1
    try:
        yield
    finally:
        core.ordered -= 1
