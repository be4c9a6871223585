"""Instructions on registers (ISA: register_alloc and its neighbours).

Loads and stores are counted with GpSimd; which sequencer runs them is the compiler's choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.interp.access import bits, instruction
from numtrn.interp.core import running
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault
from numtrn.interp.registers import VirtualRegister
from numtrn.interp.rules import int32, tensor, writable
from numtrn.interp.tensor import NkiTensor

__all__ = ["register_alloc", "register_load", "register_move", "register_store"]


def register_alloc(x: int | None = None) -> VirtualRegister:
    """A new register, with a value if one is given."""
    return VirtualRegister(None if x is None else int32(x, "x"))


@instruction()
def register_move(dst: VirtualRegister, src: int | VirtualRegister) -> None:
    """Copy a constant or a register into a register."""
    register(dst, "dst").write(src.read() if isinstance(src, VirtualRegister) else int32(src, "src"))
    running().issue("gpsimd", "register_move", (), ())


@instruction()
def register_load(dst: VirtualRegister, src: NkiTensor) -> None:
    """Copy one element of HBM or SBUF into a register: its bits, or its value if it is a small integer."""
    _scalar(src, "src")
    values = bits(src).reshape(1)
    kind = src.kind
    number = int(values[0]) if kind.family != "float" else int(values.view(f"u{kind.bytes}")[0])
    register(dst, "dst").write(number)
    running().issue("gpsimd", "register_load", (), (src,))


@instruction()
def register_store(dst: NkiTensor, src: VirtualRegister) -> None:
    """Copy a register into one element of HBM or SBUF."""
    _scalar(dst, "dst")
    writable(dst)
    number = register(src, "src").read()
    if dst.kind.family == "int":
        bounds = np.iinfo(dst.kind.carrier)
        if not bounds.min <= number <= bounds.max:
            fault("H33", f"the register must fit {dst.dtype}; it holds {number}")
        dst.array[...] = number
    elif dst.kind.bytes == 4:
        dst.array[...] = np.array([number & 0xFFFFFFFF], np.uint32).view(np.float32)[0]
    else:
        fault("H41", f"a register is stored to an integer or to 32 bits; got {dst}")
    dst.storage.wrote(dst)
    running().issue("gpsimd", "register_store", (dst,), ())


def register(value: Any, argument: str) -> VirtualRegister:
    """An operand is a register (H41)."""
    if not isinstance(value, VirtualRegister):
        fault("H41", f"{argument} must come from nisa.register_alloc; got {value!r}")
    return value


def _scalar(value: Any, argument: str) -> None:
    tensor(value, argument)
    if value.size != 1 or value.buffer is MemoryRegion.psum:
        fault("memory", f"{argument} must be one element in HBM or SBUF; got {value}")
