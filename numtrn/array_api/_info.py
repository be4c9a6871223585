"""Inspection: what the namespace can do here. Asking has no side effects."""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.array.devices import CPU, DEVICES
from numtrn.array_api._data_types import DEFAULTS, DTYPES, KINDS
from numtrn.targets import availability

__all__ = ["Info", "__array_namespace_info__"]

NUMPY_2 = np.lib.NumpyVersion(np.__version__) >= "2.0.0"


class Info:
    """What `__array_namespace_info__` gives."""

    def capabilities(self) -> dict[str, Any]:
        """What the namespace supports, and the most axes that an array has."""
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64 if NUMPY_2 else 32,
        }

    def default_device(self) -> str:
        """The device of arrays whose making does not name one."""
        return CPU

    def default_dtypes(self, *, device: str | None = None) -> dict[str, np.dtype[Any]]:
        """Types of arrays whose making does not name one; the same on all devices."""
        self._known(device)
        return {
            "real floating": DEFAULTS[float],
            "complex floating": DEFAULTS[complex],
            "integral": DEFAULTS[int],
            "indexing": np.dtype(np.intp),
        }

    def dtypes(
        self, *, device: str | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype[Any]]:
        """The types of a kind, of any of several, or all, by name; the same on all devices.

        Raises
        ------
        ValueError
            For an unknown kind.
        """
        self._known(device)
        kinds = tuple(KINDS) if kind is None else kind if isinstance(kind, tuple) else (kind,)
        unknown = [one for one in kinds if one not in KINDS]
        if unknown:
            raise ValueError(f"dtypes takes the kinds {', '.join(map(repr, KINDS))}; got {unknown[0]!r}")
        letters = "".join(KINDS[one] for one in kinds)
        return {name: dtype for name, dtype in DTYPES.items() if dtype.kind in letters}

    def devices(self) -> tuple[str, ...]:
        """The devices on which arrays can be made here."""
        problems = availability()
        return tuple(name for name in DEVICES if not problems.get(name.partition(":")[0]))

    def _known(self, device: str | None) -> None:
        if device is not None and device not in self.devices():
            raise ValueError(f"the devices here are {', '.join(self.devices())}; got {device!r}")


def __array_namespace_info__() -> Info:  # noqa: N807 - the standard's name
    """Functions to inspect the namespace."""
    return Info()
