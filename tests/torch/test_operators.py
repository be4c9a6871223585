"""What torch.library promises of an operator, checked by its own tools; gradients by finite differences."""

import numpy as np
import pytest

import numtrn
from tests.torch.support import BY_TORCH, cases, nt, operator, orbitals, random, torch

NAMES = list(cases())


@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name):
    called, operands = cases(grad=True)[name]
    torch.library.opcheck(operator(called), operands)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_torch(name):
    called, operands = cases()[name]
    torch.testing.assert_close(operator(called)(*operands), BY_TORCH[called](*operands))


@pytest.mark.parametrize("name", NAMES)
def test_values_in_a_block_are_those_of_torch(name):
    called, operands = cases()[name]
    with numtrn.enabled(target="interpreter", min_work=0, strict=True, verify=True) as session:
        found = operator(called)(*operands)
    assert session.counts["kernel"] == 1
    assert session.calls[0].function == f"numtrn.torch.{called}"
    torch.testing.assert_close(found, BY_TORCH[called](*operands))


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    called, operands = cases(grad=True)[name]
    assert torch.autograd.gradcheck(operator(called), operands)
    assert torch.autograd.gradgradcheck(operator(called), operands)


@pytest.mark.parametrize("name", ["gemm", "trsm"])
def test_gradients_by_kernels(name):
    called, operands = cases(grad=True)[name]
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        assert torch.autograd.gradcheck(operator(called), operands, fast_mode=True)
    assert session.counts["kernel"] == len(session.calls) > 3


def test_the_backward_pass_runs_in_the_block_too():
    a, b = random(16, 24, grad=True), random(24, 8, grad=True)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        nt.gemm(a, b).sum().backward()
    assert [call.shapes for call in session.calls] == [
        ((16, 24), (24, 8)),
        ((16, 8), (8, 24)),
        ((24, 16), (16, 8)),
    ]
    assert session.counts["kernel"] == 3


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled(backend):
    def loss(a, b):
        return (nt.gemm(a, b).tanh() + nt.symm(nt.rank_k(a), b)).sum()

    a, b = random(6, 6, grad=True), random(6, 6, grad=True, seed=1)
    expected = ((a @ b).tanh() + (a @ a.mT) @ b).sum()
    wanted = torch.autograd.grad(expected, (a, b))
    compiled = torch.compile(loss, backend=backend, fullgraph=True)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value = compiled(a, b)
        found = torch.autograd.grad(value, (a, b))
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(found, wanted)
    assert session.counts == {"kernel": 8, "numpy": 0, "failed": 0, "small": 0}
    torch.testing.assert_close(compiled(a, b), expected)  # outside


def test_compiled_for_any_shape():
    compiled = torch.compile(nt.gemm, backend="aot_eager", fullgraph=True, dynamic=True)
    for m, k, n in ((3, 4, 5), (6, 2, 9), (7, 7, 3)):
        a, b = random(m, k), random(k, n)
        torch.testing.assert_close(compiled(a, b), a @ b)


@pytest.mark.parametrize(
    ("in_dims", "shapes"), [((0, 0), ((5, 2, 3), (5, 3, 4))), ((2, None), ((2, 3, 5), (3, 4)))]
)
def test_vmap(in_dims, shapes):
    a, b = random(*shapes[0]), random(*shapes[1], seed=1)
    found = torch.vmap(torch.ops.numtrn.gemm, in_dims=in_dims)(a, b)
    torch.testing.assert_close(found, torch.vmap(torch.matmul, in_dims=in_dims)(a, b))


def test_vmap_of_a_solve():
    t = torch.eye(3, dtype=torch.float64) * 2 + random(5, 3, 3).tril(-1)
    b = random(3, 2)
    found = torch.vmap(lambda matrix: torch.ops.numtrn.trsm(matrix, b, False))(t)
    torch.testing.assert_close(found, torch.linalg.solve_triangular(t, b.expand(5, 3, 2), upper=False))


def test_vmap_of_pair_sums():
    b, energies = random(4, 2, 3, 5), orbitals(2, 3)
    found = torch.vmap(lambda one: torch.ops.numtrn.mp2_pairs(one, *energies))(b)
    torch.testing.assert_close(found, torch.stack([BY_TORCH["mp2_pairs"](one, *energies) for one in b]))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # PyTorch's own, of make_dual
def test_forward_mode_is_refused():
    a, b = random(3, 4), random(4, 5)
    with pytest.raises(NotImplementedError, match="reverse mode only"):
        torch.func.jvp(lambda x: nt.gemm(x, b), (a,), (a,))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(a, a)
        with pytest.raises(NotImplementedError, match="reverse mode only"):
            nt.gemm(dual, b)
        torch.testing.assert_close(nt.gemm(a, b), a @ b)


def test_functional_gradients_are_refused_by_torch():
    b = random(4, 5)
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(lambda x: nt.gemm(x, b).sum())(random(3, 4))


def test_the_energy_that_pair_sums_give():
    b, e_occ, e_vir = cases()["mp2_pairs"][1]
    direct, exchange = nt.mp2_pairs(b, e_occ, e_vir)
    energy = numtrn.mp2.df_energy(b.numpy(), e_occ.numpy(), e_vir.numpy())
    assert np.isclose(direct.sum().item(), energy.opposite_spin, rtol=1e-13)
    assert np.isclose((direct - exchange).sum().item(), energy.same_spin, rtol=1e-13)
