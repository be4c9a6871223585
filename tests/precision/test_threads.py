"""Generators beside each other: all that they give, one error, nothing left running."""

import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numtrn.precision.threads import Once, merged


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
        raise ValueError("no room")

    for _ in range(2):
        with pytest.raises(ValueError, match="no room"):
            once.get(1, fails)
