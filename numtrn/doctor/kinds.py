"""One call for each kind of kernel, compared with NumPy: whether a target computes at all.

The comparison is a coarse one, by norms. What float64 accuracy rests on is `numtrn.probe`'s affair, and the
promised bounds are checked by ``verify=True``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numtrn.launch import launch
from numtrn.options import Options
from numtrn.plan import Refusal, make_plan
from numtrn.plan.tuned import karatsuba_from
from numtrn.request import Array, Gemm, Mp2, Operands, Request, Solve, Triangular
from numtrn.targets import Counters, Resident, Target

__all__ = ["Kind", "Tried", "kinds", "table", "try_all"]

SIZE = 192
ERRORS = {"float32": 1e-5, "float64": 1e-13, "complex128": 1e-13}
"""Largest difference from NumPy that passes, relative to the largest element of |A||B|."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Kind:
    """A call that needs certain kernels.

    Attributes
    ----------
    name
        In words.
    kernels
        That it is to reach.
    request, inputs
        What is asked.
    expected, size
        NumPy's result, and what an error is relative to.
    """

    name: str
    kernels: tuple[str, ...]
    request: Request
    inputs: tuple[Array, ...]
    expected: Array
    size: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """What came of one kind.

    Attributes
    ----------
    name, kernels
        Of the call, and the kernels that the target launched for it.
    error
        Largest difference from NumPy, relative to the largest element of |A||B|; None where nothing came.
    problem
        Why it does not pass; empty where it does.
    """

    name: str
    kernels: tuple[str, ...]
    error: float | None
    problem: str


class _Watched:
    """A target that notes which kernels it launched."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.name, self.chip = target.name, target.chip
        self.cores = 1  # one of each kind is to be seen, wherever
        self.twins = target.twins
        self.launched: list[str] = []

    @property
    def counters(self) -> Counters:
        return self._target.counters

    def launch(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> Array:
        given = self._target.launch(kernel, arrays, parameters)
        self.launched.append(kernel)
        return given

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        given = self._target.keep(kernel, arrays, parameters)
        self.launched.append(kernel)
        return given

    def place(self, array: Array) -> Resident:
        return self._target.place(array)

    def fetch(self, resident: Resident) -> Array:
        return self._target.fetch(resident)


class _Host:
    """The blocks on a diagonal that kernels leave to the host."""

    def solve(self, factor: Array, columns: Array, *, unit: bool) -> None:
        lower = np.tril(factor, -1) + np.eye(len(factor)) if unit else np.tril(factor)
        columns[...] = np.linalg.solve(lower, columns)

    def cholesky(self, a: Array) -> tuple[Array, int]:
        return np.linalg.cholesky(a), 0


def try_all(target: Target) -> tuple[Tried, ...]:
    """Run every kind on a target. Never raises for what the target does; that is a finding."""
    return tuple(_try(kind, target) for kind in kinds(target))


def table(tried: Sequence[Tried]) -> str:
    """What came of every kind, as text."""
    from tabulate import tabulate  # here, because only a probe needs it

    rows = [
        (
            one.name,
            ", ".join(one.kernels),
            "-" if one.error is None else f"{one.error:.1e}",
            one.problem or "as NumPy",
        )
        for one in tried
    ]
    return tabulate(rows, headers=["call", "kernels", "error", ""], maxcolwidths=[None, 30, None, 60])


def _try(kind: Kind, target: Target) -> Tried:
    watched = _Watched(target)
    try:
        plan = make_plan(
            kind.request, Options(min_work=0, chip=target.chip.name, lnc=target.chip.lnc), target.name
        )
        if isinstance(plan, Refusal):
            raise RuntimeError(plan.reason)
        value = launch(plan, Operands(inputs=kind.inputs, host=_Host()), watched).value
    except Exception as cause:
        return _tried(kind, watched, None, f"{type(cause).__name__}: {cause}"[:500])
    error = float(np.max(np.abs(value - kind.expected))) / kind.size
    missing = [kernel for kernel in kind.kernels if kernel not in watched.launched]
    if missing:
        return _tried(kind, watched, error, f"{', '.join(missing)} not launched")
    good = error <= ERRORS[kind.request.dtype]
    return _tried(kind, watched, error, "" if good else "differs from NumPy")


def _tried(kind: Kind, watched: _Watched, error: float | None, problem: str) -> Tried:
    kernels = tuple(dict.fromkeys(watched.launched))
    return Tried(name=kind.name, kernels=kernels, error=error, problem=problem)


# ---- The calls ----


def kinds(target: Target) -> list[Kind]:
    """All kinds; the one of Karatsuba's form, whose product is large, on a device only."""
    rng = np.random.default_rng(0)
    found = [
        _product("float32 product", ("gemm",), "float32", SIZE, rng),
        _product("float64 product", ("digit_planes", "least_product", "sliced_gemm"), "float64", SIZE, rng),
        _product("complex128 product", ("sum_planes",), "complex128", SIZE, rng),
        _structured("syrk", "rank_k", rng),
        _structured("symm", "symm", rng),
        _structured("trmm", "trmm", rng),
        _solve(rng),
        _pairs(rng),
    ]
    least = karatsuba_from(target.chip.name, 7)
    if target.name == "neuron" and least is not None:
        kernels = ("karatsuba_planes", "karatsuba_gemm")
        found.append(_product("large float64 product", kernels, "float64", least, rng))
    return found


def _draw(rng: np.random.Generator, dtype: str, *shape: int) -> Array:
    values: Array = rng.standard_normal(shape)
    if dtype == "complex128":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def _kind(
    name: str, kernels: tuple[str, ...], request: Request, inputs: tuple[Array, ...], expected: Any, size: Any
) -> Kind:
    largest = float(np.max(np.abs(size)))
    return Kind(
        name=name,
        kernels=kernels,
        request=request,
        inputs=inputs,
        expected=np.asarray(expected),
        size=largest,
    )


def _product(name: str, kernels: tuple[str, ...], dtype: str, n: int, rng: np.random.Generator) -> Kind:
    a, b = _draw(rng, dtype, 1, n, n), _draw(rng, dtype, 1, n, n)
    request = Gemm(function="doctor", dtype=dtype, m=n, k=n, n=n)
    wide = np.result_type(dtype, np.float64)
    return _kind(name, kernels, request, (a, b), a.astype(wide) @ b, np.abs(a) @ np.abs(b))


def _structured(structure: Any, kernel: str, rng: np.random.Generator) -> Kind:
    a, b = _draw(rng, "float32", 1, SIZE, SIZE), _draw(rng, "float32", 1, SIZE, SIZE)
    make: dict[str, Callable[[], tuple[Array, Array]]] = {
        "syrk": lambda: (a, a.swapaxes(1, 2)),
        "symm": lambda: (np.tril(a) + np.tril(a, -1).swapaxes(1, 2), b),
        "trmm": lambda: (np.tril(a), b),
    }
    left, right = make[structure]()
    kept: dict[str, Any] = {"triangle": "lower"} if structure == "syrk" else {"stored": "lower"}
    request = Gemm(function="doctor", dtype="float32", m=SIZE, k=SIZE, n=SIZE, structure=structure, **kept)
    expected = left.astype(np.float64) @ right
    return _kind(
        f"float32 {structure}", (kernel,), request, (left, right), expected, np.abs(left) @ np.abs(right)
    )


def _solve(rng: np.random.Generator) -> Kind:
    factor = np.tril(_draw(rng, "float32", SIZE, SIZE)) / SIZE + 2 * np.eye(SIZE, dtype=np.float32)
    columns = _draw(rng, "float32", SIZE, SIZE)
    request = Solve(
        function="doctor", dtype="float32", n=SIZE, columns=SIZE, factors=(Triangular(uplo="lower"),)
    )
    expected = np.linalg.solve(factor.astype(np.float64), columns)
    return _kind("float32 solve", ("trsm",), request, (factor, columns), expected, columns)


def _pairs(rng: np.random.Generator) -> Kind:
    nocc, nvir, naux = 3, 20, 40
    b = _draw(rng, "float32", nocc, nvir, naux)
    occupied, virtual = -2 - rng.random(nocc), 1 + rng.random(nvir)
    request = Mp2(function="doctor", dtype="float32", nocc=(nocc, nocc), nvir=(nvir, nvir), naux=naux)
    t = np.einsum("iaQ,jbQ->ijab", b.astype(np.float64), b.astype(np.float64))
    gaps = np.add.outer(np.add.outer(occupied, occupied), -np.add.outer(virtual, virtual))
    expected = np.stack([(t * t / gaps).sum((2, 3)), (t * t.swapaxes(2, 3) / gaps).sum((2, 3))])
    return _kind("float32 pair energies", ("mp2_pairs",), request, (b, occupied, virtual), expected, expected)
