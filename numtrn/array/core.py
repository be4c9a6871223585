"""`Core`: what a numtrn array holds, and the three ways to its memory. No function of NumPy's, no operator.

Values lie in host memory or are recorded (`numtrn.array.record`). Whatever needs them asks in one of three
ways: `Core._values` to read, `Core._writable` to change them in place, `Core._exported` to hand their memory
to somebody else.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from numtrn.array.devices import CPU
from numtrn.array.lazy import Lazy
from numtrn.array.record import Node
from numtrn.array.recording import Step, is_view, viewed
from numtrn.request import Array as HostArray

__all__ = ["Core"]


class Core:
    """Values, or what is recorded in their place, and the device they belong to."""

    __slots__ = ("__weakref__", "_device", "_host", "_lazy", "_owned", "_steps")

    def __init__(self, data: HostArray, device: str = CPU, owned: bool = True) -> None:
        self._host: HostArray | None = data
        self._device = device
        self._owned = owned  # False: the memory is the caller's, too
        self._lazy: Lazy | None = None
        self._steps: tuple[Step, ...] = ()

    def _like(self, data: HostArray, owned: bool = True) -> Core:
        """An array of these values, where this one is."""
        raise NotImplementedError

    def _recorded(self, lazy: Lazy, steps: tuple[Step, ...] = ()) -> Core:
        """An array of what is recorded, where this one is."""
        array = self._like(_NOTHING)
        array._host, array._lazy, array._steps = None, lazy, steps
        return array

    # ---- Memory ----

    def _values(self, why: str) -> HostArray:
        """The values, computed if need be; to be read only."""
        if self._host is None:
            assert self._lazy is not None
            values = self._lazy.value(why)
            for step in self._steps:
                values = viewed(values, step)
            self._host = values
        return self._host

    def _writable(self, why: str) -> HostArray:
        """The values, about to be changed in place."""
        return self._values(why)

    def _exported(self, why: str) -> HostArray:
        """The values, whose memory others will read and write from now on."""
        return self._values(why)

    # ---- What is recorded ----

    def _node(self) -> Node | None:
        """What is recorded; None where there are values."""
        node = self._lazy.node() if self._host is None and self._lazy is not None else None
        for step in self._steps if node is not None else ():
            node = viewed(node, step)
        return node

    def _view(self, step: Step) -> Core:
        """A view of a recorded array, or, where NumPy would make one, a copy."""
        node = self._node()
        if node is None or self._lazy is None:
            return self._like(viewed(self._values("a view"), step), self._owned)
        base = self._lazy.node()
        if base is None or not is_view(base.shape, self._steps, step):
            return self._recorded(Lazy(viewed(node, step)))
        return self._recorded(self._lazy, (*self._steps, step))

    # ---- Shape and type ----

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        node = self._node()
        return self._values("shape").shape if node is None else node.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        node = self._node()
        return self._values("dtype").dtype if node is None else node.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def device(self) -> str:
        """Where the array belongs: ``"cpu"``, ``"interpreter:0"``, ``"simulator:0"`` or ``"neuron:0"``."""
        return self._device


_NOTHING = np.empty(0)
