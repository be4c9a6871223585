"""Generators beside each other: all that they give, one error, nothing left running."""

import contextvars
import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numtrn.precision.threads import Once, go_on, merged


def counting(start, stop, ended, pause=0.0):
    try:
        for number in range(start, stop):
            time.sleep(pause)
            yield number
    finally:
        ended.append(start)


def test_everything_comes_and_each_in_order():
    ended = []
    found = list(merged([counting(10 * i, 10 * i + 7, ended, 0.001 * i) for i in range(4)]))
    assert sorted(found) == [10 * i + j for i in range(4) for j in range(7)]
    for i in range(4):
        assert [number for number in found if number // 10 == i] == sorted(
            number for number in found if number // 10 == i
        )
    assert sorted(ended) == [0, 10, 20, 30]


def test_one_generator_needs_no_thread():
    def where():
        yield threading.get_ident()

    assert list(merged([where()])) == [threading.get_ident()]


def test_they_run_beside_each_other():
    barrier = threading.Barrier(3, timeout=10)

    def meets():
        yield barrier.wait()

    assert sorted(merged([meets() for _ in range(3)])) == [0, 1, 2]


def test_an_error_is_raised_once_when_the_others_have_ended():
    ended = []

    def fails():
        time.sleep(0.02)
        yield 1
        raise OSError("core lost")

    before = threading.active_count()
    with pytest.raises(OSError, match="core lost"):
        list(merged([counting(0, 10**6, ended), fails(), counting(10**6, 2 * 10**6, ended)]))
    assert sorted(ended) == [0, 10**6]
    assert threading.active_count() == before


@pytest.mark.parametrize("by_error", [True, False])
def test_they_stop_on_the_way_to_a_result(by_error):
    begun, steps = threading.Event(), []

    def long_way():
        for step in range(1000):
            go_on()
            steps.append(step)
            begun.set()
            time.sleep(0.005)
        yield 1

    def fails():
        begun.wait(10)
        yield 0
        if by_error:
            raise OSError("core lost")

    found = merged([long_way(), fails()])
    if by_error:
        with pytest.raises(OSError, match="core lost"):
            list(found)
    else:
        next(found)
        found.close()
    assert 1 <= len(steps) < 500
    go_on()  # whose own results are wanted


class Large:
    """What a failed generator had."""


@pytest.mark.parametrize("failing", [1, 2])
def test_an_error_that_is_gone_holds_nothing(failing):
    seen, once, all_begun = [], Once(), threading.Barrier(3, timeout=10)

    def fails(number):
        large = Large()
        seen.append(weakref.ref(large))
        all_begun.wait()
        if number >= failing:
            yield number
        once.get("key", lambda: int(f"not a number: {large}"))

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="not a number") as raised:
            list(merged([fails(number) for number in range(3)]))
        del raised
        assert len(seen) == 3
        assert [one() for one in seen] == [None] * 3
    finally:
        gc.enable()


def test_who_stops_asking_stops_them():
    ended = []
    found = merged([counting(0, 10**6, ended), counting(10**6, 2 * 10**6, ended)])
    next(found)
    found.close()
    assert sorted(ended) == [0, 10**6]


def test_no_more_than_one_result_of_each_is_ahead():
    made = []

    def makes():
        for number in range(50):
            made.append(number)
            yield number

    found = merged([makes(), makes()])
    next(found)
    time.sleep(0.1)
    assert len(made) <= 2 + 2 + 2, "two wait, two are held by their threads, one was taken"
    found.close()


def test_threads_see_the_callers_context_and_error_state():
    variable = contextvars.ContextVar("variable")
    variable.set("seen")

    def sees():
        yield variable.get(), np.geterr()["divide"]

    with np.errstate(divide="raise"):
        assert list(merged([sees(), sees()])) == [("seen", "raise")] * 2


def test_without_threads_the_caller_does_it(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    ended = []
    assert list(merged([counting(0, 3, ended), counting(5, 7, ended)])) == [0, 1, 2, 5, 6]
    assert ended == [0, 5]


def test_made_once_for_all_who_ask():
    once, made = Once(), []

    def make():
        made.append(1)
        time.sleep(0.02)
        return object()

    with ThreadPoolExecutor(4) as pool:
        found = {id(future.result()) for future in [pool.submit(once.get, "key", make) for _ in range(8)]}
    assert len(found) == len(made) == 1
    assert "key" in once
    assert "other" not in once


def test_all_who_asked_hear_of_a_failure():
    once = Once()

    def fails():
        time.sleep(0.05)
        raise ValueError("no room")

    with ThreadPoolExecutor(3) as pool:
        errors = [future.exception() for future in [pool.submit(once.get, 1, fails) for _ in range(3)]]
    assert all(isinstance(error, ValueError) for error in errors)
    assert 1 not in once
    assert once.get(1, lambda: "there is room") == "there is room"
