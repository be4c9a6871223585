"""The PySCF adapter: PySCF's own numbers, computed without numtrn, are the oracle throughout."""

import copy
import pickle
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from functools import cache, reduce
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyscf")

from pyscf import cc, gto, lib, mp, scf
from pyscf.lib import einsum as bound_einsum

import numtrn
import numtrn.pyscf
from numtrn import mp2
from numtrn.errors import KernelFallbackWarning, NumtrnError
from numtrn.pyscf import replacements

TIGHT = 1e-9  # Eh

MOLECULES = {
    "H2O": ("O 0 0 0; H 0 -0.757 0.587; H 0 0.757 0.587", 0),
    "NH3": ("N 0 0 0.12; H 0 0.94 -0.27; H 0.81 -0.47 -0.27; H -0.81 -0.47 -0.27", 0),
    "N2": ("N 0 0 0; N 0 0 1.10", 0),
    "HF": ("H 0 0 0; F 0 0 0.92", 0),
    "OH": ("O 0 0 0; H 0 0 0.97", 1),
    "CH2": ("C 0 0 0; H 0 0.99 0.42; H 0 -0.99 0.42", 2),
    "NH2": ("N 0 0 0; H 0 0.80 0.64; H 0 -0.80 0.64", 1),
    "H": ("H 0 0 0", 1),
}


@cache
def molecule(name, basis):
    atoms, spin = MOLECULES[name]
    return gto.M(atom=atoms, spin=spin, basis=basis, verbose=0)


@cache
def converged(name, basis, fitted=False):
    """A mean field; tests that change one take a copy."""
    kind = scf.UHF if MOLECULES[name][1] else scf.RHF
    made = kind(molecule(name, basis))
    return (made.density_fit() if fitted else made).run(conv_tol=1e-11)


def field(name="H2O", basis="sto-3g", fitted=False):
    return converged(name, basis, fitted).copy()


def again(energy):
    """What PySCF's own code gives a second time: its threads add in any order."""
    return pytest.approx(energy, rel=0, abs=1e-13)


def components(solver):
    return np.array([solver.e_corr, solver.e_corr_os, solver.e_corr_ss, solver.emp2_scs])


def spins(t2):
    return t2 if isinstance(t2, tuple) else (t2,)


def state():
    """What stands at every place that is ever replaced."""
    with numtrn.pyscf.enabled():
        places = [(placed.owner, placed.name) for placed in replacements._placed]
    return [vars(owner)[name] for owner, name in places]


@pytest.fixture(autouse=True)
def _no_files_of_mean_fields(monkeypatch):
    monkeypatch.setattr(scf.hf, "MUTE_CHKFILE", True)


@pytest.fixture(autouse=True)
def _restored():
    before = state()
    assert len(before) == 13
    yield
    after = state()
    assert all(x is y for x, y in zip(before, after, strict=True))
    assert replacements._holders == 0


class Forbidden:
    """PySCF's library of MP2 in C, whose energies nobody may ask for."""

    def __init__(self, library):
        self._library = library

    def __getattr__(self, name):
        assert not name.startswith("MP2_"), "PySCF computed the energy"
        return getattr(self._library, name)


@contextmanager
def no_energy_by_pyscf():
    def forbidden(*_):
        raise AssertionError("PySCF computed the energy")

    with pytest.MonkeyPatch.context() as patched:
        library = Forbidden(mp.dfmp2.libmp)
        patched.setattr(mp.dfmp2, "libmp", library)
        patched.setattr(mp.dfump2, "libmp", library)
        patched.setattr(lib, "direct_sum", forbidden)
        yield


# ---- Energies ----

CALCULATIONS = [
    # molecule, basis, class, arguments
    ("H2O", "cc-pvdz", mp.dfmp2.DFMP2, {}),
    ("H2O", "cc-pvdz", mp.mp2.MP2, {"frozen": 1}),
    ("NH3", "cc-pvdz", mp.dfmp2.DFMP2, {"frozen": 1}),
    ("N2", "cc-pvdz", mp.dfmp2.DFMP2, {"frozen": 2}),
    ("N2", "cc-pvdz", mp.MP2, {"frozen": [0, 1, 20, 27]}),
    ("HF", "cc-pvtz", mp.dfmp2.DFMP2, {"frozen": 1}),
    ("OH", "cc-pvdz", mp.dfump2.DFUMP2, {"frozen": 1}),
    ("OH", "cc-pvdz", mp.UMP2, {}),
    ("CH2", "cc-pvdz", mp.dfump2.DFUMP2, {}),
    ("CH2", "cc-pvdz", mp.MP2, {"frozen": 1}),
    ("NH2", "cc-pvdz", mp.dfump2.DFUMP2, {"frozen": [[0], [0, 15]]}),
    ("H", "cc-pvdz", mp.UMP2, {}),
    ("H", "cc-pvdz", mp.dfump2.DFUMP2, {}),
]


@pytest.mark.parametrize("with_t2", [False, True])
@pytest.mark.parametrize(("name", "basis", "kind", "arguments"), CALCULATIONS)
def test_energies_and_amplitudes_are_pyscfs(name, basis, kind, arguments, with_t2):
    reference, solver = kind(field(name, basis), **arguments), kind(field(name, basis), **arguments)
    reference.kernel(with_t2=with_t2)
    eris = solver.ao2mo()
    with no_energy_by_pyscf(), numtrn.pyscf.enabled(min_work=0) as session:
        energy, t2 = solver.kernel(eris=eris, with_t2=with_t2)
    fitted = hasattr(eris, "ovL")
    records = {(call.function, call.route) for call in session.calls}
    if fitted and name != "H":
        assert (("numpy.matmul" if with_t2 else "numtrn.mp2.df_energy"), "kernel") in records
    assert all(function.startswith("numtrn.mp2.") or function == "numpy.matmul" for function, _ in records)
    assert type(energy) is type(reference.e_corr)
    assert energy == solver.e_corr
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    compare_amplitudes(solver.t2, reference.t2)
    assert (t2 is not None) == with_t2


def compare_amplitudes(ours, theirs):
    assert type(ours) is type(theirs)
    for one, other in zip(spins(ours), spins(theirs), strict=True):
        if other is not None:
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["H2O", "OH"])
def test_float32_energies_when_asked_for(name):
    pytest.importorskip("numtrn.fused")
    kind = mp.dfump2.DFUMP2 if MOLECULES[name][1] else mp.dfmp2.DFMP2
    reference, solver = kind(field(name, "cc-pvdz")).run(), kind(field(name, "cc-pvdz"))
    eris = solver.ao2mo()
    with no_energy_by_pyscf(), numtrn.pyscf.enabled(precision="float32", min_work=0) as session:
        solver.kernel(eris=eris, with_t2=False)
    errors = np.abs(components(solver) - components(reference))
    assert 0 < errors.max() < 1e-7
    assert {call.scheme for call in session.calls} == {"fp32"}


def test_the_forbidden_library_does_forbid():
    with no_energy_by_pyscf(), pytest.raises(AssertionError, match="PySCF computed"):
        mp.dfmp2.DFMP2(field()).run()
    with no_energy_by_pyscf(), pytest.raises(AssertionError, match="PySCF computed"):
        mp.mp2.MP2(field()).run()


def test_energies_and_products_are_verified_when_asked_for():
    reference = mp.dfmp2.DFMP2(field()).run()
    with numtrn.pyscf.enabled(min_work=0, verify=True, strict=True) as session:
        solver = mp.dfmp2.DFMP2(field()).run()
        lib.dot(random(20, 30), random(30, 20), 2.0, np.ones((20, 20)), -1)
        lib.einsum("iaQ,jbQ->ijab", random(3, 4, 5), random(3, 4, 5))
    assert session.counts["kernel"] >= 3
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)


def test_the_frozen_core_that_pyscf_chooses():
    reference = mp.dfmp2.DFMP2(field()).set_frozen().run()
    with no_energy_by_pyscf(), numtrn.pyscf.enabled():
        solver = mp.dfmp2.DFMP2(field()).set_frozen().run()
    assert solver.frozen == reference.frozen == 1
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)


def test_a_mean_field_with_symmetry_and_the_methods_of_mean_fields():
    atoms, _ = MOLECULES["H2O"]
    symmetric = scf.RHF(gto.M(atom=atoms, basis="sto-3g", symmetry=True, verbose=0)).run(conv_tol=1e-11)
    reference = mp.MP2(field()).run()
    with no_energy_by_pyscf(), numtrn.pyscf.enabled():
        solver = symmetric.MP2().run()
        assert solver.as_scanner()(symmetric.mol) == pytest.approx(reference.e_tot, abs=1e-8)
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)


def test_the_whole_calculation_inside_a_block():
    """From the mean field on, whose products are caught too; nothing is compared but the energies."""
    reference = mp.dfmp2.DFMP2(field(fitted=True)).run()
    with numtrn.pyscf.enabled(min_work=3000) as session:
        mean = scf.RHF(molecule("H2O", "sto-3g")).density_fit().run(conv_tol=1e-11)
        solver = mp.dfmp2.DFMP2(mean).run()
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    assert solver.e_tot == pytest.approx(reference.e_tot, abs=TIGHT)
    assert any(call.function == "pyscf.lib.ddot" and call.route == "kernel" for call in session.calls)


def test_given_orbitals_and_energies():
    mean = field()
    changed = mean.mo_coeff * np.where(np.arange(mean.mo_coeff.shape[1]) % 2, -1, 1)
    for arguments in ({"mo_coeff": changed}, {"mo_energy": mean.mo_energy - 0.1 * (mean.mo_occ > 0)}):
        reference, solver = mp.mp2.MP2(field()), mp.mp2.MP2(field())
        reference.kernel(**arguments)
        with numtrn.pyscf.enabled():
            solver.kernel(**arguments)
        np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
        with numtrn.pyscf.enabled(), pytest.raises(AssertionError):  # PySCF's own
            mp.mp2.MP2(field(), frozen=1).kernel(**arguments)


def test_integrals_in_files():
    reference = mp.dfmp2.DFMP2(field()).run()
    for solver in (mp.dfmp2.DFMP2(field()), mp.mp2.MP2(field())):
        solver.force_outcore = True
        solver._scf._eri = None
        eris = solver.ao2mo()
        stored = eris.ovL if hasattr(eris, "ovL") else eris.ovov
        assert not isinstance(stored, np.ndarray)
        with no_energy_by_pyscf(), numtrn.pyscf.enabled() as session:
            solver.kernel(eris=eris)
        assert not any("exceed" in call.reason for call in session.calls)
        if isinstance(solver, mp.dfmp2.DFMP2):
            np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    exact = mp.mp2.MP2(field()).run()
    np.testing.assert_allclose(components(solver), components(exact), rtol=0, atol=TIGHT)


def test_integrals_of_two_spins_in_files():
    reference, solver = mp.dfump2.DFUMP2(field("OH")).run(), mp.dfump2.DFUMP2(field("OH"))
    solver.force_outcore = True
    eris = solver.ao2mo()
    with no_energy_by_pyscf(), numtrn.pyscf.enabled():
        solver.kernel(eris=eris)
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    compare_amplitudes(solver.t2, reference.t2)


# ---- What is left to PySCF, with a record ----


def reasons(session, function):
    return [call.reason for call in session.calls if call.function == function and call.route == "numpy"]


def test_fitted_integrals_that_do_not_fit_are_pyscfs(monkeypatch):
    reference, solver = mp.dfmp2.DFMP2(field()).run(), mp.dfmp2.DFMP2(field())
    solver.force_outcore = True
    eris = solver.ao2mo()
    monkeypatch.setattr(lib, "current_memory", lambda: (0.0, 0.0))
    solver.max_memory = 1e-3  # MB
    with numtrn.pyscf.enabled() as session:
        solver.kernel(eris=eris, with_t2=False)
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    (reason,) = reasons(session, "pyscf.mp.dfmp2.kernel")
    assert "exceed what max_memory leaves: PySCF computes it" in reason


def test_given_integrals_in_a_file_are_read_in_slabs():
    """However little memory there is."""
    reference, solver = mp.mp2.MP2(field()).run(), mp.mp2.MP2(field())
    solver._scf._eri = None
    eris = solver.ao2mo()
    solver.max_memory = 0
    with no_energy_by_pyscf(), numtrn.pyscf.enabled():
        solver.kernel(eris=eris, with_t2=False)
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)


def test_amplitudes_that_do_not_fit_raise_as_they_do_in_pyscf():
    solver = mp.dfmp2.DFMP2(field())
    eris = solver.ao2mo()
    solver.max_memory = 0
    with numtrn.pyscf.enabled() as session, pytest.raises(MemoryError):
        solver.kernel(eris=eris)
    (reason,) = reasons(session, "pyscf.mp.dfmp2.kernel")
    assert "amplitudes" in reason


def test_a_reference_that_has_not_converged_is_iterated_by_pyscf():
    mean = scf.RHF(molecule("H2O", "sto-3g")).run(max_cycle=2)
    assert not mean.converged
    reference = mp.mp2.MP2(mean).run()
    with numtrn.pyscf.enabled(min_work=0) as session:
        solver = mp.mp2.MP2(mean).run()
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    (reason,) = reasons(session, "pyscf.mp.mp2.kernel")
    assert reason == "the reference has not converged, so that MP2 is iterated: PySCF computes it"
    assert any(call.function == "pyscf.lib.einsum" for call in session.calls)  # the iterations' own


def test_generalised_references_are_pyscfs():
    mean = field().to_ghf()
    reference = mp.GMP2(mean).run()
    with numtrn.pyscf.enabled() as session:
        solver = mp.GMP2(mean).run()
    assert solver.e_corr == again(reference.e_corr)
    (reason,) = reasons(session, "pyscf.mp.gmp2.kernel")
    assert "two-component" in reason


def test_complex_integrals_are_pyscfs():
    solver = mp.mp2.MP2(field())
    eris = solver.ao2mo()
    eris.ovov = eris.ovov.astype(complex)
    reference = mp.mp2.MP2(field()).run()
    with numtrn.pyscf.enabled() as session:
        solver.kernel(eris=eris)
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    assert "complex128" in reasons(session, "pyscf.mp.mp2.kernel")[0]


def test_errors_of_ours_warn_and_leave_the_calculation_to_pyscf(monkeypatch):
    def broken(*_, **__):
        raise IndexError("broken")

    monkeypatch.setattr(mp2, "df_energy", broken)
    reference = mp.dfmp2.DFMP2(field()).run()
    with numtrn.pyscf.enabled() as session, pytest.warns(KernelFallbackWarning, match="left it to PySCF"):
        energy, _ = mp.dfmp2.DFMP2(field()).kernel(with_t2=False)
    assert energy == again(reference.e_corr)
    assert reasons(session, "pyscf.mp.dfmp2.kernel") == ["unreadable: IndexError: broken: PySCF computes it"]
    with numtrn.pyscf.enabled(strict=True), pytest.raises(NumtrnError, match="could not read") as caught:
        mp.dfmp2.DFMP2(field()).kernel(with_t2=False)
    assert isinstance(caught.value.__cause__, IndexError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, numtrn.KernelError])
def test_what_is_meant_for_the_user_reaches_him(error, monkeypatch):
    def stopped(*_, **__):
        raise error("stopped")

    monkeypatch.setattr(mp2, "df_energy", stopped)
    with pytest.raises(error, match="stopped"), numtrn.pyscf.enabled():
        mp.dfmp2.DFMP2(field()).kernel(with_t2=False)


def test_errors_of_pyscf_stay_its_own():
    with numtrn.pyscf.enabled(), pytest.raises(TypeError, match="unexpected keyword"):
        mp.mp2.kernel(mp.MP2(field()), nonsense=1)


# ---- lib.einsum and lib.dot ----


def random(*shape, kind=float, seed=0):
    generator = np.random.default_rng([seed, *shape])
    real = generator.standard_normal(shape)
    return real if kind is float else real + 1j * generator.standard_normal(shape)


def kernels(session):
    return [call.function for call in session.calls if call.route == "kernel"]


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * max(1.0, np.max(abs(theirs), initial=0)))


@pytest.mark.parametrize("product", [bound_einsum, lib.einsum, lib.numpy_helper.einsum])
def test_einsum_goes_to_kernels_under_any_name(product):
    b = random(6, 7, 20)
    with numtrn.pyscf.enabled(min_work=0) as session:
        ours = product("iaQ,jbQ->iajb", b, b)
    assert kernels(session) == ["pyscf.lib.einsum"]
    assert session.calls[0].shapes == ((6, 7, 20), (6, 7, 20))
    close(ours, np.einsum("iaQ,jbQ->iajb", b, b))


def test_einsum_of_more_operands_goes_in_pairs():
    b, c = random(6, 7, 20), random(7, 9)
    with numtrn.pyscf.enabled(min_work=0) as session:
        ours = lib.einsum("iaQ,jbQ,ac->icjb", b, b, c)
    assert kernels(session) == ["pyscf.lib.einsum"] * 2
    close(ours, np.einsum("iaQ,jbQ,ac->icjb", b, b, c))


SCALARS = st.sampled_from([0, 1, -0.5, 2.0])


@settings(max_examples=40, deadline=None)
@given(
    subscripts=st.sampled_from(
        ["ij,jk->ik", "ij,kj->ki", "ijk,kl->jli", "ij,ij->", "ij,j->i", "ii,ij->j", "ij,jk"]
    ),
    extents=st.tuples(*[st.integers(1, 6)] * 4),
    kind=st.sampled_from([float, complex]),
    alpha=SCALARS,
    beta=SCALARS,
    given_out=st.booleans(),
)
def test_contract_is_pyscfs(subscripts, extents, kind, alpha, beta, given_out):
    size = dict(zip("ijkl", extents, strict=True))
    a, b = (
        random(*[size[label] for label in term], kind=kind) for term in subscripts.split("->")[0].split(",")
    )
    output = subscripts.split("->")[1] if "->" in subscripts else "ik"
    if not output:
        given_out = False
    outs = [
        random(*[size[label] for label in output], kind=kind, seed=1) if given_out else None for _ in range(2)
    ]
    theirs = lib.contract(subscripts, a, b, alpha, beta if given_out else 0, outs[0])
    with numtrn.pyscf.enabled(min_work=0):
        ours = lib.contract(subscripts, a, b, alpha, beta if given_out else 0, outs[1])
    assert (ours is outs[1]) == (theirs is outs[0] and given_out)
    assert np.shape(ours) == np.shape(theirs)
    close(ours, theirs)


WRONG = [
    # what PySCF says of it stays
    ("ij,jk->ik", (4, 5), (6, 7), {}),
    ("ij,jk->ix", (4, 5), (5, 7), {}),
    ("ijk,jk->i", (4, 5), (5, 7), {}),
    ("ij,jk->ik", (4, 5), (5, 7), {"out": np.zeros((3, 3))}),
]


@pytest.mark.parametrize(("subscripts", "first", "second", "arguments"), WRONG)
def test_errors_of_contract_are_pyscfs(subscripts, first, second, arguments):
    raised = []
    for block in (nullcontext(), numtrn.pyscf.enabled(min_work=0)):
        with block, pytest.raises(Exception) as caught:
            lib.contract(subscripts, random(*first), random(*second), **arguments)
        raised.append((caught.type, str(caught.value)))
    assert raised[0] == raised[1]


def test_what_no_kernel_does_is_pyscfs_to_the_bit():
    a, b = random(30, 40), random(30, 40)
    expected = lib.einsum("ij,ij->ij", a, b), lib.dot(a.astype("f4"), b.T.astype("f4"))
    with numtrn.pyscf.enabled(min_work=0) as session:
        ours = lib.einsum("ij,ij->ij", a, b), lib.einsum("ij,ij->ij", a, b)
    np.testing.assert_array_equal(ours[0], expected[0])
    assert [call.function for call in session.calls] == ["pyscf.lib.einsum"] * 2
    assert all(call.route == "numpy" and call.seconds is not None for call in session.calls)


def test_small_calls_are_counted_and_not_looked_at():
    with numtrn.pyscf.enabled(min_work=1000) as session:
        lib.ddot(random(5, 6), random(6, 7))
        lib.einsum("ij,jk->ik", random(30, 40), random(40, 50))
    assert session.counts == {"kernel": 1, "numpy": 0, "failed": 0, "small": 1}
    assert session.small == (1, 210.0)


DOTS = [
    ("pyscf.lib.ddot", lambda a, b: lib.dot(a, b), float),
    ("pyscf.lib.ddot", lambda a, b: lib.dot(a, b.T.copy().T), float),
    ("pyscf.lib.ddot", lambda a, b: lib.ddot(a.T.copy().T, b, 2.5), float),
    ("pyscf.lib.ddot", lambda a, b: lib.dot(a, b, -1, np.ones((a.shape[0], b.shape[1])), 3), float),
    ("pyscf.lib.zdot", lambda a, b: lib.dot(a, b), complex),
    (
        "pyscf.lib.zdot",
        lambda a, b: lib.zdot(a, b, 2 - 1j, np.ones((len(a), b.shape[1]), complex), 1j),
        complex,
    ),
]


@pytest.mark.parametrize(("function", "product", "kind"), DOTS)
def test_dot_goes_to_kernels(function, product, kind):
    a, b = random(20, 30, kind=kind), random(30, 25, kind=kind)
    expected = product(a, b)
    with numtrn.pyscf.enabled(min_work=0) as session:
        ours = product(a, b)
    assert kernels(session) == [function]
    close(ours, expected)


def test_dot_writes_to_the_array_given():
    a, b, c = random(20, 30), random(30, 25), np.full((20, 25), np.nan)
    with numtrn.pyscf.enabled(min_work=0):
        assert lib.dot(a, b, c=c) is c
    close(c, a @ b)


def test_dot_of_a_matrix_and_its_transpose_is_half_of_the_work():
    a = random(20, 30)
    with numtrn.pyscf.enabled(min_work=0) as session:
        ours = lib.dot(a, a.T)
    assert session.calls[0].work == 210 * 30
    close(ours, a @ a.T)


def test_chains_of_products_by_reduce():
    c, fock = random(12, 10), random(12, 12)
    with numtrn.pyscf.enabled(min_work=0) as session:
        ours = reduce(lib.dot, (c.T, fock, c))
    assert kernels(session) == ["pyscf.lib.ddot"] * 2
    close(ours, c.T @ fock @ c)


@settings(max_examples=30, deadline=None)
@given(
    extents=st.tuples(*[st.integers(0, 5)] * 3),
    offsets=st.tuples(*[st.integers(0, 4)] * 3),
    transposed=st.tuples(st.sampled_from("NT"), st.sampled_from("NT")),
    beta=SCALARS,
    alpha=SCALARS,
)
def test_parts_of_matrices_are_multiplied_in_place(extents, offsets, transposed, alpha, beta):
    """As the coupled-cluster code does: ``_dgemm`` with offsets into larger matrices."""
    m, n, k = extents
    a, b, c = random(5, 9), random(5, 9, seed=1), random(6, 9, seed=2)
    mine = c.copy()
    arguments = (*transposed, m, n, k, a, b)
    lib.numpy_helper._dgemm(*arguments, c, alpha, beta, *offsets)
    with numtrn.pyscf.enabled(min_work=0):
        lib.numpy_helper._dgemm(*arguments, mine, alpha, beta, *offsets)
    close(mine, c)


def test_an_iteration_of_coupled_cluster():
    reference = cc.CCSD(field()).set(max_cycle=1).run()
    with numtrn.pyscf.enabled(min_work=0) as session:
        solver = cc.CCSD(field()).set(max_cycle=1).run()
    assert solver.e_corr == pytest.approx(reference.e_corr, abs=TIGHT)
    assert {"pyscf.lib.ddot", "pyscf.lib.einsum"} <= set(kernels(session))


def test_coupled_cluster_to_convergence():
    reference = cc.CCSD(field()).run()
    with numtrn.pyscf.enabled(min_work=1000):
        solver = cc.CCSD(field()).run()
    assert solver.converged
    assert solver.e_corr == pytest.approx(reference.e_corr, abs=TIGHT)


# ---- Blocks ----


def test_a_plain_block_does_not_reach_pyscf_and_one_inside_ours_does():
    a = random(20, 30)
    with numtrn.enabled(min_work=0) as plain:
        lib.dot(a, a.T)
    assert plain.counts["kernel"] == 0
    with numtrn.pyscf.enabled(min_work=0) as outer, numtrn.enabled(min_work=10**9) as inner:
        lib.dot(a, a.T)
    assert inner.counts["small"] == 1
    assert outer.counts["kernel"] == 0
    with numtrn.enabled(min_work=0) as outer:
        with numtrn.pyscf.enabled(min_work=0) as inner:
            lib.dot(a, a.T)
        lib.dot(a, a.T)
    assert inner.counts["kernel"] == outer.counts["kernel"] == 1


def test_blocks_nest_and_decorate():
    a = random(20, 30)
    block = numtrn.pyscf.enabled(min_work=0)
    with block as outer:
        with block as inner:
            lib.dot(a, a.T)
        assert replacements._holders == 1
        lib.dot(a, a.T)
    assert (inner.counts["kernel"], outer.counts["kernel"]) == (1, 2)

    @numtrn.pyscf.enabled(min_work=0)
    def decorated():
        assert replacements._holders == 1
        return lib.dot(a, a.T)

    close(decorated(), a @ a.T)
    assert replacements._holders == 0


def test_other_threads_run_pyscfs_own_code():
    inside, done, results = threading.Event(), threading.Event(), []
    reference = mp.dfmp2.DFMP2(field()).run()

    def other():
        inside.wait()
        results.append(mp.dfmp2.DFMP2(field()).run().e_corr)
        results.append(lib.dot(np.ones((20, 30)), np.ones((30, 20))))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with numtrn.pyscf.enabled(min_work=0) as session:
        inside.set()
        assert done.wait(60)
    thread.join()
    assert session.calls == ()
    assert results[0] == again(reference.e_corr)


def test_two_threads_with_blocks_of_their_own():
    reference, energies, barrier = mp.dfmp2.DFMP2(field()).run(), [], threading.Barrier(2)

    def run():
        solver = mp.dfmp2.DFMP2(field())
        eris = solver.ao2mo()
        barrier.wait(60)
        with numtrn.pyscf.enabled(min_work=0) as session:
            barrier.wait(60)
            solver.kernel(eris=eris)
        energies.append((solver.e_corr, session.counts["kernel"] > 0))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [caught for _, caught in energies] == [True, True]
    np.testing.assert_allclose([energy for energy, _ in energies], reference.e_corr, rtol=0, atol=TIGHT)


def test_everything_is_restored_whatever_ends_the_block():
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), numtrn.pyscf.enabled():
            assert mp.dfmp2.kernel.__wrapped__
            raise error
        assert not hasattr(mp.dfmp2.kernel, "__wrapped__")
        assert replacements._placed == []


def test_what_others_put_in_place_meanwhile_stays():
    original = mp.gmp2.kernel
    with numtrn.pyscf.enabled():
        mp.gmp2.kernel = theirs = lambda *_: None
    assert mp.gmp2.kernel is theirs
    mp.gmp2.kernel = original


def test_the_backend_of_einsum_that_is_not_seen_is_named(monkeypatch):
    with numtrn.pyscf.enabled() as session:
        assert not any("pytblis" in text for text in session.blind)
    monkeypatch.setattr(lib.numpy_helper, "EINSUM_BACKEND", "pytblis")
    with numtrn.pyscf.enabled() as session:
        assert "pyscf.lib.einsum: its backend pytblis computes" in str(session)


def test_wrong_settings_and_blocks_that_are_not_open():
    with pytest.raises(ValueError, match="chip= takes one of"):
        numtrn.pyscf.enabled(chip="trn9")
    with pytest.raises(RuntimeError, match="this block is not open"):
        numtrn.pyscf.enabled().__exit__(None, None, None)
    assert repr(numtrn.pyscf.enabled(chip="trn1")).startswith("<numtrn.pyscf.enabled Options(")


def test_pyscf_of_another_layout_is_refused_and_left_alone(monkeypatch):
    monkeypatch.setattr(mp.dfump2, "kernel", lambda mp, eris: None)
    with (
        pytest.raises(
            NumtrnError, match=r"replaces pyscf.mp.dfump2.kernel\(mp, mo_energy, .*takes \(mp, eris\)"
        ),
        numtrn.pyscf.enabled(),
    ):
        pass
    monkeypatch.undo()
    monkeypatch.delattr(lib.numpy_helper, "_zgemm")
    with pytest.raises(NumtrnError, match="which this PySCF lacks"), numtrn.pyscf.enabled():
        pass
    monkeypatch.undo()
    assert replacements._placed == []


def test_pyscf_that_is_absent_is_named(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(replacements, "import_module", absent)
    for use in (numtrn.pyscf.enabled().__enter__, lambda: numtrn.pyscf.patch(None)):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'numtrn\[pyscf\]'"):
            use()
    monkeypatch.undo()


def test_the_example_runs_and_agrees():
    script = Path(__file__).parents[1] / "examples" / "pyscf_mp2.py"
    run = subprocess.run(
        [sys.executable, str(script), "--basis", "sto-3g", "--min-work", "10000"],
        capture_output=True,
        text=True,
        check=True,
    )
    differences = [float(line.split()[-2]) for line in run.stdout.splitlines() if "difference" in line]
    assert len(differences) == 6
    assert max(map(abs, differences)) < TIGHT
    assert "calls by kernels" in run.stdout


def test_importing_the_adapter_imports_no_pyscf():
    code = "import sys, numtrn.pyscf; print({'pyscf', 'scipy', 'h5py'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


# ---- Patched objects ----


def test_a_patched_solver_opens_blocks_of_its_own():
    reference = mp.dfmp2.DFMP2(field()).run()
    solver = mp.dfmp2.DFMP2(field())
    assert numtrn.pyscf.patch(solver, min_work=0) is solver
    with pytest.raises(ValueError, match="takes a patched MP2 object that has run"):
        numtrn.pyscf.session(solver)
    eris = solver.ao2mo()
    with no_energy_by_pyscf():
        solver.run(eris=eris)
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    assert numtrn.pyscf.session(solver).counts["kernel"] > 0
    first = numtrn.pyscf.session(solver)
    assert numtrn.pyscf.unpatch(solver) is solver
    assert solver.run().e_corr == again(reference.e_corr)
    assert numtrn.pyscf.session(solver) is first
    with pytest.raises(ValueError, match="this DFRMP2 was not"):
        numtrn.pyscf.unpatch(solver)


def test_a_patched_solver_runs_in_the_open_block():
    solver = numtrn.pyscf.patch(mp.dfmp2.DFMP2(field()), min_work=10**12)
    for block in (numtrn.enabled(min_work=0), numtrn.pyscf.enabled(min_work=0)):
        with block as session:
            solver.run()
        assert session.counts["kernel"] > 0
    with numtrn.enabled(min_work=0) as session:  # which has not been made to reach PySCF by that
        lib.dot(random(20, 30), random(30, 20))
    assert session.counts["kernel"] == 0


MADE = [
    # mean fields made of a patched one, and solvers made of them
    lambda mean: mp.MP2(mean),
    lambda mean: mp.dfmp2.DFMP2(mean),
    lambda mean: mean.MP2(),
    lambda mean: mean.DFMP2(),
    lambda mean: mp.MP2(mean.copy()),
    lambda mean: mp.MP2(copy.copy(mean)),
    lambda mean: mp.MP2(mean.density_fit().run()),
    lambda mean: mp.UMP2(mean),
    lambda mean: copy.copy(mp.MP2(mean)),
    lambda mean: pickle.loads(pickle.dumps(mp.MP2(mean))),
]


@pytest.mark.parametrize("make", MADE)
def test_a_patched_mean_field_reaches_whatever_is_made_of_it(make):
    reference = make(field()).run()
    solver = make(numtrn.pyscf.patch(field(), min_work=0))
    solver.run()
    np.testing.assert_allclose(components(solver), components(reference), rtol=0, atol=TIGHT)
    assert numtrn.pyscf.session(solver).target == "interpreter"


def test_a_patched_mean_field_without_a_block_changes_nothing_else():
    mean = numtrn.pyscf.patch(field(), min_work=0)
    other = mp.dfmp2.DFMP2(field()).run()
    with pytest.raises(ValueError, match="has not"):
        numtrn.pyscf.session(other)
    numtrn.pyscf.unpatch(mean)
    assert replacements._holders == 0


def test_marks_hold_for_as_long_as_they_live():
    mean = numtrn.pyscf.patch(field())
    twin = mean.copy()
    assert replacements._holders == 1
    numtrn.pyscf.unpatch(mean)
    assert replacements._holders == 1
    numtrn.pyscf.patch(twin, chip="trn1")  # anew
    assert replacements._holders == 1
    thawed = pickle.loads(pickle.dumps(twin))
    assert replacements._holders == 2
    del twin
    assert replacements._holders == 1
    assert repr(thawed._numtrn) == "<patched by numtrn.pyscf.patch(chip='trn1')>"
    del thawed
    assert replacements._holders == 0


def test_patching_takes_solvers_and_mean_fields_and_right_settings():
    with pytest.raises(TypeError, match=r"an MP2 object or a mean field of PySCF; got pyscf\."):
        numtrn.pyscf.patch(cc.CCSD(field()))
    with pytest.raises(ValueError, match="precision= takes one of"):
        numtrn.pyscf.patch(field(), precision="double")
    with pytest.raises(TypeError, match="unexpected keyword"):
        numtrn.pyscf.patch(field(), speed=1)
    assert replacements._holders == 0
