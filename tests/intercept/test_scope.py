"""Who is asked: threads, pools, tasks, generators, nested blocks; and blocks that end elsewhere."""

import asyncio
import concurrent.futures
import contextvars
import threading
import time

import numpy as np
import pytest
import scipy.linalg.blas as sb

from numtrn import block, intercept
from numtrn.intercept import gate

a = np.random.default_rng(3).standard_normal((16, 16))
CALLS = {
    "L1": lambda: a @ a,
    "L2": lambda: sb.dgemm(1.0, a, a),
    "L3": lambda: np.dot(a, a),
    "L4": lambda: np.einsum("ij,jk", a, a),
}


@pytest.fixture(params=CALLS)
def hit(request, spy):
    """Whether a call of each layer, made where this is called, is asked about."""
    return lambda: spy.hit(CALLS[request.param])


def generator(spy):
    with spy.block():
        yield 1
        yield 2


def in_thread(function):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_blocks_nest_and_end_by_exceptions(spy, hit):
    assert not hit()
    with spy.block():
        with spy.block():
            assert hit()
        assert hit()
        with pytest.raises(KeyError), spy.block():
            raise KeyError
        assert hit()
    assert not hit()


def test_other_threads_are_never_asked(spy, hit):
    with spy.block():
        seen = []
        thread = threading.Thread(target=lambda: seen.append(hit()))
        thread.start()
        thread.join()
        assert seen == [False]
        assert not in_thread(hit)
        context = contextvars.copy_context()
        assert not in_thread(lambda: context.run(hit))
        assert hit()


def test_a_copied_context_is_not_asked_about_in_a_thread_with_a_block_of_its_own(spy, hit):
    with spy.block():
        context = contextvars.copy_context()

        def other():
            with spy.block():
                return context.run(hit), hit()

        assert in_thread(other) == (False, True)


def test_tasks(spy, hit):
    async def later():
        await asyncio.sleep(0)
        return hit()

    async def main():
        before = asyncio.create_task(later())
        with spy.block():
            assert not await before, "a task created before the block"
            assert await asyncio.create_task(later()), "a task created in the block"
            assert not await asyncio.to_thread(hit)
            assert hit()
        assert not hit()

    asyncio.run(main())


def test_a_task_that_outlives_its_block(spy, hit):
    async def late():
        await asyncio.sleep(0.01)
        return hit()

    async def main(another):
        with spy.block():
            task = asyncio.create_task(late())
        if another:
            with spy.block():
                return await task
        return await task

    assert not asyncio.run(main(another=False))
    assert not asyncio.run(main(another=True))


def test_a_suspended_generator_leaves_its_block_to_the_consumer(spy, hit):
    steps = generator(spy)
    next(steps)
    assert hit()
    steps.close()
    assert not hit()


def test_a_generator_closed_in_another_context(spy, hit):
    steps = generator(spy)
    contextvars.copy_context().run(next, steps)
    assert not hit(), "the block is that of the other context"
    steps.close()
    assert not hit()
    assert not gate.hook.is_asking()


def test_a_generator_closed_in_another_thread(spy, hit):
    steps = generator(spy)
    next(steps)
    in_thread(steps.close)
    assert gate.hook.is_asking(), "this thread does not know yet"
    assert not hit()
    if block.current() is None:
        gate.block_here()
    assert not gate.hook.is_asking()
    with spy.block():
        assert hit()
    assert not hit()


def test_a_generator_opened_in_another_thread(spy, hit):
    steps = generator(spy)
    in_thread(lambda: next(steps))
    assert not hit()
    assert next(steps) == 2
    assert not hit()
    steps.close()
    assert not hit()
    with spy.block():
        assert hit()


def test_blocks_closed_in_the_wrong_order(spy, hit):
    first = spy.enter()
    second = spy.enter()
    spy.leave(first)
    assert hit()
    spy.leave(second)
    assert not hit()


def test_leaving_twice_does_nothing():
    token = intercept.enter(0.0)
    intercept.leave(token)
    other = intercept.enter(0.0)
    intercept.leave(token)
    assert gate.hook.is_asking()
    intercept.leave(other)
    intercept.leave(other)
    assert not gate.hook.is_asking()


def test_least_work_is_that_of_the_block_of_the_context(spy):
    for call in CALLS.values():
        with spy.block(min_work=0.0):
            with spy.block(min_work=1e6):
                assert not spy.hit(call)
            assert spy.hit(call)
        with spy.block(min_work=1e6):
            with spy.block(min_work=0.0):
                assert spy.hit(call)
            assert not spy.hit(call)


def test_threshold_is_met_exactly(spy):
    for name, call in CALLS.items():
        assert spy.inside(call, min_work=16**3)[1], name
        assert not spy.inside(call, min_work=16**3 + 1)[1], name


def test_small_calls_are_counted_once_each(spy):
    for name, call in CALLS.items():
        with spy.block(min_work=1e6) as outer:
            call()
            with spy.block(min_work=1e6) as inner:
                call()
                call()
            call()
            assert outer.session.small == (4, 4 * 16.0**3), name
        assert inner.session.small == (2, 2 * 16.0**3), name
        call()
        assert outer.session.small == (4, 4 * 16.0**3), name
        assert not outer.session.calls


def test_small_calls_of_a_block_above_another(spy):
    with spy.block(min_work=0.0), spy.block(min_work=1e6) as inner:
        for call in CALLS.values():
            call()
        assert inner.session.small == (4, 4 * 16.0**3)


def test_eight_threads_toggle_blocks(spy):
    """Results stay right, and requests come only from threads that are in a block at that moment."""
    reference = a @ a
    inside, wrong = threading.local(), []
    answer = spy.answer

    def watched(request, operands):
        if not getattr(inside, "block", False):
            wrong.append("asked outside a block")
        return answer(request, operands)

    spy.answer = watched
    stop = time.monotonic() + 1.5

    def toggle(number):
        count = 0
        while time.monotonic() < stop:
            count += 1
            with spy.block():
                inside.block = True
                results = [call() for call in CALLS.values()]
                inside.block = False
            results += [call() for call in CALLS.values()]
            if not all(np.allclose(result, reference) for result in results):
                wrong.append("a wrong result")
        return count

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        rounds = list(pool.map(toggle, range(8)))
    assert not wrong
    assert min(rounds) > 3


def test_small_factorisations_count_whole_multiply_adds(spy):
    from scipy.linalg.lapack import dpotrf

    with spy.block(min_work=1e6) as opened:
        for n in (5, 7, 10):
            dpotrf(np.eye(n))
    assert opened.session.small == (3, 5**3 // 6 + 7**3 // 6 + 10**3 // 6)
