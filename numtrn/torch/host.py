"""The operators on tensors in host memory: requests for numtrn's dispatcher, PyTorch where that declines.

Tensors become views; nothing is copied on the way in but bfloat16, and conjugates that PyTorch has put off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np
import torch

from numtrn import dispatch
from numtrn.block import OpenBlock, current, suspended
from numtrn.request import (
    Array,
    Gemm,
    Mp2,
    Operands,
    Request,
    Solve,
    Structure,
    Triangle,
    Triangular,
    k_is_fast,
)
from numtrn.torch import rules
from numtrn.torch.pairs import pair_sums
from numtrn.torch.rules import Tensor

__all__ = ["gemm", "mp2_pairs", "rank_k", "symm", "trmm", "trsm"]


def gemm(a: Tensor, b: Tensor) -> Tensor:
    """C = A B; see `numtrn.torch.gemm`."""
    empty = rules.gemm(a, b)
    return _product("gemm", a, b, empty, lambda: torch.matmul(a, b), _relation(a, b))


def rank_k(a: Tensor) -> Tensor:
    """C = A A^T; see `numtrn.torch.rank_k`."""
    empty = rules.rank_k(a)
    return _product("rank_k", a, a.mT, empty, lambda: torch.matmul(a, a.mT), "syrk")


def symm(s: Tensor, b: Tensor) -> Tensor:
    """C = S B; see `numtrn.torch.symm`."""
    empty = rules.symm(s, b)
    return _product("symm", s, b, empty, lambda: torch.matmul(mirrored(s), b), "symm", "lower")


def trmm(t: Tensor, b: Tensor, upper: bool = False) -> Tensor:
    """C = T B; see `numtrn.torch.trmm`."""
    empty = rules.trmm(t, b)
    return _product("trmm", t, b, empty, lambda: torch.matmul(triangle(t, upper), b), "trmm", _half(upper))


def trsm(t: Tensor, b: Tensor, upper: bool = False) -> Tensor:
    """X = T^-1 B, a solve for each matrix of a stack; see `numtrn.torch.trsm`."""
    empty = rules.trsm(t, b)
    if t.ndim > 2:
        for place in np.ndindex(*t.shape[:-2]):
            empty[place] = trsm(t[place], b[place], upper)
        return empty

    def asked() -> _Asked:
        request = Solve(
            function="numtrn.torch.trsm",
            dtype=rules.short(t),
            n=b.shape[0],
            columns=b.shape[1],
            factors=(Triangular(uplo=_half(upper)),),
        )
        return _Asked(request, Operands(inputs=(_array(t), _array(b)), host=_Host()))

    return _computed(asked, empty, lambda: torch.linalg.solve_triangular(t, b, upper=upper))


def mp2_pairs(b: Tensor, eps_occ: Tensor, eps_vir: Tensor) -> Tensor:
    """Pair sums; see `numtrn.torch.mp2_pairs`."""
    empty = rules.mp2_pairs(b, eps_occ, eps_vir)
    nocc, nvir, naux = b.shape
    gap = nocc == 0 or nvir == 0 or bool(eps_occ.max() < eps_vir.min())

    def asked() -> _Asked:
        request = Mp2(
            function="numtrn.torch.mp2_pairs",
            dtype=rules.short(b),
            nocc=(nocc, nocc),
            nvir=(nvir, nvir),
            naux=naux,
        )
        refusal = "" if gap else "the highest e_i is not below the lowest e_a: no kernel divides by such D"
        operands = Operands(inputs=(_array(b), _array(eps_occ), _array(eps_vir)))
        return _Asked(request, operands, refusal)

    return _computed(asked, empty, lambda: pair_sums(b, eps_occ, eps_vir, torch.matmul))


def mirrored(s: Tensor) -> Tensor:
    """A symmetric matrix in full, of its lower triangle."""
    return torch.tril(s) + torch.tril(s, -1).mT


def triangle(t: Tensor, upper: bool) -> Tensor:
    """One triangle of a matrix, zeros beside it."""
    return torch.triu(t) if upper else torch.tril(t)


class _Asked(NamedTuple):
    """A call as the dispatcher takes it, or why it does not."""

    request: Request
    operands: Operands
    refusal: str = ""


def _product(
    operator: str,
    a: Tensor,
    b: Tensor,
    empty: Tensor,
    by_torch: Callable[[], Tensor],
    structure: Structure,
    stored: Triangle | None = None,
) -> Tensor:
    """A product of stacks of matrices."""
    *stack, m, k = a.shape
    n, batch = b.shape[-1], prod(stack)

    def asked() -> _Asked:
        # Products of two bfloat16 are float32 numbers: what kernels take for it is exact.
        narrow = a.dtype == torch.bfloat16
        left, right = (_array(x.float() if narrow else x) for x in (a, b))
        inputs = left.reshape(batch, m, k), right.reshape(batch, k, n)
        request = Gemm(
            function=f"numtrn.torch.{operator}",
            dtype=left.dtype.name,
            batch=batch,
            m=m,
            k=k,
            n=n,
            structure=structure,
            stored=stored,
            k_is_fast=k_is_fast(*inputs),
        )
        return _Asked(request, Operands(inputs=inputs))

    return _computed(asked, empty, by_torch)


def _computed(asked: Callable[[], _Asked], empty: Tensor, by_torch: Callable[[], Tensor]) -> Tensor:
    """By kernels where a block is open and has them; else by PyTorch, timed where there is a record."""
    block = current()
    if block is None:
        with rules.without_autocast(empty):
            return by_torch().contiguous()
    with suspended(), rules.without_autocast(empty):  # what is computed on the way is not to be caught
        value = _offered(block, asked(), empty)
        if value is not None:
            return torch.from_numpy(value.reshape(empty.shape)).to(empty.dtype)
        start = time.perf_counter()
        computed = by_torch().contiguous()
    block.session.time_last(time.perf_counter() - start)
    return computed


def _offered(block: OpenBlock, asked: _Asked, empty: Tensor) -> Array | None:
    if asked.refusal:
        dispatch.refuse_in(block, asked.request, asked.refusal)
        return None
    if empty.dtype == torch.bfloat16:
        block = replace(block, options=replace(block.options, precision="bfloat16"))
    value = dispatch.offer_in(block, asked.request, asked.operands)
    return None if value is None else _positive(np.require(value, requirements=["C", "W"]))


class _Host:
    """PyTorch's solver for the blocks on a diagonal; see `numtrn.request.Host`."""

    def solve(self, factor: Array, columns: Array, *, unit: bool) -> None:
        """Overwrite the columns with the solution for a lower triangular factor."""
        given = (torch.from_numpy(x.copy()) for x in (factor, columns))
        solution = torch.linalg.solve_triangular(*given, upper=False, unitriangular=unit)
        np.copyto(columns, solution.numpy())

    def cholesky(self, a: Array) -> tuple[Array, int]:
        """No operator asks for it."""
        raise NotImplementedError("numtrn.torch factors nothing")


def _relation(a: Tensor, b: Tensor) -> Structure:
    """Whether B is A^T in the same memory."""
    turned = a.mT
    same = (a.data_ptr(), a.is_conj(), a.is_neg()) == (b.data_ptr(), b.is_conj(), b.is_neg())
    return "syrk" if same and (turned.shape, turned.stride()) == (b.shape, b.stride()) else "general"


def _array(tensor: Tensor) -> Array:
    """A tensor as an ndarray, of the same memory where PyTorch put nothing off."""
    array: Array = tensor.detach().resolve_conj().resolve_neg().numpy()
    return array


def _positive(array: Array) -> Array:
    """An array without negative strides, which PyTorch does not have; one of a single row may be so."""
    return array.copy() if min(array.strides, default=1) < 0 else array


def _half(upper: bool) -> Triangle:
    return "upper" if upper else "lower"
