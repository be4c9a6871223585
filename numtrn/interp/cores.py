"""Two cores that run one kernel: where they meet, and what they share.

Each core runs in a thread of its own with memories of its own. Allocations in shared HBM are matched in
order; what the other core wrote there counts as written only after a ``core_barrier`` (H38).
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numtrn.interp.dtypes import Array
from numtrn.interp.faults import fault
from numtrn.interp.races import Accesses, Notes, check

__all__ = ["Pair"]


def _name(key: tuple[object, ...]) -> object:
    """What messages call a point where cores meet."""
    return next(part for part in key if part != "after")


class Pair:
    """Two cores.

    Attributes
    ----------
    size
        2.
    """

    size = 2

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._brought: list[dict[object, list[Any]]] = [{}, {}]
        self._gone = [False, False]
        self._waiting: list[tuple[object, ...] | None] = [None, None]
        self._memory: list[tuple[int, str, Array]] = []
        self._taken = [0, 0]
        self._notes = (Notes(), Notes())

    def note(self, rank: int, writes: Sequence[Any], reads: Sequence[Any]) -> None:
        """Remember what an instruction of a core touches in shared HBM."""
        self._notes[rank].note(writes, reads)

    def accesses(self, rank: int, raw: Array) -> Accesses:
        """What a core did to a tensor since the last barrier, which is forgotten."""
        return self._notes[rank].take(raw)

    def finish(self) -> None:
        """Look for races after the last barriers, once both cores are done (H38)."""
        first, second = (notes.rest() for notes in self._notes)
        self._notes = (Notes(), Notes())  # they hold tensors, which hold their core, which holds this
        for tensor in first.keys() & second.keys():
            check(first[tensor], second[tensor])

    def meet(self, rank: int, key: tuple[object, ...], payload: Any) -> Any:
        """Bring something to a point and take what the other core brought there."""
        other = 1 - rank
        with self._changed:
            self._brought[rank].setdefault(key, []).append(payload)
            self._changed.notify_all()
            while not self._brought[other].get(key):
                there = self._waiting[other]
                apart = there is not None and there != key and not self._brought[rank].get(there)
                if self._gone[other] or apart:
                    fault("H38", f"core {rank} waits at {_name(key)}; core {other} never comes there")
                self._waiting[rank] = key
                self._changed.wait()
            self._waiting[rank] = None
            return self._brought[other][key].pop(0)

    def shared(self, rank: int, size: int, carrier: Any, where: str, dry: bool) -> Array:
        """Memory for the next allocation of a core in shared HBM."""
        with self._changed:
            at = self._taken[rank]
            self._taken[rank] += 1
            if at == len(self._memory):
                self._memory.append((size, where, np.empty(0 if dry else size, carrier)))
            have, label, memory = self._memory[at]
            if have != size or memory.dtype != carrier:
                fault("H38", f"both cores make the same tensors in shared HBM; got {label} and {where}")
            return memory

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        """Results of ``work(0)`` and ``work(1)``, or the first error."""
        results: list[Any] = [None, None]
        errors: list[tuple[int, BaseException]] = []

        def one(rank: int) -> None:
            try:
                results[rank] = work(rank)
            except BaseException as error:
                errors.append((rank, error))
            finally:
                with self._changed:
                    self._gone[rank] = True
                    self._changed.notify_all()

        contexts = [contextvars.copy_context() for _ in range(self.size)]
        threads = [
            threading.Thread(target=contexts[rank].run, args=(one, rank), name=f"core {rank}")
            for rank in range(self.size)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0][1]
        return results
