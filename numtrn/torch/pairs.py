"""Pair sums of density-fitted MP2 and their gradients, as products and PyTorch's elementwise arithmetic.

An occupied orbital at a time: (nvir, nocc, nvir) integrals are there at once. Both functions are made of
differentiable parts, so that gradients of gradients come by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import torch

from numtrn.torch.rules import Tensor

__all__ = ["Multiply", "pair_gradients", "pair_sums"]

Multiply: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class _Slab(NamedTuple):
    """Of one i: integrals (ia|jb) as (a, j, b) float64, those with a and b exchanged, and D."""

    i: int
    t: Tensor
    exchanged: Tensor
    d: Tensor


def pair_sums(b: Tensor, eps_occ: Tensor, eps_vir: Tensor, multiply: Multiply) -> Tensor:
    """Direct and exchange sums (2, nocc, nocc) float64; see `numtrn.torch.mp2_pairs`."""
    rows = [
        torch.stack([(slab.t * other / slab.d).sum((0, 2)) for other in (slab.t, slab.exchanged)])
        for slab in _slabs(b, eps_occ, eps_vir, multiply)
    ]
    return torch.stack(rows, 1) if rows else eps_occ.new_zeros((2, 0, 0))


def pair_gradients(
    grad: Tensor, b: Tensor, eps_occ: Tensor, eps_vir: Tensor, multiply: Multiply
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients in B and in the energies of sum(grad * sums)."""
    _, nvir, naux = b.shape
    direct, exchange = (part[:, None, :, None] for part in grad + grad.mT)
    in_b, in_occ, in_vir = [], torch.zeros_like(eps_occ), torch.zeros_like(eps_vir)
    for slab in _slabs(b, eps_occ, eps_vir, multiply):
        weighted = (direct[slab.i] * slab.t + exchange[slab.i] * slab.exchanged) / slab.d
        flat = (2 * weighted).to(b.dtype).reshape(nvir, -1)
        in_b.append(multiply(flat, b.reshape(-1, naux)))
        # (i, j) and (j, i) share their D; each i is met once, hence with the weight of both.
        by_d = -weighted * slab.t / slab.d
        one = torch.nn.functional.one_hot(torch.tensor(slab.i), len(eps_occ)).to(by_d)
        in_occ = in_occ + one * by_d.sum()
        in_vir = in_vir - by_d.sum((1, 2))
    return torch.stack(in_b), in_occ, in_vir


def _slabs(b: Tensor, eps_occ: Tensor, eps_vir: Tensor, multiply: Multiply) -> Iterator[_Slab]:
    nocc, nvir, naux = b.shape
    others = b.reshape(-1, naux).mT
    for i in range(nocc):
        t = multiply(b[i], others).double().reshape(nvir, nocc, nvir)
        d = eps_occ[i] + eps_occ[None, :, None] - eps_vir[:, None, None] - eps_vir[None, None, :]
        yield _Slab(i, t, t.transpose(0, 2), d)
