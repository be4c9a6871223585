"""Functions of nki.language on tiles, and the instructions that few kernels use, against NumPy."""

import math

import numpy as np
import pytest

from numtrn.interp import KernelFault, simulate
from numtrn.machine import CHIPS
from tests.interp.support import evicted, filled, loaded, nisa, nl, refused, run, sbuf, stored

X = np.random.default_rng(5).uniform(0.1, 1.4, (6, 10)).astype(np.float32)
Y = np.random.default_rng(6).uniform(0.1, 1.4, (6, 10)).astype(np.float32)
ERF = np.vectorize(math.erf)
SIGMOID = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731


def slope(function, x, step=1e-5):
    return (function(x + step) - function(x - step)) / (2 * step)


def gelu(x):
    return x * (1 + ERF(x / np.sqrt(2))) / 2


UNARY = {
    "abs": np.abs, "arctan": np.arctan, "ceil": np.ceil, "copy": lambda x: x, "cos": np.cos, "erf": ERF,
    "erf_dx": lambda x: slope(ERF, x), "exp": np.exp, "floor": np.floor, "gelu": gelu,
    "gelu_apprx_sigmoid": lambda x: x * SIGMOID(1.702 * x), "gelu_apprx_tanh": gelu,
    "gelu_apprx_sigmoid_dx": lambda x: slope(lambda t: t * SIGMOID(1.702 * t), x),
    "gelu_dx": lambda x: slope(gelu, x), "log": np.log, "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "negative": np.negative, "reciprocal": np.reciprocal, "relu": lambda x: x, "rsqrt": lambda x: x**-0.5,
    "sigmoid": SIGMOID, "sign": np.sign, "silu": lambda x: x * SIGMOID(x),
    "silu_dx": lambda x: slope(lambda t: t * SIGMOID(t), x), "sin": np.sin,
    "softplus": lambda x: np.log1p(np.exp(x)),
    "sqrt": np.sqrt, "square": np.square, "tan": np.tan, "tanh": np.tanh, "trunc": np.trunc,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_one_operand(name):
    got = run(lambda x: stored(getattr(nl, name)(loaded(x))), X)
    tolerance = 2e-2 if name == "gelu_apprx_tanh" else 2e-5
    np.testing.assert_allclose(got, UNARY[name](X.astype(float)), rtol=tolerance)


@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "maximum", "minimum", "greater", "less_equal"]
)
def test_two_operands(name):
    def kernel(x, y):
        function, one, other = getattr(nl, name), loaded(x), loaded(y)
        return (
            stored(function(one, other)),
            stored(function(one, 0.5)),
            stored(function(0.5, other, dtype=nl.bfloat16)),
        )

    both, right, left = run(kernel, X, Y)
    wanted = getattr(np, name)
    np.testing.assert_allclose(both, wanted(X, Y), rtol=1e-6)
    np.testing.assert_allclose(right, wanted(X, np.float32(0.5)), rtol=1e-6)
    np.testing.assert_allclose(left.astype(np.float32), wanted(np.float32(0.5), Y), rtol=1e-2)


def test_two_operands_that_are_refused():
    refused("H17", "broadcast", kernel=lambda: nl.add(filled((4, 4)), filled((4, 1))))  # refused
    refused("H36", "exponent", kernel=lambda: nl.power(filled((4, 4)), 2.0))  # refused
    refused("H41", "tile", kernel=lambda: nl.exp(1.0))  # refused
    refused("H41", "not a function", kernel=lambda: nl.bypass(filled((4, 4))))  # refused


REDUCTIONS = {"sum": np.sum, "max": np.max, "min": np.min, "prod": np.prod, "mean": np.mean, "var": np.var}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [2, (1, 2), [-1]])
def test_reductions(name, axis):
    got = run(lambda x: stored(getattr(nl, name)(loaded(x).reshape((6, 2, 5)), axis=axis)), X)
    axes = axis if isinstance(axis, int) else tuple(axis)
    wanted = REDUCTIONS[name](X.reshape(6, 2, 5).astype(float), axis=axes)
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-4)


def test_all_where_softmax_and_rms_norm():
    mask = (X > 0.7).astype(np.float32)

    def kernel(x, y, mask):
        a, b, m = loaded(x), loaded(y), loaded(mask)
        return (
            stored(nl.all(m, axis=1)), stored(nl.where(m, a, b)), stored(nl.where(m, a, -1.0)),
            stored(nl.softmax(a)), stored(nl.rms_norm(a, b, axis=1, n=10)), stored(nl.logical_not(m)),
        )  # fmt: skip

    every, chosen, other, soft, normal, negated = run(kernel, X, Y, mask)
    powers = np.exp(X)
    assert np.array_equal(every[:, 0], mask.all(axis=1))
    assert np.array_equal(chosen, np.where(mask == 1, X, Y))
    assert np.array_equal(other, np.where(mask == 1, X, np.float32(-1)))
    assert np.array_equal(negated, 1 - mask)
    np.testing.assert_allclose(soft, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(normal, X / np.sqrt(np.mean(X**2, axis=1, keepdims=True)) * Y, rtol=1e-4)


@pytest.mark.parametrize(
    ("have", "want"), [((1, 10), (128, 10)), ((6, 1), (6, 7)), ((1, 1), (33, 5)), ((6, 10), (6, 10))]
)
def test_broadcast_to(have, want):
    x = X[: have[0], : have[1]].copy()
    assert np.array_equal(
        run(lambda x: stored(nl.broadcast_to(loaded(x), want)), x), np.broadcast_to(x, want)
    )


def test_matrices():
    def kernel(x, y):
        product = nl.matmul(loaded(x), loaded(y), transpose_x=True)
        turned = nl.transpose(nl.load(x))
        both = nl.add(nl.load_transpose2d(x), nl.load_transpose2d(y))
        return evicted(product), evicted(turned), stored(both)

    product, turned, both = run(kernel, X, Y)
    np.testing.assert_allclose(product, X.T @ Y, rtol=1e-5)
    assert np.array_equal(turned, X.T)
    assert np.array_equal(both, (X + Y).T)
    refused("H36", "transpose_x", kernel=lambda: nl.matmul(filled((4, 4)), filled((4, 4))))  # refused


def test_making_tensors(tmp_path):
    path = tmp_path / "constant.npy"
    np.save(path, Y)

    def kernel():
        ones = nl.ones((4, 3), dtype=nl.int32)
        held = nl.zeros((4, 3), dtype=nl.float32, buffer=nl.private_hbm)
        constant = nl.load(nl.shared_constant(str(path)))
        empty = nl.empty_like(constant, dtype=nl.float32)
        nisa.tensor_copy(dst=empty, src=nl.expand_dims(constant, 1))
        identity = sbuf((5, 5))
        nl.shared_identity_matrix(5, dst=identity)
        return (
            stored(ones), stored(nl.load(held)), stored(empty), stored(nl.zeros_like(ones)),
            stored(nl.full((2, 2), 0.25, dtype=nl.bfloat16)), stored(nl.load(nl.shared_constant(X))),
            stored(identity),
        )  # fmt: skip

    ones, held, empty, zeros, full, constant, identity = run(kernel)
    assert np.array_equal(ones, np.ones((4, 3)))
    assert np.array_equal(held, zeros)
    assert np.array_equal(empty, Y)
    assert np.array_equal(full.astype(float), np.full((2, 2), 0.25))
    assert np.array_equal(constant, X)
    assert np.array_equal(identity, np.eye(5))


def test_device_print(capsys):
    run(lambda: (nl.device_print("here", filled((1, 2))), stored(filled((1, 1))))[1])
    assert capsys.readouterr().out == "here [[1. 1.]]\n"


def test_random_numbers():
    def kernel():
        seed = sbuf((1, 1), nl.int32)
        nisa.memset(dst=seed, value=42)
        nl.random_seed(seed)
        one = nl.rand((128, 64), dtype=nl.float32)
        nl.random_seed(seed)
        other = nl.rand((128, 64), dtype=nl.float32)
        words, state, again = (
            sbuf((128, 16), nl.uint32),
            sbuf((128, 6), nl.uint32),
            sbuf((128, 16), nl.uint32),
        )
        nisa.rand_get_state(dst=state)
        nisa.rng(dst=words, engine=nisa.engine.gpsimd)
        nisa.rand_set_state(src_seeds=state)
        nisa.rng(dst=again, engine=nisa.engine.gpsimd)
        short, between = sbuf((128, 64), nl.uint8), sbuf((128, 64))
        nisa.rng(dst=short)
        nisa.rand2(dst=between, min=2.0, max=3.0)
        return tuple(map(stored, (one, other, words, again, short, between, nl.dropout(one, 0.25))))

    one, other, words, again, short, between, dropped = simulate(kernel, [], chip=CHIPS["trn3"]).outputs
    assert np.array_equal(one, other)
    assert np.array_equal(words, again)
    assert 0.45 < one.mean() < 0.55
    assert 110 < short.mean() < 145
    assert between.min() >= 2
    assert between.max() <= 3
    assert 0.2 < (dropped == 0).mean() < 0.3
    assert np.array_equal(dropped[dropped != 0], one[dropped != 0])


def test_gathers():
    index = np.random.default_rng(1).integers(0, 40, (16, 2)).astype(np.uint16)
    x = np.arange(32 * 44, dtype=np.float32).reshape(32, 44)

    def kernel(x, index):
        out, places = sbuf((32, 32 * 4)), sbuf((32, 2), nl.uint16)
        nisa.dma_copy(dst=places[0:16], src=index)
        nisa.dma_copy(dst=places[16:32], src=index)
        nisa.local_gather(dst=out, src_buffer=loaded(x), index=places, num_elem_per_idx=4)
        return stored(out)

    order = index.flatten(order="F").astype(int)
    wanted = x[:, (order[:, None] + np.arange(4)).ravel()]
    assert np.array_equal(run(kernel, x, index), wanted)


def test_searches_of_gpsimd():
    segments = np.array([[0, 2, 2, 5, 0, 7, 7, 7]], np.float32)
    numbers = np.array([[0, 1, 1, 0, 0, 1, 0, 0]], np.int32)
    values = np.arange(48, dtype=np.float32).reshape(16, 3).astype(nl.bfloat16)

    def kernel(segments, numbers, values):
        bounds, found = sbuf((1, 2, 8)), sbuf((1, 9), nl.int32)
        nisa.sequence_bounds(dst=bounds, segment_ids=loaded(segments))
        nisa.nonzero_with_count(dst=found, src=loaded(numbers), index_offset=16)
        best, places = sbuf((16, 3), nl.bfloat16), sbuf((16, 3), nl.uint32)
        nisa.topk(val_dst=best, idx_dst=places, src=loaded(values), n=42)
        return stored(bounds), stored(found), stored(best), stored(places)

    bounds, found, best, places = run(kernel, segments, numbers, values)
    assert bounds[0].tolist() == [[8, 1, 1, 3, 8, 5, 5, 5], [-1, 3, 3, 4, -1, 8, 8, 8]]
    assert found.tolist() == [[17, 18, 21, -1, -1, -1, -1, -1, 3]]
    snake = values.astype(float).T.ravel()[:42]
    assert places[3].tolist() == np.argsort(snake)[-3:].tolist()
    assert best[0].astype(float).tolist() == np.sort(snake)[-3:].tolist()


def test_match_replace_serves_repeated_values_from_the_last():
    data = np.array([[1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8]], np.float32)
    vals = np.array([[3, 8, 8, 8, 8, 8, 8, 8]], np.float32)

    def kernel(data, vals):
        out, index, found = sbuf((1, 11)), sbuf((1, 8), nl.uint32), sbuf((1, 8), nl.uint16)
        nisa.nc_match_replace8(dst=out, data=loaded(data), vals=loaded(vals), imm=0.0, dst_idx=index)
        nisa.nc_find_index8(dst=found, data=loaded(data), vals=loaded(vals))
        return stored(out), stored(index), stored(found)

    out, index, found = run(kernel, data, vals)
    assert out.tolist() == [[1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0]]
    assert index.tolist() == [[2, 10, 9, 8, 7, 6, 5, 4]]
    assert found.tolist() == [[2, 4, 5, 6, 7, 8, 9, 10]]


def test_activate2_and_activation_reduce():
    def kernel(x):
        data, total, out, least, leaky = loaded(x), sbuf((6, 1)), sbuf((6, 10)), sbuf((6, 1)), sbuf((6, 10))
        nisa.activation_reduce(dst=out, op=nl.square, data=data, reduce_op=nl.add, reduce_res=total)
        nisa.activate2(
            dst=out,
            op=nl.exp,
            data=data,
            imm0=2.0,
            imm1=0.5,
            op0=nl.multiply,
            op1=nl.subtract,
            reverse1=True,
            reduce_op=nl.minimum,
            reduce_res=least,
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
        )
        nisa.activate2(
            dst=leaky,
            op=nl.prelu,
            data=data,
            imm0=1.0,
            imm1=0.0,
            op0=nl.subtract,
            op1=nl.bypass,
            relu_param=0.1,
        )
        return stored(total), stored(out), stored(least), stored(leaky)  # fmt: skip

    total, out, least, leaky = run(kernel, X, chip="trn3")
    np.testing.assert_allclose(total, (X**2).sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(out, np.exp(0.5 - 2 * X), rtol=1e-5)
    np.testing.assert_allclose(least, out.min(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(leaky, np.where(X > 1, X - 1, 0.1 * (X - 1)), rtol=1e-4, atol=1e-7)


def test_registers_of_vector_engine_are_shared_and_idle_loses_them():
    def kernel(x, command):
        tile, total, mask = loaded(x), sbuf((6, 1)), filled((6, 10), nl.uint8, 1)
        nisa.tensor_scalar_reduce(dst=tile, data=tile, op0=nl.add, operand0=0.0, reduce_op=nl.max)
        nisa.select_reduce(dst=tile, predicate=mask, on_true=tile, on_false=0.0, reduce_cmd=command)
        nisa.tensor_scalar_reduce(
            dst=tile, data=tile, op0=nl.add, operand0=0.0, reduce_op=nl.max, reduce_res=total,
            reduce_cmd=nisa.reduce_cmd.reduce,
        )  # fmt: skip
        return stored(total)

    assert np.array_equal(run(kernel, X, nisa.reduce_cmd.reduce), X.max(axis=1, keepdims=True))
    with pytest.raises(KernelFault, match="H25"):
        run(kernel, X, nisa.reduce_cmd.idle)


@pytest.mark.parametrize("name", ["exponential", "rand2", "activate2", "range_select", "nonzero_with_count"])
def test_instructions_that_gen2_does_not_have(name):
    calls = {
        "exponential": lambda t: nisa.exponential(dst=t, src=t),
        "rand2": lambda t: nisa.rand2(dst=t, min=0.0, max=1.0),
        "activate2": lambda t: nisa.activate2(
            dst=t, op=nl.exp, data=t, imm0=1.0, imm1=0.0, op0=nl.bypass, op1=nl.bypass
        ),
        "range_select": lambda t: nisa.range_select(t, t, nl.less, nl.less, t, t),
        "nonzero_with_count": lambda t: nisa.nonzero_with_count(dst=t, src=t),
    }
    with pytest.raises(KernelFault, match=rf"H29: {name} needs gen"):
        run(lambda: calls[name](filled((4, 4))), chip="trn1")


def test_the_log_has_engine_and_operands_of_the_newer_instructions():
    def kernel(x):
        data, best, places, total = loaded(x), sbuf((6, 8)), sbuf((6, 8), nl.uint32), sbuf((1, 10))
        nisa.max8(dst=best, src=data)
        nisa.nc_find_index8(dst=places, data=data, vals=best)
        nisa.nc_n_gather(dst=best, data=data, indices=places)
        nisa.tensor_partition_reduce(dst=total, op=nl.add, data=data)
        nisa.tensor_tensor_scan(dst=data, data0=data, data1=data, initial=0.0, op0=nl.multiply, op1=nl.add)
        return stored(total)

    log = simulate(kernel, [X], chip=CHIPS["trn2"], keep_log=True).log
    assert [(one.engine, one.name, len(one.writes), len(one.reads)) for one in log] == [
        ("dma", "dma_copy", 1, 1),
        ("vector", "max8", 1, 1),
        ("vector", "nc_find_index8", 1, 2),
        ("gpsimd", "nc_n_gather", 1, 2),
        ("gpsimd", "tensor_partition_reduce", 1, 1),
        ("vector", "tensor_tensor_scan", 1, 2),
        ("dma", "dma_copy", 1, 1),
    ]
