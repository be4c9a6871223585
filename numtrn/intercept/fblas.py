"""L2: the Fortran BLAS and LAPACK routines behind SciPy's f2py objects.

Each object in ``scipy.linalg.blas`` and ``scipy.linalg.lapack`` holds the address of its routine, which is
pointed at a thunk; the objects stay what they are. This is the only module that imports scipy, and only on
installing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from numtrn.intercept import blas, solves
from numtrn.intercept.gate import Caught, hook, set_handler
from numtrn.intercept.views import DTYPES, integer_at, letter_at
from numtrn.request import Array

__all__ = ["install", "probe", "uninstall"]

# ---- The routines ----

Recognise = Callable[..., Caught]


@dataclass(frozen=True, slots=True)
class Routine:
    """One family of routines.

    Attributes
    ----------
    prefixes
        Types that it exists for.
    arguments
        A letter for each: ``l`` a character, ``u`` the uplo, ``i`` an integer, ``a`` an address.
    recognise
        Makes a caught call of them.
    module
        Of SciPy.
    """

    prefixes: str
    arguments: str
    recognise: Recognise
    module: str = "blas"


@dataclass(frozen=True, slots=True)
class ScipyHost:
    """SciPy's own routines, for blocks on a diagonal; see `numtrn.request.Host`."""

    trsm: Any
    potrf: Any

    def solve(self, factor: Array, columns: Array, *, unit: bool) -> None:
        """See `numtrn.request.Host.solve`; the transposed problem is solved, in place for Fortran."""
        self.trsm(1, factor, columns.T, side=1, lower=1, trans_a=1, diag=int(unit), overwrite_b=1)

    def cholesky(self, a: Array) -> tuple[Array, int]:
        """See `numtrn.request.Host.cholesky`."""
        lower, info = self.potrf(a, lower=1, clean=1)
        return lower, int(info)


@cache
def host(dtype: str) -> ScipyHost:
    """SciPy's routines for a dtype. Whoever calls them from a caught call is busy, and is not caught."""
    from scipy.linalg import blas as scipy_blas
    from scipy.linalg import lapack

    prefix = next(letter for letter, name in DTYPES.items() if name == dtype)
    return ScipyHost(getattr(scipy_blas, prefix + "trsm"), getattr(lapack, prefix + "potrf"))


def _with_host(recognise: Recognise) -> Recognise:
    return lambda stored, *arguments: recognise(host(stored.dtype), stored, *arguments)


ROUTINES = {
    "gemm": Routine("sdcz", "lliiiaaiaiaai", blas.gemm),
    "syrk": Routine("sdcz", "uliiaaiaai", blas.syrk),
    "herk": Routine("cz", "uliiaaiaai", partial(blas.syrk, hermitian=True)),
    "symm": Routine("sdcz", "luiiaaiaiaai", blas.symm),
    "hemm": Routine("cz", "luiiaaiaiaai", partial(blas.symm, hermitian=True)),
    "syr2k": Routine("sdcz", "uliiaaiaiaai", blas.syr2k),
    "her2k": Routine("cz", "uliiaaiaiaai", partial(blas.syr2k, hermitian=True)),
    "trmm": Routine("sdcz", "lulliiaaiai", blas.trmm),
    "trsm": Routine("sdcz", "lulliiaaiai", _with_host(solves.trsm)),
    "trtrs": Routine("sdcz", "ulliiaiaia", _with_host(solves.trtrs), "lapack"),
    "potrs": Routine("sdcz", "uiiaiaia", _with_host(solves.potrs), "lapack"),
    "getrs": Routine("sdcz", "liiaiaaia", _with_host(solves.getrs), "lapack"),
    "potrf": Routine("sdcz", "uiaia", _with_host(solves.potrf), "lapack"),
}


def _recognised(routine: Routine, function: str, dtype: str, work: float, words: bytes) -> Caught:
    """A caught call, from the addresses of its arguments."""
    addresses = struct.unpack(f"{len(words) // 8}q", words)
    arguments = [READERS[kind](word) for kind, word in zip(routine.arguments, addresses, strict=True)]
    try:
        return routine.recognise(blas.Stored(function, dtype), *arguments)
    except blas.IllegalArgumentError as illegal:
        return blas.observed(function, dtype, (), work, f"{illegal}: the routine says so itself")


def _uplo_at(address: int) -> str:
    return "upper" if letter_at(address) == "U" else "lower"


READERS: dict[str, Callable[[int], Any]] = {
    "l": letter_at,
    "u": _uplo_at,
    "i": integer_at,
    "a": lambda address: address,
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
        recognise = partial(_recognised, routine, f"scipy.linalg.{routine.module}.{name}", dtype)
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
