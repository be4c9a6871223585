"""Scalar registers of the engine sequencers, and the base class of kernel-side records.

A register holds 32 bits that are known only when the kernel runs, so Python may not branch on it, convert
it or index with it (H37; ISA: VirtualRegister). ``while reg:`` is what 0.3 to 0.5 document; from 0.6 on it
depends on the front end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numtrn.interp.core import RUNNING
from numtrn.interp.faults import fault, hazard

__all__ = ["NKIObject", "NkiInstruction", "VirtualRegister"]


class NKIObject:
    """Base class of kernel-side records."""

    def __init__(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)


class NkiInstruction(NKIObject):
    """Handle of an issued instruction; program order already satisfies every dependency here."""

    def depends_on(self, *producers: NkiInstruction) -> NkiInstruction:
        """Run after the producers."""
        for producer in producers:
            if type(producer) is not NkiInstruction:
                fault("H41", f"depends_on takes instructions; got {producer!r}")
        return self


def _not_known(name: str) -> Callable[..., Any]:
    def refuse(register: VirtualRegister, *others: Any) -> Any:
        fault("H37", f"a register has no value while the kernel is built; {name} was asked of one")

    return refuse


class VirtualRegister(NKIObject):
    """A register.

    Parameters
    ----------
    value
        Initial value, or None.
    frozen
        Whether it is the variable of a dynamic loop.
    """

    def __init__(self, value: int | None = None, frozen: bool = False) -> None:
        self.value = value
        self.frozen = frozen

    def read(self) -> int:
        """The value (H6)."""
        if self.value is None:
            fault("H6", "a register must be written before it is read")
        return self.value

    def write(self, value: int) -> None:
        """Another value (H33, H37)."""
        if self.frozen:
            fault("H37", "the variable of a dynamic loop is not written")
        if not -(2**31) <= value < 2**32:
            fault("H33", f"registers have 32 bits; got {value}")
        self.value = value

    def __bool__(self) -> bool:
        core = RUNNING.get()
        if core is None or core.version >= (0, 6):
            hazard("H37", "branching on a register works in one front end only; use nl.while_loop")
        return self.read() != 0

    def __repr__(self) -> str:
        return f"VirtualRegister({self.value})"

    __int__ = __index__ = __float__ = _not_known("a number")
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _not_known("arithmetic")
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __neg__ = _not_known("arithmetic")
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _not_known("a comparison")
    __hash__ = NKIObject.__hash__
