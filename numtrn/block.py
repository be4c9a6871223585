"""The open block of the running context: its options, target and session.

A ContextVar holds it, so that threads and tasks each see their own; a block that has been closed counts
as none, which a task that was created inside it may otherwise still hold. Entering and leaving belong to
`numtrn.api`; nothing here installs or decides anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from numtrn.options import Options
from numtrn.residency import Shelf
from numtrn.session import Session
from numtrn.targets.base import Target

__all__ = ["OpenBlock", "current", "resumed", "suspended", "variable"]


@dataclass(slots=True, eq=False)
class OpenBlock:
    """One entered ``with numtrn.enabled()`` block."""

    options: Options
    target: Target
    session: Session
    min_work: float
    """Multiply-adds below which no call is looked at."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """What a probe of the target speaks against; see `numtrn.verdict.refusals`."""
    parent: OpenBlock | None = None
    gate: Any = None
    """What `numtrn.intercept.leave` needs."""
    thread: int = field(default_factory=threading.get_ident)
    """Who entered it; a context that was copied into another thread does not bring it there."""
    lent: Shelf | None = None
    """Operands of plain arrays on the target, where the block is to keep them."""
    alive: bool = True


variable: ContextVar[OpenBlock | None] = ContextVar("numtrn_block", default=None)


def current() -> OpenBlock | None:
    """The innermost block open in this context that this thread has entered, or None."""
    block, here = variable.get(), threading.get_ident()
    while block is not None and not (block.alive and block.thread == here):
        block = block.parent
    return block


@contextmanager
def suspended() -> Iterator[None]:
    """Run NumPy's own code: no call inside is caught."""
    before = variable.get()
    try:
        variable.set(None)
        yield
    finally:
        variable.set(before)


@contextmanager
def resumed(block: OpenBlock | None) -> Iterator[None]:
    """Have this thread go on in a block that another one has open, and waits; its own comes first."""
    if block is None or not block.alive or current() is not None:
        yield
        return
    before = variable.get()
    try:
        variable.set(replace(block, thread=threading.get_ident()))
        yield
    finally:
        variable.set(before)
