"""The operators on tensors of a Neuron device, which no element leaves: kernels for real products in fp32.

Untried: no device was at hand. PyTorch pads and cuts tensors on the device, the block's target launches with
them, for which it must be one that takes device tensors, and PyTorch computes the rest there. Elements cannot
be looked at without waiting for them: whether sums overflow, or hold NaN and Inf, is the device's affair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import partial
from math import prod

import torch

from numtrn import dispatch
from numtrn.block import OpenBlock, current, suspended
from numtrn.errors import KernelError
from numtrn.launch import Account, Outcome
from numtrn.plan import AnyPlan, Plan, Refusal, make_plan
from numtrn.plan.tiling import Tiling
from numtrn.request import Gemm, Operands
from numtrn.targets import Resident, Target
from numtrn.torch import host, rules
from numtrn.torch.rules import Tensor
from numtrn.verify import verify

__all__ = ["DEVICES", "gemm", "mp2_pairs", "rank_k", "symm", "trmm", "trsm"]

DEVICES = {"xla": "xla", "privateuseone": "neuron"}
"""Keys of the dispatcher, and what tensors call their device: torch_xla's, and TorchNeuron's, which is
PyTorch's PrivateUse1 (``aws-neuron/aws-neuron-sdk: frameworks/torch/pytorch-native-overview.rst``)."""

OPERANDS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
"""Tensors that kernels take there, and the operand type of a scheme that takes them as they are."""


def gemm(a: Tensor, b: Tensor) -> Tensor:
    """C = A B; see `numtrn.torch.gemm`."""
    rules.gemm(a, b)
    return _multiply("gemm", a, b)


def rank_k(a: Tensor) -> Tensor:
    """C = A A^T as a product like any other."""
    rules.rank_k(a)
    return _multiply("rank_k", a, a.mT)


def symm(s: Tensor, b: Tensor) -> Tensor:
    """C = S B as a product like any other."""
    rules.symm(s, b)
    return _multiply("symm", host.mirrored(s), b)


def trmm(t: Tensor, b: Tensor, upper: bool = False) -> Tensor:
    """C = T B as a product like any other."""
    rules.trmm(t, b)
    return _multiply("trmm", host.triangle(t, upper), b)


def trsm(t: Tensor, b: Tensor, upper: bool = False) -> Tensor:
    """X = T^-1 B, by PyTorch."""
    rules.trsm(t, b)
    _narrow_enough("trsm", t)
    with rules.without_autocast(b):
        return torch.linalg.solve_triangular(t, b, upper=upper)


def mp2_pairs(b: Tensor, eps_occ: Tensor, eps_vir: Tensor) -> Tensor:
    """Pair sums are float64, which the device has not: an error says so."""
    rules.mp2_pairs(b, eps_occ, eps_vir)
    _narrow_enough("mp2_pairs", eps_occ)
    raise AssertionError("energies that are not float64 have been refused")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Done(Account):
    """A product on the device."""

    value: Tensor


def _multiply(operator: str, a: Tensor, b: Tensor) -> Tensor:
    """By kernels where a block is open and its plan says so, else by PyTorch on the device."""
    _narrow_enough(operator, a)
    block = current()
    done = None if block is None else _offered(block, operator, a, b)
    if done is not None:
        return done
    with rules.without_autocast(a):
        return torch.matmul(a, b)


def _offered(block: OpenBlock, operator: str, a: Tensor, b: Tensor) -> Tensor | None:
    *stack, m, k = a.shape
    n, batch = b.shape[-1], prod(stack)
    if a.dtype == torch.bfloat16:
        block = replace(block, options=replace(block.options, precision="bfloat16"))
    request = Gemm(
        function=f"numtrn.torch.{operator}",
        dtype="float32" if a.dtype == torch.bfloat16 else rules.short(a),
        batch=batch,
        m=m,
        k=k,
        n=n,
        k_is_fast=(_k_is_fast(block.target, a), _k_is_fast(block.target, b.mT)),
        held=(True, True),
        stays=True,
    )
    plan = make_plan(request, block.options, block.target.name, block.refusals)
    reason = plan.reason if isinstance(plan, Refusal) else _unserved(plan, a)
    if reason:
        dispatch.refuse_in(block, request, reason)
        return None
    assert isinstance(plan, Plan)
    left, right = a.reshape(batch, m, k), b.reshape(batch, k, n)
    with suspended():  # what is computed on the way is not to be caught
        done = dispatch.account_in(block, plan, partial(_launched, plan, left, right, block.target))
        if done is None:
            return None
        if block.options.verify:
            _verified(plan, left, right, done)
    return done.value.to(a.dtype).reshape(*a.shape[:-1], n)


def _unserved(plan: AnyPlan, a: Tensor) -> str:
    """Why a plan is not for the device; empty where it is."""
    if a.dtype not in OPERANDS:
        return f"{rules.short(a)} has no kernel for tensors on the device; float32 and bfloat16 have"
    if plan.scheme.operand_dtype != OPERANDS[a.dtype] or plan.scheme.terms > 1:
        return f"{plan.scheme.name} scales its operands on the host, and these are on {a.device}"
    return ""


def _launched(plan: Plan, a: Tensor, b: Tensor, target: Target) -> _Done:
    """Every launch of a product of A (batch, m, k) and B (batch, k, n)."""
    t = plan.tilings[0]
    batches, rows, depths, columns = (range(pieces) for pieces in t.pieces)
    left = _Side(a, (t.batch, t.m, t.k), t.pieces[:3], plan.gemm.k_is_fast[0])
    right = _Side(b.mT, (t.batch, t.n, t.k), (t.pieces[0], t.pieces[3], t.pieces[2]), plan.gemm.k_is_fast[1])

    def block(i: int, row: int, column: int) -> Tensor:
        parts = [launch(target, t, left.piece(i, row, k), right.piece(i, column, k)) for k in depths]
        return sum(parts[1:], start=parts[0]).reshape(t.batch, t.m, t.n)

    whole = _joined(
        0, (_joined(1, (_joined(2, (block(i, r, c) for c in columns)) for r in rows)) for i in batches)
    )
    return _Done(
        value=_in_order(_part(whole, (0, 0, 0), (*a.shape[:2], b.shape[2]))),
        launches=t.launches,
        bytes=0,
        slices=None,
        form="",
        # Sums over pieces of K are formed in fp32 there.
        bound=plan.bound + (t.pieces[2] - 1) * 2.0**-23 / plan.scheme.unit,
        underflow=0.0,
        note="operands and result are tensors of the device",
    )


def _verified(plan: Plan, left: Tensor, right: Tensor, done: _Done) -> None:
    """Compare with NumPy on the host, to which all of it is copied."""
    a, b, value = (x.float().cpu().numpy() for x in (left, right, done.value))
    figures = {figure.name: getattr(done, figure.name) for figure in fields(Account)}
    verify(plan, Operands(inputs=(a, b)), Outcome(value=value, **figures))


class _Side:
    """An operand (batch, rows, k) with zeros around, in pieces as launches take them."""

    def __init__(
        self, operand: Tensor, shape: tuple[int, ...], pieces: tuple[int, ...], k_is_fast: bool
    ) -> None:
        missing = [n * size - extent for n, size, extent in zip(pieces, shape, operand.shape, strict=True)]
        around = [amount for extent in reversed(missing) for amount in (0, extent)]
        self._padded = torch.nn.functional.pad(operand, around) if any(missing) else operand
        self._shape, self._k_is_fast = shape, k_is_fast

    def piece(self, *place: int) -> Tensor:
        """Stacked along the rows, or where these are neighbours in memory, along k."""
        found = _part(self._padded, place, self._shape)
        found = found if self._k_is_fast else found.mT
        return _in_order(found.reshape(-1, found.shape[-1]))


def _part(tensor: Tensor, place: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """The part of that shape at a place, counted in such parts."""
    for axis, (number, size) in enumerate(zip(place, shape, strict=True)):
        if tensor.shape[axis] != size:
            tensor = tensor.narrow(axis, number * size, size)
    return tensor


def _joined(axis: int, parts: Iterable[Tensor]) -> Tensor:
    """Parts beside each other; a single one is not copied."""
    found = list(parts)
    return found[0] if len(found) == 1 else torch.cat(found, axis)


def _in_order(tensor: Tensor) -> Tensor:
    """In C order, as launches take operands."""
    return tensor if tensor.is_contiguous() else tensor.clone(memory_format=torch.contiguous_format)


def launch(target: Target, t: Tiling, left: Tensor, right: Tensor) -> Tensor:
    """One launch of a target with device tensors, whose result must be one of the tiling's shape.

    Raises
    ------
    KernelError
        When it is not.
    """
    (kept,) = target.keep(t.kernel, (Resident(left), Resident(right)), t.parameters)
    found = kept.value
    if not isinstance(found, torch.Tensor) or found.device != left.device:
        raise KernelError(
            f"target {target.name} gave {type(found).__name__} for tensors on {left.device}: it launches "
            "with arrays of the host. Move the operands there, a.cpu(), or open the block with a target that "
            "launches with device tensors"
        )
    if tuple(found.shape) != t.result_shape or found.dtype != torch.float32:
        raise KernelError(
            f"kernel {t.kernel} must give {t.result_shape} float32; target {target.name} gave "
            f"{tuple(found.shape)} {rules.short(found)}"
        )
    return found


def _k_is_fast(target: Target, matrix: Tensor) -> bool:
    """Whether the kernel is to turn A (..., m, k): not where its columns lie in order.

    Nor on trn1, where turning by TensorE spreads NaN and Inf; PyTorch turns the matrix there.
    """
    by_columns = matrix.mT.is_contiguous() and not matrix.is_contiguous()
    return target.chip.name != "trn1" and not by_columns


def _narrow_enough(operator: str, tensor: Tensor) -> None:
    """The hardware has no wider types (``aws-neuron/aws-neuron-sdk: compiler/error-codes/ESFH002.rst``)."""
    if tensor.dtype in (torch.float64, torch.complex128):
        raise TypeError(
            f"numtrn.torch.{operator}: the device computes with 32 bits and less; got {rules.short(tensor)} "
            f"on {tensor.device}. Of tensors on the host, a.cpu(), numtrn makes float64 results with kernels"
        )
