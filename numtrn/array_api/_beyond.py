"""Names beyond the standard that libraries look up in an array's namespace all the same: NumPy's functions.

xarray does, for `pad`, `shift`, `rolling`, `quantile`, `differentiate` and `cross` (pydata/xarray:
xarray/core/duck_array_ops.py). They are in no ``__all__``.
"""

from numpy import cross, einsum, gradient, pad, quantile, transpose

__all__ = ["cross", "einsum", "gradient", "pad", "quantile", "transpose"]
