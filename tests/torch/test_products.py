"""Products of tensors: the same bits as of arrays, any layout, any dtype, and errors that help."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
from tests.torch.support import BY_TORCH, D, nt, operator, orbitals, random, torch, triangular

BLOCK = {"target": "interpreter", "min_work": 0, "strict": True}


def ours(function, *operands, **settings):
    """The result by kernels, with the only record."""
    with numtrn.enabled(**{**BLOCK, **settings}) as session:
        result = function(*operands)
    assert session.counts["kernel"] == len(session.calls) == 1, session
    return result, session.calls[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_the_same_bits_as_of_arrays(dtype):
    a, b = random(130, 70, dtype=dtype), random(70, 40, dtype=dtype, seed=1)
    found, call = ours(nt.gemm, a, b)
    expected, same = ours(np.matmul, a.numpy(), b.numpy())
    assert found.numpy().tobytes() == expected.tobytes()
    assert (call.kernel, call.scheme, call.slices, call.bound) == (
        same.kernel,
        same.scheme,
        same.slices,
        same.bound,
    )


def test_float64_is_exact_where_exact_arithmetic_fits():
    a, b = (
        torch.randint(-(2**20), 2**20, (33, 33), generator=torch.Generator().manual_seed(i)) for i in (0, 1)
    )
    found, call = ours(nt.gemm, a.double(), b.double())
    assert call.kernel in ("sliced_gemm", "karatsuba_gemm")
    assert torch.equal(found, (a @ b).double())


def test_a_matrix_and_its_transpose_are_a_symmetric_product():
    a = random(140, 30)
    found, call = ours(nt.gemm, a, a.mT)
    expected, same = ours(np.matmul, a.numpy(), a.numpy().T)
    assert found.numpy().tobytes() == expected.tobytes()
    assert call.work == same.work < 140 * 140 * 30


LAYOUTS = {
    "transposed": lambda: (random(5, 9).mT, random(7, 5).mT),
    "strided": lambda: (random(18, 10)[::2, ::2], random(10, 14)[1::2, ::2]),
    "expanded": lambda: (random(1, 1, 9, 5).expand(2, 3, 9, 5), random(3, 5, 7)),
    "one element": lambda: (random(1, 1), random(1, 1)),
    "offset": lambda: (random(200)[3:48].reshape(9, 5), random(5, 7)),
    "broadcast": lambda: (random(2, 1, 3, 4), random(5, 4, 6)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, dtype):
    a, b = (x.to(dtype) if x.dtype != dtype else x for x in LAYOUTS[layout]())
    before = a.clone(), b.clone()
    found, _ = ours(nt.gemm, a, b)
    assert found.is_contiguous()
    torch.testing.assert_close(found, torch.matmul(a, b))
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@pytest.mark.parametrize(
    "shape", [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0, 2, 3), (0, 3, 2))]
)
def test_empty(shape):
    a, b = (torch.ones(s, dtype=D) for s in shape)
    with numtrn.enabled(**BLOCK) as session:
        found = nt.gemm(a, b)
    assert torch.equal(found, torch.matmul(a, b))
    assert session.counts["kernel"] == 0
    assert "nothing to multiply" in session.calls[0].reason


def test_conjugates_that_are_put_off():
    a, b = random(6, 5, dtype=torch.complex128), random(6, 4, dtype=torch.complex128, seed=1)
    found, _ = ours(nt.gemm, a.mH, b)
    torch.testing.assert_close(found, a.mH @ b)
    found, _ = ours(nt.gemm, a, a.mH)  # not a symmetric product
    torch.testing.assert_close(found, a @ a.mH)


def test_bfloat16_is_rounded_once():
    a, b = random(65, 130, dtype=torch.bfloat16), random(130, 40, dtype=torch.bfloat16, seed=1)
    found, call = ours(nt.gemm, a, b, verify=True)
    assert found.dtype == torch.bfloat16
    assert call.scheme == "bf16"
    exact = a.double() @ b.double()
    slack = 2.0**-8 * exact.abs() + 130 * 2.0**-23 * (a.double().abs() @ b.double().abs())
    assert bool(((found.double() - exact).abs() <= slack).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, torch.int32])
def test_types_without_a_kernel_are_torchs(dtype):
    a, b = random(6, 5).to(dtype), random(5, 4).to(dtype)
    with numtrn.enabled(**BLOCK) as session:
        found = nt.gemm(a, b)
    assert torch.equal(found, torch.matmul(a, b))
    assert "has no kernel" in session.calls[0].reason


@pytest.mark.parametrize("name", ["gemm", "symm", "trsm"])
def test_autocast_leaves_operators_alone(name):
    a, b = triangular(6, dtype=torch.float32), random(6, 4, dtype=torch.float32)
    expected = BY_TORCH[name](a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ b).dtype == torch.bfloat16
        found = getattr(nt, name)(a, b)
        with numtrn.enabled(target="interpreter", strict=True):  # refused as small
            again = getattr(nt, name)(a, b)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(again, expected)


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(["rank_k", "symm", "trmm", "trsm"]),
    n=st.sampled_from([1, 2, 31, 33, 70]),
    columns=st.integers(1, 9),
    upper=st.booleans(),
    single=st.booleans(),
    stack=st.sampled_from([(), (2,)]),
)
def test_structured(name, n, columns, upper, single, stack):
    dtype = torch.float32 if single else D
    square, b = triangular(n, dtype=dtype, upper=upper, stack=stack), random(*stack, n, columns, dtype=dtype)
    operands = {"rank_k": (b,), "symm": (square, b)}.get(name, (square, b, upper))
    with numtrn.enabled(**BLOCK):
        found = operator(name)(*operands)
    scale = {"rtol": 2e-5, "atol": 2e-5} if single else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(found, BY_TORCH[name](*operands), **scale)


def test_float32_solves_have_a_kernel():
    t, b = triangular(96, dtype=torch.float32), random(96, 80, dtype=torch.float32)
    found, call = ours(nt.trsm, t, b)
    assert call.kernel == "trsm"
    torch.testing.assert_close(found, torch.linalg.solve_triangular(t, b, upper=False))


def test_vanishing_denominators_are_not_for_kernels():
    b, (e_occ, _) = random(2, 3, 4), orbitals(2, 3)
    with numtrn.enabled(**BLOCK) as session:
        found = nt.mp2_pairs(b, e_occ, torch.tensor([-0.5, 0.0, 1.0], dtype=D))
    assert session.counts["kernel"] == 0
    assert "not below the lowest" in session.calls[0].reason
    assert found[0, 1, 1].isinf()


def test_nothing_of_a_call_is_caught_twice():
    with numtrn.enabled(target="interpreter") as session:  # the plan refuses: small
        nt.gemm(random(4, 4), random(4, 4))
    assert [call.route for call in session.calls] == ["numpy"]
    assert session.calls[0].seconds is not None


def test_in_a_thread_without_a_block_torch_computes():
    from threading import Thread

    a, found = random(5, 5), []
    with numtrn.enabled(**BLOCK) as session:
        thread = Thread(target=lambda: found.append(nt.gemm(a, a)))
        thread.start()
        thread.join()
    assert torch.equal(found[0], a @ a)
    assert not session.calls


NAME = "numtrn.torch."
MESSAGES = [
    (
        TypeError,
        lambda: nt.gemm(random(2, 3), random(3, 2, dtype=torch.float32)),
        "gemm takes matrices of one dtype; got float64 and float32. Convert one of them, as in b.to(a.dtype)",
    ),
    (
        ValueError,
        lambda: nt.gemm(random(2, 3), random(4, 2)),
        "gemm: A has k columns and B k rows; got (2, 3) and (4, 2)",
    ),
    (
        ValueError,
        lambda: nt.gemm(random(2, 3), random(3)),
        "gemm takes matrices, or stacks of them; b has the shape (3,). "
        "A vector is a matrix of one column: x[:, None]",
    ),
    (
        ValueError,
        lambda: nt.symm(random(2, 3), random(3, 3)),
        "symm takes a square matrix first; got (2, 3)",
    ),
    (
        ValueError,
        lambda: nt.trmm(random(2, 2), random(3, 3)),
        "trmm: B has as many rows as the square matrix; got (2, 2) and (3, 3)",
    ),
    (
        TypeError,
        lambda: nt.rank_k(random(2, 2, dtype=torch.complex128)),
        "rank_k takes real matrices; got complex128. gemm takes complex ones",
    ),
    (
        TypeError,
        lambda: nt.trsm(random(2, 2, dtype=torch.bfloat16), random(2, 2, dtype=torch.bfloat16)),
        "trsm solves in float32 or float64; got bfloat16",
    ),
    (
        TypeError,
        lambda: nt.mp2_pairs(random(2, 3, 4), orbitals(2, 3)[0].float(), orbitals(2, 3)[1]),
        "mp2_pairs takes B in float32 or float64 and energies in float64; got float64, float32 and float64",
    ),
    (
        ValueError,
        lambda: nt.mp2_pairs(random(2, 3, 4), *orbitals(3, 2)),
        "mp2_pairs takes B (nocc, nvir, naux), eps_occ (nocc,) and eps_vir (nvir,); "
        "got (2, 3, 4) and (3,) and (2,)",
    ),
    (
        ValueError,
        lambda: nt.gemm(random(2, 2), random(2, 2).to("meta")),
        "gemm takes tensors of one device; got cpu and meta. Move one of them, as in b.to(a.device)",
    ),
]


@pytest.mark.parametrize(("kind", "call", "message"), MESSAGES)
def test_messages(kind, call, message):
    with pytest.raises(kind) as raised:
        call()
    assert str(raised.value) == NAME + message


def test_messages_about_stacks():
    with pytest.raises(ValueError) as raised:
        nt.gemm(random(2, 3, 3), random(4, 3, 3))
    assert str(raised.value) == (
        "stacks of matrices broadcast over their leading axes; (2, 3, 3) and (4, 3, 3) do not"
    )
    with pytest.raises(ValueError) as raised:
        torch.ops.numtrn.gemm(random(2, 3, 3), random(3, 3))
    assert str(raised.value) == (
        "torch.ops.numtrn.gemm takes stacks of one shape; got (2, 3, 3) and (3, 3). "
        "numtrn.torch.gemm broadcasts them"
    )


def test_a_failed_kernel_is_torchs_affair_and_said_at_the_users_line(monkeypatch):
    from numtrn.targets.interpreter import Interpreter

    def fail(*_):
        raise RuntimeError("injected 7f1")

    monkeypatch.setattr(Interpreter, "keep", fail)
    a = random(4, 4)
    with (
        numtrn.enabled(target="interpreter", min_work=0) as session,
        pytest.warns(numtrn.KernelFallbackWarning) as said,
    ):
        found = nt.gemm(a, a)
    assert torch.equal(found, a @ a)
    assert session.counts["failed"] == 1
    assert said[0].filename == __file__
    with numtrn.enabled(**BLOCK), pytest.raises(numtrn.KernelError, match="injected 7f1"):
        nt.gemm(a, a)
