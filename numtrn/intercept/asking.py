"""Answering a call that was caught in Python, with its own arguments: read it, offer it, or let it be.

Nothing here knows the functions: what reads a call and what gives its result are handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numtrn.forms import Form, exactly
from numtrn.intercept import gate
from numtrn.request import Array, Operands

__all__ = ["answer"]


def answer(
    original: Callable[..., Any],
    read: Callable[..., Form],
    give: Callable[[Form, Array], Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """The result of a call in a thread that has a block open.

    Parameters
    ----------
    original
        NumPy's function, which computes what kernels do not, and judges what cannot be read.
    read
        Makes a `Form` of the arguments (see `numtrn.forms`); whatever it raises sends the call to the
        original, where its parts may be caught.
    give
        Makes what the call returns of the computed array.
    args, kwargs
        The arguments.
    """
    block = gate.block_here()
    if block is None and not gate.is_probing():
        return original(*args, **kwargs)
    try:
        form = read(*args, as_array=exactly, **kwargs)
        work = form.reading.work
        is_small = work == 0 or (block is not None and work < block.min_work)
        request = None if is_small else form.request()
    except Exception:  # operands that are no arrays, or a wrong call, of which the original tells
        return original(*args, **kwargs)
    if request is None:
        gate.hook.count_small(work)
        return _apart(original, args, kwargs)
    computed = gate.hook.call_busy(gate.offer, request, Operands(inputs=form.arrays))
    if computed is not None:
        try:
            return give(form, computed)
        except Warning:  # that a cast to out= gives, made an error: the original gives it as its own
            return _apart(original, args, kwargs)
        except Exception as error:  # a result of the wrong shape, say; nothing has been written then
            gate.unrecognised(error)
            return _apart(original, args, kwargs)
    start = time.perf_counter()
    result = _apart(original, args, kwargs)
    if block is not None:
        block.session.time_last(time.perf_counter() - start)
    return result


def _apart(original: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call the original with the thread busy: the call is counted already, its parts are not to be."""
    return gate.hook.call_busy(_apply, original, (args, kwargs))


def _apply(function: Callable[..., Any], arguments: tuple[Sequence[Any], Mapping[str, Any]]) -> Any:
    args, kwargs = arguments
    return function(*args, **kwargs)
