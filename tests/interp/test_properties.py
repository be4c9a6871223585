"""Compute instructions on random views, dtypes and shapes, each against one line of NumPy, on every chip.

An entry of a table is what the kernel does and what NumPy does, both with two operands. Operands are views
of larger tiles: sliced with steps, permuted, starting at any partition that hardware allows.
"""

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.machine import CHIPS
from tests.interp.support import hbm, loaded, nisa, nl, psum, run, sbuf, stored

F32 = np.float32
DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16, np.int32, np.int16, np.uint8, np.int8)
FLOATS = DTYPES[:3]
STARTS = {32: (0, 32, 64, 96), 64: (0, 64), 128: (0,)}


@dataclass(frozen=True)
class View:
    """A window on a tile of shape ``full``: slices, then a permutation of the free dimensions."""

    full: tuple
    key: tuple
    order: tuple

    def of(self, tile):
        part = tile[self.key]
        return part.transpose(self.order) if isinstance(part, np.ndarray) else part.permute(self.order)


@st.composite
def views(draw, shape):
    """A view whose result has this shape."""
    rows = shape[0]
    start = draw(st.sampled_from(STARTS[32 if rows <= 32 else 64 if rows <= 64 else 128]))
    order = (0, *(1 + k for k in draw(st.permutations(range(len(shape) - 1)))))
    inner = [0] * len(shape)
    for k, axis in enumerate(order):
        inner[axis] = shape[k]
    full, key = [128], [slice(start, start + rows)]
    for size in inner[1:]:
        step, first = draw(st.integers(1, 3)), draw(st.integers(0, 2))
        full.append(first + size * step + draw(st.integers(0, 1)))
        key.append(slice(first, first + (size - 1) * step + 1, step))
    return View(tuple(full), tuple(key), order)


@st.composite
def operands(draw, kinds=DTYPES):
    """Two inputs and an output of one shape, each with a view and a dtype, and a seed."""
    rows = draw(st.sampled_from((1, 5, 31, 32, 33, 64, 77, 128)))
    shape = (rows, *draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    three = [(draw(views(shape)), draw(st.sampled_from(kinds))) for _ in range(3)]
    return three, draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(sorted(CHIPS)))


def numbers(view, dtype, seed):
    """Small numbers that every dtype holds, none of them zero."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 12, view.full)
    return (values / 4 if np.dtype(dtype).kind in "fV" or dtype is ml_dtypes.bfloat16 else values).astype(
        dtype
    )


def cast(values, dtype):
    """float32 as an engine writes it."""
    values = np.asarray(values, F32)
    if np.dtype(dtype).kind in "iu":
        bounds = np.iinfo(dtype)
        return np.clip(np.rint(values.astype(float)), bounds.min, bounds.max).astype(dtype)
    return values.astype(dtype)


def check(case, work, wanted, exact=True):
    """Run ``work(dst, x, y)`` on views of tiles; ``wanted(x, y)`` in float32 is what dst must hold."""
    ((one, kind1), (other, kind2), (out, kind3)), seed, chip = case
    x, y, base = numbers(one, kind1, seed), numbers(other, kind2, seed + 1), numbers(out, kind3, seed + 2)

    def kernel(x, y, base):
        dst = loaded(base)
        work(out.of(dst), one.of(loaded(x)), other.of(loaded(y)))
        return stored(dst)

    got = run(kernel, x, y, base, chip=chip)
    expected = base.copy()
    out.of(expected)[...] = cast(wanted(one.of(x).astype(F32), other.of(y).astype(F32)), kind3)
    if exact:
        assert np.array_equal(got, expected)
    else:
        np.testing.assert_allclose(got.astype(F32), expected.astype(F32), rtol=1e-2, atol=1e-2)


BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": lambda x, y: (x == y) * F32(1),
    "not_equal": lambda x, y: (x != y) * F32(1),
    "greater": lambda x, y: (x > y) * F32(1),
    "greater_equal": lambda x, y: (x >= y) * F32(1),
    "less": lambda x, y: (x < y) * F32(1),
    "less_equal": lambda x, y: (x <= y) * F32(1),
    "logical_and": lambda x, y: ((x != 0) & (y != 0)) * F32(1),
    "logical_or": lambda x, y: ((x != 0) | (y != 0)) * F32(1),
    "logical_xor": lambda x, y: ((x != 0) ^ (y != 0)) * F32(1),
}
OPERATORS = st.sampled_from(sorted(BINARY))
FOLDS = ("add", "multiply", "maximum", "minimum")
MANY = settings(max_examples=60, deadline=None)


@MANY
@given(operands(), OPERATORS)
def test_tensor_tensor(case, op):
    # VectorE, because GpSimd takes 32-bit integers exactly
    work = lambda dst, x, y: nisa.tensor_tensor(  # noqa: E731
        dst=dst, data1=x, data2=y, op=getattr(nl, op), engine=nisa.engine.vector
    )
    check(case, work, BINARY[op])


@MANY
@given(operands(), OPERATORS, OPERATORS, st.booleans(), st.booleans())
def test_tensor_scalar(case, op0, op1, reverse0, reverse1):
    def work(dst, x, y):
        nisa.tensor_scalar(
            dst=dst, data=x, op0=getattr(nl, op0), operand0=1.5, reverse0=reverse0,
            op1=getattr(nl, op1), operand1=0.75, reverse1=reverse1,
        )  # fmt: skip

    def wanted(x, y):
        first = BINARY[op0](F32(1.5), x) if reverse0 else BINARY[op0](x, F32(1.5))
        return BINARY[op1](F32(0.75), first) if reverse1 else BINARY[op1](first, F32(0.75))

    check(case, work, wanted)


@MANY
@given(operands(), OPERATORS, OPERATORS, st.booleans())
def test_scalar_tensor_tensor(case, op0, op1, reverse1):
    def work(dst, x, y):
        nisa.scalar_tensor_tensor(
            dst=dst, data=x, op0=getattr(nl, op0), operand0=1.5, op1=getattr(nl, op1), operand1=y,
            reverse1=reverse1,
        )  # fmt: skip

    def wanted(x, y):
        first = BINARY[op0](x, F32(1.5))
        return BINARY[op1](y, first) if reverse1 else BINARY[op1](first, y)

    check(case, work, wanted)


UNARY = {
    "tensor_copy": (lambda dst, x: nisa.tensor_copy(dst=dst, src=x), lambda x: x),
    "reciprocal": (lambda dst, x: nisa.reciprocal(dst=dst, data=x), lambda x: F32(1) / x),
    "exp": (lambda dst, x: nisa.activation(dst=dst, op=nl.exp, data=x), np.exp),
    "log": (lambda dst, x: nisa.activation(dst=dst, op=nl.log, data=x, scale=2.0), lambda x: np.log(x * 2)),
    "sqrt": (lambda dst, x: nisa.activation(dst=dst, op=nl.sqrt, data=x), np.sqrt),
    "tanh": (lambda dst, x: nisa.activation(dst=dst, op=nl.tanh, data=x), np.tanh),
    "silu": (lambda dst, x: nisa.activation(dst=dst, op=nl.silu, data=x), lambda x: x / (1 + np.exp(-x))),
    "softplus": (
        lambda dst, x: nisa.activation(dst=dst, op=nl.softplus, data=x),
        lambda x: np.log1p(np.exp(x)),
    ),
    "square": (lambda dst, x: nisa.activation(dst=dst, op=nl.square, data=x), np.square),
}


@pytest.mark.parametrize("name", UNARY)
@settings(max_examples=25, deadline=None)
@given(case=operands(FLOATS))
def test_one_operand(name, case):
    work, wanted = UNARY[name]
    check(case, lambda dst, x, y: work(dst, x), lambda x, y: wanted(x), exact=name == "tensor_copy")


@MANY
@given(operands(FLOATS))
def test_exponential(case):
    def work(dst, x, y):
        nisa.exponential(dst=dst, src=x, max_value=1.0)

    check((*case[:2], "trn3"), work, lambda x, y: np.exp(x - 1), exact=False)


@MANY
@given(operands(FLOATS), st.sampled_from(["add", "multiply", "maximum", "minimum", "subtract"]))
def test_tensor_tensor_scan(case, op1):
    def work(dst, x, y):
        nisa.tensor_tensor_scan(dst=dst, data0=x, data1=y, initial=0.5, op0=nl.multiply, op1=getattr(nl, op1))

    def wanted(x, y):
        flat, other, state, rows = x.reshape(len(x), -1), y.reshape(len(y), -1), F32(0.5), []
        for i in range(flat.shape[1]):
            rows.append(state := BINARY[op1](flat[:, i] * state, other[:, i]))
        return np.stack(rows, axis=1).reshape(x.shape)

    with np.errstate(all="ignore"):
        check(case, work, wanted, exact=False)


@MANY
@given(
    operands((np.float32, np.float16, np.int16)), st.sampled_from(["add", "multiply", "maximum", "minimum"])
)
def test_tensor_scalar_cumulative(case, op1):
    def work(dst, x, y):
        nisa.tensor_scalar_cumulative(dst=dst, src=x, op0=nl.multiply, op1=getattr(nl, op1), imm0=0.5)

    def wanted(x, y):
        return BINARY[op1].accumulate((x * F32(0.5)).reshape(len(x), -1), axis=1).reshape(x.shape)

    with np.errstate(all="ignore"):
        check(case, work, wanted, exact=False)


@MANY
@given(operands((np.float32, np.float16, ml_dtypes.bfloat16)), st.booleans())
def test_select_reduce(case, reverse):
    def work(dst, x, y):
        predicate = sbuf(x.shape, nl.uint8)
        nisa.tensor_scalar(dst=predicate, data=y, op0=nl.greater, operand0=1.5)
        nisa.select_reduce(dst=dst, predicate=predicate, on_true=x, on_false=-1.0, reverse_pred=reverse)

    check(case, work, lambda x, y: np.where((y > 1.5) != reverse, x, F32(-1)))


@MANY
@given(operands(FLOATS), st.integers(0, 9), st.integers(0, 9))
def test_range_select(case, low, high):
    if case[2] == "trn1":
        case = (*case[:2], "trn2")
    case = ([(view, np.float32) for view, _ in case[0]], *case[1:])

    def work(dst, x, y):
        bounds = [sbuf((x.shape[0], 1)) for _ in range(2)]
        nisa.memset(dst=bounds[0], value=float(low))
        nisa.memset(dst=bounds[1], value=float(high))
        nisa.range_select(
            dst=dst, on_true_tile=x, comp_op0=nl.greater_equal, comp_op1=nl.less, bound0=bounds[0],
            bound1=bounds[1], range_start=2,
        )  # fmt: skip

    def wanted(x, y):
        places = 2 + np.arange(x[0].size).reshape(x.shape[1:])
        return np.where((places >= low) & (places < high), x, F32(-3.4028235e38))

    check(case, work, wanted)


@MANY
@given(operands(), st.sampled_from(FOLDS), st.booleans())
def test_tensor_reduce(case, op, negate):
    ((view, kind), *_), seed, chip = case
    x = numbers(view, kind, seed)
    axes = tuple(range(1, len(view.order)))

    def kernel(x):
        out = sbuf((len(view.of(np.empty(view.full))), 1))
        nisa.tensor_reduce(dst=out, op=getattr(nl, op), data=view.of(loaded(x)), axis=axes, negate=negate)
        return stored(out)

    with np.errstate(all="ignore"):
        wanted = BINARY[op].reduce(view.of(x).astype(F32), axis=axes).reshape(-1, 1)
    np.testing.assert_allclose(run(kernel, x, chip=chip), -wanted if negate else wanted, rtol=1e-5)


@MANY
@given(operands(FLOATS))
def test_partition_reduce_and_statistics(case):
    ((view, kind), *_), seed, chip = case
    x = numbers(view, kind, seed)

    def kernel(x):
        data = view.of(loaded(x))
        total, parts, both = sbuf((1, *data.shape[1:])), sbuf((data.shape[0], 6)), sbuf((data.shape[0], 2))
        nisa.tensor_partition_reduce(dst=total, op=nl.add, data=data)
        nisa.bn_stats(dst=parts, data=data)
        nisa.bn_aggr(dst=both, data=parts)
        return stored(total), stored(both)

    total, both = run(kernel, x, chip=chip)
    wide = view.of(x).astype(np.float64)
    flat = wide.reshape(len(wide), -1)
    np.testing.assert_allclose(total, wide.sum(axis=0, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(
        both, np.stack([flat.mean(axis=1), flat.var(axis=1)], axis=1), rtol=1e-4, atol=1e-6
    )


@MANY
@given(
    st.integers(1, 128), st.integers(1, 128), st.integers(1, 512), st.sampled_from(FLOATS),
    st.integers(0, 2**32 - 1), st.sampled_from(sorted(CHIPS)),
)  # fmt: skip
def test_nc_matmul(k, m, n, kind, seed, chip):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-4, 5, (k, m)).astype(kind), rng.integers(-4, 5, (k, n)).astype(kind)

    def kernel(a, b):
        bank, out, left, right = psum((m, n)), hbm((m, n)), loaded(a), loaded(b)
        nisa.nc_matmul(bank, left, right, accumulate=False)
        nisa.nc_matmul(bank, left, right, accumulate=True)
        tile = sbuf((m, n))
        nisa.tensor_copy(dst=tile, src=bank)
        nisa.dma_copy(dst=out, src=tile)
        return out

    assert np.array_equal(run(kernel, a, b, chip=chip), 2 * (a.astype(F32).T @ b.astype(F32)))


@MANY
@given(operands(), st.integers(1, 9))
def test_gather(case, count):
    ((view, kind), *_), seed, chip = case
    x = numbers(view, kind, seed)
    rows, free = len(view.of(x)), view.of(x)[0].size
    index = np.random.default_rng(seed).integers(0, free, (rows, count)).astype(np.uint32)

    def kernel(x, index):
        out = sbuf((rows, count), np.dtype(kind).name)
        nisa.nc_n_gather(dst=out, data=view.of(loaded(x)), indices=loaded(index))
        return stored(out)

    wanted = np.take_along_axis(view.of(x).reshape(rows, -1), index.astype(int), axis=1)
    assert np.array_equal(run(kernel, x, index, chip=chip), wanted)


@MANY
@given(st.integers(1, 128), st.integers(8, 40), st.integers(0, 2**32 - 1), st.sampled_from(sorted(CHIPS)))
def test_eight_largest(rows, free, seed, chip):
    x = np.random.default_rng(seed).permutation(rows * free).reshape(rows, free).astype(F32)

    def kernel(x):
        data, best, places, rest = loaded(x), sbuf((rows, 8)), sbuf((rows, 8), nl.uint32), sbuf((rows, free))
        nisa.max8(dst=best, src=data)
        nisa.nc_find_index8(dst=places, data=data, vals=best)
        nisa.nc_match_replace8(dst=rest, data=data, vals=best, imm=-1.0)
        return stored(best), stored(places), stored(rest)

    best, places, rest = run(kernel, x, chip=chip)
    order = np.argsort(-x, axis=1)[:, :8]
    assert np.array_equal(best, np.take_along_axis(x, order, axis=1))
    assert np.array_equal(places, order)
    wanted = x.copy()
    np.put_along_axis(wanted, order, F32(-1), axis=1)
    assert np.array_equal(rest, wanted)


def test_one_kernel_on_every_chip():
    x = np.linspace(-2, 2, 96, dtype=F32).reshape(8, 12)

    def kernel(x):
        tile, total, bank = loaded(x), sbuf((8, 1)), psum((12, 12))
        nisa.tensor_scalar_reduce(
            dst=tile, data=tile, op0=nl.multiply, operand0=0.5, reduce_op=nl.add, reduce_res=total
        )
        nisa.nc_matmul(bank, tile, tile, accumulate=False)
        square = sbuf((12, 12))
        nisa.tensor_copy(dst=square, src=bank)
        return stored(tile), stored(total), stored(square)

    results = [run(kernel, x, chip=chip) for chip in CHIPS]
    for outputs in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(outputs, results[0], strict=True))
