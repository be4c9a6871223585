"""Views of tensors against the same views in NumPy, and the views that are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.interp import KernelFault
from numtrn.interp.tensor import regroup, row_major
from tests.interp.support import filled, loaded, nisa, nl, refused, run, sbuf, stored

X = np.arange(6 * 5 * 8, dtype=np.float32).reshape(6, 5, 8)


def viewed(view, x=X):
    """A view of an argument, of a tile, and of a tile as destination, all give the elements of NumPy's."""

    def from_hbm(x):
        part = view(x)
        tile = sbuf(part.shape, part.dtype)
        nisa.dma_copy(dst=tile, src=part)
        return stored(tile)

    def from_tile(x):
        return stored(view(loaded(x)))

    def into_tile(x):
        tile = sbuf(x.shape, x.dtype)
        nisa.memset(dst=tile, value=-1.0)
        part = view(tile)
        nisa.dma_copy(dst=part, src=filled(part.shape, value=-2.0))
        return stored(tile)

    return run(from_hbm, x), run(from_tile, x), run(into_tile, x)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[0:6],
        lambda t: t[1:3, :, 2:],
        lambda t: t[..., 0:8:3],
        lambda t: t[:, -3:-1, ::2],
        lambda t: t[0:4, 2],
        lambda t: t[:, -1, 1:7:5],
        lambda t: t[2:5][:, 1:4][..., 3:],
    ],
)
def test_slices(view):
    one, other, into = viewed(view)
    marked = np.full_like(X, -1)
    view(marked)[...] = -2
    assert np.array_equal(one, view(X))
    assert np.array_equal(other, view(X))
    assert np.array_equal(into, marked)


def test_slices_by_start_and_size():
    one, other, _ = viewed(lambda t: t[nl.ds(1, 3), :, nl.ds(2, 4)])
    assert np.array_equal(one, X[1:4, :, 2:6])
    assert np.array_equal(other, X[1:4, :, 2:6])


@pytest.mark.parametrize(
    ("view", "numpy"),
    [
        (lambda t: t.reshape((6, 40)), lambda a: a.reshape(6, 40)),
        (lambda t: t.reshape((6, 2, 2, 10)), lambda a: a.reshape(6, 2, 2, 10)),
        (lambda t: t[:, 1:3].reshape((6, 16)), lambda a: a[:, 1:3].reshape(6, 16)),
        (lambda t: t[:, 0:5:2].reshape((6, 3, 2, 4)), lambda a: a[:, ::2].reshape(6, 3, 2, 4)),
        (lambda t: t.permute((0, 2, 1)), lambda a: a.transpose(0, 2, 1)),
        (lambda t: t.slice(2, 1, 7, 2), lambda a: a[..., 1:7:2]),
        (lambda t: t.select(1, 3), lambda a: a[:, 3]),
        (lambda t: t.expand_dim(1), lambda a: a[:, None]),
        (lambda t: t[:, 1:2].squeeze_dim(1), lambda a: a[:, 1]),
        (lambda t: t.reshape_dim(2, (2, -1)), lambda a: a.reshape(6, 5, 2, 4)),
        (lambda t: t.flatten_dims(1, 2), lambda a: a.reshape(6, 40)),
        (lambda t: t.ap(pattern=[[40, 6], [8, 5], [2, 4]], offset=1), lambda a: a[..., 1::2]),
        (lambda t: t.ap(pattern=[[40, 3], [1, 7]], offset=80 + 5), lambda a: a.reshape(6, 40)[2:5, 5:12]),
    ],
)
def test_views(view, numpy):
    one, other, into = viewed(view)
    marked = np.full_like(X, -1)
    numpy(marked)[...] = -2
    assert np.array_equal(one, numpy(X))
    assert np.array_equal(other, numpy(X))
    assert np.array_equal(into, marked)


def test_repeating_views_are_read_and_not_written():
    def read(x, by_pattern):
        tile, result = loaded(x), sbuf((6, 4, 3))
        part = tile.ap(pattern=[[40, 6], [0, 4], [1, 3]]) if by_pattern else tile[:, 0:1, 0:3].broadcast(1, 4)
        nisa.tensor_copy(dst=result, src=part)
        return stored(result)

    def write():
        tile = sbuf((6, 8))
        nisa.memset(dst=tile.ap(pattern=[[8, 6], [0, 4]]), value=1.0)  # refused

    for by_pattern in (False, True):
        assert np.array_equal(run(read, X, by_pattern), np.broadcast_to(X[:, :1, :3], (6, 4, 3)))
    refused("H30", "repeat", kernel=write)


def test_bits_as_another_dtype():
    def kernel(x, names):
        return tuple(stored(loaded(x)[:, 1:3].view(name)) for name in names)

    names = ("float32", "int32", "uint8", "bfloat16", "int16")
    x = np.random.default_rng(5).standard_normal((3, 5, 8)).astype(np.float32)
    for name, out in zip(names, run(kernel, x, names), strict=True):
        assert out.shape == (3, 2, 8 * 4 // out.dtype.itemsize)
        assert np.array_equal(out.view(np.uint8), x[:, 1:3].copy().view(np.uint8)), name

    def back(x):
        return stored(loaded(x)[:, :, 2:6].view(nl.float32))

    halves = x.view(np.uint16)
    assert np.array_equal(run(back, halves), halves[:, :, 2:6].copy().view(np.float32))


def test_attributes():
    def kernel(x):
        tile = nl.ndarray((6, 5, 8), dtype=nl.bfloat16, buffer=nl.sbuf, name="weights")
        part = tile[2:4, :, 1:8:2]
        assert (part.shape, part.strides, part.offset, part.ndim, part.size) == (
            (2, 5, 4),
            (40, 8, 2),
            81,
            3,
            40,
        )
        assert part.dtype == nl.bfloat16 == "bfloat16"
        assert part.buffer == nl.sbuf
        assert part.name == "weights"
        assert tile.is_contiguous()
        assert not part.is_contiguous()
        assert not part.is_indirect()
        assert part.get_pattern() == [[40, 2], [8, 5], [2, 4]]
        assert x.buffer == nl.shared_hbm
        assert nl.is_hbm(x.buffer)
        assert nl.is_sbuf(tile.buffer)
        assert nl.is_on_chip(nl.psum)
        assert not nl.is_psum(tile.buffer)
        return stored(filled((1, 1)))

    run(kernel, X)


@given(
    st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4),
    st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_reshape_needs_a_copy_exactly_when_numpy_does(sizes, new, data):
    if np.prod(sizes) != np.prod(new):
        return
    steps = [data.draw(st.sampled_from([1, 2])) for _ in sizes]
    array = np.zeros([n * step for n, step in zip(sizes, steps, strict=True)], np.int8)
    array = array[tuple(slice(None, None, step) for step in steps)]
    got = regroup(array.shape, array.strides, tuple(new))
    shaped = array.reshape(new)
    if np.shares_memory(shaped, array):
        assert got is not None
        kept = [k for k, n in enumerate(new) if n > 1]
        assert [got[k] for k in kept] == [shaped.strides[k] for k in kept]
    else:
        assert got is None
    assert row_major(tuple(new)) == tuple(s for s in np.zeros(new, np.int8).strides)


@pytest.mark.parametrize(
    ("view", "rule", "word"),
    [
        (lambda t: t[0:7], "H31", "0:7"),
        (lambda t: t[3:3], "H31", "3:3"),
        (lambda t: t[:, 0:5:-1], "H31", "0:5:-1"),
        (lambda t: t[:, :, nl.ds(6, 3)], "H31", "6:9"),
        (lambda t: t[:, 5], "H31", "dimension 1"),
        (lambda t: t[0], "H39", "partition"),
        (lambda t: t[:, 0][:, 3], "H39", "2-D tile"),
        (lambda t: t[0:1, 0:1, 0:1, 0:1], "H31", "3 indices"),
        (lambda t: t[:, None], "H41", "None"),
        (lambda t: t[:, "a"], "H41", "'a'"),
        (lambda t: t.reshape((5, 48)), "H2", "partition dimension"),
        (lambda t: t.reshape((6, 41)), "H17", "240 elements"),
        (lambda t: t[:, :, 0:4].reshape((6, 20)), "H39", "copy"),
        (lambda t: t[:, :, ::2].view(nl.uint8), "H39", "contiguous"),
        (lambda t: t[0:2].ap(pattern=[[40, 2], [1, 3]]), "H39", "view"),
        (lambda t: t.ap(pattern=[[80, 3], [1, 3]]), "H2", "free size 40"),
        (lambda t: t.ap(pattern=[[40, 6], [1, 41]]), "H31", "elements"),
        (lambda t: t.ap(pattern=[[40, 5], [1, 8]], offset=35), "H31", "partition of 40"),
        (lambda t: t.ap(pattern=[[40, 6]], vector_offset=t), "H31", "HBM"),
        (lambda t: t.rearrange(("a",), ("a",)), "H41", "all dimensions"),
        (lambda t: t.indirect(t), "H29", "NkiTensor.indirect needs gen4"),
        (lambda t: t.permute((1, 0, 2)), "H2", "(1, 0, 2)"),
        (lambda t: list(t), "H39", "iterated"),
    ],
)
def test_refused_views_of_a_tile(view, rule, word):
    message = refused_view(view)
    assert message.startswith(f"{rule}: "), message
    assert word in message


def refused_view(view):
    with pytest.raises(KernelFault) as caught:
        run(lambda x: view(loaded(x)), X)
    assert __file__ in caught.value.where
    return str(caught.value)


def test_assignment():
    def kernel(x):
        tile = loaded(x)
        tile[0:6] = 1.0  # refused

    refused("H39", "assignment", kernel=kernel, arguments=[X])


@pytest.mark.parametrize(
    ("shape", "view", "word"),
    [
        ((2, 70000), lambda t: t, "65536 elements"),
        ((2, 3, 20000), lambda t: t[:, 0:3:2, 0:9], "32767"),
        ((2, 2, 2, 2, 2), lambda t: t.expand_dim(1), "5 dimensions"),
    ],
)
def test_access_pattern_limits(shape, view, word):
    def kernel():
        tile = view(sbuf(shape, nl.bfloat16 if len(shape) == 3 else nl.uint8))
        nisa.memset(dst=tile, value=1.0 if tile.dtype == "bfloat16" else 1)  # refused

    refused("H30", word, kernel=kernel, chip="trn3")


def test_tensor_indirection_is_refused():
    def kernel():
        tile = filled((16, 4))
        return stored(tile.indirect(tile))

    with pytest.raises(KernelFault, match=r"unsupported: .* NkiTensor.indirect, whose documents disagree"):
        run(kernel, chip="trn3")
