"""Pair sums against extended precision: the bound holds, nothing large exists, and every fallback is told."""

import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
from numtrn import pairs
from numtrn.engine import KernelEngine
from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.pair_bounds import Spin, least_denominators, norms
from numtrn.pairs import by_numpy, run_pairs
from numtrn.plan import Mp2Plan, make_plan
from numtrn.precision import Declined
from numtrn.request import Mp2, Operands
from numtrn.targets.interpreter import Interpreter
from numtrn.verify import EXTENDED

pytestmark = pytest.mark.skipif(not EXTENDED, reason="the oracle is longdouble with 64 bits")
wide = np.longdouble


def orbitals(rng, o, v, x, dtype="float64", gap=0.3):
    b = rng.normal(size=(o, v, x)).astype(dtype)
    return b, np.sort(rng.uniform(-20, -gap, o)), np.sort(rng.uniform(0, 4, v))


def asked(spins, exchange=None):
    (b, *_), (c, *_) = spins[0], spins[-1]
    same = len(spins) == 1
    return Mp2(
        function="test",
        dtype=b.dtype.name,
        nocc=(b.shape[0], c.shape[0]),
        nvir=(b.shape[1], c.shape[1]),
        naux=b.shape[2],
        same=same,
        exchange=same if exchange is None else exchange,
    )


def exact(spins, exchange=True):
    """Both sums in extended precision, all of (ia|jb) at once."""
    (b, o1, v1), (c, o2, v2) = (tuple(x.astype(wide) for x in spin) for spin in (spins[0], spins[-1]))
    t = np.einsum("iaQ,jbQ->ijab", b, c)
    d = (o1[:, None] + o2)[:, :, None, None] - (v1[:, None] + v2)
    direct = (t * t / d).sum(axis=(2, 3))
    if len(spins) == 2 or not exchange:
        return np.stack([direct, np.zeros_like(direct)])
    return np.stack([direct, (t * t.swapaxes(2, 3) / d).sum(axis=(2, 3))])


def operands(spins):
    return Operands(inputs=tuple(x for spin in spins for x in spin))


def computed(spins, engine=None, **options):
    request = asked(spins)
    plan = make_plan(request, Options(min_work=0, **options), "interpreter")
    assert isinstance(plan, Mp2Plan)
    return run_pairs(plan, operands(spins), engine or KernelEngine(Interpreter(CHIPS["trn2"])))


def computed_from(request, *given):
    plan = make_plan(request, Options(min_work=0), "interpreter")
    assert isinstance(plan, Mp2Plan)
    assert plan.fused
    return run_pairs(plan, Operands(inputs=given), KernelEngine(Interpreter(CHIPS["trn2"])))


def within(sums, spins):
    assert (np.abs(sums.value - exact(spins)) <= sums.errors).all()
    assert np.isfinite(sums.errors).all()


extents = st.integers(1, 5), st.integers(1, 9), st.integers(1, 40)


@pytest.mark.parametrize("precision", ["full", "fast", 100.0])
@settings(max_examples=12, deadline=None)
@given(*extents, st.integers(0, 99))
def test_one_spin_by_kernels(precision, o, v, x, seed):
    spins = [orbitals(np.random.default_rng(seed), o, v, x)]
    sums = computed(spins, precision=precision)
    within(sums, spins)
    np.testing.assert_array_equal(sums.value, sums.value.transpose(0, 2, 1))


@settings(max_examples=12, deadline=None)
@given(*extents, st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_two_spins_by_kernels(o, v, x, o2, v2, seed):
    rng = np.random.default_rng(seed)
    spins = [orbitals(rng, o, v, x), orbitals(rng, o2, v2, x)]
    sums = computed(spins)
    within(sums, spins)
    assert not sums.value[1].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=30, deadline=None)
@given(*extents, st.integers(0, 99))
def test_by_numpy(dtype, o, v, x, seed):
    spins = [orbitals(np.random.default_rng(seed), o, v, x, dtype)]
    within(by_numpy(asked(spins), operands(spins)), spins)


def hard(rng, o, v, x):
    """B with rows of any size, near-degenerate energies, zeros, and integrals that cancel."""
    b = rng.normal(size=(o, v, x)) * 10.0 ** rng.integers(-60, 60, (o, v, 1))
    b *= 10.0 ** rng.integers(-8, 8, (o, v, x))
    b[rng.random((o, v, x)) < 0.2] = 0.0
    b[:, v // 2] = b[:, 0] * (1 + 1e-9 * rng.normal(size=(o, 1)))
    b[0, 0] = rng.normal(size=x)
    b[-1, -1] = b[0, 0] - b[0, 0].sum() / x
    e_occ = -(10.0 ** rng.uniform(-7, 3, o))
    return b, e_occ, 10.0 ** rng.uniform(-7, 3, v)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 30), st.booleans(), st.integers(0, 10**6))
def test_the_bound_of_the_fp32_kernel_holds_where_squares_underflow(o, v, x, given_t, seed):
    rng = np.random.default_rng(seed)
    b, e_occ, e_vir = orbitals(rng, o, v, x, gap=1e-3)
    b = (b * 10.0 ** rng.integers(-16, 1, (o, v, 1))).astype(np.float32)
    b[0, 0] = rng.normal(size=x)
    spins, request = [(b, e_occ, e_vir)], asked([(b, e_occ, e_vir)])
    if not given_t:
        sums = computed(spins)
        assert (np.abs(sums.value - exact(spins)) <= sums.errors).all()
        return
    t = np.einsum("iaQ,jbQ->iajb", b, b)
    sums = computed_from(replace(request, naux=0), t, e_occ, e_vir)
    d = (e_occ[:, None] + e_occ)[:, :, None, None] - (e_vir[:, None] + e_vir)
    t = t.swapaxes(1, 2).astype(wide)
    for found, expected in zip(sums.value, (t * t / d, t * t.swapaxes(2, 3) / d), strict=True):
        assert (np.abs(found - expected.sum(axis=(2, 3))) <= sums.errors).all()


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_the_fp32_kernel_leaves_the_ends_of_its_range_to_numpy(size):
    b, e_occ, e_vir = orbitals(np.random.default_rng(0), 3, 4, 5, "float32")
    with pytest.raises(Declined, match="range ends"):
        computed([(b, size * e_occ, size * e_vir)])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 30), st.integers(0, 10**6))
def test_the_bound_holds_for_hard_data(o, v, x, seed):
    spins = [hard(np.random.default_rng(seed), o, v, x)]
    for sums in (computed(spins), by_numpy(asked(spins), operands(spins))):
        assert (np.abs(sums.value - exact(spins)) <= sums.errors).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 30), st.integers(0, 10**6))
def test_the_bound_holds_where_denominators_change_sign(o, v, x, seed):
    rng = np.random.default_rng(seed)
    b = rng.normal(size=(o, v, x))
    spins = [(b, rng.uniform(-1, 1, o), rng.uniform(-1, 1, v))]
    sums = computed(spins)
    assert (np.abs(sums.value - exact(spins)) <= sums.errors).all()
    gap, signed = least_denominators(Spin(*spins[0]), Spin(*spins[0]))
    e_occ, e_vir = spins[0][1:]
    d = (e_occ[:, None] + e_occ)[:, :, None, None] - (e_vir[:, None] + e_vir)
    np.testing.assert_allclose(gap, np.abs(d).min(axis=(2, 3)), rtol=1e-9, atol=1e-15)
    assert signed == (d < 0).all()


def test_the_bound_is_no_guess():
    """Errors put into T of the size that is allowed come near it, and a larger one exceeds it."""
    rng = np.random.default_rng(4)
    spins = [orbitals(rng, 3, 4, 5)]
    sums = by_numpy(asked(spins), operands(spins))
    moved = [(spins[0][0] * (1 + 1e-13), *spins[0][1:])]
    assert (np.abs(sums.value[0] - exact(moved)[0]) > sums.errors).any()
    scale = np.abs(exact(spins)[0])
    assert (sums.errors < 1e-12 * scale.max()).all()


def test_norms_neither_overflow_nor_vanish():
    b = np.array([[[3e200, 4e200]], [[3e-200, 4e-200]], [[0.0, 0.0]]])
    np.testing.assert_allclose(norms(b), [5e200, 5e-200, 0.0], rtol=1e-15)
    assert norms(np.zeros((0, 2, 2))).shape == (0,)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_any_order_in_memory(order):
    """Views are read as they are, and results do not depend on the order."""
    rng = np.random.default_rng(5)
    b, *energies = orbitals(rng, 4, 6, 30)
    stored = np.ascontiguousarray(b.transpose(order)).transpose(np.argsort(order))
    first, second = computed([(b, *energies)]), computed([(stored, *energies)])
    np.testing.assert_array_equal(first.value, second.value)


# ---- Blocks ----


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr("numtrn.plan.mp2.LEAST_BYTES", 0)


def test_blocks_give_what_one_product_gives(small_tiles):
    rng = np.random.default_rng(6)
    spins = [orbitals(rng, 7, 10, 12), orbitals(rng, 5, 11, 12)]
    for given_spins in (spins, spins[:1]):
        plan = make_plan(asked(given_spins), Options(min_work=0), "interpreter")
        assert max(plan.block) < 5
        within(computed(given_spins), given_spins)
        within(by_numpy(asked(given_spins), operands(given_spins)), given_spins)


class Recorder(KernelEngine):
    """Notes every program: kernel, shapes and parameters."""

    def __init__(self, target):
        super().__init__(target)
        self.programs = set()

    def _note(self, kernel, arrays, parameters):
        shapes = tuple(getattr(array, "value", array).shape for array in arrays)
        self.programs.add((kernel, shapes, tuple(parameters)))

    def keep(self, kernel, arrays, parameters):
        self._note(kernel, arrays, parameters)
        return super().keep(kernel, arrays, parameters)

    def launch(self, t, arrays, dtype):
        self._note(t.kernel, arrays, t.parameters)
        return super().launch(t, arrays, dtype)


@pytest.mark.parametrize("chip", ["trn1", "trn2"])
def test_few_programs(small_tiles, chip):
    """Blocks of equal size, and as many digits for all data: all three components in at most 12 programs."""
    rng = np.random.default_rng(7)
    alpha, beta = orbitals(rng, 7, 10, 12), orbitals(rng, 5, 12, 12)
    engine = Recorder(Interpreter(CHIPS[chip]))
    for spins in ([alpha], [beta], [alpha, beta]):
        before = engine.launches
        computed(spins, engine)
        assert engine.launches - before > 6
    assert len(engine.programs) <= 12


def peak(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory():
    """No array of the size of (ia|jb), on the host or on the interpreter, whose own memory is a constant."""
    o, v, x = 32, 64, 48
    everything = o * o * v * v * 8
    spins = [orbitals(np.random.default_rng(8), o, v, x)]
    few = [(spins[0][0][:5], spins[0][1][:5], spins[0][2])]
    request, arrays = asked(spins), operands(spins)
    assert peak(lambda: by_numpy(request, arrays)) < 0.1 * everything
    constant = peak(lambda: computed(few))
    assert peak(lambda: computed(spins)) - constant < 0.1 * everything


# ---- Declined, and NumPy's semantics ----


def test_energies_that_are_not_finite_are_numpys():
    b, e_occ, e_vir = orbitals(np.random.default_rng(9), 2, 3, 4)
    e_occ[1] = np.nan
    with pytest.raises(Declined, match="orbital energies hold NaN"):
        computed([(b, e_occ, e_vir)])
    sums = by_numpy(asked([(b, e_occ, e_vir)]), operands([(b, e_occ, e_vir)]))
    assert np.isnan(sums.value[0]).tolist() == [[False, True], [True, True]]
    assert np.isinf(sums.errors[1, 1])


def test_a_denominator_of_zero_is_what_numpy_makes_of_it():
    b, e_occ, e_vir = orbitals(np.random.default_rng(10), 2, 3, 4)
    e_occ[1] = e_vir[0] = 0.25
    spins = [(b, e_occ, e_vir)]
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        sums = computed(spins)
    assert np.isinf(sums.value[0, 1, 1])
    assert np.isinf(sums.errors[1, 1])
    assert np.isfinite(sums.errors[0, 0])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        computed(spins)
    with np.errstate(divide="raise"), pytest.raises(Declined, match="divide by zero"):
        computed(spins)


def test_b_with_nan_is_nan_where_numpy_has_it():
    b, *energies = orbitals(np.random.default_rng(11), 5, 8, 30)
    b[2, 3, 4] = np.nan
    spins = [(b, *energies)]
    with np.errstate(all="ignore"):
        sums = computed(spins)
    np.testing.assert_array_equal(np.isnan(sums.value), np.isnan(exact(spins)))
    assert np.isinf(sums.errors[2]).all()


def test_products_that_overflow_are_numpys():
    b, *energies = orbitals(np.random.default_rng(12), 2, 3, 4)
    with pytest.raises(Declined, match="the product may overflow"):
        computed([(b * 1e160, *energies)])


# ---- The fp32 kernel, by a double of it ----


class Fused:
    """What `numtrn.fused` promises, in NumPy's float32; notes what it was called with."""

    def __init__(self):
        self.calls = []

    def pair_sums(self, launcher, spins, *, same, exchange, tf32=False):
        self.calls.append((len(spins), same, exchange, tf32))
        assert all(b.dtype == np.float32 and o.dtype == v.dtype == np.float64 for b, o, v in spins)
        return exact([(b, o, v) for b, o, v in spins]).astype(np.float32).astype(float)

    def block_sums(self, launcher, integrals, first, second=None, *, exchange):
        self.calls.append(("given", second is None, exchange))
        assert integrals.dtype == np.float32
        other = first if second is None else second
        d = np.add.outer(first[0], other[0])[:, :, None, None] - np.add.outer(first[1], other[1])
        t = integrals.transpose(0, 2, 1, 3).astype(float)
        direct = (t * t / d).sum(axis=(2, 3))
        return np.stack([direct, (t * t.swapaxes(2, 3) / d).sum(axis=(2, 3)) if exchange else 0 * direct])


@pytest.fixture
def fused(monkeypatch):
    double = Fused()
    monkeypatch.setattr(pairs, "pair_sums", double.pair_sums)
    monkeypatch.setattr(pairs, "block_sums", double.block_sums)
    return double


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("precision", ["float32", "tfloat32"])
def test_fused_in_fp32(fused, dtype, precision):
    rng = np.random.default_rng(13)
    alpha, beta = orbitals(rng, 4, 6, 10, dtype), orbitals(rng, 3, 7, 10, dtype)
    for spins in ([alpha], [alpha, beta]):
        within(computed(spins, precision=precision), spins)
    tf32 = precision == "tfloat32"
    assert fused.calls == [(1, True, True, tf32), (2, False, False, tf32)]


def test_float32_at_full_precision_is_fused(fused):
    spins = [orbitals(np.random.default_rng(14), 4, 6, 10, "float32")]
    sums = computed(spins)
    within(sums, spins)
    assert (sums.errors < 1e-3 * np.abs(sums.value[0]).max()).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda b, o, v: (b, o * 0, v * 0), "meet in energy"),
        (lambda b, o, v: (b, o - 1e9, v - 1e9), "meet in energy"),
        (lambda b, o, v: (b * np.float32(1e20), o, v), "the largest element is"),
        (lambda b, o, v: (b * np.float32(1e-20), o, v), "the largest element is"),
        (lambda b, o, v: (b * np.float32(np.nan), o, v), "the largest element is nan"),
    ],
)
def test_what_fp32_does_not_serve(fused, change, text):
    spins = [change(*orbitals(np.random.default_rng(15), 3, 4, 5, "float32"))]
    with pytest.raises(Declined, match=text):
        computed(spins)
    assert not fused.calls


def test_given_integrals_in_fp32(fused):
    b, e_occ, e_vir = orbitals(np.random.default_rng(16), 3, 4, 5)
    t = np.einsum("iaQ,jbQ->iajb", b, b).astype(np.float32)
    with numtrn.enabled(min_work=0, verify=True) as session:
        found = numtrn.mp2.energy(t, e_occ, e_vir)
    (call,) = session.calls
    assert (call.kernel, fused.calls) == ("mp2_pairs", [("given", True, True)])
    assert abs(found.opposite_spin - float(exact([(b, e_occ, e_vir)])[0].sum())) < 1e-3
