"""What was asked, in neutral terms: shapes, dtype and flags of one call, and the arrays that go with it.

A request holds no array and can be planned, printed and compared; the arrays travel beside it. Nothing
here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numtrn.residency import Source

__all__ = [
    "MIRRORED",
    "Array",
    "Cholesky",
    "Contraction",
    "Gemm",
    "Host",
    "Mp2",
    "Operands",
    "Request",
    "Routine",
    "Solve",
    "Structure",
    "Triangle",
    "Triangular",
    "k_is_fast",
]

Array: TypeAlias = NDArray[Any]
Triangle: TypeAlias = Literal["lower", "upper"]

Structure: TypeAlias = Literal["general", "syrk", "herk", "syr2k", "her2k", "symm", "hemm", "trmm"]
"""What is known of the operands of a product AB, so that less than all of it need be read or computed.

``"general"``: nothing. ``"syrk"``: B is A^T. ``"herk"``: B is A^H. ``"syr2k"``: A is [X | Y], side by side
along k, and B is [Y | X]^T. ``"her2k"``: A is [aX | conj(a)Y] and B is [Y | X]^H. ``"symm"``, ``"hemm"``: A
is symmetric or Hermitian, given in full. ``"trmm"``: A is lower triangular, (batch, m, m), zeros above its
diagonal given as zeros. Of real operands ``"herk"`` is ``"syrk"``, and ``"her2k"`` is ``"syr2k"``.
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
    structure
        What is known of A and B, so that part of the work can be left out.
    triangle
        The only triangle of C that is read and written (SYRK and its like); None for all.
    stored
        The only triangle of A that is read, where the structure makes the rest of it known. A ``"trmm"``
        whose A is upper triangular is one with rows and columns in reverse.
    unit
        Whether the diagonal of a triangular A is ones, which are not read.
    k_is_fast
        Of A and of B, whether neighbours in memory are neighbours along k; as of two arrays in C order.
    held
        Of A and of B, whether the target has it already.
    stays
        Whether the result may stay on the target.
    shared
        Whether one matrix B serves the whole batch, whose matrices A lie below each other.
    """

    function: str
    dtype: str
    m: int
    k: int
    n: int
    batch: int = 1
    reads_c: bool = False
    structure: Structure = "general"
    triangle: Triangle | None = None
    stored: Triangle | None = None
    unit: bool = False
    k_is_fast: tuple[bool, bool] = (True, False)
    held: tuple[bool, bool] = (False, False)
    stays: bool = False
    shared: bool = False

    @property
    def work(self) -> int:
        """Multiply-adds; half of them, and the diagonal, where a triangle is all that there is to compute."""
        if self.structure == "trmm":
            return self.batch * _triangle(self.m) * self.n
        outputs = _triangle(self.n) if self.structure in MIRRORED else self.m * self.n
        return self.batch * outputs * self.k

    @property
    def hermitian(self) -> bool:
        """Whether C is Hermitian, so that its diagonal is real."""
        return self.structure in ("herk", "her2k")

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of A and B, with the batch in front where there is one."""
        lead = () if self.batch == 1 else (self.batch,)
        k = self.k // 2 if self.structure in ("syr2k", "her2k") else self.k
        return (*lead, self.m, k), (*lead, k, self.n)


def k_is_fast(a: Array, b: Array) -> tuple[bool, bool]:
    """Whether neighbours in memory are neighbours along k, of A (..., m, k) and B (..., k, n).

    Of a matrix of one row or column they are not said to be.

    >>> k_is_fast(np.ones((2, 3)), np.ones((3, 4)))
    (True, False)
    """
    return _is_fast(a), _is_fast(b.swapaxes(-1, -2))


def _is_fast(matrix: Array) -> bool:
    """Whether the last axis is the one along which memory is read."""
    row, column = (abs(stride) for stride in matrix.strides[-2:])
    return min(matrix.shape[-2:]) > 1 and column < row


@dataclass(frozen=True, kw_only=True, slots=True)
class Triangular:
    """One triangular factor of a `Solve`.

    Attributes
    ----------
    uplo
        The triangle of its matrix that is read.
    unit
        Whether its diagonal is ones, which are not read.
    """

    uplo: Triangle
    unit: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Solve:
    """X = alpha T_p^-1 ... T_1^-1 B with triangular T_i (n, n) and B (n, columns).

    Attributes
    ----------
    function, dtype
        As of a `Gemm`.
    n, columns
        Extents.
    factors
        The triangular matrices, in the order in which they are solved with. Sides and transposes are the
        views' affair.
    """

    function: str
    dtype: str
    n: int
    columns: int
    factors: tuple[Triangular, ...]

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return len(self.factors) * _triangle(self.n) * self.columns

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the matrix and of B."""
        return (self.n, self.n), (self.n, self.columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cholesky:
    """The lower triangular L with L L^H = A, of which the lower triangle is read."""

    function: str
    dtype: str
    n: int

    @property
    def work(self) -> int:
        """Multiply-adds, counted as n^3 / 6."""
        return self.n**3 // 6

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of A."""
        return ((self.n, self.n),)


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
    strides
        Bytes from one element to the next, for each axis of each operand; None: all are in C order.
    same
        For each operand the place of the first one that is the very same array; empty: no two are.
    path
        Given order of contraction: at each step the places of the operands to contract, whose result goes to
        the end of the list (as `numpy.einsum_path` gives it); None: the plan decides.
    finder
        opt_einsum's path finder for the plan to ask, such as ``"auto"``, ``"greedy"`` or ``"optimal"``.
    memory_limit
        Most elements of an intermediate result; None: as many as the largest operand or the result has, or
        2^17 where they are smaller.
    """

    function: str
    dtype: str
    subscripts: str
    shapes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...] | None = None
    same: tuple[int, ...] = ()
    path: tuple[tuple[int, ...], ...] | None = None
    finder: str = "auto"
    memory_limit: int | None = None

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
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        extents = self.extents
        return tuple(extents[label] for label in self.subscripts.split("->")[1])

    @property
    def work(self) -> int:
        """Multiply-adds of the single loop nest over all labels."""
        return prod(self.extents.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Mp2:
    """Sums over the virtual orbitals a, b for each pair of occupied orbitals i, j of one or two spins.

    Direct d[i, j] = sum_ab T_ab^2 / D_ab and exchange x[i, j] = sum_ab T_ab T_ba / D_ab, with
    D_ab = e_i + e_j - e_a - e_b and T_ab = (ia|jb). The inputs of its `Operands` are B (nocc, nvir, naux)
    with (ia|jb) = sum_Q B_iaQ B_jbQ, then the energies of its occupied and of its virtual orbitals; the same
    three of the second spin follow unless it is the first. Or, with ``naux`` 0, (ia|jb) itself
    (nocc, nvir, nocc, nvir), and the energies. The result is (2, nocc, nocc) float64, d and x; x is zero
    where it was not asked for.

    Attributes
    ----------
    function, dtype
        As of a `Gemm`; ``"float32"`` or ``"float64"``.
    nocc, nvir
        Occupied and virtual orbitals of the first and the second spin.
    naux
        Auxiliary functions; 0 where (ia|jb) is given.
    same
        Whether both are one spin, so that d and x are symmetric.
    exchange
        Whether x is asked for, which only pairs of one spin have.
    """

    function: str
    dtype: str
    nocc: tuple[int, int]
    nvir: tuple[int, int]
    naux: int
    same: bool = True
    exchange: bool = True

    @property
    def pairs(self) -> int:
        """Pairs to compute: i <= j of one spin."""
        return _triangle(self.nocc[0]) if self.same else prod(self.nocc)

    @property
    def work(self) -> int:
        """Multiply-adds of the integrals; of given ones two for each."""
        return self.pairs * prod(self.nvir) * (self.naux or 2)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of B, or of the integrals."""
        (o1, o2), (v1, v2) = self.nocc, self.nvir
        if not self.naux:
            return ((o1, v1, o2, v2),)
        first, second = (o1, v1, self.naux), (o2, v2, self.naux)
        return (first,) if self.same else (first, second)


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


Request: TypeAlias = Gemm | Contraction | Solve | Cholesky | Mp2 | Routine


class Host(Protocol):
    """The host's own BLAS and LAPACK for what kernels do not do: the blocks on a diagonal."""

    def solve(self, factor: Array, columns: Array, *, unit: bool) -> None:
        """Overwrite the C-contiguous (n, columns) with the solution for a lower triangular factor (n, n)."""
        ...

    def cholesky(self, a: Array) -> tuple[Array, int]:
        """L of the lower triangle of a, and LAPACK's info: 0, or the order of the minor that fails."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Operands:
    """The arrays of a request.

    For a `Gemm`: ``inputs`` are A (batch, m, k) and B (batch, k, n), ``c`` is C (batch, m, n), read when
    the request says so and never written here. For a `Contraction`: its operands, each of the shape and
    at most of the dtype that the request names. For a `Solve`: its triangular matrices, then B; for a
    `Cholesky`: A.

    With the structures ``"syr2k"`` and ``"her2k"`` the inputs are X and Y, each (batch, n, k / 2).
    ``host`` is there for those that need it, and ``memories`` are those of which targets may keep pieces.
    """

    inputs: tuple[Array, ...]
    c: Array | None = None
    alpha: complex = 1.0
    beta: complex = 0.0
    host: Host | None = None
    memories: tuple[Source, ...] = ()


def _triangle(n: int) -> int:
    """Elements of a triangle with its diagonal."""
    return n * (n + 1) // 2


def shape_text(shapes: tuple[tuple[int, ...], ...]) -> str:
    """Shapes as a chemist reads them: ``"93x420 . 420x93"``."""
    return " . ".join("x".join(map(str, shape)) or "()" for shape in shapes)


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The name by which requests and sessions call a dtype."""
    return dtype.name
