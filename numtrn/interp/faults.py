"""The one exception of the interpreter, and the place in the kernel that it points to.

Which things are refused is decided in ``rules.py`` and in the instructions, not here.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from numtrn.errors import NumtrnError

__all__ = ["KernelFault", "allowing", "fault", "hazard"]

_HERE = str(Path(__file__).parent) + os.sep


class KernelFault(NumtrnError):  # noqa: N818
    """A kernel did something that the machine, or its documentation, does not allow.

    Attributes
    ----------
    rule
        Number of the rule, as in ``rules.py``.
    where
        ``file:line`` in the kernel, or empty.
    """

    def __init__(self, rule: str, text: str, where: str = "") -> None:
        super().__init__(f"{rule}: {text}" + (f" ({where})" if where else ""))
        self.rule = rule
        self.where = where


def fault(rule: str, text: str, where: str | None = None) -> NoReturn:
    """Refuse: state the rule and what was found, and add the line of the kernel.

    Parameters
    ----------
    rule
        ``"H7"``, or a plain word where no numbered rule exists.
    text
        The rule and the value received.
    where
        ``file:line``; found on the stack when not given.
    """
    raise KernelFault(rule, text, kernel_line() if where is None else where) from None


def kernel_line() -> str:
    """``file:line`` of the innermost frame on the stack that is not the interpreter's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def raised_line(error: BaseException) -> str:
    """``file:line`` where an exception passed through kernel code last."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(_HERE):
            found = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def refuse_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse if the arguments do not fit the signature of ``function`` (H41)."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        fault("H41", f"arguments must be those of nisa.{function.__name__}; {error}")


_ALLOWED: ContextVar[frozenset[str]] = ContextVar("numtrn_interp_allowed", default=frozenset())


@contextmanager
def allowing(*rules: str) -> Iterator[None]:
    """Let hazards of these rules pass, for code that is not ours."""
    token = _ALLOWED.set(_ALLOWED.get() | set(rules))
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def hazard(rule: str, text: str, where: str | None = None) -> None:
    """Refuse what has a meaning but is undefined or differs somewhere, unless its rule is allowed."""
    if rule not in _ALLOWED.get():
        fault(rule, text, where)
