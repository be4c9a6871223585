"""Reading and writing operands as float32 or as bits, and the wrapper around every instruction."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from numtrn.interp.core import since
from numtrn.interp.dtypes import F32, FLOAT32, Array
from numtrn.interp.faults import hazard, refuse_call
from numtrn.interp.registers import NkiInstruction
from numtrn.interp.tensor import INDIRECT, IndirectTensor, NkiTensor

__all__ = ["bits", "flat", "instruction", "put", "put_bits", "result", "wide"]

F = TypeVar("F", bound=Callable[..., Any])

POSITIONAL: dict[str, int] = {}
"""How many arguments of each instruction have the same position in all NKI versions."""


_ISSUED = NkiInstruction()


def instruction(
    positional: int = 99, *, indirect: bool = False, version: tuple[int, int] = (0, 3)
) -> Callable[[F], F]:
    """Make a function an instruction: wrong arguments become kernel faults (H39, H41).

    Parameters
    ----------
    positional
        How many arguments have the same position in all NKI versions.
    indirect
        Whether it takes operands with dynamic offsets itself; else they are located before it starts.
    version
        First NKI version that has it.
    """

    def decorate(function: F) -> F:
        POSITIONAL[function.__name__] = positional

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(args) > positional:
                hazard(
                    "H39",
                    f"arguments of {function.__name__} after the first {positional} changed position between"
                    f" NKI versions; name them; got {len(args)} positional",
                )
            if INDIRECT and not indirect:
                for key, value in kwargs.items():
                    if type(value) is IndirectTensor:
                        kwargs[key] = value.located()
                for value in args:
                    if type(value) is IndirectTensor:
                        args = tuple(v.located() if type(v) is IndirectTensor else v for v in args)
                        break
            if version > (0, 3):
                since(version, f"nisa.{function.__name__}")
            try:
                found = function(*args, **kwargs)
                return _ISSUED if found is None else found
            except TypeError:
                refuse_call(function, args, kwargs)
                raise

        return call  # type: ignore[return-value]

    return decorate


def bits(data: NkiTensor) -> Array:
    """The elements as their carrier, all written."""
    storage = data.storage
    if not storage.full:
        storage.require(data)
    if storage.inferred:
        storage.noticed(data)
    return data.array


def wide(data: NkiTensor) -> Array:
    """The elements in float32; the tile itself if it is float32."""
    kind = data.kind
    return bits(data) if kind is FLOAT32 or data.storage.core.dry else kind.widen(bits(data))


def flat(values: Array) -> Array:
    """Free dimensions joined into one."""
    return values if values.ndim == 2 else values.reshape(values.shape[0], -1)


def result(dst: NkiTensor, shape: tuple[int, ...]) -> Array:
    """Where to compute float32 values of ``dst``: in place if it is float32 of that shape."""
    return dst.array if dst.kind is FLOAT32 and dst.shape == shape else np.empty(shape, F32)


def put(dst: NkiTensor, values: Array) -> None:
    """Cast float32 values to ``dst`` and write them; nothing moves if they were computed in place."""
    target = dst.array
    if values is not target and not dst.storage.core.dry:
        if values.shape != target.shape:
            values = values.reshape(target.shape)
        dst.kind.store(values, target)
    dst.storage.wrote(dst)


def put_bits(dst: NkiTensor, values: Array) -> None:
    """Write carrier values of the type of ``dst``."""
    target = dst.array
    if not dst.storage.core.dry:
        target[...] = values if values.shape == target.shape else values.reshape(target.shape)
    dst.storage.wrote(dst)
