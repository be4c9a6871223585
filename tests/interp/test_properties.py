"""Instructions of VectorE and TensorE on random views, dtypes and shapes, each against a line of NumPy."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.interp.properties import (
    BF16,
    BITS,
    E4M3,
    E5M2,
    F32,
    FLOATS,
    GEN3,
    MANY,
    ROWS,
    SEEDS,
    Case,
    View,
    check,
    covers,
    everywhere,
    launched,
    numbers,
    operands,
    patterns,
    shapes,
    views,
)
from tests.interp.support import evicted, loaded, nisa, nl, psum, sbuf, stored

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
FOLDS = st.sampled_from(["add", "multiply", "maximum", "minimum"])
SHORT = shapes(edges=(1, 2, 31, 33))


def unsigned(x):
    return x.view(f"u{x.itemsize}")


BITVEC = {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "left_shift": lambda x, y: (unsigned(x) << unsigned(y)).view(x.dtype),
    "right_shift": lambda x, y: (unsigned(x) >> unsigned(y)).view(x.dtype),  # logical
}
BITWISE = st.sampled_from(sorted(BITVEC))


def op(name):
    return getattr(nl, name)


# -- arithmetic ------------------------------------------------------------------------------------


@covers("tensor_tensor")
@MANY
@given(operands(count=3), OPERATORS)
def test_tensor_tensor(case, name):
    # VectorE, because GpSimd takes 32-bit integers exactly
    check(
        case,
        lambda dst, x, y: nisa.tensor_tensor(
            dst=dst, data1=x, data2=y, op=op(name), engine=nisa.engine.vector
        ),
        BINARY[name],
    )


@covers("tensor_tensor")
@MANY
@given(operands((np.int32, np.uint32), 3), OPERATORS)
def test_integers_of_32_bits_are_exact(case, name):
    bits = 15 if name == "multiply" else 30

    def fill(shape, dtype, seed):
        return np.random.default_rng(seed).integers(0, 2**bits, shape).astype(dtype)

    def work(dst, x, y):
        nisa.tensor_tensor(dst=dst, data1=x, data2=y, op=op(name))

    if name == "subtract":  # unsigned results stay positive
        case = replace(case, kinds=(np.int32,) * 3)
    check(case, work, lambda *xy: BINARY[name](*(v.astype(np.int64) for v in xy)), fill=fill, narrow=None)


@covers("tensor_scalar")
@MANY
@given(operands(count=2), OPERATORS, OPERATORS, st.booleans(), st.booleans(), st.booleans())
def test_tensor_scalar(case, op0, op1, reverse0, reverse1, vector):
    def work(dst, x):
        first = 1.5
        if vector:
            first = sbuf((x.shape[0], 1))
            nisa.memset(dst=first, value=1.5)
        nisa.tensor_scalar(
            dst=dst, data=x, op0=op(op0), operand0=first, reverse0=reverse0,
            op1=op(op1), operand1=0.75, reverse1=reverse1,
        )  # fmt: skip

    def wanted(x):
        first = BINARY[op0](F32(1.5), x) if reverse0 else BINARY[op0](x, F32(1.5))
        return BINARY[op1](F32(0.75), first) if reverse1 else BINARY[op1](first, F32(0.75))

    check(case, work, wanted)


@covers("scalar_tensor_tensor")
@MANY
@given(operands(count=3), OPERATORS, OPERATORS, st.booleans(), st.booleans())
def test_scalar_tensor_tensor(case, op0, op1, reverse0, reverse1):
    def work(dst, x, y):
        nisa.scalar_tensor_tensor(
            dst=dst, data=x, op0=op(op0), operand0=1.5, reverse0=reverse0, op1=op(op1), operand1=y,
            reverse1=reverse1,
        )  # fmt: skip

    def wanted(x, y):
        first = BINARY[op0](F32(1.5), x) if reverse0 else BINARY[op0](x, F32(1.5))
        return BINARY[op1](y, first) if reverse1 else BINARY[op1](first, y)

    check(case, work, wanted)


@covers("reciprocal")
@MANY
@given(operands(count=2))
def test_reciprocal(case):
    check(case, lambda dst, x: nisa.reciprocal(dst=dst, data=x), lambda x: F32(1) / x)


@covers("tensor_tensor_scan")
@MANY
@given(operands(count=3, shape=SHORT), OPERATORS, OPERATORS, st.booleans(), st.booleans())
def test_tensor_tensor_scan(case, op0, op1, reverse0, reverse1):
    def work(dst, x, y):
        nisa.tensor_tensor_scan(
            dst=dst, data0=x, data1=y, initial=0.5, op0=op(op0), op1=op(op1), reverse0=reverse0,
            reverse1=reverse1,
        )  # fmt: skip

    def wanted(x, y):
        state, columns = F32(0.5), []
        for a, b in zip(x.reshape(len(x), -1).T, y.reshape(len(y), -1).T, strict=True):
            state = BINARY[op0](state, a) if reverse0 else BINARY[op0](a, state)
            columns.append(state := BINARY[op1](b, state) if reverse1 else BINARY[op1](state, b))
        return np.stack(columns, axis=1).reshape(x.shape)

    check(case, work, wanted)


@covers("tensor_scalar_cumulative")
@MANY
@given(
    operands((np.float32, np.float16, BF16, E5M2, np.int16, np.uint8), 2, shape=SHORT),
    st.sampled_from(["add", "subtract", "multiply", "maximum", "minimum"]), st.booleans(),
)  # fmt: skip
def test_tensor_scalar_cumulative(case, name, loads):
    more = {"imm1": 0.25, "reduce_cmd": nisa.reduce_cmd.load_reduce} if loads else {}
    start = {"multiply": 1, "maximum": -np.inf, "minimum": np.inf}.get(name, 0)

    def work(dst, x):
        nisa.tensor_scalar_cumulative(dst=dst, src=x, op0=nl.multiply, op1=op(name), imm0=0.5, **more)

    def wanted(x):
        state, columns = F32(0.25 if loads else start), []
        for column in x.reshape(len(x), -1).T:
            columns.append(state := BINARY[name](column * F32(0.5), state))
        return np.stack(columns, axis=1).reshape(x.shape)

    check(case, work, wanted)


# -- bit patterns ----------------------------------------------------------------------------------


def amounts(shape, dtype, seed):
    return np.random.default_rng(seed).integers(0, 8 * np.dtype(dtype).itemsize, shape).astype(dtype)


@covers("tensor_tensor")
@MANY
@given(operands(BITS, 3, same=True), BITWISE)
def test_bitvec_of_two_tiles(case, name):
    def fill(shape, dtype, seed):
        second = "shift" in name and seed == case.seed + 1
        return (amounts if second else patterns)(shape, dtype, seed)

    def work(dst, x, y):
        nisa.tensor_tensor(dst=dst, data1=x, data2=y, op=op(name))

    check(case, work, BITVEC[name], fill=fill, narrow=None)


@covers("tensor_scalar")
@MANY
@given(
    operands(BITS, 2, same=True), BITWISE, st.sampled_from(["", "invert", *sorted(BITVEC)]), st.integers(0, 7)
)
def test_bitvec_of_a_tile_and_numbers(case, op0, op1, number):
    kind = case.kinds[0]

    def work(dst, x):
        one = sbuf((x.shape[0], 1), np.dtype(kind).name)
        nisa.memset(dst=one, value=number)
        more = {"op1": op(op1), "operand1": None if op1 == "invert" else number} if op1 else {}
        nisa.tensor_scalar(dst=dst, data=x, op0=op(op0), operand0=one, **more)

    def wanted(x):
        first = BITVEC[op0](x, np.full_like(x, number))
        return {"": lambda a, b: a, "invert": lambda a, b: ~a, **BITVEC}[op1](first, np.full_like(x, number))

    check(case, work, wanted, fill=patterns, narrow=None)


# -- reductions ------------------------------------------------------------------------------------


@covers("tensor_reduce")
@MANY
@given(operands(count=1), FOLDS, st.booleans(), st.booleans(), st.data())
def test_tensor_reduce(case, name, negate, keepdims, data):
    axes = tuple(range(data.draw(st.integers(1, len(case.shape) - 1)), len(case.shape)))

    def work(x):
        out = sbuf(x.shape[: axes[0]] if axes[0] > 1 else (x.shape[0], 1))
        nisa.tensor_reduce(dst=out, op=op(name), data=x, axis=axes, negate=negate, keepdims=keepdims)
        return out

    got, (x,) = launched(case, work)
    with np.errstate(over="ignore"):
        wanted = BINARY[name].reduce(x.astype(np.float64), axis=axes).astype(F32).reshape(got.shape)
    np.testing.assert_allclose(got, -wanted if negate else wanted, rtol=1e-4)


@covers("tensor_reduce", "tensor_partition_reduce")
@MANY
@given(operands(BITS, 1), st.sampled_from(["bitwise_and", "bitwise_or"]))
def test_bitvec_reductions(case, name):
    def work(x):
        free, across = sbuf((x.shape[0], 1), x.dtype), sbuf((1, *x.shape[1:]), x.dtype)
        nisa.tensor_reduce(dst=free, op=op(name), data=x, axis=tuple(range(1, x.ndim)))
        nisa.tensor_partition_reduce(dst=across, op=op(name), data=x)
        return free, across

    (free, across), (x,) = launched(case, work, fill=patterns)
    assert np.array_equal(free, BITVEC[name].reduce(x.reshape(len(x), -1), axis=1, keepdims=True))
    assert np.array_equal(across, BITVEC[name].reduce(x, axis=0, keepdims=True))


@covers("tensor_partition_reduce")
@MANY
@given(operands(count=1), st.sampled_from(["add", "average", "max"]))
def test_tensor_partition_reduce(case, name):
    def work(x):
        out = sbuf((1, *x.shape[1:]))
        nisa.tensor_partition_reduce(dst=out, op=op(name), data=x)
        return out

    got, (x,) = launched(case, work)
    fold = {"add": np.sum, "average": np.mean, "max": np.max}[name]
    np.testing.assert_allclose(got, fold(x.astype(np.float64), axis=0, keepdims=True), rtol=1e-5)


@covers("bn_stats", "bn_aggr")
@MANY
@given(operands(count=1))
def test_statistics(case):
    def work(x):
        parts, both = sbuf((x.shape[0], 6)), sbuf((x.shape[0], 2))
        nisa.bn_stats(dst=parts, data=x)
        nisa.bn_aggr(dst=both, data=parts)
        return parts, both

    (parts, both), (x,) = launched(case, work)
    flat = x.astype(np.float64).reshape(len(x), -1)
    for first, half in ((0, flat[:, ::2]), (3, flat[:, 1::2])):
        if half.size:
            wanted = [np.full(len(half), half.shape[1]), half.mean(axis=1), half.var(axis=1) * half.shape[1]]
            found = parts[:, first : first + 3]
            np.testing.assert_allclose(found, np.stack(wanted, axis=1), rtol=1e-4, atol=1e-5)
    wanted = [flat.mean(axis=1), flat.var(axis=1)]
    np.testing.assert_allclose(both, np.stack(wanted, axis=1), rtol=1e-4, atol=1e-5)


@covers("tensor_scalar_reduce")
@MANY
@given(
    operands(count=2, shape=SHORT), OPERATORS, FOLDS, st.booleans(),
    st.sampled_from(["reset_reduce", "reduce", "load_reduce"]),
)  # fmt: skip
def test_tensor_scalar_reduce(case, op0, name, negate, command):
    def work(dst, x):
        total, same = sbuf((x.shape[0], 1)), {"op0": op(op0), "operand0": 1.5, "reduce_op": op(name)}
        if command == "reduce":
            nisa.tensor_scalar_reduce(dst=dst, data=x, **same)
        nisa.tensor_scalar_reduce(
            dst=dst, data=x, **same, reduce_res=total, reduce_cmd=getattr(nisa.reduce_cmd, command),
            reduce_init=2.5 if command == "load_reduce" else None, reduce_res_negate=negate,
        )  # fmt: skip
        return total

    def also(total, x):
        rows = BINARY[op0](x, F32(1.5)).reshape(len(x), -1).astype(np.float64)
        wanted = BINARY[name].reduce(rows, axis=1, keepdims=True)
        if command != "reset_reduce":
            wanted = BINARY[name](wanted, wanted if command == "reduce" else 2.5)
        wanted = wanted.astype(F32)
        np.testing.assert_allclose(total, -wanted if negate else wanted, rtol=1e-4, atol=1e-4)

    check(case, work, lambda x: BINARY[op0](x, F32(1.5)), also=also)


# -- selection -------------------------------------------------------------------------------------


def largest(rows, found):
    assert np.array_equal(found, rows.reshape(len(rows), -1).max(axis=1, keepdims=True))


@covers("select_reduce")
@MANY
@given(
    operands((np.float32, np.float16, BF16, E4M3, np.int16, np.uint8), 2),
    st.sampled_from([np.uint8, np.int8, np.uint16, np.int16]), st.booleans(),
)  # fmt: skip
def test_select_reduce(case, kind, reverse):
    mask = np.random.default_rng(case.seed).integers(0, 2, case.shape)

    def work(dst, x, predicate):
        total = sbuf((x.shape[0], 1))
        nisa.select_reduce(
            dst=dst, predicate=predicate, on_true=x, on_false=-1.0, reverse_pred=reverse,
            reduce_res=total, reduce_cmd=nisa.reduce_cmd.reset_reduce,
        )  # fmt: skip
        return total

    def wanted(x):
        return np.where((mask != 0) != reverse, x, F32(-1))

    check(case, work, wanted, (-mask).astype(kind), also=lambda total, x: largest(wanted(x), total))


COMPARE = ("equal", "less", "less_equal", "greater", "greater_equal")


@covers("range_select")
@MANY
@given(operands(FLOATS, 2), *[st.sampled_from(COMPARE)] * 2, st.integers(0, 2**20))
def test_range_select(case, op0, op1, start):
    bounds = F32(start) + np.random.default_rng(case.seed).integers(0, 9, (2, case.shape[0], 1)).astype(F32)

    def work(dst, x, low, high):
        total = sbuf((x.shape[0], 1))
        nisa.range_select(
            dst=dst, on_true_tile=x, comp_op0=op(op0), comp_op1=op(op1), bound0=low, bound1=high,
            range_start=start, reduce_res=total,
        )  # fmt: skip
        return total

    def wanted(x):
        places = F32(start) + np.arange(x[0].size, dtype=F32)
        kept = (BINARY[op0](places, bounds[0]) * BINARY[op1](places, bounds[1])).reshape(x.shape)
        return np.where(kept != 0, x, F32(-3.4028235e38))

    check(case, work, wanted, *bounds, also=lambda total, x: largest(wanted(x), total), chips=GEN3)


@covers("max8", "nc_find_index8", "nc_match_replace8")
@MANY
@given(operands((np.float32, np.int16), 1, shape=shapes(edges=(8, 9, 33, 128, 511))), st.booleans())
def test_eight_largest(case, narrow):
    """Equal values are served from the first slot by nc_find_index8, from the last by nc_match_replace8."""
    index = np.uint16 if narrow else np.uint32
    if np.prod(case.shape[1:]) < 8 or len(case.shape) > 3:
        return

    def fill(shape, dtype, seed):
        return np.random.default_rng(seed).integers(0, 30, shape).astype(dtype)

    def work(x):
        rows = x.shape[0]
        best, rest = sbuf((rows, 8)), sbuf(x.shape)
        places, again = (sbuf((rows, 8), np.dtype(index).name) for _ in range(2))
        nisa.max8(dst=best, src=x)
        nisa.nc_find_index8(dst=places, data=x, vals=best)
        nisa.nc_match_replace8(dst=rest, data=x, vals=best, imm=-1.0, dst_idx=again)
        return best, places, again, rest

    (best, places, again, rest), (x,) = launched(case, work, fill=fill)
    flat = x.reshape(len(x), -1).astype(F32)
    order = np.argsort(-flat, axis=1, kind="stable")[:, :8]
    assert np.array_equal(best, np.take_along_axis(flat, order, axis=1))
    assert np.array_equal(places, order)
    assert np.array_equal(again, np.take_along_axis(order, np.lexsort((-order, -best)), axis=1))
    np.put_along_axis(flat, order, F32(-1), axis=1)
    assert np.array_equal(rest.reshape(flat.shape), flat)


# -- TensorE ---------------------------------------------------------------------------------------

PAIRS = [(np.float32, np.float32), *[(a, b) for a in FLOATS[1:] for b in FLOATS[1:]]]


@covers("nc_matmul")
@MANY
@given(
    st.sampled_from(ROWS), st.sampled_from(ROWS), st.sampled_from((1, 31, 33, 127, 128, 511, 512)),
    st.sampled_from(PAIRS), st.data(),
)  # fmt: skip
def test_nc_matmul(k, m, n, kinds, data):
    start = data.draw(views((k, 1))).key[0]
    sides = [View((128, 2 * size + 1), (start, slice(1, 2 * size, 2)), (0, 1)) for size in (m, n)]
    case = Case(tuple(sides), kinds, data.draw(SEEDS))

    def work(a, b):
        bank, tile = psum((m, n)), sbuf((m, n))
        nisa.nc_matmul(bank, a, b, accumulate=False)
        nisa.nc_matmul(bank, a, b, accumulate=True)
        nisa.tensor_copy(dst=tile, src=bank)
        return tile

    got, (a, b) = launched(case, work, fill=lambda *args: numbers(*args).round().astype(args[1]))
    assert np.array_equal(got, 2 * (a.astype(F32).T @ b.astype(F32)))


def test_one_kernel_on_every_chip():
    x = np.linspace(-2, 2, 96, dtype=F32).reshape(8, 12)

    def kernel(x):
        tile, total, bank = loaded(x), sbuf((8, 1)), psum((12, 12))
        nisa.tensor_scalar_reduce(
            dst=tile, data=tile, op0=nl.multiply, operand0=0.5, reduce_op=nl.add, reduce_res=total
        )
        nisa.nc_matmul(bank, tile, tile, accumulate=False)
        return stored(tile), stored(total), evicted(bank)

    everywhere(kernel, x)
