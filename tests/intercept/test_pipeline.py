"""Cholesky of a metric, a solve in place, a rank-k update in place: each step by a kernel."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg as sl
from level3_cases import by_kernel, factors, product, promised, same_bits, solution
from scipy.linalg.blas import get_blas_funcs

import numtrn

EXAMPLE = Path(__file__).parents[2] / "examples" / "metric.py"
FUNCTIONS, PAIRS, BATCHES = 300, 96, 2
PREFIX = {"float64": "d", "float32": "s"}


def metric(n, dtype):
    """Overlaps of Gaussians at random points: positive definite, and no element near underflow in float32."""
    points = np.random.default_rng(1).standard_normal((n, 3))
    squares = ((points[:, None] - points) ** 2).sum(axis=-1)
    return (np.exp(-squares / 2) + 0.05 * np.eye(n)).astype(dtype)


def pipeline(metric_, integrals, lower):
    """K and each step's result; the right-hand sides are overwritten batch by batch."""
    factor = sl.cholesky(metric_, lower=bool(lower))
    (syrk,) = get_blas_funcs(("syrk",), (metric_,))
    out = np.zeros((PAIRS, PAIRS), metric_.dtype, order="F")
    out[...] = np.nan
    out[np.tril_indices(PAIRS)] = 0
    steps = []
    for batch in integrals:
        right = np.asfortranarray(batch)
        # J = L L^T or U^T U: B = L^-1 (P|ij) or U^-T (P|ij)
        solved = sl.solve_triangular(
            factor, right, lower=bool(lower), trans=0 if lower else 1, overwrite_b=True
        )
        assert np.shares_memory(solved, right)
        before = np.tril(out).astype(metric_.dtype)
        updated = syrk(1.0, solved, beta=1.0, c=out, trans=1, lower=1, overwrite_c=1)
        assert updated is out
        steps.append((batch, solved, before, updated.copy()))
    return factor, steps, out


@pytest.mark.parametrize("lower", [0, 1])
@pytest.mark.parametrize("dtype", PREFIX)
def test_pipeline(dtype, lower):
    rng = np.random.default_rng(2)
    j = metric(FUNCTIONS, dtype)
    integrals = [rng.standard_normal((FUNCTIONS, PAIRS)).astype(dtype) for _ in range(BATCHES)]
    given = [x.copy() for x in (j, *integrals)]
    expected_factor, _, expected = pipeline(j, integrals, lower)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        factor, steps, out = pipeline(j, integrals, lower)

    prefix = PREFIX[dtype]
    by_kernel(session, f"scipy.linalg.lapack.{prefix}potrf")
    by_kernel(session, f"scipy.linalg.lapack.{prefix}trtrs", times=BATCHES)
    by_kernel(session, f"scipy.linalg.blas.{prefix}syrk", times=BATCHES)
    assert len(session.calls) == 1 + 2 * BATCHES
    assert all(same_bits(x, y) for x, y in zip(given, (j, *integrals), strict=True))

    triangle = np.tri(FUNCTIONS, dtype=bool) if lower else np.tri(FUNCTIONS, dtype=bool).T
    assert (np.where(triangle, factors(j, bool(lower))(factor), 0) <= 1).all()
    assert same_bits(factor[~triangle], expected_factor[~triangle])
    below = np.tri(PAIRS, dtype=bool)
    for batch, solved, before, after in steps:
        assert (solution(factor if lower else factor.T, batch)(solved) <= 1).all()
        excess = product([(1.0, solved.T, solved)], (1.0, before), dtype)(after)
        assert (np.where(below, excess, 0) <= 1).all()
        assert np.isnan(after[~below]).all()

    # The whole, against plain SciPy: backward errors of every step times the condition of the metric
    condition = np.linalg.cond(j.astype(float))
    difference = np.abs(np.tril(out).astype(float) - np.tril(expected))
    assert (
        np.nanmax(difference[below])
        <= 20 * condition * promised(FUNCTIONS, dtype) * np.abs(expected[below]).max()
    )
    assert same_bits(out[~below], expected[~below])


def test_the_example_runs_through_kernels(monkeypatch, capsys):
    """examples/metric.py with 200 functions prints the same inside a block as outside, to nine digits."""
    monkeypatch.setattr("sys.argv", ["metric.py", "200"])
    runpy.run_path(str(EXAMPLE))
    plain = capsys.readouterr().out
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        runpy.run_path(str(EXAMPLE))
    inside = capsys.readouterr().out
    by_kernel(session, "scipy.linalg.lapack.dpotrf")
    by_kernel(session, "scipy.linalg.lapack.dtrtrs", times=2)
    by_kernel(session, "scipy.linalg.blas.dsyrk", times=2)
    for mine, scipys in zip(figures(inside), figures(plain), strict=True):
        assert mine == pytest.approx(scipys, rel=1e-9)


def figures(text):
    """Trace and norm, as the example prints them."""
    *_, trace, _, norm = text.splitlines()[-1].replace(",", "").split()
    return float(trace), float(norm)
