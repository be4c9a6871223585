"""What the operators take, and the shape and dtype of what they give. No element is looked at.

The same checks answer for real tensors and for those without elements that ``torch.compile`` traces with.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch

__all__ = ["Tensor", "gemm", "mp2_pairs", "rank_k", "short", "symm", "trmm", "trsm", "without_autocast"]

Tensor: TypeAlias = Any
"""torch.Tensor, whose types are not there where torch is not."""

SOLVED = (torch.float32, torch.float64)


def gemm(a: Tensor, b: Tensor) -> Tensor:
    """An empty C (..., m, n) for A (..., m, k) and B (..., k, n)."""
    _alike("gemm", a=a, b=b)
    _matrices("gemm", a=a, b=b)
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"{_name('gemm')}: A has k columns and B k rows; got {_shapes(a, b)}")
    _same_stack("gemm", a, b)
    return a.new_empty((*a.shape[:-1], b.shape[-1]))


def rank_k(a: Tensor) -> Tensor:
    """An empty C (..., m, m) for A (..., m, k)."""
    _matrices("rank_k", a=a)
    _real("rank_k", a)
    return a.new_empty((*a.shape[:-1], a.shape[-2]))


def symm(s: Tensor, b: Tensor) -> Tensor:
    """An empty C (..., m, n) for S (..., m, m) and B (..., m, n)."""
    return _sided("symm", s, b)


def trmm(t: Tensor, b: Tensor, upper: bool = False) -> Tensor:
    """An empty C (..., m, n) for T (..., m, m) and B (..., m, n)."""
    return _sided("trmm", t, b)


def trsm(t: Tensor, b: Tensor, upper: bool = False) -> Tensor:
    """An empty X (..., m, n) for T (..., m, m) and B (..., m, n)."""
    if t.dtype not in SOLVED:
        raise TypeError(f"{_name('trsm')} solves in float32 or float64; got {short(t)}")
    return _sided("trsm", t, b)


def mp2_pairs(b: Tensor, eps_occ: Tensor, eps_vir: Tensor) -> Tensor:
    """An empty (2, nocc, nocc) float64 for B (nocc, nvir, naux) and its energies."""
    name = _name("mp2_pairs")
    if b.dtype not in SOLVED or eps_occ.dtype != torch.float64 or eps_vir.dtype != torch.float64:
        raise TypeError(
            f"{name} takes B in float32 or float64 and energies in float64; got "
            f"{short(b)}, {short(eps_occ)} and {short(eps_vir)}"
        )
    _one_device("mp2_pairs", b=b, eps_occ=eps_occ, eps_vir=eps_vir)
    if b.ndim != 3 or eps_occ.shape != b.shape[:1] or eps_vir.shape != b.shape[1:2]:
        raise ValueError(
            f"{name} takes B (nocc, nvir, naux), eps_occ (nocc,) and eps_vir (nvir,); got "
            f"{_shapes(b, eps_occ, eps_vir)}"
        )
    return eps_occ.new_empty((2, b.shape[0], b.shape[0]))


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Have PyTorch compute in the operands' own dtype, as the operators promise."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _sided(operator: str, square: Tensor, b: Tensor) -> Tensor:
    _alike(operator, a=square, b=b)
    _matrices(operator, a=square, b=b)
    _real(operator, square)
    if square.shape[-1] != square.shape[-2]:
        raise ValueError(f"{_name(operator)} takes a square matrix first; got {_shapes(square)}")
    if square.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"{_name(operator)}: B has as many rows as the square matrix; got {_shapes(square, b)}"
        )
    _same_stack(operator, square, b)
    return b.new_empty(b.shape)


def _alike(operator: str, **tensors: Tensor) -> None:
    """One dtype, one device."""
    first, second = tensors.values()
    if first.dtype != second.dtype:
        raise TypeError(
            f"{_name(operator)} takes matrices of one dtype; got {short(first)} and {short(second)}. "
            "Convert one of them, as in b.to(a.dtype)"
        )
    _one_device(operator, **tensors)


def _one_device(operator: str, **tensors: Tensor) -> None:
    devices = {str(tensor.device) for tensor in tensors.values()}
    if len(devices) > 1:
        raise ValueError(
            f"{_name(operator)} takes tensors of one device; got {' and '.join(sorted(devices))}. "
            "Move one of them, as in b.to(a.device)"
        )


def _matrices(operator: str, **tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            raise ValueError(
                f"{_name(operator)} takes matrices, or stacks of them; {name} has the shape "
                f"{_shapes(tensor)}. A vector is a matrix of one column: x[:, None]"
            )


def _same_stack(operator: str, a: Tensor, b: Tensor) -> None:
    if a.shape[:-2] != b.shape[:-2]:
        raise ValueError(
            f"torch.ops.numtrn.{operator} takes stacks of one shape; got {_shapes(a, b)}. "
            f"{_name(operator)} broadcasts them"
        )


def _real(operator: str, tensor: Tensor) -> None:
    if tensor.dtype.is_complex:
        raise TypeError(
            f"{_name(operator)} takes real matrices; got {short(tensor)}. gemm takes complex ones"
        )


def _name(operator: str) -> str:
    return f"numtrn.torch.{operator}"


def short(tensor: Tensor) -> str:
    """The dtype by its name, ``"float32"``, which is NumPy's and a request's too."""
    return str(tensor.dtype).removeprefix("torch.")


def _shapes(*tensors: Tensor) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
