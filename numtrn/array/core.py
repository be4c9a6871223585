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
from numtrn.array.lazy import Lazy, OnTarget
from numtrn.array.record import Node
from numtrn.array.recording import Step, is_view, viewed
from numtrn.request import Array as HostArray
from numtrn.residency import Memory

__all__ = ["Core"]


class Core:
    """Values, or what is recorded in their place, and the device they belong to."""

    __slots__ = ("__weakref__", "_device", "_host", "_lazy", "_memory", "_steps")

    def __init__(
        self, data: HostArray, device: str = CPU, owned: bool = True, memory: Memory | None = None
    ) -> None:
        self._host: HostArray | None = data
        self._device = device
        # Not owned: it is the caller's, too. A view shares the memory of its base.
        self._memory: Memory | None = Memory(data, owned=owned) if memory is None else memory
        self._lazy: Lazy | None = None
        self._steps: tuple[Step, ...] = ()

    def _like(self, data: HostArray, memory: Memory | None = None) -> Core:
        """An array of these values, where this one is; without a memory, they are nobody else's."""
        raise NotImplementedError

    def _recorded(self, lazy: Lazy, steps: tuple[Step, ...] = ()) -> Core:
        """An array of what is recorded or on a target, where this one is."""
        array = self._like(_NOTHING)
        array._host, array._memory, array._lazy, array._steps = None, None, lazy, steps
        return array

    # ---- Memory ----

    def _values(self, why: str) -> HostArray:
        """The values, computed if need be; to be read only."""
        if self._host is None:
            assert self._lazy is not None
            values = self._lazy.value(why)
            for step in self._steps:
                values = viewed(values, step)
            self._host, self._memory = values, self._lazy.memory
        return self._host

    def _writable(self, why: str) -> HostArray:
        """The values, about to be changed in place."""
        values = self._values(why)
        assert self._memory is not None
        self._memory.changed()
        return values

    def _exported(self, why: str) -> HostArray:
        """The values, whose memory others will read and write from now on."""
        values = self._values(why)
        assert self._memory is not None
        self._memory.shared()
        return values

    @property
    def residency(self) -> tuple[str, ...]:
        """Where values are now: ``"cpu"`` for the host, and devices that hold them or what they made of them.

        Empty while nothing is computed.
        """
        away = self._on_target()
        if away is not None:
            return (away.held.place,)
        if self._node() is not None:
            return ()
        self._values("residency")
        assert self._memory is not None
        return (CPU, *self._memory.places)

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
            return self._viewed(viewed(self._values("a view"), step))
        base = self._lazy.node()
        if base is None or not is_view(base.shape, self._steps, step):
            return self._recorded(Lazy(viewed(node, step)))
        return self._recorded(self._lazy, (*self._steps, step))

    def _viewed(self, values: HostArray) -> Core:
        """An array of values that NumPy made of this one's, as a view where it could."""
        assert self._memory is not None
        return self._like(values, self._memory if self._memory.covers(values) else None)

    # ---- Shape and type ----

    def _on_target(self) -> OnTarget | None:
        """The result that a target alone holds; None where there is another state of things."""
        lazy = self._lazy if self._host is None else None
        return lazy if isinstance(lazy, OnTarget) and lazy.is_away else None

    def _is_here(self) -> bool:
        """Whether the host has values, so that asking for them computes and moves nothing."""
        return self._host is not None or (self._node() is None and self._on_target() is None)

    def _form(self) -> Node | HostArray:
        """Something of the array's shape and dtype; nothing is computed or moved."""
        if self._host is not None:
            return self._host
        away = self._on_target()
        if away is not None:
            return away.stand_in(self._steps)
        node = self._node()
        return self._values("its form") if node is None else node

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return self._form().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._form().dtype

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
