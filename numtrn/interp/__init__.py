"""An interpreter of NKI in NumPy: it runs kernels without a device, and refuses what a device might not take.

It is the executable account of the rules that this project knows, and no way to get NumPy results faster;
`numtrn.interp.clock` predicts times. A kernel is loaded elsewhere, with the modules in ``modules``.

>>> from numtrn.interp import modules, simulate                             # doctest: +SKIP
>>> simulate(kernel, [a, b], chip=CHIPS["trn2"]).outputs                    # doctest: +SKIP

What is refused, and which of it may be lowered to a warning by ``checks=Checks(levels=...)``, is listed in
``HAZARDS``; `numtrn.interp.static` finds in a kernel's source what no run can show.
"""

from __future__ import annotations

from numtrn.interp.core import Instruction, Operand
from numtrn.interp.faults import KernelFault
from numtrn.interp.hazards import HAZARDS, Checks, Hazard
from numtrn.interp.modules import Kernel, importable, modules
from numtrn.interp.run import Run, simulate

__all__ = [
    "HAZARDS",
    "Checks",
    "Hazard",
    "Instruction",
    "Kernel",
    "KernelFault",
    "Operand",
    "Run",
    "importable",
    "modules",
    "simulate",
]
