"""scikit-learn with `array_api_dispatch`; test_sklearn.py runs this with SCIPY_ARRAY_API=1."""

import numpy as np
import pytest
import sklearn
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    euclidean_distances,
    f1_score,
    mean_squared_error,
    pairwise_distances,
    precision_score,
    r2_score,
    roc_auc_score,
)
from sklearn.metrics.pairwise import cosine_similarity, linear_kernel, rbf_kernel
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KernelCenterer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    StandardScaler,
)

import numtrn
from tests.interop.support import inside, ours, same

rng = np.random.default_rng(5)
X = rng.standard_normal((60, 8)) @ rng.standard_normal((8, 8)) + 2
Y = X @ rng.standard_normal(8) + 0.1 * rng.standard_normal(60)
LABELS = np.digitize(Y, np.quantile(Y, [0.5, 0.8]))
GUESSES = np.where(rng.random(60) < 0.8, LABELS, 0)


@pytest.fixture(autouse=True)
def _dispatch():
    with sklearn.config_context(array_api_dispatch=True):
        yield


def on_both(estimator, target, calls, *, device="cpu"):
    """What the methods give on numtrn arrays in a block and on ndarrays, the session, both estimators."""
    reference = sklearn.clone(estimator).fit(X, target)

    def run():
        x, y = ours(X).to_device(device), None if target is None else ours(target).to_device(device)
        fitted = sklearn.clone(estimator).fit(x, y)
        return [fitted, *(getattr(fitted, call)(x) for call in calls)]

    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        fitted, *values = run()
        for value in values:
            np.asarray(value)
    return values, [getattr(reference, call)(X) for call in calls], session, fitted, reference


@pytest.mark.parametrize("device", ["cpu", "interpreter:0"])
@pytest.mark.parametrize("solver", ["full", "covariance_eigh"])
@pytest.mark.parametrize("whiten", [False, True])
def test_pca(solver, whiten, device):
    estimator = PCA(n_components=3, svd_solver=solver, whiten=whiten)
    values, expected, session, fitted, reference = on_both(
        estimator, None, ["transform", "fit_transform"], device=device
    )
    same(values, expected, rtol=1e-9, atol=1e-9)
    assert {value.device for value in values} == {device}
    for name in ("components_", "explained_variance_", "mean_", "singular_values_"):
        same(getattr(fitted, name), getattr(reference, name), rtol=1e-9, atol=1e-9)
    assert session.counts["kernel"] > 0


def test_pca_in_float32():
    reference = PCA(n_components=3, svd_solver="covariance_eigh").fit(X.astype(np.float32))
    value, session = inside(
        lambda: PCA(n_components=3, svd_solver="covariance_eigh").fit_transform(ours(X.astype(np.float32)))
    )
    same(value, reference.transform(X.astype(np.float32)), rtol=1e-3, atol=1e-4)
    assert session.counts["kernel"] > 0


def test_pca_and_back():
    pca = PCA(n_components=8, svd_solver="full")
    value, session = inside(lambda: pca.inverse_transform(pca.fit_transform(ours(X))))
    same(value, X, rtol=1e-9, atol=1e-9)
    assert session.counts["kernel"] > 0


@pytest.mark.parametrize("device", ["cpu", "interpreter:0"])
def test_linear_discriminant_analysis(device):
    calls = ["predict", "transform", "decision_function", "predict_proba"]
    values, expected, session, fitted, reference = on_both(
        LinearDiscriminantAnalysis(solver="svd"), LABELS, calls, device=device
    )
    same(values[:1], expected[:1], rtol=0, atol=0)
    same(values[1:], expected[1:], rtol=1e-8, atol=1e-8)
    same(fitted.coef_, reference.coef_, rtol=1e-8, atol=1e-8)
    assert session.counts["kernel"] > 0


@pytest.mark.parametrize("device", ["cpu", "interpreter:0"])
def test_ridge(device):
    values, expected, session, fitted, reference = on_both(
        Ridge(alpha=0.3, solver="svd"), Y, ["predict"], device=device
    )
    same(values, expected, rtol=1e-9, atol=1e-9)
    same(fitted.coef_, reference.coef_, rtol=1e-9, atol=1e-9)
    assert session.counts["kernel"] > 0
    assert (
        abs(fitted.score(ours(X).to_device(device), ours(Y).to_device(device)) - reference.score(X, Y)) < 1e-9
    )


@pytest.mark.parametrize("device", ["cpu", "interpreter:0"])
def test_everything_follows_x(device):
    x = ours(X).to_device(device)
    reference = Ridge(solver="svd").fit(X, Y)
    fitted = Ridge(solver="svd").fit(x, Y)  # ndarrays are moved to where x is
    same(fitted.predict(x), reference.predict(X), rtol=1e-9, atol=1e-9)
    assert fitted.coef_.device == device
    assert type(Ridge(solver="svd").fit(X, ours(Y)).coef_) is np.ndarray
    with pytest.raises(ValueError, match="same namespace and the same device"):
        fitted.predict(X)


OTHERS = {
    "StandardScaler": (StandardScaler(), None, "transform"),
    "MinMaxScaler": (MinMaxScaler(), None, "transform"),
    "MaxAbsScaler": (MaxAbsScaler(), None, "transform"),
    "Normalizer": (Normalizer(), None, "transform"),
    "PolynomialFeatures": (PolynomialFeatures(2), None, "transform"),
    "RidgeCV": (RidgeCV(), Y, "predict"),
    "pipeline": (
        make_pipeline(StandardScaler(), PCA(3, svd_solver="full"), Ridge(solver="svd")),
        Y,
        "predict",
    ),
    "Nystroem": (Nystroem(n_components=20, random_state=0), None, "transform"),
    "GaussianMixture": (
        GaussianMixture(3, init_params="random", random_state=0, max_iter=5, tol=0.5),
        None,
        "predict_proba",
    ),
    "LogisticRegression": (LogisticRegression(solver="lbfgs", max_iter=500), LABELS, "predict"),
}
"""Estimators beside those of the contract, with their targets and the method that is compared."""
PRODUCTS = ("RidgeCV", "pipeline", "Nystroem", "GaussianMixture", "LogisticRegression")


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")  # StandardScaler's 0 / 0
@pytest.mark.parametrize("row", OTHERS)
def test_others(row):
    estimator, target, call = OTHERS[row]
    values, expected, session, *_ = on_both(estimator, target, [call])
    same(values, expected, rtol=1e-6, atol=1e-6)
    assert (session.counts["kernel"] > 0) is (row in PRODUCTS)


METRICS = {
    "accuracy_score": (accuracy_score, (LABELS, GUESSES)),
    "confusion_matrix": (confusion_matrix, (LABELS, GUESSES)),
    "f1_score": (lambda y, z: f1_score(y, z, average="macro"), (LABELS, GUESSES)),
    "r2_score": (r2_score, (Y, Y + 0.1 * X[:, 0])),
    "mean_squared_error": (mean_squared_error, (Y, Y + 0.1 * X[:, 0])),
    "precision_score": (lambda y, z: precision_score(y, z, average="micro"), (LABELS, GUESSES)),
}


@pytest.mark.parametrize("row", METRICS)
def test_metrics(row):
    metric, arguments = METRICS[row]
    value, _ = inside(lambda: metric(*ours(*arguments)))
    np.testing.assert_allclose(np.asarray(value), metric(*arguments), rtol=1e-12)


def test_a_fault_of_scikit_learns():
    with pytest.raises(TypeError, match="positional argument"):
        roc_auc_score(*ours(LABELS > 0, Y))


KERNELS = [linear_kernel, rbf_kernel, cosine_similarity, euclidean_distances, pairwise_distances]


@pytest.mark.parametrize("kernel", KERNELS)
def test_pairwise(kernel):
    value, session = inside(lambda: kernel(*ours(X, X[:7])))
    same(value, kernel(X, X[:7]), rtol=1e-9, atol=1e-6)  # a root of what cancels
    assert session.counts["kernel"] > 0


def test_centred_kernels():
    value, _ = inside(lambda: KernelCenterer().fit_transform(linear_kernel(ours(X))))
    same(value, KernelCenterer().fit_transform(X @ X.T), rtol=1e-9, atol=1e-9)


def test_labels():
    value, _ = inside(lambda: LabelEncoder().fit_transform(ours(LABELS * 10)))
    same(value, LABELS, rtol=0, atol=0)


def test_splits_and_scores():
    parts = train_test_split(*ours(X, Y), random_state=0)
    same(parts, train_test_split(X, Y, random_state=0), rtol=0, atol=0)
    ridge = Ridge(solver="svd")
    scores, session = inside(lambda: cross_val_score(ridge, *ours(X, Y)))
    np.testing.assert_allclose(scores, cross_val_score(ridge, X, Y), rtol=1e-9)
    assert session.counts["kernel"] > 0


def test_without_dispatch_arrays_become_ndarrays():
    with sklearn.config_context(array_api_dispatch=False):
        pca = PCA(n_components=3, svd_solver="covariance_eigh")
        value, session = inside(lambda: pca.fit_transform(ours(X)))
    assert type(value) is np.ndarray
    assert session.counts["kernel"] > 0  # its products are NumPy's, inside the block


def test_an_estimator_that_cannot_dispatch_refuses():
    with pytest.raises(TypeError, match="Multiple namespaces"):
        KMeans(2, random_state=0, n_init=1).fit(ours(X))
