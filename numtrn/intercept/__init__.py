"""Catching NumPy's and SciPy's matrix products on plain arrays.

Five layers stand in front of NumPy's and SciPy's own code; they are installed once per process and do
nothing outside a block. A call inside one becomes a `numtrn.request.Request`, is offered to
`numtrn.dispatch`, and either its result is stored where the caller wants it, or the original runs. What can
be computed by kernels is not decided here.
"""

from numtrn.intercept.gate import Token, enter, leave, small_calls
from numtrn.intercept.layers import LayerStatus, install, status

__all__ = ["LayerStatus", "Token", "enter", "install", "leave", "small_calls", "status"]
