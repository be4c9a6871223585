"""Which targets are not to be tried again in this process, and why; and which programs."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from numtrn.errors import KernelError
from numtrn.targets.failures import UNRECOVERABLE

__all__ = ["forget", "note", "refused", "standing"]

_lock = threading.Lock()
_gone: dict[str, KernelError] = {}
_programs: dict[tuple[str, Hashable], KernelError] = {}


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


def forget() -> None:
    """Try everything again: for tests, and after a repair in the same process."""
    with _lock:
        _gone.clear()
        _programs.clear()
