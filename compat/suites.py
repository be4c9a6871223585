"""Which tests of NumPy, SciPy and opt_einsum are run inside a block, and which are not, each with its reason.

Paths are relative to the folder that holds the package; ``{core}`` is ``_core``, or ``core`` before NumPy 2.
"""

from dataclasses import dataclass, field

__all__ = ["HEAVY", "HEAVY_MIN_WORK", "SUITES", "Suite"]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One pytest run.

    Attributes
    ----------
    name
        In the table, and after ``--suite``.
    package, path
        Where the tests are.
    keyword
        What pytest's ``-k`` gets, where the file tests other things too.
    deselect
        Reason by test, named from `path` on (pytest's ``--deselect``).
    may_lack
        Why an installed version may be without the file; the suite is left out there.
    """

    name: str
    package: str
    path: str
    keyword: str = ""
    deselect: dict[str, str] = field(default_factory=dict)
    may_lack: str = ""


SUITES = (
    Suite(name="numpy-einsum", package="numpy", path="numpy/{core}/tests/test_einsum.py"),
    Suite(
        name="numpy-matmul-dot",
        package="numpy",
        path="numpy/{core}/tests/test_multiarray.py",
        keyword="matmul or dot or inner or arr_mult or matvec or vecmat",
        deselect={
            "TestDot::test_huge_vectordot": "an inner product of 2^30 elements, which no kernel computes",
        },
    ),
    Suite(
        name="numpy-products",
        package="numpy",
        path="numpy/{core}/tests/test_numeric.py",
        keyword="dot or outer or inner",
    ),
    Suite(
        name="numpy-ufunc",
        package="numpy",
        path="numpy/{core}/tests/test_ufunc.py",
        keyword="matmul or vecdot or matvec or vecmat or gufunc or noncontiguous or ufunc_types",
    ),
    Suite(
        name="numpy-linalg",
        package="numpy",
        path="numpy/linalg/tests",
        deselect={
            "test_regression.py::TestRegression::test_openblas_threading": (
                "about OpenBLAS's threads; 200 products of 500,000 rows with K = 2"
            ),
        },
    ),
    Suite(name="numpy-matrix", package="numpy", path="numpy/matrixlib/tests"),
    Suite(
        name="numpy-cov",
        package="numpy",
        path="numpy/lib/tests/test_function_base.py",
        keyword="TestCov or TestCorrCoef",
    ),
    Suite(name="scipy-blas", package="scipy", path="scipy/linalg/tests/test_blas.py"),
    Suite(name="scipy-lapack", package="scipy", path="scipy/linalg/tests/test_lapack.py"),
    Suite(name="scipy-basic", package="scipy", path="scipy/linalg/tests/test_basic.py"),
    Suite(name="scipy-cholesky", package="scipy", path="scipy/linalg/tests/test_decomp_cholesky.py"),
    Suite(name="scipy-lu", package="scipy", path="scipy/linalg/tests/test_decomp_lu.py"),
    Suite(
        name="scipy-batch",
        package="scipy",
        path="scipy/linalg/tests/test_batch.py",
        keyword="cho or lu_solve or solve_triangular or triangular",
        may_lack="stacks of matrices came with SciPy 1.15",
    ),
    Suite(name="scipy-decomp", package="scipy", path="scipy/linalg/tests/test_decomp.py"),
    Suite(
        name="opt-einsum",
        package="opt_einsum",
        path="opt_einsum/tests",
        keyword="not (branch or random or dp or dynamic or hq or eager or opportunistic)",
        may_lack="this opt_einsum was installed without its tests; the wheels on PyPI have them",
    ),
)

HEAVY = {
    f"numpy/linalg/tests/test_linalg.py::{name}::test_generalized_{kind}_cases": (
        "5,000 to 70,000 products of few matrices in many strides"
    )
    for name, kind in (
        ("TestPinv", "sq"),
        ("TestPinv", "nonsq"),
        ("TestSolve", "sq"),
        ("TestInv", "sq"),
        ("TestEig", "sq"),
        ("TestSVD", "sq"),
    )
}
"""Reason by test for a block with `HEAVY_MIN_WORK` in place of 1. ``--all`` runs these at 1 too."""

HEAVY_MIN_WORK = 1000
"""Multiply-adds: only the largest stacks of these tests reach kernels, some hundred for each test."""
