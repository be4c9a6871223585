"""kernel[2]: program ids, sendrecv, core_barrier, and what goes wrong between two cores."""

import numpy as np
import pytest

from numtrn.interp import KernelFault, simulate
from numtrn.machine import CHIPS
from tests.interp.support import filled, hbm, loaded, nisa, nki, nl, run, sbuf, stored

X = np.arange(32, dtype=np.float32).reshape(4, 8)


def halves(x):
    """Each core doubles its rows; then each adds a row of the other one's."""
    out, sums = hbm((4, 8)), hbm((2, 8))
    rank = nl.program_id(0)
    assert nl.num_programs() == 2
    assert nl.program_ndim() == 1
    tile = loaded(x[2 * rank : 2 * rank + 2])
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=2.0)
    nisa.dma_copy(dst=out[2 * rank : 2 * rank + 2], src=tile)
    nisa.core_barrier(data=out, cores=(0, 1))
    nisa.dma_copy(dst=sums[rank : rank + 1], src=out[3 - 3 * rank : 4 - 3 * rank])
    return out, sums


def test_a_barrier_makes_the_other_half_visible():
    record = simulate(nki.jit(halves)[2], [X], chip=CHIPS["trn2"], keep_log=True)
    out, sums = record.outputs
    assert np.array_equal(out, 2 * X)
    assert np.array_equal(sums, 2 * X[[3, 0]])
    assert len(record.others) == 1
    assert record.others[0].log[-2].name == "core_barrier"


def test_sendrecv():
    def kernel(x):
        rank, got, out = nl.program_id(0), sbuf((2, 8)), hbm((4, 8))
        nisa.sendrecv(
            src=loaded(x[2 * rank : 2 * rank + 2]),
            dst=got,
            send_to_rank=1 - rank,
            recv_from_rank=1 - rank,
            pipe_id=0,
        )
        nisa.dma_copy(dst=out[2 * rank : 2 * rank + 2], src=got)
        return out

    assert np.array_equal(run(nki.jit(kernel)[2], X), X[[2, 3, 0, 1]])


def without_barrier(x):
    out, other = hbm((4, 8)), hbm((4, 8))
    rank = nl.program_id(0)
    nisa.dma_copy(dst=out[2 * rank : 2 * rank + 2], src=loaded(x[0:2]))
    nisa.dma_copy(dst=other, src=out)
    return other


def alone(x):
    data = hbm((1, 1))
    if nl.program_id(0) == 0:
        nisa.core_barrier(data=data, cores=(0, 1))
    return stored(loaded(x))


def different(x):
    return stored(filled((1 + nl.program_id(0), 1)))


def fails(x):
    assert nl.program_id(0) == 0, "the second core fails"
    nisa.sendrecv(src=loaded(x), dst=loaded(x), send_to_rank=1, recv_from_rank=1, pipe_id=0)
    return stored(loaded(x))


@pytest.mark.parametrize(
    ("kernel", "word"),
    [
        (without_barrier, "H6: .*before it is read"),
        (alone, "H38: .*never comes"),
        (different, "H38: .*same tensors"),
        (fails, "second core fails|never comes"),
    ],
)
def test_refused(kernel, word):
    with pytest.raises(KernelFault, match=word):
        run(nki.jit(kernel)[2], X)


def again(x):
    """After the barrier, a core writes what the other one may still be reading."""
    rank, out, seen = nl.program_id(0), hbm((4, 8)), hbm((2, 8))
    nisa.dma_copy(dst=out[2 * rank : 2 * rank + 2], src=loaded(x[0:2]))
    nisa.core_barrier(data=out, cores=(0, 1))
    nisa.dma_copy(dst=seen[rank : rank + 1], src=out[3 - 3 * rank : 4 - 3 * rank])
    nisa.dma_copy(dst=out[2 * rank : 2 * rank + 2], src=loaded(x[2:4]))
    return out, seen


def again_after_a_barrier(x):
    rank, out, seen = nl.program_id(0), hbm((4, 8)), hbm((2, 8))
    nisa.dma_copy(dst=out[2 * rank : 2 * rank + 2], src=loaded(x[0:2]))
    nisa.core_barrier(data=out, cores=(0, 1))
    nisa.dma_copy(dst=seen[rank : rank + 1], src=out[3 - 3 * rank : 4 - 3 * rank])
    nisa.core_barrier(data=out, cores=(0, 1))
    nisa.dma_copy(dst=out[2 * rank : 2 * rank + 2], src=loaded(x[2:4]))
    return out, seen


def columns(x):
    """Parts that interleave, and parts side by side, are apart."""
    rank, out, side = nl.program_id(0), hbm((4, 8)), hbm((4, 8))
    nisa.dma_copy(dst=out[:, rank:8:2], src=loaded(x[:, 0:4]))
    nisa.dma_copy(dst=side[:, 4 * rank : 4 * rank + 4], src=loaded(x[:, 0:4]))
    return out, side


def scattered(x):
    """Both cores write row 1 through an index."""
    out, index = hbm((4, 8)), filled((2, 1), nl.uint32, nl.program_id(0))
    nisa.iota(dst=index, pattern=[[0, 1]], offset=nl.program_id(0), channel_multiplier=1)
    nisa.dma_copy(dst=out.ap([[8, 2], [1, 8]], vector_offset=index), src=loaded(x[0:2]))
    return out


def writes_an_argument(x):
    rank = nl.program_id(0)
    tile = loaded(x[2 * rank : 2 * rank + 2])
    nisa.dma_copy(dst=x[rank : rank + 2], src=tile)
    return x


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (again, "core 0 writes .* core 1 reads"),
        (scattered, "writes .* writes"),
        (writes_an_argument, "writes"),
    ],
)
def test_races(kernel, words, dry):
    if dry and kernel is scattered:
        pytest.skip("a dry run has no indices")
    with pytest.raises(KernelFault, match=f"H38: what one core writes.*{words}"):
        simulate(nki.jit(kernel)[2], [X.copy()], chip=CHIPS["trn2"], dry=dry)


@pytest.mark.parametrize("kernel", [again_after_a_barrier, columns])
def test_no_races(kernel):
    run(nki.jit(kernel)[2], X)


def test_cores_that_wait_at_different_points():
    def kernel(x):
        one, two = hbm((1, 1)), hbm((1, 1))
        for data in (one, two) if nl.program_id(0) else (two, one):
            nisa.core_barrier(data=data, cores=(0, 1))
        return stored(loaded(x))

    with pytest.raises(KernelFault, match=r"H38: core . waits at core_barrier; core . never comes"):
        run(nki.jit(kernel)[2], X)


def test_where_two_cores_are_not():
    with pytest.raises(KernelFault, match=r"H38: kernel\[2\] needs gen3"):
        run(nki.jit(halves)[2], X, chip="trn1")
    with pytest.raises(KernelFault, match="H38: core_barrier needs two cores"):
        run(lambda x: nisa.core_barrier(data=x, cores=(0, 1)), X)
