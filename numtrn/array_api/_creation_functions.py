"""Creation functions. Arrays of Python scalars get the default types: bool, int64, float64, complex128."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from numtrn import array
from numtrn.array import Array
from numtrn.array_api._data_types import DEFAULTS, as_dtype
from numtrn.array_api._helpers import check, common_device, given, host, made, placed, together
from numtrn.request import Array as HostArray

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "linspace",
    "meshgrid",
    "ones",
    "ones_like",
    "tril",
    "triu",
    "zeros",
    "zeros_like",
]

SCALARS = (bool, int, float, complex)


# ---- From data ----


@placed
def asarray(obj: Any, /, *, dtype: Any = None, device: str | None = None, copy: bool | None = None) -> Array:
    """An array of what is given, in its own memory or in the caller's.

    Parameters
    ----------
    obj : Array, ndarray, scalar, nested sequence of scalars and of arrays, buffer, or DLPack producer
        An array without a device of its own goes to ``device``, and to the default one without that.
    copy : bool, optional
        True: always. False: never. None: where it cannot be helped.

    Raises
    ------
    ValueError
        Where ``copy=False`` cannot be had.
    OverflowError
        For Python integers that no int64 holds, where no type is given.
    TypeError
        For data of other types than the standard's.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, (list, tuple, *SCALARS)) and not isinstance(obj, np.generic):
        return _from_sequence(obj, wanted, device, copy)
    data = obj if isinstance(obj, Array) else _memory(obj)
    target = as_dtype(data.dtype) if wanted is None else wanted
    _check_kinds(data.dtype, target)
    with np.errstate(all="ignore"):
        return array.asarray(data, target, device=device, copy=copy)


@placed
def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Array:
    """An array of what another library has made, through DLPack; of its memory where that can be had.

    Raises
    ------
    BufferError
        Where the data cannot be handed over.
    ValueError
        Where ``copy=False`` cannot be had.
    """
    data = x if isinstance(x, Array) else _imported(x)
    return array.asarray(data, as_dtype(data.dtype), device=device, copy=copy)


def _from_sequence(obj: Any, dtype: np.dtype[Any] | None, device: str | None, copy: bool | None) -> Array:
    """Scalars, and nested sequences of them and of numtrn arrays, which say where the result is."""
    if copy is False:
        raise ValueError(f"copy=False, but a {type(obj).__name__} has no memory to share. Leave copy out")
    place = common_device(*_inside(obj)) if device is None else device
    plain = _plain(obj)
    data = np.asarray(plain)
    if dtype is None:
        _check_integers(data, plain)
    target = as_dtype(data.dtype) if dtype is None else dtype
    if data.dtype != target:
        _check_kinds(data.dtype, target)
        data = np.asarray(plain, target)
    return made(data, place)


def _inside(obj: Any) -> Iterator[Array]:
    """The numtrn arrays in nested sequences."""
    if isinstance(obj, Array):
        yield obj
    elif isinstance(obj, (list, tuple)):
        for item in obj:
            yield from _inside(item)


def _plain(obj: Any) -> Any:
    """Nested sequences with the values of numtrn arrays in their place."""
    if isinstance(obj, Array):
        return obj._values("array_api.asarray")
    if isinstance(obj, (list, tuple)):
        return [_plain(item) for item in obj]
    return obj


def _check_integers(data: HostArray, plain: Any) -> None:
    """Refuse integers that NumPy would make something else than int64 of."""
    if data.size and data.dtype.kind in "ufO" and _are_integers(plain):
        raise OverflowError("integers beyond int64 need a type: dtype=uint64, or a floating-point one")


def _are_integers(obj: Any) -> bool:
    return all(map(_are_integers, obj)) if isinstance(obj, list) else isinstance(obj, int)


def _check_kinds(dtype: np.dtype[Any], target: np.dtype[Any]) -> None:
    if dtype.kind == "c" and target.kind not in "bc":
        raise TypeError(f"complex data cannot become {target}; take the real or the imaginary parts first")


def _memory(obj: Any) -> HostArray:
    """What is given as an ndarray, of its memory where possible."""
    if isinstance(obj, (np.ndarray, np.generic)):
        return obj  # type: ignore[return-value]
    try:
        return np.asarray(memoryview(obj))
    except TypeError:
        return _imported(obj) if hasattr(obj, "__dlpack__") else np.asarray(obj)


def _imported(x: Any) -> HostArray:
    return np.from_dlpack(x)


# ---- Of a shape ----


@placed
def empty(shape: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """An array whose elements are not set."""
    return made(np.empty(shape, _or_float(dtype)), device)


@placed
def zeros(shape: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """An array of zeros."""
    return made(np.zeros(shape, _or_float(dtype)), device)


@placed
def ones(shape: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """An array of ones."""
    return made(np.ones(shape, _or_float(dtype)), device)


@placed
def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """An array of one value, in the default type of its kind where none is given.

    Raises
    ------
    OverflowError
        For an integer that the type does not hold.
    """
    value = asarray(fill_value, dtype=dtype)
    if value.ndim:
        raise ValueError(f"full takes a scalar to fill with; got an array of shape {value.shape}")
    return made(np.full(shape, host("full", value)), device)


@placed
def empty_like(x: Array, /, *, dtype: Any = None, device: str | None = None) -> Array:
    """As `empty`, with the shape, type and device of another array."""
    return empty(check("empty_like", x).shape, **_like(x, dtype, device))


@placed
def zeros_like(x: Array, /, *, dtype: Any = None, device: str | None = None) -> Array:
    """As `zeros`, with the shape, type and device of another array."""
    return zeros(check("zeros_like", x).shape, **_like(x, dtype, device))


@placed
def ones_like(x: Array, /, *, dtype: Any = None, device: str | None = None) -> Array:
    """As `ones`, with the shape, type and device of another array."""
    return ones(check("ones_like", x).shape, **_like(x, dtype, device))


@placed
def full_like(x: Array, /, fill_value: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """As `full`, with the shape, type and device of another array."""
    shape = check("full_like", x).shape
    return full(shape, fill_value, **_like(x, dtype, device))


def _like(x: Array, dtype: Any, device: str | None) -> dict[str, Any]:
    return {"dtype": x.dtype if dtype is None else dtype, "device": x.device if device is None else device}


def _or_float(dtype: Any) -> np.dtype[Any]:
    return DEFAULTS[float] if dtype is None else as_dtype(dtype)


# ---- Of a rule ----


@placed
def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
) -> Array:
    """Evenly spaced numbers from ``start`` (0 where only one number is given) to below ``stop``.

    Raises
    ------
    ZeroDivisionError
        For ``step=0``.
    OverflowError
        For integers that no int64 holds, where no type is given.
    """
    first, last = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(x, int) for x in (first, last, step))
    target = DEFAULTS[int if whole else float] if dtype is None else as_dtype(dtype)
    return made(np.arange(first, last, step, dtype=target), device)


@placed
def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: str | None = None,
    endpoint: bool = True,
) -> Array:
    """So many evenly spaced numbers from ``start`` to ``stop``, or to the one before that."""
    is_complex = isinstance(start, complex) or isinstance(stop, complex)
    target = DEFAULTS[complex if is_complex else float] if dtype is None else as_dtype(dtype)
    with np.errstate(all="ignore"):
        return made(np.linspace(start, stop, num, dtype=target, endpoint=endpoint), device)


@placed
def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: str | None = None
) -> Array:
    """A matrix with ones on a diagonal, above the main one for ``k > 0``, and zeros elsewhere."""
    return made(np.eye(n_rows, n_cols, k=k, dtype=_or_float(dtype)), device)


# ---- Of other arrays ----


@together
def meshgrid(*arrays: Array, indexing: Literal["xy", "ij"] = "xy") -> tuple[Array, ...]:
    """Coordinates on the grid that arrays of one axis span, one array of all points for each.

    Raises
    ------
    ValueError
        For arrays of more axes.
    """
    values: Sequence[HostArray] = [host("meshgrid", x) for x in arrays]
    for x in values:
        if x.ndim > 1:
            raise ValueError(f"meshgrid takes arrays of one axis; got shape {x.shape}")
    return tuple(given(x, *arrays) for x in np.meshgrid(*values, indexing=indexing))


def tril(x: Array, /, *, k: int = 0) -> Array:
    """Matrices with zeros above the ``k``-th diagonal.

    Raises
    ------
    ValueError
        For fewer than two axes.
    """
    return given(np.tril(_matrices("tril", x), k), x)


def triu(x: Array, /, *, k: int = 0) -> Array:
    """Matrices with zeros below the ``k``-th diagonal.

    Raises
    ------
    ValueError
        For fewer than two axes.
    """
    return given(np.triu(_matrices("triu", x), k), x)


def _matrices(function: str, x: Array) -> HostArray:
    if check(function, x).ndim < 2:
        raise ValueError(f"{function} takes arrays of two axes or more; got shape {x.shape}")
    return host(function, x)
