"""Registers, loops, and offsets that are known only when an instruction runs."""

import numpy as np
import pytest

from numtrn.interp import KernelFault, simulate
from numtrn.interp.faults import allowing
from numtrn.machine import CHIPS
from tests.interp.support import filled, hbm, loaded, nisa, nl, refused, run, sbuf, stored

X = np.arange(48, dtype=np.float32).reshape(8, 6)


def index_tile(value, dtype=nl.int32):
    tile = sbuf((1, 1), dtype)
    nisa.memset(dst=tile, value=value)
    return tile


def test_registers_hold_load_and_store():
    def kernel():
        one = nisa.register_alloc(7)
        other = nisa.register_alloc()
        nisa.register_move(other, one)
        tile = sbuf((1, 1), nl.int32)
        nisa.register_store(tile, other)
        third = nisa.register_alloc()
        nisa.register_load(third, tile)
        out = sbuf((1, 2), nl.int32)
        nisa.register_store(out[:, 0:1], third)
        nisa.register_move(third, -3)
        nisa.register_store(out[:, 1:2], third)
        return stored(out)

    assert run(kernel).tolist() == [[7, -3]]


@pytest.mark.parametrize("use", [int, range, lambda r: r + 1, lambda r: 2 * r, lambda r: r < 3, bool, float])
def test_registers_are_not_python_numbers(use):
    def kernel():
        use(nisa.register_alloc(1))  # refused
        return stored(filled((1, 1)))

    with pytest.raises(KernelFault, match=r"^H37"):
        run(kernel)


def test_an_empty_register():
    def kernel():
        nisa.register_move(nisa.register_alloc(), nisa.register_alloc())  # refused

    refused("H6", "register", kernel=kernel)


def test_dynamic_range_and_a_register_as_offset():
    def kernel(x):
        out = hbm((8, 6))
        for i in nl.dynamic_range(0, nisa.register_alloc(8), 2):
            row = sbuf((1, 6))
            nisa.dma_copy(dst=row, src=x.ap(pattern=[[6, 1], [1, 6]], scalar_offset=i))
            nisa.dma_copy(dst=out.ap(pattern=[[6, 1], [1, 6]], scalar_offset=i), src=row)
        for i in nl.dynamic_range(1, 8, 2):
            nisa.dma_copy(dst=out.select(0, i), src=x.select(0, i))
        return out

    assert np.array_equal(run(kernel, X), X)


def test_fori_loop_and_while_loop():
    def kernel(x):
        total, row, one, count = filled((1, 6), value=0.0), sbuf((1, 6)), index_tile(1), index_tile(3)

        def body(i):
            nisa.dma_copy(dst=row, src=x.ap(pattern=[[6, 1], [1, 6]], scalar_offset=i))
            nisa.tensor_tensor(dst=total, data1=total, data2=row, op=nl.add)

        nl.fori_loop(2, nisa.register_alloc(5), body)
        register = nisa.register_alloc()
        nisa.register_load(register, count)

        def again(r):
            nisa.tensor_scalar(dst=total, data=total, op0=nl.multiply, operand0=2.0)
            nisa.tensor_tensor(dst=count, data1=count, data2=one, op=nl.subtract)
            nisa.register_load(r, count)
            return r

        nl.while_loop(register, again)
        nl.while_loop(nisa.register_alloc(0), lambda r: pytest.fail("the body of a false loop ran"))
        return stored(total)

    assert np.array_equal(run(kernel, X), 8 * X[2:5].sum(axis=0, keepdims=True))


def test_loops_that_are_refused():
    def ordered():
        with nl.no_reorder():
            nl.fori_loop(0, 1, lambda i: None)  # refused

    def returns():
        nl.fori_loop(0, 1, lambda i: i)  # refused

    def writes():
        for i in nl.dynamic_range(2):
            nisa.register_move(i, 3)  # refused

    refused("H37", "no_reorder", kernel=ordered)
    refused("H37", "returns nothing", kernel=returns)
    refused("H37", "variable", kernel=writes)


def test_branching_on_a_register_where_that_is_let_pass():
    def kernel():
        count, steps = nisa.register_alloc(2), []
        while count:
            steps.append(count.value)
            nisa.register_move(count, count.value - 1)
        return stored(filled((1, len(steps))))

    assert simulate(kernel, [], chip=CHIPS["trn2"], version="0.5").outputs.shape == (1, 2)
    with allowing("H37"):
        assert run(kernel).shape == (1, 2)


def test_a_register_as_index_and_as_start_of_a_slice():
    def kernel(x):
        out = hbm((8, 6))
        for i in nl.dynamic_range(0, nisa.register_alloc(8), 2):
            nisa.dma_copy(dst=out[i], src=x[i])
            nisa.dma_copy(dst=out[1:8][nl.ds(i, 1), 0:6], src=x[1:8][nl.ds(i, 1), 0:6])
        tile, column = loaded(x), sbuf((8, 2))
        nisa.tensor_copy(dst=column, src=tile[:, nl.ds(nisa.register_alloc(3), 2)])
        return out, stored(column)

    out, column = run(kernel, X)
    assert np.array_equal(out, X)
    assert np.array_equal(column, X[:, 3:5])


@pytest.mark.parametrize(
    ("use", "rule", "word"),
    [
        (lambda x, r: x[nl.ds(r, 3)], "H31", "stay inside the tensor; got 6"),
        (lambda x, r: x[r:8], "H37", "comparison"),
        (lambda x, r: x[r, r], "H31", "one dimension"),
        (lambda x, r: x[nl.ds(r, 9)], "H31", "size of 1 to 8"),
        (lambda x, r: x[nl.ds(r, 1)][:, nl.ds(r, 1)], "H31", "indirect again"),
        (lambda x, r: loaded(x)[r], "H39", "an integer index on the partition"),
    ],
)
def test_registers_as_indices_that_are_refused(use, rule, word):
    def kernel(x):
        out = hbm((3, 6))
        nisa.dma_copy(dst=out, src=use(x, nisa.register_alloc(6)))
        return out

    with pytest.raises(KernelFault, match=f"{rule}: .*{word}"):
        run(kernel, X)


def test_a_register_as_index_is_new_in_0_4():
    with pytest.raises(KernelFault, match="H39: a register in an index is new"):
        simulate(lambda x: x[nisa.register_alloc(0)], [X], chip=CHIPS["trn2"], version="0.3")


def test_the_offset_is_read_when_the_instruction_runs():
    def kernel(x):
        place, out = index_tile(1), sbuf((1, 6))
        view = x.ap(pattern=[[6, 1], [1, 6]], scalar_offset=place)
        assert view.is_indirect()
        nisa.memset(dst=place, value=4)
        nisa.dma_copy(dst=out, src=view)
        return stored(out)

    assert np.array_equal(run(kernel, X), X[4:5])


def test_dynamic_offset_on_chip():
    def kernel(x):
        tile, out, part = loaded(x), sbuf((8, 2)), sbuf((8, 1))
        nisa.tensor_copy(
            dst=out, src=tile.ap(pattern=[[6, 8], [1, 2]], scalar_offset=index_tile(3), indirect_dim=1)
        )
        nisa.tensor_copy(dst=part, src=tile.reshape((8, 2, 3)).select(2, index_tile(1))[:, 1:2])
        return stored(out), stored(part)

    out, part = run(kernel, X)
    assert np.array_equal(out, X[:, 3:5])
    assert np.array_equal(part, X[:, 4:5])


INDEX = np.array([[3], [0], [7], [7]], np.uint32)


def test_gather_and_vector_select():
    def kernel(x, index):
        places, one, other = loaded(index), sbuf((4, 6)), sbuf((4, 6))
        nisa.dma_copy(dst=one, src=x.ap(pattern=[[6, 4], [1, 6]], vector_offset=places))
        nisa.dma_copy(dst=other, src=x.vector_select(0, places))
        return stored(one), stored(other)

    for out in run(kernel, X, INDEX):
        assert np.array_equal(out, X[INDEX[:, 0]])


def test_indices_outside():
    index = INDEX + np.uint32(1)

    def kernel(x, index, mode):
        places, out = loaded(index), filled((4, 6), value=-1.0)
        nisa.dma_copy(dst=out, src=x.vector_select(0, places), oob_mode=mode)  # refused
        return stored(out)

    wanted = np.array([X[4], X[1], -np.ones(6), -np.ones(6)])
    assert np.array_equal(run(kernel, X, index, nisa.oob_mode.skip), wanted)
    refused("H31", "8", kernel=kernel, arguments=[X, index, nisa.oob_mode.error])


def test_scatter():
    def kernel(x, index):
        places, out, rows = loaded(index), hbm((8, 6)), loaded(x[0:4])
        nisa.dma_copy(dst=out, src=filled((8, 6), value=0.0))
        target = out.ap(pattern=[[6, 4], [1, 6]], vector_offset=places)
        nisa.dma_copy(dst=target, src=rows)  # refused
        return out

    index = np.array([[3], [0], [7], [5]], np.uint32)
    wanted = np.zeros_like(X)
    wanted[index[:, 0]] = X[:4]
    assert np.array_equal(run(kernel, X, index), wanted)
    refused("H40", "repeat", kernel=kernel, arguments=[X, INDEX])


def test_gather_transpose():
    x = np.arange(32 * 16, dtype=np.float16).reshape(32, 16)
    index = np.random.default_rng(0).permutation(32)[:16, None].astype(np.uint32)

    def kernel(x, index):
        out = sbuf((16, 16), nl.float16)
        view = x.ap(pattern=[[16, 16], [1, 16]], vector_offset=loaded(index))
        nisa.dma_transpose(dst=out, src=view, axes=(1, 0))
        return stored(out)

    assert np.array_equal(run(kernel, x, index), x[index[:, 0]].T)


def test_dma_compute():
    def kernel(x, index):
        places = loaded(index)
        total, rows, out = sbuf((8, 6)), loaded(x[0:4]), hbm((8, 6))
        nisa.dma_compute(dst=total, srcs=[x, loaded(x), x], reduce_op=nl.add)
        row = x.vector_select(0, places)
        nisa.dma_compute(dst=rows, srcs=[row, rows], reduce_op=nl.add)
        nisa.dma_copy(dst=out, src=total)
        where = out.vector_select(0, places)
        nisa.dma_compute(dst=where, srcs=[where, rows], reduce_op=nl.add)
        return out

    index = np.array([[3], [0], [7], [5]], np.uint32)
    wanted = 3 * X
    wanted[index[:, 0]] += X[:4] + X[index[:, 0]]
    assert np.array_equal(run(kernel, X, index), wanted)


def test_dma_compute_refusals():
    def once(x):
        nisa.dma_compute(dst=sbuf((8, 6)), srcs=[x], reduce_op=nl.add)  # refused

    def scaled(x):
        nisa.dma_compute(dst=sbuf((8, 6)), srcs=[x, x], reduce_op=nl.add, scales=[1.0, 2.0])  # refused

    refused("H40", "contradictory", kernel=once, arguments=[X])
    refused("H40", "scales", kernel=scaled, arguments=[X])


def test_views_of_indirect_views():
    def kernel(x):
        view = x.reshape((2, 4, 6)).select(0, index_tile(1))
        out = sbuf((2, 3))
        nisa.dma_copy(dst=out, src=view[1:3, ::2])
        with pytest.raises(KernelFault, match="again"):
            view.select(0, index_tile(1))
        with pytest.raises(KernelFault, match="dtype"):
            view.view(nl.int32)
        return stored(out)

    assert np.array_equal(run(kernel, X), X[5:7, ::2])


def test_rearrange_and_ap_as_another_type():
    def kernel(x):
        tile, out, low = loaded(x), sbuf((8, 3, 2)), sbuf((8, 6), nl.uint16)
        nisa.tensor_copy(dst=out, src=tile.rearrange(("p", ("h", "w")), ("p", "w", "h"), {"h": 2}))
        nisa.tensor_copy(dst=low, src=tile.ap(pattern=[[12, 8], [2, 6]], offset=1, dtype=nl.uint16))
        return stored(out), stored(low)

    out, low = run(kernel, X)
    assert np.array_equal(out, X.reshape(8, 2, 3).transpose(0, 2, 1))
    assert np.array_equal(low, X.view(np.uint16)[:, 1::2])


@pytest.mark.parametrize(("version", "shape"), [("0.4", (2, 3)), ("0.6", (1, 2, 3))])
def test_an_integer_on_the_partitions_means_what_the_version_says(version, shape):
    def kernel(x):
        part = loaded(x).reshape((8, 2, 3))[0]
        assert part.shape == shape
        return stored(filled((1, 1)))

    with allowing("H39"):
        simulate(kernel, [X], chip=CHIPS["trn2"], version=version)
    with pytest.raises(KernelFault, match="H39"):
        simulate(kernel, [X], chip=CHIPS["trn2"], version=version)


@pytest.mark.parametrize(
    ("version", "name", "use"),
    [
        ("0.5", "nl.fori_loop", lambda: nl.fori_loop(0, 1, lambda i: None)),
        ("0.5", "nisa.topk", lambda: nisa.topk(val_dst=None, idx_dst=None, src=None, n=8)),
        ("0.4", "NkiTensor.permute", lambda: filled((4, 4)).permute((0, 1))),
        ("0.3", "psum_bank_fmax", lambda: nl.tile_size.psum_bank_fmax),
        ("0.3", "nisa.activate2", lambda: nisa.activate2(None, None, None, 0, 0, None, None)),
    ],
)
def test_names_that_a_version_does_not_have_yet(version, name, use):
    with pytest.raises(KernelFault, match=f"H39: .*{name} is new"):
        simulate(use, [], chip=CHIPS["trn3"], version=version)


def test_a_register_as_offset_of_iota():
    def kernel():
        tile = sbuf((2, 3), nl.int32)
        nisa.iota(dst=tile, pattern=[[1, 3]], offset=nisa.register_alloc(5), channel_multiplier=10)
        return stored(tile)

    assert run(kernel).tolist() == [[5, 6, 7], [15, 16, 17]]


def test_reductions_of_older_versions():
    def kernel(x):
        tile = loaded(x)
        nisa.tensor_scalar_reduce(dst=tile, data=tile, op0=nl.add, operand0=0.0, reduce_op=nl.add)
        return stored(tile)

    run(kernel, X)
    with pytest.raises(KernelFault, match=r"H39: .*without reduce_res"):
        simulate(kernel, [X], chip=CHIPS["trn2"], version="0.5")


def test_ap_on_a_view_adds_its_offset_to_that_of_the_view():
    def kernel(x):
        out = sbuf((8, 2))
        nisa.tensor_copy(dst=out, src=loaded(x)[:, 2:6].ap(pattern=[[6, 8], [1, 2]], offset=1))
        return stored(out)

    with allowing("H39"):
        assert np.array_equal(run(kernel, X), X[:, 3:5])
        with pytest.raises(KernelFault, match=r"ap on a view is new in NKI 0\.5"):
            simulate(kernel, [X], chip=CHIPS["trn2"], version="0.4")


def test_values_assigned_and_private_outputs_where_that_is_let_pass():
    def kernel(x):
        tile, out = filled((8, 6), value=0.0), nl.ndarray((8, 6), dtype=nl.float32, buffer=nl.hbm)
        tile[:, 0:3] = loaded(x)[:, 3:6]
        out[:, :] = tile
        return out

    with allowing("H39", "H35"):
        assert np.array_equal(run(kernel, X), np.hstack([X[:, 3:6], np.zeros((8, 3))]))
    with pytest.raises(KernelFault, match="H39"):
        run(kernel, X)
