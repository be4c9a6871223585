"""Several cores: the same bits for any number of them, launches where they belong, failures awaited."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import get_blas_funcs, solve_triangular
from scipy.linalg.blas import dsyrk, dtrmm, strsm

import numtrn
from numtrn import mp2
from numtrn.errors import KernelError
from numtrn.machine import CHIPS
from numtrn.plan import ladder, tiling, words
from numtrn.targets.interpreter import Interpreter

DTYPES = ("float32", "float64", "complex64", "complex128")
CORES = (1, 2, 3, 8)


def numbers(rng, dtype, *shape):
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x).astype(dtype)


def on_cores(cores, function, *arrays, **settings):
    with numtrn.enabled(target="interpreter", min_work=0, strict=True, cores=cores, **settings) as session:
        value = function(*arrays)
    (call,) = session.calls
    assert call.route == "kernel", call.reason
    assert sum(call.core_launches) == call.launches
    return value, call


def everywhere(function, *arrays, cores=CORES, **settings):
    """The result, which must have the same bits for any number of cores, and the calls by their number."""
    results = {count: on_cores(count, function, *arrays, **settings) for count in cores}
    first = np.asarray(results[cores[0]][0])
    for count, (value, _) in results.items():
        assert np.asarray(value).tobytes() == first.tobytes(), f"{count} cores"
    return first, {count: call for count, (_, call) in results.items()}


@pytest.fixture
def small_launches(monkeypatch):
    """Launches of at most 64 rows and columns, so that small products are many of them."""
    monkeypatch.setattr(words, "LIMITS", ((64, 128, 64),))
    monkeypatch.setattr(tiling, "GEMM_LIMIT", (64, 128, 64))
    _forget()
    yield
    _forget()


def _forget():
    for cached in (
        ladder._spread_gemm,
        ladder._spread_words,
        ladder._products,
        ladder._launch,
        ladder._karatsuba,
    ):
        cached.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_launch_is_shared(dtype):
    rng = np.random.default_rng(1)
    a, b = numbers(rng, dtype, 530, 130), numbers(rng, dtype, 130, 140)
    value, calls = everywhere(np.matmul, a, b)
    assert np.allclose(value, np.matmul(a, b), rtol=1e-3, atol=1e-3)
    assert len(calls[1].core_launches) == 1
    assert len(calls[3].core_launches) == 3
    assert all(calls[8].core_launches)


@pytest.mark.usefixtures("small_launches")
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.integers(1, 2),
    m=st.integers(1, 150),
    k=st.integers(1, 270),
    n=st.integers(1, 140),
    cores=st.sampled_from([2, 3, 8]),
    fast=st.booleans(),
)
def test_any_shape_gives_the_same_bits(dtype, batch, m, k, n, cores, fast):
    rng = np.random.default_rng([batch, m, k, n])
    a = numbers(rng, dtype, batch, m, k)
    b = numbers(rng, dtype, batch, n, k).swapaxes(1, 2) if fast else numbers(rng, dtype, batch, k, n)
    value, calls = everywhere(np.matmul, a, b, cores=(1, cores))
    assert np.allclose(value, np.matmul(a, b), rtol=1e-2, atol=1e-2)
    assert len(calls[cores].core_launches) <= cores


@pytest.mark.usefixtures("small_launches")
@pytest.mark.parametrize("precision", ["tfloat32x3", "float16x3", "bfloat16", "fast"])
def test_other_precisions(precision):
    rng = np.random.default_rng(2)
    a, b = numbers(rng, "float64", 150, 150), numbers(rng, "float64", 150, 100)
    everywhere(np.matmul, a, b, precision=precision)


@pytest.mark.parametrize("shapes", ["fine", "few"])
def test_shapes_of_the_ladder(shapes):
    rng = np.random.default_rng(3)
    for dtype in ("float32", "float64"):
        a, b = numbers(rng, dtype, 700, 130), numbers(rng, dtype, 130, 90)
        everywhere(np.matmul, a, b, cores=(1, 3), shapes=shapes)


@pytest.mark.usefixtures("small_launches")
def test_level_3():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((200, 150)), rng.standard_normal((160, 90))
    lower = np.tril(rng.standard_normal((160, 160))) + 20 * np.eye(160)
    value, calls = everywhere(lambda x: dsyrk(1.0, x), a)
    assert np.allclose(value, np.triu(a @ a.T))
    assert len(calls[3].core_launches) == 3
    value, _ = everywhere(lambda t, x: dtrmm(1.0, t, x, lower=1), lower, b)
    assert np.allclose(value, lower @ b)
    value, _ = everywhere(lambda t, x: solve_triangular(t, x, lower=True), lower, b)
    assert np.allclose(lower @ value, b)
    single = [x.astype(np.float32) for x in (lower, b)]
    everywhere(lambda t, x: strsm(1.0, t, x, lower=1), *single, cores=(1, 3))


@pytest.mark.usefixtures("small_launches")
def test_karatsubas_form(monkeypatch):
    monkeypatch.setattr(ladder, "prefers_karatsuba", lambda *_: True)
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((150, 256)), rng.standard_normal((256, 150))
    _, calls = everywhere(np.matmul, a, b)
    assert all("Karatsuba" in call.scheme for call in calls.values())
    assert len(calls[3].core_launches) == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("unrestricted", [False, True])
def test_pair_energies(dtype, unrestricted):
    rng = np.random.default_rng(6)
    spins = [
        ((rng.standard_normal((o, 70, 60)) * 0.1).astype(dtype), -1 - rng.random(o), 1 + rng.random(70))
        for o in ((7, 5) if unrestricted else (7,))
    ]
    given = zip(*spins, strict=True) if unrestricted else spins[0]
    given = [list(x) if unrestricted else x for x in given]

    def energies(cores):
        with numtrn.enabled(target="interpreter", min_work=0, strict=True, cores=cores) as session:
            found = mp2.df_energy(*map(tuple, given) if unrestricted else given, pairs=True)
        assert all(call.route == "kernel" for call in session.calls)
        return found, session.calls

    one, _ = energies(1)
    for cores in (2, 3, 8):
        found, calls = energies(cores)
        assert vars_of(found) == vars_of(one)
        assert max(len(call.core_launches) for call in calls) > 1


def vars_of(value):
    """Every figure, with all its digits."""
    if is_dataclass(value):
        return [vars_of(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple):
        return [vars_of(one) for one in value]
    return value.tobytes() if isinstance(value, np.ndarray) else value


def test_operands_go_to_each_memory_once():
    rng = np.random.default_rng(7)
    a, b = numbers(rng, "float32", 1024, 128), numbers(rng, "float32", 128, 128)
    _, calls = everywhere(np.matmul, a, b, cores=(1, 2, 4))
    assert calls[2].bytes == calls[1].bytes == a.nbytes + b.nbytes + 4 * 1024 * 128
    assert calls[4].bytes == calls[1].bytes + b.nbytes, "B goes to a second stack of HBM"
    _, trn1 = everywhere(np.matmul, a, b, cores=(1, 2), chip="trn1")
    assert trn1[2].bytes == trn1[1].bytes + b.nbytes, "cores of trn1 share no HBM"


def test_a_launch_reads_its_own_memory():
    target = Interpreter(CHIPS["trn2"], cores=4)
    a = np.ones((128, 128), np.float32)
    there = target.place(a, core=2)
    parameters = (1, 0, 0, 0)
    assert target.launch("gemm", (there, target.place(a, core=3)), parameters, core=3)[0, 0] == 128
    with pytest.raises(KernelError, match="on core 0 reads what is in HBM 0; got an operand in HBM 1"):
        target.launch("gemm", (there, there), parameters)
    with pytest.raises(KernelError, match="a core is a number from 0 to 3; got 4"):
        target.place(a, core=4)
    assert target.launched == {3: 1}


@pytest.mark.usefixtures("small_launches")
def test_the_target_counts_what_the_session_says(monkeypatch):
    targets = []
    genuine = Interpreter.__init__

    def made(self, *args):
        genuine(self, *args)
        targets.append(self)

    monkeypatch.setattr(Interpreter, "__init__", made)
    a = np.random.default_rng(8).standard_normal((200, 200))
    _, call = on_cores(3, np.matmul, a, a.T.copy())
    assert tuple(targets[-1].launched[core] for core in range(3)) == call.core_launches
    assert min(call.core_launches) > 0


# ---- Failures ----


class Running:
    """Launches, of which some may fail; knows how many run."""

    def __init__(self, monkeypatch, happens):
        self.now, self.ended, self._lock = 0, 0, threading.Lock()
        genuine = Interpreter.keep

        def keep(target, kernel, arrays, parameters, core=0):
            with self._lock:
                self.now += 1
            try:
                happens(core, kernel)
                return genuine(target, kernel, arrays, parameters, core)
            finally:
                with self._lock:
                    self.now -= 1
                    self.ended += 1

        monkeypatch.setattr(Interpreter, "keep", keep)


@pytest.mark.usefixtures("small_launches")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_core_fails_and_the_others_are_awaited(dtype, monkeypatch):
    others = threading.Event()

    def happens(core, kernel):
        if core == 1 and kernel in ("gemm", "sliced_gemm"):
            assert others.wait(10)
            raise OSError("core 1 lost")
        if core != 1:
            others.set()
        time.sleep(0.1)

    running = Running(monkeypatch, happens)
    rng = np.random.default_rng(9)
    a, b, c = numbers(rng, dtype, 200, 300), numbers(rng, dtype, 300, 200), numbers(rng, dtype, 200, 200)
    before, threads = c.copy(), threading.active_count()
    with (
        numtrn.enabled(target="interpreter", min_work=0, strict=True, cores=3) as session,
        pytest.raises(KernelError, match="core 1 lost"),
    ):
        np.matmul(a, b, out=c)
    assert running.now == 0
    assert running.ended > 1  # the others' launches too
    assert np.array_equal(c, before)
    assert session.counts["failed"] == 1
    assert threading.active_count() <= threads + 1, "no thread of a core is left"


@pytest.mark.usefixtures("small_launches")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_interrupt_waits_for_all_cores(dtype, monkeypatch):
    sent = threading.Event()

    def happens(core, kernel):
        if core == 2 and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)

    running = Running(monkeypatch, happens)
    rng = np.random.default_rng(10)
    a, b, c = numbers(rng, dtype, 200, 300), numbers(rng, dtype, 300, 200), numbers(rng, dtype, 200, 200)
    before = c.copy()
    with (
        numtrn.enabled(target="interpreter", min_work=0, cores=3),
        pytest.raises(KeyboardInterrupt),
    ):
        np.matmul(a, b, out=c)
    assert sent.is_set()
    assert running.now == 0
    assert np.array_equal(c, before)
    monkeypatch.undo()
    assert np.allclose(on_cores(3, np.matmul, a, b)[0], a @ b, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("small_launches")
@pytest.mark.parametrize("what", ["one block of many pieces along K", "planes before products", "pairs"])
def test_nothing_is_launched_after_a_failure(what, monkeypatch):
    rng = np.random.default_rng(12)
    lock, begun, after = threading.Lock(), [], []

    def happens(core, kernel):
        with lock:
            (after if None in begun else begun).append((core, kernel))
            if core == 1 and len(begun) > 3 and not after:
                begun.append(None)
                raise MemoryError("core 1 lost")
        time.sleep(0.005)

    if what == "planes before products":
        monkeypatch.setattr(ladder, "prefers_karatsuba", lambda *_: True)
    if what == "pairs":
        b, occupied, virtual = rng.standard_normal((6, 70, 60)) * 0.1, -1 - rng.random(6), 1 + rng.random(70)

        def call():
            return mp2.df_energy(b, occupied, virtual)
    else:
        x, y = rng.standard_normal((200, 3000)), rng.standard_normal((3000, 200))

        def call():
            return x @ y

    Running(monkeypatch, happens)
    with (
        numtrn.enabled(target="interpreter", min_work=0, strict=True, cores=3),
        pytest.raises(KernelError, match="core 1 lost"),
    ):
        call()
    assert begun[-1] is None
    assert not after


@pytest.mark.usefixtures("small_launches")
def test_threads_with_blocks_of_their_own():
    rng = np.random.default_rng(13)
    pairs = [(numbers(rng, dtype, 150, 200), numbers(rng, dtype, 200, 130)) for dtype in DTYPES]
    alone = [on_cores(1, np.matmul, *pair)[0] for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: on_cores(3, np.matmul, *pair, keep=True), pairs))
    for value, (together, call) in zip(alone, found, strict=True):
        assert value.tobytes() == together.tobytes()
        assert len(call.core_launches) == 3


@pytest.mark.usefixtures("small_launches")
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_argument_of_level_3(data):
    dtype, cores = data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from([2, 5, 128]))
    m, n, k = (data.draw(st.sampled_from([1, 63, 65, 129])) for _ in range(3))
    name = data.draw(st.sampled_from(["gemm", "syrk", "trmm", "symm"]))
    rng = np.random.default_rng([m, n, k])
    lower, scale = data.draw(st.integers(0, 1)), data.draw(st.sampled_from([1.0, -1.5]))
    function = get_blas_funcs(name, dtype=np.dtype(dtype))
    a = np.asfortranarray(numbers(rng, dtype, m, k if name in ("gemm", "syrk") else m))
    b, c = (np.asfortranarray(numbers(rng, dtype, *shape)) for shape in ((k, n), (m, n)))
    transposed = data.draw(st.integers(0, 1))
    call = {
        "gemm": lambda: function(scale, a, b, beta=0.5, c=c.copy(order="F"), overwrite_c=lower),
        "syrk": lambda: function(scale, a, lower=lower),
        "trmm": lambda: function(scale, a, c, lower=lower, trans_a=transposed, diag=1 - lower),
        "symm": lambda: function(scale, a + a.T, c, lower=lower),
    }[name]
    found = {}
    for count in (1, cores):
        with numtrn.enabled(target="interpreter", min_work=0, cores=count) as session:
            value = call()
        verdicts = [(one.route, one.reason, one.slices, one.bound) for one in session.calls]
        found[count] = value.tobytes(), verdicts
    assert found[1] == found[cores]
    oracle = call()
    terms = max(m, n, k) * 4
    unit = np.finfo(dtype).eps
    largest = max(np.abs(x).max() for x in (a, b, c))
    assert np.abs(value - oracle).max() <= 8 * terms * unit * largest * max(1.0, 2 * largest)


# ---- The setting ----


@pytest.mark.parametrize("value", [0, 129, 2.5, "many", True, np.True_, pytest.param(10**400, id="huge")])
def test_a_wrong_number_of_cores(value):
    with pytest.raises((TypeError, ValueError), match="cores= takes a whole number of cores from 1 to 128"):
        numtrn.enabled(cores=value)


def test_the_environment_says_how_many(monkeypatch):
    monkeypatch.setenv("NUMTRN_CORES", "2")
    a = np.ones((1024, 128), np.float32)
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        a @ a[:128]
        assert "on 2 cores" in str(numtrn.explain(np.matmul, a, a[:128]))
    assert session.calls[0].core_launches == (1, 1)


def test_planes_that_do_not_fit_are_made_again(small_launches, monkeypatch):
    rng = np.random.default_rng(11)
    a, b = rng.standard_normal((200, 200)), rng.standard_normal((200, 200))
    kept, call = on_cores(3, np.matmul, a, b)
    monkeypatch.setattr("numtrn.engine.products.KEEP_BYTES", 0)
    again, more = on_cores(3, np.matmul, a, b)
    assert kept.tobytes() == again.tobytes()
    assert more.launches > call.launches
