"""Unchanged NumPy inside a block, and the account of it: the example of the README."""

import numpy as np

import numtrn

rng = np.random.default_rng(1)
B = rng.standard_normal((300, 8, 60))  # B[Q, i, a], as in density fitting
with numtrn.enabled(target="interpreter") as session:
    T = np.einsum("Qia,Qjb->iajb", B, B)  # unchanged NumPy
    G = B.reshape(300, 480).T @ B.reshape(300, 480)
print(np.abs(T.reshape(480, 480) - G).max())
print(session)
