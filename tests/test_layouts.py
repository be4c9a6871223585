"""Operands reach the kernels as they lie in memory: nothing is transposed on the host, and little copied."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg.blas import sgemm

import numtrn
from numtrn import launch
from numtrn.engine import KernelEngine
from numtrn.machine import CHIPS
from numtrn.request import k_is_fast
from numtrn.targets.interpreter import Interpreter

LAYOUTS = list(product((False, True), repeat=2))
extents = st.sampled_from([1, 2, 16, 63, 64, 65, 127, 128, 129, 200])


class Spy(Interpreter):
    """Keeps what it was launched with."""

    def __init__(self, chip):
        super().__init__(chip)
        self.taken = []

    def keep(self, kernel, arrays, parameters):
        self.taken.append((kernel, list(arrays), tuple(parameters)))
        return super().keep(kernel, arrays, parameters)


def laid(matrices, fast):
    """The same numbers (batch, rows, columns), in C order or with the columns apart in memory."""
    return matrices if fast else np.ascontiguousarray(matrices.swapaxes(1, 2)).swapaxes(1, 2)


def drawn(batch, m, k, n, fast, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((batch, m, k), dtype=np.float32)
    b = rng.standard_normal((batch, k, n), dtype=np.float32)
    return laid(a, fast[0]), laid(b, not fast[1])


def assert_product(found, a, b):
    wide = a.astype(float) @ b.astype(float)
    size = np.abs(a).astype(float) @ np.abs(b).astype(float)
    assert (np.abs(found - wide) <= (a.shape[-1] + 1) * 2.0**-24 * size).all()


@pytest.fixture
def used(monkeypatch):
    """The engines of a block's calls."""
    made = []

    class Noted(KernelEngine):
        def __init__(self, *given):
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(launch, "KernelEngine", Noted)
    return made


def through_kernels(function, *arrays):
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value = function(*arrays)
    (call,) = session.calls
    assert call.route == "kernel", call.reason
    return value, call


@settings(max_examples=40, deadline=None)
@given(extents, extents, extents, st.integers(1, 3), st.sampled_from(LAYOUTS), st.booleans())
def test_products_of_any_layout(m, k, n, batch, fast, half):
    a, b = drawn(batch, m, k, n, fast, m * k * n)
    before = a.tobytes(), b.tobytes()
    target = Spy(CHIPS["trn2"])
    made = KernelEngine(target)
    found = made.product(a, b, "bfloat16" if half else "float32")
    assert (a.tobytes(), b.tobytes()) == before
    if not half:
        assert_product(found, a, b)
    ((kernel, _, parameters),) = target.taken
    assert (kernel, parameters[2:]) == ("gemm", k_is_fast(a, b))
    aligned = all(extent in (16, 64, 128) for extent in (m, k)) and n in (16, 64, 128)
    if aligned and not half:
        assert made.copied == 0
    elif half or m in (63, 127, 65, 129, 200):
        assert made.copied > 0


@pytest.mark.parametrize("fast", LAYOUTS)
def test_what_fits_is_lent_and_cannot_be_written(fast):
    a, b = drawn(2, 128, 256, 192, fast)
    target = Spy(CHIPS["trn1"])
    made = KernelEngine(target)
    assert_product(made.product(a, b, "float32"), a, b)
    ((_, lent, _),) = target.taken
    for array, own in zip(lent, (a, b), strict=True):
        assert np.shares_memory(array, own)
        assert not array.flags.writeable
        assert own.flags.writeable
    assert made.copied == 0
    assert made.bytes == a.nbytes + b.nbytes + 4 * 2 * 128 * 192


@pytest.mark.parametrize("fast", LAYOUTS)
def test_pieces_of_aligned_operands(fast, monkeypatch):
    monkeypatch.setattr("numtrn.plan.tiling.GEMM_LIMIT", (128, 128, 128))
    a, b = drawn(1, 256, 300, 200, fast)
    made = KernelEngine(Interpreter(CHIPS["trn2"]))
    assert_product(made.product(a, b, "float32"), a, b)
    assert made.launches == 12
    # Whole rows along k are a piece of A or B only where k is slow, and where columns are not cut.
    assert made.copied == 4 * (384 * 256 + 384 * 256)


def test_views_take_nothing_of_what_is_kept(monkeypatch):
    monkeypatch.setattr("numtrn.plan.tiling.GEMM_LIMIT", (128, 2048, 128))
    monkeypatch.setattr("numtrn.engine.packing.PACK_BYTES", 4 * 128 * 128)
    a, b = drawn(1, 384, 128, 250, (True, True))
    made = KernelEngine(Interpreter(CHIPS["trn2"]))
    assert_product(made.product(a, b, "float32"), a, b)
    assert made.copied == 4 * 128 * 128  # the last columns of B, once


@pytest.mark.parametrize("structure", ["syrk", "syr2k"])
@pytest.mark.parametrize("fast", [False, True])
def test_products_with_a_transpose_lie_either_way(structure, fast):
    a, _ = drawn(2, 128, 256, 16, (fast, False))
    b = a.swapaxes(1, 2)
    if structure == "syr2k":
        b = np.concatenate((a[:, :, 128:], a[:, :, :128]), 2).swapaxes(1, 2)
    made = KernelEngine(Interpreter(CHIPS["trn2"]))
    assert_product(made.product(a, b, "float32", structure), a, b)
    assert made.copied == (0 if structure == "syrk" or not fast else a.nbytes)


ALIGNED = {"i": 128, "j": 64, "k": 256, "l": 64, "a": 2, "b": 4, "Q": 128, "z": 2}


@pytest.mark.parametrize(
    "subscripts",
    [
        *("ij,jk->ik", "ji,jk->ik", "ij,kj->ik", "ji,kj->ik"),
        *("ij,jk->ki", "ji,jk->ki", "ij,kj->ki", "ji,kj->ki"),
        *("zij,zjk->zik", "zji,zjk->zik", "zij,zkj->zik", "zji,zkj->zik"),
        *("iaQ,jbQ->iajb", "Qia,Qjb->iajb", "iaQ,Qjb->iajb", "iaQ,jbQ->jbia"),
    ],
)
def test_an_einsum_of_aligned_float32_copies_no_operand(subscripts, used):
    rng = np.random.default_rng(6)
    terms = subscripts.split("->")[0].split(",")
    arrays = [rng.standard_normal([ALIGNED[label] for label in term], dtype=np.float32) for term in terms]
    value, call = through_kernels(np.einsum, subscripts, *arrays)
    assert call.kernel == "gemm"
    assert [made.copied for made in used] == [0]
    np.testing.assert_allclose(value, np.einsum(subscripts, *map(np.float64, arrays)), atol=1e-3)


@pytest.mark.parametrize("subscripts", ["iaQ,jbQ->iajb", "Qia,Qjb->iajb"])
def test_an_einsum_of_one_array_with_itself_copies_nothing(subscripts, used):
    shape = [ALIGNED[label] for label in subscripts.split(",")[0]]
    b = np.random.default_rng(7).standard_normal(shape, dtype=np.float32)
    value, call = through_kernels(np.einsum, subscripts, b, b)
    assert call.kernel == "rank_k"
    assert [made.copied for made in used] == [0]
    wide = b.astype(float)
    np.testing.assert_allclose(value, np.einsum(subscripts, wide, wide), atol=1e-3)


def test_copies_are_counted(used):
    a, b = np.ones((128, 128), np.float32), np.ones((128, 100), np.float32)
    through_kernels(np.matmul, a, b)  # columns of B are padded to 128
    through_kernels(np.matmul, a[:, ::2], b[::2])  # elements apart
    with numtrn.enabled(target="interpreter", min_work=0, strict=True, precision="bfloat16"):
        np.matmul(a, a)
    sizes = [4 * 128 * 128, 4 * (128 * 64 + 64 * 128), 2 * 2 * 128 * 128]
    assert [made.copied for made in used] == sizes


@settings(max_examples=25, deadline=None)
@given(extents, extents, extents, st.sampled_from(LAYOUTS), st.sampled_from(["matmul", "einsum", "blas"]))
def test_the_plan_has_the_layout_of_the_launch(m, k, n, fast, way):
    a, b = (array[0] for array in drawn(1, m, k, n, fast))
    functions = {
        "matmul": (np.matmul, a, b),
        "einsum": (lambda x, y: np.einsum("ij,jk->ik", x, y), a, b),
        "blas": (
            lambda x, y: sgemm(
                1.0,
                x.T if fast[0] else x,
                y if fast[1] else y.T,
                trans_a=fast[0],
                trans_b=not fast[1],
            ),
            a,
            b,
        ),
    }
    function, *arrays = functions[way]
    assert_launched_as_planned(function, *arrays)


@pytest.mark.parametrize("precision", ["full", "bfloat16", "tfloat32", "tfloat32x3"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("fast", LAYOUTS)
def test_the_plan_has_the_layout_that_precision_leaves(fast, dtype, precision):
    if (dtype, precision) == ("float64", "full"):
        precision = "float32"
    a, b = (array[0].astype(dtype) for array in drawn(1, 40, 50, 30, fast))
    assert_launched_as_planned(np.matmul, a, b, precision=precision)


def assert_launched_as_planned(function, *arrays, **options):
    planned, launched = [], []
    keep, multiply = Interpreter.keep, launch.multiply

    def kept(self, kernel, arrays, parameters):
        launched.append((kernel, tuple(parameters)))
        return keep(self, kernel, arrays, parameters)

    def multiplied(plan, *rest, **named):
        planned.extend((t.kernel, t.parameters) for t in plan.tilings)
        return multiply(plan, *rest, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Interpreter, "keep", kept)
        patched.setattr(launch, "multiply", multiplied)
        with numtrn.enabled(target="interpreter", min_work=0, strict=True, **options):
            function(*arrays)
    assert launched == planned != []
