"""How fast NumPy multiplies matrices on this machine: measured once in a process, for predictions."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from numtrn.block import suspended
from numtrn.request import Gemm

__all__ = ["multiply_add_rate", "predicted_seconds"]

SIZE = 384
ROUNDS = 3
COMPLEX = {"complex64": "float32", "complex128": "float64"}


@cache
def multiply_add_rate(dtype: str) -> float:
    """Multiply-adds a second of ``np.matmul`` on square matrices, best of three, for a real dtype."""
    a = np.ones((SIZE, SIZE), dtype)
    best = float("inf")
    with suspended():
        for _ in range(ROUNDS):
            start = time.perf_counter()
            np.matmul(a, a)
            best = min(best, time.perf_counter() - start)
    return float(SIZE**3 / best)


def predicted_seconds(gemm: Gemm) -> float:
    """Predicted seconds of NumPy for a product, from its measured speed; complex ones count four."""
    dtype = COMPLEX.get(gemm.dtype, gemm.dtype)
    work = gemm.work * (4 if dtype != gemm.dtype else 1)
    return work / multiply_add_rate(dtype)
