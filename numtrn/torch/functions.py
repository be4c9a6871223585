"""The operators as functions that broadcast stacks of matrices, as `torch.matmul` does."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from numtrn.torch import operators
from numtrn.torch.rules import Tensor

__all__ = ["gemm", "mp2_pairs", "rank_k", "symm", "trmm", "trsm"]


def gemm(a: Tensor, b: Tensor) -> Tensor:
    """C = A B.

    Parameters
    ----------
    a, b
        (..., m, k) and (..., k, n) of one dtype; stacks broadcast. float64, float32, bfloat16, complex64 and
        complex128 have kernels; PyTorch computes the rest. bfloat16 is multiplied exactly, added in float32
        and rounded once.

    Raises
    ------
    TypeError, ValueError
        For two dtypes or devices, and shapes that do not fit.
    KernelError, VerificationError
        As any product in a block of numtrn's.
    """
    return _called(operators.gemm, *_broadcast(a, b))


def rank_k(a: Tensor) -> Tensor:
    """C = A A^T of a real A (..., m, k), of which about half is computed; the rest is its mirror image."""
    return _called(operators.rank_k, a)


def symm(s: Tensor, b: Tensor) -> Tensor:
    """C = S B with a real symmetric S (..., m, m), of which the lower triangle is read."""
    return _called(operators.symm, *_broadcast(s, b))


def trmm(t: Tensor, b: Tensor, *, upper: bool = False) -> Tensor:
    """C = T B with a real triangular T (..., m, m), of which that triangle is read."""
    return _called(operators.trmm, *_broadcast(t, b), upper)


def trsm(t: Tensor, b: Tensor, *, upper: bool = False) -> Tensor:
    """X = T^-1 B with a real triangular T (..., m, m), of which that triangle is read."""
    return _called(operators.trsm, *_broadcast(t, b), upper)


def mp2_pairs(b: Tensor, eps_occ: Tensor, eps_vir: Tensor) -> Tensor:
    """Pair sums of density-fitted MP2, (2, nocc, nocc) float64: direct, then exchange.

    With T_ab = sum_Q B_iaQ B_jbQ and D_ab = e_i + e_j - e_a - e_b, direct is sum_ab T_ab^2 / D_ab and
    exchange sum_ab T_ab T_ba / D_ab; the energy of opposite spin is the sum of direct, that of same spin the
    sum of direct less exchange.

    Parameters
    ----------
    b
        (nocc, nvir, naux) float32 or float64.
    eps_occ, eps_vir
        (nocc,) and (nvir,) float64.
    """
    return _called(operators.mp2_pairs, b, eps_occ, eps_vir)


def _called(operator: Any, *operands: Any) -> Tensor:
    """The operator, unless it would drop a tangent: PyTorch gives those that are registered with it no rule.

    Raises
    ------
    NotImplementedError
        For derivatives in forward mode.
    """
    tensors = [x for x in operands if isinstance(x, torch.Tensor)]
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(x).tangent is not None for x in tensors):
        raise NotImplementedError(
            "numtrn.torch has derivatives in reverse mode only, as in torch.autograd.grad; got an operand "
            "with a tangent, of torch.func.jvp or forward_ad"
        )
    return operator(*operands)


def _broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The same matrices in stacks of one shape; what cannot be is left for the operator's own message."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[:-2] == b.shape[:-2]:
        return a, b
    try:
        stack = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except RuntimeError:
        raise ValueError(
            "stacks of matrices broadcast over their leading axes; "
            f"{tuple(a.shape)} and {tuple(b.shape)} do not"
        ) from None
    return a.expand(*stack, *a.shape[-2:]), b.expand(*stack, *b.shape[-2:])
