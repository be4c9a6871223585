"""What the tests with other libraries share: a block, a comparison with NumPy, and a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import numtrn

HERE = Path(__file__).parent


def ours(*arrays):
    """numtrn arrays of copies of ndarrays; one of one."""
    made = tuple(numtrn.asarray(np.array(array)) for array in arrays)
    return made if len(made) > 1 else made[0]


def inside(call):
    """The call's value, and the session of a block in which every product is worth a kernel."""
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value = call()
        for item in value if isinstance(value, (tuple, list)) else (value,):
            np.asarray(item)  # what was recorded is computed, while there is a block
    return value, session


def same(value, expected, *, rtol=1e-12, atol=1e-12):
    """A numtrn array with NumPy's values, to rounding; its shape and dtype exactly.

    Tuples and lists are compared item by item.
    """
    if isinstance(expected, (tuple, list)):
        assert len(value) == len(expected)
        for one, other in zip(value, expected, strict=True):
            same(one, other, rtol=rtol, atol=atol)
        return
    assert isinstance(value, numtrn.Array), type(value)
    expected = np.asarray(expected)
    assert (value.shape, value.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(np.asarray(value), expected, rtol=rtol, atol=atol)


def with_scipy_array_api(cases):
    """Run a file of tests in a process where SCIPY_ARRAY_API is 1, as SciPy wants it before its import."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / cases)],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
