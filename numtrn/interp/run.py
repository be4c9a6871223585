"""Running one kernel: arguments in, checks of what it returns, figures about the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np

from numtrn.errors import NumtrnError
from numtrn.interp.core import RUNNING, Core, Instruction
from numtrn.interp.cores import Pair
from numtrn.interp.dtypes import Array, lookup, of_numpy
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import KernelFault, fault, hazard, lowered, raised_line, strictness
from numtrn.interp.hazards import Checks
from numtrn.interp.memory import Storage
from numtrn.interp.modules import Kernel
from numtrn.interp.registers import NKIObject
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
    others
        The same for the second core, if two ran the kernel; the figures above are the first one's.
    """

    outputs: Array | tuple[Array, ...]
    instructions: int
    engines: Mapping[str, int]
    peak_sbuf_bytes: int
    peak_psum_banks: int
    log: tuple[Instruction, ...] | None = None
    sizes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    others: tuple[Run, ...] = ()


VERSIONS = {"0.3": (0, 3), "0.4": (0, 4), "0.5": (0, 5), "0.6": (0, 6)}
"""NKI versions that a run can be."""


def simulate(
    kernel: Kernel | Callable[..., Any],
    arguments: Sequence[Any],
    *,
    chip: Chip,
    keep_log: bool = False,
    dry: bool = False,
    checks: Checks | None = None,
    version: str = "0.6",
    keywords: Mapping[str, Any] | None = None,
) -> Run:
    """Run a kernel on one core, or on two if it is ``kernel[2]``.

    Parameters
    ----------
    kernel
        A function, with or without ``nki.jit``, whose ``nki`` modules are those of ``numtrn.interp.modules``.
    arguments
        Arrays become tensors in HBM that the kernel cannot write; None, bool, int, float, str, enum members,
        kernel-side records, tuples and dicts of these and dtypes are compile-time values.
    chip
        The chip to be.
    keep_log
        Whether to keep a record of every instruction.
    dry
        Whether to run without data: arrays lend only their shape and dtype (``np.broadcast_to`` makes large
        ones of one element), every check that needs no data is made, and the outputs hold one zero each.
    checks
        How strict to be: a level for each hazard; by default that of the surrounding run or `allowing`
        block, all errors if there is none.
    version
        NKI version to be, ``"0.3"`` to ``"0.6"``; what differs between them is
        refused unless that is let pass.
    keywords
        Arguments by name.

    Returns
    -------
    Run

    Raises
    ------
    KernelFault
        Whatever goes wrong in the kernel, with the rule, the value and the line.
    """
    marked = kernel if isinstance(kernel, Kernel) else Kernel(kernel)
    code = getattr(marked.function, "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    if version not in VERSIONS:
        fault("H41", f"version must be one of {', '.join(VERSIONS)}; got {version!r}", where)
    start = _Start(marked.function, tuple(arguments), dict(keywords or {}), checks)
    log: list[Instruction] | None = [] if keep_log else None
    if marked.cores == 1:
        core = Core(chip, log, dry, version=VERSIONS[version])
        _, values = _on_core(start, core, where)
        return _record(core, values)
    if chip.generation < 3:
        fault("H38", f"kernel[2] needs gen3; {chip.name} is gen2", where)
    if dry:
        fault("unsupported", "a dry run is one of one core; kernel[2] runs with data", where)
    pair = Pair()
    cores = [
        Core(chip, [] if keep_log else None, version=VERSIONS[version], rank=rank, launch=pair)
        for rank in range(pair.size)
    ]
    (first, _), (second, _) = pair.run(lambda rank: _on_core(start, cores[rank], where))
    outputs = _joined(cores[0], first, second, where)
    records = [_record(core, outputs) for core in cores]
    return replace(records[0], others=tuple(records[1:]))


@dataclass(frozen=True)
class _Start:
    """What every core begins with."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    checks: Checks | None


def _on_core(start: _Start, core: Core, where: str) -> tuple[Any, Array | tuple[Array, ...]]:
    """What the kernel returned on one core, and as arrays if no other core has a part in it."""
    token = RUNNING.set(core)
    try:
        with strictness(start.checks), np.errstate(all="ignore"):
            if lowered():
                core.passed = None
            values = [_argument(core, value, at, where) for at, value in enumerate(start.arguments)]
            named = {name: _argument(core, value, name, where) for name, value in start.keywords.items()}
            returned = _call(start.function, values, named, where)
            return returned, _outputs(core, returned, where) if core.launch is None else ()
    finally:
        RUNNING.reset(token)


def _joined(core: Core, first: Any, second: Any, where: str) -> Array | tuple[Array, ...]:
    """The outputs of two cores, which are the same tensors, each written in parts."""
    one = first if isinstance(first, tuple) else (first,)
    other = second if isinstance(second, tuple) else (second,)
    for mine, theirs in zip(one, other, strict=False):
        if isinstance(mine, NkiTensor) and isinstance(theirs, NkiTensor):
            if mine.storage.raw is not theirs.storage.raw:
                fault("H38", f"both cores return the same tensors; got {mine} and {theirs}", where)
            mine.storage.learn(theirs.storage.written())
    if len(one) != len(other):
        fault("H38", f"both cores return the same tensors; got {len(one)} and {len(other)}", where)
    return _outputs(core, first, where)


def _record(core: Core, outputs: Array | tuple[Array, ...]) -> Run:
    return Run(
        outputs,
        sum(core.engines.values()),
        MappingProxyType(core.engines),
        core.peak_sbuf_bytes,
        core.peak_psum_banks,
        None if core.log is None else tuple(core.log),
        MappingProxyType(core.sizes),
    )


def _call(function: Callable[..., Any], values: list[Any], named: dict[str, Any], where: str) -> Any:
    try:
        return function(*values, **named)
    except (NumtrnError, Warning):
        raise
    except Exception as error:
        text = f"the kernel raised {type(error).__name__}: {error}"
        raise KernelFault("python", text, raised_line(error) or where) from error


def _argument(core: Core, value: Any, position: int | str, where: str) -> Any:
    """A kernel argument as the kernel sees it (``nki/get-started/nki-language-guide.rst``)."""
    if isinstance(value, np.ndarray):
        return _tensor(core, value, position, where)
    return _compile_time(value, position, where)


def _tensor(core: Core, value: Array, position: int | str, where: str) -> NkiTensor:
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


def _compile_time(value: Any, position: int | str, where: str) -> Any:
    """A compile-time value; floats are rounded to float32, which is what NKI has."""
    if value is None or isinstance(value, (bool, str, Enum, NKIObject)):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _compile_time(item, position, where) for key, item in value.items()}
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
    allowed = "arrays, None, bool, int, float, str, enum members, records, tuples or dicts of these"
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
    if storage.core is not core or storage.readonly or value.on_chip:
        fault("H35", f"an output must be allocated in nl.shared_hbm by the kernel; got {value}", where)
    if storage.buffer is not MemoryRegion.shared_hbm:
        hazard("H35", f"an output must be allocated in nl.shared_hbm by the kernel; got {value}", where)
    if (
        value.size != storage.size
        or value.strides != row_major(value.shape)
        or value.kind is not storage.kind
    ):
        fault("H35", f"an output must be a whole tensor, not a view; got {value}", where)
    if not storage.full:
        hazard(
            "H35",
            f"an output must be written completely; {storage.missing or storage.size} units of {value}",
            where,
        )
        storage.fill_unwritten(value)
    kind = lookup(value.dtype)
    if core.dry:
        return np.broadcast_to(np.zeros((), kind.numpy), value.shape)
    return storage.raw.view(kind.numpy).reshape(value.shape)
