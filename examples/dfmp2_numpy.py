"""Density-fitted MP2 in a page of plain NumPy, which knows nothing of numtrn.

    python examples/dfmp2_numpy.py [molecule.npz]
    python -m numtrn run examples/dfmp2_numpy.py [molecule.npz]

The second line runs the same file, unchanged, inside a block. This is the shortest spelling, with all
(ia|jb) in memory at once; `numtrn.demo` goes through pairs of occupied orbitals.
"""

import sys
from pathlib import Path

import numpy as np
import scipy.linalg

path = Path(__file__).parents[1] / "numtrn" / "data" / "benzene_cc-pvdz.npz"
molecule = np.load(sys.argv[1] if len(sys.argv) > 1 else path)
nocc, ncore = molecule["nocc"], molecule["ncore"]
C, e = molecule["coefficients"], molecule["orbital_energies"]
o, v = slice(ncore, nocc), slice(nocc, None)

# (P|mn) is stored as the lower triangle in m and n.
m, n = np.tril_indices(len(C))
Pmn = np.empty((len(molecule["metric"]), len(C), len(C)))
Pmn[:, m, n] = Pmn[:, n, m] = molecule["packed"]

Pin = np.einsum("mi,Pmn->Pin", C[:, o], Pmn)
Pia = np.einsum("Pin,na->Pia", Pin, C[:, v])

# B = L**(-1) (P|ia) with the Cholesky factor of the metric, so that (ia|jb) = sum over Q of B(Q,ia) B(Q,jb)
L = scipy.linalg.cholesky(molecule["metric"], lower=True)
B = scipy.linalg.solve_triangular(L, Pia.reshape(len(L), -1), lower=True).reshape(Pia.shape)
iajb = np.einsum("Qia,Qjb->iajb", B, B)

D = e[o, None, None, None] - e[None, v, None, None] + e[None, None, o, None] - e[None, None, None, v]
T = iajb / D
opposite = np.sum(T * iajb)
same = np.sum(T * (iajb - iajb.swapaxes(1, 3)))

print(f"{molecule['name']}: E(DF-MP2) = {opposite + same:.12f} Eh, of which opposite spin {opposite:.12f}")
print(f"PySCF gives {' ' * len(str(molecule['name']))}{molecule['e_mp2']:17.12f} Eh")
