"""Kernel arguments: what a kernel sees of them, and how it may write one.

A kernel may write an argument that lies in HBM, and the caller's array then holds the result. Two forms
are documented in ``aws-neuron/aws-neuron-sdk`` at 81ce03ae: the argument is returned (the scatter example of
dma_copy in ``nki/api/nki/isa/__init__.py``), or annotated ``nt.mutable_tensor``
(``nki/library/api/router-topk.rst``); ``nki/guides/nki_simulator.rst`` says that arrays "are updated in-place
if the kernel modified" them. What a write in neither form becomes is not documented (H35). Rules of outputs
stand in ``run.py``.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from numtrn.interp.core import Core
from numtrn.interp.dtypes import Array, DType, of_numpy
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault, hazard, kernel_line
from numtrn.interp.memory import Storage
from numtrn.interp.registers import NKIObject
from numtrn.interp.tensor import NkiTensor

__all__ = ["Annotation", "Argument", "Arguments"]


class Annotation:
    """``nt.tensor`` and ``nt.mutable_tensor``, which may be subscripted with a shape."""

    def __init__(self, mutable: bool = False) -> None:
        self.mutable = mutable

    def __getitem__(self, shape: Any) -> Annotation:
        return self


@dataclass(eq=False)
class Argument:
    """An array that a kernel is given; the same for all cores.

    Attributes
    ----------
    label
        How messages call it.
    given
        The caller's array.
    data
        Its elements, flat: the caller's memory if that is contiguous.
    kind
        Their type.
    declared
        Whether the kernel annotates it ``nt.mutable_tensor``.
    dry
        Whether the run has no data.
    aliases
        Labels of other arguments in the same memory.
    before
        What ``data`` was before the first write, or None.
    where
        ``file:line`` of the first write.
    lock
        Held while a core prepares for that.
    """

    label: str
    given: Array
    data: Array
    kind: DType
    declared: bool
    dry: bool = False
    aliases: list[str] = field(default_factory=list)
    before: Array | None = None
    where: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tensor(self, core: Core) -> NkiTensor:
        """The argument as a core sees it."""
        storage = Storage(core, self.kind, self.given.shape, MemoryRegion.shared_hbm, self.label, self.data)
        storage.argument = self
        return NkiTensor.of(storage)

    def write(self) -> None:
        """Prepare for the first write, or refuse it (H35)."""
        if not self.where:
            with self.lock:
                self._begin()

    def _begin(self) -> None:
        if self.where:  # the other core was first
            return
        if self.dry:
            self.where = kernel_line()
            return
        if self.aliases:
            fault(
                "H35",
                f"an argument that is written shares no memory with another; {self.label} does with"
                f" {', '.join(self.aliases)}; pass a copy",
            )
        if not self.given.flags.writeable or not self.data.flags.writeable:
            fault(
                "H35",
                f"an argument that is written is updated in place; the array given as {self.label} is"
                " read-only; pass a copy",
            )
        self.before = self.data.copy()
        self.where = kernel_line()

    def restore(self) -> None:
        """Undo all writes, after a run that failed."""
        if self.before is not None:
            self.data[...] = self.before

    def settle(self) -> None:
        """Give the caller what was written, if the kernel did not work in its memory."""
        if self.where and not np.may_share_memory(self.given, self.data):
            self.given[...] = self.data.view(self.given.dtype).reshape(self.given.shape)


class Arguments:
    """All arguments of a run.

    Parameters
    ----------
    function
        The kernel.
    positional, named
        What it is called with.
    dry
        Whether the run has no data, so that nothing is written.
    where
        ``file:line`` of the kernel.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        positional: Sequence[Any],
        named: Mapping[str, Any],
        dry: bool,
        where: str,
    ) -> None:
        self._where = where
        self._dry = dry
        self._arrays: list[Argument] = []
        names, mutable = _declared(function)
        self._positional = [
            self._converted(value, at, at < len(names) and names[at] in mutable)
            for at, value in enumerate(positional)
        ]
        self._named = {name: self._converted(value, name, name in mutable) for name, value in named.items()}
        if not dry:
            self._find_aliases()

    def on(self, core: Core) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments as the kernel sees them on a core."""
        values = [_seen(value, core) for value in self._positional]
        return values, {name: _seen(value, core) for name, value in self._named.items()}

    def finish(self, returned: Sequence[Any]) -> None:
        """Check after the kernel which arguments it wrote (H35); the caller's arrays change now."""
        back = {id(item.storage.argument) for item in returned if isinstance(item, NkiTensor)}
        for argument in self._arrays:
            if argument.where and not argument.declared and id(argument) not in back:
                hazard(
                    "H35",
                    "an argument that is written is annotated nt.mutable_tensor, or returned;"
                    f" {argument.label} is neither",
                    argument.where,
                )
            if argument.declared and not argument.where:
                hazard("H35", f"an nt.mutable_tensor is written; {argument.label} is not", self._where)
        if not self._dry:
            for argument in self._arrays:
                argument.settle()

    def restore(self) -> None:
        """Undo all writes, after a run that failed."""
        if not self._dry:
            for argument in self._arrays:
                argument.restore()

    def _converted(self, value: Any, position: int | str, declared: bool) -> Any:
        """A kernel argument (``nki/get-started/nki-language-guide.rst``)."""
        if not isinstance(value, np.ndarray):
            return _compile_time(value, position, self._where)
        kind = of_numpy(value.dtype)
        if kind is None:
            fault("H41", f"argument {position} has dtype {value.dtype}, which NKI does not have", self._where)
        if value.ndim == 0 or value.size == 0:
            fault(
                "H41",
                f"argument {position} must have elements and a dimension; got shape {value.shape}",
                self._where,
            )
        data = np.empty(0, kind.carrier)
        if not self._dry:
            data = np.ascontiguousarray(value).reshape(-1).view(kind.carrier)
        self._arrays.append(Argument(f"argument{position}", value, data, kind, declared, self._dry))
        return self._arrays[-1]

    def _find_aliases(self) -> None:
        for at, one in enumerate(self._arrays):
            for other in self._arrays[:at]:
                if np.may_share_memory(one.given, other.given):
                    one.aliases.append(other.label)
                    other.aliases.append(one.label)


def _declared(function: Callable[..., Any]) -> tuple[list[str], set[str]]:
    """Parameters of a kernel, and those annotated ``nt.mutable_tensor``."""
    annotations = getattr(function, "__annotations__", {})
    mutable = {name for name, annotation in annotations.items() if _mutable(annotation)}
    try:
        return list(inspect.signature(function).parameters), mutable
    except (TypeError, ValueError):
        return [], mutable


def _mutable(annotation: Any) -> bool:
    """Whether it is ``nt.mutable_tensor``, as an object or as text."""
    if isinstance(annotation, str):
        return annotation.partition("[")[0].strip().rpartition(".")[2] == "mutable_tensor"
    return isinstance(annotation, Annotation) and annotation.mutable


def _seen(value: Any, core: Core) -> Any:
    return value.tensor(core) if isinstance(value, Argument) else value


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
        with np.errstate(over="ignore"):
            single = np.float32(value)
        if np.isfinite(value) and not np.isfinite(single):
            fault("H33", f"floats in kernels are float32; argument {position} is {value!r}", where)
        return float(single)
    allowed = "arrays, None, bool, int, float, str, enum members, records, tuples or dicts of these"
    return fault(
        "H41", f"kernel arguments are {allowed}; argument {position} is a {type(value).__name__}", where
    )
