"""Recorded arrays get their values: through the plans of a block, with an entry in its session, or by NumPy.

What is asked is MP2's pair energies where the expression is that (`numtrn.array.fuse`), else products of
blocks (`numtrn.array.tiles`).
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from numtrn import dispatch
from numtrn.array.fuse import PairEnergies, pair_energies
from numtrn.array.record import Node, Product, Source, nodes, products
from numtrn.array.recording import in_words
from numtrn.array.tiles import Multiply, Reduction, choose, fill, reduce
from numtrn.block import OpenBlock, suspended
from numtrn.request import Array, Operands
from numtrn.session import Call, Session

__all__ = ["evaluate", "materialise"]


def evaluate(reduction: Reduction, block: OpenBlock | None) -> Array:
    """The value of a reduction; no array of the size of its terms is made.

    Parameters
    ----------
    reduction
        From `numtrn.array.recording.reduction`.
    block
        Whose plans and session; None: NumPy computes.

    Raises
    ------
    KernelError, VerificationError
        As `numtrn.dispatch.offer_in`; everything recorded stays as it is, so that it can be tried again.
    """
    with suspended():
        refused = ""
        pairs = None if block is None else pair_energies(reduction)
        if block is not None and pairs is not None:
            value, refused = _asked(block, pairs, reduction)
            if value is not None:
                return value
        tiling = choose(reduction)
        value = reduce(reduction, tiling, _multiplier(block))
    if block is not None:
        made = (
            f"never built: computed in {tiling.count} tiles" if tiling.count > 1 else "made once, as one tile"
        )
        words = f"{_named(reduction)} {made}, elementwise part and sums by NumPy"
        if refused:
            words += f"; no request for pair energies of MP2: {refused}"
        _note(block, reduction.function, reduction.nodes, words)
    return value


def materialise(node: Node, why: str, block: OpenBlock | None) -> Array:
    """The value of a node as an array in C order.

    Parameters
    ----------
    node
        What is recorded.
    why
        What asked for it, for the session: ``"numpy.linalg.norm"``.
    block
        As of `evaluate`.
    """
    with suspended():
        value = fill(node, _multiplier(block))
    if block is not None and products(node):
        _note(block, why, (node,), f"materialised {_size(node)}: used as a whole by {why}")
    return value


def _multiplier(block: OpenBlock | None) -> Multiply:
    """Makes blocks of products: by kernels where the block's plan says so, else by NumPy's BLAS."""

    def multiply(product: Product, operands: tuple[Array, ...]) -> Array:
        if block is not None:
            value = dispatch.offer_in(block, product.request(operands), Operands(inputs=operands))
            if value is not None:
                return value
        return np.asarray(np.einsum(product.subscripts, *operands, optimize=True))

    return multiply


_answered: weakref.WeakKeyDictionary[Product, dict[Any, Array]] = weakref.WeakKeyDictionary()
"""By contraction, and by session and question, d and x."""


def _asked(block: OpenBlock, pairs: PairEnergies, reduction: Reduction) -> tuple[Array | None, str]:
    """The reduction from one request for pair energies, or None and why it was refused."""
    known = _answered.setdefault(pairs.integrals, {})
    key = (weakref.ref(block.session), pairs.question)
    if key in known:
        words = f"{_named(reduction)} never built: from the pair energies of an earlier call"
        _note(block, reduction.function, reduction.nodes, words)
        return pairs.value(known[key]), NOT_FINITE
    sums, reason = _requested(block, pairs, reduction)
    if sums is None:
        return None, reason
    known[key] = sums
    return pairs.value(sums), NOT_FINITE


NOT_FINITE = "a pair energy is not finite"


def _requested(block: OpenBlock, pairs: PairEnergies, reduction: Reduction) -> tuple[Array | None, str]:
    """D and x, or None and why.

    A refusal is no call of the session's: what then computes the integrals is.
    """
    aside = Session(block.session.target, block.session.chip)
    try:
        sums = dispatch.offer_in(replace(block, session=aside), pairs.request, pairs.operands)
    except BaseException:
        for call in aside.calls:
            block.session.record(call)
        raise
    for call in aside.calls:
        if sums is not None:
            words = f"{_named(reduction)} never built; {_copies(reduction.nodes)}"
            scheme = ", ".join(filter(None, (call.scheme, "MP2 in one request: (ia|jb) never built")))
            call = replace(call, scheme=scheme, reason="; ".join(filter(None, (call.reason, words))))
        if sums is not None or call.failed:
            block.session.record(call)
    return sums, aside.calls[-1].reason if aside.calls else "declined"


def _named(reduction: Reduction) -> str:
    """The products of a reduction, in words."""
    names = dict.fromkeys(f"{in_words(one)} {_size(one)}" for one in products(*reduction.nodes))
    return ", ".join(names)


def _size(node: Node) -> str:
    gigabytes = prod(node.shape) * node.dtype.itemsize / 1e9
    amount = f"{gigabytes:.2g} GB" if gigabytes >= 0.1 else f"{1e3 * gigabytes:.2g} MB"
    return f"({'x'.join(map(str, node.shape))}, {amount})"


def _copies(roots: tuple[Node, ...]) -> str:
    """Bytes that were copied to keep operands as they were, in words."""
    kept = {id(one.kept): one.kept for one in nodes(*roots) if isinstance(one, Source) and one.kept}
    return f"copies of operands {sum(one.flat.nbytes for one in kept.values()) / 1e6:.1f} MB"


def _note(block: OpenBlock, function: str, roots: tuple[Node, ...], words: str) -> None:
    """An entry of the session that counts no multiply-adds: those of the products are counted already."""
    call = Call(
        function=function,
        shapes=tuple(root.shape for root in roots),
        dtype=roots[0].dtype.name,
        route="numpy",
        reason=f"{words}; {_copies(roots)}",
        work=0,
        contraction=False,
        target=block.target.name,
        chip=block.target.chip.name,
    )
    block.session.record(call)
