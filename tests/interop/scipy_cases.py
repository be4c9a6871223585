"""SciPy on numtrn arrays with SCIPY_ARRAY_API=1; test_scipy.py runs this in a process of its own."""

import numpy as np
import pytest
from scipy import cluster, differentiate, fft, integrate, linalg, ndimage, signal, special, stats
from scipy.optimize import elementwise
from scipy.spatial import distance, transform

from tests.interop.support import inside, ours, same
from tests.interop.test_scipy import KERNELS, LINALG, B, G, S, computed, rng

V, W = rng.random(30) + 0.1, rng.random(30) + 0.1
DISPATCHED = {
    "linalg.block_diag": lambda g, b, v, w: linalg.block_diag(g, b),
    "linalg.fiedler": lambda g, b, v, w: linalg.fiedler(v),
    "linalg.orthogonal_procrustes": lambda g, b, v, w: linalg.orthogonal_procrustes(b, b[::-1, :]),
    "fft.fft": lambda g, b, v, w: fft.fft(v),
    "fft.rfft2": lambda g, b, v, w: fft.rfft2(g),
    "fft.dct": lambda g, b, v, w: fft.dct(v),
    "fft.fftshift": lambda g, b, v, w: fft.fftshift(v),
    "special.erf": lambda g, b, v, w: special.erf(v),
    "special.gammaln": lambda g, b, v, w: special.gammaln(v),
    "special.logsumexp": lambda g, b, v, w: special.logsumexp(g, axis=0),
    "special.softmax": lambda g, b, v, w: special.softmax(g, axis=0),
    "special.jv": lambda g, b, v, w: special.jv(1.0, v),
    "special.xlogy": lambda g, b, v, w: special.xlogy(v, w),
    "stats.zscore": lambda g, b, v, w: stats.zscore(g),
    "stats.skew": lambda g, b, v, w: stats.skew(v),
    "stats.moment": lambda g, b, v, w: stats.moment(v, 3),
    "stats.gmean": lambda g, b, v, w: stats.gmean(v),
    "stats.entropy": lambda g, b, v, w: stats.entropy(v),
    "stats.pearsonr": lambda g, b, v, w: stats.pearsonr(v, w).statistic,
    "stats.ttest_ind": lambda g, b, v, w: tuple(stats.ttest_ind(v, w)),
    "stats.quantile": lambda g, b, v, w: stats.quantile(v, 0.3),
    "stats.rankdata": lambda g, b, v, w: stats.rankdata(v),
    "signal.fftconvolve": lambda g, b, v, w: signal.fftconvolve(g, g),
    "signal.detrend": lambda g, b, v, w: signal.detrend(v),
    "signal.lfilter": lambda g, b, v, w: signal.lfilter(w[:3], w[:2], v),
    "ndimage.gaussian_filter": lambda g, b, v, w: ndimage.gaussian_filter(g, 1.0),
    "cluster.vq.whiten": lambda g, b, v, w: cluster.vq.whiten(b),
    "cluster.vq.vq": lambda g, b, v, w: cluster.vq.vq(b, b[:3, :]),
    "cluster.hierarchy.linkage": lambda g, b, v, w: cluster.hierarchy.linkage(b),
    "spatial.distance.pdist": lambda g, b, v, w: distance.pdist(b),
    "spatial.transform.Rotation": lambda g, b, v, w: transform.Rotation.from_rotvec(b[:, :3]).apply(b[:, 3:]),
    "integrate.trapezoid": lambda g, b, v, w: integrate.trapezoid(v),
    "integrate.tanhsinh": lambda g, b, v, w: integrate.tanhsinh(lambda x: x * x, 0 * v, v).integral,
    "differentiate.derivative": lambda g, b, v, w: differentiate.derivative(lambda x: x**3, v).df,
    "optimize.elementwise.find_root": lambda g, b, v, w: (
        elementwise.find_root(lambda x, c: x**2 - c, (0 * v, 0 * v + 2), args=(v,)).x
    ),
}
"""A sample of what dispatches by the standard."""
CONVERTED = {
    "stats.norm.cdf": lambda g, b, v, w: stats.norm.cdf(v),
    "stats.linregress": lambda g, b, v, w: stats.linregress(v, w).slope,
    "signal.welch": lambda g, b, v, w: signal.welch(v, nperseg=16)[1],
    "spatial.distance.cdist": lambda g, b, v, w: distance.cdist(b, b),
}
"""And of what does not."""


@pytest.mark.parametrize("name", DISPATCHED)
def test_gives_numtrn_arrays(name):
    call = DISPATCHED[name]
    value, _ = inside(lambda: call(*ours(G, B, V, W)))
    same(value, call(G, B, V, W), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", CONVERTED)
def test_gives_ndarrays(name):
    call = CONVERTED[name]
    value, _ = inside(lambda: call(*ours(G, B, V, W)))
    assert type(value) in (np.ndarray, np.float64)
    np.testing.assert_allclose(value, call(G, B, V, W), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", sorted(LINALG.keys() - {"cho_solve", "toeplitz"}))
def test_linalg_does_not_dispatch(name):
    call = LINALG[name]
    expected, plain = computed(call, G, S, B)
    value, session = computed(call, *ours(G, S, B))
    assert {type(item) for item in value} <= {np.ndarray, np.float64}
    for one, other in zip(value, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    assert session.counts["kernel"] == plain.counts["kernel"]
    assert session.counts["kernel"] > 0 or name not in KERNELS


def test_what_linalg_refuses():
    factor = linalg.cho_factor(ours(S))  # ndarrays
    with pytest.raises(TypeError, match="Multiple namespaces"):
        linalg.cho_solve(factor, ours(B))
    with pytest.raises(AttributeError, match=r"numpy.asarray\(x\).strides"):
        linalg.toeplitz(ours(V))


def test_procrustes_is_made_of_kernels():
    value, session = inside(lambda: linalg.orthogonal_procrustes(*ours(B, B[::-1])))
    same(value, linalg.orthogonal_procrustes(B, B[::-1]), rtol=1e-9, atol=1e-9)
    assert session.counts["kernel"] == 2
