"""One call of a level-3 routine with every flag, and its judge: exact arithmetic beside plain SciPy.

A `Case` says what to call; `draw` gives the `Problem`: the operands, with NaN wherever the routine must not
read, the call, and the promise. `check` makes the call outside a block and inside one, each on operands of
its own, and compares.

The promises, u the unit roundoff: products |C - exact| <= (K + 4) u (|alpha| |A||B| + |beta C|), solves
|alpha B - T X| <= (n + 8) u |T||X|, Cholesky |A - L L^H| <= (n + 8) u |L||L^H|, all componentwise. For
complex types |.| is |re| + |im| and the factor is twice as large. Two solves in one have twice that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg as sl

import numtrn

Array = np.ndarray[Any, Any]

DTYPES = {"s": "float32", "d": "float64", "c": "complex64", "z": "complex128"}
LEAST = 31
"""Extent from which on a kernel has to compute the call."""


# ---- A call ----


@dataclass(frozen=True)
class Case:
    """A call of ``scipy.linalg.(blas|lapack).<prefix><routine>``.

    Attributes
    ----------
    shape
        (m, n, k) of gemm; (n, k) of the rank-k updates; (m, n) of symm, hemm, trmm, trsm; (n, columns) of
        trtrs, potrs, getrs; (n,) of potrf.
    flags
        The keywords, as SciPy spells them.
    alpha, beta
        Factors; beta = 0 comes with a C of NaN, beta None without C.
    layout
        Of every operand: a key of `LAYOUTS`.
    overwrite
        The routine's ``overwrite_*``.
    """

    routine: str
    prefix: str
    shape: tuple[int, ...]
    flags: tuple[tuple[str, int], ...] = ()
    alpha: complex = 1.0
    beta: complex | None = None
    layout: str = "F"
    overwrite: bool = False

    @property
    def name(self) -> str:
        return self.prefix + self.routine

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(DTYPES[self.prefix])

    @property
    def is_complex(self) -> bool:
        return self.dtype.kind == "c"

    def flag(self, name: str) -> int:
        return dict(self.flags).get(name, 0)

    def __str__(self) -> str:
        flags = "-".join(f"{name}{value}" for name, value in self.flags)
        factors = f"a{self.alpha}" + ("" if self.beta is None else f"-b{self.beta}")
        overwrite = "-overwrite" * self.overwrite
        return f"{self.name}-{'x'.join(map(str, self.shape))}-{flags}-{factors}-{self.layout}{overwrite}"


@dataclass
class Operand:
    """An array as the caller has it, and the flat memory that it lies in."""

    array: Array
    memory: Array

    def copy(self) -> Operand:
        """Another one with the same content, strides and place in its memory."""
        memory = self.memory.copy()
        offset = self.array.__array_interface__["data"][0] - self.memory.__array_interface__["data"][0]
        array = np.ndarray(
            self.array.shape, self.array.dtype, memory, offset if self.array.size else 0, self.array.strides
        )
        return Operand(array, memory)


Judge = Callable[[Array], Array]


@dataclass
class Problem:
    """A call that can be made again and again.

    Attributes
    ----------
    function
        Name in the account.
    call
        The call, given the arrays.
    operands
        By name.
    excess
        Error of each element of a result, in units of what is promised.
    kept
        Elements of the result that are promised; the others are what plain SciPy leaves there.
    kernel
        Whether a kernel has to compute it.
    real_diagonal
        Whether imaginary parts on the diagonal are SciPy's to the bit (zero, as a rule).
    """

    function: str
    call: Callable[..., Any]
    operands: dict[str, Operand]
    excess: Judge
    kept: Array | None = None
    kernel: bool = True
    real_diagonal: bool = False


# ---- Checking ----


@dataclass
class Run:
    """What one call did: its result or exception, and the operands afterwards."""

    outcome: tuple[Any, ...]
    error: Exception | None
    operands: dict[str, Operand]


def run(problem: Problem) -> Run:
    """Make the call on fresh operands."""
    operands = {name: operand.copy() for name, operand in problem.operands.items()}
    try:
        outcome = problem.call(**{name: operand.array for name, operand in operands.items()})
    except Exception as error:
        return Run((), error, operands)
    return Run(outcome if isinstance(outcome, tuple) else (outcome,), None, operands)


def check(problem: Problem) -> None:
    """Make the call outside a block and inside one: the same but for rounding, and within the promise."""
    plain = run(problem)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        ours = run(problem)
    same_outcome(problem, ours, plain)
    if problem.kernel:
        by_kernel(session, problem.function)


def by_kernel(session: Any, function: str, times: int = 1) -> None:
    """Assert that the account has this many calls of a function, and each was computed by a kernel."""
    calls = [call for call in session.calls if call.function == function]
    assert len(calls) == times, [call.function for call in session.calls]
    for call in calls:
        assert call.route == "kernel", call.reason
        assert call.bound


def same_outcome(problem: Problem, ours: Run, plain: Run) -> None:
    """Compare two runs."""
    assert type(ours.error) is type(plain.error), ours.error or plain.error
    if plain.error is not None:
        assert str(ours.error) == str(plain.error)
    else:
        assert len(ours.outcome) == len(plain.outcome)
        same_place(ours, plain)
        result, expected = ours.outcome[0], plain.outcome[0]
        for mine, scipys in zip(ours.outcome[1:], plain.outcome[1:], strict=True):  # info, lower, piv
            assert type(mine) is type(scipys)
            assert np.array_equal(mine, scipys)
        if problem.kept is not None:
            assert same_bits(result[~problem.kept], expected[~problem.kept]), "the part that is not computed"
        if problem.real_diagonal:
            assert same_bits(result.diagonal().imag, expected.diagonal().imag)
        within(problem, expected, "plain SciPy")
        within(problem, result, "in the block")
    same_memory(ours, plain, problem.operands)


def same_place(ours: Run, plain: Run) -> None:
    """The first result of each: type, dtype, shape, order, and the operand whose memory it has."""
    result, expected = ours.outcome[0], plain.outcome[0]
    assert type(result) is type(expected)
    assert (result.dtype, result.shape, result.strides) == (expected.dtype, expected.shape, expected.strides)
    assert result.flags.f_contiguous == expected.flags.f_contiguous
    assert result.flags.c_contiguous == expected.flags.c_contiguous
    assert result.flags.writeable == expected.flags.writeable
    for name, operand in ours.operands.items():
        theirs = plain.operands[name]
        assert (result is operand.array) == (expected is theirs.array), name
        assert np.shares_memory(result, operand.array) == np.shares_memory(expected, theirs.array), name


def same_memory(ours: Run, plain: Run, before: dict[str, Operand]) -> None:
    """Operands that plain SciPy leaves alone are untouched, and so is what lies around the others."""
    for name, operand in ours.operands.items():
        theirs = plain.operands[name]
        if same_bits(theirs.memory, before[name].memory):
            assert same_bits(operand.memory, before[name].memory), f"{name} was written to"
        else:
            operand.array[...] = theirs.array
            assert same_bits(operand.memory, theirs.memory), f"the memory around {name} was written to"


def within(problem: Problem, result: Array, whose: str) -> None:
    """Assert the promise for a result."""
    if result.size == 0:
        return
    excess = problem.excess(result)
    if problem.kept is not None:
        excess = np.where(problem.kept, excess, 0)
    assert not np.isnan(excess).any(), f"{whose}: not a number"
    worst = float(excess.max())
    assert worst <= 1, f"{whose}: {worst:.3g} of what is promised, at {np.argwhere(excess == worst)[0]}"


def same_bits(first: Array, second: Array) -> bool:
    """Equal as bytes, element by element, NaN and signs of zero included."""
    return first.shape == second.shape and first.dtype == second.dtype and first.tobytes() == second.tobytes()


# ---- Exact arithmetic ----


def wide(x: Any) -> Array:
    """A type so wide that its own roundings do not count."""
    x = np.asarray(x)
    narrow = x.dtype.char in "fF"
    kinds = (np.float64, np.complex128) if narrow else (np.longdouble, np.clongdouble)
    return x.astype(kinds[x.dtype.kind == "c"])


def scalar(factor: Any, dtype: Any) -> Array:
    """A factor as the routine gets it."""
    return wide(np.asarray(factor).astype(dtype))


def size(x: Any) -> Array:
    """|re| + |im|, in float64."""
    x = np.asarray(x)
    return np.asarray(np.abs(x.real) + np.abs(x.imag) if x.dtype.kind == "c" else np.abs(x), np.float64)


def unit(dtype: Any) -> float:
    return float(np.finfo(dtype).eps) / 2


def ratio(error: Array, allowed: Array) -> Array:
    """Errors in units of what is allowed; 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0, 0.0, error / allowed)


def product(terms: list[tuple[Any, Any, Any]], added: tuple[Any, Any] | None, dtype: Any) -> Judge:
    """Judge of sums of factor * A @ B, plus beta * C; K is that of all terms together."""
    length = sum(a.shape[1] for _, a, _ in terms)
    exact = sum(scalar(alpha, dtype) * (wide(a) @ wide(b)) for alpha, a, b in terms)
    scale = sum(size(alpha) * (size(a) @ size(b)) for alpha, a, b in terms)
    if added is not None and added[0] != 0:
        rest = scalar(added[0], dtype) * wide(added[1])
        exact, scale = exact + rest, scale + size(rest)
    factor = (length + 4) * (2 if np.dtype(dtype).kind == "c" else 1)
    return lambda c: ratio(size(wide(c) - exact), factor * unit(dtype) * scale)


def promised(n: int, dtype: Any) -> float:
    """Factor of |T||X| for a solve or a Cholesky factorisation of order n."""
    return (n + 8) * unit(dtype) * (2 if np.dtype(dtype).kind == "c" else 1)


def solution(triangle: Array, b: Array, alpha: Any = 1.0, right: bool = False) -> Judge:
    """Judge of X in T X = alpha B, or X T = alpha B."""
    dtype, n = b.dtype, len(triangle)

    def excess(x: Array) -> Array:
        x = x.reshape(b.shape)
        made = wide(x) @ wide(triangle) if right else wide(triangle) @ wide(x)
        scale = size(x) @ size(triangle) if right else size(triangle) @ size(x)
        wanted = scalar(alpha, dtype) * wide(b)
        return ratio(size(made - wanted), promised(n, dtype) * scale)

    return excess


def solution_of_two(left: Array, right: Array, b: Array) -> Judge:
    """Judge of X in L R X = B, which two solves give."""
    dtype, n = b.dtype, len(left)
    whole, scale = wide(left) @ wide(right), size(left) @ size(right)

    def excess(x: Array) -> Array:
        x = x.reshape(b.shape)
        return ratio(size(whole @ wide(x) - wide(b)), 2 * promised(n, dtype) * (scale @ size(x)))

    return excess


def factors(a: Array, lower: bool) -> Judge:
    """Judge of a Cholesky factor of A, which is given in full."""

    def excess(c: Array) -> Array:
        left = np.tril(c) if lower else np.triu(c).conj().T
        made, scale = wide(left) @ wide(left).conj().T, size(left) @ size(left).T
        return ratio(size(made - wide(a)), promised(len(a), c.dtype) * scale)

    return excess


# ---- Operands ----


def random(rng: np.random.Generator, dtype: Any, *shape: int) -> Array:
    """Normal values of a dtype."""
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def half(n: int, lower: int) -> Array:
    """Mask of a triangle, its diagonal included."""
    return np.tri(n, dtype=bool) if lower else np.tri(n, dtype=bool).T


def read_only_half(full: Array, lower: int, imaginary: bool = False, unit_diagonal: int = 0) -> Array:
    """The matrix as it is stored: NaN in the other triangle, and where else nothing is read."""
    nan = np.full((), np.nan * (1 + 1j) if full.dtype.kind == "c" else np.nan, full.dtype)
    stored = np.where(half(len(full), lower), full, nan)
    where = np.diag_indices(len(full))
    if imaginary:
        stored.imag[where] = np.nan
    if unit_diagonal:
        stored[where] = nan
    return stored


def triangular(rng: np.random.Generator, dtype: Any, n: int, lower: int, unit_diagonal: int = 0) -> Array:
    """A triangular matrix with a small condition number."""
    full = random(rng, dtype, n, n) / np.sqrt(2 * max(n, 1))
    diagonal = random(rng, dtype, n)
    full[np.diag_indices(n)] = 1 if unit_diagonal else diagonal / np.abs(diagonal) * (1 + rng.random(n))
    return np.where(half(n, lower), full, 0).astype(dtype)


def symmetric(rng: np.random.Generator, dtype: Any, n: int, hermitian: bool) -> Array:
    """A symmetric matrix, or a Hermitian one."""
    full = np.tril(random(rng, dtype, n, n))
    other = np.tril(full, -1).T
    if not hermitian:
        return full + other
    full.imag[np.diag_indices(n)] = 0
    return full + other.conj()


def positive(rng: np.random.Generator, dtype: Any, n: int) -> Array:
    """A Hermitian matrix with eigenvalues from 1 to some 6."""
    g = random(rng, dtype, n, n)
    full = np.tril(g @ g.conj().T / max(n, 1) + np.eye(n)).astype(dtype)
    if full.dtype.kind == "c":
        full.imag[np.diag_indices(n)] = 0
    return (full + np.tril(full, -1).conj().T).astype(dtype)


def turned(a: Array, trans: int) -> Array:
    return (a, a.T, a.conj().T)[trans]


def _memory(values: Array, *shape: int, order: Literal["C", "F"] = "F") -> tuple[Array, Array]:
    """Flat memory full of 77, and the matrix of this shape that it is."""
    memory = np.full(int(np.prod(shape)), 77, values.dtype)
    return memory, memory.reshape(shape, order=order)


def _placed(memory: Array, array: Array, values: Array) -> Operand:
    array[...] = values
    return Operand(array, memory)


def _columns(values: Array) -> Operand:
    """Some columns of a larger matrix in Fortran's order, which BLAS can work on in place."""
    rows, columns = values.shape
    memory, matrix = _memory(values, rows, columns + 5)
    return _placed(memory, matrix[:, 2 : 2 + columns], values)


def _block(values: Array) -> Operand:
    """A block of a larger matrix in Fortran's order: f2py copies it."""
    rows, columns = values.shape
    memory, matrix = _memory(values, rows + 3, columns + 2)
    return _placed(memory, matrix[1 : 1 + rows, 1 : 1 + columns], values)


def _strided(values: Array) -> Operand:
    rows, columns = values.shape
    memory, matrix = _memory(values, 2 * rows + 1, 3 * columns + 1, order="C")
    return _placed(memory, matrix[1::2, 1::3], values)


def _backwards(values: Array) -> Operand:
    memory, matrix = _memory(values, *values.shape, order="C")
    return _placed(memory, matrix[::-1, ::-1], values)


LAYOUTS: dict[str, Callable[[Array], Operand]] = {
    "F": lambda values: _placed(*_memory(values, *values.shape), values),
    "C": lambda values: _placed(*_memory(values, *values.shape, order="C"), values),
    "columns": _columns,
    "block": _block,
    "strided": _strided,
    "backwards": _backwards,
}


# ---- The routines ----


def draw(case: Case) -> Problem:
    """Operands, call and promise of a case; the same each time."""
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    problem = _DRAW[case.routine](case, rng)
    problem.kernel = case.alpha != 0 and min(case.shape) >= LEAST
    return problem


def _has_c(routine: str) -> bool:
    return routine in ("gemm", "symm", "hemm", "syrk", "herk", "syr2k", "her2k")


def _problem(
    case: Case, arrays: dict[str, Array], written: str, leading: tuple[Any, ...], **rest: Any
) -> Problem:
    """The call of a case: factors first, then the arrays in order; C goes by keyword."""
    module = sl.lapack if case.routine in ("trtrs", "potrs", "getrs", "potrf") else sl.blas
    routine = getattr(module, case.name)
    keywords = dict(case.flags)
    if case.overwrite:
        keywords[f"overwrite_{written}"] = 1
    if case.beta is not None:
        keywords["beta"] = case.beta
    with_c = _has_c(case.routine) and "c" in arrays
    pivots = rest.pop("pivots", None)

    def call(**given: Array) -> Any:
        more = {"c": given.pop("c")} if with_c else {}
        positional = [*leading, *given.values()]
        if pivots is not None:
            positional.insert(1, pivots)
        return routine(*positional, **more, **keywords)

    operands = {name: LAYOUTS[case.layout](values) for name, values in arrays.items()}
    return Problem(f"scipy.linalg.{module.__name__.split('.')[-1]}.{case.name}", call, operands, **rest)


def _c_of(case: Case, rng: np.random.Generator, m: int, n: int) -> Array | None:
    """C: none, all NaN where beta = 0, else numbers."""
    if case.beta is None:
        return None
    return np.full((m, n), np.nan, case.dtype) if case.beta == 0 else random(rng, case.dtype, m, n)


def _with_c(arrays: dict[str, Array], c: Array | None) -> dict[str, Array]:
    return arrays if c is None else {**arrays, "c": c}


def _gemm(case: Case, rng: np.random.Generator) -> Problem:
    m, n, k = case.shape
    trans_a, trans_b = case.flag("trans_a"), case.flag("trans_b")
    a = random(rng, case.dtype, *((k, m) if trans_a else (m, k)))
    b = random(rng, case.dtype, *((n, k) if trans_b else (k, n)))
    c = _c_of(case, rng, m, n)
    added = None if c is None else (case.beta, c)
    excess = product([(case.alpha, turned(a, trans_a), turned(b, trans_b))], added, case.dtype)
    return _problem(case, _with_c({"a": a, "b": b}, c), "c", (case.alpha,), excess=excess)


def _symm(case: Case, rng: np.random.Generator) -> Problem:
    m, n = case.shape
    hermitian, side, lower = case.routine == "hemm", case.flag("side"), case.flag("lower")
    full = symmetric(rng, case.dtype, n if side else m, hermitian)
    a, b = read_only_half(full, lower, imaginary=hermitian), random(rng, case.dtype, m, n)
    c = _c_of(case, rng, m, n)
    added = None if c is None else (case.beta, c)
    excess = product([(case.alpha, b, full) if side else (case.alpha, full, b)], added, case.dtype)
    return _problem(case, _with_c({"a": a, "b": b}, c), "c", (case.alpha,), excess=excess)


def _updated(case: Case, rng: np.random.Generator, hermitian: bool) -> tuple[Array | None, Any, Array]:
    """C as stored, NaN in its other triangle; beta and C for the judge; the mask of what is computed."""
    n, lower = case.shape[0], case.flag("lower")
    kept = half(n, lower)
    if case.beta is None:
        return None, None, kept
    if case.beta == 0:
        return np.full((n, n), np.nan, case.dtype), None, kept
    full = symmetric(rng, case.dtype, n, hermitian)
    # BLAS leaves C as it is, imaginary diagonal and all, where alpha = 0 and beta = 1
    ignored = hermitian and not (case.alpha == 0 and case.beta == 1)
    return read_only_half(full, lower, imaginary=ignored), (case.beta, full), kept


def _rank_k(case: Case, rng: np.random.Generator) -> Problem:
    n, k = case.shape
    hermitian, trans = case.routine == "herk", case.flag("trans")
    a = random(rng, case.dtype, *((k, n) if trans else (n, k)))
    c, added, kept = _updated(case, rng, hermitian)
    left = turned(a, trans)
    right = left.conj().T if hermitian else left.T
    excess = product([(case.alpha, left, right)], added, case.dtype)
    arrays = _with_c({"a": a}, c)
    return _problem(case, arrays, "c", (case.alpha,), excess=excess, kept=kept, real_diagonal=hermitian)


def _rank_2k(case: Case, rng: np.random.Generator) -> Problem:
    n, k = case.shape
    hermitian, trans = case.routine == "her2k", case.flag("trans")
    a, b = (random(rng, case.dtype, *((k, n) if trans else (n, k))) for _ in range(2))
    c, added, kept = _updated(case, rng, hermitian)
    left, right = turned(a, trans), turned(b, trans)
    if hermitian:
        terms = [(case.alpha, left, right.conj().T), (np.conj(case.alpha), right, left.conj().T)]
    else:
        terms = [(case.alpha, left, right.T), (case.alpha, right, left.T)]
    arrays = _with_c({"a": a, "b": b}, c)
    return _problem(
        case,
        arrays,
        "c",
        (case.alpha,),
        excess=product(terms, added, case.dtype),
        kept=kept,
        real_diagonal=hermitian,
    )


def _triangle(case: Case, rng: np.random.Generator, n: int, diag: str) -> tuple[Array, Array]:
    """T in full, and as it is stored."""
    lower, unit_diagonal = case.flag("lower"), case.flag(diag)
    full = triangular(rng, case.dtype, n, lower, unit_diagonal)
    return full, read_only_half(full, lower, unit_diagonal=unit_diagonal)


def _sided(case: Case, rng: np.random.Generator) -> Problem:
    """Of trmm and trsm."""
    m, n = case.shape
    side = case.flag("side")
    full, a = _triangle(case, rng, n if side else m, "diag")
    b = random(rng, case.dtype, m, n)
    triangle = turned(full, case.flag("trans_a"))
    if case.routine == "trsm":
        excess = solution(triangle, b, case.alpha, right=bool(side))
    else:
        pair = (b, triangle) if side else (triangle, b)
        excess = product([(case.alpha, *pair)], None, case.dtype)
    return _problem(case, {"a": a, "b": b}, "b", (case.alpha,), excess=excess)


def _trtrs(case: Case, rng: np.random.Generator) -> Problem:
    n, columns = case.shape
    full, a = _triangle(case, rng, n, "unitdiag")
    b = random(rng, case.dtype, n, columns)
    excess = solution(turned(full, case.flag("trans")), b)
    return _problem(case, {"a": a, "b": b}, "b", (), excess=excess)


def _potrs(case: Case, rng: np.random.Generator) -> Problem:
    n, columns = case.shape
    lower = case.flag("lower")
    full = triangular(rng, case.dtype, n, lower)
    full[np.diag_indices(n)] = np.abs(full.diagonal())
    b = random(rng, case.dtype, n, columns)
    left = full if lower else full.conj().T
    arrays = {"a": read_only_half(full, lower), "b": b}
    return _problem(case, arrays, "b", (), excess=solution_of_two(left, left.conj().T, b))


def _getrs(case: Case, rng: np.random.Generator) -> Problem:
    n, columns = case.shape
    left = triangular(rng, case.dtype, n, 1, 1)
    right = triangular(rng, case.dtype, n, 0)
    pivots = np.array([rng.integers(i, n) for i in range(n)], np.int32)
    rows = np.arange(n)
    for i, pivot in enumerate(pivots):
        rows[[i, pivot]] = rows[[pivot, i]]
    left_rows = np.empty_like(left)
    left_rows[rows] = left  # P^T L, so that A = P^T L U
    b = random(rng, case.dtype, n, columns)
    trans = case.flag("trans")
    excess = (
        solution_of_two(turned(right, trans), turned(left_rows, trans), b)
        if trans
        else solution_of_two(left_rows, right, b)
    )
    arrays = {"a": (np.tril(left, -1) + right).astype(case.dtype), "b": b}
    return _problem(case, arrays, "b", (), excess=excess, pivots=pivots)


def _potrf(case: Case, rng: np.random.Generator) -> Problem:
    (n,) = case.shape
    lower = case.flag("lower")
    full = positive(rng, case.dtype, n)
    stored = read_only_half(full, lower, imaginary=case.is_complex)
    return _problem(
        case,
        {"a": stored},
        "a",
        (),
        excess=factors(full, bool(lower)),
        kept=half(n, lower),
        real_diagonal=case.is_complex,
    )


_DRAW: dict[str, Callable[[Case, np.random.Generator], Problem]] = {
    "gemm": _gemm,
    "symm": _symm,
    "hemm": _symm,
    "syrk": _rank_k,
    "herk": _rank_k,
    "syr2k": _rank_2k,
    "her2k": _rank_2k,
    "trmm": _sided,
    "trsm": _sided,
    "trtrs": _trtrs,
    "potrs": _potrs,
    "getrs": _getrs,
    "potrf": _potrf,
}
