"""The gate: which calls of which thread are asked about, and what is done with the answer.

A block opens the gate of the thread that enters it. The thunks in C look at the thread's state first and ask
`_ask` here for calls of enough work; `_ask` looks for the block open in the running context, has the call
recognised by the handler of its thunk, and offers it to `numtrn.dispatch`. Installing is done elsewhere.
"""

from __future__ import annotations

import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numtrn import dispatch
from numtrn.block import OpenBlock, current
from numtrn.errors import KernelFallbackWarning
from numtrn.request import Array, Operands, Request

WHY_NO_THUNKS = ""
"""Why the C extension cannot be used and `numtrn.intercept.no_hook` stands in for it; empty otherwise."""

if TYPE_CHECKING:
    from numtrn.intercept import _hook as hook
else:
    try:
        from numtrn.intercept import _hook as hook
    except ImportError as problem:  # no compiler, or a platform that the C source does not know
        from numtrn.intercept import no_hook as hook

        WHY_NO_THUNKS = f"the C thunks were not built (no compiler or unsupported platform): {problem}"

__all__ = [
    "WHY_NO_THUNKS",
    "Caught",
    "Token",
    "block_here",
    "connect",
    "enter",
    "hook",
    "is_probing",
    "leave",
    "offer",
    "probing",
    "set_handler",
    "small_calls",
    "unrecognised",
]

# Answers to a thunk; the same numbers are in _hook.c.
DECLINED, DONE, DECLINED_AND_RECORDED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Caught:
    """A recognised call.

    Attributes
    ----------
    request, operands
        As `numtrn.dispatch.offer` takes them.
    store
        Writes a result where the caller wants it.
    """

    request: Request
    operands: Operands
    store: Callable[[Array], None]


Handler = Callable[[float, bytes], Caught]


@dataclass(slots=True, eq=False)
class Token:
    """One opening of a thread's gate.

    Attributes
    ----------
    min_work
        Multiply-adds below which its block looks at nothing.
    thread
        Who opened it.
    before
        Small calls of the thread, and their multiply-adds, when it was opened.
    small
        The same since then: as last read while open, and final once closed.
    alive
        Whether it is open.
    """

    min_work: float
    thread: int
    before: tuple[int, float]
    small: tuple[int, float] = (0, 0.0)
    alive: bool = True


class _End:
    """Goes with its thread and closes its gate: a block may be left open, or closed in another thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._here, self._close = threading.get_ident, hook.set_open

    def __del__(self) -> None:
        if self._here() == self._thread:  # in the child of a fork the other threads' are dropped by its own
            self._close(0, 0.0)


class _Thread(threading.local):
    """Openings of the running thread, oldest first."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.end = _End()


_thread = _Thread()
_handlers: dict[int, Handler] = {}
_numbers = {name: number for number, name in enumerate(hook.thunks())}
_warned: set[str] = set()
_probe: Callable[[Request, Operands], Array | None] | None = None


# ---- Opening and closing ----


def enter(min_work: float) -> Token:
    """Open the gate of this thread for calls of at least ``min_work`` multiply-adds.

    Gates nest, and may be closed in any order: the least ``min_work`` of those open decides what is asked
    about, and the block found by the question decides the rest.

    Returns
    -------
    Token
        For `leave` and `small_calls`.
    """
    token = Token(float(min_work), threading.get_ident(), hook.small())
    tokens = _thread.tokens
    tokens.append(token)
    if len(tokens) == 1:
        hook.set_open(1, token.min_work)
    else:
        _refresh()
    return token


def leave(token: Token) -> None:
    """Close what `enter` opened.

    In another thread too (a generator may be closed elsewhere): the thread that opened it learns of that
    when it is next asked about a call. Closing twice does nothing.
    """
    if token.alive:
        small_calls(token)
        token.alive = False
    tokens = _thread.tokens
    if len(tokens) == 1 and tokens[0] is token:
        tokens.clear()
        hook.set_open(0, 0.0)
    elif token.thread == threading.get_ident():
        _refresh()


def small_calls(token: Token) -> tuple[int, float]:
    """Calls of the thread that were below ``min_work`` while the gate was open, and their multiply-adds.

    Read in another thread, or closed there, this is what was last read in its own. Calls that another task
    of the same thread makes outside any block count too.
    """
    if token.alive and token.thread == threading.get_ident():
        calls, work = hook.small()
        token.small = calls - token.before[0], work - token.before[1]
    return token.small


def _refresh() -> None:
    """Set the thread's gate by its openings; those closed in other threads are dropped here."""
    tokens = _thread.tokens
    tokens[:] = [token for token in tokens if token.alive]
    hook.set_open(len(tokens), min((token.min_work for token in tokens), default=0.0))


def block_here() -> OpenBlock | None:
    """The block open in this context, if this thread has entered it."""
    block = current()
    if block is None:
        _refresh()  # maybe it was closed in another thread
    return block


# ---- Answering ----


def is_probing() -> bool:
    """Whether a self-test is under way, which no block has opened."""
    return _probe is not None


def set_handler(thunk: str, handler: Handler) -> None:
    """Set what recognises the calls of a thunk, from multiply-adds and arguments as 64-bit words."""
    _handlers[_numbers[thunk]] = handler


def connect() -> None:
    """Make the thunks ask this module."""
    hook.set_callbacks(_ask, _timed)


def _ask(number: int, work: float, words: bytes) -> int:
    """Answer a thunk. Called busy, in the thread that made the call; what it raises reaches the user."""
    block = None
    if _probe is None:
        block = block_here()
        if block is None:
            return DECLINED
        if work < block.min_work:  # above that of another block open in this thread
            hook.count_small(work)
            return DECLINED
    try:
        caught = _handlers[number](work, words)
    except Exception as error:
        unrecognised(error)
        return DECLINED
    return _answer(caught)


def _answer(caught: Caught) -> int:
    handled = sys.exc_info()[1]  # the caller may be in an except clause; that error is none of ours
    try:
        result = offer(caught.request, caught.operands)
    except BaseException as error:
        _forget(error, {id(handled)})
        raise
    if result is None:
        return DECLINED_AND_RECORDED
    try:
        caught.store(result)
    except Exception as error:  # a result of the wrong shape, say; nothing has been written then
        unrecognised(error)
        return DECLINED
    return DONE


def offer(request: Request, operands: Operands) -> Array | None:
    """Offer a request to the kernels, or to the probe that is under way."""
    if _probe is not None:
        return _probe(request, operands)
    return dispatch.offer(request, operands)


def _timed(seconds: float) -> None:
    """Take down how long NumPy took over a call that was offered and not taken."""
    block = block_here()
    if block is not None:
        block.session.time_last(seconds)


def unrecognised(error: Exception) -> None:
    """Warn, once for each cause, of an error of our own in front of the user's call."""
    cause = f"{type(error).__name__}: {error}"
    if cause not in _warned:
        _warned.add(cause)
        text = f"numtrn could not read a call and left it to NumPy ({cause}); please report this"
        warnings.warn(text, KernelFallbackWarning, stacklevel=2)


def _forget(error: BaseException | None, seen: set[int]) -> None:
    """Clear the frames that an error has passed: they hold views of memory that goes with the call.

    All of them are below the call, because what was raised before it is in ``seen``.
    """
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    traceback.clear_frames(error.__traceback__)
    _forget(error.__cause__, seen)
    _forget(error.__context__, seen)


@contextmanager
def probing(probe: Callable[[Request, Operands], Array | None]) -> Iterator[None]:
    """Open this thread's gate with ``probe`` in place of `numtrn.dispatch.offer`, for a self-test.

    Only while installing: no block can be open in any thread then.
    """
    global _probe
    token = enter(0.0)
    _probe = probe
    try:
        yield
    finally:
        _probe = None
        leave(token)
