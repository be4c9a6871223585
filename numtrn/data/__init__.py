"""Two small molecules as plain arrays: what a textbook density-fitted MP2 starts from, and its answer.

The files were made from PySCF by ``examples/make_data.py``; reading them needs NumPy only. Lengths in the
geometry are in Angstrom, everything else is in atomic units.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOLECULES", "Molecule", "load"]

MOLECULES = {"water": "water_cc-pvdz.npz", "benzene": "benzene_cc-pvdz.npz"}
"""File of each molecule, next to this module."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Molecule:
    """A closed-shell molecule after Hartree-Fock, with its three-index integrals.

    Attributes
    ----------
    name, geometry, basis, auxbasis
        In words, as PySCF takes them.
    packed
        (P|mn) for m >= n, shape (naux, nao (nao + 1) / 2): the lower triangle, row after row.
    metric
        (P|Q), shape (naux, naux).
    coefficients
        Molecular orbitals in the columns, shape (nao, nmo).
    orbital_energies
        Shape (nmo,).
    nocc, ncore
        Doubly occupied orbitals, and how many of them, from the lowest, are not correlated.
    e_scf
        Hartree-Fock energy.
    e_mp2, e_os, e_ss
        PySCF's DF-MP2 correlation energy, and its opposite-spin and same-spin parts.
    pyscf
        The version of PySCF that made all this.
    """

    name: str
    geometry: str
    basis: str
    auxbasis: str
    packed: NDArray[np.float64]
    metric: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    orbital_energies: NDArray[np.float64]
    nocc: int
    ncore: int
    e_scf: float
    e_mp2: float
    e_os: float
    e_ss: float
    pyscf: str

    @property
    def nao(self) -> int:
        """Number of basis functions."""
        return int(self.coefficients.shape[0])

    @property
    def naux(self) -> int:
        """Number of auxiliary functions."""
        return int(self.metric.shape[0])

    def integrals(self) -> NDArray[np.float64]:
        """(P|mn) in full, shape (naux, nao, nao)."""
        rows, columns = np.tril_indices(self.nao)
        full = np.empty((self.naux, self.nao, self.nao))
        full[:, rows, columns] = self.packed
        full[:, columns, rows] = self.packed
        return full


def load(name: str) -> Molecule:
    """The molecule of that name.

    Parameters
    ----------
    name
        One of `MOLECULES`.

    Raises
    ------
    ValueError
        For another name; the message lists the choices.
    """
    if name not in MOLECULES:
        choices = ", ".join(repr(choice) for choice in MOLECULES)
        raise ValueError(f"the molecules that come with numtrn are {choices}; got {name!r}")
    with np.load(Path(__file__).with_name(MOLECULES[name]), allow_pickle=False) as file:
        fields: dict[str, Any] = {key: file[key] for key in file.files}
    return Molecule(**{key: value if value.ndim else value.item() for key, value in fields.items()})
