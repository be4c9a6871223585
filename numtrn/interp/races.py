"""Races of two cores on shared HBM: what one writes and the other touches, no ``core_barrier`` between (H38).

Only which elements are touched is compared, never when: the two cores of a device run at their own pace.
A barrier orders accesses to its own tensor (``nki/api/nki/isa/__init__.py``: core_barrier, in
``aws-neuron/aws-neuron-sdk`` at 81ce03ae). That it blocks one engine only is not modelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numtrn.interp.dtypes import Array
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import hazard, kernel_line
from numtrn.interp.tensor import IndirectTensor, NkiTensor

__all__ = ["Accesses", "Notes", "check"]


@dataclass(frozen=True, slots=True)
class Access:
    """A window of shared HBM, and the line of the kernel that first touched it."""

    window: NkiTensor
    where: str


@dataclass
class Accesses:
    """What a core did to one tensor since the last barrier, each window once."""

    reads: dict[object, Access] = field(default_factory=dict)
    writes: dict[object, Access] = field(default_factory=dict)


class Notes:
    """What a core did to every tensor in shared HBM."""

    def __init__(self) -> None:
        self._tensors: dict[int, Accesses] = {}

    def note(self, writes: Iterable[Any], reads: Iterable[Any]) -> None:
        """Remember the tensor operands of an instruction."""
        for operand in writes:
            self._add(operand, written=True)
        for operand in reads:
            self._add(operand, written=False)

    def take(self, raw: Array) -> Accesses:
        """What was done to a tensor, which is forgotten."""
        return self._tensors.pop(id(raw), Accesses())

    def rest(self) -> dict[int, Accesses]:
        """What was done to tensors that no barrier followed."""
        return self._tensors

    def _add(self, operand: NkiTensor, written: bool) -> None:
        if operand.buffer is not MemoryRegion.shared_hbm:
            return
        mine = self._tensors.setdefault(id(operand.storage.raw), Accesses())
        known = mine.writes if written else mine.reads
        for window in _windows(operand):
            key = (window.offset, window.shape, window.strides, window.kind.bytes)
            if key not in known:
                known[key] = Access(window, kernel_line())


def _windows(operand: NkiTensor) -> list[NkiTensor]:
    """The places that an operand means now; none if they depend on data that a dry run has not."""
    if not isinstance(operand, IndirectTensor):
        return [operand]
    if operand.storage.core.dry:
        return []
    places = [operand.place()] if operand.vector is None else [row for _, row in operand.rows()]
    return [place for place in places if place is not None]


def check(first: Accesses, second: Accesses) -> None:
    """Refuse races between core 0 and core 1 (H38)."""
    for one, other, words in (
        (first.writes, second.writes, ("writes", "writes")),
        (first.writes, second.reads, ("writes", "reads")),
        (first.reads, second.writes, ("reads", "writes")),
    ):
        for mine, theirs in _pairs(one, other):
            there = "there too" if mine.where == theirs.where else f"at {theirs.where}"
            hazard(
                "H38",
                f"what one core writes, the other touches only after a core_barrier; core 0 {words[0]}"
                f" {mine.window} and core 1 {words[1]} some of it {there}",
                mine.where,
            )


def _pairs(one: dict[object, Access], other: dict[object, Access]) -> Iterator[tuple[Access, Access]]:
    """Accesses that share an element."""
    if not one or not other:
        return
    theirs = list(other.values())
    boxes = np.array([_box(access.window) for access in theirs])
    for mine in one.values():
        first, last, low, high = _box(mine.window)
        near = (boxes[:, 0] < last) & (boxes[:, 1] > first) & (boxes[:, 2] < high) & (boxes[:, 3] > low)
        for at in np.flatnonzero(near):
            if np.shares_memory(mine.window.array, theirs[at].window.array):
                yield mine, theirs[at]


def _box(window: NkiTensor) -> tuple[int, int, int, int]:
    """Rows of the allocation, and bytes of a row, that a window lies in."""
    size, row = window.kind.bytes, window.storage.row * window.storage.kind.bytes
    start = window.offset * size
    inner, outer = size, 0
    for count, stride in zip(window.shape, window.strides, strict=True):
        if stride * size % row:
            inner += (count - 1) * stride * size
        else:
            outer += (count - 1) * stride * size
    first, low = divmod(start, row)
    if low + inner > row:
        return first, (start + outer + inner - 1) // row + 1, 0, row
    return first, first + outer // row + 1, low, low + inner
