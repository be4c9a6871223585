"""Whole calls with NEURON_LOGICAL_NC_CONFIG=2: launches are of two physical cores, nothing else changes."""

import numpy as np
import pytest

import numtrn
from numtrn import interp, mp2
from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.plan import make_plan
from numtrn.precision import choose
from numtrn.request import Gemm
from numtrn.targets import interpreter, select
from numtrn.targets.programs import record_of

CHIPS_OF_TWO = ("trn2", "trn3")
U = {"float32": 2.0**-24, "float64": 2.0**-53, "complex128": 2.0**-53}


@pytest.fixture
def joined(monkeypatch):
    """Sets the variable, and notes on how many cores each kernel runs."""
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")
    launched = []

    def watched(kernel, *arguments, **settings):
        run = interp.simulate(kernel, *arguments, **settings)
        launched.append((kernel.__name__, 1 + len(run.others)))
        return run

    class Watched:
        simulate = staticmethod(watched)
        modules = interp.modules

    monkeypatch.setattr(interpreter, "interp", Watched)
    return launched


def operands(dtype, *shapes):
    rng = np.random.default_rng(11)
    for shape in shapes:
        real = rng.standard_normal(shape) * 2.0 ** rng.integers(-8, 9, shape)
        imaginary = rng.standard_normal(shape) if dtype == "complex128" else 0
        yield (real + 1j * imaginary if dtype == "complex128" else real).astype(dtype)


def error(found, a, b, dtype):
    """Largest error in units of u |A||B|, by arithmetic of 64 bits."""
    wide = np.clongdouble if dtype == "complex128" else np.longdouble
    exact = np.einsum("...ij,...jk->...ik", a.astype(wide), b.astype(wide))
    size = np.einsum("...ij,...jk->...ik", abs(a).astype(np.longdouble), abs(b).astype(np.longdouble))
    return float((abs(found - exact) / (size * U[dtype])).max())


@pytest.mark.parametrize("chip", CHIPS_OF_TWO)
@pytest.mark.parametrize("dtype", U)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((130, 70), (70, 90)),
        ((1, 70), (70, 90)),
        ((130, 70), (70, 1)),
        ((33, 1), (1, 17)),
        ((3, 20, 130), (3, 130, 40)),
        ((257, 129), (129, 513)),
    ],
)
def test_products_keep_the_promise(joined, chip, dtype, left, right):
    a, b = operands(dtype, left, right)
    with numtrn.enabled(target="interpreter", chip=chip, min_work=0, strict=True) as session:
        found = np.matmul(a, b)
    (call,) = session.calls
    assert call.route == "kernel"
    assert error(found, a, b, dtype) <= choose(dtype, "full").bound(a.shape[-1])
    assert joined
    assert {cores for _, cores in joined} == {2}


def calls():
    """Calls of all kinds, of small integers, so that fp32 has no error."""
    blas = pytest.importorskip("scipy.linalg.blas")
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-9, 10, shape).astype(np.float64) for shape in ((150, 90), (150, 150)))
    lower = np.tril(b) + 200 * np.eye(150)
    for dtype in (np.float32, np.float64):
        x, y, z = (each.astype(dtype) for each in (a, b, lower))
        prefix = "s" if dtype == np.float32 else "d"
        yield getattr(blas, f"{prefix}syrk")(1.0, x)
        yield getattr(blas, f"{prefix}syr2k")(1.0, x, x[::-1])
        yield getattr(blas, f"{prefix}symm")(1.0, y, x)
        yield getattr(blas, f"{prefix}trmm")(1.0, z, x)
        yield np.einsum("ij,kj,kl->il", x, x, y)
    yield blas.dtrsm(1.0, lower, a)
    yield a[:, :40] @ (a[:40] + 1j * a[40:80])


def test_every_kind_of_call_has_the_bits_of_one_core(joined, monkeypatch):
    found = []
    for lnc in ("1", "2"):
        monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", lnc)
        joined.clear()
        with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
            found.append(list(calls()))
        assert {cores for _, cores in joined} == {int(lnc)}
        kernels = {name for name, _ in joined}
        assert {call.route for call in session.calls} == {"kernel"}
        assert kernels >= {"rank_k", "symm", "trmm", "gemm", "sliced_gemm", "digit_planes", "sum_planes"}
    assert all(one.tobytes() == two.tobytes() for one, two in zip(*found, strict=True))


def test_a_solve_and_pair_energies_in_float32(joined):
    blas = pytest.importorskip("scipy.linalg.blas")
    rng = np.random.default_rng(3)
    lower = (np.tril(rng.standard_normal((200, 200))) / 20 + np.eye(200)).astype(np.float32)
    columns = rng.standard_normal((200, 30)).astype(np.float32)
    b = rng.standard_normal((3, 9, 20)).astype(np.float32)
    energies = np.linspace(-2, -1, 3), np.linspace(0.5, 2, 9)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True, precision="float32") as session:
        solution = blas.strsm(1.0, lower, columns, lower=1)
        found = mp2.df_energy(b, *energies)
    assert [call.route for call in session.calls] == ["kernel"] * 2
    residual = abs(lower.astype(float) @ solution - columns)
    assert residual.max() < 1e-5
    wide = b.astype(np.float64)
    t = np.einsum("iaQ,jbQ->ijab", wide, wide)
    occupied, virtual = energies
    gap = occupied[:, None, None, None] + occupied[:, None, None]
    gap = gap - virtual[:, None] - virtual
    exact = (t * (2 * t - t.swapaxes(2, 3)) / gap).sum()
    assert np.isclose(found.total, exact, rtol=1e-5)
    assert {name for name, _ in joined} >= {"trsm", "mp2_pairs"}
    assert {cores for _, cores in joined} == {2}


def test_several_logical_cores(joined):
    a, b = operands("float64", (600, 64), (64, 300))
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as one:
        alone = a @ b
    with numtrn.enabled(target="interpreter", min_work=0, strict=True, cores=3) as three:
        assert (a @ b).tobytes() == alone.tobytes()
    assert len(one.calls[0].core_launches) == 1
    assert len(three.calls[0].core_launches) == 3
    assert {cores for _, cores in joined} == {2}


@pytest.mark.parametrize(
    ("chip", "told", "text"),
    [
        ("trn1", "2", "joins pairs of cores, which trn1 does not; set it to 1"),
        ("trn2", "3", "takes 1 or 2; got '3'"),
        ("trn3", "two", "takes 1 or 2; got 'two'"),
    ],
)
def test_what_no_chip_has_is_refused(monkeypatch, chip, told, text):
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", told)
    with pytest.raises(numtrn.TargetUnavailableError, match=text):
        numtrn.enabled(target="interpreter", chip=chip)


def test_logical_cores_have_memories_of_their_own(monkeypatch):
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")
    target = select("interpreter", "trn2", cores=4)
    assert [target.place(np.ones(3), core=core).hbm for core in range(4)] == [0, 1, 2, 3]


def test_programs_of_two_cores_are_other_programs(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path))

    class Compiling:
        name = "neuron"

        def __init__(self, lnc):
            self.chip = CHIPS["trn2"].of_cores(lnc)

    assert record_of(Compiling(1)).key != record_of(Compiling(2)).key


@pytest.mark.parametrize("chip", CHIPS_OF_TWO)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plans_predict_less_on_two(chip, dtype):
    """Never less than half of the device's time, and the link and the calls as they are."""
    request = Gemm(function="numpy.matmul", dtype=dtype, batch=1, m=2048, k=2048, n=2048)
    one, two = (
        make_plan(request, Options(chip=chip, min_work=0).on(1, lnc), "neuron").prediction for lnc in (1, 2)
    )
    assert 0.5 * one.device <= two.device < 0.75 * one.device
    assert (two.link, two.fixed) == (one.link, one.fixed)
