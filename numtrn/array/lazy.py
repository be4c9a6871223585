"""What an array and its views share until values are there: recorded, or on a target. It decides nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from numtrn.array.evaluation import materialise
from numtrn.array.record import Node, Shape
from numtrn.array.recording import Permute, Step
from numtrn.block import current
from numtrn.request import Array as HostArray
from numtrn.residency import Held, Memory

__all__ = ["Lazy", "OnTarget"]


class Lazy:
    """What a recorded array and its views share: a node, and from the first need on values in its place.

    Attributes
    ----------
    memory
        That of the values, once they are there.
    """

    def __init__(self, node: Node | None) -> None:
        self._lock = threading.Lock()
        self._node: Node | None = node
        self._value: HostArray | None = None
        self.memory: Memory | None = None

    def node(self) -> Node | None:
        """What is recorded; None once it has been computed."""
        return self._node

    def value(self, why: str) -> HostArray:
        """The values, computed now if they are not there; the same memory each time."""
        with self._lock:
            if self._value is None:
                self._value = self._computed(why)
                self.memory = self._remembered(self._value)
                self._node = None
            return self._value

    def _computed(self, why: str) -> HostArray:
        assert self._node is not None
        return materialise(self._node, why, current())

    def _remembered(self, value: HostArray) -> Memory:
        return Memory(value, owned=True)

    def rebind(self, node: Node) -> bool:
        """Have other contents, after an update in place; False where there are values, which must change."""
        with self._lock:
            if self._value is None:
                self._node = node
            return self._value is None


class OnTarget(Lazy):
    """The same for a result that a target holds.

    Attributes
    ----------
    held
        The result.
    shape
        The array's, with as many elements in the same order.
    """

    def __init__(self, held: Held, shape: Shape) -> None:
        super().__init__(None)
        self.held = held
        self.shape = shape

    @property
    def is_away(self) -> bool:
        """Whether the host has no values yet, which might have been changed since."""
        return self._value is None

    def stand_in(self, steps: Sequence[Step]) -> HostArray:
        """An array without memory of the shape that it has after some steps."""
        shape = self.shape
        for step in steps:
            shape = tuple(shape[axis] for axis in step.axes) if isinstance(step, Permute) else step.shape
        return np.broadcast_to(np.float32(0), shape)

    def _computed(self, why: str) -> HostArray:
        return self.held.host().reshape(self.shape)

    def _remembered(self, value: HostArray) -> Memory:
        memory = super()._remembered(value)
        self.held.remain(memory)
        return memory
