"""What precision asks of whoever multiplies, and what it hands over. Two protocols, no code."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Digits", "Engine"]


class Digits(Protocol):
    """Signed base-256 digits of a scaled matrix, made when asked for, so that no full-size planes exist.

    Element (i, row, k) of the matrix is sum over p of P_p 2^(-7 - 8 p), up to its row's power of two, in
    planes p = 0 (most significant) .. slices - 1. The right operand is handed over transposed: its
    "rows" are the columns of B.

    Attributes
    ----------
    batch, rows, k
        Extents.
    slices
        Number of planes.
    peak
        Largest possible |digit|: 128, or 256 for digit-wise sums. Up to 2^24 / peak^2 products of digits
        add exactly in fp32.
    """

    @property
    def batch(self) -> int:
        """Number of matrices."""
        ...

    @property
    def rows(self) -> int:
        """Rows of A, or columns of B."""
        ...

    @property
    def k(self) -> int:
        """Extent of the contraction."""
        ...

    @property
    def slices(self) -> int:
        """Number of planes."""
        ...

    @property
    def peak(self) -> int:
        """Largest possible |digit|."""
        ...

    def block(self, batch: int, rows: slice, k: slice) -> NDArray[np.float32]:
        """Planes of one block, fresh, (k, slices, rows): integers of at most ``peak``, exact in bf16.

        Digits depend on the element, its row's exponent and ``slices`` only, not on the block.
        """
        ...


class Engine(Protocol):
    """Makes products of batches of matrices. Results are fresh arrays, which the caller may overwrite."""

    def product(
        self, lhs: NDArray[np.float32], rhs: NDArray[np.float32], operand_dtype: str
    ) -> NDArray[np.float32]:
        """Product of lhs (batch, m, k) and rhs (batch, k, n), fp32 accumulation: (batch, m, n).

        Parameters
        ----------
        lhs, rhs
            Any strides; only read.
        operand_dtype
            ``"float32"``, ``"tfloat32"`` or ``"bfloat16"``; the engine rounds the operands to it.
        """
        ...

    def diagonals(self, lhs: Digits, rhs: Digits) -> NDArray[Any]:
        """D[t] = sum over p + q = t of P_p(lhs) P_q(rhs)^T, exact: (slices, batch, lhs.rows, rhs.rows).

        In int32 where they fit, else in int64; in any memory order.
        """
        ...
