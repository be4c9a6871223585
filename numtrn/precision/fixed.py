r"""The host's part of float64 products: elements to fixed-point words, exact words back to float64.

**Words.** An element x, scaled to |x| < 0.995, is X = rint(x 2^(8 s - 1)), halves to even, for s digits; X
= sum over p of q_p 256^(s - 1 - p) with q_p in -128 .. 127, p = 0 most significant. Stored is (X + F) ^ F,
F = 0x80 in each of the lower s bytes of 8 W, W = 1 up to 8 digits and 2 beyond, little endian: X + F has
the digits q_p + 128, and the exclusive or takes the 128 off again, so that byte s - 1 - p, read as int8, is
q_p. Bytes above are 0. The top digit fits because X + F < 256^s up to x = 0.996;
`exponents` keeps x at 0.99 and below.

**Sums.** N = sum over i of w_i 2^(-24 i), w_0 signed and the others fields of 24 bits, or any int64 of up
to 2^40 in size where such numbers have been added up. A result is N rounded once.

Work is done in C that releases the GIL (``_fixed.c``), in blocks on a few threads (see `threads`), or in
NumPy where that was not built (`fixed_numpy`). The bits are the same, whichever does it, on any number of
threads.

Powers are integer vectors of up to 2^20 in size, or None for zeros; an element is multiplied by
2^(row_power[r] + column_power[c]), exactly unless the result is below 2^-1022. Results must not overlap
operands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from struct import pack
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numtrn.precision import fixed_numpy, threads

try:
    from numtrn.precision import _fixed

    compiled: Any = _fixed if sys.byteorder == "little" else None
except ImportError:
    compiled = None

__all__ = [
    "Exponents",
    "add_words",
    "cut",
    "exponents",
    "largest",
    "magnitudes",
    "result_words",
    "round_words",
    "survey",
    "word_bytes",
]

Array = NDArray[Any]
Powers = NDArray[np.integer[Any]] | None
Exponents = NDArray[np.int64]

FULL = 0.99
"""Largest magnitude of a scaled element."""

FEWEST_SLICES, MOST_SLICES = 1, 16
MOST_POWER = 1 << 20
MOST_TERMS = 8
MOST_WEIGHT = 64
"""Sum of the coefficients' sizes, so that words of 2^40 and their carries stay far within int64."""

INLINE = 1 << 15
"""Elements that the calling thread does alone: waking another takes as long."""

BLOCK = 1 << 15
"""Elements that NumPy works on at a time, so that its intermediate arrays stay in cache."""

STREAM_BYTES = 1 << 22
"""Words and magnitudes beyond this go to memory past the caches, which would not hold them anyway."""


def word_bytes(slices: int) -> int:
    """Bytes of an element's words: 8 up to 8 digits, 16 beyond.

    Examples
    --------
    >>> word_bytes(8), word_bytes(9)
    (8, 16)
    """
    return 8 if slices <= 8 else 16


def exponents(size: Array) -> Exponents:
    """The least e with size <= 0.99 2^e; 0 for zeros.

    The rest up to 1 is what rounding to digits needs for the top one to fit 8 bits (see `fixed`).

    Examples
    --------
    >>> exponents(np.array([0.0, 0.5, 0.99, 0.999, 1.0, 3.0])).tolist()
    [0, 0, 0, 1, 1, 2]
    """
    fraction, exponent = np.frexp(size)
    return exponent.astype(np.int64) + (fraction > FULL)


def result_words(slices: int) -> int:
    """Words of a sum that keeps as many diagonals as there are digits.

    Examples
    --------
    >>> [result_words(s) for s in (7, 8, 10, 11, 16)]
    [3, 4, 4, 5, 6]
    """
    return 1 + (slices + 1) // 3


def largest(x: Array, axis: int) -> NDArray[np.float64]:
    """Largest magnitude along an axis, 0 where there is nothing; Inf and NaN show, NaN before Inf.

    Parameters
    ----------
    x
        (rows, columns) float64, any strides.
    axis
        0 or 1: the one that goes.

    Examples
    --------
    >>> largest(np.array([[1.0, -3.0], [np.nan, 2.0]]), 1).tolist()
    [3.0, nan]
    """
    x = _operand("largest", x)
    if axis not in (0, 1):
        raise ValueError(f"largest takes axis 0 or 1; got {axis!r}")
    if abs(x.strides[0]) < abs(x.strides[1]):  # along memory
        x, axis = x.T, 1 - axis
    kept = x.shape[1 - axis]
    if 0 in x.shape:
        return np.zeros(kept)
    blocks = _blocks(x.shape)
    starts = sorted({block[axis].start for block in blocks})
    found = np.empty((len(starts), kept), np.int64)
    use = compiled  # one for all blocks

    def block(where: tuple[slice, slice]) -> None:
        part, out = x[where], found[starts.index(where[axis].start), where[1 - axis]]
        if use is None:
            fixed_numpy.largest(part, axis, out)
        else:
            use.largest(axis, *_layout(part), _address(out))

    _run(block, blocks)
    bits: NDArray[np.int64] = found[0] if len(found) == 1 else found.max(axis=0)
    return bits.view(np.float64)


def cut(x: Array, row_power: Powers, column_power: Powers, slices: int, out: Array) -> None:
    """Scaled elements to words of digits.

    Parameters
    ----------
    x
        (rows, columns) float64, any strides; finite, and below 0.995 in size once scaled. Nothing is
        promised of words of others.
    row_power, column_power
        Powers of two that scale rows and columns.
    slices
        Digits, 1 to 16.
    out
        int8 (rows, columns, `word_bytes`), at a multiple of 8 bytes. Words of a row, or those of a column,
        lie one after the other; what is between rows is left alone.

    Examples
    --------
    >>> out = np.empty((1, 2, 8), np.int8)
    >>> cut(np.array([[0.5, -3 / 256]]), None, None, 2, out)
    >>> out[0, :, :2].tolist()  # 0.5 = 64 / 2^7, and -3 / 256 = -1 / 2^7 - 128 / 2^15
    [[0, 64], [-128, -1]]
    """
    x = _operand("cut", x)
    if isinstance(slices, bool) or not FEWEST_SLICES <= slices <= MOST_SLICES:
        raise ValueError(f"cut takes {FEWEST_SLICES} to {MOST_SLICES} digits; got {slices!r}")
    item = word_bytes(slices)
    _result("cut", out, np.dtype(np.int8), (*x.shape, item))
    if not out.size:
        return
    if out.strides[2] != 1 or (_address(out) | out.strides[0] | out.strides[1]) % 8:
        raise ValueError(
            "cut writes words whose bytes lie together, at multiples of 8 bytes; "
            f"got strides {out.strides} from address {_address(out):#x}; take np.empty(shape, np.int8)"
        )
    _convert("cut", x, row_power, column_power, slices, out.view(np.uint64), item)


def magnitudes(x: Array, row_power: Powers, column_power: Powers, out: Array) -> None:
    """Magnitudes of scaled elements, truncated to bf16; 0 below 2^-100.

    Parameters
    ----------
    x, row_power, column_power
        As for `cut`; finite, and below 2^128 in size once scaled.
    out
        uint16 (rows, columns): patterns of bf16. A row's or a column's lie one after the other.

    Examples
    --------
    >>> out = np.empty((1, 3), np.uint16)
    >>> magnitudes(np.array([[-0.75, 0.3, 2.0**-101]]), None, None, out)
    >>> [hex(bits) for bits in out[0].tolist()]
    ['0x3f40', '0x3e99', '0x0']
    """
    x = _operand("magnitudes", x)
    _result("magnitudes", out, np.dtype(np.uint16), x.shape)
    if out.size:
        _convert("magnitudes", x, row_power, column_power, 0, out, 2)


def survey(x: Array, axis: int, out: Array) -> NDArray[np.float64]:
    """`largest`, and `magnitudes` scaled by the exponents of those; in one pass where rows lie along memory.

    Columns of F-ordered arrays are rows here; elsewhere it is two passes.

    Parameters
    ----------
    x
        (rows, columns) float64, any strides.
    axis
        1 to scale rows, 0 to scale columns.
    out
        As for `magnitudes`; nothing is promised of rows (columns) with Inf or NaN.

    Returns
    -------
    ndarray
        As of `largest`.

    Examples
    --------
    >>> out = np.empty((2, 2), np.uint16)
    >>> survey(np.array([[3.0, -1.0], [0.0, 2.0**-30]]), 1, out).tolist() == [3.0, 2.0**-30]
    True
    >>> (out.astype(np.uint32) << 16).view(np.float32).tolist()
    [[0.75, 0.25], [0.0, 0.5]]
    """
    x = _operand("survey", x)
    _result("survey", out, np.dtype(np.uint16), x.shape)
    if axis not in (0, 1):
        raise ValueError(f"survey takes axis 0 or 1; got {axis!r}")
    if abs(x.strides[0]) < abs(x.strides[1]):
        x, out, axis = x.T, out.T, 1 - axis
    use = compiled
    together = axis == 1 and x.strides[1] == x.itemsize and out.strides[1] == out.itemsize
    if use is None or not together or 0 in x.shape:
        sizes = largest(x, axis)
        powers = -exponents(np.where(np.isfinite(sizes), sizes, 0.0))
        magnitudes(x, powers if axis else None, None if axis else powers, out)
        return sizes
    found = np.empty(len(x), np.int64)
    streams = int(out.nbytes >= STREAM_BYTES)

    def block(where: tuple[slice, slice]) -> None:
        part, to = x[where], out[where]
        use.survey(*_layout(part), _address(found[where[0]]), _address(to), to.strides[0], streams)

    _run(block, _blocks(x.shape, along=0))
    return found.view(np.float64)


def round_words(
    terms: Sequence[tuple[int, Array]], row_power: Powers, column_power: Powers, out: NDArray[np.float64]
) -> None:
    """Sum of words times coefficients, exact, to float64 with one rounding, halves to even.

    Also where the result is subnormal. Beyond the range it is Inf; 0 is +0.

    Parameters
    ----------
    terms
        At most 8: coefficients, their sizes at most 64 in sum, and words (rows, words, columns), int32 or
        int64, any strides, 2 to 6 words of at most 2^40 in size, the most significant first.
    row_power, column_power
        Powers of two that scale rows and columns of the result.
    out
        (rows, columns) float64, any strides.

    Examples
    --------
    >>> words = np.array([[[1], [1 << 23], [0]]], np.int32)  # 1 + 2^-1
    >>> out = np.empty((1, 1))
    >>> round_words([(2, words)], None, np.array([-1]), out)
    >>> out.item()
    1.5
    """
    factors = _coefficients(terms)
    shape = terms[0][1].shape
    for _, words in terms:
        if words.ndim != 3 or words.shape != shape or not 2 <= shape[1] <= 6 or words.dtype not in WORD_TYPES:
            raise ValueError(
                "round_words takes int32 or int64 words (rows, 2 to 6, columns), all of one shape; "
                f"got {words.dtype} {words.shape}, the first {terms[0][1].dtype} {shape}"
            )
    parts = [_filled(np.require(words, requirements="A")) for _, words in terms]
    rows, columns = shape[0], shape[2]
    _result("round_words", out, np.dtype(np.float64), (rows, columns))
    powers = _powers("row_power", row_power, rows), _powers("column_power", column_power, columns)
    if not out.size:
        return
    use = compiled

    def block(where: tuple[slice, slice]) -> None:
        part = [words[where[0], :, where[1]] for words in parts]
        to, scales = out[where], _at(powers, where)
        if use is None:
            fixed_numpy.round_words(list(zip(factors, part, strict=True)), *scales, to)
            return
        fields = (
            pack("=6q", _address(words), factor, words.itemsize, *words.strides)
            for factor, words in zip(factors, part, strict=True)
        )
        addresses = map(_address, scales)
        use.round_words(b"".join(fields), parts[0].shape[1], *addresses, *_layout(to))

    _run(block, _blocks(out.shape))


def _filled(words: Array) -> Array:
    """Words with a third one of zero, where there are only two."""
    return words if words.shape[1] > 2 else np.pad(words, ((0, 0), (0, 1), (0, 0)))


def add_words(total: NDArray[np.int64], part: NDArray[np.int32]) -> None:
    """Add words of one launch to those of others, in place.

    Parameters
    ----------
    total
        int64, two or three axes.
    part
        int32 of the same shape.

    Examples
    --------
    >>> total = np.array([[1, 2]])
    >>> add_words(total, np.array([[2**31 - 1, -5]], np.int32))
    >>> total.tolist()
    [[2147483648, -3]]
    """
    if total.ndim not in (2, 3) or part.dtype != np.int32:
        raise ValueError(
            "add_words takes int64 totals and int32 words of two or three axes; "
            f"got {total.dtype} {total.shape} and {part.dtype} {part.shape}"
        )
    _result("add_words", total, np.dtype(np.int64), part.shape)
    if not total.size:
        return
    part = np.require(part, requirements="A")
    use = compiled

    def block(where: tuple[slice, slice]) -> None:
        to, of = total[where[0], ..., where[1]], part[where[0], ..., where[1]]
        if use is None:
            fixed_numpy.add_words(to, of)
            return
        for i in range(1 if to.ndim == 2 else to.shape[1]):
            to2, of2 = (to, of) if to.ndim == 2 else (to[:, i], of[:, i])
            use.add_words(_address(to2), *to2.strides, _address(of2), *of2.strides, *to2.shape)

    _run(block, _blocks((total.shape[0], total.shape[-1])))


WORD_TYPES = (np.dtype(np.int32), np.dtype(np.int64))


class _Scales(NamedTuple):
    """Powers of rows and columns, int32 and contiguous."""

    rows: NDArray[np.int32] | None
    columns: NDArray[np.int32] | None


def _convert(
    name: str, x: Array, row_power: Powers, column_power: Powers, slices: int, out: Array, item: int
) -> None:
    rows, columns = x.shape
    powers = _powers("row_power", row_power, rows), _powers("column_power", column_power, columns)
    by_rows = columns == 1 or out.strides[1] == item
    by_columns = rows == 1 or out.strides[0] == item
    if by_columns and not (by_rows and columns > 1):
        x, out, powers = x.T, out.swapaxes(0, 1), powers[::-1]
    elif not by_rows:
        raise ValueError(
            f"{name} writes rows or columns whose elements lie one after the other; got strides "
            f"{out.strides} for elements of {item} bytes; take out[:rows, :columns] of a C-contiguous array"
        )
    use, streams = compiled, int(out.nbytes >= STREAM_BYTES)

    def block(where: tuple[slice, slice]) -> None:
        part, to, scales = x[where], out[where], _at(powers, where)
        if use is None:
            fixed_numpy.convert(part, *scales, slices, to)
        else:
            addresses = map(_address, scales)
            use.convert(slices, *_layout(part), *addresses, _address(to), to.strides[0], streams)

    _run(block, _blocks(x.shape))


def _operand(name: str, x: Array) -> Array:
    if not isinstance(x, np.ndarray) or x.dtype != np.float64 or x.ndim != 2:
        got = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"{name} takes float64 arrays of two axes; got {got}; pass x.astype(np.float64)")
    return np.require(x, requirements="A")


def _result(name: str, out: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if out.dtype != dtype or out.shape != shape or not out.flags.writeable or not out.flags.aligned:
        state = "" if out.flags.writeable else ", read-only"
        state += "" if out.flags.aligned else ", not aligned"
        raise ValueError(
            f"{name} writes {dtype} {shape}; got {out.dtype} {out.shape}{state}; "
            f"pass np.empty({shape}, np.{dtype})"
        )


def _powers(name: str, power: Powers, extent: int) -> NDArray[np.int32] | None:
    if power is None:
        return None
    if power.dtype.kind not in "iu" or power.shape != (extent,):
        raise ValueError(
            f"{name} takes an integer for each of {extent}, or None; got {power.dtype} {power.shape}"
        )
    if extent and (power.max() > MOST_POWER or power.min() < -MOST_POWER):
        raise ValueError(f"{name} takes up to 2^20 in size; got {power.min()} to {power.max()}")
    return np.ascontiguousarray(power, np.int32)


def _coefficients(terms: Sequence[tuple[int, Array]]) -> list[int]:
    factors = [int(factor) for factor, _ in terms]
    if not 1 <= len(factors) <= MOST_TERMS or sum(map(abs, factors)) > MOST_WEIGHT:
        raise ValueError(
            f"round_words takes 1 to {MOST_TERMS} terms with coefficients of at most {MOST_WEIGHT} in sum of "
            f"sizes; got {factors}; add terms up first"
        )
    return factors


def _at(powers: Sequence[NDArray[np.int32] | None], where: tuple[slice, slice]) -> _Scales:
    return _Scales(*(None if p is None else p[place] for p, place in zip(powers, where, strict=True)))


def _address(array: Array | None) -> int:
    return 0 if array is None else int(array.__array_interface__["data"][0])


def _layout(array: Array) -> tuple[int, int, int, int, int]:
    """Address, strides and extents of two axes."""
    return _address(array), array.strides[0], array.strides[1], array.shape[0], array.shape[1]


def _blocks(shape: tuple[int, ...], along: int | None = None) -> list[tuple[slice, slice]]:
    """Cut an axis into blocks: some for each thread, small ones for NumPy.

    Without an axis given: rows, or columns where rows are few.
    """
    rows, columns = shape
    elements = rows * columns
    if compiled is None:
        wanted = elements // BLOCK + 1
    else:
        count = threads.thread_count()
        wanted = 1 if count == 1 else min(4 * count, elements // INLINE)
    if along is None:
        along = 0 if rows >= min(columns, 8 * wanted) else 1
    axis, unit = along, (8, 64)[along]
    extent = shape[axis]
    size = -(-extent // max(1, wanted))
    size = -(-size // unit) * unit
    cuts = [slice(start, min(start + size, extent)) for start in range(0, extent, size)]
    everything = slice(0, shape[1 - axis])
    return [(cut, everything) if axis == 0 else (everything, cut) for cut in cuts]


def _run(block: Callable[[tuple[slice, slice]], None], blocks: list[tuple[slice, slice]]) -> None:
    threads.run([partial(block, where) for where in blocks], threads.thread_count())
