"""The energies of PySCF's MP2 classes by `numtrn.mp2`, from the integrals that PySCF has made.

What is asked is read off PySCF's objects as its own kernels read it. Amplitudes, where wanted, are products
by kernels over the denominators. A calculation that is not served is left to PySCF; a record says why.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from numtrn import mp2
from numtrn.block import OpenBlock
from numtrn.errors import KernelFallbackWarning, NumtrnError
from numtrn.intercept import gate
from numtrn.pyscf.reach import here
from numtrn.pyscf.replacements import Original, register
from numtrn.request import Array, Operands, Routine

__all__: list[str] = []

ARGUMENTS = "mp mo_energy mo_coeff eris with_t2"
SLAB = 256e6
"""Bytes of integrals made at a time for amplitudes."""
SPARE = 1.25
"""Integrals may take the memory that is available divided by this."""


class NotServed(Exception):  # noqa: N818 - no error: an answer
    """PySCF is to compute; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One MP2 calculation.

    Attributes
    ----------
    fitted
        Whether ``integrals`` are B (nocc, nvir, naux) of each spin; else they are (ia|jb)
        (nocc, nvir, nocc, nvir), or in a file (nocc * nvir, nocc * nvir), of each pair of spins: alpha alpha,
        alpha beta, beta beta.
    integrals
        One array where all orbitals are doubly occupied.
    occupied, virtual
        Orbital energies in Eh, of each spin.
    """

    fitted: bool
    integrals: tuple[Any, ...]
    occupied: tuple[Array, ...]
    virtual: tuple[Array, ...]

    @property
    def restricted(self) -> bool:
        """Whether alpha and beta orbitals are the same."""
        return len(self.occupied) == 1

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of spins, in PySCF's order."""
        return ((0, 0),) if self.restricted else ((0, 0), (0, 1), (1, 1))


Read = Callable[[Any, Mapping[str, Any]], Problem]


def _replacement(original: Original, read: Read, *, fitted: bool) -> Original:
    """A kernel in place of PySCF's, given how to read what it is asked."""
    signature = inspect.signature(original)
    function = f"{original.__module__}.{original.__name__}"

    @wraps(original)
    def kernel(*args: Any, **kwargs: Any) -> Any:
        block = here()
        if block is None:
            return original(*args, **kwargs)
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        asked = call.arguments
        if asked["eris"] is None:
            solver = asked["mp"]
            asked["eris"] = solver.ao2mo() if fitted else solver.ao2mo(asked["mo_coeff"])
        try:
            return _solve(_admitted(read, asked), with_t2=asked["with_t2"])
        except NotServed as reason:
            _note(function, asked, str(reason), contraction=fitted)
        except NumtrnError:
            raise
        except Exception as error:
            _note(function, asked, f"unreadable: {type(error).__name__}: {error}", contraction=fitted)
            _unreadable(block, function, error)
        return original(**asked)

    return kernel


def _admitted(read: Read, asked: Mapping[str, Any]) -> Problem:
    """What is asked, if it is served.

    Raises
    ------
    NotServed
        Otherwise.
    """
    solver = asked["mp"]
    if not solver._scf.converged:
        raise NotServed("the reference has not converged, so that MP2 is iterated")
    problem = read(solver, asked)
    if asked["with_t2"]:
        _check_room(solver, problem)
    return problem


def _unreadable(block: OpenBlock, function: str, error: Exception) -> None:
    """An error of our own in front of the user's calculation: raised under strict, else a warning."""
    cause = f"{type(error).__name__}: {error}"
    if block.options.strict:
        raise NumtrnError(
            f"{function}: numtrn could not read this calculation ({cause}). "
            "Without strict=True PySCF computes it"
        ) from error
    warnings.warn(
        f"{function}: numtrn could not read this calculation and left it to PySCF ({cause}); "
        "please report this",
        KernelFallbackWarning,
        stacklevel=3,
    )


def _note(function: str, asked: Mapping[str, Any], reason: str, *, contraction: bool) -> None:
    """Record a calculation that PySCF computes.

    A contraction is what no other record covers: PySCF's other kernels call NumPy, which is seen by itself.
    """
    occupied, virtual = _extents(asked["mp"])
    routine = Routine(
        function=function,
        dtype="float64",
        shapes=((occupied, virtual, occupied, virtual),),
        work=(occupied * virtual) ** 2,
        reason=f"{reason}: PySCF computes it",
        contraction=contraction,
    )
    gate.hook.call_busy(gate.offer, routine, Operands(inputs=()))


def _extents(solver: Any) -> tuple[int, int]:
    """Occupied and virtual orbitals that are correlated; of two spins the sums."""
    try:
        occupied, orbitals = np.sum(solver.nocc), np.sum(solver.nmo)
    except Exception:  # the solver cannot say
        return 0, 0
    return int(occupied), int(orbitals - occupied)


# ---- Reading PySCF's objects ----


def _check_room(solver: Any, problem: Problem) -> None:
    """Leave amplitudes that do not fit to PySCF, which raises an error then, or tries."""
    wanted = sum(8 * prod(_amplitude_shape(problem, pair)) for pair in problem.pairs)
    if wanted > _available(solver):
        raise NotServed(f"amplitudes of {wanted / 1e6:.0f} MB exceed what max_memory leaves")


def _available(solver: Any) -> float:
    """Bytes that the solver's max_memory leaves."""
    return float(solver.max_memory - import_module("pyscf.lib").current_memory()[0]) * 1e6


def _real(*stored: Any) -> None:
    """Leave integrals of other types to PySCF."""
    for x in stored:
        if x.dtype.name not in ("float32", "float64"):
            raise NotServed(f"{x.dtype.name} integrals: numtrn.mp2 takes float32 and float64")


def _in_memory(solver: Any, *stored: Any) -> list[Array]:
    """B as arrays; datasets of a file are read, where they fit."""
    _real(*stored)
    new = sum(8 * prod(x.shape) for x in stored if not isinstance(x, np.ndarray))
    if new * SPARE > _available(solver) and new:
        raise NotServed(f"integrals of {new / 1e6:.0f} MB are in a file and exceed what max_memory leaves")
    return [np.asarray(x) for x in stored]


@register("pyscf.mp.dfmp2", "kernel", parameters=ARGUMENTS)
def _dfmp2(original: Original) -> Original:
    def read(solver: Any, asked: Mapping[str, Any]) -> Problem:
        occupied, virtual = map(np.asarray, solver.split_mo_energy()[1:3])
        (b,) = _in_memory(solver, asked["eris"].ovL)
        return Problem(True, (_fitted(b, occupied, virtual),), (occupied,), (virtual,))

    return _replacement(original, read, fitted=True)


@register("pyscf.mp.dfump2", "kernel", parameters=ARGUMENTS)
def _dfump2(original: Original) -> Original:
    def read(solver: Any, asked: Mapping[str, Any]) -> Problem:
        spins = solver.split_mo_energy()
        occupied, virtual = (tuple(np.asarray(spin[place]) for spin in spins) for place in (1, 2))
        both = _in_memory(solver, *asked["eris"].ovL)
        return Problem(True, tuple(map(_fitted, both, occupied, virtual)), occupied, virtual)

    return _replacement(original, read, fitted=True)


def _fitted(b: Array, occupied: Array, virtual: Array) -> Array:
    return b.reshape(len(occupied), len(virtual), b.shape[-1])


@register("pyscf.mp.mp2", "kernel", parameters=ARGUMENTS)
def _mp2(original: Original) -> Original:
    def read(solver: Any, asked: Mapping[str, Any]) -> Problem:
        energies, nocc = _energies(solver, asked), solver.nocc
        occupied, virtual = (np.asarray(energies[:nocc]),), (np.asarray(energies[nocc : solver.nmo]),)
        return _given([asked["eris"].ovov], occupied, virtual)

    return _replacement(original, read, fitted=False)


@register("pyscf.mp.ump2", "kernel", parameters=ARGUMENTS)
def _ump2(original: Original) -> Original:
    def read(solver: Any, asked: Mapping[str, Any]) -> Problem:
        energies, counts = _energies(solver, asked), solver.get_nocc()
        occupied = tuple(np.asarray(spin[:nocc]) for spin, nocc in zip(energies, counts, strict=True))
        virtual = tuple(np.asarray(spin[nocc:]) for spin, nocc in zip(energies, counts, strict=True))
        eris = asked["eris"]
        return _given([eris.ovov, eris.ovOV, eris.OVOV], occupied, virtual)

    return _replacement(original, read, fitted=False)


def _energies(solver: Any, asked: Mapping[str, Any]) -> Any:
    """Orbital energies, under the condition that PySCF makes for given ones."""
    given = asked["mo_energy"] is not None or asked["mo_coeff"] is not None
    if given and solver.frozen is not None:
        raise NotServed("orbitals are given and some are frozen, which PySCF does not take")
    return asked["eris"].mo_energy if asked["mo_energy"] is None else asked["mo_energy"]


def _given(stored: list[Any], occupied: tuple[Array, ...], virtual: tuple[Array, ...]) -> Problem:
    """Integrals in files are read as they are needed."""
    _real(*stored)
    pairs = Problem(False, (), occupied, virtual).pairs
    integrals = tuple(
        x.reshape(len(occupied[i]), len(virtual[i]), len(occupied[j]), len(virtual[j]))
        if isinstance(x, np.ndarray)
        else x
        for x, (i, j) in zip(stored, pairs, strict=True)
    )
    return Problem(False, integrals, occupied, virtual)


@register("pyscf.mp.gmp2", "kernel", parameters=ARGUMENTS)
@register("pyscf.mp.dfgmp2", "kernel", parameters=ARGUMENTS)
def _generalised(original: Original) -> Original:
    function = f"{original.__module__}.{original.__name__}"

    @wraps(original)
    def kernel(mp: Any, *args: Any, **kwargs: Any) -> Any:
        if here() is not None:
            reason = "two-component orbitals: numtrn.mp2 has restricted and unrestricted ones"
            _note(function, {"mp": mp}, reason, contraction=False)
        return original(mp, *args, **kwargs)

    return kernel


# ---- Computing ----


def _solve(problem: Problem, *, with_t2: bool) -> tuple[Any, Any]:
    """Energy and amplitudes as PySCF's kernels return them; the energy carries both spin components."""
    amplitudes = _integrals_for_t2(problem) if with_t2 else None
    if amplitudes is not None and problem.fitted:
        integrals = tuple(t.transpose(0, 2, 1, 3) for t in amplitudes)
        energy = _energy(Problem(False, integrals, problem.occupied, problem.virtual))
    else:
        energy = _energy(problem)
    same, opposite = np.float64(energy.same_spin), np.float64(energy.opposite_spin)
    tagged = import_module("pyscf.lib").tag_array(same + opposite, e_corr_ss=same, e_corr_os=opposite)
    if amplitudes is None:
        return tagged, None
    for t, pair in zip(amplitudes, problem.pairs, strict=True):
        _divide(t, problem, pair)
    return tagged, amplitudes[0] if problem.restricted else amplitudes


def _energy(problem: Problem) -> mp2.Mp2Energy:
    occupied, virtual = _bare(problem.occupied), _bare(problem.virtual)
    if problem.fitted:
        return mp2.df_energy(_bare(problem.integrals), occupied, virtual, axes="iaQ")
    return mp2.energy(_bare(problem.integrals), occupied, virtual)


def _bare(spins: tuple[Array, ...]) -> Any:
    """The array itself where there is one for both spins."""
    return spins[0] if len(spins) == 1 else spins


def _amplitude_shape(problem: Problem, pair: tuple[int, int]) -> tuple[int, ...]:
    i, j = pair
    return (
        len(problem.occupied[i]),
        len(problem.occupied[j]),
        len(problem.virtual[i]),
        len(problem.virtual[j]),
    )


def _integrals_for_t2(problem: Problem) -> tuple[Array, ...]:
    """(ia|jb) as (i, j, a, b), fresh, for each pair of spins; products go to kernels."""
    if not problem.fitted:
        return tuple(
            _copied(x, _amplitude_shape(problem, pair))
            for x, pair in zip(problem.integrals, problem.pairs, strict=True)
        )
    return tuple(
        _products(problem.integrals[i], problem.integrals[j], _amplitude_shape(problem, (i, j)))
        for i, j in problem.pairs
    )


def _copied(stored: Any, shape: tuple[int, ...]) -> Array:
    """(ia|jb) as (i, j, a, b), one orbital i after the other."""
    t, virtual = np.empty(shape, stored.dtype), shape[2]
    for place, slab in enumerate(t):
        part = stored[place] if stored.ndim == 4 else stored[place * virtual : (place + 1) * virtual]
        slab[...] = part.reshape(virtual, shape[1], shape[3]).transpose(1, 0, 2)
    return t


def _products(first: Array, second: Array, shape: tuple[int, ...]) -> Array:
    """(ia|jb) of two spins from B of each, some occupied orbitals of the first at a time."""
    t = np.empty(shape, np.result_type(first, second))
    columns = second.reshape(-1, second.shape[-1])
    for start, stop in _slabs(len(first), 8 * first.shape[1] * len(columns)):
        rows = first[start:stop].reshape(-1, first.shape[-1])
        product = rows @ columns.T
        t[start:stop] = product.reshape(stop - start, shape[2], shape[1], shape[3]).transpose(0, 2, 1, 3)
    return t


def _slabs(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of orbitals whose integrals, of ``size`` bytes for each, are a slab."""
    step = max(1, int(SLAB // max(size, 1)))
    return ((start, min(start + step, count)) for start in range(0, count, step))


def _divide(t: Array, problem: Problem, pair: tuple[int, int]) -> None:
    """Make amplitudes of integrals, in place; those of two orbitals of one spin are antisymmetric."""
    i, j = pair
    first = problem.occupied[i][:, None] - problem.virtual[i]
    second = problem.occupied[j][:, None] - problem.virtual[j]
    antisymmetric = i == j and not problem.restricted
    for place, row in enumerate(first):
        slab = t[place]
        slab /= row[None, :, None] + second[:, None, :]
        if antisymmetric:
            slab -= slab.transpose(0, 2, 1).copy()
