"""Density-fitted MP2 in ordinary NumPy and SciPy, and the same inside a block: ``python -m numtrn demo``.

The functions from `df_mp2` to `pair_energies` are what a chemist writes and know nothing of numtrn. The one
``with numtrn.enabled(...)`` is in `run`; the rest reports.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

import numtrn
from numtrn import data
from numtrn.data import Molecule

__all__ = ["Energies", "Result", "df_mp2", "main", "run"]

Array = NDArray[np.float64]

TOLERANCE = 1e-9
"""Largest difference from PySCF's energy that passes, in Eh, at full precision."""
KERNEL_SHARE = 0.99
"""Smallest share of the multiply-adds in kernels that passes."""


class Energies(NamedTuple):
    """Correlation energy in Eh: its opposite-spin and same-spin parts."""

    opposite_spin: float
    same_spin: float

    @property
    def total(self) -> float:
        """The MP2 correlation energy."""
        return self.opposite_spin + self.same_spin


# --- The chemistry. -------------------------------------------------------------------------------------


def df_mp2(
    integrals: Array, metric: Array, coefficients: Array, orbital_energies: Array, nocc: int, ncore: int = 0
) -> Energies:
    """Closed-shell density-fitted MP2 energy.

    Parameters
    ----------
    integrals
        (P|mn), shape (naux, nao, nao).
    metric
        (P|Q), shape (naux, naux).
    coefficients, orbital_energies
        Of the canonical orbitals, occupied ones first.
    nocc, ncore
        Doubly occupied orbitals, and how many of them are frozen.
    """
    occupied = slice(ncore, nocc)
    virtual = slice(nocc, None)
    mixed = transform(integrals, coefficients[:, occupied], coefficients[:, virtual])
    return pair_energies(fit(mixed, metric), orbital_energies[occupied], orbital_energies[virtual])


def transform(integrals: Array, occupied: Array, virtual: Array) -> Array:
    """(P|ia) from (P|mn): one index after the other."""
    half: Array = np.einsum("mi,Pmn->Pin", occupied, integrals)
    return half @ virtual


def fit(mixed: Array, metric: Array) -> Array:
    """B(Q,ia) with sum over Q of B(Q,ia) B(Q,jb) = (ia|jb), by the Cholesky factor of the metric."""
    lower = scipy.linalg.cholesky(metric, lower=True)
    naux, nocc, nvir = mixed.shape
    columns = mixed.reshape(naux, nocc * nvir)
    fitted: Array = scipy.linalg.solve_triangular(lower, columns, lower=True)
    return fitted.reshape(naux, nocc, nvir)


def pair_energies(fitted: Array, e_occupied: Array, e_virtual: Array) -> Energies:
    """Sum over pairs i >= j of occupied orbitals, a slab (ja|b) of all j <= i at a time."""
    opposite, same = 0.0, 0.0
    e_pair = e_virtual[:, None] + e_virtual[None, :]
    for i in range(len(e_occupied)):
        to_i = slice(0, i + 1)
        direct = np.einsum("Qa,Qjb->jab", fitted[:, i], fitted[:, to_i])
        denominator = e_occupied[i] + e_occupied[to_i, None, None] - e_pair
        amplitudes = direct / denominator
        twice = np.full(i + 1, 2.0)
        twice[i] = 1.0  # the pair (i, i) comes once, (i, j) and (j, i) together
        opposite += twice @ np.sum(amplitudes * direct, axis=(1, 2))
        same += twice @ np.sum(amplitudes * (direct - direct.transpose(0, 2, 1)), axis=(1, 2))
    return Energies(float(opposite), float(same))


# --- The block, and what came of it. ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One molecule computed inside a block.

    Attributes
    ----------
    molecule
        What was computed.
    energies
        From inside the block.
    session
        Its account.
    seconds
        Wall time of the computation on this machine.
    """

    molecule: Molecule
    energies: Energies
    session: numtrn.Session
    seconds: float

    @property
    def difference(self) -> float:
        """Distance from PySCF's energy in Eh."""
        return abs(self.energies.total - self.molecule.e_mp2)


def run(molecule: Molecule, **settings: Any) -> Result:
    """Compute one molecule inside ``numtrn.enabled(**settings)``."""
    integrals = molecule.integrals()
    start = time.perf_counter()
    with numtrn.enabled(**settings) as session:
        energies = df_mp2(
            integrals,
            molecule.metric,
            molecule.coefficients,
            molecule.orbital_energies,
            molecule.nocc,
            molecule.ncore,
        )
    return Result(molecule=molecule, energies=energies, session=session, seconds=time.perf_counter() - start)


def shortcomings(result: Result, precision: str) -> list[str]:
    """What keeps this result from passing, in words; empty for a pass."""
    found = []
    if precision == "full" and not result.difference <= TOLERANCE:
        found.append(f"the energy differs by {result.difference:.1e} Eh, allowed is {TOLERANCE:.0e} Eh")
    if not result.session.kernel_share >= KERNEL_SHARE:
        share, least = result.session.kernel_share, KERNEL_SHARE
        found.append(f"kernels computed {share:.2%} of the multiply-adds, asked for is {least:.0%}")
    return found


def report(result: Result, precision: str) -> str:
    """The result of one molecule in lines of text."""
    molecule, energies, session = result.molecule, result.energies, result.session
    nvir = molecule.coefficients.shape[1] - molecule.nocc
    judged = f"allowed {TOLERANCE:.0e}" if precision == "full" else f"not judged at precision {precision!r}"
    verdict = shortcomings(result, precision)
    return "\n".join(
        [
            f"{molecule.name}, {molecule.basis} with {molecule.auxbasis}: {molecule.nao} basis functions, "
            f"{molecule.naux} auxiliary functions, {molecule.nocc - molecule.ncore} correlated and "
            f"{molecule.ncore} frozen orbitals, {nvir} virtual orbitals",
            "",
            f"  opposite spin        {energies.opposite_spin:18.12f} Eh",
            f"  same spin            {energies.same_spin:18.12f} Eh",
            f"  E(DF-MP2)            {energies.total:18.12f} Eh",
            f"  PySCF {molecule.pyscf:<10}     {molecule.e_mp2:18.12f} Eh",
            f"  difference           {result.difference:18.1e} Eh  ({judged})",
            "",
            str(session),
            "",
            f"target {session.target}, chip {session.chip}; {result.seconds:.1f} s on this machine; "
            f"kernels computed {session.kernel_share:.2%} of the multiply-adds of the contractions",
            "FAILED: " + "; ".join(verdict) if verdict else "passed",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code is 0 when every molecule passed."""
    parser = argparse.ArgumentParser(
        prog="python -m numtrn demo",
        description="Density-fitted MP2 of small molecules, ordinary NumPy inside a block.",
    )
    parser.add_argument("--molecule", choices=[*data.MOLECULES, "all"], default="all")
    parser.add_argument("--target", help="where kernels run (default: NUMTRN_TARGET, else auto)")
    parser.add_argument("--chip", help="the generation that plans assume (default: NUMTRN_CHIP, else trn2)")
    parser.add_argument("--precision", default="full", help="scheme of the kernels (default: full)")
    arguments = parser.parse_args(argv)

    settings: dict[str, Any] = {"precision": arguments.precision, "min_work": 0}
    settings.update({name: value for name in ("target", "chip") if (value := getattr(arguments, name))})
    names = list(data.MOLECULES) if arguments.molecule == "all" else [arguments.molecule]

    print(
        "These blocks are opened with min_work=0: every call that a kernel can do goes to one. Without it,\n"
        "the plan would keep calls as small as these with NumPy, expecting them to be faster there.\n"
    )
    passed = True
    for name in names:
        result = run(data.load(name), **settings)
        passed &= not shortcomings(result, arguments.precision)
        print(report(result, arguments.precision), end="\n\n", flush=True)
    return 0 if passed else 1
