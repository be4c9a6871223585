"""Make the two files of numtrn/data from PySCF.

    python examples/make_data.py [directory]

The same PySCF, NumPy and BLAS give the same bytes; others give the same energies. Each file is an ordinary
``.npz``, packed with LZMA, which `numpy.load` reads.

The three-index integrals are rounded to a multiple of 2**-52, about 2e-16: that is the last bit of a number
near 1 and below the error of the integrals themselves, and symmetry-equivalent integrals, which differ by
noise, become equal and compress. The script checks what is left of it in the energy.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pyscf
from pyscf import df, gto, lib, scf
from pyscf.mp.dfmp2 import DFMP2

import numtrn.data
from numtrn.demo import df_mp2

BASIS, AUXBASIS = "cc-pvdz", "cc-pvdz-ri"
SMALLEST = 2.0**-52

GEOMETRIES = {
    "water": """
        O  0.0000  0.0000  0.1173
        H  0.0000  0.7572 -0.4692
        H  0.0000 -0.7572 -0.4692
    """,
    "benzene": """
        C  0.0000  1.3970  0.0000
        C  1.2098  0.6985  0.0000
        C  1.2098 -0.6985  0.0000
        C  0.0000 -1.3970  0.0000
        C -1.2098 -0.6985  0.0000
        C -1.2098  0.6985  0.0000
        H  0.0000  2.4810  0.0000
        H  2.1486  1.2405  0.0000
        H  2.1486 -1.2405  0.0000
        H  0.0000 -2.4810  0.0000
        H -2.1486 -1.2405  0.0000
        H -2.1486  1.2405  0.0000
    """,
}


def compute(name):
    """Everything that is stored of one molecule, by field of `numtrn.data.Molecule`."""
    geometry = "\n".join(line.strip() for line in GEOMETRIES[name].strip().splitlines())
    molecule = gto.M(atom=geometry, basis=BASIS, verbose=0)
    auxiliary = df.addons.make_auxmol(molecule, AUXBASIS)
    packed = df.incore.aux_e2(molecule, auxiliary, intor="int3c2e", aosym="s2ij").T

    field = scf.RHF(molecule).run(conv_tol=1e-13, conv_tol_grad=1e-9)
    ncore = sum(molecule.atom_charge(i) > 2 for i in range(molecule.natm))
    reference = DFMP2(field, frozen=ncore)
    reference.with_df = df.DF(molecule, auxbasis=AUXBASIS)
    reference.kernel()

    # The sign of an orbital is free: make its largest coefficient positive.
    coefficients = field.mo_coeff
    largest = np.abs(coefficients).argmax(axis=0)
    coefficients = coefficients * np.sign(coefficients[largest, np.arange(coefficients.shape[1])])
    return {
        "name": name,
        "geometry": geometry,
        "basis": BASIS,
        "auxbasis": AUXBASIS,
        "packed": np.rint(packed / SMALLEST) * SMALLEST + 0.0,  # + 0.0: no negative zeros
        "metric": auxiliary.intor("int2c2e"),
        "coefficients": coefficients,
        "orbital_energies": field.mo_energy,
        "nocc": molecule.nelectron // 2,
        "ncore": ncore,
        "e_scf": float(field.e_tot),
        "e_mp2": float(reference.e_corr),
        "e_os": float(reference.e_corr_os),
        "e_ss": float(reference.e_corr_ss),
        "pyscf": pyscf.__version__,
    }


def write(path, fields):
    """Write an ``.npz`` with LZMA and without the time of day."""
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_LZMA) as archive:
        for key, value in fields.items():
            member = zipfile.ZipInfo(f"{key}.npy")
            member.compress_type = zipfile.ZIP_LZMA
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.array(value, order="C"))


def main():
    lib.num_threads(1)
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(numtrn.data.__file__).parent
    for name, file in numtrn.data.MOLECULES.items():
        fields = compute(name)
        write(directory / file, fields)
        molecule = numtrn.data.Molecule(**fields)
        energy = df_mp2(
            molecule.integrals(),
            molecule.metric,
            molecule.coefficients,
            molecule.orbital_energies,
            molecule.nocc,
            molecule.ncore,
        )
        error = energy.total - molecule.e_mp2
        size = (directory / file).stat().st_size / 1e6
        print(
            f"{file}: {size:.2f} MB, E(DF-MP2) {molecule.e_mp2:.12f} Eh, the file's is off by {error:+.1e} Eh"
        )
        if abs(error) > 1e-11:
            sys.exit("the stored arrays do not give PySCF's energy to 1e-11 Eh")


if __name__ == "__main__":
    main()
