"""The operators ``numtrn::...``, registered with ``torch.library``: schemas, shapes, gradients, vmap.

The stable equivalent of TorchNeuron's ``@nki_op``, which takes the same name and ``mutates_args``
(``aws-neuron/aws-neuron-sdk: nki/get-started/about/index.rst``); gradients by ``register_autograd``, as
``frameworks/torch/pytorch-native-overview.rst`` there asks. Each gradient is made of the same operators, so
that it has gradients of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from numtrn.block import current, resumed
from numtrn.torch import device, host, rules
from numtrn.torch.pairs import pair_gradients
from numtrn.torch.rules import Tensor

__all__ = ["gemm", "mp2_pairs", "rank_k", "symm", "trmm", "trsm"]

SCHEMAS = {
    "gemm": "(Tensor a, Tensor b) -> Tensor",
    "rank_k": "(Tensor a) -> Tensor",
    "symm": "(Tensor s, Tensor b) -> Tensor",
    "trmm": "(Tensor t, Tensor b, bool upper=False) -> Tensor",
    "trsm": "(Tensor t, Tensor b, bool upper=False) -> Tensor",
    "mp2_pairs": "(Tensor b, Tensor eps_occ, Tensor eps_vir) -> Tensor",
}


def _registered(name: str) -> Any:
    """An operator with its implementations, and shapes for tensors without elements."""
    operator = torch.library.custom_op(
        f"numtrn::{name}", getattr(host, name), mutates_args=(), device_types="cpu", schema=SCHEMAS[name]
    )
    operator.register_kernel(tuple(device.DEVICES), getattr(device, name))
    operator.register_fake(getattr(rules, name))
    return operator


gemm, rank_k, symm, trmm, trsm, mp2_pairs = (_registered(name) for name in SCHEMAS)


# ---- Gradients ----


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.block = current()
    ctx.save_for_backward(*(x for x in inputs if isinstance(x, torch.Tensor)))
    ctx.upper = inputs[-1] is True


def _keep_solution(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.block = current()
    ctx.save_for_backward(inputs[0], output)
    ctx.upper = inputs[-1]


def _gemm_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, b = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    return gemm(grad, b.mH) if wanted[0] else None, gemm(a.mH, grad) if wanted[1] else None


def _rank_k_gradient(ctx: Any, grad: Tensor) -> Tensor:
    (a,) = ctx.saved_tensors
    return symm(grad + grad.mT, a)


def _symm_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    s, b = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    whole = gemm(grad, b.mT) if wanted[0] else None
    in_s = None if whole is None else torch.tril(whole) + torch.tril(whole.mT, -1)
    return in_s, symm(s, grad) if wanted[1] else None


def _trmm_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    t, b = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    in_t = host.triangle(gemm(grad, b.mT), ctx.upper) if wanted[0] else None
    return in_t, trmm(t.mT, grad, not ctx.upper) if wanted[1] else None, None


def _trsm_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    t, x = ctx.saved_tensors
    in_b = trsm(t.mT, grad, not ctx.upper)
    in_t = host.triangle(-gemm(in_b, x.mT), ctx.upper) if ctx.needs_input_grad[0] else None
    return in_t, in_b, None


def _mp2_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    b, eps_occ, eps_vir = ctx.saved_tensors
    return pair_gradients(grad, b, eps_occ, eps_vir, gemm)


GRADIENTS = (
    (gemm, _gemm_gradients, _keep_inputs),
    (rank_k, _rank_k_gradient, _keep_inputs),
    (symm, _symm_gradients, _keep_inputs),
    (trmm, _trmm_gradients, _keep_inputs),
    (trsm, _trsm_gradients, _keep_solution),
    (mp2_pairs, _mp2_gradients, _keep_inputs),
)


def _in_the_block(gradients: Callable[[Any, Tensor], Any]) -> Callable[[Any, Tensor], Any]:
    """In the block of the forward pass, as a device's gradients are computed in a thread of PyTorch's."""

    def backward(ctx: Any, grad: Tensor) -> Any:
        with resumed(None if grad.device.type == "cpu" else ctx.block):
            return gradients(ctx, grad)

    return backward


for _operator, _gradients, _keep in GRADIENTS:
    _operator.register_autograd(_in_the_block(_gradients), setup_context=_keep)


# ---- vmap: stacks of matrices have any number of leading axes, so one more is the same operator ----


def _mapped(operator: Any) -> Callable[..., tuple[Tensor, int]]:
    def rule(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        stacked = [
            _in_front(x, dim, info.batch_size) if isinstance(x, torch.Tensor) else x
            for x, dim in zip(inputs, in_dims, strict=True)
        ]
        return operator(*stacked), 0

    return rule


def _in_front(x: Tensor, dim: int | None, size: int) -> Tensor:
    """The mapped axis first; of a tensor that is not mapped, one that repeats it."""
    return x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)


def _one_by_one(*stacked: Tensor) -> Tensor:
    """Pair sums of each set of orbitals."""
    sets = zip(*stacked, strict=True)
    return torch.stack([mp2_pairs(*orbitals) for orbitals in sets])


for _operator in (gemm, rank_k, symm, trmm, trsm):
    _operator.register_vmap(_mapped(_operator))
mp2_pairs.register_vmap(_mapped(_one_by_one))
