"""Rows of A and columns of B that hold NaN or Inf: computed by NumPy, apart from the rest.

What NumPy's own product has there, NaN, Inf and warnings, is then NumPy's. Nothing is scaled or cut here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from numtrn.precision.records import Declined, Product
from numtrn.request import Array

__all__ = ["gemm_apart"]

MOST = 0.25
"""Share of the rows or columns beyond which NumPy does better with the whole product."""


def gemm_apart(
    gemm: Callable[[Array, Array], Product], a: Array, b: Array, rows: Array, columns: Array
) -> Product:
    """A product whose rows and columns marked are NumPy's, and the others ``gemm``'s.

    Parameters
    ----------
    gemm
        Computes a product of finite operands.
    a, b
        (batch, m, k) and (batch, k, n).
    rows, columns
        Masks (batch, m) and (batch, n) of what is not finite.

    Raises
    ------
    Declined
        When more than a quarter of the rows or columns are marked, and always of complex products: which
        of Inf and NaN their parts hold depends on the routine that NumPy takes. When NumPy's part raises,
        as `np.errstate` or a filter of warnings may ask: the whole call then does as it does without us.
    """
    if a.dtype.kind == "c" or max(rows.mean(), columns.mean()) > MOST:
        raise Declined(
            f"operands hold NaN or Inf, in {int(rows.sum())} of {rows.size} rows of A and "
            f"{int(columns.sum())} of {columns.size} columns of B; NumPy propagates them"
        )
    computed = gemm(
        np.where(rows[:, :, np.newaxis], a.dtype.type(0), a),
        np.where(columns[:, np.newaxis, :], b.dtype.type(0), b),
    )
    try:
        for i in np.flatnonzero(rows.any(axis=1) | columns.any(axis=1)):
            if rows[i].any():
                computed.value[i, rows[i]] = a[i, rows[i]] @ b[i]
            if columns[i].any():
                computed.value[i][:, columns[i]] = a[i] @ b[i][:, columns[i]]
    except (FloatingPointError, RuntimeWarning) as raised:  # by errstate or a filter of warnings: the user's
        raise Declined(f"operands hold NaN or Inf, and NumPy raises {type(raised).__name__}") from raised
    note = f"{int(rows.sum())} rows and {int(columns.sum())} columns with NaN or Inf by NumPy"
    return replace(computed, note=f"{computed.note}; {note}" if computed.note else note)
