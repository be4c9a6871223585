"""The explicit way in: numtrn arrays, whose NumPy functions are planned without any C hook.

They work where the hooks of `numtrn.intercept` are off. What has a kernel is planned while a block is open;
everything else is NumPy's, with numtrn arrays coming back.
"""

from numtrn.array.array import Array, asarray
from numtrn.array.protocols import asked

__all__ = ["Array", "asarray", "asked"]
