"""Smoke test of an installed wheel, outside the checkout: import cost, a caught product, its account."""

import subprocess
import sys

import numpy as np

import numtrn

lazy = "import numtrn, sys; print([m for m in ('scipy', 'torch', 'matplotlib', 'nki') if m in sys.modules])"
loaded = subprocess.run([sys.executable, "-c", lazy], capture_output=True, text=True, check=True).stdout
assert loaded.strip() == "[]", f"import numtrn must stay light; it imported {loaded}"

rng = np.random.default_rng(0)
a = rng.integers(-9, 9, (130, 70)).astype(float)
with numtrn.enabled(target="interpreter", min_work=0, strict=True, verify=True) as session:
    c = a @ a.T
assert session.counts["kernel"] == 1, session
assert np.array_equal(c, a.astype(int) @ a.T.astype(int))
print(session)
print("smoke: good, from", numtrn.__file__)
