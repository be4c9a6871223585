"""Einsum's arguments in one form: explicit subscripts of one letter per label, and a tuple of arrays.

The parsing is opt_einsum's; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numtrn.request import Array

__all__ = ["parse"]


def parse(args: Sequence[Any]) -> tuple[str, tuple[Array, ...]]:
    """Subscripts and operands of an einsum call.

    Parameters
    ----------
    args
        Its positional arguments, in any of einsum's forms: explicit, implicit, with ellipses, or with
        lists of integers.

    Returns
    -------
    subscripts : str
        Such as ``"ij,jk->ik"``.
    operands : tuple of ndarray

    Raises
    ------
    ValueError, TypeError
        Where the subscripts do not fit the operands.
    """
    # Imported where used: a block without einsum need not pay for it.
    from opt_einsum.parser import parse_einsum_input

    inputs, output, given = parse_einsum_input(tuple(args))
    operands = tuple(np.asarray(operand) for operand in given)
    _check(inputs.split(","), output, operands)
    return f"{inputs}->{output}", operands


def _check(terms: Sequence[str], output: str, operands: Sequence[Array]) -> None:
    """What opt_einsum leaves to whoever computes: extents that agree, and an output of distinct labels."""
    if len(set(output)) < len(output) or not set(output) <= set("".join(terms)):
        raise ValueError(f"einsum's output names labels of its operands, each once; got {output!r}")
    extents: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        if len(term) != operand.ndim:
            raise ValueError(f"einsum's term {term!r} names {len(term)} axes; its operand has {operand.ndim}")
        for label, extent in zip(term, operand.shape, strict=True):
            if extent != 1 and extents.setdefault(label, extent) != extent:
                raise ValueError(f"einsum's label {label!r} has two extents, {extents[label]} and {extent}")
