"""Tensors of the CPU as arrays of the same bits, and back; with real torch or the stand-in."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch


def to_array(tensor: Any) -> np.ndarray:
    """A CPU tensor as an array of the same bits."""
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def from_array(array: np.ndarray) -> Any:
    """An array as a CPU tensor of the same bits, with memory of its own."""
    own = np.array(array, order="C")
    if own.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(own.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(own)
