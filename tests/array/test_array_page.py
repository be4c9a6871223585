"""docs/arrays.md prints what it shows; SciPy gives ndarrays for numtrn arrays, by kernels inside a block."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from scipy.linalg import blas

import numtrn

PAGE = (Path(__file__).parents[2] / "docs" / "arrays.md").read_text()


def test_the_page_prints_what_it_shows():
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.S | re.M)
    code = "".join(content for language, content in found if language == "python")
    shown = "".join(content for language, content in found if not language)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == shown


rng = np.random.default_rng(0)
A = rng.standard_normal((150, 150))
SPD = A @ A.T + 150 * np.eye(150)

CALLS = {
    "dgemm": lambda a, s: blas.dgemm(1.0, a, s),
    "dsyrk": lambda a, s: blas.dsyrk(1.0, a),
    "cholesky": lambda a, s: scipy.linalg.cholesky(s, lower=True),
    "solve_triangular": lambda a, s: scipy.linalg.solve_triangular(s, a, lower=True),
}


@pytest.mark.parametrize("name", CALLS)
def test_scipy_gives_ndarrays_and_reaches_kernels(name):
    expected = CALLS[name](A, SPD)
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        got = CALLS[name](numtrn.asarray(A), numtrn.asarray(SPD))
    assert type(got) is np.ndarray
    assert session.counts["kernel"] == 1, session
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
