"""The timelines of kernel[2]: they meet at core_barrier and sendrecv, and end together."""

import numpy as np
import pytest

from numtrn.interp import simulate
from numtrn.interp.clock import ClockError, of_shape, schedule, schedule_pair, time_kernel
from numtrn.interp.clock.trace import trace_events
from numtrn.machine import CHIPS
from tests.interp.support import filled, hbm, loaded, nisa, nki, nl, sbuf

TRN2 = CHIPS["trn2"]
BIG = of_shape((256, 2048), "float32")


def halves(x, steps):
    """Each core works alone, core 1 longer than core 0."""
    rank = nl.program_id(0)
    out, tile = hbm((256, 2048)), loaded(x[128 * rank : 128 * rank + 128])
    for _ in range(1 + steps * rank):
        nisa.activation(dst=tile, op=nl.exp, data=tile)
    nisa.dma_copy(dst=out[128 * rank : 128 * rank + 128], src=tile)
    return out


def meets(x, steps):
    """The same; then each reads the other's half."""
    rank = nl.program_id(0)
    out = halves(x, steps)
    seen = hbm((256, 2048))
    nisa.core_barrier(data=out, cores=(0, 1))
    other = loaded(out[128 - 128 * rank : 256 - 128 * rank])
    nisa.dma_copy(dst=seen[128 * rank : 128 * rank + 128], src=other)
    return out, seen


def swaps(x, steps):
    rank = nl.program_id(0)
    out, got, tile = hbm((256, 2048)), sbuf((128, 2048)), loaded(x[128 * rank : 128 * rank + 128])
    for _ in range(steps * rank):
        nisa.activation(dst=tile, op=nl.exp, data=tile)
    for pipe in range(3):
        nisa.sendrecv(src=tile, dst=got, send_to_rank=1 - rank, recv_from_rank=1 - rank, pipe_id=pipe)
        nisa.tensor_copy(dst=tile, src=got)
    nisa.dma_copy(dst=out[128 * rank : 128 * rank + 128], src=tile)
    return out


def both(kernel, steps):
    first = time_kernel(nki.jit(kernel)[2], [BIG, steps], TRN2)
    return first, first.others[0]


def begin(timeline, name):
    return [float(timeline.begin_ns[at]) for at, other in enumerate(timeline.names) if other == name]


def end(timeline):
    return float((timeline.begin_ns + timeline.duration_ns).max())


def test_alone_each_core_is_as_fast_as_by_itself():
    record = simulate(nki.jit(halves)[2], [BIG, 20], chip=TRN2, dry=True, keep_log=True)
    alone = [schedule(run.log, run.sizes, TRN2) for run in (record, *record.others)]
    pair = both(halves, 20)
    for one, other in zip(alone, pair, strict=True):
        assert np.array_equal(one.begin_ns, other.begin_ns)
        assert np.array_equal(one.duration_ns, other.duration_ns)
    assert pair[0].total_ns == pair[1].total_ns == max(one.total_ns for one in alone)
    assert alone[0].total_ns < alone[1].total_ns


@pytest.mark.parametrize(("kernel", "name"), [(meets, "core_barrier"), (swaps, "sendrecv")])
@pytest.mark.parametrize("steps", [0, 5, 50])
def test_both_cores_meet_at_the_same_time(kernel, name, steps):
    first, second = both(kernel, steps)
    assert begin(first, name) == begin(second, name)
    assert first.total_ns == pytest.approx(
        first.start_ns + max(end(first), end(second)) + first.end_ns, abs=500
    )


def test_a_core_waits_for_the_other_and_reads_afterwards():
    quick, slow = both(meets, 0)[0], both(meets, 50)[0]
    work = 50 * 2048 / TRN2.scalar_ghz
    assert slow.total_ns - quick.total_ns == pytest.approx(work, rel=0.2)
    barrier, last_load = begin(slow, "core_barrier")[0], begin(slow, "dma_copy")[-2]
    assert last_load >= barrier
    assert slow.critical["waiting"] > quick.critical["waiting"]


def test_it_is_the_same_every_time_and_with_data():
    x = np.ones((256, 2048), np.float32)
    record = simulate(nki.jit(meets)[2], [x, 3], chip=TRN2, keep_log=True)
    wet = schedule_pair([record.log, record.others[0].log], [record.sizes, record.others[0].sizes], TRN2)
    dry = both(meets, 3)[0]
    assert np.array_equal(wet.begin_ns, dry.begin_ns)
    assert str(wet) == str(dry)


def test_what_is_shown():
    first, _ = both(meets, 1)
    text = str(first)
    assert "core 0" in text
    assert "core 1" in text
    assert {event["pid"] for event in trace_events(first)} == {0, 1}


def test_cores_that_do_not_meet_equally_often():
    record = simulate(nki.jit(meets)[2], [BIG, 1], chip=TRN2, dry=True, keep_log=True)
    less = [item for item in record.others[0].log if item.name != "core_barrier"]
    with pytest.raises(ClockError, match=r"core 0 has 1 .* core 1 0"):
        schedule_pair([record.log, less], [record.sizes, record.others[0].sizes], TRN2)


def test_a_kernel_without_memory_of_its_own():
    def kernel():
        nisa.dma_copy(dst=(out := hbm((2, 4)))[nl.program_id(0) : nl.program_id(0) + 1], src=filled((1, 4)))
        return out

    first = time_kernel(nki.jit(kernel)[2], [], TRN2)
    assert len(first.others) == 1
