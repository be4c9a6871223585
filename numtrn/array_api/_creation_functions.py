"""Creation functions. Arrays of Python scalars get the default types: bool, int64, float64, complex128."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from numtrn.array import Array
from numtrn.array_api._data_types import DEFAULTS, as_dtype
from numtrn.array_api._helpers import check, common_device, given, host, made
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
    if isinstance(obj, Array):
        return _from_array(obj, wanted, obj.device if device is None else device, copy)
    data, inside = _data(obj, wanted)
    target = as_dtype(data.dtype) if wanted is None else wanted
    place = (common_device(*inside) or "cpu") if device is None else device
    shared = _is_shared(obj, data) and data.dtype == target
    if copy is False and not (shared and place == "cpu"):
        raise ValueError(
            f"copy=False, but {type(obj).__name__} cannot become {target} on {place} without a copy"
        )
    if not shared:
        return made(_converted(data, target, owned=data is not obj), place)
    if copy or place != "cpu":
        return made(data.copy(), place)
    return Array(data, owned=False)


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Array:
    """An array of what another library has made, through DLPack; of its memory where that can be had.

    Raises
    ------
    BufferError
        Where the data cannot be handed over.
    ValueError
        Where ``copy=False`` cannot be had.
    """
    if isinstance(x, Array):
        return _from_array(x, None, x.device if device is None else device, copy)
    place = "cpu" if device is None else device
    if copy is False and place != "cpu":
        raise ValueError(f"copy=False, but nothing comes to {place} without a copy")
    data = _imported(x)
    as_dtype(data.dtype)
    return made(data.copy(), place) if copy or place != "cpu" else Array(data, owned=False)


def _from_array(x: Array, dtype: np.dtype[Any] | None, device: str, copy: bool | None) -> Array:
    """A numtrn array as another one."""
    same = (dtype is None or x.dtype == dtype) and x.device == device
    if same:
        return x.copy() if copy else x
    if copy is False:
        raise ValueError(
            f"copy=False, but {x.dtype} on {x.device} becomes {dtype or x.dtype} on {device} by a copy only"
        )
    if dtype is None or x.dtype == dtype:
        return x.to_device(device)
    return made(_converted(host("asarray", x), dtype, owned=False), device)


def _data(obj: Any, dtype: np.dtype[Any] | None) -> tuple[HostArray, list[Array]]:
    """What is given as an ndarray, of its memory where possible, and the numtrn arrays in it."""
    if isinstance(obj, (np.ndarray, np.generic)):
        return np.asarray(obj), []
    if isinstance(obj, (list, tuple, *SCALARS)):
        inside: list[Array] = []
        return _of_sequence(_plain(obj, inside), dtype), inside
    try:
        return np.asarray(memoryview(obj)), []
    except TypeError:
        pass
    return (_imported(obj) if hasattr(obj, "__dlpack__") else np.asarray(obj)), []


def _imported(x: Any) -> HostArray:
    return np.from_dlpack(x)


def _is_shared(obj: Any, data: HostArray) -> bool:
    """Whether the data are the caller's memory."""
    return data is obj or not (data.flags.owndata or isinstance(obj, (list, tuple, np.generic, *SCALARS)))


def _plain(obj: Any, inside: list[Array]) -> Any:
    """Nested sequences with the values of numtrn arrays in their place; these are gathered."""
    if isinstance(obj, Array):
        inside.append(obj)
        return obj._values("array_api.asarray")
    if isinstance(obj, (list, tuple)):
        return [_plain(item, inside) for item in obj]
    return obj


def _of_sequence(obj: Any, dtype: np.dtype[Any] | None) -> HostArray:
    """Scalars, and nested sequences of them; integers alone are never anything but int64."""
    if dtype is not None:
        return np.asarray(obj, dtype)
    data = np.asarray(obj)
    if data.dtype == object or (data.dtype.kind in "uf" and data.size and _all_python_ints(obj)):
        if not _all_python_ints(obj):
            raise TypeError("asarray takes scalars of one shape, of bool, int, float and complex; got others")
        raise OverflowError("integers beyond int64 need a type: dtype=uint64, or a floating-point one")
    return data


def _all_python_ints(obj: Any) -> bool:
    return all(map(_all_python_ints, obj)) if isinstance(obj, list) else isinstance(obj, int)


def _converted(data: HostArray, dtype: np.dtype[Any], owned: bool) -> HostArray:
    """Memory of our own in that type."""
    if data.dtype.kind == "c" and dtype.kind not in "bc":
        raise TypeError(f"complex data cannot become {dtype}; take the real or the imaginary parts first")
    with np.errstate(all="ignore"):
        return data.astype(dtype, copy=not owned)


# ---- Of a shape ----


def empty(shape: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """An array whose elements are not set."""
    return made(np.empty(shape, _or_float(dtype)), device)


def zeros(shape: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """An array of zeros."""
    return made(np.zeros(shape, _or_float(dtype)), device)


def ones(shape: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """An array of ones."""
    return made(np.ones(shape, _or_float(dtype)), device)


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


def empty_like(x: Array, /, *, dtype: Any = None, device: str | None = None) -> Array:
    """As `empty`, with the shape, type and device of another array."""
    return empty(check("empty_like", x).shape, **_like(x, dtype, device))


def zeros_like(x: Array, /, *, dtype: Any = None, device: str | None = None) -> Array:
    """As `zeros`, with the shape, type and device of another array."""
    return zeros(check("zeros_like", x).shape, **_like(x, dtype, device))


def ones_like(x: Array, /, *, dtype: Any = None, device: str | None = None) -> Array:
    """As `ones`, with the shape, type and device of another array."""
    return ones(check("ones_like", x).shape, **_like(x, dtype, device))


def full_like(x: Array, /, fill_value: Any, *, dtype: Any = None, device: str | None = None) -> Array:
    """As `full`, with the shape, type and device of another array."""
    shape = check("full_like", x).shape
    return full(shape, fill_value, **_like(x, dtype, device))


def _like(x: Array, dtype: Any, device: str | None) -> dict[str, Any]:
    return {"dtype": x.dtype if dtype is None else dtype, "device": x.device if device is None else device}


def _or_float(dtype: Any) -> np.dtype[Any]:
    return DEFAULTS[float] if dtype is None else as_dtype(dtype)


# ---- Of a rule ----


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


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: str | None = None
) -> Array:
    """A matrix with ones on a diagonal, above the main one for ``k > 0``, and zeros elsewhere."""
    return made(np.eye(n_rows, n_cols, k=k, dtype=_or_float(dtype)), device)


# ---- Of other arrays ----


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
