"""The private modules of NumPy that are looked into, under the names that NumPy 1 and 2 give them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

__all__ = ["einsumfunc", "ufunc_api"]

_core = "numpy.core" if np.__version__.startswith("1.") else "numpy._core"

einsumfunc: Any = import_module(f"{_core}.einsumfunc")
"""Where ``np.einsum`` is defined."""

ufunc_api: Any = import_module(f"{_core}._multiarray_umath")._UFUNC_API
"""Capsule of NumPy's table of C functions; it lies in the extension module that calls BLAS."""
