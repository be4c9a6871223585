"""The extension linalg of the standard, of matrices and of stacks of them in the last two axes.

Matrices are of floating-point numbers, but where elements are only moved, added or multiplied. Products, also
those inside `matrix_power` and `pinv`, and Cholesky factorisations of single matrices are planned while a
block is open; what else factorises is NumPy's.
"""

from __future__ import annotations

from math import inf
from operator import index
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from numtrn import dispatch
from numtrn.array import Array
from numtrn.array_api._arguments import Axes, DType, accumulator, quiet
from numtrn.array_api._helpers import check, given, host, together
from numtrn.array_api._linear_algebra_functions import matmul, matrix_transpose, tensordot, vecdot
from numtrn.block import current, suspended
from numtrn.request import Array as HostArray
from numtrn.request import Cholesky, Operands

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


class EigResult(NamedTuple):
    """Result of `eig`."""

    eigenvalues: Array
    eigenvectors: Array


class EighResult(NamedTuple):
    """Result of `eigh`."""

    eigenvalues: Array
    eigenvectors: Array


class QRResult(NamedTuple):
    """Result of `qr`."""

    Q: Array
    R: Array


class SlogdetResult(NamedTuple):
    """Result of `slogdet`."""

    sign: Array
    logabsdet: Array


class SVDResult(NamedTuple):
    """Result of `svd`."""

    U: Array
    S: Array
    Vh: Array


# ---- Products, and what only moves or adds elements ----


@together
@quiet
def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """The cross products of vectors of three elements along an axis of both; the other axes broadcast.

    Raises
    ------
    ValueError
        Where that axis has not three elements in both.
    """
    first, second = host("cross", x1, "numeric"), host("cross", x2, "numeric")
    extents = first.shape[axis], second.shape[axis]
    if extents != (3, 3):
        raise ValueError(f"cross takes vectors of three elements; got {extents[0]} and {extents[1]}")
    return given(np.cross(first, second, axis=axis), x1, x2)


def diagonal(x: Array, /, *, offset: int = 0) -> Array:
    """The diagonals of matrices: the main ones, those above, or, of a negative offset, those below."""
    return given(np.diagonal(_matrices("diagonal", x, "any"), offset, axis1=-2, axis2=-1).copy(), x)


@quiet
def matrix_power(x: Array, n: int, /) -> Array:
    """Square matrices to an integer power, by repeated squaring; of a negative one the inverses are taken.

    Raises
    ------
    ValueError
        Where they are not square.
    numpy.linalg.LinAlgError
        Where they have no inverse.
    """
    _check_square("matrix_power", x)
    if n == 0:
        return given(np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape).copy(), x)
    square = inv(x) if n < 0 else x
    result: Array | None = None
    exponent = abs(index(n))
    while exponent:
        if exponent % 2:
            result = square if result is None else matmul(result, square)
        exponent //= 2
        square = matmul(square, square) if exponent else square
    return x.copy() if result is x else cast(Array, result)


@quiet
def outer(x1: Array, x2: Array, /) -> Array:
    """The products of all elements of one vector with all of another.

    Raises
    ------
    ValueError
        Where one has not one axis.
    """
    first, second = check("outer", x1, "numeric"), check("outer", x2, "numeric")
    if first.ndim != 1 or second.ndim != 1:
        raise ValueError(f"outer takes arrays of one axis; got shapes {first.shape} and {second.shape}")
    return cast(Array, np.multiply(first[:, None], second))


@quiet
def trace(x: Array, /, *, offset: int = 0, dtype: DType | None = None) -> Array:
    """The sums of diagonals, of integers in 64 bits."""
    values = _matrices("trace", x, "numeric")
    chosen = accumulator(values.dtype, dtype)
    return given(np.trace(values, offset, axis1=-2, axis2=-1, dtype=chosen), x)


# ---- Norms ----


@quiet
def matrix_norm(
    x: Array, /, *, keepdims: bool = False, ord: int | float | Literal["fro", "nuc"] | None = "fro"
) -> Array:
    """The norms of matrices: Frobenius, nuclear, or of the order 1, 2 or infinity, or of their negatives.

    Raises
    ------
    ValueError
        Where the order is another, or a smallest value is asked for of a matrix without elements.
    """
    values = _matrices("matrix_norm", x)
    if 0 in values.shape[-2:] and ord in ("fro", "nuc", None, 1, 2, inf):
        shape = (*values.shape[:-2], *((1, 1) if keepdims else ()))
        return given(np.zeros(shape, dtype=values.real.dtype), x)
    return given(np.linalg.norm(values, ord=ord, axis=(-2, -1), keepdims=keepdims), x)


@quiet
def vector_norm(x: Array, /, *, axis: Axes = None, keepdims: bool = False, ord: int | float = 2) -> Array:
    """The norms of vectors, along some axes or all, of any order; of order 0 the number of nonzeros.

    Raises
    ------
    TypeError
        Where the order is no real number.
    """
    if not isinstance(ord, (int, float)):
        raise TypeError(f"vector_norm takes a real number as its order; got {ord!r}. See also matrix_norm")
    sizes = np.abs(host("vector_norm", x, "floating"))
    return given(np.asarray(_p_norm(sizes, ord, axis, keepdims), dtype=sizes.dtype), x)


def _p_norm(sizes: HostArray, p: float, axis: Axes, keepdims: bool) -> Any:
    """The norm of absolute values; where there are none it is 0, or infinity for the order of -infinity."""
    if p == inf:
        return np.max(sizes, axis=axis, keepdims=keepdims, initial=0)
    if p == -inf:
        return np.min(sizes, axis=axis, keepdims=keepdims, initial=inf)
    if p == 0:
        return np.sum(sizes != 0, axis=axis, keepdims=keepdims)
    if p == 1:
        return np.sum(sizes, axis=axis, keepdims=keepdims)
    if p == 2:
        return np.sqrt(np.sum(sizes * sizes, axis=axis, keepdims=keepdims))
    return np.sum(sizes**p, axis=axis, keepdims=keepdims) ** (1 / p)


# ---- Factorisations, and what is made of them ----


def cholesky(x: Array, /, *, upper: bool = False) -> Array:
    """L of x = L L^H, or U of x = U^H U, of which the lower triangle of x is read.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where a matrix is not positive definite.
    """
    lower = _factor(_square("cholesky", x))
    return given(np.conjugate(np.swapaxes(lower, -1, -2)) if upper else lower, x)


@quiet
def det(x: Array, /) -> Array:
    """The determinants of square matrices."""
    return given(np.linalg.det(_square("det", x)), x)


@quiet
def eig(x: Array, /) -> EigResult:
    """Eigenvalues of square matrices and, as columns, eigenvectors; both complex also of real matrices."""
    values = _square("eig", x)
    eigenvalues, eigenvectors = (_complex(found) for found in np.linalg.eig(values))
    return EigResult(given(eigenvalues, x), given(eigenvectors, x))


@quiet
def eigh(x: Array, /) -> EighResult:
    """Ascending eigenvalues and, as columns, eigenvectors of Hermitian matrices, given in lower triangles."""
    eigenvalues, eigenvectors = np.linalg.eigh(_square("eigh", x))
    return EighResult(given(eigenvalues, x), given(eigenvectors, x))


@quiet
def eigvals(x: Array, /) -> Array:
    """Eigenvalues of square matrices, complex also of real ones."""
    return given(_complex(np.linalg.eigvals(_square("eigvals", x))), x)


@quiet
def eigvalsh(x: Array, /) -> Array:
    """Ascending eigenvalues of Hermitian matrices, given in the lower triangle."""
    return given(np.linalg.eigvalsh(_square("eigvalsh", x)), x)


@quiet
def inv(x: Array, /) -> Array:
    """The inverses of square matrices.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where a matrix has none.
    """
    return given(np.linalg.inv(_square("inv", x)), x)


@together
@quiet
def matrix_rank(x: Array, /, *, rtol: float | Array | None = None) -> Array:
    """The number of singular values above ``rtol``, by default max(M, N) epsilons, times the largest."""
    values = _matrices("matrix_rank", x)
    singular = np.linalg.svd(values, compute_uv=False)
    kept = singular > _tolerance("matrix_rank", values, singular, rtol)
    return given(np.count_nonzero(kept, axis=-1), x, *_arrays(rtol))


@together
@quiet
def pinv(x: Array, /, *, rtol: float | Array | None = None) -> Array:
    """The pseudo-inverses, of the singular values that `matrix_rank` counts."""
    values = _matrices("pinv", x)
    U, S, Vh = np.linalg.svd(values, full_matrices=False)
    kept = _tolerance("pinv", values, S, rtol) < S
    inverted = np.divide(1, S, out=np.zeros(kept.shape, dtype=S.dtype), where=kept)
    adjoint_U, V = (np.conjugate(np.swapaxes(factor, -1, -2)) for factor in (U, Vh))
    return matmul(given(V * inverted[..., None, :], x, *_arrays(rtol)), given(adjoint_U, x))


@quiet
def qr(x: Array, /, *, mode: Literal["reduced", "complete"] = "reduced") -> QRResult:
    """Q with orthonormal columns and upper triangular R of matrices Q R.

    Raises
    ------
    ValueError
        Where the mode is neither ``"reduced"`` nor ``"complete"``.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr has the modes 'reduced' and 'complete'; got {mode!r}")
    Q, R = np.linalg.qr(_matrices("qr", x), mode=mode)
    return QRResult(given(Q, x), given(R, x))


@quiet
def slogdet(x: Array, /) -> SlogdetResult:
    """The signs of determinants, 0 of singular matrices, and the logarithms of their absolute values."""
    sign, logabsdet = np.linalg.slogdet(_square("slogdet", x))
    return SlogdetResult(given(sign, x), given(logabsdet, x))


@together
@quiet
def solve(x1: Array, x2: Array, /) -> Array:
    """The solutions of x1 X = x2, where x2 is one vector or, of more axes, matrices.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where a matrix is singular.
    """
    matrices, right = _square("solve", x1), host("solve", x2, "floating")
    columns = right[:, None] if right.ndim == 1 else right
    if columns.ndim == matrices.ndim - 1:  # which NumPy 1.26 takes for a stack of vectors
        columns = columns[None]
    solution = np.linalg.solve(matrices, columns)
    return given(solution[..., 0].copy() if right.ndim == 1 else solution, x1, x2)


@quiet
def svd(x: Array, /, *, full_matrices: bool = True) -> SVDResult:
    """U, the singular values in descending order, and V^H of matrices U S V^H."""
    U, S, Vh = np.linalg.svd(_matrices("svd", x), full_matrices=full_matrices)
    return SVDResult(given(U, x), given(S, x), given(Vh, x))


@quiet
def svdvals(x: Array, /) -> Array:
    """The singular values of matrices, in descending order."""
    return given(np.linalg.svd(_matrices("svdvals", x), compute_uv=False), x)


def _factor(values: HostArray) -> HostArray:
    """L of a matrix by kernels, where the open block's plan says so, or of a stack of them by NumPy."""
    block, dtype = current(), values.dtype.name
    if block is None or values.ndim > 2:
        return np.linalg.cholesky(values)
    from numtrn.intercept.fblas import host as lapack  # with SciPy, as the open block has it

    request = Cholesky(function="numtrn.array_api.linalg.cholesky", dtype=dtype, n=len(values))
    with suspended():
        lower = dispatch.offer_in(block, request, Operands(inputs=(values,), host=lapack(dtype)))
        return np.linalg.cholesky(values) if lower is None else lower


# ---- Arguments ----


def _matrices(function: str, x: Any, kinds: str = "floating") -> HostArray:
    """Values of matrices.

    Raises
    ------
    ValueError
        Where there are fewer than two axes.
    """
    if check(function, x, kinds).ndim < 2:
        raise ValueError(f"{function} takes arrays of at least two axes; got shape {x.shape}")
    return host(function, x, kinds)


def _square(function: str, x: Any) -> HostArray:
    """Values of square matrices."""
    _check_square(function, x)
    return host(function, x)


def _check_square(function: str, x: Any) -> None:
    """See that there are square matrices, without a need for their values.

    Raises
    ------
    ValueError
        Where there are none.
    """
    shape = check(function, x, "floating").shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"{function} takes square matrices in the last two axes; got shape {shape}")


def _complex(values: HostArray) -> HostArray:
    """The same as complex numbers of as many bits in each part."""
    return values.astype(np.result_type(values.dtype, np.complex64), copy=False)


def _tolerance(
    function: str, values: HostArray, singular: HostArray, rtol: float | Array | None
) -> HostArray:
    """The largest singular value, for each matrix, that counts as zero; with an axis of 1 at the end."""
    largest = np.max(singular, axis=-1, keepdims=True, initial=0)
    if rtol is None:
        part: Any = np.asarray(max(values.shape[-2:]) * np.finfo(singular.dtype).eps, dtype=singular.dtype)
    elif isinstance(rtol, Array):
        part = host(function, rtol, "real floating")[..., None]
    else:
        part = np.asarray(rtol, dtype=singular.dtype)
    return cast(HostArray, largest * part)


def _arrays(*given_arguments: Any) -> list[Array]:
    return [x for x in given_arguments if isinstance(x, Array)]
