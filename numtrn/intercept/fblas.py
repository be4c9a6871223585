"""L2: the Fortran BLAS and LAPACK routines behind SciPy's f2py objects.

Each object in ``scipy.linalg.blas`` and ``scipy.linalg.lapack`` holds the address of its routine, which is
pointed at a thunk; the objects stay what they are. GEMM and SYRK have kernels; the others are noted, so that
a session says that they stay with SciPy. This is the only module that imports scipy, and only on installing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np

from numtrn.intercept import blas
from numtrn.intercept.gate import Caught, hook, set_handler
from numtrn.intercept.views import DTYPES, integer_at, letter_at
from numtrn.request import Array

__all__ = ["install", "probe", "uninstall"]

Words = tuple[int, ...]
Shapes = tuple[tuple[int, ...], ...]


# ---- What the routines without a kernel work on ----


def _sided(words: Words, m: int, n: int) -> Shapes:
    """A square matrix on the left or the right of an (m, n) one; given are the positions of m and n."""
    rows, columns = integer_at(words[m]), integer_at(words[n])
    square = rows if letter_at(words[0]) == "L" else columns
    return (square, square), (rows, columns)


def _update(words: Words) -> Shapes:
    n, k = integer_at(words[2]), integer_at(words[3])
    return (n, k), (k, n)


def _solved(words: Words) -> Shapes:
    n, right_hand_sides = integer_at(words[3]), integer_at(words[4])
    return (n, n), (n, right_hand_sides)


def _factored(words: Words) -> Shapes:
    n = integer_at(words[1])
    return ((n, n),)


# ---- The routines ----

# Positions of integers among the arguments, which are all addresses.
GEMM_INTEGERS = (2, 3, 4, 7, 9, 12)
SYRK_INTEGERS = (2, 3, 6, 9)


def _gemm(function: str, dtype: str, _: float, words: bytes) -> Caught:
    trans_a, trans_b, *rest = _with_integers(words, GEMM_INTEGERS)
    stored = blas.Stored(function, dtype, by_rows=False)
    return blas.gemm(stored, letter_at(trans_a), letter_at(trans_b), *rest)


def _syrk(function: str, dtype: str, _: float, words: bytes) -> Caught:
    uplo, trans, *rest = _with_integers(words, SYRK_INTEGERS)
    stored = blas.Stored(function, dtype, by_rows=False)
    return blas.syrk(stored, "upper" if letter_at(uplo) == "U" else "lower", letter_at(trans), *rest)


def _noted(shapes: Callable[[Words], Shapes], function: str, dtype: str, work: float, words: bytes) -> Caught:
    routine = function.rsplit(".", 1)[1][1:]
    reason = f"no kernel yet for ?{routine}: it stays with SciPy"
    return blas.observed(function, dtype, shapes(_unpack(words)), work, reason, contraction=False)


def _with_integers(words: bytes, positions: tuple[int, ...]) -> Words:
    """The arguments, with the integers among them read."""
    return tuple(integer_at(word) if i in positions else word for i, word in enumerate(_unpack(words)))


def _unpack(words: bytes) -> Words:
    return struct.unpack(f"{len(words) // 8}q", words)


@dataclass(frozen=True, slots=True)
class Routine:
    """One family of routines: the prefixes it exists for, and what makes a caught call of it."""

    prefixes: str
    recognise: Callable[[str, str, float, bytes], Caught]
    module: str = "blas"


ROUTINES = {
    "gemm": Routine("sdcz", _gemm),
    "syrk": Routine("sdcz", _syrk),
    "herk": Routine("cz", partial(_noted, _update)),
    "symm": Routine("sdcz", partial(_noted, partial(_sided, m=2, n=3))),
    "hemm": Routine("cz", partial(_noted, partial(_sided, m=2, n=3))),
    "syr2k": Routine("sdcz", partial(_noted, _update)),
    "her2k": Routine("cz", partial(_noted, _update)),
    "trmm": Routine("sdcz", partial(_noted, partial(_sided, m=4, n=5))),
    "trsm": Routine("sdcz", partial(_noted, partial(_sided, m=4, n=5))),
    "trtrs": Routine("sdcz", partial(_noted, _solved), "lapack"),
    "potrf": Routine("sdcz", partial(_noted, _factored), "lapack"),
}


_installed: dict[str, object] = {}
"""The f2py objects that lead to thunks."""


def install() -> None:
    """Point SciPy's f2py objects at the thunks.

    Raises
    ------
    RuntimeError
        Where SciPy cannot be imported, or its objects are not of the known layout.
    """
    for routine, name, module in _present():
        dtype = DTYPES[name[0]]
        recognise = partial(routine.recognise, f"scipy.linalg.{routine.module}.{name}", dtype)
        set_handler(f"fortran_{name}", recognise)
        thing = getattr(module, name)
        hook.replace_fortran(thing, f"fortran_{name}", False)
        _installed[name] = thing


def uninstall() -> None:
    """Point them back."""
    while _installed:
        name, thing = _installed.popitem()
        hook.replace_fortran(thing, f"fortran_{name}", True)


def probe() -> list[tuple[Array, Array]]:
    """Products that must be caught, beside the right results."""
    from scipy.linalg import blas as scipy_blas

    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    product, upper = np.array([[20, 23, 26, 29], [56, 68, 80, 92]]), np.array([[5, 14], [0, 50]])
    results = []
    for prefix, dtype in DTYPES.items():
        left, right = a.astype(dtype), b.astype(dtype)
        gemm, syrk = (getattr(scipy_blas, prefix + name) for name in ("gemm", "syrk"))
        results += [(gemm(1, left, right), product), (syrk(1, left), upper)]
    return results


def _present() -> Iterator[tuple[Routine, str, ModuleType]]:
    """The routines of this SciPy: the family, the full name, and the module that has it."""
    try:
        from scipy.linalg import _fblas, _flapack
    except ImportError as error:
        raise RuntimeError(f"SciPy's BLAS with 32-bit integers cannot be imported ({error})") from error
    modules = {"blas": _fblas, "lapack": _flapack}
    for family, routine in ROUTINES.items():
        for prefix in routine.prefixes:
            yield routine, prefix + family, modules[routine.module]
