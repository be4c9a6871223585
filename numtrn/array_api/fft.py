"""The extension fft of the standard. Results have the precision of what is transformed, on every NumPy.

Real numbers are taken where the standard has complex ones. NumPy's FFT computes all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Literal

import numpy as np

from numtrn.array import Array
from numtrn.array_api._arguments import DType, quiet
from numtrn.array_api._helpers import given, host, made, placed
from numtrn.request import Array as HostArray

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]

Norm = Literal["backward", "ortho", "forward"]

# ---- Along one axis ----


def fft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The discrete Fourier transform along an axis, which is padded with zeros or trimmed to ``n``."""
    return _one(np.fft.fft, x, n, axis, norm)


def ifft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The inverse of `fft`."""
    return _one(np.fft.ifft, x, n, axis, norm)


def rfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The half that is not redundant of `fft` of real numbers: n // 2 + 1 elements."""
    return _one(np.fft.rfft, x, n, axis, norm, kinds="real floating")


def irfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The inverse of `rfft`: ``n`` real numbers, by default 2 (M - 1)."""
    return _one(np.fft.irfft, x, n, axis, norm, real=True)


def hfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The transform of a signal with Hermitian symmetry: ``n`` real numbers, by default 2 (M - 1)."""
    return _one(np.fft.hfft, x, n, axis, norm, real=True)


def ihfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The inverse of `hfft`: n // 2 + 1 complex numbers."""
    return _one(np.fft.ihfft, x, n, axis, norm, kinds="real floating")


# ---- Along several axes ----


def fftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Array:
    """The discrete Fourier transform along several axes, or all, padded or trimmed to extents ``s``.

    Raises
    ------
    ValueError
        Where there is ``s`` without as many ``axes``.
    """
    return _several(np.fft.fftn, x, s, axes, norm)


def ifftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Array:
    """The inverse of `fftn`."""
    return _several(np.fft.ifftn, x, s, axes, norm)


def rfftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Array:
    """`rfft` along the last of the axes, then `fft` along the others."""
    return _several(np.fft.rfftn, x, s, axes, norm, kinds="real floating")


def irfftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Norm = "backward"
) -> Array:
    """The inverse of `rfftn`, real; along the last of the axes by default of 2 (M - 1) elements."""
    return _several(np.fft.irfftn, x, s, axes, norm, real=True)


# ---- Frequencies ----


@placed
def fftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: str | None = None) -> Array:
    """The frequencies that belong to `fft` of ``n`` samples at a distance ``d``; float64 by default."""
    rising = (index(n) + 1) // 2
    return _frequencies("fftfreq", [*range(rising), *range(rising - n, 0)], n, d, dtype, device)


@placed
def rfftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: str | None = None) -> Array:
    """The frequencies that belong to `rfft` of ``n`` samples at a distance ``d``; float64 by default."""
    return _frequencies("rfftfreq", range(index(n) // 2 + 1), n, d, dtype, device)


def fftshift(x: Array, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """The elements moved so that frequency 0 is in the middle, along some axes or all."""
    return given(np.fft.fftshift(host("fftshift", x), _axes(axes)), x)


def ifftshift(x: Array, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """The inverse of `fftshift`."""
    return given(np.fft.ifftshift(host("ifftshift", x), _axes(axes)), x)


# ---- What they share ----


@quiet
def _one(
    function: Callable[..., HostArray],
    x: Array,
    n: int | None,
    axis: int,
    norm: Norm,
    *,
    kinds: str = "floating",
    real: bool = False,
) -> Array:
    values = host(function.__name__, x, kinds)
    return given(_precisely(function(values, n=n, axis=axis, norm=norm), values.dtype, real), x)


@quiet
def _several(
    function: Callable[..., HostArray],
    x: Array,
    s: Sequence[int] | None,
    axes: Sequence[int] | None,
    norm: Norm,
    *,
    kinds: str = "floating",
    real: bool = False,
) -> Array:
    values = host(function.__name__, x, kinds)
    extents = _extents(function.__name__, values.shape, s, axes, real)
    result = function(values, s=extents, axes=axes, norm=norm)
    result = values.copy() if result is values else result  # of no axes
    return given(_precisely(result, values.dtype, real), x)


def _extents(
    name: str, shape: Sequence[int], s: Sequence[int] | None, axes: Sequence[int] | None, real: bool
) -> list[int] | None:
    """The extents asked for; -1 becomes that by which all elements are used."""
    if s is None:
        return None
    if axes is None or len(axes) != len(s):
        raise ValueError(f"{name} takes as many axes as extents; got s={s} and axes={axes}")
    whole = [shape[axis] for axis in axes]
    if real and whole:
        whole[-1] = 2 * (whole[-1] - 1)
    return [known if extent == -1 else extent for extent, known in zip(s, whole, strict=True)]


def _precisely(values: HostArray, dtype: DType, real: bool) -> HostArray:
    """A transform in the precision of what was transformed; NumPy 1.26 computes all in float64."""
    single = dtype in (np.float32, np.complex64)
    if real:
        return values.astype(np.float32 if single else np.float64, copy=False)
    return values.astype(np.complex64 if single else np.complex128, copy=False)


@quiet
def _frequencies(
    name: str, numbers: Sequence[int], n: int, d: float, dtype: DType | None, device: str | None
) -> Array:
    chosen = np.dtype(np.float64 if dtype is None else dtype)
    if chosen.kind != "f":
        raise TypeError(
            f"{name} gives real floating-point numbers; got dtype={chosen}. Use float32 or float64"
        )
    if n < 1:
        raise ValueError(f"{name} takes a number of samples of at least 1; got {n}")
    values = np.asarray(numbers, dtype=np.float64) / (n * np.float64(d))
    return made(values.astype(chosen, copy=False), device)


def _axes(axes: int | Sequence[int] | None) -> int | tuple[int, ...] | None:
    return tuple(axes) if isinstance(axes, Sequence) else axes
