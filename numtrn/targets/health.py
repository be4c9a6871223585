"""Which targets are not to be tried again in this process, and why; and which programs."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from numtrn.errors import KernelError
from numtrn.targets.failures import UNRECOVERABLE

__all__ = ["TRIES", "forget", "note", "refused", "standing", "strike"]

TRIES = 3
"""Failures of unknown cause after which a program is not tried again."""

_lock = threading.Lock()
_gone: dict[str, KernelError] = {}
_programs: dict[tuple[str, Hashable], KernelError] = {}
_strikes: dict[tuple[str, Hashable], int] = {}


def standing(target: str) -> KernelError | None:
    """Why a target is not tried again, or None while it is."""
    return _gone.get(target)


def refused(target: str, program: Hashable) -> KernelError | None:
    """Why a program is not compiled again, or None."""
    return _programs.get((target, program))


def note(target: str, failure: KernelError, program: Hashable | None = None) -> None:
    """Remember a failure: for the target where it does not recover, for the program that does not compile."""
    with _lock:
        if isinstance(failure, UNRECOVERABLE):
            _gone.setdefault(target, failure)
        elif program is not None:
            _programs.setdefault((target, program), failure)


def strike(target: str, program: Hashable, failure: KernelError) -> None:
    """Count a failure of unknown cause; after `TRIES` of them it is remembered as the program's."""
    with _lock:
        count = _strikes[target, program] = _strikes.get((target, program), 0) + 1
        if count >= TRIES:
            _programs.setdefault((target, program), failure)


def forget() -> None:
    """Try everything again: for tests, and after a repair in the same process."""
    with _lock:
        _gone.clear()
        _programs.clear()
        _strikes.clear()
