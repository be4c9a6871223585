"""What was asked, in neutral terms: shapes, dtype and flags of one call, and the arrays that go with it.

A request holds no array and can be planned, printed and compared; the arrays travel beside it. Nothing
here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIRRORED",
    "Array",
    "Contraction",
    "Gemm",
    "Operands",
    "Request",
    "Routine",
    "Structure",
    "Triangle",
]

Array: TypeAlias = NDArray[Any]
Triangle: TypeAlias = Literal["lower", "upper"]

Structure: TypeAlias = Literal["general", "syrk", "herk", "syr2k", "her2k", "symm", "trmm"]
"""What is known of the operands of a product AB, so that less than all of it need be computed.

``"general"``: nothing. ``"syrk"``: B is A^T. ``"herk"``: B is A^H. ``"syr2k"``: A is [X | Y], side by side
along k, and B is [Y | X]^T. ``"her2k"``: A is [aX | conj(a)Y] and B is [Y | X]^H. ``"symm"``: A is symmetric,
given in full. ``"trmm"``: A is lower triangular, (batch, m, m), zeros above its diagonal given as zeros. Of
real operands ``"herk"`` is ``"syrk"``, and ``"her2k"`` is ``"syr2k"``.
"""

MIRRORED: frozenset[Structure] = frozenset(("syrk", "herk", "syr2k", "her2k"))
"""Structures whose product is symmetric or Hermitian: half is computed, the rest is its mirror image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gemm:
    """C[i] = alpha A[i] B[i] + beta C[i] for i < batch, with A (m, k), B (k, n) and C (m, n).

    Transposes, strides and storage orders are the arrays' own affair: A and B are views in which the
    product reads as written.

    Attributes
    ----------
    function
        What the user called, such as ``"numpy.matmul"`` or ``"scipy.linalg.blas.dsyrk"``.
    dtype
        Of A, B and C: ``"float32"``, ``"float64"``, ``"complex64"``, ``"complex128"``, or another,
        which a plan refuses.
    batch, m, k, n
        Extents, each 0 or more.
    reads_c
        Whether beta is not zero, so that C is an input too.
    triangle
        The only triangle of C that is read and written (SYRK, where B is A transposed); None for all.
    """

    function: str
    dtype: str
    m: int
    k: int
    n: int
    batch: int = 1
    reads_c: bool = False
    triangle: Triangle | None = None

    @property
    def work(self) -> int:
        """Multiply-adds; half of them, and the diagonal, where only a triangle is asked for."""
        outputs = self.n * (self.n + 1) // 2 if self.triangle else self.m * self.n
        return self.batch * outputs * self.k

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of A and B, with the batch in front where there is one."""
        lead = () if self.batch == 1 else (self.batch,)
        return (*lead, self.m, self.k), (*lead, self.k, self.n)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contraction:
    """One ``einsum``: explicit subscripts, one letter per label, no ellipsis.

    Attributes
    ----------
    function
        What the user called.
    dtype
        Of the result, to which the operands are cast first.
    subscripts
        Such as ``"iaQ,jbQ->iajb"``.
    shapes
        One shape for each operand.
    """

    function: str
    dtype: str
    subscripts: str
    shapes: tuple[tuple[int, ...], ...]

    @property
    def extents(self) -> dict[str, int]:
        """Size of each label; a label of size 1 in one operand broadcasts to its size in another."""
        terms = self.subscripts.split("->")[0].split(",")
        sizes: dict[str, int] = {}
        for term, shape in zip(terms, self.shapes, strict=True):
            for label, extent in zip(term, shape, strict=True):
                sizes[label] = extent if sizes.get(label, 1) == 1 else sizes[label]
        return sizes

    @property
    def work(self) -> int:
        """Multiply-adds of the single loop nest over all labels."""
        return prod(self.extents.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Routine:
    """A recognised call that no kernel covers; planning it gives a refusal with the reason.

    ``contraction`` tells products, which count in a session's share, from other routines.
    """

    function: str
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    work: int
    reason: str
    contraction: bool


Request: TypeAlias = Gemm | Contraction | Routine


@dataclass(frozen=True, kw_only=True, slots=True)
class Operands:
    """The arrays of a request.

    For a `Gemm`: ``inputs`` are A (batch, m, k) and B (batch, k, n), ``c`` is C (batch, m, n), read when
    the request says so and never written here. For a `Contraction`: its operands, each of the shape and
    at most of the dtype that the request names.
    """

    inputs: tuple[Array, ...]
    c: Array | None = None
    alpha: complex = 1.0
    beta: complex = 0.0


def shape_text(shapes: tuple[tuple[int, ...], ...]) -> str:
    """Shapes as a chemist reads them: ``"93x420 . 420x93"``."""
    return " . ".join("x".join(map(str, shape)) or "()" for shape in shapes)


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The name by which requests and sessions call a dtype."""
    return dtype.name
