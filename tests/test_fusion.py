"""MP2 as users write it on numtrn arrays: recognised where it is that, right where it is something else."""

import gc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import numtrn
from numtrn.array import evaluation, tiles
from numtrn.request import Mp2

BLOCK = {
    "target": "interpreter",
    "min_work": 10**9,
}  # products stay with NumPy: these tests are not about kernels


def answer(request, operands):
    """An `Mp2` request by NumPy, term by term as the request's docstring has it."""
    spins = [operands.inputs[k : k + 3] for k in range(0, len(operands.inputs), 3)]
    (b1, o1, v1), (b2, o2, v2) = spins[0], spins[-1]
    assert len(spins) == (1 if request.same else 2)
    assert request.nocc == (len(o1), len(o2))
    assert request.nvir == (len(v1), len(v2))
    assert b1.shape == (len(o1), len(v1), request.naux)
    assert request.dtype == b1.dtype.name == o1.dtype.name == v1.dtype.name
    sums = np.zeros((2, len(o1), len(o2)))
    for i in range(len(o1)):
        for j in range(len(o2)):
            t = b1[i] @ b2[j].T
            gap = o1[i] + o2[j] - v1[:, None] - v2[None, :]
            sums[0, i, j] = np.sum(t * t / gap)
            if request.exchange:
                sums[1, i, j] = np.sum(t * t.T / gap)
    return sums


@pytest.fixture
def asked(monkeypatch):
    """The requests for pair energies, which are answered."""
    return answering(monkeypatch)


def answering(monkeypatch):
    requests = []
    offer_in = evaluation.dispatch.offer_in

    def offered(block, request, operands):
        if not isinstance(request, Mp2):
            return offer_in(block, request, operands)
        requests.append(request)
        return answer(request, operands)

    monkeypatch.setattr(evaluation.dispatch, "offer_in", offered)
    return requests


@pytest.fixture(autouse=True)
def recording_small(monkeypatch):
    """Record whatever is larger than its operands; cut it into several tiles."""
    product = evaluation_product()
    monkeypatch.setattr("numtrn.array.recording.product", lambda f, a, k, least: product(f, a, k, 0))
    monkeypatch.setattr(tiles, "TILE", 400)


def evaluation_product():
    from numtrn.array import recording

    return recording.product


def molecule(o=4, v=9, x=7, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((o, v, x)).astype(dtype)
    return b, np.sort(-0.4 - rng.random(o)).astype(dtype), np.sort(0.1 + 3 * rng.random(v)).astype(dtype)


def scale(b, eo, ev):
    t = np.einsum("iaQ,jbQ->iajb", b, b)
    gap = eo[:, None, None, None] - ev[:, None, None] + eo[:, None] - ev
    return float(np.sum(t * t / abs(gap)))


def same_within(got, expected, b, eo, ev, bound=1e-13):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=bound * 10 * scale(b, eo, ev))


def wrapped(*arrays):
    return [numtrn.asarray(x.copy()) for x in arrays]


def flat(b):
    return b.reshape(b.shape[0] * b.shape[1], b.shape[2])


def back(t, b):
    return t.reshape(b.shape[0], b.shape[1], b.shape[0], b.shape[1])


INTEGRALS = {
    "iaQ,jbQ->iajb": lambda b: np.einsum("iaQ,jbQ->iajb", b, b),
    "implicit": lambda b: np.einsum("iaQ,jbQ->ijab", b, b).transpose(0, 2, 1, 3),
    "Qia,Qjb->iajb": lambda b: np.einsum("Qia,Qjb->iajb", b.transpose(2, 0, 1), b.transpose(2, 0, 1)),
    "aiQ,jbQ->iajb": lambda b: np.einsum("aiQ,jbQ->iajb", b.transpose(1, 0, 2), b),
    "lists": lambda b: np.einsum(b, [0, 1, 4], b, [2, 3, 4], [0, 1, 2, 3]),
    "optimize": lambda b: np.einsum("iaQ,jbQ->iajb", b, b, optimize=True),
    "matmul": lambda b: back(flat(b) @ flat(b).T, b),
    "dot": lambda b: back(np.dot(flat(b), flat(b).T), b),
    "inner": lambda b: back(np.inner(flat(b), flat(b)), b),
    "tensordot": lambda b: np.tensordot(b, b, ((2,), (2,))),
    "tensordot -1": lambda b: np.tensordot(b, b, axes=(-1, -1)),
}

DENOMINATORS = {
    "None": lambda o, v: (
        o[:, None, None, None] - v[None, :, None, None] + o[None, None, :, None] - v[None, None, None, :]
    ),
    "reshape": lambda o, v: o.reshape(-1, 1, 1, 1) - v.reshape(-1, 1, 1) + o.reshape(-1, 1) - v,
    "ellipsis": lambda o, v: (o[:, None] - v)[..., None, None] + (o[:, None] - v)[None, None],
    "pairs": lambda o, v: (
        (o[:, None] + o[None, :])[:, None, :, None] - (v[:, None] + v[None, :])[None, :, None, :]
    ),
    "outer": lambda o, v: np.add.outer(np.subtract.outer(o, v), np.subtract.outer(o, v)),
    "negative": lambda o, v: (
        -(v[None, :, None, None] - o[:, None, None, None] - o[:, None] + v[None, None, None, :])
    ),
    "doubled": lambda o, v: (2 * (o[:, None, None, None] - v[:, None, None] + o[:, None] - v)) / 2,
}

ENERGIES = {
    "three operands": lambda t, d: np.einsum("iajb,iajb,iajb->", t, 2 * t - t.swapaxes(1, 3), 1 / d),
    "implicit output": lambda t, d: np.einsum("iajb,iajb", t / d, 2 * t - t.swapaxes(1, 3)),
    "reciprocal": lambda t, d: np.einsum("iajb,iajb,iajb", t, np.reciprocal(d), 2 * t - t.swapaxes(1, 3)),
    "sum": lambda t, d: np.sum((2 * t - t.transpose(0, 3, 2, 1)) * t / d),
    "method": lambda t, d: (t * (2 * t - t.swapaxes(1, 3)) / d).sum(),
    "parts": lambda t, d: np.einsum("iajb,iajb->", t / d, t) + np.sum((t - t.transpose(0, 3, 2, 1)) * t / d),
    "swapped letters": lambda t, d: 2 * np.einsum("iajb,iajb", t, t / d) - np.einsum("iajb,ibja", t, t / d),
    "other partner": lambda t, d: np.sum(t / d * (2 * t - t.swapaxes(0, 2))),
    "vdot": lambda t, d: np.vdot(t / d, 2 * t - t.swapaxes(1, 3)),
    "tensordot": lambda t, d: np.tensordot(t / d, 2 * t - t.swapaxes(1, 3), 4),
    "ravel": lambda t, d: (t / d).reshape(-1) @ (2 * t - t.swapaxes(1, 3)).reshape(-1),
    "in place": lambda t, d: in_place(t, d),
    "square": lambda t, d: np.sum(2 * t**2 / d) - np.sum(t * t.swapaxes(1, 3) / d),
    "pairs": lambda t, d: np.einsum("iajb,iajb->ij", t, (2 * t - t.swapaxes(1, 3)) / d),
    "pairs ji": lambda t, d: np.einsum("iajb,iajb->ji", t, (2 * t - t.swapaxes(1, 3)) / d),
    "per orbital": lambda t, d: np.sum(t * (2 * t - t.swapaxes(1, 3)) / d, axis=(1, 2, 3)),
    "amplitudes": lambda t, d: np.sum(np.einsum("iajb,iajb->iajb", t, 1 / d) * (2 * t - t.swapaxes(1, 3))),
    "scs": lambda t, d: np.sum(t * (1.2 * t + (t - t.swapaxes(1, 3)) / 3) / d),
}


def in_place(t, d):
    x = 2 * t - t.swapaxes(1, 3)
    x /= d
    x *= t
    return x.sum()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(INTEGRALS)),
    st.sampled_from(sorted(DENOMINATORS)),
    st.sampled_from(sorted(ENERGIES)),
    st.tuples(st.integers(2, 5), st.integers(6, 11), st.integers(2, 5), st.integers(0, 100)),
    st.booleans(),
)
def test_spellings_of_one_spin(integrals, denominator, energy, sizes, answered):
    arrays = molecule(*sizes)

    def formula(b, eo, ev):
        return ENERGIES[energy](INTEGRALS[integrals](b), DENOMINATORS[denominator](eo, ev))

    expected = formula(*arrays)
    with pytest.MonkeyPatch.context() as monkeypatch, numtrn.enabled(**BLOCK) as session:
        asked = answering(monkeypatch) if answered else []
        got = formula(*wrapped(*arrays))
    same_within(got, expected, *arrays)
    assert isinstance(got, numtrn.Array)
    assert got.shape == np.shape(expected)
    assert got.dtype == expected.dtype
    assert not any("materialised" in call.reason for call in session.calls)
    if answered:
        assert asked
        assert all(one.same and one.naux == sizes[2] for one in asked)
        assert not [call for call in session.calls if "tiles" in call.reason]
    else:
        assert any("no request for pair energies of MP2" in call.reason for call in session.calls)


@pytest.mark.parametrize("energy", ENERGIES)
def test_each_energy_is_recognised(energy, asked):
    arrays = molecule()

    def formula(b, eo, ev):
        return ENERGIES[energy](INTEGRALS["iaQ,jbQ->iajb"](b), DENOMINATORS["None"](eo, ev))

    with numtrn.enabled(**BLOCK):
        got = formula(*wrapped(*arrays))
    assert asked
    same_within(got, formula(*arrays), *arrays)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_two_spins(asked, dtype):
    a, b = molecule(3, 9, 6, 1, dtype), molecule(2, 10, 6, 2, dtype)

    def formula(a, b):
        (ba, oa, va), (bb, ob, vb) = a, b
        t = np.einsum("iaQ,jbQ->iajb", ba, bb)
        gap = oa[:, None, None, None] - va[:, None, None] + ob[:, None] - vb
        opposite = np.sum(t * t / gap)
        same = []
        for x, o, v in (a, b):
            t = np.einsum("iaQ,jbQ->iajb", x, x)
            same.append(0.5 * np.einsum("iajb,iajb", t, (t - t.swapaxes(1, 3)) / DENOMINATORS["None"](o, v)))
        return opposite, *same

    expected = formula(*(tuple(x.astype(np.float64) for x in spin) for spin in (a, b)))
    with numtrn.enabled(**BLOCK):
        got = formula(wrapped(*a), wrapped(*b))
    assert [(one.same, one.exchange, one.nocc, one.nvir) for one in asked] == [
        (False, False, (3, 2), (9, 10)),
        (True, True, (3, 3), (9, 9)),
        (True, True, (2, 2), (10, 10)),
    ]
    assert {one.dtype for one in asked} == {np.dtype(dtype).name}
    np.testing.assert_allclose(got, expected, rtol=1e-11 if dtype == np.float64 else 1e-4)


def gap(o, v):
    return DENOMINATORS["None"](o, v)


def integrals(b):
    return np.einsum("iaQ,jbQ->iajb", b, b)


NEAR_MISSES = {
    "square of the denominator": lambda b, o, v: np.sum(integrals(b) ** 2 / gap(o, v) ** 2),
    "two denominators": lambda b, o, v: np.sum(integrals(b) ** 2 / gap(o, v) / gap(o, v)),
    "no denominator": lambda b, o, v: np.sum(integrals(b) ** 2),
    "one factor T": lambda b, o, v: np.sum(integrals(b) / gap(o, v)),
    "cube": lambda b, o, v: np.sum(integrals(b) ** 3 / gap(o, v)),
    "plus one": lambda b, o, v: np.sum((integrals(b) + 1) * integrals(b) / gap(o, v)),
    "shifted": lambda b, o, v: np.sum(integrals(b) ** 2 / (gap(o, v) - 0.5)),
    "times the denominator": lambda b, o, v: np.sum(integrals(b) ** 2 * gap(o, v)),
    "signs": lambda b, o, v: np.sum(
        integrals(b) ** 2 / (o[:, None, None, None] + v[:, None, None] + o[:, None] + v + 20)
    ),
    "signs differ": lambda b, o, v: np.sum(
        integrals(b) ** 2 / (o[:, None, None, None] - v[:, None, None] - o[:, None] - v)
    ),
    "other factors": lambda b, o, v: np.sum(
        integrals(b) ** 2 / ((o[:, None] - v)[:, :, None, None] + 2 * (o[:, None] - v))
    ),
    "gap closed": lambda b, o, v: np.sum(
        integrals(b) ** 2 / (o[:, None, None, None] - v[:, None, None] + o[:, None] - v + 0 * v)
    ),
    "occupied above virtual": lambda b, o, v: np.sum(integrals(b) ** 2 / gap(o + 2.0, v)),
    "exchange of two B": lambda b, o, v: np.sum(
        np.einsum("iaQ,jbQ->iajb", b, b + 1) * np.einsum("iaQ,jbQ->iajb", b, b + 1).swapaxes(1, 3) / gap(o, v)
    ),
    "partners of two B": lambda b, o, v: np.sum(
        np.einsum("iaQ,jbQ->iajb", b, b + 1) * np.einsum("iaQ,jbQ->iajb", b, b + 1).swapaxes(0, 2) / gap(o, v)
    ),
    "T of different B": lambda b, o, v: np.sum(integrals(b) * integrals(b * 1.5) / gap(o, v)),
    "exchange with other energies": lambda b, o, v: np.sum(
        integrals(b)
        * integrals(b).swapaxes(1, 3)
        / (o[:, None, None, None] - v[:, None, None] + o[:, None] - (v + 0.5))
    ),
    "sum over virtuals left": lambda b, o, v: np.einsum(
        "iajb,iajb->ab", integrals(b), integrals(b) / gap(o, v)
    ),
    "mixed pair left": lambda b, o, v: np.einsum("iajb,iajb->ia", integrals(b), integrals(b) / gap(o, v)),
    "absolute value": lambda b, o, v: np.sum(abs(integrals(b)) * integrals(b) / gap(o, v)),
    "different denominators": lambda b, o, v: np.sum(
        integrals(b) * (integrals(b) / gap(o, v) + integrals(b).swapaxes(1, 3) / gap(o - 1.0, v))
    ),
    "sum of fractions": lambda b, o, v: np.sum(integrals(b) ** 2 / (1 / gap(o, v) + 1)),
    "weighted orbitals": lambda b, o, v: np.sum(integrals(b) ** 2 / gap(o, v) * v),
    "overflowing factor": lambda b, o, v: np.sum(1e-200 * integrals(b) * (1e-200 * integrals(b)) / gap(o, v)),
    "Laplace": lambda b, o, v: np.sum(np.exp(0.1 * gap(o, v)) * integrals(b) ** 2),
    "diagonal": lambda b, o, v: np.einsum("iaib,iaib->", integrals(b), integrals(b) / gap(o, v)),
    "occupied pair in B": lambda b, o, v: np.sum(
        integrals(b[:, :4]).transpose(0, 2, 1, 3) ** 2 / gap(o, v[:4])
    ),
    "energies exchanged": lambda b, o, v: np.sum(
        integrals(b).transpose(1, 0, 3, 2) ** 2
        / (v[:, None, None, None] - o[:, None, None] - v[:, None] - o - 9)
    ),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_near_misses_are_no_mp2_and_right(case, asked):
    arrays = molecule(4, 8, 3, 5)
    expected = NEAR_MISSES[case](*arrays)
    with numtrn.enabled(**BLOCK) as session:
        got = NEAR_MISSES[case](*wrapped(*arrays))
    if case not in ("gap closed", "energies exchanged"):
        assert not asked
    assert any("computed in" in call.reason or "made once" in call.reason for call in session.calls)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize(
    ("b_type", "e_type"), [(np.float32, np.float64), (np.float64, np.float32), (np.complex128, np.float64)]
)
def test_mixed_and_complex_types_are_no_mp2(b_type, e_type, asked):
    b, o, v = molecule()
    arrays = b.astype(b_type) * (1 + 1j if b_type == np.complex128 else 1), o.astype(e_type), v.astype(e_type)

    def formula(b, o, v):
        t = integrals(b)
        return np.sum(t.conj() * t / gap(o, v)), np.einsum("iajb,ibja->", t, t / gap(o, v))

    expected = formula(*arrays)
    with numtrn.enabled(**BLOCK):
        got = formula(*wrapped(*arrays))
    assert not asked
    assert [x.dtype for x in got] == [x.dtype for x in expected]
    np.testing.assert_allclose(got, expected, rtol=1e-4 if np.float32 in (b_type, e_type) else 1e-12)


def test_energies_that_are_plain_arrays_or_matrices_of_differences(asked):
    b, o, v = molecule()
    plain, differences = numtrn.asarray(b), o[:, None] - v

    def formula(b, e):
        t = integrals(b)
        return np.sum(t * (2 * t - t.swapaxes(1, 3)) / (e[:, :, None, None] + e))

    with numtrn.enabled(**BLOCK):
        got = formula(plain, numtrn.asarray(differences))
        t = integrals(plain)
        also = np.sum(t * t / (numtrn.asarray(o)[:, None, None, None] - v[:, None, None] + o[:, None] - v))
    assert len(asked) == 2
    same_within(got, formula(b, differences), b, o, v)
    t = integrals(b)
    same_within(also, np.sum(t * t / gap(o, v)), b, o, v)


def test_a_disturbed_matrix_of_differences_is_no_mp2(asked):
    b, o, v = molecule()
    differences = o[:, None] - v
    differences[1, 2] += 1e-12
    with numtrn.enabled(**BLOCK):
        e = numtrn.asarray(differences)
        t = integrals(numtrn.asarray(b))
        np.sum(t * t / (e[:, :, None, None] + e))
    assert not asked


def test_explain_says_what_a_recorded_reduction_asks():
    b, o, v = wrapped(*molecule())
    with numtrn.enabled(**BLOCK):
        t = integrals(b)
        answer = numtrn.explain(np.einsum, "iajb,iajb->", t, t / gap(o, v))
        assert isinstance(answer.request, Mp2)
        answer = numtrn.explain(np.einsum, "iajb,iajb->", t, t * gap(o, v))
        assert not isinstance(answer.request, Mp2)
        assert repr(t).endswith("not computed)")


def test_parts_of_one_energy_are_asked_for_once(asked):
    gc.collect()
    assert not evaluation._answered  # answers go with the arrays
    arrays = molecule()
    b, o, v = wrapped(*arrays)

    def parts(t, d):
        return np.sum(t * t / d), np.sum((t - t.swapaxes(1, 3)) * t / d), np.einsum("iajb,iajb->i", t, t / d)

    with numtrn.enabled(**BLOCK) as session:
        t, d = integrals(b), gap(o, v)
        got = parts(t, d)
        assert len(asked) == 1
        assert session.calls[-1].reason.startswith("'iaQ,jbQ->iajb' (4x9x4x9, 0.01 MB) never built: from")
        shifted = np.sum(t * t / gap(o - 0.25, v))
        assert len(asked) == 2
        with numtrn.enabled(**BLOCK):
            np.sum(t * t / d)
        assert len(asked) == 3
    assert len(evaluation._answered) == 1
    t, d = integrals(arrays[0]), gap(*arrays[1:])
    for one, expected in zip(got, parts(t, d), strict=True):
        np.testing.assert_allclose(np.asarray(one), expected, rtol=1e-11)
    np.testing.assert_allclose(shifted, np.sum(t * t / gap(arrays[1] - 0.25, arrays[2])), rtol=1e-11)


def test_turned_integrals_are_another_question(asked):
    """With as many virtual as occupied orbitals the shapes do not tell."""
    b = molecule(5, 5, 3)[0]
    o, v = np.array([-2.0, -1.5, -1.4, -1.1, -1.0]), np.array([0.1, 0.2, 0.5, 1.0, 1.5])

    def parts(b, o, v):
        t = integrals(b)
        return np.sum(t * t / gap(o, v)), np.sum(t.transpose(1, 0, 3, 2) ** 2 / gap(o, v))

    with numtrn.enabled(**BLOCK):
        got = parts(*wrapped(b, o, v))
    assert len(asked) == 2
    np.testing.assert_allclose(got, parts(b, o, v), rtol=1e-11)


@pytest.mark.parametrize("energy", ["three operands", "parts", "pairs", "other partner"])
def test_through_kernels(energy, monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 3000)
    arrays = molecule(4, 20, 30)

    def formula(b, eo, ev):
        return ENERGIES[energy](integrals(b), gap(eo, ev))

    with numtrn.enabled(target="interpreter", min_work=0) as session:
        got = formula(*wrapped(*arrays))
    same_within(got, formula(*arrays), *arrays)
    assert session.kernel_share == 1
    assert "never built" in str(session)


LEAVES = {
    "t": lambda t, s, d, e, o: t,
    "t exchanged": lambda t, s, d, e, o: t.swapaxes(1, 3),
    "t turned": lambda t, s, d, e, o: t.transpose(2, 3, 0, 1),
    "t of partners": lambda t, s, d, e, o: t.transpose(2, 1, 0, 3),
    "another t": lambda t, s, d, e, o: s,
    "another t exchanged": lambda t, s, d, e, o: s.swapaxes(1, 3),
    "t over d": lambda t, s, d, e, o: t / d,
    "exchanged over d": lambda t, s, d, e, o: t.swapaxes(1, 3) / d,
    "t over -2 e": lambda t, s, d, e, o: t / (-2 * e),
    "d": lambda t, s, d, e, o: d,
    "1/d": lambda t, s, d, e, o: 1 / d,
    "energies": lambda t, s, d, e, o: o[:, None, None, None] + 0 * d,
    "number": lambda t, s, d, e, o: -1.5 + 0 * d,
    "weighted": lambda t, s, d, e, o: -1.5 * t * o[:, None, None, None],
    "plus a number": lambda t, s, d, e, o: t + 0.25,
}

OPERATIONS = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "2x": lambda x, y: 2 * x - y,
    "x^2": lambda x, y: x**2 - y,
}

TURNED = sorted(name for name in LEAVES if name.startswith("t") and "over" not in name)
LINEAR = ["+", "-", "2x"]

SUMS = {
    "sum": np.sum,
    "pairs": lambda x: np.einsum("iajb->ij", x),
    "mixed": lambda x: np.einsum("iajb->ja", x),
}

leaf = st.sampled_from(sorted(LEAVES))
trees = st.recursive(
    leaf, lambda inner: st.tuples(st.sampled_from(sorted(OPERATIONS)), inner, inner), max_leaves=5
)
combinations = st.recursive(
    st.sampled_from(TURNED),
    lambda inner: st.tuples(st.sampled_from(LINEAR), inner, inner),
    max_leaves=3,
)
over_d = st.sampled_from(["t over d", "exchanged over d", "t over -2 e"])
amplitudes = over_d | st.tuples(st.just("*"), combinations, st.just("1/d"))
amplitudes |= st.tuples(st.sampled_from(LINEAR), amplitudes, amplitudes)


def grown(tree, parts):
    if isinstance(tree, str):
        return LEAVES[tree](*parts)
    operation, left, right = tree
    return OPERATIONS[operation](grown(left, parts), grown(right, parts))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.tuples(trees, trees) | st.tuples(combinations, amplitudes) | st.tuples(combinations, amplitudes),
    st.sampled_from(sorted(SUMS)),
)
def test_any_expression_is_right(factors, total):
    first, second = factors
    arrays = molecule(3, 7, 4)

    def formula(b, o, v):
        t, s = integrals(b), np.einsum("iaQ,jbQ->iajb", b, 2 * b)
        parts = t, s, gap(o, v), gap(o, v + 0.5), o
        return SUMS[total](grown(first, parts) * grown(second, parts))

    with np.errstate(all="ignore"):
        expected = formula(*arrays)
        with pytest.MonkeyPatch.context() as monkeypatch, numtrn.enabled(**BLOCK):
            answering(monkeypatch)
            got = formula(*wrapped(*arrays))
    sizes = float(np.sum(np.abs(expected))) + bound_of(factors, arrays)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=1e-12 * sizes)


def bound_of(pair, arrays):
    """The sum with every term made positive, which roundings are proportional to."""
    b, o = np.abs(arrays[0]), np.abs(arrays[1])
    t, s = integrals(b), np.einsum("iaQ,jbQ->iajb", b, 2 * b)
    parts = t, s, np.abs(gap(*arrays[1:])), np.abs(gap(arrays[1], arrays[2] + 0.5)), o
    left, right = (np.abs(positive(tree, parts)) for tree in pair)
    return float(np.sum(left * right * np.ones_like(t)))


def positive(tree, parts):
    if isinstance(tree, str):
        return np.abs(LEAVES[tree](*parts))
    operation, left, right = tree
    x, y = positive(left, parts), positive(right, parts)
    return {"+": x + y, "-": x + y, "*": x * y, "2x": 2 * x + y, "x^2": x**2 + y}[operation]
