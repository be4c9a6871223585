"""A few threads for host arithmetic that releases the GIL, and one for each core that is driven.

The pool is made when first needed, made anew in the child of a fork, and may be used by several threads at
once. The caller works too, so that nothing waits for a thread that cannot come. What a task computes must not
depend on who runs it. Threads of cores are those of one call.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

__all__ = ["Once", "ahead", "go_on", "merged", "run", "thread_count"]

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


# ---- One thread for each core ----


def merged(iterators: Sequence[Generator[T, None, None]]) -> Generator[T, None, None]:
    """What several generators give, each run by a thread of its own, as it comes.

    Of each the results keep their order, and at most one waits. The first exception is raised, also the
    caller's own or an interrupt's, when the others have ended what they were doing: at their next result, or
    where they call `go_on`. Threads see the caller's context and its NumPy error state.
    """
    if len(iterators) == 1:
        yield from iterators[0]
        return
    channel: _Channel[T] = _Channel(len(iterators))
    threads = [
        threading.Thread(
            target=copy_context().run, args=(_drive, iterator, channel, np.geterr()), name="numtrn"
        )
        for iterator in iterators
    ]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            try:
                thread.start()
            except RuntimeError:  # at exit there are no new ones
                break
            started.append(thread)
        for iterator in iterators[len(started) :]:
            yield from iterator
            channel.ended()
        yield from channel.results()
    finally:
        channel.close()  # what an interrupted start has left runs nothing
        for thread in started:
            thread.join()


class _NotWantedError(BaseException):
    """Ends a thread of `merged`; no error, so that nothing on the way takes it for one."""


class _Here(threading.local):
    """Whom a thread of `merged` works for."""

    channel: _Channel[Any] | None = None


_here = _Here()


def go_on() -> None:
    """Nothing, unless this is a thread of `merged` whose results nobody takes any more: then its end.

    For whoever is about to begin what takes long.
    """
    if _here.channel is not None and _here.channel.closed:
        raise _NotWantedError


def _drive(iterator: Generator[T, None, None], channel: _Channel[T], errors: Any) -> None:
    """One thread: hand over what a generator gives until nobody wants it."""
    if not channel.enter():
        return
    _here.channel = channel
    try:
        with np.errstate(**errors):  # a thread's own until NumPy 2
            for item in iterator:
                if not channel.put(item):
                    break
            iterator.close()
    except _NotWantedError:
        pass
    except BaseException as error:
        channel.fail(error)
    else:
        channel.ended()
    finally:
        channel.leave()


class _Channel(Generic[T]):
    """Hands results of several threads to one, which takes one from each at a time.

    Attributes
    ----------
    closed
        Whether nobody takes results any more.
    """

    def __init__(self, senders: int) -> None:
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._room = self._left = senders
        self._inside = 0
        self._error: BaseException | None = None
        self.closed = False

    def enter(self) -> bool:
        """A sender begins; False when it is not to."""
        with self._changed:
            self._inside += not self.closed
            return not self.closed

    def leave(self) -> None:
        """It has ended what it was doing."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def put(self, item: T) -> bool:
        """Hand over a result, when there is room; False when nobody takes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or len(self._items) < self._room)
            if not self.closed:
                self._items.append(item)
                self._changed.notify_all()
            return not self.closed

    def ended(self) -> None:
        """One of the senders has no more."""
        with self._changed:
            self._left -= 1
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """One of the senders failed, and the others need not go on."""
        with self._changed:
            if not self.closed:
                self._error = error
            self.closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing is taken any more; waits for all who have begun."""
        with self._changed:
            self.closed = True
            self._items.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._inside)

    def results(self) -> Iterator[T]:
        """All of them; raises what a sender failed with."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._error or self._items or not self._left)
                if self._error is not None:
                    try:
                        raise self._error
                    finally:
                        self._error = None  # or it would hold itself, and all that its frames had, alive
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
            del item


class Once:
    """Things made by whoever asks first; others who ask meanwhile wait for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Hashable, Future[Any]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for a key, or is made now; making must not wait for another key's maker.

        Raises
        ------
        BaseException
            What making it raised, to all who wait for it; who asks later makes it.
        """
        with self._lock:
            future = self._made.get(key)
            mine = future is None
            if future is None:
                future = self._made[key] = Future()
        try:
            if mine:
                self._make(key, future, make)
            found: T = future.result()
            return found
        finally:
            del future  # see `_make`

    def _make(self, key: Hashable, future: Future[T], make: Callable[[], T]) -> None:
        """Fill in a future; of a failure only those who wait keep anything."""
        try:
            future.set_result(make())
        except BaseException as error:
            with self._lock:
                del self._made[key]
            future.set_exception(error)
        finally:
            del future  # or the error would hold itself, and all that its frames had, alive

    def __contains__(self, key: Hashable) -> bool:
        return key in self._made
