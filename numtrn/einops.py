"""`einops` on numtrn arrays: ``import numtrn.einops`` once, then ``einops.rearrange(x, ...)`` and the rest.

einops finds the classes that derive from its AbstractBackend by itself, those of outside code too; its author
names that as the way for other libraries (arogozhnikov/einops: issue 120). ``einops.array_api`` needs none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from einops._backends import NumpyBackend

from numtrn.array import Array, asarray
from numtrn.request import Array as HostArray

__all__ = ["Backend"]


class Backend(NumpyBackend):  # type: ignore[misc] # einops has no types
    """NumPy's functions, which numtrn arrays carry out."""

    framework_name = "numtrn"

    def from_numpy(self, x: Any) -> Array:
        """A numtrn array of an ndarray."""
        return asarray(x)

    def to_numpy(self, x: Array) -> HostArray:
        """The ndarray of a numtrn array."""
        return np.asarray(x)

    def is_appropriate_type(self, tensor: Any) -> bool:
        """Whether it is a numtrn array."""
        return isinstance(tensor, Array)
