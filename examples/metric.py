"""The linear algebra of density fitting in plain SciPy, which knows nothing of numtrn.

    python examples/metric.py [functions]
    python -m numtrn run examples/metric.py [functions]

The second line runs the same file, unchanged, inside a block, and prints where each step ran. J is the
Coulomb metric (P|Q) of s-type Gaussians (1,500 of them, unless you say otherwise), its Cholesky factor L
turns integrals (P|ij) into B = L^-1 (P|ij), and every batch of B adds B^T B to the exchange-like matrix K.
"""

import sys

import numpy as np
import scipy.linalg
from scipy.linalg.blas import dsyrk
from scipy.special import erf

functions = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
pairs, batches = functions // 5, 2
rng = np.random.default_rng(1)


def boys(x):
    """F_0, which all Coulomb integrals of s functions come from."""
    x = np.maximum(x, 1e-12)
    return 0.5 * np.sqrt(np.pi / x) * erf(np.sqrt(x))


def coulomb(centre_p, p, centre_q, q):
    """(P|Q) of normalised charges exp(-p r^2) and exp(-q r^2), for all pairs."""
    squares = ((centre_p[:, None] - centre_q) ** 2).sum(axis=-1)
    reduced = p[:, None] * q / (p[:, None] + q)
    return 2 * np.sqrt(reduced / np.pi) * boys(reduced * squares)


# Auxiliary functions on a lattice of atoms some 2.5 bohr apart, with a few exponents each
per_atom = 5
edge = int(np.ceil((functions / per_atom) ** (1 / 3)))
lattice = 2.5 * np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
lattice = lattice + 0.1 * rng.standard_normal(lattice.shape)
centres = np.repeat(lattice, per_atom, axis=0)[:functions]
exponents = np.tile(0.2 * 3.0 ** np.arange(per_atom), len(lattice))[:functions]
J = coulomb(centres, exponents, centres, exponents)

L = scipy.linalg.cholesky(J, lower=True)
K = np.zeros((pairs, pairs), order="F")
for _ in range(batches):
    middles = lattice[rng.integers(len(lattice), size=pairs)] + rng.standard_normal((pairs, 3))
    integrals = np.asfortranarray(coulomb(centres, exponents, middles, 0.3 + 2 * rng.random(pairs)))
    B = scipy.linalg.solve_triangular(L, integrals, lower=True, overwrite_b=True)
    K = dsyrk(1.0, B, beta=1.0, c=K, trans=1, lower=1, overwrite_c=1)

print(f"{functions} functions, {batches} batches of {pairs} pairs; condition {np.linalg.cond(J):.1e}")
print(f"trace of K {np.trace(K):.10f}, norm {np.linalg.norm(np.tril(K)):.10f}")
