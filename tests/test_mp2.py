"""numtrn.mp2 against PySCF, molecule by molecule, and against NumPy: parts, pairs, bounds, errors."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

import numtrn
from numtrn import dispatch, mp2
from numtrn.errors import VerificationError
from numtrn.launch import launch

TOLERANCE = 1e-9
"""Largest difference from PySCF in Eh, of each part."""

WATER = "O 0 0 0.117; H 0 0.757 -0.471; H 0 -0.757 -0.471"
AMMONIA = "N 0 0 0.116; H 0 0.940 -0.272; H 0.814 -0.470 -0.272; H -0.814 -0.470 -0.272"
MOLECULES = {
    "H2O": (WATER, 0, "cc-pvdz", 0),
    "NH3, frozen core": (AMMONIA, 0, "cc-pvdz", 1),
    "N2, frozen core": ("N 0 0 0; N 0 0 1.098", 0, "cc-pvdz", 2),
    "HF": ("H 0 0 0; F 0 0 0.917", 0, "cc-pvdz", 0),
    "H2O, cc-pVTZ": (WATER, 0, "cc-pvtz", 0),
    "O2": ("O 0 0 0; O 0 0 1.208", 2, "cc-pvdz", 0),
    "CH2, frozen core": ("C 0 0 0.101; H 0 0.992 -0.302; H 0 -0.992 -0.302", 2, "cc-pvdz", 1),
    "OH": ("O 0 0 0; H 0 0 0.970", 1, "cc-pvdz", 0),
    "Li": ("Li 0 0 0", 1, "cc-pvdz", 0),
}


class Reference(NamedTuple):
    """PySCF's energies of a molecule, and what they were computed from."""

    b: object
    ovov: object
    e_occ: object
    e_vir: object
    fitted: tuple[float, float]
    conventional: tuple[float, float]


def solved(mol, method):
    """A converged mean field that leaves no file open."""
    mf = method(mol)
    mf._chkfile.close()
    mf.chkfile = None
    return mf.run(conv_tol=1e-12)


@cache
def reference(name):
    pytest.importorskip("pyscf")
    from pyscf import ao2mo, gto, mp, scf

    geometry, spin, basis, frozen = MOLECULES[name]
    mol = gto.M(atom=geometry, spin=spin, basis=basis, verbose=0)
    mf = solved(mol, (scf.UHF if spin else scf.RHF))
    fitted = (mp.dfump2.DFUMP2 if spin else mp.dfmp2.DFMP2)(mf, frozen=frozen)
    eris = fitted.ao2mo()
    fitted.kernel(eris=eris, with_t2=False)
    plain = (mp.UMP2 if spin else mp.MP2)(mf, frozen=frozen)
    plain.kernel(with_t2=False)
    energies, coefficients = fitted.split_mo_energy(), fitted.split_mo_coeff()
    if not spin:
        energies, coefficients = [energies], [coefficients]
    occupied, virtual = ([e[place] for e in energies] for place in (1, 2))
    fits = eris.ovL if spin else [eris.ovL]
    b = [ovl.reshape(len(o), len(v), -1) for ovl, o, v in zip(fits, occupied, virtual, strict=True)]

    def integrals(i, j):
        sides = [coefficients[s][place] for s in (i, j) for place in (1, 2)]
        shape = [side.shape[1] for side in sides]
        return ao2mo.kernel(mol, sides, compact=False).reshape(shape)

    pairs = ((0, 0), (0, 1), (1, 1)) if spin else ((0, 0),)
    ovov = [integrals(i, j) for i, j in pairs]
    every = b, ovov, occupied, virtual
    return Reference(
        *(x if spin else x[0] for x in every),
        (float(fitted.e_corr_os or 0), float(fitted.e_corr_ss or 0)),
        (float(plain.e_corr_os or 0), float(plain.e_corr_ss or 0)),
    )


def parts(energy):
    return energy.opposite_spin, energy.same_spin


@pytest.mark.parametrize("name", MOLECULES)
def test_fitted_energies_are_pyscfs(name):
    known = reference(name)
    with numtrn.enabled(min_work=0, strict=True) as session:
        found = mp2.df_energy(known.b, known.e_occ, known.e_vir)
    np.testing.assert_allclose(parts(found), known.fitted, rtol=0, atol=TOLERANCE)
    assert found.bound < 1e-11
    assert found.restricted == (MOLECULES[name][1] == 0)
    computed = [call for call in session.calls if call.work]
    assert all(call.kernel == "sliced_gemm" for call in computed)
    assert session.kernel_share == 1.0 or not computed


@pytest.mark.parametrize("name", MOLECULES)
def test_given_integrals_are_pyscfs(name):
    known = reference(name)
    with numtrn.enabled(min_work=0, strict=True) as session:
        found = mp2.energy(known.ovov, known.e_occ, known.e_vir)
    np.testing.assert_allclose(parts(found), known.conventional, rtol=0, atol=TOLERANCE)
    assert found.bound < 1e-11
    assert all("bound by reading" in call.reason for call in session.calls if call.work)


@pytest.mark.parametrize("name", ["H2O", "NH3, frozen core", "O2", "CH2, frozen core"])
def test_laplace_is_pyscfs(name):
    known = reference(name)
    found = mp2.laplace_sos_energy(known.b, known.e_occ, known.e_vir, tolerance=1e-9)
    assert abs(found.opposite_spin - known.fitted[0]) <= TOLERANCE
    assert abs(found.opposite_spin - known.fitted[0]) <= found.bound
    assert found.quadrature < found.bound < TOLERANCE
    assert found.sos == 1.3 * found.opposite_spin


def test_frozen_core_is_slices():
    known = reference("H2O")
    sliced = mp2.df_energy(known.b[1:], known.e_occ[1:], known.e_vir)
    assert sliced.total > mp2.df_energy(known.b, known.e_occ, known.e_vir).total
    import pyscf.mp
    from pyscf import gto, scf

    mf = solved(gto.M(atom=WATER, basis="cc-pvdz", verbose=0), scf.RHF)
    frozen = pyscf.mp.dfmp2.DFMP2(mf, frozen=1)
    frozen.kernel(with_t2=False)
    np.testing.assert_allclose(parts(sliced), (frozen.e_corr_os, frozen.e_corr_ss), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("precision", ["fast", 2.0**20])
def test_a_lower_precision_keeps_its_bound(precision):
    known = reference("H2O")
    with numtrn.enabled(min_work=0, strict=True, precision=precision) as session:
        found = mp2.df_energy(known.b, known.e_occ, known.e_vir)
    assert abs(found.total - sum(known.fitted)) <= found.bound
    assert found.bound > 1e-13
    assert session.calls[0].slices < 8


FLOAT32 = 1e-6
"""Largest difference from PySCF in Eh of the fp32 kernel."""


@pytest.mark.parametrize("name", MOLECULES)
def test_float32(name):
    """By the kernel that keeps integrals on the chip, from B in float32 and from given integrals."""
    known = reference(name)
    with numtrn.enabled(min_work=0, strict=True, precision="float32", verify=True) as session:
        fitted = mp2.df_energy(known.b, known.e_occ, known.e_vir)
        given = mp2.energy(known.ovov, known.e_occ, known.e_vir)
    assert {call.kernel for call in session.calls} == {"mp2_pairs"}
    for found, expected in ((fitted, known.fitted), (given, known.conventional)):
        np.testing.assert_allclose(parts(found), expected, rtol=0, atol=FLOAT32)
        assert abs(found.total - sum(expected)) <= found.bound < 1e-3


# ---- Without PySCF ----


def orbitals(rng, o, v, x, dtype="float64"):
    b = rng.normal(size=(o, v, x)).astype(dtype)
    return b, np.sort(rng.uniform(-2, -0.5, o)), np.sort(rng.uniform(0.1, 3, v))


def plain(first, second=None):
    """OS and SS as they are written down, all of (ia|jb) at once."""
    same = []
    for b, o, v in [first] if second is None else [first, second]:
        t = np.einsum("iaQ,jbQ->iajb", b, b)
        d = o[:, None, None, None] + o[:, None] - v[:, None, None] - v
        same.append(np.einsum("iajb,iajb->ij", t - t.transpose(0, 3, 2, 1), t / d))
        opposite = np.einsum("iajb,iajb->ij", t, t / d)
    if second is not None:
        (b, o, v), (c, p, w) = first, second
        t = np.einsum("iaQ,jbQ->iajb", b, c)
        d = o[:, None, None, None] + p[:, None] - v[:, None, None] - w
        opposite = np.einsum("iajb,iajb->ij", t, t / d)
        same = [part / 2 for part in same]
    return opposite, same


RNG = np.random.default_rng(1)
ALPHA, BETA = orbitals(RNG, 4, 6, 9), orbitals(RNG, 3, 7, 9)


@pytest.mark.parametrize("settings", [{"min_work": 0, "strict": True}, {"min_work": None}])
def test_pairs(settings):
    with numtrn.enabled(**settings):
        restricted = mp2.df_energy(*ALPHA, pairs=True)
        both = mp2.df_energy(*zip(ALPHA, BETA, strict=True), pairs=True)
    for found, spins in ((restricted, [ALPHA]), (both, [ALPHA, BETA])):
        opposite, same = plain(*spins)
        np.testing.assert_allclose(found.pairs.opposite_spin, opposite, rtol=1e-11)
        for part, expected in zip(found.pairs.same_spin, same, strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-11, atol=1e-11)
        assert found.opposite_spin == pytest.approx(opposite.sum(), rel=1e-13)
        assert found.same_spin == pytest.approx(sum(part.sum() for part in same), rel=1e-12)
        assert found.total == found.opposite_spin + found.same_spin
        assert found.scs == pytest.approx(1.2 * found.opposite_spin + found.same_spin / 3)
        assert found.sos == pytest.approx(1.3 * found.opposite_spin)
    assert mp2.df_energy(*ALPHA).pairs is None


@pytest.mark.parametrize("axes", ["iaQ", "Qia", "aiQ", "iQa", "aQi", "Qai"])
def test_axes(axes):
    b, *energies = ALPHA
    given = b.transpose(["iaQ".index(letter) for letter in axes])
    assert parts(mp2.df_energy(given, *energies, axes=axes)) == pytest.approx(parts(mp2.df_energy(*ALPHA)))


@pytest.mark.parametrize(("axes", "shape"), [("iaQ", (24, 9)), ("Qia", (9, 24))])
def test_merged_axes(axes, shape):
    b, *energies = ALPHA
    given = (b if axes == "iaQ" else b.transpose(2, 0, 1)).reshape(shape)
    assert parts(mp2.df_energy(given, *energies, axes=axes)) == pytest.approx(parts(mp2.df_energy(*ALPHA)))


def test_types():
    b, *energies = ALPHA
    whole = np.rint(4 * b)
    expected = mp2.df_energy(whole, *energies)
    for dtype in ("int8", "int64", "float32", ">f8", "float16"):
        assert parts(mp2.df_energy(whole.astype(dtype), *energies)) == pytest.approx(
            parts(expected), rel=1e-6
        )
    assert parts(mp2.df_energy(whole.tolist(), *map(list, energies))) == parts(expected)
    assert parts(mp2.df_energy(numtrn.asarray(whole), *energies)) == parts(expected)


def test_slabs(tmp_path):
    b, *energies = ALPHA
    t = np.einsum("iaQ,jbQ->iajb", b, b)
    t.tofile(tmp_path / "ovov")
    mapped = np.memmap(tmp_path / "ovov", dtype=float, mode="r", shape=t.shape)
    expected = parts(mp2.energy(t, *energies))
    read = []

    def slab(i):
        read.append(i)
        return t[i]

    whole = (t.reshape(24, 24), mapped, numtrn.asarray(t))
    for given in (slab, list(t), *whole, Disk(t), Disk(t.reshape(24, 24))):
        assert parts(mp2.energy(given, *energies)) == expected
    assert read == [0, 1, 2, 3]
    np.testing.assert_allclose(expected, [part.sum() for part in (plain(ALPHA)[0], *plain(ALPHA)[1])])


class Disk:
    """What a data set on disk offers: a shape, and slices."""

    def __init__(self, array):
        self._array, self.shape = array, array.shape

    def __getitem__(self, key):
        return self._array[key].copy()


def test_slabs_of_two_spins():
    (b, *_), (c, *_) = ALPHA, BETA
    three = [np.einsum("iaQ,jbQ->iajb", x, y) for x, y in ((b, b), (b, c), (c, c))]
    energies = list(zip(ALPHA[1:], BETA[1:], strict=True))
    energies = (energies[0], energies[1])
    with numtrn.enabled(min_work=0) as session:
        by_slab = mp2.energy([t.__getitem__ for t in three], *energies)
    assert [call.reason.split(":")[0] for call in session.calls] == ["slabs, one after the other"] * 3
    assert parts(by_slab) == parts(mp2.energy(tuple(three), *energies))
    fitted = mp2.df_energy((b, c), *energies)
    np.testing.assert_allclose(parts(by_slab), parts(fitted), rtol=1e-12)


@pytest.mark.parametrize("spins", [[ALPHA], [ALPHA, BETA]])
def test_laplace(spins):
    arguments = ALPHA if len(spins) == 1 else zip(ALPHA, BETA, strict=True)
    opposite = plain(*spins)[0].sum()
    for tolerance in (1e-3, 1e-6, 1e-11):
        found = mp2.laplace_sos_energy(
            *arguments if len(spins) == 1 else zip(*spins, strict=True), tolerance=tolerance
        )
        assert abs(found.opposite_spin - opposite) <= found.bound <= 1.1 * tolerance * abs(opposite)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [-200, -160, -85, -79, -40, -22, -21, -12, 8])
def test_laplace_of_small_and_large_integrals(exponent, dtype):
    b, e_occ, e_vir = ALPHA
    scaled = (b * 10.0**exponent).astype(dtype)
    spin = scaled.astype(np.longdouble), e_occ, e_vir
    with numtrn.enabled(min_work=0), np.errstate(all="raise"):
        found = mp2.laplace_sos_energy(scaled, e_occ, e_vir)
    assert abs(found.opposite_spin - plain(spin)[0].sum()) <= found.bound < np.inf


def test_laplace_of_nan():
    b, e_occ, e_vir = (x.copy() for x in ALPHA)
    b[0, 1, 2] = np.nan
    found = mp2.laplace_sos_energy(b, e_occ, e_vir)
    assert np.isnan(found.opposite_spin)
    assert found.bound == np.inf


def test_laplace_in_pieces(monkeypatch):
    whole = mp2.laplace_sos_energy(*ALPHA)
    monkeypatch.setattr(mp2, "SCALED_BYTES", 1)
    with numtrn.enabled(min_work=0, strict=True) as session:
        pieces = mp2.laplace_sos_energy(*ALPHA)
    assert pieces.opposite_spin == pytest.approx(whole.opposite_spin, rel=1e-13)
    assert len(session.calls) == 4 * pieces.points
    assert {call.kernel for call in session.calls} == {"sliced_gemm"}


def test_nothing_to_do():
    b, e_occ, e_vir = ALPHA
    assert mp2.df_energy(b[:0], e_occ[:0], e_vir).total == 0
    assert mp2.df_energy(b[:, :0], e_occ, e_vir[:0]).total == 0
    assert mp2.laplace_sos_energy(b[:0], e_occ[:0], e_vir).opposite_spin == 0
    no_beta = mp2.df_energy((b, b[:0]), (e_occ, e_occ[:0]), (e_vir, e_vir))
    assert no_beta.opposite_spin == 0
    assert no_beta.same_spin == pytest.approx(plain(ALPHA)[1][0].sum() / 2)
    assert mp2.laplace_sos_energy((b, b[:0]), (e_occ, e_occ[:0]), (e_vir, e_vir)).opposite_spin == 0


# ---- Blocks, sessions, errors ----


def test_in_a_block_and_outside_of_one(monkeypatch):
    with numtrn.enabled(min_work=0) as session:
        inside = mp2.df_energy(*ALPHA)
        (call,) = session.calls
    assert (call.function, call.route, call.kernel) == ("numtrn.mp2.df_energy", "kernel", "sliced_gemm")
    assert call.bound.endswith("Eh, of all pairs together")
    assert call.seconds is not None
    monkeypatch.setenv("NUMTRN_MIN_WORK", "0")
    offered = []
    monkeypatch.setattr(
        dispatch, "launch", lambda plan, *rest: offered.append(plan.request) or launch(plan, *rest)
    )
    outside = mp2.df_energy(*ALPHA)
    assert len(offered) == 1
    assert parts(inside) == parts(outside)


def test_small_calls_are_numpys_and_say_so():
    with numtrn.enabled() as session:
        found = mp2.df_energy(*ALPHA)
    (call,) = session.calls
    assert call.route == "numpy"
    assert "below the plan's least" in call.reason
    assert call.seconds is not None
    assert found.opposite_spin == pytest.approx(plain(ALPHA)[0].sum())


def test_nothing_of_ours_is_caught():
    """One record for one call: products of the epilogue, and of what NumPy computes, are not the user's."""
    b, e_occ, e_vir = orbitals(np.random.default_rng(2), 6, 40, 60)
    with numtrn.enabled(min_work=0) as session:
        mp2.df_energy(b, e_occ, e_vir)
        mp2.energy(np.einsum("iaQ,jbQ->iajb", b, b), e_occ, e_vir)
    assert [call.function for call in session.calls] == [
        "numtrn.mp2.df_energy",
        "numpy.einsum",
        "numtrn.mp2.energy",
    ]


def test_a_failure_is_numpys_unless_strict(monkeypatch):
    def fail(*_):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr("numtrn.launch.run_pairs", fail)
    with numtrn.enabled(min_work=0) as session, pytest.warns(numtrn.KernelFallbackWarning, match="is gone"):
        found = mp2.df_energy(*ALPHA)
    assert session.counts["failed"] == 1
    assert found.opposite_spin == pytest.approx(plain(ALPHA)[0].sum())
    with numtrn.enabled(min_work=0, strict=True), pytest.raises(numtrn.KernelError, match="is gone"):
        mp2.df_energy(*ALPHA)


def test_ctrl_c_passes_and_leaves_the_block_usable(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with numtrn.enabled(min_work=0) as session:
        with monkeypatch.context() as patched:
            patched.setattr("numtrn.launch.run_pairs", interrupted)
            with pytest.raises(KeyboardInterrupt):
                mp2.df_energy(*ALPHA)
        with pytest.raises(KeyboardInterrupt):
            mp2.energy(interrupted, *ALPHA[1:])
        found = mp2.df_energy(*ALPHA)
        product = np.ones((20, 20)) @ np.ones((20, 20))
    assert session.calls[0].reason == "ended by KeyboardInterrupt"
    assert session.calls[-1].function == "numpy.matmul"
    assert product[0, 0] == 20
    assert found.opposite_spin == pytest.approx(plain(ALPHA)[0].sum())


@pytest.mark.parametrize("spins", [[ALPHA], [ALPHA, BETA]])
def test_verified(spins, monkeypatch):
    arguments = ALPHA if len(spins) == 1 else tuple(zip(*spins, strict=True))
    with numtrn.enabled(min_work=0, verify=True):
        mp2.df_energy(*arguments)
    from numtrn import launch as launching

    run = launching.run_pairs

    def wrong(*given):
        sums = run(*given)
        sums.value[0, 1, 2] *= 1 + 1e-9
        return sums

    monkeypatch.setattr("numtrn.launch.run_pairs", wrong)
    with numtrn.enabled(min_work=0, verify=True), pytest.raises(VerificationError, match=r"\(0, 1, 2\)"):
        mp2.df_energy(*arguments)


def test_verified_where_sums_overflow():
    b, e_occ, e_vir = ALPHA
    with numtrn.enabled(min_work=0, verify=True), np.errstate(all="ignore"):
        found = mp2.df_energy(b * 1e80, e_occ, e_vir)
    assert found.opposite_spin == -np.inf
    assert found.bound == np.inf


@pytest.mark.parametrize("exponent", [-170, -100, 70])
def test_what_the_bound_needs_raises_nothing(exponent):
    b, e_occ, e_vir = ALPHA
    with numtrn.enabled(min_work=0, strict=True), np.errstate(all="raise"):
        found = mp2.df_energy(b * 10.0**exponent, e_occ, e_vir)
    assert found.bound < np.inf


def test_operands_are_left_as_they_were():
    copies = [x.copy() for x in ALPHA]
    given = [x.copy() for x in ALPHA]
    for x in given:
        x.flags.writeable = False
    mp2.df_energy(*given)
    mp2.laplace_sos_energy(*given)
    for x, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


def test_a_vanishing_denominator_is_numpys():
    b, e_occ, e_vir = (x.copy() for x in ALPHA)
    e_occ[-1] = e_vir[0]
    for settings in ({"min_work": 0}, {}):
        with numtrn.enabled(**settings), pytest.warns(RuntimeWarning, match="divide by zero"):
            found = mp2.df_energy(b, e_occ, e_vir)
        assert np.isinf(found.opposite_spin)
        assert found.bound == np.inf
        with numtrn.enabled(**settings), np.errstate(divide="raise"), pytest.raises(FloatingPointError):
            mp2.df_energy(b, e_occ, e_vir)


def test_explain():
    (plan,) = mp2.explain(*ALPHA)
    assert isinstance(plan, numtrn.Refusal)
    with numtrn.enabled(min_work=0) as session:
        plans = mp2.explain(*zip(ALPHA, BETA, strict=True))
    assert [plan.request.same for plan in plans] == [False, True, True]
    assert all(isinstance(plan, numtrn.Mp2Plan) for plan in plans)
    assert not session.calls


B, E_OCC, E_VIR = ALPHA
WRONG = {
    "complex": ((B * 1j, E_OCC, E_VIR), TypeError, "complex orbitals are not supported, got complex128"),
    "long double": ((B.astype(np.longdouble), E_OCC, E_VIR), TypeError, "Convert it first"),
    "text": ((np.array("B"), E_OCC, E_VIR), TypeError, "float32, float64 or of integers"),
    "complex energies": ((B, E_OCC * 1j, E_VIR), TypeError, "eps_occ are real energies"),
    "energies in two axes": ((B, E_OCC, E_VIR[None]), ValueError, "eps_vir has one axis"),
    "orbitals": ((B[1:], E_OCC, E_VIR), ValueError, r"nocc = 4, nvir = 6, naux\) .* got shape \(3, 6, 9\)"),
    "order": ((B.transpose(2, 0, 1), E_OCC, E_VIR), ValueError, "Name the order of its axes with axes="),
    "four axes": ((B[None], E_OCC, E_VIR), ValueError, "got shape"),
    "no auxiliary functions": ((B[:, :, :0], E_OCC, E_VIR), ValueError, "naux = 0"),
    "one B for two spins": (
        (B, (E_OCC, E_OCC), (E_VIR, E_VIR)),
        ValueError,
        "B is a pair, \\(alpha, beta\\), as eps_occ is; got ndarray of",
    ),
    "one of the virtuals": (((B, B), (E_OCC, E_OCC), E_VIR), ValueError, "eps_vir must be one, too"),
    "two auxiliary bases": (
        ((B, B[:, :, 1:]), (E_OCC, E_OCC), (E_VIR, E_VIR)),
        ValueError,
        "one auxiliary basis; got 9 and 8",
    ),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("function", [mp2.df_energy, mp2.laplace_sos_energy, mp2.explain])
def test_what_is_wrong_is_said(case, function):
    arguments, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        function(*arguments)


@pytest.mark.parametrize("axes", ["", "iaP", "ia", "iaaQ", 3, None])
def test_wrong_axes(axes):
    with pytest.raises(ValueError, match="permutation of 'iaQ'"):
        mp2.df_energy(*ALPHA, axes=axes)


T = np.einsum("iaQ,jbQ->iajb", B, B)
WRONG_INTEGRALS = {
    "physicists'": (T.transpose(0, 2, 1, 3), ValueError, "chemists' order have i, a, j, b"),
    "complex": (T * 1j, TypeError, "ovov is real"),
    "slab": (lambda i: T[0, 0], ValueError, r"slab 0 of ovov .* \(6, 4, 6\) \(a, j, b\)"),
    "slabs": (list(T[1:]), ValueError, "a slab for each of 4 occupied orbitals; got 3"),
}


@pytest.mark.parametrize("case", WRONG_INTEGRALS)
def test_what_is_wrong_with_integrals_is_said(case):
    integrals, error, text = WRONG_INTEGRALS[case]
    with pytest.raises(error, match=text):
        mp2.energy(integrals, E_OCC, E_VIR)


def test_two_spins_have_three_sets_of_integrals():
    with pytest.raises(ValueError, match="alpha alpha, alpha beta, beta beta"):
        mp2.energy(T, (E_OCC, E_OCC), (E_VIR, E_VIR))


def test_no_transform_without_a_gap():
    with pytest.raises(ValueError, match="Use df_energy"):
        mp2.laplace_sos_energy(B, E_OCC + 3, E_VIR)
