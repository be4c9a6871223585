"""fp32 products with a structure through the engine: pieces, padding and layouts, against float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.engine import KernelEngine
from numtrn.machine import CHIPS
from numtrn.plan import rank_k, symm, trmm
from numtrn.plan.structured import tile_structured
from numtrn.structured import STRUCTURES
from numtrn.targets.interpreter import Interpreter

UNIT = 2.0**-24
extents = st.sampled_from([1, 2, 31, 127, 128, 129, 200, 300])


def operands(structure, batch, m, k, n, rng):
    """A and B of a structure, and what reading only the structure's part must not notice."""
    if structure == "syrk":
        a = rng.normal(size=(batch, m, k)).astype(np.float32)
        return a, a.swapaxes(1, 2)
    if structure == "syr2k":
        x, y = rng.normal(size=(2, batch, m, k)).astype(np.float32)
        return np.concatenate((x, y), 2), np.concatenate((y, x), 2).swapaxes(1, 2)
    a = np.tril(rng.normal(size=(batch, m, m))).astype(np.float32)
    if structure == "symm":
        a = a + np.tril(a, -1).swapaxes(1, 2)
    return a, rng.normal(size=(batch, m, n)).astype(np.float32)


def check(structure, batch, m, k, n, seed=0):
    a, b = operands(structure, batch, m, k, n, np.random.default_rng(seed))
    engine = KernelEngine(Interpreter(CHIPS["trn2"]))
    value = engine.product(a, b, "float32", structure)
    wide = a.astype(float) @ b.astype(float)
    size = np.abs(a).astype(float) @ np.abs(b).astype(float)
    assert value.dtype == np.float32
    assert (np.abs(value - wide) <= (a.shape[2] + 1) * UNIT * size).all()
    return value, engine


@pytest.mark.parametrize("structure", STRUCTURES)
@settings(max_examples=15, deadline=None)
@given(batch=st.integers(1, 3), m=extents, k=extents, n=extents)
def test_one_launch(structure, batch, m, k, n):
    value, _ = check(structure, batch, m, k, n)
    if structure in ("syrk", "syr2k"):
        np.testing.assert_array_equal(value, value.swapaxes(1, 2))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("shape", [(1, 300, 150, 70), (2, 257, 300, 140), (1, 130, 128, 5)])
def test_pieces_along_a_diagonal(structure, shape, monkeypatch):
    for module in (rank_k, symm, trmm):
        monkeypatch.setattr(module, "LIMIT", 128)
    value, engine = check(structure, *shape)
    if structure in ("syrk", "syr2k"):
        np.testing.assert_array_equal(value, value.swapaxes(1, 2))
    batch, m, k, n = shape
    inner = {"syrk": k, "syr2k": 2 * k}.get(structure, m)
    tilings = tile_structured(structure, batch, m, inner, n, 4)
    assert engine.launches == sum(tiling.launches for tiling in tilings)


def test_a_triangle_launches_nothing_above_its_diagonal(monkeypatch):
    monkeypatch.setattr(trmm, "LIMIT", 128)
    _, engine = check("trmm", 1, 512, 512, 64)
    assert engine.launches == 4 + 3  # one kernel for each piece of the diagonal, one product below each


@pytest.mark.parametrize("operand", ["tfloat32", "bfloat16", "float16"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_other_operand_types(structure, operand):
    """Small integers, which every type holds: exact."""
    rng = np.random.default_rng(1)
    a, b = operands(structure, 1, 150, 40, 30, rng)
    a, b = np.rint(a * 4), np.rint(b * 4)
    engine = KernelEngine(Interpreter(CHIPS["trn2"]))
    np.testing.assert_array_equal(engine.product(a, b, operand, structure), a.astype(float) @ b.astype(float))
