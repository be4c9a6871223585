"""Arithmetic of VectorE, GpSimd and ScalarE against NumPy in float32 and exact integers; their rules."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interp.support import filled, loaded, nisa, nl, product, psum, refused, run, sbuf, stored

F32 = np.float32
rng = np.random.default_rng(7)
X = rng.standard_normal((33, 17)).astype(F32)
Y = rng.standard_normal((33, 17)).astype(F32)
COLUMN = rng.standard_normal((33, 1)).astype(F32)
BINARY = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": lambda x, y: (x == y).astype(F32),
    "not_equal": lambda x, y: (x != y).astype(F32),
    "greater": lambda x, y: (x > y).astype(F32),
    "greater_equal": lambda x, y: (x >= y).astype(F32),
    "less": lambda x, y: (x < y).astype(F32),
    "less_equal": lambda x, y: (x <= y).astype(F32),
    "logical_and": lambda x, y: ((x != 0) & (y != 0)).astype(F32),
    "logical_or": lambda x, y: ((x != 0) | (y != 0)).astype(F32),
    "logical_xor": lambda x, y: ((x != 0) ^ (y != 0)).astype(F32),
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", [nl.float32, nl.bfloat16])
def test_tensor_tensor(name, dtype):
    def kernel(x, y):
        result = sbuf(x.shape, dtype)
        nisa.tensor_tensor(dst=result, data1=loaded(x), data2=loaded(y), op=getattr(nl, name))
        return stored(result)

    y = np.where(Y > 0.5, X, Y)
    expected = BINARY[name](X, y)
    assert np.array_equal(
        run(kernel, X, y), expected if dtype == nl.float32 else expected.astype(ml_dtypes.bfloat16)
    )


def test_operands_are_widened_to_float32():
    x, y = X.astype(ml_dtypes.bfloat16), Y.astype(np.float16)

    def kernel(x, y):
        result = sbuf(x.shape)
        nisa.tensor_tensor(dst=result, data1=loaded(x), data2=loaded(y), op=nl.multiply)
        return stored(result)

    assert np.array_equal(run(kernel, x, y), x.astype(F32) * y.astype(F32))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2),
    st.sampled_from(["add", "subtract", "multiply"]),
)
def test_int32_on_gpsimd_is_exact_or_refused(pair, name):
    def kernel(x, y):
        one, other = loaded(x), loaded(y)
        nisa.tensor_tensor(dst=one, data1=one, data2=other, op=getattr(nl, name))  # refused
        return stored(one)

    exact = {"add": pair[0] + pair[1], "subtract": pair[0] - pair[1], "multiply": pair[0] * pair[1]}[name]
    arguments = [np.array([[value]], np.int32) for value in pair]
    if -(2**31) <= exact < 2**31:
        assert run(kernel, *arguments)[0, 0] == exact
    else:
        refused("H21", "overflow", exact, kernel=kernel, arguments=arguments)


def test_int32_on_vector_rounds_to_float32():
    def kernel(x, y, vector):
        one, other = loaded(x), loaded(y)
        engine = nisa.engine.vector if vector else nisa.engine.unknown
        nisa.tensor_tensor(dst=one, data1=one, data2=other, op=nl.add, engine=engine)
        return stored(one)

    x, y = np.int32([[2**24 + 1, 2**31 - 1, -5]]), np.int32([[2, 0, 3]])
    assert np.array_equal(run(kernel, x, y, False), x + y)
    assert np.array_equal(run(kernel, x, y, True, levels={"H21": "off"}), [[2**24 + 2, 2**31 - 1, -2]])
    assert int(F32(2**24 + 1) + F32(2)) == 2**24 + 2


def test_int32_with_psum_falls_back_to_vector():
    def kernel(x):
        bank, one = psum((1, 2), nl.int32), loaded(x)
        nisa.tensor_copy(dst=bank, src=one)
        nisa.tensor_tensor(dst=one, data1=one, data2=bank, op=nl.add)
        return stored(one)

    x = np.int32([[2**24 + 1, 5]])
    assert np.array_equal(run(kernel, x, levels={"H21": "off"}), [[2**25, 10]])


def test_uint32_products_above_int64():
    def kernel(x):
        tile, big = loaded(x), loaded(x)
        nisa.tensor_tensor(dst=tile, data1=tile, data2=big, op=nl.multiply)  # refused

    refused("H21", (2**32 - 1) ** 2, kernel=kernel, arguments=[np.uint32([[2**32 - 1]])])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_bitvec(dtype):
    bits = np.dtype(dtype).itemsize * 8
    x = rng.integers(0, 256, (5, 6 * bits // 8), np.uint8).view(dtype)
    shifts = rng.integers(0, bits, (5, 6)).astype(dtype)
    plain = np.dtype(f"uint{bits}")

    def kernel(x, y, name):
        result = sbuf(x.shape, x.dtype)
        nisa.tensor_tensor(dst=result, data1=loaded(x), data2=loaded(y), op=getattr(nl, name))
        return stored(result)

    assert np.array_equal(run(kernel, x, shifts, "bitwise_and"), x & shifts)
    assert np.array_equal(run(kernel, x, shifts, "bitwise_or"), x | shifts)
    assert np.array_equal(run(kernel, x, shifts, "bitwise_xor"), x ^ shifts)
    right = (x.view(plain) >> shifts.view(plain)).view(dtype)  # logical, also for signed
    left = (x.view(plain) << shifts.view(plain)).view(dtype)
    assert np.array_equal(run(kernel, x, shifts, "right_shift"), right)
    assert np.array_equal(run(kernel, x, shifts, "left_shift"), left)

    def scalars(x):
        result = sbuf(x.shape, x.dtype)
        nisa.tensor_scalar(
            dst=result, data=loaded(x), op0=nl.right_shift, operand0=3, op1=nl.bitwise_and, operand1=5
        )
        return stored(result)

    assert np.array_equal(run(scalars, x), ((x.view(plain) >> 3) & 5).view(dtype))

    def invert(x):
        result = sbuf(x.shape, x.dtype)
        nisa.tensor_scalar(dst=result, data=loaded(x), op0=nl.invert, operand0=None)
        return stored(result)

    assert np.array_equal(run(invert, x), ~x)


def test_tensor_scalar():
    def kernel(x, column):
        tile, lane = loaded(x), loaded(column)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.subtract, operand0=lane, op1=nl.multiply, operand1=0.1)
        return stored(tile)

    assert np.array_equal(run(kernel, X, COLUMN), (X - COLUMN) * F32(0.1))

    def reverse(x, column):
        tile, lane = loaded(x), loaded(column)
        nisa.tensor_scalar(tile, tile, nl.subtract, 2.0, True, nl.subtract, lane, True)
        return stored(tile)

    assert np.array_equal(run(reverse, X, COLUMN), COLUMN - (F32(2) - X))

    def three_dimensions(x, column):
        tile = loaded(x)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=loaded(column))
        return stored(tile)

    cube = rng.standard_normal((33, 4, 5)).astype(F32)
    assert np.array_equal(run(three_dimensions, cube, COLUMN), cube + COLUMN[:, :, None])


def test_a_column_of_the_tile_itself_as_operand():
    def kernel(x):
        tile = loaded(x)
        rest = tile[:, 1:17]
        nisa.tensor_scalar(
            dst=rest, data=rest, op0=nl.multiply, operand0=tile[:, 0:1], op1=nl.add, operand1=1.0
        )
        return stored(tile)

    expected = X.copy()
    expected[:, 1:] = X[:, 1:] * X[:, :1] + F32(1)
    assert np.array_equal(run(kernel, X), expected)

    def overlapping(x):
        tile = loaded(x)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=tile[:, 0:1])  # refused

    refused("alias", "operand0", kernel=overlapping, arguments=[X])


def test_scalar_tensor_tensor():
    def kernel(x, y, column, in_place):
        tile, other = loaded(x), loaded(y)
        dst = other if in_place else tile
        nisa.scalar_tensor_tensor(
            dst=dst,
            data=tile,
            op0=nl.multiply,
            operand0=loaded(column),
            op1=nl.subtract,
            operand1=other,
            reverse1=True,
        )
        return stored(dst)

    for in_place in (False, True):
        assert np.array_equal(run(kernel, X, Y, COLUMN, in_place), Y - X * COLUMN)


@pytest.mark.parametrize(
    ("name", "numpy"), [("add", np.sum), ("multiply", np.prod), ("maximum", np.max), ("minimum", np.min)]
)
def test_tensor_reduce(name, numpy):
    x = rng.integers(-2, 3, (9, 4, 5, 6)).astype(F32)

    def kernel(x, axis, shape, negate, keepdims):
        result = sbuf(shape)
        nisa.tensor_reduce(result, getattr(nl, name), loaded(x), axis, negate=negate, keepdims=keepdims)
        return stored(result)

    assert np.array_equal(run(kernel, x, 3, (9, 4, 5), False, False), numpy(x, axis=3))
    assert np.array_equal(run(kernel, x, (2, 3), (9, 4), True, False), -numpy(x, axis=(2, 3)))
    assert np.array_equal(run(kernel, x, (1, 2, 3), (9, 1), False, False).ravel(), numpy(x, axis=(1, 2, 3)))
    kept = run(kernel, x, (2, 3), (9, 4, 1, 1), False, True)
    assert np.array_equal(kept, numpy(x, axis=(2, 3), keepdims=True))


def test_bitvec_reduce():
    x = rng.integers(-100, 100, (3, 7)).astype(np.int32)

    def kernel(x):
        result = sbuf((3, 1), nl.int32)
        nisa.tensor_reduce(dst=result, op=nl.bitwise_xor, data=loaded(x), axis=1)
        return stored(result)

    assert np.array_equal(run(kernel, x)[:, 0], np.bitwise_xor.reduce(x, axis=1))


def test_tensor_scalar_reduce_accumulates():
    def kernel(x):
        tile, result, total = loaded(x), sbuf(x.shape), sbuf((x.shape[0], 1))
        nisa.tensor_scalar_reduce(dst=result, data=tile, op0=nl.multiply, operand0=2.0, reduce_op=nl.maximum)
        nisa.tensor_scalar_reduce(
            dst=result,
            data=tile,
            op0=nl.multiply,
            operand0=-3.0,
            reduce_op=nl.max,
            reduce_res=total,
            reduce_cmd=nisa.reduce_cmd.reduce,
            reduce_res_negate=True,
        )
        return stored(result), stored(total)

    result, total = run(kernel, X)
    assert np.array_equal(result, X * F32(-3))
    assert np.array_equal(total[:, 0], -np.maximum((X * F32(2)).max(1), (X * F32(-3)).max(1)))


def test_accumulators_start_with_a_reset():
    def scalar(x):
        tile = loaded(x)
        cmd = nisa.reduce_cmd.reduce
        nisa.activation(dst=tile, op=nl.copy, data=tile, reduce_op=nl.add, reduce_cmd=cmd)  # refused

    refused("H25", "reset", kernel=_no_reset, arguments=[X])
    refused("H25", "reset", kernel=scalar, arguments=[X])


def _no_reset(x):
    tile, cmd = loaded(x), nisa.reduce_cmd.reduce
    nisa.tensor_scalar_reduce(tile, tile, nl.add, 0.0, nl.add, reduce_cmd=cmd)  # refused


ACTIVATIONS = {
    "copy": lambda x: x,
    "square": np.square,
    "abs": np.abs,
    "exp": np.exp,
    "tanh": np.tanh,
    "sign": np.sign,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    def kernel(x, column):
        result = sbuf(x.shape)
        nisa.activation(dst=result, op=getattr(nl, name), data=loaded(x), bias=loaded(column), scale=0.5)
        return stored(result)

    expected = ACTIVATIONS[name](X.astype(np.float64) * 0.5 + COLUMN)
    assert np.allclose(run(kernel, X, COLUMN), expected, rtol=3e-6, atol=2e-7)


@pytest.mark.parametrize(
    ("name", "numpy", "bad"),
    [
        ("sqrt", np.sqrt, 0.0),
        ("sqrt", np.sqrt, np.inf),
        ("rsqrt", lambda x: 1 / np.sqrt(x), -1.0),
        ("log", np.log, 2.0**-65),
        ("reciprocal", lambda x: 1 / x, -(2.0**-43)),
    ],
)
def test_activation_inside_and_outside_its_domain(name, numpy, bad):
    def kernel(x):
        tile = loaded(x)
        nisa.activation(dst=tile, op=getattr(nl, name), data=tile)  # refused
        return stored(tile)

    x = np.abs(X) + F32(0.1)
    x[0, 0] = np.nan
    assert np.allclose(run(kernel, x), numpy(x.astype(np.float64)), rtol=1e-6, equal_nan=True)
    x[3, 4] = bad
    refused("H24", f"nl.{name}", repr(bad), kernel=kernel, arguments=[x])


def test_activation_sums_in_place():
    def kernel(x):
        tile, total, cmd = loaded(x), sbuf((x.shape[0], 1)), nisa.reduce_cmd
        nisa.activation(tile, nl.square, tile, reduce_op=nl.add, reduce_cmd=cmd.reset_reduce)
        nisa.activation(tile, nl.copy, tile, reduce_op=nl.add, reduce_cmd=cmd.reduce, reduce_res=total)
        return stored(tile), stored(total)

    x = rng.integers(-9, 9, (33, 17)).astype(F32)
    tile, total = run(kernel, x)
    assert np.array_equal(tile, x * x)
    assert np.array_equal(total[:, 0], 2 * (x * x).sum(1))


def test_reciprocal():
    def kernel(x):
        result = sbuf(x.shape)
        nisa.reciprocal(dst=result, data=loaded(x))
        return stored(result)

    x = np.float32([[1, -2, 0.0, -0.0, np.inf, np.nan]])
    with np.errstate(all="ignore"):
        assert np.array_equal(run(kernel, x), 1 / x, equal_nan=True)


# -- refusals --------------------------------------------------------------------------------------


def two_banks():
    left = filled((8, 4))
    return product(left, left), product(left, left)


def test_both_inputs_in_psum():
    def tensor_tensor():
        one, other = two_banks()
        nisa.tensor_tensor(dst=sbuf((4, 4)), data1=one, data2=other, op=nl.add)  # refused

    def scalar_tensor_tensor():
        one, other = two_banks()
        nisa.scalar_tensor_tensor(one, one, nl.multiply, 2.0, nl.add, other)  # refused

    refused("H13", "cannot both be in PSUM", kernel=tensor_tensor)
    refused("H13", "cannot both be in PSUM", kernel=scalar_tensor_tensor)


def test_gpsimd_has_no_psum():
    def explicit():
        one, _ = two_banks()
        nisa.tensor_tensor(one, one, filled((4, 4)), nl.add, engine=nisa.engine.gpsimd)  # refused

    def power():
        one, _ = two_banks()
        nisa.tensor_tensor(dst=sbuf((4, 4)), data1=one, data2=filled((4, 4)), op=nl.power)  # refused

    def rsqrt():
        one, _ = two_banks()
        nisa.tensor_scalar(dst=sbuf((4, 4)), data=one, op0=nl.rsqrt, operand0=0.0)  # refused

    def operand():
        one, _ = two_banks()
        nisa.tensor_scalar(filled((4, 4)), filled((4, 4)), nl.power, one[:, 0:1])  # refused

    for kernel in (explicit, power, rsqrt, operand):
        refused("H14", "PSUM", kernel=kernel)


def test_counts_and_broadcasting():
    def elements():
        tile = filled((4, 8))
        nisa.tensor_tensor(dst=tile, data1=tile, data2=filled((4, 1)), op=nl.add)  # refused

    def partitions():
        tile = filled((4, 8))
        nisa.tensor_tensor(dst=tile, data1=tile, data2=filled((8, 4)), op=nl.add)  # refused

    refused("H17", "[4, 8]", "[4, 1]", kernel=elements)
    refused("H17", "[4, 8]", "[8, 4]", kernel=partitions)


@pytest.mark.parametrize(
    ("operand", "words"),
    [
        (lambda: filled((4, 1), nl.bfloat16), "must be float32"),
        (lambda: filled((4, 2)), "shape (4, 1)"),
        (lambda: filled((8, 1)), "shape (4, 1)"),
    ],
)
def test_operand_tiles(operand, words):
    def kernel():
        tile, lane = filled((4, 8)), operand()
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=lane)  # refused

    refused("H18", words, kernel=kernel)


@pytest.mark.parametrize(
    ("options", "rule", "word"),
    [
        ({"op0": nl.add, "operand0": 1.0, "op1": nl.add}, "H18", "go together"),
        ({"op0": nl.abs, "operand0": 1.0}, "H18", "None or 0"),
        ({"op0": nl.add, "operand0": 1.0, "op1": nl.bitwise_and, "operand1": 1}, "H19", "both be bitvec"),
        ({"op0": nl.bitwise_and, "operand0": 1}, "H19", "float32"),
        ({"op0": nl.exp, "operand0": 1.0}, "H19", "not an ALU operator"),
        ({"op0": "add", "operand0": 1.0}, "H41", "'add'"),
        ({"op0": np.add, "operand0": 1.0}, "H41", "ufunc"),
        ({"op0": nl.square, "operand0": None}, "H29", "gen4"),
        ({"op0": nl.abs_max, "operand0": 1.0}, "H29", "gen4"),
        ({"op0": nl.maximum, "operand0": 1.0, "engine": nisa.engine.scalar}, "H19", "ScalarE runs"),
        ({"op0": nl.add, "operand0": 1.0, "engine": nisa.engine.gpsimd}, "H19", "only for rsqrt"),
        ({"op0": nl.add, "operand0": 1.0, "engine": nisa.engine.tensor}, "H19", "engine.tensor"),
        ({"op0": nl.add, "operand0": 1.0, "engine": "vector"}, "H41", "'vector'"),
        ({"op0": nl.add, "operand0": "1"}, "H41", "number or a tile"),
    ],
)
def test_tensor_scalar_arguments(options, rule, word):
    def kernel():
        tile = filled((4, 8))
        nisa.tensor_scalar(dst=tile, data=tile, **options)  # refused

    refused(rule, word, kernel=kernel)


def test_unknown_keyword():
    def kernel():
        tile = filled((4, 8))
        nisa.tensor_tensor(dst=tile, data1=tile, data2=tile, op=nl.add, mask=1)  # refused

    refused("H41", "nisa.tensor_tensor", "mask", kernel=kernel)


def test_shifts_by_the_width_or_more():
    def kernel():
        tile = filled((4, 8), nl.int32, 1)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.left_shift, operand0=32)  # refused

    refused("H19", "0 to 31", "32", kernel=kernel)


@pytest.mark.parametrize("axis", [0, 1, (0, 1), (2, 1), (1,), ()])
def test_reduced_axes_are_the_last(axis):
    def kernel():
        tile, result = filled((4, 8, 2)), sbuf((4, 1))
        nisa.tensor_reduce(dst=result, op=nl.add, data=tile, axis=axis)  # refused

    refused("H28", axis, kernel=kernel)


def test_activation_arguments():
    def scalar_bias():
        tile = filled((4, 8))
        nisa.activation(dst=tile, op=nl.exp, data=tile, bias=1.0)  # refused

    def not_an_activation():
        tile = filled((4, 8))
        nisa.activation(dst=tile, op=nl.add, data=tile)  # refused

    def narrow_scale():
        tile, lane = filled((4, 8)), filled((4, 1), nl.bfloat16)
        nisa.activation(dst=tile, op=nl.exp, data=tile, scale=lane)  # refused

    def number_for_an_enum():
        tile = filled((4, 8))
        nisa.activation(dst=tile, op=nl.exp, data=tile, reduce_cmd=3)  # refused

    refused("H18", "bias", "1.0", kernel=scalar_bias, chip="trn1")
    refused("H24", "nl.add", kernel=not_an_activation)
    refused("H18", "scale must be float32", kernel=narrow_scale)
    refused("H41", "reduce_cmd", "3", kernel=number_for_an_enum)
