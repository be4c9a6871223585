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

    inputs, output, operands = parse_einsum_input(tuple(args))
    return f"{inputs}->{output}", tuple(np.asarray(operand) for operand in operands)
