"""Running one kernel: arguments in, checks of what it returns, figures about the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from numtrn.errors import NumtrnError
from numtrn.interp.arguments import Arguments
from numtrn.interp.core import RUNNING, Core, Instruction
from numtrn.interp.cores import Pair
from numtrn.interp.dtypes import Array, lookup
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import KernelFault, fault, hazard, lowered, raised_line, strictness
from numtrn.interp.hazards import Checks
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
    tick: Callable[[int], None] | None = None,
) -> Run:
    """Run a kernel on one core, or on two if it is ``kernel[2]``.

    Parameters
    ----------
    kernel
        A function, with or without ``nki.jit``, whose ``nki`` modules are those of ``numtrn.interp.modules``.
    arguments
        Arrays become tensors in HBM; one that the kernel writes is updated in place when the run ends
        without an error (``arguments.py``). None, bool, int, float, str, enum members, kernel-side records,
        tuples and dicts of these and dtypes are compile-time values.
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
    tick
        With a log, called with the number of instructions issued since the last call.

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
    given = Arguments(marked.function, arguments, keywords or {}, dry, where)
    start = _Start(marked.function, given, checks)
    try:
        cores = _cores(marked.cores, chip, keep_log, dry, VERSIONS[version], tick, where)
        return _run(start, cores, where)
    except BaseException:
        given.restore()
        raise


class _Counted(list[Instruction]):
    """A log that tells of its growth."""

    def __init__(self, tick: Callable[[int], None]) -> None:
        super().__init__()
        self._tick = tick

    def append(self, item: Instruction) -> None:
        """Add an instruction."""
        super().append(item)
        if len(self) & 1023 == 0:
            self._tick(1024)


def _cores(
    count: int,
    chip: Chip,
    keep_log: bool,
    dry: bool,
    version: tuple[int, int],
    tick: Callable[[int], None] | None,
    where: str,
) -> list[Core]:
    """The cores that run the kernel, fresh."""
    if count > 1 and chip.generation < 3:
        fault("H38", f"kernel[2] needs gen3; {chip.name} is gen2", where)
    pair = Pair() if count > 1 else None
    logs = [(_Counted(tick) if tick else []) if keep_log else None for _ in range(count)]
    return [Core(chip, log, dry, version=version, rank=rank, launch=pair) for rank, log in enumerate(logs)]


def _run(start: _Start, cores: list[Core], where: str) -> Run:
    pair = cores[0].launch
    if not isinstance(pair, Pair):
        _, values = _on_core(start, cores[0], where)
        return _record(cores[0], values)
    (first, _), (second, _) = pair.run(lambda rank: _on_core(start, cores[rank], where))
    with strictness(start.checks):
        pair.finish()
        outputs = _joined(cores[0], first, second, where)
        start.arguments.finish(_tuple(first))
    records = [_record(core, outputs) for core in cores]
    return replace(records[0], others=tuple(records[1:]))


@dataclass(frozen=True)
class _Start:
    """What every core begins with."""

    function: Callable[..., Any]
    arguments: Arguments
    checks: Checks | None


def _on_core(start: _Start, core: Core, where: str) -> tuple[Any, Array | tuple[Array, ...]]:
    """What the kernel returned on one core, and as arrays if no other core has a part in it."""
    token = RUNNING.set(core)
    try:
        with strictness(start.checks), np.errstate(all="ignore"):
            if lowered():
                core.passed = None
            values, named = start.arguments.on(core)
            returned = _call(start.function, values, named, where)
            if core.launch is not None:
                return returned, ()
            outputs = _outputs(core, returned, where)
            start.arguments.finish(_tuple(returned))
            return returned, outputs
    finally:
        RUNNING.reset(token)


def _joined(core: Core, first: Any, second: Any, where: str) -> Array | tuple[Array, ...]:
    """The outputs of two cores, which are the same tensors, each written in parts."""
    one, other = _tuple(first), _tuple(second)
    for mine, theirs in zip(one, other, strict=False):
        if isinstance(mine, NkiTensor) and isinstance(theirs, NkiTensor):
            if mine.storage.raw is not theirs.storage.raw:
                fault("H38", f"both cores return the same tensors; got {mine} and {theirs}", where)
            mine.storage.learn(theirs.storage.written())
    if len(one) != len(other):
        fault("H38", f"both cores return the same tensors; got {len(one)} and {len(other)}", where)
    return _outputs(core, first, where)


def _tuple(returned: Any) -> tuple[Any, ...]:
    return returned if isinstance(returned, tuple) else (returned,)


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


def _outputs(core: Core, returned: Any, where: str) -> Array | tuple[Array, ...]:
    if isinstance(returned, tuple):
        if not returned:
            fault("H35", "a kernel must return at least one tensor; got an empty tuple", where)
        return tuple(_output(core, item, where) for item in returned)
    return _output(core, returned, where)


def _output(core: Core, value: Any, where: str) -> Array:
    """A returned tensor as an array: whole, in shared HBM, completely written by the kernel (H35)."""
    if not isinstance(value, NkiTensor):
        fault("H35", f"a kernel returns a tensor or a tuple of tensors; got {value!r}", where)
    storage = value.storage
    given = storage.argument is not None and bool(storage.argument.where)
    if storage.core is not core or (storage.readonly and not given) or value.on_chip:
        fault(
            "H35",
            "an output must be allocated in nl.shared_hbm by the kernel, or be an argument that it wrote;"
            f" got {value}",
            where,
        )
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
    flat = storage.raw.copy() if given else storage.raw
    return flat.view(kind.numpy).reshape(value.shape)
