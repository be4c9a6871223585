"""What a product gives back: its value with the promise, or the reason why NumPy is to compute it."""

from __future__ import annotations

from dataclasses import dataclass

from numtrn.request import Array

__all__ = ["Declined", "NotFinite", "Product"]


class Declined(Exception):  # noqa: N818 -- no error: the caller goes on with NumPy
    """The data make NumPy the better place; ``reason`` says why in words and figures."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotFinite(Exception):  # noqa: N818 -- no error: those rows and columns are computed apart
    """Rows of A and columns of B that hold NaN or Inf, as masks (batch, m) and (batch, n)."""

    def __init__(self, rows: Array, columns: Array) -> None:
        super().__init__(f"{int(rows.sum())} rows, {int(columns.sum())} columns")
        self.rows = rows
        self.columns = columns


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A computed product.

    Attributes
    ----------
    value
        C (batch, m, n), fresh and C-contiguous, of the operands' dtype.
    slices
        Digit planes of each operand, or None where the scheme has none.
    bound
        |C - AB| <= bound * unit * |A||B| componentwise, plus underflow; ``unit`` is the scheme's. Of
        complex products this holds for real and imaginary part, with |Ar||Br| + |Ai||Bi| and
        |Ar||Bi| + |Ai||Br| for |A||B|. Of a normwise product |A_i||B_j| takes the place of |A||B|.
    underflow
        Added to the bound: this times the largest |A_i,k| of the row and |B_k,j| of the column. Not zero
        only at a lowered precision, where scaled operands are multiplied in fp32's range of exponents.
    note
        What the data made of the scheme, for a session to show; may be empty.
    """

    value: Array
    slices: int | None
    bound: float
    note: str
    underflow: float = 0.0
