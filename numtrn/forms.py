"""From a call of a contracting NumPy function to a request: the one place that knows their arguments.

Interception, `numtrn.explain` and numtrn arrays all read calls here. What is wrong with a call is left to
NumPy to say: whatever is raised here means that NumPy is to be asked. Nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from operator import index
from typing import Any, NamedTuple

import numpy as np

from numtrn.request import Array, Contraction, Routine
from numtrn.subscripts import (
    Reading,
    read_chain,
    read_dot,
    read_einsum,
    read_inner,
    read_tensordot,
    read_vectors,
    take_apart,
)

__all__ = [
    "KERNELS",
    "Form",
    "NotACallError",
    "by_vector",
    "contract",
    "dot",
    "einsum",
    "exactly",
    "first_places",
    "inner",
    "multi_dot",
    "tensordot",
    "unserved",
    "vectors",
]

KERNELS = "fdFD"
"""Type characters that kernels serve."""

FINDERS = ("greedy", "optimal")
"""Path finders that NumPy knows by name; opt_einsum's have the same names."""

BY_VALUE = np.__version__.startswith("1.")
"""Whether NumPy promotes scalars by their values, as it did before NEP 50."""

AsArray = Callable[[Any], Array]


class NotACallError(ValueError):
    """A call that NumPy refuses, or that only NumPy can judge."""


class Form(NamedTuple):
    """A call that contracts arrays, its arguments sorted out.

    Attributes
    ----------
    function
        What the user called.
    reading
        What it asks.
    arrays
        Its operands.
    out, dtype, order, casting
        As the call has them; NumPy's defaults where it has none.
    optimize
        As einsum has it; False: NumPy would compute in one loop nest.
    path, finder, memory_limit
        As of a `numtrn.request.Contraction`.
    reason
        Why only NumPy computes such a call; empty when kernels may.
    """

    function: str
    reading: Reading
    arrays: tuple[Array, ...]
    out: Array | None = None
    dtype: np.dtype[Any] | None = None
    order: str = "K"
    casting: Any = "safe"
    optimize: Any = False
    path: tuple[tuple[int, ...], ...] | None = None
    finder: str = "auto"
    memory_limit: int | None = None
    reason: str = ""

    @property
    def stepwise(self) -> bool:
        """Whether NumPy would compute in steps."""
        return self.optimize is not False

    @property
    def computed(self) -> np.dtype[Any]:
        """The dtype in which NumPy computes: einsum's default counts ``out`` in."""
        if self.dtype is not None:
            return self.dtype
        if self.function != "numpy.einsum" or self.stepwise:
            return np.result_type(*(array.dtype for array in self.arrays))
        counted = () if self.out is None else (self.out,)
        return np.result_type(*self.arrays, *counted)  # of which NumPy 1 looks at the values of scalars

    def request(self) -> Contraction | Routine:
        """What is asked, or why only NumPy can do it.

        Raises
        ------
        NotACallError
            Where the arguments do not fit, so that NumPy is to judge them.
        """
        dtype = self.computed
        reason = self._objection(dtype)
        if reason:
            return Routine(
                function=self.function,
                dtype=dtype.name,
                shapes=tuple(array.shape for array in self.arrays),
                work=self.reading.work,
                reason=reason,
                contraction=True,
            )
        return Contraction(
            function=self.function,
            dtype=dtype.name,
            subscripts=self.reading.subscripts,
            shapes=tuple(array.shape for array in self.arrays),
            strides=tuple(array.strides for array in self.arrays),
            same=first_places(self.arrays),
            path=self.path,
            finder=self.finder,
            memory_limit=self.memory_limit,
        )

    def _objection(self, dtype: np.dtype[Any]) -> str:
        """Why NumPy must compute the call; empty when nothing speaks against a kernel."""
        for array in (*self.arrays, *(() if self.out is None else (self.out,))):
            if array.dtype.char not in KERNELS:
                return unserved(array.dtype)
        if dtype.char not in KERNELS or not dtype.isnative:
            return unserved(dtype)
        if self.stepwise and self._depends_on_steps():
            return "the type of the result depends on the order in which NumPy contracts"
        if not all(np.can_cast(array, dtype, self.casting) for array in self.arrays):
            raise NotACallError(f"an operand cannot be cast to {dtype} under {self.casting!r}")
        if self.out is not None:
            self._check_out(self.out, dtype)
        return self.reason

    def _depends_on_steps(self) -> bool:
        """Whether NumPy's order decides the type: ``dtype`` with ``optimize``, and scalars in NumPy 1."""
        dtypes = {array.dtype for array in self.arrays}
        wanted = self.dtype is not None and self.dtype != np.result_type(*dtypes)
        return wanted or (BY_VALUE and len(dtypes) > 1)

    def _check_out(self, out: Array, dtype: np.dtype[Any]) -> None:
        """Einsum reads and writes ``out`` under its casting; the others want exactly their result's like."""
        fits = type(out) is np.ndarray and out.shape == self.reading.shape and out.flags.writeable
        if self.function == "numpy.einsum":
            fits = fits and np.can_cast(dtype, out.dtype, self.casting)
            fits = fits and (self.stepwise or np.can_cast(out.dtype, dtype, self.casting))
        else:
            fits = fits and out.dtype == dtype and out.flags.c_contiguous
        if not fits:
            raise NotACallError(f"out= does not fit a {dtype} result of shape {self.reading.shape}")


def unserved(dtype: np.dtype[Any]) -> str:
    """Why a dtype stays with NumPy."""
    name = dtype.name if dtype.isnative else f"{dtype.name} of foreign byte order"
    return f"{name} stays with NumPy: no kernel gives NumPy's own accuracy for it"


def by_vector(name: str) -> str:
    """Why a product with a vector stays with NumPy."""
    routine = "DOT" if name == "vecdot" else "GEMV"
    return f"NumPy computes np.{name} by {routine}, bound by reading its operands: no kernel is faster"


def exactly(operand: Any) -> Array:
    """An operand as it is, which must be an array and of no subclass.

    Raises
    ------
    NotACallError
        Where it is not: what NumPy makes of it is NumPy's affair.
    """
    if type(operand) is not np.ndarray:
        raise NotACallError("only exact arrays are looked at")
    return operand


def first_places(arrays: Sequence[Array]) -> tuple[int, ...]:
    """For each array the place of the first one with the same elements of the same memory in that order."""
    places: dict[Any, int] = {}
    return tuple(
        places.setdefault((x.__array_interface__["data"][0], x.shape, x.strides, x.dtype), place)
        for place, x in enumerate(arrays)
    )


# ---- Products of two ----


def dot(a: Any, b: Any, out: Any = None, *, as_array: AsArray = np.asarray) -> Form:
    """``numpy.dot``; here and below, ``as_array`` says what counts as an operand."""
    first, second = as_array(a), as_array(b)
    return Form("numpy.dot", read_dot(first.shape, second.shape), (first, second), out)


def inner(a: Any, b: Any, /, *, as_array: AsArray = np.asarray) -> Form:
    """``numpy.inner``."""
    first, second = as_array(a), as_array(b)
    return Form("numpy.inner", read_inner(first.shape, second.shape), (first, second))


def tensordot(a: Any, b: Any, axes: Any = 2, *, as_array: AsArray = np.asarray) -> Form:
    """``numpy.tensordot``."""
    first, second = as_array(a), as_array(b)
    return Form("numpy.tensordot", read_tensordot(first.shape, second.shape, axes), (first, second))


def vectors(name: str, first: Any, second: Any, /, *, as_array: AsArray = np.asarray) -> Form:
    """``numpy.matvec``, ``vecmat`` and ``vecdot``; the latter two conjugate their first operand (a copy).

    Only one matrix with many vectors is for kernels.
    """
    arrays = as_array(first), as_array(second)
    reading = read_vectors(name, arrays[0].shape, arrays[1].shape)
    matrix, vector = arrays if name == "matvec" else arrays[::-1]
    if name != "matvec" and arrays[0].dtype.kind == "c":
        arrays = arrays[0].conj(), arrays[1]
    is_gemm = name != "vecdot" and prod(matrix.shape[:-2]) == 1 and prod(vector.shape[:-1]) > 1
    return Form(f"numpy.{name}", reading, arrays, reason="" if is_gemm else by_vector(name))


# ---- Chains ----


def multi_dot(arrays: Any, *, out: Any = None, as_array: AsArray = np.asarray) -> Form:
    """``numpy.linalg.multi_dot``, in its own order.

    Raises
    ------
    NotACallError
        Of mixed dtypes, which NumPy promotes pair by pair, and of ``out`` beside vectors.
    """
    if not isinstance(arrays, list | tuple):  # an iterator could not be read twice
        raise NotACallError("the matrices are given as a list or a tuple")
    operands = tuple(map(as_array, arrays))
    if len(operands) < 2 or len({operand.dtype for operand in operands}) > 1:
        raise NotACallError("multi_dot multiplies at least two matrices, here of one dtype")
    if out is not None and 1 in (operands[0].ndim, operands[-1].ndim):
        raise NotACallError("out= beside vectors")
    reading = read_chain(tuple(operand.shape for operand in operands))
    return Form("numpy.linalg.multi_dot", reading, operands, out, path=reading.path)


# ---- Einsum ----


def einsum(
    *operands: Any,
    out: Any = None,
    optimize: Any = False,
    dtype: Any = None,
    order: Any = "K",
    casting: Any = "safe",
    as_array: AsArray = np.asarray,
) -> Form:
    """``numpy.einsum`` of two operands or more, with every keyword it has."""
    written, given = take_apart(operands)
    if len(given) < 2:
        raise NotACallError("a single operand multiplies nothing")
    arrays = tuple(map(as_array, given))
    reading = read_einsum(written, tuple(array.shape for array in arrays))
    if order not in ("K", "C", "F", "A", "k", "c", "f", "a"):
        raise NotACallError(f"order={order!r}")
    wanted = None if dtype is None else np.dtype(dtype)
    form = Form("numpy.einsum", reading, arrays, out, wanted, order.upper(), casting, optimize)
    return _ordered(form) if form.stepwise else form


def contract(
    *operands: Any,
    out: Any = None,
    optimize: Any = True,
    memory_limit: Any = None,
    as_array: AsArray = np.asarray,
    **others: Any,
) -> Form:
    """``opt_einsum.contract``, in the order that it chooses; its steps are calls of NumPy's functions."""
    from opt_einsum import contract_path  # where used: most processes need not pay for it

    form = einsum(*operands, out=out, as_array=as_array)
    shapes = [array.shape for array in form.arrays]
    subscripts = form.reading.subscripts
    path, _ = contract_path(subscripts, *shapes, shapes=True, optimize=optimize, memory_limit=memory_limit)
    steps = tuple(tuple(map(int, step)) for step in path)
    reason = f"{', '.join(others)}: only the call itself tells" if others else ""
    return form._replace(function="opt_einsum.contract", path=steps, reason=reason)


def _ordered(form: Form) -> Form:
    """The form with what ``optimize=`` says of the order of contraction; see `numpy.einsum_path`."""
    optimize = form.optimize
    if optimize is True or optimize is None:  # for NumPy the greedy order and none; the plan has its own
        return form
    if isinstance(optimize, str):
        return form._replace(finder=_finder(optimize))
    if not isinstance(optimize, list | tuple):
        raise NotACallError(f"optimize={optimize!r}")
    if len(optimize) and isinstance(optimize[0], str) and optimize[0] == "einsum_path":
        path = _path(optimize[1:], len(form.arrays))
        return form._replace(path=path, optimize=("einsum_path", *path))
    finder, limit = optimize
    if not isinstance(limit, int | float):
        raise NotACallError(f"optimize={optimize!r}")
    return form._replace(finder=_finder(finder), memory_limit=max(int(limit), 0), optimize=(finder, limit))


def _finder(name: Any) -> str:
    if name not in FINDERS:
        raise NotACallError(f"optimize={name!r}: NumPy knows {', '.join(FINDERS)}")
    return str(name)


def _path(steps: Sequence[Any], operands: int) -> tuple[tuple[int, ...], ...]:
    """A path as it was given, if it leads to one result."""
    path = tuple(tuple(map(index, step)) for step in steps)
    for step in path:
        if not step or len(set(step)) < len(step) or not set(step) <= set(range(operands)):
            raise NotACallError(f"einsum_path with the step {step} for {operands} operands")
        operands += 1 - len(step)
    if operands != 1 or not path:
        raise NotACallError(f"einsum_path that leaves {operands} operands")
    return path
