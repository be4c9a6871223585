"""Which block a call of PySCF's belongs to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from numtrn.block import OpenBlock, current

__all__ = ["add", "adopted", "drop_closed", "here"]

_lock = threading.Lock()
_reaching: list[OpenBlock] = []
"""Blocks that PySCF is reached from, in any thread."""


def add(block: OpenBlock) -> None:
    """Reach PySCF from a block."""
    with _lock:
        _reaching.append(block)


def drop_closed() -> None:
    """Forget the blocks that have been closed."""
    with _lock:
        _reaching[:] = [block for block in _reaching if block.alive]


def here() -> OpenBlock | None:
    """The innermost block of this thread and context, if PySCF is reached from it or from one around it."""
    block = outer = current()
    while outer is not None and not (outer.alive and outer in _reaching):
        outer = outer.parent
    return block if outer is not None else None


@contextmanager
def adopted(block: OpenBlock) -> Iterator[None]:
    """Reach PySCF, for a while, from a block that `numtrn.enabled` has opened."""
    add(block)
    try:
        yield
    finally:
        with _lock:
            _reaching.remove(block)
