"""What precision asks of whoever multiplies, and what it hands over. Protocols and one record, no code."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from numtrn.request import Array, Structure

__all__ = ["Block", "Engine", "Magnitudes", "Words"]


class Words(Protocol):
    """A scaled operand as fixed-point numbers, cut when asked for, so that no full-size copy exists.

    Element (i, row, k) of a part is sum over p of q_p 2^(-7 - 8 p), up to its row's power of two, with signed
    8-bit digits p = 0 (most significant) .. slices - 1. The right operand is handed over transposed: its
    "rows" are the columns of B.

    Attributes
    ----------
    batch, rows, k
        Extents.
    slices
        Digits of an element.
    parts
        1, or 2 for real and imaginary part.
    k_is_fast
        Whether neighbours in memory are neighbours along k: then (rows, k) is the cheaper order of a block.
    source
        The operand (batch, rows, k), real or complex, if words of rows depend on nothing beside them.
    """

    @property
    def source(self) -> Array | None:
        """The operand's elements."""
        ...

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
        """Digits of an element."""
        ...

    @property
    def parts(self) -> int:
        """Real matrices that the operand consists of."""
        ...

    @property
    def k_is_fast(self) -> bool:
        """Whether (rows, k) is the order in memory."""
        ...

    def recut(self, slices: int) -> Words:
        """The same operand in so many digits, asked for with k outermost whatever its order in memory."""
        ...

    def cut(self, part: int, batch: int, rows: slice, k: slice, out: NDArray[np.int8]) -> None:
        """Write the words of one block, (rows, k, bytes): byte slices - 1 - p is digit p.

        Bytes are 8 for up to eight digits, else 16. Words depend on the element, its row's exponent and
        ``slices`` only, not on the block.
        """
        ...


class Magnitudes(Protocol):
    """Magnitudes of a scaled operand, truncated to bf16, made when asked for.

    Attributes
    ----------
    batch, rows, k
        Extents, of the right operand transposed.
    source
        The operand (batch, rows, k), real or complex, if magnitudes of rows depend on nothing beside them.
    layout
        Tells magnitudes of one source from others: parts of the operand, and whether they lie crosswise.
    """

    @property
    def source(self) -> Array | None:
        """The operand's elements."""
        ...

    @property
    def layout(self) -> tuple[int, bool]:
        """What is made of the source."""
        ...

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

    def block(self, batch: int, rows: slice, k: slice) -> NDArray[np.uint16]:
        """Bit patterns (rows, k) of one block, fresh."""
        ...


class Block(NamedTuple):
    """One block of a product of words: where it belongs, and its exact sums.

    ``sums`` holds an integer array (rows, limbs, columns) for each product made: one for real operands; for
    complex ones Ar Br, Ai Bi, and that of the digit-wise sums Ar + Ai and Br + Bi. With D[t] the sum of the
    products of digits p + q = t, sum over t < slices of D[t] 256^-t is sum over i of limb[i] 2^(-24 i).
    """

    batch: int
    rows: slice
    columns: slice
    sums: tuple[Array, ...]


class Engine(Protocol):
    """Makes products of batches of matrices. Results are fresh arrays, which the caller may overwrite."""

    def product(
        self,
        lhs: NDArray[np.float32],
        rhs: NDArray[np.float32],
        operand_dtype: str,
        structure: Structure = "general",
    ) -> NDArray[np.float32]:
        """Product of lhs (batch, m, k) and rhs (batch, k, n), fp32 accumulation: (batch, m, n).

        Parameters
        ----------
        lhs, rhs
            Any strides; only read.
        operand_dtype
            ``"float32"``, ``"tfloat32"``, ``"float16"`` or ``"bfloat16"``; the engine rounds operands to it.
        structure
            Of the operands; the result is all of AB in any case.
        """
        ...

    def least(self, lhs: Magnitudes, rhs: Magnitudes) -> tuple[float, float]:
        """Lower bounds of the elements of lhs[i] rhs[i]^T, up to the rounding of fp32 sums.

        Of all, and of those that are not zero; the second is 3e38 or more where all are zero.
        """
        ...

    def words(self, lhs: Words, rhs: Words, structure: Structure = "general") -> Generator[Block, None, None]:
        """The product, exact and block by block; every element of (batch, lhs.rows, rhs.rows) once.

        Where the structure is one of `numtrn.request.MIRRORED`, only blocks that hold elements on or below
        the diagonal are given; those on it are square. With ``"syrk"``, and of real operands with ``"herk"``,
        lhs and rhs are the same numbers; rhs is then left unread.
        """
        ...
