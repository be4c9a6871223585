"""`numtrn.explain`: what would become of a call, without computing it."""

import numpy as np
import pytest
import scipy.linalg.blas as blas

import numtrn

a, b = np.ones((200, 300)), np.ones((300, 400))

PLANNED = {
    "matmul": (lambda: numtrn.explain(np.matmul, a, b), (1, 200, 300, 400)),
    "matmul batched": (lambda: numtrn.explain(np.matmul, np.ones((5, 200, 300)), b), (5, 200, 300, 400)),
    "dot": (lambda: numtrn.explain(np.dot, a, b), (1, 200, 300, 400)),
    "method dot": (lambda: numtrn.explain(np.ndarray.dot, a, b), (1, 200, 300, 400)),
    "inner": (lambda: numtrn.explain(np.inner, a, b.T), (1, 200, 300, 400)),
    "tensordot": (lambda: numtrn.explain(np.tensordot, a, b, 1), (1, 200, 300, 400)),
    "tensordot axes": (lambda: numtrn.explain(np.tensordot, a, b.T, axes=([1], [-1])), (1, 200, 300, 400)),
    "einsum": (lambda: numtrn.explain(np.einsum, "ij,jk->ki", a, b), (1, 200, 300, 400)),
    "dgemm": (lambda: numtrn.explain(blas.dgemm, 1.0, a, b), (1, 200, 300, 400)),
    "dgemm trans": (
        lambda: numtrn.explain(blas.dgemm, 1.0, a.T, b.T, trans_a=1, trans_b=1),
        (1, 200, 300, 400),
    ),
    "dsyrk": (lambda: numtrn.explain(blas.dsyrk, 1.0, a), (1, 200, 300, 200)),
}

REFUSED = {
    "small": (lambda: numtrn.explain(np.matmul, a[:3, :3], b[:3, :3]), "27 multiply-adds are below"),
    "thin": (lambda: numtrn.explain(np.matmul, np.ones((9000, 300)), np.ones(300)), "thinner than 16"),
    "integers": (lambda: numtrn.explain(np.matmul, a.astype(int), b.astype(int)), "int64 has no kernel"),
    "half": (lambda: numtrn.explain(np.matmul, a.astype("e"), b.astype("e")), "float16 has no kernel"),
    "dot of many axes": (
        lambda: numtrn.explain(np.dot, np.ones((3, 4, 5)), np.ones((5, 6))),
        "two matrices only",
    ),
    "three operands": (lambda: numtrn.explain(np.einsum, "ij,jk,kl", a, b, b.T), "3 operands"),
    "other routine": (
        lambda: numtrn.explain(blas.dtrsm, 1.0, np.eye(9), np.ones((9, 9))),
        "no kernel yet for ?trsm",
    ),
    "another function": (lambda: numtrn.explain(np.linalg.svd, a), "does not catch"),
}


@pytest.mark.parametrize("case", PLANNED)
def test_plans(case):
    explain, extents = PLANNED[case]
    plan = explain()
    assert isinstance(plan, numtrn.Plan)
    gemm = plan.gemm
    assert (gemm.batch, gemm.m, gemm.k, gemm.n) == extents
    for word in ("reason", "scheme", "promise", "launch", "predicted", "not measured"):
        assert word in str(plan)


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_with_reason(case):
    explain, words = REFUSED[case]
    refusal = explain()
    assert isinstance(refusal, numtrn.Refusal)
    assert words in refusal.reason
    assert words in str(refusal)


def test_computes_nothing(monkeypatch):
    from numtrn.targets.interpreter import Interpreter

    def never(*_):
        raise AssertionError("explain launched a kernel")

    monkeypatch.setattr(Interpreter, "launch", never)
    lazy = np.broadcast_to(1.0, (50_000, 50_000))  # 20 GB if anything copied it
    assert isinstance(numtrn.explain(np.matmul, lazy, lazy), numtrn.Plan)


def test_uses_the_settings_of_the_block():
    with numtrn.enabled(target="interpreter", chip="trn1", min_work=10**9):
        assert isinstance(numtrn.explain(np.matmul, a, b), numtrn.Refusal)
    with numtrn.enabled(target="interpreter", chip="trn1", min_work=0) as session:
        assert numtrn.explain(np.matmul, a, b).chip == "trn1"
    assert session.calls == ()


@pytest.mark.parametrize(
    "call",
    [
        lambda: numtrn.explain(np.matmul, a, a),
        lambda: numtrn.explain(np.dot, a, a),
        lambda: numtrn.explain(np.tensordot, a, a, 1),
        lambda: numtrn.explain(np.einsum, "ij,jk->ik", a, a),
        lambda: numtrn.explain(np.matmul, a, 3.0),
    ],
)
def test_a_wrong_call_is_an_error(call):
    with pytest.raises(ValueError):
        call()
