"""The products that precision asks for, made by kernels on one target.

This package knows the kernels' layouts, ships operands block by block, and keeps on the target what several
launches use. Nothing the caller owns is written here. `products` is the whole; `pieces` cuts, `packing` and
`planes` make operands, `lane` launches, `blocks` takes results apart, `exact` judges sums of digits.
"""

from numtrn.engine.exact import CERTAIN_SUMS, group_of
from numtrn.engine.products import KernelEngine

__all__ = ["CERTAIN_SUMS", "KernelEngine", "group_of"]
