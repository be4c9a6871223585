"""Running one kernel: arguments in, checks of what it returns, figures about the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from numtrn.errors import NumtrnError
from numtrn.interp.core import RUNNING, Core, Instruction
from numtrn.interp.dtypes import Array, lookup, of_numpy
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import KernelFault, fault, raised_line
from numtrn.interp.memory import Storage
from numtrn.interp.modules import Kernel
from numtrn.interp.tensor import NkiTensor, row_major
from numtrn.machine import Chip

__all__ = ["Run", "simulate"]


@dataclass(frozen=True)
class Run:
    """What a kernel returned, and what it took.

    Attributes
    ----------
    outputs
        An array, or a tuple of arrays, as the kernel returned.
    instructions
        Number of instructions issued.
    engines
        Number for each engine: tensor, vector, scalar, gpsimd, dma.
    peak_sbuf_bytes
        Most bytes of a partition live at once.
    peak_psum_banks
        Most PSUM banks live at once.
    log
        Every instruction in program order if asked for, else None.
    sizes
        With a log, SBUF bytes of a partition and PSUM banks of each allocation on chip, by serial number.
    """

    outputs: Array | tuple[Array, ...]
    instructions: int
    engines: Mapping[str, int]
    peak_sbuf_bytes: int
    peak_psum_banks: int
    log: tuple[Instruction, ...] | None = None
    sizes: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def simulate(
    kernel: Kernel | Callable[..., Any],
    arguments: Sequence[Any],
    *,
    chip: Chip,
    keep_log: bool = False,
    dry: bool = False,
) -> Run:
    """Run a kernel on one core.

    Parameters
    ----------
    kernel
        A function, with or without ``nki.jit``, whose ``nki`` modules are those of ``numtrn.interp.modules``.
    arguments
        Arrays become tensors in HBM that the kernel cannot write; None, bool, int, float, str, tuples of
        these and dtypes are compile-time values.
    chip
        The chip to be.
    keep_log
        Whether to keep a record of every instruction.
    dry
        Whether to run without data: arrays lend only their shape and dtype (``np.broadcast_to`` makes large
        ones of one element), every check that needs no data is made, and the outputs hold one zero each.

    Returns
    -------
    Run

    Raises
    ------
    KernelFault
        Whatever goes wrong in the kernel, with the rule, the value and the line.
    """
    function = kernel.function if isinstance(kernel, Kernel) else kernel
    code = getattr(function, "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    core = Core(chip, [] if keep_log else None, dry)
    token = RUNNING.set(core)
    try:
        with np.errstate(all="ignore"):
            values = [_argument(core, value, position, where) for position, value in enumerate(arguments)]
            returned = _call(function, values, where)
            outputs = _outputs(core, returned, where)
    finally:
        RUNNING.reset(token)
    return Run(
        outputs,
        sum(core.engines.values()),
        MappingProxyType(core.engines),
        core.peak_sbuf_bytes,
        core.peak_psum_banks,
        None if core.log is None else tuple(core.log),
        MappingProxyType(core.sizes),
    )


def _call(function: Callable[..., Any], values: list[Any], where: str) -> Any:
    try:
        return function(*values)
    except NumtrnError:
        raise
    except Exception as error:
        text = f"the kernel raised {type(error).__name__}: {error}"
        raise KernelFault("python", text, raised_line(error) or where) from error


def _argument(core: Core, value: Any, position: int, where: str) -> Any:
    """A kernel argument as the kernel sees it (``nki/get-started/nki-language-guide.rst``)."""
    if isinstance(value, np.ndarray):
        return _tensor(core, value, position, where)
    return _compile_time(value, position, where)


def _tensor(core: Core, value: Array, position: int, where: str) -> NkiTensor:
    kind = of_numpy(value.dtype)
    if kind is None:
        fault("H41", f"argument {position} has dtype {value.dtype}, which NKI does not have", where)
    if value.ndim == 0 or value.size == 0:
        fault(
            "H41", f"argument {position} must have elements and a dimension; got shape {value.shape}", where
        )
    if core.dry:
        data = np.empty(0, kind.carrier)
    else:
        data = np.ascontiguousarray(value).reshape(-1).view(kind.carrier)
    data.flags.writeable = False
    return NkiTensor.of(
        Storage(core, kind, value.shape, MemoryRegion.shared_hbm, f"argument{position}", data)
    )


def _compile_time(value: Any, position: int, where: str) -> Any:
    """A compile-time value; floats are rounded to float32, which is what NKI has."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, tuple):
        return tuple(_compile_time(item, position, where) for item in value)
    if isinstance(value, int):
        if not -(2**31) <= value < 2**31:
            fault("H33", f"integers in kernels have 32 bits; argument {position} is {value}", where)
        return value
    if isinstance(value, float):
        if np.isfinite(value) and not np.isfinite(np.float32(value)):
            fault("H33", f"floats in kernels are float32; argument {position} is {value!r}", where)
        return float(np.float32(value))
    allowed = "arrays, None, bool, int, float, str or tuples of these"
    return fault(
        "H41", f"kernel arguments are {allowed}; argument {position} is a {type(value).__name__}", where
    )


def _outputs(core: Core, returned: Any, where: str) -> Array | tuple[Array, ...]:
    if isinstance(returned, tuple):
        if not returned:
            fault("H35", "a kernel must return at least one tensor; got an empty tuple", where)
        return tuple(_output(core, item, where) for item in returned)
    return _output(core, returned, where)


def _output(core: Core, value: Any, where: str) -> Array:
    """A returned tensor as an array: new, whole, in shared HBM and completely written (H35)."""
    if not isinstance(value, NkiTensor):
        fault("H35", f"a kernel returns a tensor or a tuple of tensors; got {value!r}", where)
    storage = value.storage
    if storage.core is not core or storage.buffer is not MemoryRegion.shared_hbm or storage.readonly:
        fault("H35", f"an output must be allocated in nl.shared_hbm by the kernel; got {value}", where)
    if (
        value.size != storage.size
        or value.strides != row_major(value.shape)
        or value.kind is not storage.kind
    ):
        fault("H35", f"an output must be a whole tensor, not a view; got {value}", where)
    if not storage.full:
        fault(
            "H35",
            f"an output must be written completely; {storage.missing or storage.size} units of {value}",
            where,
        )
    kind = lookup(value.dtype)
    if core.dry:
        return np.broadcast_to(np.zeros((), kind.numpy), value.shape)
    return storage.raw.view(kind.numpy).reshape(value.shape)
