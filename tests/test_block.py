"""Blocks: nesting, re-entry, threads, tasks, generators, decorating, and the account they give."""

import asyncio
import threading

import numpy as np
import pytest

import numtrn
from numtrn import intercept
from numtrn.block import current

a = np.random.default_rng(0).standard_normal((40, 40))


def block(**settings):
    return numtrn.enabled(**{"target": "interpreter", "min_work": 0, **settings})


def test_calls_and_counts():
    with block() as session:
        a @ a
        np.dot(a, a)
        a.astype(np.float16) @ a.astype(np.float16)
    assert session.counts["kernel"] == 2
    call = session.calls[0]
    assert (call.function, call.route, call.kernel, call.target, call.chip) == (
        "numpy.matmul",
        "kernel",
        "sliced_gemm",
        "interpreter",
        "trn2",
    )
    assert call.work == 40**3
    assert call.shapes == ((40, 40), (40, 40))
    assert call.slices == 8  # short sums take one more slice than long ones
    assert call.launches >= 1
    assert call.bytes > 0
    assert call.seconds > 0
    half = next(call for call in session.calls if call.dtype == "float16")
    assert half.route == "numpy"
    assert "float16" in half.reason


def test_nothing_is_caught_outside():
    with block() as session:
        pass
    a @ a
    assert session.calls == ()
    assert current() is None


def test_nested_blocks_each_have_their_settings_and_outer_ones_record_all():
    with block(chip="trn1") as outer:
        a @ a
        with block(chip="trn3", precision="bfloat16") as inner:
            a @ a
        a @ a
    assert [call.chip for call in outer.calls] == ["trn1", "trn3", "trn1"]
    assert [call.scheme for call in inner.calls] == [outer.calls[1].scheme]
    assert inner.calls[0].kernel == "gemm"


def test_one_instance_enters_again_and_within_itself():
    opened = block()
    with opened as first, opened as second:
        a @ a
    with opened as third:
        a @ a
    assert len(first.calls) == len(second.calls) == len(third.calls) == 1
    assert first is not second


def test_an_exception_closes_the_block():
    with pytest.raises(KeyError), block():
        raise KeyError
    assert current() is None


def test_decorates():
    seen = []

    @block()
    def compute():
        seen.append(current().session)
        return a @ a

    np.testing.assert_allclose(compute(), a @ a)
    assert seen[0].counts["kernel"] == 1


def test_threads_do_not_inherit_and_have_their_own():
    sessions = {}

    def work(name, **settings):
        if settings:
            with block(**settings) as session:
                a @ a
            sessions[name] = session
        else:
            a @ a

    with block(chip="trn1") as mine:
        threads = [threading.Thread(target=work, args=("none",))]
        threads += [threading.Thread(target=work, args=(i,), kwargs={"chip": "trn3"}) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert mine.calls == ()
    assert [s.calls[0].chip for s in sessions.values()] == ["trn3"] * 3


def test_a_task_created_inside_is_free_once_the_block_has_closed():
    async def late():
        await asyncio.sleep(0.01)
        a @ a

    async def main():
        with block() as session:
            task = asyncio.create_task(late())
        await task
        return session

    assert asyncio.run(main()).calls == ()


def test_tasks_interleave_without_mixing():
    async def work(chip):
        with block(chip=chip) as session:
            for _ in range(3):
                await asyncio.sleep(0)
                a @ a
        return session

    async def main():
        return await asyncio.gather(work("trn1"), work("trn2"), work("trn3"))

    for session, chip in zip(asyncio.run(main()), ("trn1", "trn2", "trn3"), strict=True):
        assert [call.chip for call in session.calls] == [chip] * 3


def test_a_generator_holds_its_block_until_closed():
    def generate():
        with block():
            yield
            yield

    first, second = generate(), generate()
    next(first)
    assert current() is not None
    next(second)
    first.close()  # not the newest: the second one stays open
    assert current() is not None
    second.close()
    assert current() is None


def test_a_generator_closed_in_another_thread_closes_its_block():
    def generate():
        with block() as session:
            yield session

    suspended = generate()
    session = next(suspended)
    thread = threading.Thread(target=suspended.close)
    thread.start()
    thread.join()
    a @ a
    assert session.calls == ()
    assert current() is None
    with block() as again:
        a @ a
    assert len(again.calls) == 1


def test_min_work_is_an_exact_threshold():
    with block(min_work=40**3) as session:
        a @ a
    assert session.counts["kernel"] == 1
    with block(min_work=40**3 + 1) as session:
        a @ a
    assert session.counts == {"kernel": 0, "numpy": 0, "failed": 0, "small": 1}
    assert session.small == (1, 40**3)
    assert session.kernel_share == 0


def test_the_plan_leaves_thin_products_alone():
    with numtrn.enabled(target="interpreter") as session:
        np.ones((2000, 2000)) @ np.ones((2000, 2))
    (call,) = session.calls
    assert call.route == "numpy"
    assert "thinner than 16" in call.reason
    assert call.seconds is not None


def test_printing_says_what_ran_where_and_why():
    with block() as session:
        a @ a
        np.linalg.matrix_power(a, 3)
        a.astype(np.float16) @ a.astype(np.float16)
    text = str(session)
    assert "numpy.matmul" in text
    assert "sliced_gemm" in text
    assert "float16" in text
    assert "target interpreter, chip trn2: 3 calls by kernels" in text
    assert "% of the multiply-adds of the contractions ran in kernels" in text
    assert "say nothing about a device" in text
    assert "kernel=3" in repr(session)


def test_a_session_says_which_layers_are_off(monkeypatch):
    off = intercept.LayerStatus("L1 matmul loops", False, "the C thunks were not built")
    monkeypatch.setattr(intercept, "install", lambda: (off,))
    with block() as session:
        pass
    assert session.blind == ("L1 matmul loops: the C thunks were not built",)
    assert "calls are not caught by L1 matmul loops: the C thunks were not built" in str(session)


def test_an_empty_session_prints():
    with block() as session:
        pass
    assert "no call was caught" in str(session)


def test_an_unavailable_target_says_what_is_missing():
    with pytest.raises(numtrn.TargetUnavailableError) as caught:
        numtrn.enabled(target="neuron")
    assert "/dev/neuron" in str(caught.value)
    assert "nki" in str(caught.value)
    assert "target='interpreter'" in str(caught.value)
