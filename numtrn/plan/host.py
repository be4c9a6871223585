"""How fast NumPy multiplies matrices on this machine: measured once and kept in the cache, for predictions.

Other routines of level 3 are taken to be as fast as the product, which few are: where they are slower, a call
stays with the host that a kernel would have been faster for.
"""

from __future__ import annotations

import os
import platform
import time
from functools import cache

import numpy as np

from numtrn import cache as records
from numtrn.block import suspended

__all__ = ["multiply_add_rate", "predicted_seconds"]

SIZE = 384
ROUNDS = 10
COMPLEX = {"complex64": "float32", "complex128": "float64"}

RECORD = "blas.json"
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@cache
def multiply_add_rate(dtype: str) -> float:
    """Multiply-adds a second of ``np.matmul`` on square matrices for a real dtype.

    As kept for this machine, NumPy, and number of threads; else measured, the best of ten, and kept.
    """
    key = f"{_machine()}, {dtype}"
    body, _ = records.read(RECORD)
    kept = body if isinstance(body, dict) else {}
    rate = kept.get(key)
    if not (isinstance(rate, float) and rate > 0):
        rate = _measured(dtype)
        records.write(RECORD, {**kept, key: rate})
    return rate


def predicted_seconds(work: int, dtype: str) -> float:
    """Predicted seconds of NumPy for so many multiply-adds, from its measured speed; complex count four."""
    real = COMPLEX.get(dtype, dtype)
    return work * (4 if real != dtype else 1) / multiply_add_rate(real)


def _measured(dtype: str) -> float:
    a = np.ones((SIZE, SIZE), dtype)
    best = float("inf")
    with suspended():
        for _ in range(ROUNDS):
            start = time.perf_counter()
            np.matmul(a, a)
            best = min(best, time.perf_counter() - start)
    return float(SIZE**3 / best)


def _machine() -> str:
    """What the rate depends on."""
    threads = ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ)
    parts = (
        platform.node(),
        platform.machine(),
        f"{os.cpu_count()} processors",
        f"NumPy {np.__version__}",
        threads,
    )
    return ", ".join(filter(None, parts))
