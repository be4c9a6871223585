"""Arrays that are not there: shape, dtype and place, but no data, for runs that only time a kernel.

An ``Absent`` takes part in NumPy's operations as if it held zeros, without computing: ufuncs give another
one of the right shape, and whatever else is asked of it is answered by an array of one zero seen at every
index. So instructions need no second version of themselves; only checks of values lose their meaning, and
none of them refuses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

__all__ = ["Absent", "absent"]

F32 = np.dtype(np.float32)


def absent(
    shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...] = (), offset: int = 0
) -> NDArray[Any]:
    """An array of ``shape`` without data; typed as an array, which it stands for."""
    return Absent(shape, np.dtype(dtype), strides, offset)  # type: ignore[return-value]


class Absent(NDArrayOperatorsMixin):
    """Shape and dtype of an array, and where it would lie in its storage, in elements."""

    __slots__ = ("dtype", "offset", "shape", "strides")

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...] = (), offset: int = 0
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.strides = strides
        self.offset = offset

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    @property
    def T(self) -> Absent:  # noqa: N802
        """Transposed."""
        return Absent(self.shape[::-1], self.dtype)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return np.broadcast_to(np.zeros((), dtype or self.dtype), self.shape)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        if out is not None:
            return out[0]
        if method == "__call__" and ufunc.signature is None and ufunc.nout == 1:
            return Absent(_joint(inputs), self.dtype if ufunc.nin == len(inputs) else F32)
        plain = [np.asarray(item) if type(item) is Absent else item for item in inputs]
        found: NDArray[Any] = getattr(ufunc, method)(*plain, **kwargs)
        return Absent(found.shape, found.dtype) if isinstance(found, np.ndarray) else found

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in (np.shares_memory, np.may_share_memory):
            return _share(*args[:2])
        if function is np.copyto:
            return None
        if function is np.array_equal:
            return True
        plain = [np.asarray(item) if type(item) is Absent else item for item in args]
        return function(*plain, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        return

    def __len__(self) -> int:
        return self.shape[0]

    def reshape(self, *shape: Any) -> Absent:
        """Another shape of as many elements."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        known = 1
        for extent in wanted:
            known *= extent if extent != -1 else 1
        return Absent(tuple(extent if extent != -1 else self.size // known for extent in wanted), self.dtype)

    def all(self, axis: Any = None) -> bool:
        """True: what holds for all values cannot be refused."""
        return True

    def any(self, axis: Any = None) -> bool:
        """False: no value is there to be found."""
        return False

    def astype(self, dtype: Any, **kwargs: Any) -> Absent:
        """The same shape in another dtype."""
        return Absent(self.shape, np.dtype(dtype))

    def copy(self) -> Absent:
        """Itself: there is nothing to copy."""
        return self

    def fill(self, value: Any) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


def _joint(inputs: tuple[Any, ...]) -> tuple[int, ...]:
    shapes = [np.shape(item) if type(item) is not Absent else item.shape for item in inputs]
    first = shapes[0]
    if all(shape == first or shape == () for shape in shapes):
        return tuple(first)
    return np.broadcast_shapes(*shapes)


def _share(one: Any, other: Any) -> bool:
    """Whether two places of one storage overlap; two that stand for no place do."""
    if not (type(one) is Absent and type(other) is Absent and one.strides and other.strides):
        return one is other
    return bool(np.shares_memory(_place(one), _place(other)))


_GROUND = np.empty(0, np.uint8)


def _place(value: Absent) -> NDArray[Any]:
    """The elements in memory that is never touched."""
    global _GROUND
    size = value.dtype.itemsize
    reach = value.offset + 1 + sum((n - 1) * s for n, s in zip(value.shape, value.strides, strict=True))
    if _GROUND.size < reach * size:
        _GROUND = np.empty(max(reach * size, 1 << 28), np.uint8)
    strides = [stride * size for stride in value.strides]
    return np.ndarray(value.shape, value.dtype, _GROUND, value.offset * size, strides)
