"""Contractions through kernels against extended precision, within the promised bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn

EXTENDED = np.finfo(np.longdouble).nmant >= 63
pytestmark = pytest.mark.skipif(not EXTENDED, reason="the oracle needs a longdouble of 64 bits")

LABELS = "abcdef"


def reference(subscripts, operands):
    """Value and sum of sizes, in extended precision; c_einsum makes no use of BLAS."""
    wide = [np.asarray(x).astype(np.clongdouble if np.iscomplexobj(x) else np.longdouble) for x in operands]
    sizes = [np.abs(x.real) + np.abs(x.imag) for x in wide]
    return np.einsum(subscripts, *wide), np.einsum(subscripts, *sizes)


def check(subscripts, operands, **settings):
    with numtrn.enabled(target="interpreter", **({"min_work": 0, "verify": True} | settings)) as session:
        value = np.einsum(subscripts, *operands)
    expected, sizes = reference(subscripts, operands)
    call = session.calls[-1]
    dtype = np.result_type(*operands)
    unit = float(np.finfo(dtype).eps) / 2
    terms = sum(np.prod(np.shape(x), initial=1) for x in operands)
    bound = float(call.bound.split()[0]) if call.route == "kernel" else terms + len(operands)
    assert value.dtype == dtype
    assert (np.abs(value - expected) <= (bound + 1) * unit * sizes).all()
    return call


@st.composite
def contractions(draw):
    """Two to four operands with labels in any place, twice, alone, or of extent one."""
    sizes = {label: draw(st.integers(1, 5)) for label in LABELS}
    terms = draw(st.lists(st.text(LABELS, min_size=1, max_size=4), min_size=2, max_size=4))
    present = sorted(set("".join(terms)))
    output = "".join(draw(st.permutations(present))[: draw(st.integers(0, min(3, len(present))))])
    shapes = []
    for term in terms:
        ones = draw(st.sets(st.sampled_from(sorted(set(term))), max_size=1)) if draw(st.booleans()) else set()
        shapes.append(tuple(1 if label in ones else sizes[label] for label in term))
    return f"{','.join(terms)}->{output}", shapes


@settings(max_examples=60, deadline=None)
@given(contractions(), st.sampled_from(["float64", "float32", "complex128"]), st.integers(0, 2**32 - 1))
def test_any_contraction_keeps_its_promise(contraction, dtype, seed):
    subscripts, shapes = contraction
    rng = np.random.default_rng(seed)
    operands = []
    for shape in shapes:
        x = rng.standard_normal(shape) * 2.0 ** rng.integers(-20, 20, shape)
        if dtype == "complex128":
            x = x + 1j * rng.standard_normal(shape)
        operands.append(x.astype(dtype))
    try:
        expected = np.einsum(subscripts, *operands)
    except ValueError:  # an output label that only has ones, say
        return
    if expected.size and np.isfinite(expected).all():
        check(subscripts, operands)


FORMS = {
    # subscripts, shapes, what takes part
    "permuted output": ("iaj,jb->bia", [(4, 5, 130), (130, 6)]),
    "two products": ("pi,pqr,qj->ijr", [(30, 5), (30, 31, 6), (31, 7)]),
    "Laplace": ("iaP,ia,iaQ->PQ", [(4, 9, 20), (4, 9), (4, 9, 21)]),
    "trace": ("iij,jk->k", [(9, 9, 8), (8, 7)]),
    "a label alone": ("ijk,kl->il", [(5, 6, 7), (7, 8)]),
    "one that broadcasts": ("ijk,jkl->il", [(5, 1, 7), (6, 7, 8)]),
    "a chain": ("ab,bc,cd,de->ae", [(5, 17), (17, 33), (33, 9), (9, 4)]),
    "a tile boundary": ("Qia,Qjb->iajb", [(129, 3, 43), (129, 2, 64)]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64"])
def test_forms_go_to_kernels(form, dtype, rng):
    subscripts, shapes = FORMS[form]
    operands = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    assert check(subscripts, operands).route == "kernel"


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_the_account_of_several_steps(rng):
    b, weights = rng.standard_normal((6, 20, 70)), rng.standard_normal((6, 20))
    call = check("iaP,ia,iaQ->PQ", [b, weights, b])
    assert call.work == 6 * 20 * 70 + 6 * 20 * 70 * 70
    assert call.host_work == 6 * 20 * 70
    assert call.slices is not None
    assert "|A||B||C|" in call.bound


def test_nan_and_inf_are_numpys(rng):
    """(a b) inf has one sign, the sum of a b inf two: NumPy's single loop gives NaN."""
    a, b, c = (rng.standard_normal((20, 20)) for _ in range(3))
    c[3] = np.inf
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        value = np.einsum("ij,jk,kl->il", a, b, c)
    assert session.calls[-1].route == "numpy"
    assert "NaN or Inf" in session.calls[-1].reason
    np.testing.assert_array_equal(value, np.einsum("ij,jk,kl->il", a, b, c))


def test_an_intermediate_result_that_overflows_is_numpys(rng):
    a, b, c = np.full((20, 20), 1e200), np.full((20, 20), 1e200), np.full((20, 20), 1e-300)
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        value = np.einsum("ij,jk,kl->il", a, b, c)
    assert session.calls[-1].route == "numpy"
    np.testing.assert_array_equal(value, np.einsum("ij,jk,kl->il", a, b, c))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_an_intermediate_result_that_underflows_is_numpys(dtype):
    """In the order of least work the first product is 1e-400; NumPy's single loop has 1e-200 in its place."""
    a, b, c = np.full((3, 4), 1e-200, dtype), np.full((4, 2), 1e-200, dtype), np.full((2, 9), 1e200, dtype)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value = np.einsum("ij,kl,jk->il", a, c, b)
    assert session.calls[-1].route == "numpy"
    assert "underflows" in session.calls[-1].reason
    np.testing.assert_array_equal(value, np.einsum("ij,kl,jk->il", a, c, b))
    np.testing.assert_allclose(value, 8e-200, rtol=1e-13)


def test_work_is_that_of_the_steps_whoever_computes(rng):
    """Two products of 20^3; the single loop would have 20^4 turns."""
    a, b, c = (rng.standard_normal((20, 20)) for _ in range(3))
    bad = np.where(np.eye(20), np.nan, c)
    with numtrn.enabled(target="interpreter", min_work=10_000) as refused:
        np.einsum("ij,jk,kl->il", a, b, c, optimize=True)
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        np.einsum("ij,jk,kl->il", a, b, bad, optimize=True)
        np.einsum("ij,jk,kl->il", a, b, c, optimize=True)
    assert [call.route for call in (*refused.calls, *session.calls)] == ["numpy", "numpy", "kernel"]
    assert {call.work for call in (*refused.calls, *session.calls)} == {2 * 20**3}
    assert session.kernel_share == 0.5


def test_what_underflows_harmlessly_is_a_kernels():
    a, b, c = (np.full((4, 4), size, "float32") for size in (1e-25, 1e-25, 1.0))
    a[0], b[:, 0] = 1, 1
    call = check("ij,jk,kl->il", (a, b, c), strict=True)
    assert call.route == "kernel"


def test_own_sums_that_overflow_are_left_to_numpy():
    a = np.full((3, 4, 5), 1e308)
    b = np.full((5, 6), 1e-300)
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        value = np.einsum("ijk,kl->il", a, b)
    assert session.calls[-1].route == "numpy"
    assert "overflows" in session.calls[-1].reason
    assert (value == np.einsum("ijk,kl->il", a, b)).all()


def test_a_wrong_kernel_is_found(monkeypatch, rng):
    from numtrn import contract

    right = contract.as_asked
    monkeypatch.setattr(contract, "as_asked", lambda *args: right(*args) * (1 + 1e-9))
    operands = [rng.standard_normal((20, 20)) for _ in range(3)]
    with (
        pytest.raises(numtrn.VerificationError, match="further from NumPy"),
        numtrn.enabled(target="interpreter", min_work=0, verify=True),
    ):
        np.einsum("ij,jk,kl->il", *operands)


@pytest.mark.parametrize(
    ("subscripts", "shapes", "copied"),
    [
        ("ij,jk->ik", [(128, 256), (256, 128)], 0),
        ("iajb,kb->iajk", [(4, 8, 4, 128), (128, 128)], 0),
        ("iajb,kalb->ikjl", [(16, 8, 8, 16), (16, 8, 8, 16)], 2 * 4 * 16 * 8 * 8 * 16),
    ],
)
def test_copies_on_the_host_are_counted(subscripts, shapes, copied, rng):
    """Of float32 operands whose extents are those of a launch; the last ones lie in no order that folds."""
    call = check(subscripts, [rng.standard_normal(shape).astype(np.float32) for shape in shapes])
    assert call.copied == copied
