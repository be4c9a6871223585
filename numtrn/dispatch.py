"""Provisional: the spine, to be written. Computes with NumPy."""

from __future__ import annotations

import numpy as np

from numtrn.request import Array, Contraction, Gemm, Operands, Request


def offer(request: Request, operands: Operands) -> Array | None:
    """Result of the request computed by kernels, or None where NumPy should compute it."""
    if isinstance(request, Gemm):
        c = operands.alpha * np.matmul(*operands.inputs)
        if request.reads_c:
            c = c + operands.beta * operands.c
        return c.astype(request.dtype)
    if isinstance(request, Contraction):
        return np.einsum(request.subscripts, *operands.inputs)
    return None
