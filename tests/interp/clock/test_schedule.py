"""Properties of every schedule, and what single pieces of hardware do to one."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.interp import simulate
from numtrn.interp.clock import ClockError, of_shape, schedule, time_kernel
from numtrn.interp.clock.dependence import LANES, LOAD, work_of
from numtrn.interp.core import Instruction, Operand
from numtrn.machine import CHIPS
from tests.interp.support import hbm, nisa, nl, psum, sbuf

KINDS = ["load", "store", "matmul", "evict", "copy", "add", "scalar", "gpsimd"]
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)


def program(source, steps):
    """A kernel of random steps on four tiles; each is legal whatever came before."""
    tiles = [sbuf((128, 512)) for _ in range(4)]
    for tile in tiles:
        nisa.memset(dst=tile, value=1.0)
    out = hbm((4 * 128, 512))
    for at in range(4):
        nisa.dma_copy(dst=out[at * 128 : (at + 1) * 128, 0:512], src=tiles[at])
    bank = psum((128, 512))
    nisa.nc_matmul(dst=bank, stationary=tiles[0][0:128, 0:128], moving=tiles[0], accumulate=False)
    for kind, at in steps:
        one, other = tiles[at], tiles[(at + 1) % 4]
        if kind == "load":
            nisa.dma_copy(dst=one[0:128, 0:256], src=source[at * 128 : (at + 1) * 128, 0:256])
        elif kind == "store":
            nisa.dma_copy(dst=out[at * 128 : (at + 1) * 128, 0:512], src=one)
        elif kind == "matmul":
            bank = psum((128, 512))
            nisa.nc_matmul(dst=bank, stationary=other[0:128, 0:128], moving=one, accumulate=False)
            nisa.nc_matmul(dst=bank, stationary=one[0:128, 0:128], moving=one, accumulate=True)
        elif kind == "evict":
            nisa.tensor_copy(dst=one, src=bank)
        elif kind == "copy":
            fresh = sbuf((128, 512))
            nisa.tensor_copy(dst=fresh, src=one)
            tiles[at] = fresh
        elif kind == "add":
            nisa.tensor_tensor(dst=one, data1=one, data2=other, op=nl.add)
        elif kind == "scalar":
            nisa.activation(dst=one, op=nl.square if at else nl.exp, data=other)
        else:
            nisa.tensor_tensor(dst=one, data1=other, data2=other, op=nl.add, engine=nisa.engine.gpsimd)
    return out


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, chip=st.sampled_from(sorted(CHIPS)))
def test_every_schedule_is_lawful(steps, chip):
    record = simulate(
        program, (of_shape((512, 512), "float32"), tuple(steps)), chip=CHIPS[chip], keep_log=True, dry=True
    )
    log, timeline = record.log, schedule(record.log, record.sizes, CHIPS[chip])
    begin, end = timeline.begin_ns, timeline.begin_ns + timeline.duration_ns
    for lane in range(len(LANES)):
        mine = [index for index in range(len(log)) if timeline.lanes[index] == lane]
        for before, after in pairwise(mine):
            assert begin[before] <= begin[after]  # in order
            if lane < LOAD:
                assert end[before] <= begin[after] + 1e-6  # one at a time
    for before, after in conflicts(log):
        assert end[before] <= begin[after] + 1e-6 or (
            timeline.lanes[before] == timeline.lanes[after] < LOAD and begin[before] < begin[after]
        )
    assert timeline.total_ns >= timeline.low_ns + timeline.start_ns + timeline.end_ns - 1e-6
    assert all(timeline.total_ns >= busy for busy in timeline.busy_ns.values())
    assert 0 < timeline.share_of_bound <= 1
    assert list(begin[list(timeline.critical_path)]) == sorted(begin[list(timeline.critical_path)])
    assert (
        abs(sum(timeline.critical.values()) - (timeline.total_ns - timeline.start_ns - timeline.end_ns))
        < 1e-3
    )


def elements(operand):
    """The elements of an access, one by one: an oracle without boxes."""
    rows = [operand.offset + row * operand.strides[0] for row in range(operand.shape[0])]
    return {row + column for row in rows[:2] for column in range(0, operand.shape[1], 64)}


def conflicts(log):
    """Pairs in which the later one reads or writes what the earlier one writes, or writes what it reads."""
    found = []
    cells = [
        (
            {(o.storage, e) for o in item.writes for e in elements(o)},
            {(o.storage, e) for o in item.reads for e in elements(o)},
        )
        for item in log
    ]
    for after in range(len(log)):
        for before in range(after):
            writes, reads = cells[before]
            if writes & (cells[after][0] | cells[after][1]) or reads & cells[after][0]:
                found.append((before, after))
    return found


def test_the_ninth_bank_waits_for_an_eviction():
    def kernel(source, banks):
        tile = sbuf((128, 512))
        nisa.dma_copy(dst=tile, src=source)
        out = hbm((128, 512))
        results = [sbuf((128, 512)) for _ in range(banks)]
        for result in results:
            bank = psum((128, 512))
            nisa.nc_matmul(dst=bank, stationary=tile[0:128, 0:128], moving=tile, accumulate=False)
            nisa.activation(dst=result, op=nl.copy, data=bank)
            nisa.activation(dst=result, op=nl.copy, data=bank)
            nisa.activation(dst=result, op=nl.copy, data=bank)
            nisa.activation(dst=result, op=nl.copy, data=bank)
        nisa.dma_copy(dst=out, src=results[-1])
        return out

    arguments = (of_shape((128, 512), "bfloat16"),)
    timeline = time_kernel(kernel, (*arguments, 40), CHIPS["trn1"])
    matmuls = [i for i, name in enumerate(timeline.names) if name == "nc_matmul"]
    evictions = [i for i, name in enumerate(timeline.names) if name == "activation"]
    begin = timeline.begin_ns
    lasts = timeline.duration_ns[matmuls[0]]
    assert (
        begin[matmuls[7]] - begin[matmuls[6]] < 1.01 * lasts < 0.9 * (begin[matmuls[39]] - begin[matmuls[38]])
    )
    for group in range(8, 40):
        freed = begin[evictions[4 * (group - 8) + 3]] + timeline.duration_ns[evictions[4 * (group - 8) + 3]]
        assert begin[matmuls[group]] >= freed


def test_loads_run_ahead_only_as_far_as_sbuf_reaches():
    def kernel(source, count):
        total = sbuf((128, 16384))
        nisa.memset(dst=total, value=0.0)
        for _ in range(count):
            tile = sbuf((128, 16384))
            nisa.dma_copy(dst=tile, src=source)
            nisa.tensor_tensor(dst=total, data1=total, data2=tile, op=nl.add)
            tile = None
        out = hbm((128, 16384))
        nisa.dma_copy(dst=out, src=total)
        return out

    timeline = time_kernel(kernel, (of_shape((128, 16384), "float32"), 6), CHIPS["trn2"])
    loads = [i for i, lane in enumerate(timeline.lanes) if lane == LOAD]
    adds = [i for i, name in enumerate(timeline.names) if name == "tensor_tensor"]
    assert timeline.begin_ns[loads[1]] < timeline.begin_ns[adds[0]]  # 64 KiB each: two beside the total
    assert timeline.begin_ns[loads[2]] >= timeline.begin_ns[adds[0]] + timeline.duration_ns[adds[0]]


def one(engine, name, write, *reads, **options):
    return Instruction(engine, name, (write,), reads, tuple(options.items()))


def tile(storage, buffer="sbuf", n=512, dtype="bfloat16"):
    return Operand(storage, buffer, (128, n), (n, 1), 0, dtype, 128 * n * (2 if dtype == "bfloat16" else 4))


def begins(log, chip, sizes=None):
    return schedule(log, sizes or {}, CHIPS[chip]).begin_ns


def test_vector_and_gpsimd_share_ports():
    log = [
        one("vector", "tensor_copy", tile(1, dtype="float32"), tile(2, "psum", dtype="float32")),
        one("gpsimd", "tensor_copy", tile(3), tile(4)),
    ]
    assert begins(log, "trn1")[1] > 0  # one at a time in SBUF on trn1
    assert begins(log, "trn2")[1] == 0
    log[0] = one("vector", "tensor_copy", tile(1), tile(2))
    assert begins(log, "trn2")[1] > 0  # a performance mode borrows GpSimd's bus


def test_vector_and_scalar_share_psum():
    bank, other = tile(5, "psum", dtype="float32"), tile(6, "psum", dtype="float32")
    sizes = {5: (0, 1), 6: (0, 1)}
    apart = [
        one("vector", "tensor_copy", tile(1), bank),
        one("scalar", "activation", tile(2), other, op="copy"),
    ]
    same = [
        one("vector", "tensor_copy", tile(1), bank),
        one("scalar", "activation", tile(2), bank, op="copy"),
    ]
    assert begins(apart, "trn1", sizes)[1] > 0
    assert begins(apart, "trn2", sizes)[1] == 0
    assert begins(same, "trn2", sizes)[1] > 0


def test_function_tables_and_the_power_ramp():
    def run(*functions):
        log = [one("scalar", "activation", tile(k), tile(90), op=name) for k, name in enumerate(functions)]
        return sum(schedule(log, {}, CHIPS["trn2"]).duration_ns)

    load = CHIPS["trn2"].table_load_ns
    assert run("exp", "exp") - run("copy", "copy") == load
    assert run("exp", "tanh") - run("exp", "exp") == load
    log = [
        one("tensor", "nc_matmul", tile(1, "psum", dtype="float32"), tile(2, n=128), tile(3))
        for _ in range(40)
    ]
    slow = schedule(log, {}, CHIPS["trn2"]).duration_ns
    assert slow[0] == 2 * slow[-1]
    assert sum(slow) - 40 * slow[-1] < CHIPS["trn2"].ramp_ns / 2 + slow[-1]
    steady = schedule(log, {}, CHIPS["trn1"]).duration_ns
    assert steady[0] == steady[-1]


def test_small_dmas_are_bound_by_issue():
    """66,048 small transfers at one every 604 ns (kernel-optimization.rst, trn2)."""
    hbm_rows = Operand(1, "shared_hbm", (128, 128), (4096, 1), 0, "float32", 65536)
    log = [one("dma", "dma_copy", tile(k + 2, n=128, dtype="float32"), hbm_rows) for k in range(200)]
    timeline = schedule(log, {}, CHIPS["trn2"])
    assert abs((timeline.begin_ns[-1] - timeline.begin_ns[0]) / 199 - 604) < 10


def test_an_unknown_engine_is_refused():
    with pytest.raises(ClockError, match="no engine 'sync' for core_barrier"):
        begins([one("sync", "core_barrier", tile(1))], "trn2")


def test_reshaped_storages_are_compared_whole():
    flat = Operand(1, "private_hbm", (4, 1024), (1024, 1), 0, "float32", 16384)
    tall = Operand(1, "private_hbm", (32, 128), (128, 1), 0, "float32", 16384)
    log = [one("dma", "dma_copy", flat, tile(2)), one("dma", "dma_copy", tile(3), tall)]
    assert work_of(log, {}, CHIPS["trn2"])[1].waits == (0,)
