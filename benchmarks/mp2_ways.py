"""MP2 energies by every way into numtrn, beside PySCF's: ``python benchmarks/mp2_ways.py [--molecule H2O]``.

PySCF gives B, the orbital energies and the density-fitted MP2 energy to compare with. Then, each in a block
with ``min_work=0`` on the interpreter: `numtrn.mp2.df_energy`; plain NumPy, T whole and pair by pair; the
same formula on numtrn arrays; and PySCF's own class through `numtrn.pyscf`. What is printed is the larger one
of the differences of opposite-spin and same-spin energy, in Eh, in float64 and in float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

import numtrn
import numtrn.pyscf
from numtrn import mp2

WATER = "O 0 0 0.117; H 0 0.757 -0.471; H 0 -0.757 -0.471"
AMMONIA = "N 0 0 0.116; H 0 0.940 -0.272; H 0.814 -0.470 -0.272; H -0.814 -0.470 -0.272"

MOLECULES = {
    # geometry in Angstrom, unpaired electrons, basis, frozen orbitals
    "H2O": (WATER, 0, "cc-pvdz", 0),
    "NH3, frozen core": (AMMONIA, 0, "cc-pvdz", 1),
    "N2, frozen core": ("N 0 0 0; N 0 0 1.098", 0, "cc-pvdz", 2),
    "HF": ("H 0 0 0; F 0 0 0.917", 0, "cc-pvdz", 0),
    "H2O, cc-pVTZ": (WATER, 0, "cc-pvtz", 0),
    "O2, triplet": ("O 0 0 0; O 0 0 1.208", 2, "cc-pvdz", 0),
    "CH2, triplet, frozen core": ("C 0 0 0.101; H 0 0.992 -0.302; H 0 -0.992 -0.302", 2, "cc-pvdz", 1),
    "OH, doublet": ("O 0 0 0; H 0 0 0.970", 1, "cc-pvdz", 0),
}

Parts = tuple[float, float]


class Spin(NamedTuple):
    """B (nocc, nvir, naux), and the energies of the occupied and of the virtual orbitals."""

    b: Any
    occupied: Any
    virtual: Any


@dataclass(frozen=True, kw_only=True)
class Case:
    """A molecule after Hartree-Fock: PySCF's solver, one spin or two, and PySCF's OS and SS energies."""

    solver: Any
    spins: tuple[Spin, ...]
    expected: Parts


def prepare(name: str) -> Case:
    """Run PySCF outside of any block."""
    from pyscf import gto, mp, scf

    geometry, unpaired, basis, frozen = MOLECULES[name]
    field = (scf.UHF if unpaired else scf.RHF)(gto.M(atom=geometry, spin=unpaired, basis=basis, verbose=0))
    field._chkfile.close()
    field.chkfile = None
    field.run(conv_tol=1e-12)
    solver = (mp.dfump2.DFUMP2 if unpaired else mp.dfmp2.DFMP2)(field, frozen=frozen)
    integrals = solver.ao2mo()
    solver.kernel(eris=integrals, with_t2=False)
    energies = solver.split_mo_energy()
    fitted = integrals.ovL if unpaired else [integrals.ovL]
    spins = tuple(
        Spin(ovl.reshape(len(e[1]), len(e[2]), -1), e[1], e[2])
        for ovl, e in zip(fitted, energies if unpaired else [energies], strict=True)
    )
    return Case(solver=solver, spins=spins, expected=(float(solver.e_corr_os), float(solver.e_corr_ss)))


# ---- The formulas as chemists write them ----


def tensor(first: Spin, second: Spin) -> tuple[Any, Any]:
    """All of (ia|jb), and the denominators."""
    t = np.einsum("iaQ,jbQ->iajb", first.b, second.b)
    d = first.occupied[:, None, None, None] - first.virtual[:, None, None]
    return t, d + second.occupied[:, None] - second.virtual


def of_one_spin(spin: Spin) -> Parts:
    """Direct sum, and direct less exchange, of all ordered pairs."""
    t, d = tensor(spin, spin)
    direct = np.einsum("iajb,iajb,iajb->", t, t, 1 / d)
    return direct, np.einsum("iajb,iajb,iajb->", t, t - t.swapaxes(1, 3), 1 / d)


def of_two_spins(first: Spin, second: Spin) -> Parts:
    """Direct sum alone: there is no exchange."""
    t, d = tensor(first, second)
    return np.einsum("iajb,iajb->", t, t / d), 0.0


def of_pairs(first: Spin, second: Spin) -> Parts:
    """The same, a pair of orbitals at a time; of one spin both parts."""
    direct, same = 0.0, 0.0
    for i, e_i in enumerate(first.occupied):
        for j, e_j in enumerate(second.occupied):
            t = np.dot(first.b[i], second.b[j].T)
            weighted = t / (e_i + e_j - first.virtual[:, None] - second.virtual)
            direct += np.einsum("ab,ab->", t, weighted)
            if first is second:
                same += np.einsum("ab,ab->", t - t.T, weighted)
    return direct, same


def combine(one: Callable[[Spin], Parts], two: Callable[[Spin, Spin], Parts], spins: Any) -> Parts:
    """Opposite-spin and same-spin energies of a closed or an open shell."""
    if len(spins) == 1:
        opposite, same = one(spins[0])
        return float(opposite), float(same)
    halves = (float(one(spin)[1]) / 2 for spin in spins)
    return float(two(*spins)[0]), sum(halves)


# ---- The ways in ----


def arguments(case: Case) -> Any:
    """B, and the energies of occupied and of virtual orbitals; of two spins pairs of them."""
    return case.spins[0] if len(case.spins) == 1 else zip(*case.spins, strict=True)


def by_function(case: Case) -> Parts:
    """`numtrn.mp2.df_energy`."""
    energy = mp2.df_energy(*arguments(case))
    return energy.opposite_spin, energy.same_spin


def by_numpy(case: Case) -> Parts:
    """Plain ndarrays, T whole."""
    return combine(of_one_spin, of_two_spins, case.spins)


def by_pairs(case: Case) -> Parts:
    """Plain ndarrays, pair by pair."""
    return combine(lambda spin: of_pairs(spin, spin), of_pairs, case.spins)


def by_arrays(case: Case) -> Parts:
    """Arrays of numtrn's, which record."""
    spins = [Spin(*map(numtrn.asarray, spin)) for spin in case.spins]
    return combine(of_one_spin, of_two_spins, spins)


def by_pyscf(case: Case) -> Parts:
    """PySCF's own class, patched."""
    solver = case.solver.copy()
    numtrn.pyscf.patch(solver)
    try:
        solver.kernel(with_t2=False)
    finally:
        numtrn.pyscf.unpatch(solver)
    return float(solver.e_corr_os), float(solver.e_corr_ss)


WAYS: dict[str, Callable[[Case], Parts]] = {
    "mp2.df_energy": by_function,
    "plain NumPy": by_numpy,
    "pair by pair": by_pairs,
    "numtrn arrays": by_arrays,
    "PySCF, patched": by_pyscf,
}

PRECISIONS = {"float64": "full", "float32": "float32"}


def difference(case: Case, way: str, precision: str) -> tuple[float, numtrn.Session]:
    """The larger difference of OS and SS from PySCF's, in Eh, and the account."""
    with numtrn.enabled(min_work=0, strict=True, target="interpreter", precision=precision) as session:
        found = WAYS[way](case)
    return max(abs(a - b) for a, b in zip(found, case.expected, strict=True)), session


def bound(case: Case, precision: str) -> float:
    """What `numtrn.mp2.df_energy` promises of its total, in Eh."""
    with numtrn.enabled(min_work=0, strict=True, target="interpreter", precision=precision):
        return mp2.df_energy(*arguments(case)).bound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecule", choices=list(MOLECULES), action="append")
    known = parser.parse_args()
    for label, precision in PRECISIONS.items():
        rows = []
        for name in known.molecule or MOLECULES:
            case = prepare(name)
            sizes = " ".join(f"{len(s.occupied)}/{len(s.virtual)}/{s.b.shape[2]}" for s in case.spins)
            found = [difference(case, way, precision)[0] for way in WAYS]
            rows.append([name, sizes, f"{case.expected[0]:.9f}", f"{case.expected[1]:.9f}"])
            rows[-1] += [f"{value:.0e}" for value in (*found, bound(case, precision))]
        headers = ["molecule", "o/v/x", "OS, Eh", "SS, Eh", *WAYS, "bound of the first"]
        print(f"{label}: larger difference of OS and SS from PySCF's, Eh")
        print(tabulate(rows, headers=headers, disable_numparse=True), end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
