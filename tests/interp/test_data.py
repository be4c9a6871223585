"""Movement, transposes, shuffles and patterns against NumPy; partition rules and the rules of DMA."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interp.support import (
    evicted,
    filled,
    hbm,
    loaded,
    nisa,
    nl,
    product,
    psum,
    refused,
    run,
    sbuf,
    stored,
)

edges = st.sampled_from([1, 2, 31, 32, 33, 63, 64, 65, 127, 128])
long_edges = st.sampled_from([1, 31, 33, 127, 129, 511, 512, 513])
rng = np.random.default_rng(11)


@settings(max_examples=40, deadline=None)
@given(edges, long_edges, st.sampled_from([np.float32, ml_dtypes.bfloat16, np.int32, np.uint8]), st.data())
def test_copies_of_slices(rows, columns, dtype, data):
    x = rng.integers(0, 200, (rows + 5, columns + 3)).astype(dtype)
    first = data.draw(st.integers(0, 5))
    step = data.draw(st.integers(1, 3))

    def kernel(x, rows, first, step):
        part = x[first : first + rows, first % 3 :: step]
        tile, copy = sbuf(part.shape, x.dtype), sbuf(part.shape, x.dtype)
        nisa.dma_copy(dst=tile, src=part)
        nisa.tensor_copy(dst=copy, src=tile)
        return stored(copy)

    out = run(kernel, x, rows, first, step)
    expected = x[first : first + rows, first % 3 :: step]
    assert np.array_equal(out.astype(np.float64), expected.astype(np.float64))


def test_dma_counts_elements_not_shapes():
    x = np.arange(24, dtype=np.float32).reshape(2, 12)

    def kernel(x):
        tile = sbuf((4, 6))
        nisa.dma_copy(dst=tile, src=x)
        return stored(tile)

    assert np.array_equal(run(kernel, x), x.reshape(4, 6))

    def unequal(x):
        tile = sbuf((4, 5))
        nisa.dma_copy(dst=tile, src=x)  # refused

    refused("H17", "[4, 5]", "[2, 12]", kernel=unequal, arguments=[x])


@settings(max_examples=40, deadline=None)
@given(
    edges,
    edges,
    st.sampled_from([np.float32, ml_dtypes.bfloat16, np.int32]),
    st.sampled_from(["trn1", "trn2"]),
)
def test_transposes_by_tensor_and_by_dma(rows, columns, dtype, chip):
    x = rng.integers(0, 100, (rows, columns)).astype(dtype)

    def matrix(x):
        bank = psum((x.shape[1], x.shape[0]), x.dtype)
        nisa.nc_transpose(dst=bank, data=loaded(x), engine=nisa.engine.tensor)
        return evicted(bank)

    def dma(x):
        tile = sbuf((x.shape[1], x.shape[0]), x.dtype)
        nisa.dma_transpose(dst=tile, src=x)
        return stored(tile)

    for kernel in (matrix, dma):
        out = run(kernel, x, chip=chip)
        assert out.dtype == x.dtype
        assert np.array_equal(out.astype(np.int64), x.T.astype(np.int64))


def test_transpose_on_vector_and_with_flattened_dimensions():
    x = rng.standard_normal((32, 32)).astype(np.float32)
    cube = rng.standard_normal((7, 4, 8)).astype(np.float32)

    def vector(x):
        tile = sbuf((32, 32))
        nisa.nc_transpose(dst=tile, data=loaded(x), engine=nisa.engine.vector)
        return stored(tile)

    def flattened(x):
        bank = psum((32, 7))
        nisa.nc_transpose(dst=bank, data=loaded(x))
        return evicted(bank)

    assert np.array_equal(run(vector, x), x.T)
    assert np.array_equal(run(flattened, cube), cube.reshape(7, 32).T)


@pytest.mark.parametrize(("shape", "axes"), [((3, 4, 5), (2, 1, 0)), ((3, 4, 2, 5), (3, 1, 2, 0))])
def test_dma_transpose_of_more_dimensions(shape, axes):
    x = rng.standard_normal(shape).astype(np.float16)

    def kernel(x, axes):
        tile = sbuf(tuple(x.shape[k] for k in axes), x.dtype)
        nisa.dma_transpose(dst=tile, src=x, axes=axes)
        return stored(tile)

    assert np.array_equal(run(kernel, x, axes), x.transpose(axes))


def test_shuffle():
    x = rng.standard_normal((64, 3)).astype(np.float32)
    mask = [31 - i for i in range(32)]
    mask[5] = 255

    def kernel(x):
        tile = loaded(x)
        nisa.nc_stream_shuffle(dst=tile, src=tile, shuffle_mask=mask)
        return stored(tile)

    expected = x.reshape(2, 32, 3)[:, ::-1].reshape(64, 3).copy()
    expected[[5, 37]] = x[[5, 37]]
    assert np.array_equal(run(kernel, x), expected)

    def broadcast(x):
        tile = sbuf((32, 3))
        nisa.nc_stream_shuffle(dst=tile, src=loaded(x[0:1]), shuffle_mask=[0] * 32)
        return stored(tile)

    assert np.array_equal(run(broadcast, x), np.tile(x[:1], (32, 1)))


@pytest.mark.parametrize("dtype", [nl.int32, nl.float32, nl.bfloat16])
def test_iota(dtype):
    def kernel():
        tile = sbuf((6, 3, 4), dtype)
        nisa.iota(dst=tile, pattern=[[10, 3], [-1, 4]], offset=7, channel_multiplier=100)
        return stored(tile)

    p, i, j = np.ogrid[:6, :3, :4]
    expected = 7 + 100 * p + 10 * i - j
    out = run(kernel)
    rounded = expected.astype(np.float32).astype(ml_dtypes.bfloat16) if dtype == nl.bfloat16 else expected
    assert np.array_equal(out.astype(np.float64), rounded.astype(np.float64))


def test_affine_select_makes_a_triangle_and_an_identity():
    x = rng.standard_normal((9, 9)).astype(np.float32)

    def kernel(x, op, multiplier, step):
        tile = loaded(x)
        nisa.affine_select(
            dst=tile,
            pattern=[[step, 9]],
            channel_multiplier=multiplier,
            on_true_tile=tile,
            on_false_value=0.0,
            cmp_op=nl.greater_equal if op else nl.equal,
        )
        return stored(tile)

    assert np.array_equal(run(kernel, x, True, 1, -1), np.tril(x))
    assert np.array_equal(run(kernel, x, False, 1, -1), np.diag(np.diag(x)))


@pytest.mark.parametrize("reverse", [False, True])
def test_copy_predicated(reverse):
    x, y = rng.standard_normal((2, 5, 7)).astype(np.float32)
    mask = rng.integers(0, 3, (5, 7)).astype(np.uint8)

    def kernel(x, y, mask, reverse):
        tile = loaded(y)
        nisa.tensor_copy_predicated(dst=tile, src=loaded(x), predicate=loaded(mask), reverse_pred=reverse)
        return stored(tile)

    assert np.array_equal(run(kernel, x, y, mask, reverse), np.where((mask != 0) != reverse, x, y))


def test_compute_may_start_in_another_quadrant():
    x = rng.standard_normal((128, 4)).astype(np.float32)

    def kernel(x):
        tile, result = loaded(x), sbuf((128, 4))
        nisa.tensor_copy(dst=result, src=tile)
        nisa.tensor_copy(dst=result[96:128], src=tile[0:32])
        nisa.tensor_copy(dst=result[0:64], src=tile[64:128])
        nisa.dma_copy(dst=result[33:36], src=x[5:8])
        return stored(result)

    expected = x.copy()
    expected[96:], expected[:64] = x[:32], x[64:]
    expected[33:36] = x[5:8]
    assert np.array_equal(run(kernel, x), expected)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "count"), [(1, 1), (33, 31), (32, 33), (32, 64), (64, 63), (96, 33), (1, 127)]
)
def test_start_partitions(start, count):
    def kernel():
        tile = filled((128, 4))
        part = tile[start : min(start + count, 128)]
        nisa.tensor_scalar(dst=part, data=part, op0=nl.add, operand0=1.0)  # refused
        return stored(tile)

    if start + count > 128:
        count = 128 - start
    legal = start % (32 if count <= 32 else 64 if count <= 64 else 128) == 0
    if legal:
        run(kernel)
    else:
        refused("H1", f"{count} from {start}", kernel=kernel)


def test_partition_steps_and_counts():
    def step():
        tile = filled((128, 4))
        nisa.tensor_copy(dst=sbuf((64, 4)), src=tile[0:128:2])  # refused

    def dma_step(x):
        tile = filled((128, 4))
        nisa.dma_copy(dst=tile[0:128:2], src=x)  # refused

    refused("H2", "steps by 8", kernel=step)
    refused("H2", "steps by 8", kernel=dma_step, arguments=[np.ones((64, 4), np.float32)])


def test_dma_and_psum():
    def source():
        out, bank = hbm((4, 4)), product(filled((8, 4)), filled((8, 4)))
        nisa.dma_copy(dst=out, src=bank)  # refused

    def target(x):
        nisa.dma_copy(dst=psum((4, 4)), src=x)  # refused

    refused("H15", "src", "psum", kernel=source)
    refused("H15", "dst", "psum", kernel=target, arguments=[np.ones((4, 4), np.float32)])


def test_compute_and_hbm():
    def kernel(x):
        nisa.tensor_copy(dst=sbuf((4, 4)), src=x)  # refused

    refused("memory", "must be in SBUF or PSUM", kernel=kernel, arguments=[np.ones((4, 4), np.float32)])


@pytest.mark.parametrize(
    ("options", "chip", "dtype", "rule", "word"),
    [
        ({"dge_mode": nisa.dge_mode.hwdge}, "trn1", nl.float32, "H16", "gen3"),
        ({"dge_mode": nisa.dge_mode.hwdge}, "trn2", nl.bfloat16, "H16", "float32 to bfloat16"),
        (
            {"dge_mode": nisa.dge_mode.hwdge, "engine": nisa.engine.vector},
            "trn2",
            nl.float32,
            "H16",
            "sync or scalar",
        ),
        ({"engine": nisa.engine.sync}, "trn2", nl.float32, "H16", "only valid with"),
        ({"priority": 1}, "trn2", nl.float32, "H29", "gen4"),
        ({"priority": 4}, "trn3", nl.float32, "H29", "0 to 3"),
        ({"dge_mode": 2}, "trn2", nl.float32, "H41", "dge_mode"),
        ({"oob_mode": "skip"}, "trn2", nl.float32, "H41", "oob_mode"),
        ({"engine": "sync"}, "trn2", nl.float32, "H41", "engine"),
        ({"dst_rmw_op": None}, "trn2", nl.float32, "H41", "dst_rmw_op"),
    ],
)
def test_dma_options(options, chip, dtype, rule, word):
    def kernel(x):
        tile = sbuf((4, 4), dtype)
        nisa.dma_copy(dst=tile, src=x, **options)  # refused

    refused(rule, word, kernel=kernel, arguments=[np.ones((4, 4), np.float32)], chip=chip)


def test_positions_of_dma_arguments():
    def kernel(x):
        tile = sbuf((4, 4))
        nisa.dma_copy(tile, x, nisa.oob_mode.error)  # refused

    refused("H39", "changed position", kernel=kernel, arguments=[np.ones((4, 4), np.float32)])


def test_dma_within_one_tile():
    def kernel():
        tile = filled((4, 8))
        nisa.dma_copy(dst=tile[:, 0:4], src=tile[:, 4:8])
        nisa.dma_copy(dst=tile[:, 0:4], src=tile[:, 3:7])  # refused

    refused("alias", "must not read what it writes", kernel=kernel)


def test_partial_overlap_of_a_copy():
    def kernel():
        tile = filled((4, 8))
        nisa.tensor_copy(dst=tile[:, 0:8:2], src=tile[:, 1:8:2])
        nisa.tensor_copy(dst=tile[:, 0:4], src=tile[:, 1:5])  # refused

    refused("alias", "not overlap", kernel=kernel)


def test_engines_of_copies():
    def scalar():
        tile = filled((4, 8))
        nisa.tensor_copy(dst=sbuf((4, 8)), src=tile, engine=nisa.engine.scalar)  # refused
        return stored(tile)

    def gpsimd():
        bank = product(filled((8, 4)), filled((8, 4)))
        nisa.tensor_copy(dst=sbuf((4, 4)), src=bank, engine=nisa.engine.gpsimd)  # refused

    def patterns():
        nisa.iota(dst=psum((4, 4), nl.int32), pattern=[[1, 4]])  # refused

    refused("H19", "ScalarE of trn1", kernel=scalar, chip="trn1")
    run(scalar, chip="trn2")
    refused("H14", "PSUM", kernel=gpsimd)
    refused("H14", "PSUM", kernel=patterns)


@pytest.mark.parametrize(
    ("rows", "columns", "buffer", "engine", "rule", "word"),
    [
        (129, 4, nl.psum, "tensor", "H3", "128"),
        (128, 129, nl.psum, "tensor", "H3", "128"),
        (33, 32, nl.sbuf, "vector", "H26", "32 x 32"),
        (33, 32, nl.sbuf, "unknown", "H26", "32 x 32"),
        (8, 8, nl.sbuf, "tensor", "H26", "SBUF to PSUM"),
        (8, 8, nl.psum, "scalar", "H19", "tensor, vector"),
    ],
)
def test_transpose_limits(rows, columns, buffer, engine, rule, word):
    def kernel():
        data = nl.ndarray((rows, columns), dtype=nl.float32, buffer=nl.sbuf)  # refused
        nisa.memset(dst=data, value=1.0)
        dst = nl.ndarray((columns, rows), dtype=nl.float32, buffer=buffer)  # refused
        nisa.nc_transpose(dst=dst, data=data, engine=getattr(nisa.engine, engine))  # refused

    refused(rule, word, kernel=kernel)


def test_transposes_keep_the_dtype_and_finite_values_on_gen2():
    def dtype():
        nisa.nc_transpose(dst=psum((4, 8)), data=filled((8, 4), nl.bfloat16))  # refused

    def infinite(x):
        tile, bank = loaded(x), psum((2, 2))
        nisa.nc_transpose(dst=bank, data=tile)  # refused
        return evicted(bank)

    x = np.float32([[1, np.inf], [np.nan, 2]])
    refused("H26", "bfloat16 to float32", kernel=dtype)
    refused("H26", "NaN and infinity", kernel=infinite, arguments=[x], chip="trn1")
    assert np.array_equal(run(infinite, x, chip="trn2"), x.T, equal_nan=True)


@pytest.mark.parametrize(
    ("dtype", "shape", "options", "word"),
    [
        (nl.uint8, (16, 32), {}, "2 or 4 bytes"),
        (nl.float16, (16, 32), {"axes": (0, 1)}, "axes"),
        (nl.float16, (8, 32), {"dge_mode": nisa.dge_mode.hwdge}, "16 rows"),
        (nl.float32, (16, 32), {"dge_mode": nisa.dge_mode.hwdge}, "2 bytes"),
        (nl.float16, (16, 32), {"dge_mode": nisa.dge_mode.swdge}, "hwdge"),
    ],
)
def test_dma_transpose_rules(dtype, shape, options, word):
    def kernel():
        data = filled(shape, dtype, 1 if dtype == nl.uint8 else 1.0)
        result = sbuf(shape[::-1], dtype)
        nisa.dma_transpose(dst=result, src=data, **options)  # refused

    refused("H27", word, kernel=kernel)


def test_patterns():
    def count():
        nisa.iota(dst=sbuf((4, 8), nl.int32), pattern=[[1, 7]])  # refused

    def range_of_dtype():
        nisa.iota(dst=sbuf((4, 8), nl.uint8), pattern=[[-1, 8]])  # refused

    def false_value():
        tile = filled((4, 8))
        nisa.affine_select(tile, [[1, 8]], 1, tile, 0)  # refused

    def comparison():
        tile = filled((4, 8))
        nisa.affine_select(tile, [[1, 8]], 1, tile, 0.0, cmp_op=nl.add)  # refused

    refused("H17", "[[1, 7]]", kernel=count)
    refused("H22", "-7 to 0", "uint8", kernel=range_of_dtype)
    refused("H20", "float", kernel=false_value)
    refused("H41", "comparison", "nl.add", kernel=comparison)


def test_shuffle_rules():
    def mask():
        tile = filled((32, 2))
        nisa.nc_stream_shuffle(dst=tile, src=tile, shuffle_mask=[0] * 31)  # refused

    def start():
        tile = filled((128, 2))
        nisa.nc_stream_shuffle(dst=tile[32:64], src=tile[0:64], shuffle_mask=[0] * 32)  # refused

    refused("H41", "32 entries", kernel=mask)
    refused("H1", "64 partitions", kernel=start)


def test_predicates():
    def kernel():
        tile, mask = filled((4, 8)), filled((4, 8), nl.int32, 1)
        nisa.tensor_copy_predicated(dst=tile, src=1.0, predicate=mask)  # refused

    refused("H41", "predicate must be", "int32", kernel=kernel)
