"""Few compiled programs: how many a run launches, the record of them, and that results keep their promise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
from numtrn import api, cli, compiling, data, demo
from numtrn.errors import CacheWarning
from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.plan import make_plan
from numtrn.plan.ladder import DIGITS, GUARDS, Cutting, _launch
from numtrn.plan.programs import programs_of
from numtrn.plan.tiling import MAX_INSTRUCTIONS
from numtrn.plan.words import LONG, tile_least
from numtrn.request import Gemm, Mp2
from numtrn.targets import launchers, programs
from numtrn.targets.interpreter import Interpreter
from tests.doubles.fixtures import neuron_host  # noqa: F401
from tests.precision import oracle
from tests.targets.conftest import usable

MOST = 12
"""Programs of the demo; issue 8."""

SECOND = """
import sys
from numtrn import api, data, demo
from tests.test_programs import Compiling
api.select = lambda target, chip, cores=None: Compiling(chip)
session = demo.run(data.load(sys.argv[1]), min_work=0, strict=True).session
print(len(session.programs), sum(call.cold for call in session.calls))
"""


class Compiling(Interpreter):
    """The interpreter in the place of a target that compiles."""

    name = "neuron"

    def __init__(self, chip="trn2"):
        super().__init__(CHIPS[chip])


@pytest.fixture
def compiling_target(monkeypatch, tmp_path):
    """Blocks run on `Compiling`, with a cache of their own."""
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(api, "select", lambda target, chip, cores=None: Compiling(chip))
    monkeypatch.setattr(compiling, "select", lambda target, chip, cores=None: Compiling(chip))
    programs._record.cache_clear()
    yield tmp_path
    programs._record.cache_clear()


def cold(session):
    return sum(call.cold for call in session.calls)


def of_mp2(nocc, nvir, naux, **settings):
    request = Mp2(function="f", dtype="float64", nocc=(nocc, nocc), nvir=(nvir, nvir), naux=naux)
    return programs_of(make_plan(request, Options(min_work=0, shapes="few", **settings), "interpreter"))


# ---- How many ----


def test_water_compiles_few_programs_and_a_second_process_none(compiling_target):
    result = demo.run(data.load("water"), min_work=0, strict=True)
    assert result.difference <= 1e-9
    count = len(result.session.programs)
    assert cold(result.session) == count <= MOST
    assert f"{count} programs: {count} compiled here for the first time, 0 known" in str(result.session)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])}
    arguments = [sys.executable, "-c", SECOND, "water"]
    text = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout
    assert text.split() == [str(count), "0"]


@pytest.mark.long
def test_the_demo_compiles_at_most_twelve_programs(compiling_target):
    results = [demo.run(data.load(name), min_work=0, strict=True) for name in data.MOLECULES]
    assert all(result.difference <= 1e-9 for result in results)
    launched = frozenset().union(*(result.session.programs for result in results))
    assert sum(cold(result.session) for result in results) == len(launched) <= MOST
    programs._record.cache_clear()  # as a new process finds it
    assert all(program in programs.record_of(Compiling()) for program in launched)


@pytest.mark.long
@pytest.mark.parametrize("launcher", launchers.LAUNCHERS)
def test_the_demo_compiles_at_most_twelve_programs_by_every_launcher(
    neuron_host,  # noqa: F811
    monkeypatch,
    launcher,
):
    host = neuron_host(**usable(launcher))
    monkeypatch.setenv("NUMTRN_LAUNCHER", launcher)
    results = [demo.run(data.load(name), target="neuron", min_work=0, strict=True) for name in data.MOLECULES]
    assert all(result.difference <= 1e-9 for result in results)

    assert 5 < len(host.device.compiled) <= MOST


@pytest.mark.parametrize("launcher", launchers.LAUNCHERS)
def test_planes_of_both_sides_are_the_same_where_that_is_no_other_program(
    neuron_host,  # noqa: F811
    monkeypatch,
    launcher,
):
    host = neuron_host(**usable(launcher))
    monkeypatch.setenv("NUMTRN_LAUNCHER", launcher)
    a, b = np.random.default_rng(3).standard_normal((2, 100, 120))
    with numtrn.enabled(target="neuron", min_work=0, strict=True) as session:
        a @ b.T
        compiled = len(host.device.compiled)
        square = a @ a.T
    assert np.array_equal(square, square.T)
    assert len(host.device.compiled) == compiled, "the products of A B^T"
    assert host.device.launched[-3:].count("digit_planes") == (2 if launcher == "torch" else 1)
    assert session.counts["kernel"] == 2


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        ((5, 36, 118), 2),
        ((21, 171, 639), 3),
        ((16, 112, 384), 3),
        ((64, 448, 1536), 6),
        ((96, 672, 2304), 6),
        ((200, 2000, 6600), 6),
    ],
)
@pytest.mark.parametrize("chip", list(CHIPS))
def test_mp2_of_any_size_has_few_programs(shape, most, chip):
    assert len(of_mp2(*shape, chip=chip)) <= most


def test_molecules_of_similar_size_share_their_programs():
    shapes = (60, 430, 1400), (64, 448, 1536), (70, 500, 1700), (80, 600, 2000)
    assert len({program for shape in shapes for program in of_mp2(*shape)}) <= 6


def test_a_plan_lists_what_its_run_launches(compiling_target):
    rng = np.random.default_rng(0)
    b = rng.standard_normal((4, 40, 60))
    with numtrn.enabled(min_work=0, strict=True) as session:
        numtrn.mp2.df_energy(b, np.arange(-4.0, 0.0), np.arange(1.0, 41.0))
    listed = programs_of(
        make_plan(
            Mp2(function="f", dtype="float64", nocc=(4, 4), nvir=(40, 40), naux=60),
            Options(min_work=0),
            "neuron",
        )
    )
    assert session.programs == set(listed)
    assert cold(session) == len(listed)


# ---- The ladder ----


@pytest.mark.parametrize("chip", list(CHIPS))
@pytest.mark.parametrize("rung", DIGITS, ids=str)
def test_every_rung_is_a_launch_as_it_stands(rung, chip):
    t = _launch(rung, 128, chip, "general")
    assert t is not None
    assert (t.batch, t.m, t.k, t.n) == rung[:4]
    assert t.instructions <= LONG


@pytest.mark.parametrize("shape", GUARDS)
def test_every_guard_is_a_launch_as_it_stands(shape):
    t = tile_least(1, *shape)
    assert ((t.m, t.k, t.n), t.pieces) == (shape, (1, 1, 1, 1))


extents = st.integers(1, 5000)


@given(batch=st.integers(1, 40), m=extents, k=extents, n=extents, slices=st.integers(2, 16))
@settings(max_examples=200, deadline=None)
def test_launches_cover_a_product(batch, m, k, n, slices):
    cut = Cutting("few", CHIPS["trn2"])
    for parts in (1, 2):
        for t in cut.products(batch, m, k, n, slices, parts):
            size, pieces = (t.batch, t.m, t.k, t.n), t.pieces
            for extent, each, count in zip((batch, m, k, n), size, pieces, strict=True):
                assert each * (count - 1) < extent <= each * count
            assert t.slices >= slices
            assert t.k * t.slices * (128 * parts) ** 2 + 2**24 < 2**31
    t = cut.gemm(batch, m, k, n, 4)
    assert t.batch * t.pieces[0] >= batch
    assert t.instructions <= MAX_INSTRUCTIONS


SHAPES = st.tuples(*(st.sampled_from((1, 31, 32, 33, 127, 128, 129, 257)) for _ in range(3)))


@given(shape=SHAPES, seed=st.integers(0, 99), wide=st.booleans(), kind=st.sampled_from("dD"))
@settings(max_examples=12, deadline=None)
def test_the_promise_holds_at_the_edges_of_launches(shape, seed, wide, kind):
    m, k, n = shape
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    if wide:  # asks for more digits
        a = a * 2.0 ** rng.integers(-15, 15, (m, k))
    with numtrn.enabled(target="interpreter", shapes="few", min_work=0, strict=True) as session:
        c = a.astype(kind) @ b.astype(kind)
    (call,) = session.calls
    assert call.route == "kernel"
    bound = float(call.bound.split()[0])
    assert oracle.error(c.real, oracle.product(a, b), oracle.size(a, b)) <= bound


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_one_matrix_for_a_whole_batch_is_one_product(dtype):
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((6, 5, 30)).astype(dtype), rng.standard_normal((30, 9)).astype(dtype)
    with numtrn.enabled(target="interpreter", shapes="few", min_work=0, strict=True, verify=True) as session:
        c = a @ b
    (call,) = session.calls
    assert call.shapes == ((6, 5, 30), (6, 30, 9))
    assert call.launches <= 9
    assert c.shape == (6, 5, 9)
    np.testing.assert_allclose(c, np.matmul(a, b), rtol=0, atol=1e-4 if a.itemsize < 16 else 1e-12)


def test_batches_symmetric_and_triangular_products_keep_their_promise():
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((5, 40, 50)), rng.standard_normal((5, 50, 60))
    spd = a[0] @ a[0].T + 50 * np.eye(40)
    with numtrn.enabled(target="interpreter", shapes="few", min_work=0, strict=True, verify=True) as session:
        batched, square = a @ b, a[0] @ a[0].T
        factor = np.linalg.cholesky(spd)
        single = a.astype(np.float32) @ b.astype(np.float32)
    assert session.counts["failed"] == 0
    assert np.array_equal(square, square.T)
    np.testing.assert_allclose(batched, a @ b, atol=1e-12)
    np.testing.assert_allclose(factor @ factor.T, spd, atol=1e-11)
    np.testing.assert_allclose(single, a @ b, atol=1e-4)


def test_shapes_are_a_setting(monkeypatch):
    product = Gemm(function="f", dtype="float64", m=100, k=100, n=100)
    plans = [
        make_plan(product, Options(min_work=0, shapes=shapes), target).tilings
        for shapes, target in [
            (None, "interpreter"),
            ("few", "interpreter"),
            (None, "neuron"),
            ("fine", "neuron"),
        ]
    ]
    assert plans[0] == plans[3] != plans[1] == plans[2]
    monkeypatch.setenv("NUMTRN_SHAPES", "few")
    assert "shapes='few'" in repr(numtrn.enabled(target="interpreter"))
    with pytest.raises(ValueError, match="shapes= takes one of 'fine', 'few'; got 'small'"):
        numtrn.enabled(shapes="small")


def test_the_interpreter_compiles_nothing():
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        np.ones((40, 40)) @ np.ones((40, 40))
    assert cold(session) == 0
    assert f"{len(session.programs)} distinct programs; the interpreter compiles none" in str(session)


# ---- The record ----


def a_program(name="gemm"):
    return programs.Program(name, (1, 0), (((128, 128), "float32"),))


def test_what_is_compiled_is_known_to_the_next_process(compiling_target):
    record = programs.record_of(Compiling())
    assert record.add(a_program())
    assert not record.add(a_program())
    assert (compiling_target / programs.NAME).stat().st_mode & 0o077 == 0
    programs._record.cache_clear()
    assert a_program() in programs.record_of(Compiling())
    assert a_program("other") not in programs.record_of(Compiling())


ADDING = """
import sys
from numtrn.targets import programs
record = programs.Record("the same SDK")
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    assert record.add(programs.Program(sys.argv[1], (number,), ()))
"""


def test_nothing_is_lost_where_two_processes_write_the_record(compiling_target):
    adding = [
        subprocess.Popen(
            [sys.executable, "-c", ADDING, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("gemm", "digit_planes")
    ]
    for one in adding:
        assert one.stdout.readline() == "ready\n"
    for one in adding:
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in adding:
        one.communicate(timeout=60)
        assert one.returncode == 0
    record = programs.Record("the same SDK")
    for name in ("gemm", "digit_planes"):
        assert all(programs.Program(name, (number,), ()) in record for number in range(40))


def test_other_chips_sdks_and_kernels_know_nothing_of_it(compiling_target, monkeypatch):
    programs.record_of(Compiling()).add(a_program())
    assert a_program() not in programs.record_of(Compiling("trn1"))
    monkeypatch.setattr(programs, "sources_hash", lambda: "others")
    assert a_program() not in programs.record_of(Compiling())
    programs.record_of(Compiling()).add(a_program("other"))
    monkeypatch.undo()


@pytest.mark.parametrize("body", [[], {"a": 1}, {"a": [1]}, "text"])
def test_a_record_of_another_form_is_not_used(compiling_target, body):
    programs.store.write(programs.NAME, body)
    with pytest.warns(CacheWarning, match="is no record of programs and is not used"):
        assert a_program() not in programs.record_of(Compiling())


def test_a_damaged_record_is_set_aside(compiling_target):
    programs.record_of(Compiling()).add(a_program())
    path = compiling_target / programs.NAME
    text = json.loads(path.read_text())
    text["body"] = {key: ["forged"] for key in text["body"]}
    path.write_text(json.dumps(text))
    programs._record.cache_clear()
    with pytest.warns(CacheWarning, match="checksum does not match"):
        assert a_program() not in programs.record_of(Compiling())
    assert (compiling_target / f"{programs.NAME}.aside").exists()


# ---- The command ----

SMALL = ["compile", "--for", "mp2", "--nocc", "5", "--nvir", "20", "--naux", "60"]


def test_compile_lists_then_compiles_then_has_nothing_to_do(compiling_target, capsys):
    assert cli.main([*SMALL, "--dry"]) == 0
    assert "2 programs, 2 not known to be compiled on this machine" in capsys.readouterr().out
    assert cli.main(SMALL) == 0
    assert capsys.readouterr().out.endswith("2 compiled, 0 failed\n")
    programs._record.cache_clear()
    assert cli.main(SMALL) == 0
    assert "2 programs, 0 not known" in capsys.readouterr().out


def test_what_was_compiled_ahead_is_warm(compiling_target):
    assert cli.main(SMALL) == 0
    rng = np.random.default_rng(0)
    with numtrn.enabled(min_work=0, strict=True) as session:
        numtrn.mp2.df_energy(rng.standard_normal((5, 20, 60)), np.arange(-5.0, 0.0), np.arange(1.0, 21.0))
    assert session.programs
    assert cold(session) == 0


def test_an_interrupted_compile_keeps_what_is_done(compiling_target, capsys, monkeypatch):
    kept, calls = Compiling.keep, []

    def stopped(self, *given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return kept(self, *given)

    monkeypatch.setattr(Compiling, "keep", stopped, raising=False)
    assert cli.main(SMALL) == 130
    assert "interrupted: 1 compiled and kept, 1 left" in capsys.readouterr().err
    monkeypatch.undo()


def test_a_program_that_fails_leaves_the_others(compiling_target, capsys, monkeypatch):
    kept = Interpreter.keep

    def broken(self, kernel, *given):
        if kernel == "digit_planes":
            raise RuntimeError("no such instruction")
        return kept(self, kernel, *given)

    monkeypatch.setattr(Compiling, "keep", broken, raising=False)
    assert cli.main(SMALL) == 1
    out = capsys.readouterr().out
    assert "failed: RuntimeError: no such instruction" in out
    assert out.endswith("1 compiled, 1 failed\n")


def test_on_the_interpreter_there_is_nothing_to_compile(capsys):
    assert cli.main([*SMALL, "--target", "interpreter"]) == 0
    assert "target interpreter runs kernels as they are: nothing to compile" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--nocc", "0"], "--nocc takes a positive number of orbitals; got 0"),
        (["--frozen", "5"], "--frozen takes 0 to nocc - 1 = 4 occupied orbitals to leave out; got 5"),
        (["--precision", "double"], "precision= takes one of"),
    ],
)
def test_wrong_arguments_are_told(capsys, wrong, message):
    assert cli.main([*SMALL, *wrong, "--target", "interpreter"]) == 2
    assert message in capsys.readouterr().err


def test_arguments_left_out_are_told(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["compile", "--for", "mp2"])
    assert ended.value.code == 2
    assert "required: --nocc, --nvir, --naux" in capsys.readouterr().err
