"""`numtrn.explain`: what would become of a call, without computing it."""

import numpy as np
import opt_einsum
import pytest
from scipy.linalg import blas, lapack

import numtrn
from numtrn.request import Cholesky, Gemm, Solve

a, b = np.ones((200, 300)), np.ones((300, 400))

PLANNED = {
    "matmul": (lambda: numtrn.explain(np.matmul, a, b), (1, 200, 300, 400)),
    "matmul out": (lambda: numtrn.explain(np.matmul, a, b, out=np.ones((200, 400))), (1, 200, 300, 400)),
    "matmul stacked": (lambda: numtrn.explain(np.matmul, np.ones((5, 200, 300)), b), (1, 1000, 300, 400)),
    "matmul batched": (
        lambda: numtrn.explain(np.matmul, np.ones((5, 200, 300)), np.ones((5, 300, 400))),
        (5, 200, 300, 400),
    ),
    "dot": (lambda: numtrn.explain(np.dot, a, b), (1, 200, 300, 400)),
    "method dot": (lambda: numtrn.explain(np.ndarray.dot, a, b), (1, 200, 300, 400)),
    "inner": (lambda: numtrn.explain(np.inner, a, b.T), (1, 200, 300, 400)),
    "tensordot": (lambda: numtrn.explain(np.tensordot, a, b, 1), (1, 200, 300, 400)),
    "tensordot axes": (lambda: numtrn.explain(np.tensordot, a, b.T, axes=([1], [-1])), (1, 200, 300, 400)),
    "tensordot negative axes": (
        lambda: numtrn.explain(np.tensordot, a, b, axes=(-1, 0)),
        (1, 200, 300, 400),
    ),
    "dot of many axes": (
        lambda: numtrn.explain(np.dot, np.ones((2, 100, 300)), np.ones((4, 300, 100))),
        (1, 200, 300, 400),
    ),
    "inner of many axes": (
        lambda: numtrn.explain(np.inner, np.ones((2, 100, 300)), b.T),
        (1, 200, 300, 400),
    ),
    "multi_dot of two": (lambda: numtrn.explain(np.linalg.multi_dot, [a, b]), (1, 200, 300, 400)),
    "opt_einsum": (lambda: numtrn.explain(opt_einsum.contract, "ij,jk", a, b), (1, 200, 300, 400)),
    "einsum": (lambda: numtrn.explain(np.einsum, "ij,jk->ki", a, b), (1, 400, 300, 200)),
    "einsum optimize": (
        lambda: numtrn.explain(np.einsum, "ij,jk->ki", a, b, optimize=("greedy", 9)),
        (1, 400, 300, 200),
    ),
    "einsum out": (
        lambda: numtrn.explain(
            np.einsum, "ij,jk->ik", a, b, out=np.ones((200, 400), "f"), casting="same_kind", order="F"
        ),
        (1, 200, 300, 400),
    ),
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
    "method dot of many axes": (
        lambda: numtrn.explain(np.ndarray.dot, np.ones((3, 4, 5)), np.ones((5, 6))),
        "cannot be reached",
    ),
    "dot with a scalar": (lambda: numtrn.explain(np.dot, a, 2.0), "with a scalar"),
    "dot with a vector": (lambda: numtrn.explain(np.dot, a, b[:, 0]), "by GEMV or DOT"),
    "one operand": (lambda: numtrn.explain(np.einsum, "ij->ji", a), "multiplies nothing"),
    "mixed multi_dot": (
        lambda: numtrn.explain(np.linalg.multi_dot, [a, b.astype("f"), b.T]),
        "mixed dtypes",
    ),
    "three operands": (
        lambda: numtrn.explain(np.einsum, "ij,ij,ij", a, a, a),
        "2 steps, none for a kernel; ij,ij->ij: no label is contracted",
    ),
    "few right-hand sides": (
        lambda: numtrn.explain(blas.dtrsm, 1.0, np.eye(900), np.ones((900, 64))),
        "64 right-hand sides, at most 64",
    ),
    "another function": (lambda: numtrn.explain(np.linalg.svd, a), "does not catch"),
}


SYMMETRIC, TALL = np.ones((300, 300)), np.ones((300, 200))

LEVEL_3 = {
    "symm": (
        blas.dsymm,
        (1.0, SYMMETRIC, TALL),
        {},
        Gemm,
        {"structure": "symm", "stored": "upper", "n": 200},
    ),
    "symm on the right": (
        blas.ssymm,
        (1.0, SYMMETRIC, TALL.T),
        {"side": 1, "lower": 1},
        Gemm,
        {"structure": "symm", "stored": "lower", "m": 300, "n": 200},
    ),
    "hemm": (blas.zhemm, (1.0, SYMMETRIC, TALL), {}, Gemm, {"structure": "hemm", "dtype": "complex128"}),
    "herk": (blas.cherk, (1.0, TALL), {"trans": 2}, Gemm, {"structure": "herk", "m": 200, "k": 300}),
    "syr2k": (blas.dsyr2k, (1.0, TALL, TALL), {"beta": 1.0}, Gemm, {"k": 400, "reads_c": True}),
    "her2k": (blas.zher2k, (1.0, TALL, TALL), {}, Gemm, {"structure": "her2k", "triangle": "upper"}),
    "trmm": (blas.dtrmm, (1.0, SYMMETRIC, TALL), {"trans_a": 1}, Gemm, {"stored": "lower", "unit": False}),
    "trmm on the right": (
        blas.dtrmm,
        (1.0, SYMMETRIC, TALL.T),
        {"side": 1, "diag": 1},
        Gemm,
        {"stored": "lower", "unit": True},
    ),
    "trsm": (blas.dtrsm, (1.0, SYMMETRIC, TALL), {"lower": 1}, Solve, {"n": 300, "columns": 200}),
    "trtrs": (lapack.strtrs, (SYMMETRIC, TALL), {"trans": 1}, Solve, {"columns": 200, "dtype": "float32"}),
    "potrs": (lapack.dpotrs, (SYMMETRIC, TALL), {}, Solve, {"n": 300}),
    "getrs": (lapack.dgetrs, (SYMMETRIC, np.arange(300), TALL), {}, Solve, {"columns": 200}),
    "potrf": (lapack.dpotrf, (SYMMETRIC,), {}, Cholesky, {"n": 300}),
}


@pytest.mark.parametrize("case", LEVEL_3)
def test_level_3_is_planned(case):
    function, args, kwargs, kind, fields = LEVEL_3[case]
    plan = numtrn.explain(function, *args, **kwargs)
    assert isinstance(plan, (numtrn.Plan, numtrn.BlockedPlan)), plan
    assert isinstance(plan.request, kind)
    assert {name: getattr(plan.request, name) for name in fields} == fields
    for word in ("reason", "scheme", "promise", "predicted", "not measured"):
        assert word in str(plan)


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
