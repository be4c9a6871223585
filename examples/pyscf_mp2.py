"""PySCF's own MP2 classes, through numtrn: PySCF code as it is, inside a block.

    python examples/pyscf_mp2.py
    python examples/pyscf_mp2.py --basis cc-pvtz --precision float32

Water with restricted, the hydroxyl radical with unrestricted density-fitted MP2, cores frozen.
"""

import argparse

from pyscf import gto, mp, scf

import numtrn.pyscf

WATER = "O 0 0 0; H 0 -0.757 0.587; H 0 0.757 0.587"
HYDROXYL = "O 0 0 0; H 0 0 0.97"


def energies(field):
    solver = mp.MP2(field.density_fit().run()).set_frozen()
    solver.kernel(with_t2=False)  # the default makes amplitudes too, as large as (ia|jb)
    return {"total": solver.e_corr, "opposite spin": solver.e_corr_os, "same spin": solver.e_corr_ss}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--basis", default="cc-pvdz")
    parser.add_argument("--precision", default="full")
    parser.add_argument("--min-work", type=int, default=None, help="0: every call that a kernel can do")
    arguments = parser.parse_args()

    water = scf.RHF(gto.M(atom=WATER, basis=arguments.basis, verbose=0))
    hydroxyl = scf.UHF(gto.M(atom=HYDROXYL, spin=1, basis=arguments.basis, verbose=0))
    for name, field in {"water": water, "hydroxyl": hydroxyl}.items():
        field.conv_tol = 1e-11
        reference = energies(field)
        with numtrn.pyscf.enabled(precision=arguments.precision, min_work=arguments.min_work) as session:
            ours = energies(field)
        print(session, end="\n\n")
        for part, energy in ours.items():
            print(f"{name} {part:14s} {energy:18.12f} Eh    difference {energy - reference[part]:9.1e} Eh")
        print()


if __name__ == "__main__":
    main()
