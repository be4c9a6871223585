"""Element types: how each is held in NumPy, how it becomes float32, and how float32 becomes it.

Engines compute in float32 and cast on the way in and out (``nki/api/nki/isa``: "Data types" of every
compute instruction), so these two conversions are all the casting there is. bfloat16 and float8 are held
as their bits in unsigned integers, because NumPy copies and converts those fast.

Undocumented and decided here: float8 overflow follows ml_dtypes; tfloat32 is float32 rounded to ten
mantissa bits, to nearest even, when written; NaN to integer is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from numtrn.interp.faults import fault, hazard

__all__ = ["DTYPES", "Array", "DType", "blocks", "lookup", "of_numpy"]

Array = NDArray[Any]
F32 = np.dtype(np.float32)
BLOCK = 1 << 14
"""Elements of a block."""


@dataclass(frozen=True, eq=False)
class DType:
    """One element type.

    Attributes
    ----------
    name
        As in ``nki.language``.
    carrier
        NumPy type that holds the bits.
    numpy
        NumPy or ml_dtypes type that a caller sees.
    family
        ``"float"``, ``"int"`` or ``"bool"``.
    widen, narrow
        From carrier to float32 and back, rounding to nearest even.
    whole
        Of an integer type, the integers that ``narrow`` gives, in floating point; assignment casts them.
    matmul
        Whether TensorE multiplies it, from which generation; 0 for never.
    """

    name: str
    carrier: np.dtype[Any]
    numpy: np.dtype[Any]
    family: str
    widen: Callable[[Array], Array]
    narrow: Callable[[Array], Array]
    matmul: int = 0
    whole: Callable[[Array], Array] | None = None

    @cached_property
    def bytes(self) -> int:
        """Bytes of an element."""
        return int(self.carrier.itemsize)

    def store(self, values: Array, target: Array) -> None:
        """Write float32 values, cast, into an array of the carrier and of the same shape."""
        if self.whole is None:
            target[...] = self.narrow(values)
            return
        for rows in blocks(target):
            target[rows] = self.whole(values[rows])

    @property
    def is_float(self) -> bool:
        """Whether it is a floating type."""
        return self.family == "float"


def blocks(values: Array) -> list[slice]:
    """Rows to work on at a time where several passes are made, so that a block stays in cache."""
    rows = len(values)
    step = max(1, BLOCK * rows // max(1, values.size))
    return [slice(start, start + step) for start in range(0, rows, step)]


def _same(values: Array) -> Array:
    return values


def _widen(values: Array) -> Array:
    return values.astype(np.float32)


def _widen_int32(values: Array) -> Array:
    """Integers of 32 bits, refused where float32 has no such value (H21)."""
    wide = values.astype(np.float32)
    if values.size and max(int(values.max()), -int(values.min())) > 2**24:
        exact = wide.astype(np.float64) == values
        if not exact.all():
            found = int(values[~exact].flat[0])
            hazard("H21", f"engines and casting DMAs compute in float32, which has no {found}")
    return wide


def _widen_bfloat16(bits: Array) -> Array:
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _round_bits(values: Array, drop: int) -> Array:
    """Bits of float32 rounded to nearest even, the last ``drop`` of them meaningless."""
    bits: Array = values.view(np.uint32)
    rounded: Array = bits >> drop
    rounded &= 1
    rounded += (1 << (drop - 1)) - 1
    rounded += bits
    if values.size and np.isnan(values.max()):  # a carry would turn some NaNs into infinity or zero
        nan = np.isnan(values)
        rounded[nan] = bits[nan] | 0x00400000
    return rounded


def _narrow_bfloat16(values: Array) -> Array:
    rounded = _round_bits(values, 16)
    rounded >>= 16
    return rounded.astype(np.uint16)


def _narrow_tfloat32(values: Array) -> Array:
    rounded = _round_bits(values, 13)
    rounded &= 0xFFFFE000
    return rounded.view(np.float32)


def _table(kind: np.dtype[Any]) -> Callable[[Array], Array]:
    values: Array = np.arange(256, dtype=np.uint8).view(kind).astype(np.float32)

    def widen(bits: Array) -> Array:
        wide: Array = values[bits]
        return wide

    return widen


def _narrow_float8(kind: np.dtype[Any]) -> Callable[[Array], Array]:
    def narrow(values: Array) -> Array:
        bits: Array = values.astype(kind).view(np.uint8)
        return bits

    return narrow


def _whole(kind: np.dtype[Any]) -> Callable[[Array], Array]:
    """To nearest even, saturating (``release-notes/components/nki.rst``, 0.6)."""
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)

    def round_values(values: Array) -> Array:
        whole: Array = np.rint(values)
        least, most = (float(whole.min()), float(whole.max())) if whole.size else (0.0, 0.0)
        if least != least or most != most:
            hazard("H22", f"NaN has no documented {kind.name} value; an element to be cast is NaN")
            whole = np.nan_to_num(whole, nan=0.0, posinf=np.inf, neginf=-np.inf)
            least, most = float(whole.min()), float(whole.max())
        if least >= low and most <= high:
            return whole
        clipped: Array = np.clip(whole.astype(np.float64), low, high)
        return clipped

    return round_values


def _narrow_bool(values: Array) -> Array:
    ones: Array = values != 0
    return ones.astype(np.uint8)


def _float8(name: str, matmul: int) -> DType:
    kind = np.dtype(getattr(ml_dtypes, name))
    return DType(name, np.dtype(np.uint8), kind, "float", _table(kind), _narrow_float8(kind), matmul)


def _int(name: str) -> DType:
    kind = np.dtype(name)
    widen = _widen_int32 if kind.itemsize == 4 else _widen
    whole = _whole(kind)
    return DType(name, kind, kind, "int", widen, lambda values: whole(values).astype(kind), whole=whole)


_BF16 = np.dtype(ml_dtypes.bfloat16)
_F16 = np.dtype(np.float16)

FLOAT32 = DType("float32", F32, F32, "float", _same, _same, 2)
BFLOAT16 = DType("bfloat16", np.dtype(np.uint16), _BF16, "float", _widen_bfloat16, _narrow_bfloat16, 2)
TFLOAT32 = DType("tfloat32", F32, F32, "float", _same, _narrow_tfloat32, 2)
UINT8 = np.dtype(np.uint8)

DTYPES: dict[str, DType] = {
    kind.name: kind
    for kind in (
        FLOAT32,
        TFLOAT32,
        BFLOAT16,
        DType("float16", _F16, _F16, "float", _widen, lambda values: values.astype(np.float16), 2),
        _float8("float8_e4m3", 2),
        _float8("float8_e5m2", 2),
        _float8("float8_e4m3fn", 4),
        DType("bool_", UINT8, np.dtype(np.bool_), "bool", _widen, _narrow_bool),
        *(_int(name) for name in ("int8", "int16", "int32", "uint8", "uint16", "uint32")),
    )
}
"""The element types by name."""

_LATER = ("float8_e8m0fnu", "float8_e5m2_x4", "float8_e4m3fn_x4", "float4_e2m1fn_x4")
_OF_NUMPY = {kind.numpy: kind for kind in DTYPES.values() if kind is not TFLOAT32}


def lookup(name: object) -> DType:
    """The type that a kernel named."""
    found = DTYPES.get(name) if isinstance(name, str) else None
    if found is None:
        if name in _LATER:
            fault("unsupported", f"this interpreter does not have dtype {name} yet")
        fault("H41", f"dtype must be one of nki.language's; got {name!r}")
    return found


def of_numpy(dtype: np.dtype[Any]) -> DType | None:
    """The type of a caller's array, or None if NKI has none."""
    return _OF_NUMPY.get(dtype) if dtype.isnative else None
