"""Instructions that move, fill, gather and search, on random views, dtypes and shapes, each against NumPy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.interp.properties import (
    BF16,
    BITS,
    DTYPES,
    F32,
    FLOATS,
    GEN3,
    MANY,
    ROWS,
    SEEDS,
    cast,
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
from tests.interp.support import hbm, loaded, nisa, nki, nl, psum, sbuf, stored

ANY = (*DTYPES, np.uint32)
COMPARE = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}


def name_of(kind):
    return np.dtype(kind).name


def affine(shape, pattern, offset, multiplier):
    """``offset + partition * multiplier + sum(step * index)``, in the order of the elements."""
    free = sum(
        step * index for (step, _), index in zip(pattern, np.indices([n for _, n in pattern]), strict=True)
    )
    return (offset + multiplier * np.arange(shape[0])[:, None] + np.ravel(free)).reshape(shape)


# -- copies and fills ------------------------------------------------------------------------------


@covers("tensor_copy")
@MANY
@given(operands(count=2), st.sampled_from(["vector", "gpsimd", "unknown"]))
def test_tensor_copy(case, unit):
    engine = getattr(nisa.engine, unit)
    check(case, lambda dst, x: nisa.tensor_copy(dst=dst, src=x, engine=engine), lambda x: x)


@covers("tensor_copy", "dma_copy")
@MANY
@given(operands(ANY, 2, same=True), st.booleans())
def test_copies_within_a_dtype_keep_every_bit(case, dma):
    copy = nisa.dma_copy if dma else nisa.tensor_copy
    check(case, lambda dst, x: copy(dst=dst, src=x), lambda x: x, fill=patterns, narrow=None)


@covers("dma_copy")
@MANY
@given(operands(count=2), st.integers(0, 127))
def test_dma_copy_casts_from_any_partition(case, start):
    rows = min(case.shape[0], 128 - start)
    x = case.draw(numbers)

    def kernel(x):
        wide, out = loaded(x), hbm((128, *case.shape[1:]), name_of(case.kinds[1]))
        part = sbuf((128, *case.shape[1:]))
        nisa.memset(dst=part, value=0.0)
        nisa.dma_copy(dst=part[start : start + rows], src=case.views[0].of(wide)[:rows])
        nisa.dma_copy(dst=out, src=part)
        return out

    wanted = np.zeros((128, *case.shape[1:]), F32)
    wanted[start : start + rows] = case.views[0].of(x)[:rows]
    assert everywhere(kernel, x).tobytes() == cast(wanted, case.kinds[1]).tobytes()


@covers("memset")
@MANY
@given(operands(ANY, 1), st.integers(0, 127), st.sampled_from(["vector", "gpsimd", "unknown"]))
def test_memset(case, value, unit):
    value = value if np.dtype(case.kinds[0]).kind in "iu" else value + 0.25

    def work(dst):
        nisa.memset(dst=dst, value=value, engine=getattr(nisa.engine, unit))

    check(case, work, lambda: np.full(case.shape, value, F32))


@covers("tensor_copy_predicated")
@MANY
@given(
    operands(ANY, 2, same=True), st.sampled_from([np.uint8, np.uint16, np.uint32]), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_tensor_copy_predicated(case, kind, reverse, constant):
    mask = np.random.default_rng(case.seed).integers(0, 3, case.shape)
    base = case.views[1].of(case.draw(patterns, 1))

    def work(dst, x, predicate):
        nisa.tensor_copy_predicated(
            dst=dst, src=5.0 if constant else x, predicate=predicate, reverse_pred=reverse
        )

    def wanted(x):
        return np.where((mask != 0) != reverse, np.array(5).astype(x.dtype) if constant else x, base)

    check(case, work, wanted, mask.astype(kind), fill=patterns, narrow=None)


@covers("iota", "affine_select")
@MANY
@given(
    operands(count=2), st.lists(st.integers(-9, 9), min_size=4, max_size=4), st.integers(-50, 50),
    st.integers(-3, 3), st.sampled_from(sorted(COMPARE)),
)  # fmt: skip
def test_affine_patterns(case, steps, offset, multiplier, compare):
    pattern = [[step, size] for step, size in zip(steps, case.shape[1:], strict=False)]
    places = affine(case.shape, pattern, offset, multiplier)

    def select(dst, x):
        nisa.affine_select(
            dst=dst, pattern=pattern, offset=offset, channel_multiplier=multiplier, on_true_tile=x,
            on_false_value=-1.5, cmp_op=getattr(nl, compare),
        )  # fmt: skip

    check(case, select, lambda x: np.where(COMPARE[compare](places, 0), x, F32(-1.5)))

    def count(dst, x):
        nisa.iota(dst=dst, pattern=pattern, offset=offset, channel_multiplier=multiplier)

    kind = np.dtype(case.kinds[1])
    if kind.kind not in "iu" or np.iinfo(kind).min <= places.min() <= places.max() <= np.iinfo(kind).max:
        check(case, count, lambda x: places)


# -- DMA with arithmetic ---------------------------------------------------------------------------


@covers("dma_compute")
@MANY
@given(operands(count=5), st.integers(2, 16), st.booleans())
def test_dma_compute(case, count, scaled):
    """Sums of up to 16 sources, dst among them or not."""

    def work(dst, *xs):
        sources = [xs[k % len(xs)] for k in range(count - 1)]
        nisa.dma_compute(
            dst=dst, srcs=[dst, *sources], reduce_op=nl.add, scales=[1.0] * count if scaled else None
        )

    base = case.views[-1].of(case.draw(numbers, 4)).astype(F32)
    check(case, work, lambda *xs: base + sum(xs[k % len(xs)] for k in range(count - 1)))


@covers("dma_compute", "dma_copy")
@MANY
@given(
    st.sampled_from(ROWS), st.integers(1, 33), st.sampled_from(FLOATS), st.sampled_from(FLOATS), SEEDS,
    st.booleans(),
)  # fmt: skip
def test_dma_compute_with_indices(rows, width, kind, other, seed, scatter):
    rng = np.random.default_rng(seed)
    table, tile = numbers((200, width), kind, seed), numbers((rows, width), other, seed + 1)
    index = rng.permutation(200)[:rows, None].astype(np.uint32)

    def kernel(table, tile, index):
        far, near, places = hbm((200, width), table.dtype), loaded(tile), loaded(index)
        nisa.dma_copy(dst=far, src=table)
        view = far.ap(pattern=[[width, rows], [1, width]], vector_offset=places)
        if scatter:
            nisa.dma_compute(dst=view, srcs=[view, near], reduce_op=nl.add)
            return far
        nisa.dma_compute(dst=near, srcs=[near, view], reduce_op=nl.add)
        return stored(near)

    total = table[index[:, 0]].astype(F32) + tile.astype(F32)
    wanted = table.copy() if scatter else cast(total, other)
    if scatter:
        wanted[index[:, 0]] = cast(total, kind)
    assert everywhere(kernel, table, tile, index).tobytes() == wanted.tobytes()


# -- transposes and shuffles -----------------------------------------------------------------------


@covers("dma_transpose")
@MANY
@given(
    st.sampled_from([(1, 0), (2, 1, 0), (3, 1, 2, 0)]), st.sampled_from((1, 31, 32, 128)),
    st.sampled_from((1, 33, 127, 128)), st.sampled_from([np.float16, BF16, np.float32, np.int32]), SEEDS,
)  # fmt: skip
def test_dma_transpose(axes, first, last, kind, seed):
    middle = np.random.default_rng(seed).integers(1, 5, len(axes) - 2)
    x = patterns((first, *middle, last), kind, seed)

    def kernel(x):
        out = sbuf([x.shape[axis] for axis in axes], x.dtype)
        nisa.dma_transpose(dst=out, src=x, axes=axes)
        return stored(out)

    assert everywhere(kernel, x).tobytes() == np.ascontiguousarray(x.transpose(axes)).tobytes()


@covers("nc_transpose")
@MANY
@given(operands((np.float32, BF16, np.int16, np.uint8), 1, shape=shapes(edges=(1, 31, 32, 33, 127, 128))))
def test_nc_transpose(case):
    small = case.shape[0] <= 32 and np.prod(case.shape[1:]) <= 32

    def work(x):
        size = x.size // x.shape[0], x.shape[0]
        bank, tile = psum(size, x.dtype), sbuf(size, x.dtype)
        nisa.nc_transpose(dst=bank, data=x, engine=nisa.engine.tensor)
        nisa.tensor_copy(dst=tile, src=bank)
        if small:
            other = sbuf(size, x.dtype)
            nisa.nc_transpose(dst=other, data=x, engine=nisa.engine.vector)
        return tile, other if small else tile

    if np.prod(case.shape[1:]) <= 128:
        (one, other), (x,) = launched(case, work)
        wanted = np.ascontiguousarray(x.reshape(len(x), -1).T)
        assert one.tobytes() == wanted.tobytes()
        assert other.tobytes() == wanted.tobytes()


@covers("nc_stream_shuffle")
@MANY
@given(
    operands(ANY, 2, same=True, shape=shapes(rows=(32, 64, 96, 128))),
    st.lists(st.one_of(st.integers(0, 31), st.just(255)), min_size=32, max_size=32),
)  # fmt: skip
def test_nc_stream_shuffle(case, mask):
    base = case.views[1].of(case.draw(patterns, 1)).copy()

    def wanted(x):
        for row in range(len(x)):
            if mask[row % 32] != 255:
                base[row] = x[row - row % 32 + mask[row % 32]]
        return base

    def work(dst, x):
        nisa.nc_stream_shuffle(dst=dst, src=x, shuffle_mask=mask)

    check(case, work, wanted, fill=patterns, narrow=None)


# -- gathers and searches --------------------------------------------------------------------------


@covers("nc_n_gather")
@MANY
@given(operands(ANY, 2, same=True))
def test_nc_n_gather(case):
    free = int(np.prod(case.shape[1:]))
    index = np.random.default_rng(case.seed).integers(0, free, case.shape).astype(np.uint32)

    def wanted(x):
        flat = index.reshape(len(x), -1).astype(int)
        return np.take_along_axis(x.reshape(len(x), -1), flat, axis=1).reshape(x.shape)

    def work(dst, x, places):
        nisa.nc_n_gather(dst=dst, data=x, indices=places)

    check(case, work, wanted, index, fill=patterns, narrow=None)


@covers("local_gather")
@MANY
@given(
    operands(ANY, 1, shape=shapes(rows=(16, 32, 64, 128), edges=(32, 33, 511))),
    st.sampled_from((1, 2, 4, 8, 16, 32)), st.integers(1, 64), st.data(),
)  # fmt: skip
def test_local_gather(case, width, valid, data):
    free = int(np.prod(case.shape[1:]))
    if width > free:
        return
    rows, columns = case.shape[0], -(-valid // 16)
    index = np.random.default_rng(case.seed).integers(0, free - width + 1, (rows, columns)).astype(np.uint16)

    def work(x, places):
        out = sbuf((rows, valid, width), x.dtype)
        nisa.local_gather(
            dst=out, src_buffer=x, index=places, num_elem_per_idx=width, num_valid_indices=valid
        )
        return out

    got, (x,) = launched(case, work, index, fill=patterns)
    for core in range(0, rows, 16):
        order = index[core : core + 16].flatten(order="F")[:valid].astype(int)
        wanted = x.reshape(rows, -1)[core : core + 16, order[:, None] + np.arange(width)]
        assert got[core : core + 16].tobytes() == wanted.tobytes()


@covers("topk")
@MANY
@given(
    operands((BF16,), 1, shape=shapes(rows=(16, 32, 64, 128), edges=(1, 2, 33, 127))), st.integers(8, 2000),
    st.integers(1, 2000),
)  # fmt: skip
def test_topk(case, n, k):
    free = int(np.prod(case.shape[1:]))
    n = max(8, n % (16 * free + 1))
    k = 1 + k % n

    def fill(shape, dtype, seed):
        # all different in bfloat16, as the order of equal values is not documented
        rng = np.random.default_rng(seed)
        bits = rng.permuted(np.tile(np.arange(0x2000, 0x7F00), (8, 1)), axis=1).astype(np.uint16)
        out = np.zeros(shape, np.uint16)
        flat = out.reshape(8, -1)
        flat[...] = np.resize(bits, flat.shape) if flat.shape[1] > bits.shape[1] else bits[:, : flat.shape[1]]
        return out.view(dtype)

    def work(x):
        values, places = sbuf((x.shape[0], k), nl.bfloat16), sbuf((x.shape[0], k), nl.uint32)
        nisa.topk(val_dst=values, idx_dst=places, src=x, n=n)
        return values, places

    (values, places), (x,) = launched(case, work, fill=fill)
    for first in range(0, len(x), 16):
        snake = x.reshape(len(x), -1)[first : first + 16].T.reshape(-1)[:n].astype(F32)
        order = np.argsort(snake)[-k:]
        assert (places[first : first + 16] == order).all()
        assert (values[first : first + 16].astype(F32) == snake[order]).all()


@covers("nonzero_with_count")
@MANY
@given(operands((np.float32, np.int32), 1), st.integers(-9, 999), st.integers(-9, 9), st.data())
def test_nonzero_with_count(case, offset, padding, data):
    free = int(np.prod(case.shape[1:]))
    out = data.draw(views((case.shape[0], free + 1)))
    base = np.full(out.full, 77, np.int32)

    def work(x, tile):
        nisa.nonzero_with_count(dst=out.of(tile), src=x, index_offset=offset, padding_val=padding)
        return tile

    def fill(shape, dtype, seed):
        return np.random.default_rng(seed).integers(-1, 2, shape).astype(dtype)

    got, (x,) = launched(case, work, base, chips=GEN3, fill=fill)
    for row in range(0, len(x), 16):
        found = np.flatnonzero(x[row])
        rest = [padding] * (free - found.size)
        out.of(base)[row] = [*(found + offset), *rest, found.size]
    assert np.array_equal(got, base)


@covers("sequence_bounds")
@MANY
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 70)), min_size=1, max_size=9),
    *[st.sampled_from([np.float32, np.int32])] * 2,
)
def test_sequence_bounds(runs, kind, result):
    ids = np.concatenate([np.full(size, number) for number, size in runs])
    same = np.concatenate([[0], np.cumsum(np.diff(ids) != 0)])

    def kernel(ids):
        out = sbuf((1, 2, ids.shape[1]), name_of(result))
        nisa.sequence_bounds(dst=out, segment_ids=loaded(ids))
        return stored(out)

    starts, ends = np.searchsorted(same, same), np.searchsorted(same, same, side="right")
    wanted = np.where(ids == 0, [[len(ids)], [-1]], [starts, ends])[None]
    assert np.array_equal(everywhere(kernel, ids[None].astype(kind)), wanted)


# -- registers and two cores -----------------------------------------------------------------------


@covers("register_alloc", "register_move", "register_load", "register_store")
@MANY
@given(operands(BITS, 2, same=True, shape=st.just((1, 1))))
def test_registers(case):
    def work(dst, x):
        one, two = nisa.register_alloc(), nisa.register_alloc(5)
        nisa.register_load(one, x)
        nisa.register_move(two, one)
        nisa.register_store(dst, two)

    check(case, work, lambda x: x, fill=patterns, narrow=None)


@covers("sendrecv", "core_barrier")
@MANY
@given(operands(ANY, 1), st.integers(0, 9))
def test_two_cores_swap(case, pipe):
    (view,) = case.views
    both = np.stack([case.draw(patterns), case.draw(patterns)[::-1]])

    def kernel(both):
        rank, out = nl.program_id(0), hbm(both.shape, both.dtype)
        tile, got = sbuf(both.shape[1:], both.dtype), sbuf(case.shape, both.dtype)
        nisa.dma_copy(dst=tile, src=both.select(0, rank))
        other = {"send_to_rank": 1 - rank, "recv_from_rank": 1 - rank, "pipe_id": pipe}
        nisa.sendrecv(src=view.of(tile), dst=got, **other)
        nisa.tensor_copy(dst=view.of(tile), src=got)
        nisa.dma_copy(dst=out.select(0, rank), src=tile)
        nisa.core_barrier(data=out, cores=(0, 1))
        return out

    wanted = both.copy()
    view.of(wanted[0])[...], view.of(wanted[1])[...] = view.of(both[1]), view.of(both[0])
    assert everywhere(nki.jit(kernel)[2], both, chips=GEN3).tobytes() == wanted.tobytes()
