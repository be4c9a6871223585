"""What a target compiles: programs, and the record of those that this machine has compiled before.

A program is a kernel with its compile-time parameters and the shapes and types of its operands. The record
tells a first launch, which compiles for minutes, from a warm one; whether the compiler's own cache still has
the program it cannot know. Nothing is compiled here.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from numtrn import cache as store
from numtrn.errors import CacheWarning
from numtrn.targets import detect
from numtrn.targets.base import Program, Target
from numtrn.targets.load import sources_hash

__all__ = ["Program", "Record", "compiles", "record_of"]

NAME = "programs.json"
MOST = 2000
"""Programs of one SDK, chip and set of kernels in the record; the oldest beyond that are forgotten."""
SETS = 4
"""Of those the newest that are kept."""


def compiles(target: Target) -> bool:
    """Whether a first launch compiles for a device."""
    return target.name == "neuron"


@dataclass(slots=True, eq=False)
class Record:
    """Programs known to be compiled, of one SDK, chip, cores of a launch and set of kernels.

    Attributes
    ----------
    key
        Names those; empty where nothing is compiled, and then nothing is recorded.
    """

    key: str
    _known: dict[str, None] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.key:
            self._known.update(dict.fromkeys(_read().get(self.key, ())))

    def __contains__(self, program: Program) -> bool:
        return str(program) in self._known

    def add(self, program: Program) -> bool:
        """Note that a program is compiled now; gives whether it is new."""
        if not self.key or program in self:
            return False
        with self._lock, store.locked(NAME):
            self._known[str(program)] = None
            kept = _read()
            merged = dict.fromkeys([*kept.pop(self.key, ()), *self._known])
            kept[self.key] = list(merged)[-MOST:]
            store.write(NAME, dict(list(kept.items())[-SETS:]))
        return True


def record_of(target: Target) -> Record:
    """The record of a target, read once a process."""
    if not compiles(target):
        return NOTHING
    sdk = detect.package("nki").version or "unknown"
    chip = target.chip.name if target.chip.lnc == 1 else f"{target.chip.name} LNC {target.chip.lnc}"
    return _record(store.location(NAME), f"nki {sdk}", chip, sources_hash())


@cache
def _record(_: str, *subject: str) -> Record:
    return Record(hashlib.sha256(" ".join(subject).encode()).hexdigest())


NOTHING = Record("")


def _read() -> dict[str, list[str]]:
    """What is kept, by SDK, chip and kernels; of a record of another form nothing, with a warning."""
    body, _ = store.read(NAME)
    if body is None:
        return {}
    if isinstance(body, dict) and all(_is_list(programs) for programs in body.values()):
        return body
    warnings.warn(
        f"{store.location(NAME)} is no record of programs and is not used; the next one replaces it",
        CacheWarning,
        stacklevel=2,
    )
    return {}


def _is_list(programs: Any) -> bool:
    return isinstance(programs, list) and all(isinstance(program, str) for program in programs)
