"""What stands in for the C extension where that was not built: the gate's state, without any thunk.

Einsum, which is caught in Python, needs no more than this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["call_busy", "count_small", "is_asking", "set_callbacks", "set_open", "small", "thunks"]


class _Gate(threading.local):
    open = 0
    busy = False
    small = 0
    small_work = 0.0


_gate = _Gate()


def thunks() -> list[str]:
    """None."""
    return []


def set_callbacks(ask: Callable[[int, float, bytes], int], timed: Callable[[float], None]) -> None:
    """Nothing will call these."""


def set_open(blocks: int, min_work: float) -> None:
    """Open blocks of this thread; their least work is looked at in Python."""
    _gate.open = blocks


def call_busy(function: Callable[[Any, Any], Any], first: Any, second: Any) -> Any:
    """Call a function of two arguments with this thread marked busy."""
    before = _gate.busy
    try:
        _gate.busy = True
        return function(first, second)
    finally:
        _gate.busy = before


def is_asking() -> bool:
    """Whether this thread is in a block and not busy."""
    return _gate.open > 0 and not _gate.busy


def count_small(work: float) -> None:
    """Count a call of so many multiply-adds as small."""
    _gate.small += 1
    _gate.small_work += work


def small() -> tuple[int, float]:
    """Small calls of this thread, and their multiply-adds."""
    return _gate.small, _gate.small_work
