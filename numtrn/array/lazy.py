"""`Lazy`: what a recorded array and its views share until its values are there. It decides nothing."""

from __future__ import annotations

import threading

from numtrn.array.evaluation import materialise
from numtrn.array.record import Node
from numtrn.block import current
from numtrn.request import Array as HostArray

__all__ = ["Lazy"]


class Lazy:
    """What a recorded array and its views share: a node, and from the first need on values in its place."""

    def __init__(self, node: Node) -> None:
        self._lock = threading.Lock()
        self._node: Node | None = node
        self._value: HostArray | None = None

    def node(self) -> Node | None:
        """What is recorded; None once it has been computed."""
        return self._node

    def value(self, why: str) -> HostArray:
        """The values, computed now if they are not there; the same memory each time."""
        with self._lock:
            if self._value is None:
                assert self._node is not None
                self._value = materialise(self._node, why, current())
                self._node = None
            return self._value

    def rebind(self, node: Node) -> bool:
        """Have other contents, after an update in place; False where there are values, which must change."""
        with self._lock:
            if self._value is None:
                self._node = node
            return self._value is None
