"""The one exception of the interpreter, and the place in the kernel that it points to.

Which things are refused is decided in ``rules.py`` and in the instructions, how strictly in `Checks`.
"""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from numtrn.errors import KernelHazardWarning, NumtrnError
from numtrn.interp.hazards import HAZARDS, Checks

__all__ = [
    "KernelFault",
    "MissingNameError",
    "allowing",
    "fault",
    "hazard",
    "lowered",
    "missing",
    "strictness",
]

_HERE = str(Path(__file__).parent) + os.sep


class KernelFault(NumtrnError):  # noqa: N818
    """A kernel did something that the machine, or its documentation, does not allow.

    Attributes
    ----------
    rule
        Number of the rule, as in ``hazards.py``.
    where
        ``file:line`` in the kernel, or empty.
    """

    def __init__(self, rule: str, text: str, where: str = "") -> None:
        super().__init__(f"{rule}: {text}" + (f" ({where})" if where else ""))
        self.rule = rule
        self.where = where


class MissingNameError(KernelFault, AttributeError):
    """A name that NKI has and this interpreter does not, so that ``hasattr`` and ``getattr`` work as ever."""


def missing(what: str) -> NoReturn:
    """Refuse a name that is not here."""
    raise MissingNameError(
        "unsupported", f"this interpreter does not have {what} yet, or NKI does not", kernel_line()
    ) from None


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


_Strictness = tuple[Checks, set[tuple[str, str]]]
_STRICTNESS: ContextVar[_Strictness] = ContextVar("numtrn_interp_strictness", default=(Checks(), set()))
"""The levels that hold here, and the rules and lines that were warned about."""


@contextmanager
def strictness(checks: Checks | None) -> Iterator[None]:
    """Apply these levels, or those that hold, to `hazard` until the end of the block, and warn anew."""
    token = _STRICTNESS.set((_STRICTNESS.get()[0] if checks is None else checks, set()))
    try:
        yield
    finally:
        _STRICTNESS.reset(token)


def allowing(*rules: str) -> AbstractContextManager[None]:
    """Let hazards of these rules pass in runs without levels of their own, for code that is not ours."""
    levels = {**_STRICTNESS.get()[0].levels, **dict.fromkeys(rules, "off")}
    return strictness(Checks(levels=levels))


def lowered() -> bool:
    """Whether any hazard is let pass here."""
    return any(level != "error" for level in _STRICTNESS.get()[0].levels.values())


def hazard(rule: str, text: str, where: str | None = None) -> None:
    """Refuse, or warn once for this line of the kernel, or return, as the level of the rule says.

    For hazards that a run can go on after, as ``HAZARDS[rule].then`` says; the caller sees to that.
    What cannot go on calls `fault`.
    """
    checks, warned = _STRICTNESS.get()
    level = checks.level(rule)
    if level == "off":
        return
    place = kernel_line() if where is None else where
    if level == "error":
        raise KernelFault(rule, text, place) from None
    if (rule, place) not in warned:
        warned.add((rule, place))
        file, _, line = place.rpartition(":")
        message = f"{rule}: {text}; {HAZARDS[rule].then}"
        warnings.warn_explicit(message, KernelHazardWarning, file or "kernel", int(line or 0))


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
