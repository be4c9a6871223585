"""Fingerprints of arrays' contents, by which a changed operand is told from an unchanged one.

Two contents of n bytes are taken for the same with a probability of at most n / 2^63 (``_digest.c`` has the
method and its source). The point is drawn for each process: fingerprints of two processes say nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    compiled: Any = import_module("numtrn._digest")
except ImportError:  # not built on this platform
    compiled = None

__all__ = ["contents", "dense"]

PRIME = 2**61 - 1
_point = 2**32 + secrets.randbelow(PRIME - 2**32)
_key = secrets.token_bytes(32)


def dense(x: NDArray[Any]) -> NDArray[Any] | None:
    """The elements of an array in the order of memory, 1-d, a view; None where there are gaps."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    turned = x[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in x.strides)].transpose(order)
    return turned.reshape(-1) if turned.flags.c_contiguous else None


def contents(x: NDArray[Any]) -> bytes | None:
    """A fingerprint of an array's elements as they lie in memory; None where there are gaps."""
    flat = dense(x)
    if flat is None or flat.dtype.hasobject:
        return None
    if compiled is None:
        return hashlib.blake2b(flat.view(np.uint8).data, digest_size=32, key=_key).digest()
    found: bytes = compiled.digest(flat.__array_interface__["data"][0], flat.nbytes, _point)
    return found
