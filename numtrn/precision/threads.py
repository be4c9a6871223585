"""A few threads for host arithmetic that releases the GIL: run tasks, wait for all.

The pool is made when first needed, made anew in the child of a fork, and may be used by several threads at
once. The caller works too, so that nothing waits for a thread that cannot come. What a task computes must not
depend on who runs it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

__all__ = ["ahead", "run", "thread_count"]

T = TypeVar("T")

VARIABLE = "NUMTRN_NUM_THREADS"
MOST_THREADS = 1024


def thread_count() -> int:
    """``NUMTRN_NUM_THREADS`` where that is set, otherwise the processors this process may use.

    Raises
    ------
    ValueError
        When the variable is not a number from 1 to 1024.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        affinity = getattr(os, "sched_getaffinity", None)
        return min(MOST_THREADS, len(affinity(0)) if affinity else os.cpu_count() or 1)
    if given.isascii() and given.isdigit() and 1 <= int(given) <= MOST_THREADS:
        return int(given)
    raise ValueError(
        f"{VARIABLE} takes a number of threads from 1 to {MOST_THREADS}; got {given!r}; "
        "unset it for one thread for each processor"
    )


class _Pool:
    """The executor of this process, as large as was ever asked for."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start without threads: those of a parent do not exist in the child of a fork."""
        self._lock = threading.Lock()
        self._size = 0
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, work: Callable[[], T], copies: int, size: int) -> list[Future[T]]:
        """Ask ``copies`` of ``size`` threads to do ``work``; fewer when the interpreter is about to exit."""
        with self._lock:
            if self._executor is None or self._size < size:
                if self._executor is not None:
                    self._executor.shutdown(wait=False)
                self._executor = ThreadPoolExecutor(size, thread_name_prefix="numtrn")
                self._size = size
            futures: list[Future[T]] = []
            try:
                for _ in range(copies):
                    futures.append(self._executor.submit(work))
            except RuntimeError:
                pass  # no new threads or tasks at exit: the caller does what is left
            return futures


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def run(tasks: Sequence[Callable[[], None]], threads: int) -> None:
    """Run all tasks, on this thread and ``threads - 1`` others, and wait for them.

    The first exception is raised, also an interrupt's; tasks not begun by then are left out. No task
    runs any more when this returns.
    """
    copies = min(threads, len(tasks)) - 1
    if copies < 1:
        for task in tasks:
            task()
        return
    left = deque(tasks)

    def work() -> None:
        while True:
            try:
                task = left.popleft()
            except IndexError:
                return
            try:
                task()
            except BaseException:
                left.clear()
                raise

    futures = _pool.submit(work, copies, threads)
    try:
        work()
    finally:
        left.clear()
        started = [future for future in futures if not future.cancel()]
        wait(started)
    for future in started:
        future.result()


def ahead(function: Callable[[Any], T], items: Sequence[Any]) -> Iterator[T]:
    """``map``, with the next result computed in another thread while the present one is used.

    No result is held here once it is given out. An iterator that is given up halfway waits for nothing,
    whichever thread collects it: it only cancels what has not begun.
    """
    coming: deque[Future[T]] = deque()
    try:
        for item in items:
            if coming:
                coming[0].exception()  # wait, so that no more than one result is ahead
            begun = _pool.submit(partial(function, item), 1, thread_count() + 1)
            coming.extend(begun or [_done(function, item)])
            if len(coming) > 1:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        for future in coming:
            future.cancel()


def _done(function: Callable[[Any], T], item: Any) -> Future[T]:
    """A result computed here and now, where no thread can be had."""
    future: Future[T] = Future()
    future.set_result(function(item))
    return future
