"""The little of torch that a launcher needs, where torch is not installed: tensors around NumPy arrays."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

__version__ = "2.9.0"


class device:
    def __init__(self, type: str, index: int | None = None) -> None:
        self.type, _, number = type.partition(":")
        self.index = int(number) if number else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        return f"{self.type}:{self.index}"


class dtype:
    def __init__(self, name: str, numpy: Any) -> None:
        self.name, self.numpy = name, np.dtype(numpy)
        self.itemsize = self.numpy.itemsize

    def __repr__(self) -> str:
        return f"torch.{self.name}"


_FLOATS = ("float64", "float32", "float16", "complex64", "complex128")
_NAMES = (*_FLOATS, *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))
_DTYPES = {name: dtype(name, name) for name in _NAMES}
_DTYPES["bfloat16"] = dtype("bfloat16", ml_dtypes.bfloat16)
globals().update(_DTYPES)
_to_device: dict[str, Any] = {}


class Tensor:
    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    device = device("cpu")
    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: _DTYPES[self._array.dtype.name])
    nbytes = property(lambda self: self._array.nbytes)

    def is_contiguous(self) -> bool:
        return self._array.flags.c_contiguous

    def contiguous(self) -> Tensor:
        return type(self)(np.ascontiguousarray(self._array))

    def view(self, kind: dtype) -> Tensor:
        return type(self)(self._array.view(kind.numpy))

    def reshape(self, *shape: int) -> Tensor:
        return type(self)(self._array.reshape(*shape))

    def to(self, where: Any) -> Tensor:
        found = where if isinstance(where, device) else device(where)
        return self if found.type == "cpu" else _to_device[found.type](self, found)

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        if self._array.dtype == ml_dtypes.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._array

    def detach(self) -> Tensor:
        return self


def from_numpy(array: np.ndarray) -> Tensor:
    if array.dtype.name not in _NAMES:
        raise TypeError(f"can't convert np.ndarray of type {array.dtype}")
    if not array.flags.writeable:
        import warnings

        warnings.warn("The given NumPy array is not writable", UserWarning, stacklevel=2)
    return Tensor(array)
