"""From a routine of SciPy's BLAS level 3, or a LAPACK one above it, and its arguments to a request.

For `numtrn.explain`: signatures are those of the f2py objects, and only shapes and flags are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from numtrn.request import Cholesky, Gemm, Request, Solve, Triangle, Triangular

__all__ = ["described", "is_described"]

PREFIXES = {"s": "float32", "d": "float64", "c": "complex64", "z": "complex128"}

Shape = tuple[int, ...]


def is_described(function: Any) -> bool:
    """Whether this is the f2py object of a routine in the table."""
    name = _name(function)
    return name[:1] in PREFIXES and name[1:] in ROUTINES


def described(function: Any, *args: Any, **kwargs: Any) -> tuple[Request, Shape]:
    """The request, and the shape of the result.

    Raises
    ------
    TypeError, ValueError
        Where the call itself would be wrong.
    """
    name = _name(function)
    routine = name[1:]
    module = "lapack" if routine in LAPACK else "blas"
    called = partial(ROUTINES[routine], f"scipy.linalg.{module}.{name}", PREFIXES[name[0]])
    return called(*args, **kwargs)


def _gemm(
    function: str,
    dtype: str,
    alpha: Any,
    a: Any,
    b: Any,
    beta: Any = 0.0,
    c: Any = None,
    trans_a: int = 0,
    trans_b: int = 0,
    overwrite_c: int = 0,
) -> tuple[Request, Shape]:
    (m, k), (inner, n) = _matrix(function, "a", a, trans_a), _matrix(function, "b", b, trans_b)
    _equal(function, "columns of op(a)", k, "rows of op(b)", inner)
    return Gemm(function=function, dtype=dtype, m=m, k=k, n=n, reads_c=beta != 0), (m, n)


def _syrk(
    function: str,
    dtype: str,
    alpha: Any,
    a: Any,
    beta: Any = 0.0,
    c: Any = None,
    trans: int = 0,
    lower: int = 0,
    overwrite_c: int = 0,
    *,
    hermitian: bool = False,
) -> tuple[Request, Shape]:
    n, k = _matrix(function, "a", a, trans)
    request = Gemm(
        function=function,
        dtype=dtype,
        m=n,
        k=k,
        n=n,
        reads_c=beta != 0,
        structure="herk" if hermitian else "syrk",
        triangle=_triangle(lower),
    )
    return request, (n, n)


def _syr2k(
    function: str,
    dtype: str,
    alpha: Any,
    a: Any,
    b: Any,
    beta: Any = 0.0,
    c: Any = None,
    trans: int = 0,
    lower: int = 0,
    overwrite_c: int = 0,
    *,
    hermitian: bool = False,
) -> tuple[Request, Shape]:
    (n, k), other = _matrix(function, "a", a, trans), _matrix(function, "b", b, trans)
    _equal(function, "shape of op(a)", (n, k), "that of op(b)", other)
    request = Gemm(
        function=function,
        dtype=dtype,
        m=n,
        k=2 * k,
        n=n,
        reads_c=beta != 0,
        structure="her2k" if hermitian else "syr2k",
        triangle=_triangle(lower),
    )
    return request, (n, n)


def _symm(
    function: str,
    dtype: str,
    alpha: Any,
    a: Any,
    b: Any,
    beta: Any = 0.0,
    c: Any = None,
    side: int = 0,
    lower: int = 0,
    overwrite_c: int = 0,
    *,
    hermitian: bool = False,
) -> tuple[Request, Shape]:
    order, (m, n) = _square(function, "a", a), _matrix(function, "b", b)
    _equal(function, "order of a", order, "extent of b on that side", n if side else m)
    request = Gemm(
        function=function,
        dtype=dtype,
        m=order,
        k=order,
        n=m if side else n,
        reads_c=beta != 0,
        structure="hemm" if hermitian else "symm",
        stored=_triangle(lower),
    )
    return request, (m, n)


def _trmm(
    function: str,
    dtype: str,
    alpha: Any,
    a: Any,
    b: Any,
    side: int = 0,
    lower: int = 0,
    trans_a: int = 0,
    diag: int = 0,
    overwrite_b: int = 0,
) -> tuple[Request, Shape]:
    order, (m, n) = _square(function, "a", a), _matrix(function, "b", b)
    _equal(function, "order of a", order, "extent of b on that side", n if side else m)
    request = Gemm(
        function=function,
        dtype=dtype,
        m=order,
        k=order,
        n=m if side else n,
        structure="trmm",
        stored=_standing(lower, turned=bool(side) != bool(trans_a)),
        unit=bool(diag),
    )
    return request, (m, n)


def _trsm(
    function: str,
    dtype: str,
    alpha: Any,
    a: Any,
    b: Any,
    side: int = 0,
    lower: int = 0,
    trans_a: int = 0,
    diag: int = 0,
    overwrite_b: int = 0,
) -> tuple[Request, Shape]:
    order, (m, n) = _square(function, "a", a), _matrix(function, "b", b)
    _equal(function, "order of a", order, "extent of b on that side", n if side else m)
    factor = Triangular(uplo=_standing(lower, turned=bool(side) != bool(trans_a)), unit=bool(diag))
    columns = m if side else n
    return Solve(function=function, dtype=dtype, n=order, columns=columns, factors=(factor,)), (m, n)


def _trtrs(
    function: str,
    dtype: str,
    a: Any,
    b: Any,
    lower: int = 0,
    trans: int = 0,
    unitdiag: int = 0,
    lda: int = 0,
    overwrite_b: int = 0,
) -> tuple[Request, Shape]:
    factor = Triangular(uplo=_standing(lower, turned=bool(trans)), unit=bool(unitdiag))
    return _solve(function, dtype, a, b, factor)


def _potrs(
    function: str, dtype: str, c: Any, b: Any, lower: int = 0, overwrite_b: int = 0
) -> tuple[Request, Shape]:
    return _solve(function, dtype, c, b, Triangular(uplo="lower"), Triangular(uplo="upper"))


def _getrs(
    function: str, dtype: str, lu: Any, piv: Any, b: Any, trans: int = 0, overwrite_b: int = 0
) -> tuple[Request, Shape]:
    factors = Triangular(uplo="lower", unit=not trans), Triangular(uplo="upper", unit=bool(trans))
    return _solve(function, dtype, lu, b, *factors)


def _solve(function: str, dtype: str, a: Any, b: Any, *factors: Triangular) -> tuple[Request, Shape]:
    order = _square(function, "the matrix", a)
    shape: Shape = np.shape(b)
    _equal(function, "order of the matrix", order, "rows of b", shape[0] if shape else 0)
    columns = shape[1] if len(shape) == 2 else 1
    return Solve(function=function, dtype=dtype, n=order, columns=columns, factors=factors), shape


def _potrf(
    function: str, dtype: str, a: Any, lower: int = 0, clean: int = 1, overwrite_a: int = 0
) -> tuple[Request, Shape]:
    order = _square(function, "a", a)
    return Cholesky(function=function, dtype=dtype, n=order), (order, order)


LAPACK = ("trtrs", "potrs", "getrs", "potrf")

ROUTINES: dict[str, Callable[..., tuple[Request, Shape]]] = {
    "gemm": _gemm,
    "syrk": _syrk,
    "herk": partial(_syrk, hermitian=True),
    "syr2k": _syr2k,
    "her2k": partial(_syr2k, hermitian=True),
    "symm": _symm,
    "hemm": partial(_symm, hermitian=True),
    "trmm": _trmm,
    "trsm": _trsm,
    "trtrs": _trtrs,
    "potrs": _potrs,
    "getrs": _getrs,
    "potrf": _potrf,
}


def _name(function: Any) -> str:
    """``"dgemm"`` for the f2py object of that routine, and an empty string for anything else."""
    if type(function).__name__ != "fortran":
        return ""
    return str(getattr(function, "__name__", "")).rpartition(" ")[2]


def _triangle(lower: int) -> Triangle:
    return "lower" if lower else "upper"


def _standing(lower: int, *, turned: bool) -> Triangle:
    """The triangle that is read of a matrix as it stands on the left."""
    return _triangle(bool(lower) != turned)


def _matrix(function: str, argument: str, x: Any, trans: int = 0) -> tuple[int, int]:
    """Shape of op(x)."""
    shape: Shape = np.shape(x)
    if len(shape) != 2:
        raise ValueError(f"{function} takes a matrix as {argument}; got an array of shape {shape}")
    rows, columns = shape[:: -1 if trans else 1]
    return rows, columns


def _square(function: str, argument: str, x: Any) -> int:
    rows, columns = _matrix(function, argument, x)
    if rows != columns:
        raise ValueError(f"{function} takes a square matrix as {argument}; got {rows} x {columns}")
    return rows


def _equal(function: str, what: str, one: Any, that: str, other: Any) -> None:
    if one != other:
        raise ValueError(f"{function}: the {what} must be equal to the {that}; got {one} and {other}")
