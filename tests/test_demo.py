"""The demo: stored data against PySCF, the chemistry on plain NumPy, and the same inside a block."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numtrn import data, demo

EXAMPLES = Path(__file__).parents[1] / "examples"
TOLERANCE = 1e-9


def energy(molecule):
    return demo.df_mp2(
        molecule.integrals(),
        molecule.metric,
        molecule.coefficients,
        molecule.orbital_energies,
        molecule.nocc,
        molecule.ncore,
    )


@pytest.fixture(scope="module", params=list(data.MOLECULES))
def molecule(request):
    return data.load(request.param)


@pytest.fixture(scope="module")
def water():
    return data.load("water")


# --- Data. ----------------------------------------------------------------------------------------------


def test_shapes_and_types(molecule):
    nao, naux = molecule.nao, molecule.naux
    assert molecule.packed.shape == (naux, nao * (nao + 1) // 2)
    assert molecule.metric.shape == (naux, naux)
    assert molecule.orbital_energies.shape == (molecule.coefficients.shape[1],)
    for array in (molecule.packed, molecule.metric, molecule.coefficients, molecule.orbital_energies):
        assert array.dtype == np.float64
        assert np.isfinite(array).all()
    assert type(molecule.nocc) is int
    assert type(molecule.e_mp2) is float
    assert molecule.e_os + molecule.e_ss == pytest.approx(molecule.e_mp2, abs=1e-14)


def test_integrals_are_symmetric_and_complete(water):
    integrals = water.integrals()
    assert integrals.shape == (water.naux, water.nao, water.nao)
    assert np.array_equal(integrals, integrals.transpose(0, 2, 1))
    lower = np.tril_indices(water.nao)
    assert np.array_equal(integrals[(slice(None), *lower)], water.packed)


def test_unknown_molecule_names_the_choices():
    with pytest.raises(ValueError, match=r"come with numtrn are 'water', 'benzene'; got 'caffeine'"):
        data.load("caffeine")


def test_stored_data_agree_with_pyscf(molecule):
    pytest.importorskip("pyscf")
    from pyscf import df, gto

    built = gto.M(atom=molecule.geometry, basis=molecule.basis, verbose=0)
    auxiliary = df.addons.make_auxmol(built, molecule.auxbasis)
    packed = df.incore.aux_e2(built, auxiliary, intor="int3c2e", aosym="s2ij").T
    np.testing.assert_allclose(molecule.packed, packed, rtol=0, atol=1e-13)
    np.testing.assert_allclose(molecule.metric, auxiliary.intor("int2c2e"), rtol=1e-13, atol=1e-13)

    overlap = built.intor("int1e_ovlp")
    orthonormal = molecule.coefficients.T @ overlap @ molecule.coefficients
    np.testing.assert_allclose(orthonormal, np.eye(len(orthonormal)), rtol=0, atol=1e-10)
    assert molecule.nocc == built.nelectron // 2


def test_stored_energies_agree_with_pyscf(water):
    pytest.importorskip("pyscf")
    from pyscf import df, gto, scf
    from pyscf.mp.dfmp2 import DFMP2

    built = gto.M(atom=water.geometry, basis=water.basis, verbose=0)
    field = scf.RHF(built).run(conv_tol=1e-13, conv_tol_grad=1e-9)
    reference = DFMP2(field, frozen=water.ncore)
    reference.with_df = df.DF(built, auxbasis=water.auxbasis)
    reference.kernel()
    assert field.e_tot == pytest.approx(water.e_scf, abs=1e-10)
    assert reference.e_corr == pytest.approx(water.e_mp2, abs=1e-10)
    assert reference.e_corr_os == pytest.approx(water.e_os, abs=1e-10)
    assert reference.e_corr_ss == pytest.approx(water.e_ss, abs=1e-10)


# --- Chemistry. -----------------------------------------------------------------------------------------


def test_plain_numpy_gives_pyscf_s_energy(molecule):
    energies = energy(molecule)
    assert energies.total == pytest.approx(molecule.e_mp2, abs=1e-11)
    assert energies.opposite_spin == pytest.approx(molecule.e_os, abs=1e-11)
    assert energies.same_spin == pytest.approx(molecule.e_ss, abs=1e-11)


def test_slabs_are_the_textbook_sum(water):
    """Against the definition, a sum over all i, j, a, b, without a frozen core."""
    C, e, o = water.coefficients, water.orbital_energies, water.nocc
    mixed = np.einsum("Pmn,mi,na->Pia", water.integrals(), C[:, :o], C[:, o:], optimize=True)
    iajb = np.einsum("Pia,PQ,Qjb->iajb", mixed, np.linalg.inv(water.metric), mixed, optimize=True)
    D = e[:o, None, None, None] - e[o:, None, None] + e[:o, None] - e[o:]
    energies = demo.df_mp2(water.integrals(), water.metric, C, e, o)
    assert energies.opposite_spin == pytest.approx(np.sum(iajb**2 / D), abs=1e-11)
    assert energies.same_spin == pytest.approx(np.sum(iajb * (iajb - iajb.swapaxes(1, 3)) / D), abs=1e-11)


# --- Inside a block. ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(water):
    return demo.run(water, target="interpreter", min_work=0)


def test_water_through_kernels(result):
    assert result.difference <= TOLERANCE
    assert result.energies.opposite_spin == pytest.approx(result.molecule.e_os, abs=TOLERANCE)
    assert result.energies.same_spin == pytest.approx(result.molecule.e_ss, abs=TOLERANCE)
    assert demo.shortcomings(result, "full") == []


def test_every_contraction_of_water_is_a_kernel_call(result, water):
    assert result.session.kernel_share >= 0.99
    assert result.session.counts["failed"] == 0
    kernels = [call.function for call in result.session.calls if call.route == "kernel"]
    slabs = water.nocc - water.ncore
    assert kernels.count("numpy.einsum") == 1 + slabs
    assert kernels.count("numpy.matmul") >= 1  # half @ virtual; more are products of vectors
    assert kernels.count("scipy.linalg.lapack.dpotrf") == 1
    assert kernels.count("scipy.linalg.lapack.dtrtrs") == 1


def test_demo_prints_and_passes(capsys):
    assert demo.main(["--molecule", "water", "--target", "interpreter"]) == 0
    printed = capsys.readouterr().out
    for part in ("-0.201650843", "24 basis functions", "target interpreter, chip trn2", "passed"):
        assert part in printed


def test_lower_precision_is_not_judged_by_its_energy(capsys):
    assert demo.main(["--molecule", "water", "--target", "interpreter", "--precision", "float32"]) == 0
    assert "not judged at precision 'float32'" in capsys.readouterr().out


def test_a_wrong_energy_and_too_few_kernels_fail(water):
    session = type("Session", (), {"kernel_share": 0.5})()
    wrong = demo.Result(
        molecule=water,
        energies=demo.Energies(water.e_os, water.e_ss + 2e-9),
        session=session,
        seconds=0.0,
    )
    energy_rule, share_rule = demo.shortcomings(wrong, "full")
    assert energy_rule == "the energy differs by 2.0e-09 Eh, allowed is 1e-09 Eh"
    assert share_rule == "kernels computed 50.00% of the multiply-adds, asked for is 99%"


# --- Examples. ------------------------------------------------------------------------------------------


def test_numpy_example_does_not_know_numtrn():
    source = (EXAMPLES / "dfmp2_numpy.py").read_text()
    assert "import numtrn" not in source
    water = Path(data.__file__).with_name(data.MOLECULES["water"])
    done = subprocess.run(
        [sys.executable, EXAMPLES / "dfmp2_numpy.py", water], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("-0.201650843232 Eh") == 2
