"""One call has one result: tilings, blocks, launches, chips, layouts and threads change no bit of it.

float64 and complex128 are exact until the last rounding, so that nothing may change them. float32 and
complex64 are sums in fp32, whose order is that of the tiling: they are held to what does not cut the sum.
"""

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numtrn
from numtrn.engine import KernelEngine
from numtrn.machine import CHIPS
from numtrn.plan import words
from numtrn.plan.tuned import Block
from numtrn.precision import choose, gemm
from numtrn.request import MIRRORED
from numtrn.targets.interpreter import Interpreter

ROOT = Path(__file__).parent.parent

EXACT = ("float64", "complex128")
DTYPES = (*EXACT, "float32", "complex64")


def operands(dtype, shape=(150, 300, 70), batch=(), graded=False):
    m, k, n = shape
    rng = np.random.default_rng([m, k, n])
    a, b = rng.standard_normal((*batch, m, k)), rng.standard_normal((*batch, k, n))
    if graded:
        a = a * 2.0 ** rng.integers(-20, 21, a.shape)
    if dtype.startswith("complex"):
        a, b = a + 1j * a[..., ::-1, :], b - 1j * b[..., ::-1]
    return a.astype(dtype), b.astype(dtype)


def through_kernels(function, *arrays, chip="trn2", **keywords):
    with numtrn.enabled(target="interpreter", chip=chip, min_work=0, strict=True) as session:
        value = function(*arrays, **keywords)
    (call,) = session.calls
    assert call.route == "kernel", call.reason
    return value, call.launches


def same_bits(first, second):
    assert first.dtype == second.dtype
    assert first.shape == second.shape
    assert first.tobytes() == second.tobytes()


CUTS = {
    "small M": {"limits": (128, 2048, 1024)},
    "small K": {"limits": (1024, 128, 1024)},
    "small N": {"limits": (1024, 2048, 64)},
    "all small": {"limits": (128, 128, 64)},
    "small blocks": {"block": (128, 64, 1)},
    "small blocks, deep": {"block": (128, 64, 4)},
    "few instructions": {"instructions": 600},
}


def cut(monkeypatch, limits=None, block=None, instructions=None):
    """Make launches smaller. The only place here that knows how the plan is written."""
    if limits:
        monkeypatch.setattr(words, "LIMITS", (limits,))
    if block:
        monkeypatch.setattr(words, "_choice", lambda *_: Block(*block, 1.0))
    if instructions:
        monkeypatch.setattr(words, "LONG", instructions)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("name", CUTS)
def test_tilings_and_launches(name, dtype, graded, monkeypatch):
    arrays = operands(dtype, graded=graded)
    whole, _ = through_kernels(np.matmul, *arrays)
    cut(monkeypatch, **CUTS[name])
    pieces, _ = through_kernels(np.matmul, *arrays)
    same_bits(whole, pieces)


def test_cuts_are_cuts(monkeypatch):
    arrays = operands("float64")
    _, few = through_kernels(np.matmul, *arrays)
    cut(monkeypatch, **CUTS["all small"])
    _, many = through_kernels(np.matmul, *arrays)
    assert many > 3 * few


@pytest.mark.parametrize("dtype", EXACT)
def test_sums_longer_than_a_launch(dtype, monkeypatch):
    arrays = operands(dtype, (20, 5000, 17))
    whole, few = through_kernels(np.matmul, *arrays)
    cut(monkeypatch, limits=(128, 256, 64))
    pieces, many = through_kernels(np.matmul, *arrays)
    assert many > few > 1
    same_bits(whole, pieces)


@pytest.mark.parametrize("dtype", EXACT)
def test_batches(dtype, monkeypatch):
    arrays = operands(dtype, (30, 200, 25), batch=(5,))
    whole, few = through_kernels(np.matmul, *arrays)
    cut(monkeypatch, instructions=100)
    pieces, many = through_kernels(np.matmul, *arrays)
    assert many > few
    same_bits(whole, pieces)


STRUCTURES = ("syrk", "herk", "syr2k", "her2k", "symm", "trmm")


def structured(structure, dtype, m, batch=1, graded=False):
    x, y = (operands(dtype, (m, m, m), (batch,))[i] for i in (0, 1))
    if graded:  # along k, so that the inner dimension is scaled
        rng = np.random.default_rng(m)
        x, y = x * 2.0 ** rng.integers(-30, 31, m), y / 2.0 ** rng.integers(-30, 31, m)
    turn, factor = (0, 2, 1), 0.3 - 0.7j if dtype.startswith("complex") else 0.7
    if structure == "trmm":
        return np.tril(x), y
    if structure == "symm":
        return x + x.transpose(turn), y
    if structure in ("syrk", "herk"):
        return x, (x if structure == "syrk" else x.conj()).transpose(turn)
    if structure == "syr2k":
        return np.concatenate((x, y), 2), np.concatenate((y, x), 2).transpose(turn)
    left = np.concatenate((factor * x, np.conj(factor) * y), 2)
    return left.astype(dtype), np.concatenate((y, x), 2).conj().transpose(turn)


def by_structure(structure, a, b):
    engine = KernelEngine(Interpreter(CHIPS["trn2"]))
    product = gemm(choose(a.dtype.name, "full", a.shape[2]), a, b, engine, structure)
    return product.value, engine


def is_general(structure, value, general):
    """Bits are the general product's; of Hermitian results those on and below the diagonal."""
    if structure in MIRRORED:
        hermitian = structure in ("herk", "her2k")
        assert np.array_equal(value, (value.conj() if hermitian else value).transpose(0, 2, 1))
        if hermitian:
            value, general = np.tril(value), np.tril(general)
            if value.dtype.kind == "c":
                assert not np.diagonal(value.imag, axis1=1, axis2=2).any()
                for matrix in general:
                    np.fill_diagonal(matrix.imag, 0)
    same_bits(value, general)


STRUCTURE_CUTS = {"none": {}, "all small": CUTS["all small"], "small blocks": CUTS["small blocks"]}


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", STRUCTURE_CUTS)
def test_structures(name, structure, dtype, monkeypatch):
    a, b = structured(structure, dtype, 150, graded=True)
    general, _ = by_structure("general", a, b)
    cut(monkeypatch, **STRUCTURE_CUTS[name])
    value, engine = by_structure(structure, a, b)
    is_general(structure, value, general)
    _, whole = by_structure("general", a, b)
    if name == "all small" and structure != "symm":
        assert engine.launches < whole.launches


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("batch", [1, 3])
def test_structures_in_karatsubas_form(structure, batch, monkeypatch):
    a, b = structured(structure, "float64", 200, batch)
    general, _ = by_structure("general", a, b)
    monkeypatch.setattr("numtrn.plan.ladder.prefers_karatsuba", lambda *_: True)
    for limits in ((2048, 2048, 2048), (128, 128, 128)):
        monkeypatch.setattr(words, "LIMITS", (limits,))
        value, engine = by_structure(structure, a, b)
        assert engine.form == "Karatsuba"
        is_general(structure, value, general)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("m", [1, 33, 130])
def test_structures_of_few_rows(m, dtype, structure):
    a, b = structured(structure, dtype, m, batch=2)
    is_general(structure, by_structure(structure, a, b)[0], by_structure("general", a, b)[0])


def test_a_planted_upper_half_is_not_read(monkeypatch):
    # What "trmm" leaves out is left out: blocks and pieces above the diagonal.
    monkeypatch.setattr(words, "LIMITS", ((128, 128, 64),))
    a, b = structured("trmm", "float64", 280)
    expected, _ = by_structure("trmm", a, b)
    planted = a.copy()
    planted[:, :128, 128:] = 0.5
    value, _ = by_structure("trmm", planted, b)
    assert np.allclose(value, expected, rtol=1e-12, atol=1e-12)
    assert not np.allclose(by_structure("general", planted, b)[0], expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chip", ["trn1", "trn3"])
def test_chips(chip, dtype):
    arrays = operands(dtype, graded=True)
    same_bits(through_kernels(np.matmul, *arrays)[0], through_kernels(np.matmul, *arrays, chip=chip)[0])


LAYOUTS = {
    "F order": np.asfortranarray,
    "every second": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    "read only": lambda x: np.broadcast_to(x, (1, *x.shape))[0],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, dtype):
    arrays = operands(dtype)
    laid_out = [LAYOUTS[layout](x) for x in arrays]
    same_bits(through_kernels(np.matmul, *arrays)[0], through_kernels(np.matmul, *laid_out)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_out(order, dtype):
    arrays = operands(dtype)
    fresh, _ = through_kernels(np.matmul, *arrays)
    out = np.empty(fresh.shape, dtype, order=order)
    given, _ = through_kernels(np.matmul, *arrays, out=out)
    assert given is out
    same_bits(fresh, given)


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions(dtype):
    a, b = operands(dtype)
    expected, _ = through_kernels(np.matmul, a, b)
    same_bits(expected, through_kernels(np.dot, a, b)[0])
    same_bits(expected, through_kernels(np.einsum, "ij,jk->ik", a, b)[0])


THREADED = "from tests.test_bitwise import fingerprint; print(fingerprint({shapes}))"

SHAPES = (((150, 300, 70), ()), ((20, 3000, 17), ()), ((30, 100, 25), (4,)))


@functools.cache
def fingerprint(shapes=SHAPES):
    """A digest of the results of every dtype, for (shape, batch) each."""
    digest = hashlib.sha256()
    for dtype in DTYPES:
        for shape, batch in shapes:
            value, _ = through_kernels(np.matmul, *operands(dtype, shape, batch))
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def fingerprint_elsewhere(shapes, **variables):
    process = subprocess.run(
        [sys.executable, "-c", THREADED.format(shapes=shapes)],
        env={**os.environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.strip()


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_threads(threads):
    assert fingerprint_elsewhere(SHAPES, NUMTRN_NUM_THREADS=threads) == fingerprint()


def test_threads_of_blas():
    """The interpreter multiplies with NumPy's BLAS, whose threads may cut sums otherwise."""
    assert fingerprint_elsewhere(SHAPES[:1], OPENBLAS_NUM_THREADS="2") == fingerprint(SHAPES[:1])
