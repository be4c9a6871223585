"""Density-fitted MP2 of any molecule: PySCF makes the integrals, NumPy inside a block makes the energy.

    python examples/dfmp2_pyscf.py
    python examples/dfmp2_pyscf.py --atom "N 0 0 0; N 0 0 1.1" --basis cc-pvtz --auxbasis cc-pvtz-ri

PySCF's own DF-MP2 calls its BLAS from C, where no block reaches it; here it is the reference.
"""

import argparse
import sys

from pyscf import df, gto, lib, scf
from pyscf.mp.dfmp2 import DFMP2

import numtrn
from numtrn.demo import df_mp2

ETHYLENE = """
    C  0.0000  0.6695 0.0;  C  0.0000 -0.6695 0.0
    H  0.9289  1.2321 0.0;  H -0.9289  1.2321 0.0;  H  0.9289 -1.2321 0.0;  H -0.9289 -1.2321 0.0
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--atom", default=ETHYLENE, help="geometry in Angstrom, as PySCF takes it (default: ethylene)"
    )
    parser.add_argument("--charge", type=int, default=0)
    parser.add_argument("--basis", default="cc-pvdz")
    parser.add_argument("--auxbasis", default="cc-pvdz-ri")
    parser.add_argument(
        "--frozen", type=int, default=None, help="core orbitals (default: one per heavy atom)"
    )
    parser.add_argument("--target", default="auto")
    parser.add_argument("--min-work", type=int, default=None, help="0: every call that a kernel can do")
    arguments = parser.parse_args()

    molecule = gto.M(atom=arguments.atom, charge=arguments.charge, basis=arguments.basis, verbose=0)
    frozen = arguments.frozen
    if frozen is None:
        frozen = sum(molecule.atom_charge(i) > 2 for i in range(molecule.natm))
    field = scf.RHF(molecule).run()
    if not field.converged:
        sys.exit("Hartree-Fock did not converge")

    auxiliary = df.addons.make_auxmol(molecule, arguments.auxbasis)
    metric = auxiliary.intor("int2c2e")
    packed = df.incore.aux_e2(molecule, auxiliary, intor="int3c2e", aosym="s2ij").T
    integrals = lib.unpack_tril(packed)

    with numtrn.enabled(target=arguments.target, min_work=arguments.min_work) as session:
        energies = df_mp2(integrals, metric, field.mo_coeff, field.mo_energy, molecule.nelectron // 2, frozen)

    reference = DFMP2(field, frozen=frozen)
    reference.with_df = df.DF(molecule, auxbasis=arguments.auxbasis)
    reference.kernel()

    print(session)
    print()
    print(f"{molecule.nao} basis functions, {auxiliary.nao} auxiliary functions, {frozen} frozen orbitals")
    print(f"opposite spin {energies.opposite_spin:18.12f} Eh    PySCF {reference.e_corr_os:18.12f} Eh")
    print(f"same spin     {energies.same_spin:18.12f} Eh    PySCF {reference.e_corr_ss:18.12f} Eh")
    print(f"E(DF-MP2)     {energies.total:18.12f} Eh    PySCF {reference.e_corr:18.12f} Eh")
    print(f"E(total)      {field.e_tot + energies.total:18.12f} Eh")


if __name__ == "__main__":
    main()
