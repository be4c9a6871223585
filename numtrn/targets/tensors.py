"""NumPy arrays as tensors of torch and back, bit by bit. Imports torch when it is used."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from numtrn.request import Array

__all__ = ["from_tensor", "to_tensor"]

CARRIERS: dict[str, tuple[type, str]] = {"bfloat16": (np.int16, "bfloat16")}
"""Dtypes that ``torch.from_numpy`` does not know: what they cross as, and their name in torch."""

WIDE = 4
"""Bytes of the largest elements: NKI has no wider ones (``aws-neuron/aws-neuron-sdk:
nki/api/nki.api.shared.rst``)."""


def to_tensor(array: Array) -> Any:
    """A CPU tensor of the same bits, with memory of its own.

    Its own, because sending it may read the memory later than the call that asks for it, when the caller of
    numtrn may have written to the array.

    Raises
    ------
    TypeError
        For 64-bit elements, which never cross, and for a dtype that the installed torch lacks.
    """
    import torch

    if array.dtype.itemsize > WIDE or array.dtype.kind == "c":
        raise TypeError(
            f"kernels take elements of at most 32 bits; got {array.dtype}. Cut them into words first"
        )
    own = np.array(array, order="C")
    if array.dtype.name in CARRIERS:
        carrier, name = CARRIERS[array.dtype.name]
        return torch.from_numpy(own.view(carrier)).view(getattr(torch, name))
    if not hasattr(torch, array.dtype.name):
        raise TypeError(
            f"torch {torch.__version__} has no {array.dtype.name}; NUMTRN_LAUNCHER=nki launches without torch"
        )
    return torch.from_numpy(own)


def from_tensor(tensor: Any) -> Array:
    """An array of the same bits as a tensor on the CPU."""
    import torch

    if tensor.dtype == torch.bfloat16:
        bits: Array = tensor.view(torch.int16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    array: Array = tensor.numpy()
    return array
