"""The operators, operands for them, and what PyTorch says they are."""

import pytest

torch = pytest.importorskip("torch")

import numtrn.torch as nt  # noqa: E402
from numtrn.torch import device  # noqa: E402

D = torch.float64


def random(*shape, dtype=D, seed=0, grad=False):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_(grad)


def triangular(n, *, dtype=D, upper=False, seed=1, grad=False, stack=()):
    """A matrix whose other triangle is rubbish that nobody may read, well conditioned."""
    matrix = random(*stack, n, n, dtype=dtype, seed=seed) / n + 2 * torch.eye(n, dtype=dtype)
    rubbish = torch.full_like(matrix, 7.0)
    kept = torch.ones(n, n).triu() if upper else torch.ones(n, n).tril()
    return torch.where(kept.bool(), matrix, rubbish).requires_grad_(grad)


def orbitals(nocc, nvir, *, grad=False):
    """Energies of occupied and virtual orbitals."""
    return (
        torch.linspace(-2, -0.5, nocc, dtype=D).requires_grad_(grad),
        torch.linspace(0.25, 3, nvir, dtype=D).requires_grad_(grad),
    )


def cases(grad=False):
    """Operands of each operator, with its name."""
    one, other = random(2, 3, 4, grad=grad), random(2, 4, 5, seed=2, grad=grad)
    square, right = random(4, 4, grad=grad), random(4, 3, seed=2, grad=grad)
    narrow = [
        random(3, 4, dtype=torch.complex128, grad=grad),
        random(4, 2, dtype=torch.complex128, grad=grad),
    ]
    return {
        "gemm": ("gemm", (one, other)),
        "gemm of complex": ("gemm", tuple(narrow)),
        "rank_k": ("rank_k", (one,)),
        "symm": ("symm", (square, right)),
        "trmm": ("trmm", (square, right)),
        "trmm, upper": ("trmm", (square, right, True)),
        "trsm": ("trsm", (triangular(4, grad=grad), right)),
        "trsm, upper": ("trsm", (triangular(4, upper=True, grad=grad), right, True)),
        "mp2_pairs": ("mp2_pairs", (random(2, 3, 4, grad=grad), *orbitals(2, 3, grad=grad))),
    }


def operator(name):
    return getattr(torch.ops.numtrn, name)


def mirrored(s):
    return s.tril() + s.tril(-1).mT


def pairs_at_once(b, eps_occ, eps_vir):
    """The formula with all integrals at once."""
    t = torch.einsum("iaq,jbq->iajb", b, b).double()
    d = (
        eps_occ[:, None, None, None]
        + eps_occ[None, None, :, None]
        - eps_vir[None, :, None, None]
        - eps_vir[None, None, None, :]
    )
    return torch.stack([(t * t / d).sum((1, 3)), (t * t.permute(0, 3, 2, 1) / d).sum((1, 3))])


BY_TORCH = {
    "gemm": torch.matmul,
    "rank_k": lambda a: a @ a.mT,
    "symm": lambda s, b: mirrored(s) @ b,
    "trmm": lambda t, b, upper=False: (t.triu() if upper else t.tril()) @ b,
    "trsm": lambda t, b, upper=False: torch.linalg.solve_triangular(t, b, upper=upper),
    "mp2_pairs": pairs_at_once,
}

__all__ = ["BY_TORCH", "D", "cases", "device", "nt", "operator", "orbitals", "random", "torch", "triangular"]
