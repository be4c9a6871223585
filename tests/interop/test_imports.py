"""numtrn imports none of the libraries it works with."""

import subprocess
import sys

from tests.interop.support import HERE

CODE = """
import sys
import numtrn
light = {"scipy", "torch", "matplotlib", "pyscf", "array_api_compat", "array_api_extra",
         "sklearn", "einops", "xarray", "dask", "sparse", "numba"}
assert not light & sys.modules.keys(), light & sys.modules.keys()
x = numtrn.asarray([[1.0, 2.0]])
x.__array_namespace__().linalg.svd(x @ x.T)
assert not light & sys.modules.keys(), light & sys.modules.keys()
"""


def test_in_a_fresh_process():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=HERE.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
