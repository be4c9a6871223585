"""The settings of a block: their names, allowed values, defaults, and environment variables.

Each setting of `numtrn.enabled` left out is taken from ``NUMTRN_<NAME>``, and from the default when that
is not set. Nothing here looks at the machine.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from numtrn.machine import CHIPS

__all__ = ["CHIP_NAMES", "PRECISIONS", "SHAPES", "TARGETS", "UNSET", "Options", "from_environment", "resolve"]

TARGETS = ("auto", "neuron", "simulator", "interpreter")
CHIP_NAMES = tuple(CHIPS)
SHAPES = ("fine", "few")
PRECISIONS = ("full", "fast", "float32", "tfloat32x3", "float16x3", "tfloat32", "bfloat16")

ACCURACIES = (2.0, 2.0**40)
"""Range of a numeric precision: the last rounding takes one unit, and 2^40 leaves thirteen bits."""

UNSET: Any = type("Unset", (), {"__repr__": lambda self: "<from NUMTRN_* or the default>"})()
"""Stands for a setting that the caller left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Validated settings of one block.

    Attributes
    ----------
    target
        Where kernels run: one of `TARGETS`; ``"auto"`` takes Neuron hardware where there is some, else
        the embedded interpreter.
    chip
        Which generation plans and the interpreter assume: one of `CHIP_NAMES`.
    precision
        ``"full"``: at least the accuracy of the dtype's own BLAS. A number p, 2 to 2^40: errors of at most
        p u |A||B|, u the dtype's unit roundoff. ``"fast"``: a little less than full, where that is worth it.
        The other names are the operand type of the matrix engine, asked for knowingly.
    min_work
        Multiply-adds below which a call stays with NumPy. 0: everything that a kernel can do. None: the
        plan decides.
    strict
        Whether a kernel failure raises instead of falling back to NumPy with a warning.
    verify
        Whether each kernel result is compared with NumPy's within the promised bound.
    keep
        Bytes of operands of plain arrays that stay on the target for later calls of the block.
    shapes
        ``"few"``: launches have shapes of a short list, so that few programs are compiled. ``"fine"``: each
        has the shape that suits the call. None: few where the target compiles, else fine.
    cores
        Most cores that a call is spread over, of those that the target sees. None: one.
    lnc
        Physical cores that run each launch together; the target says it (`on`), and no argument does.
    """

    target: str = "auto"
    chip: str = "trn2"
    precision: str | float = "full"
    min_work: int | None = None
    strict: bool = False
    verify: bool = False
    keep: int = 0
    shapes: str | None = None
    cores: int | None = None
    lnc: int = 1

    def on(self, cores: int, lnc: int = 1) -> Options:
        """The same for a target that sees so many cores, each of ``lnc`` physical ones."""
        return replace(self, cores=min(self.cores or cores, cores), lnc=lnc)

    def shapes_on(self, target: str) -> str:
        """The policy of launch shapes on a target of that name."""
        return self.shapes or ("few" if target == "neuron" else "fine")


def resolve(**given: Any) -> Options:
    """Settings from arguments, then the environment, then defaults.

    Raises
    ------
    TypeError, ValueError
        For an unknown value; the message names the setting, the value and the allowed ones.
    """
    read: dict[str, Callable[[Any, str], Any]] = {
        "target": lambda value, where: _choice(value, where, TARGETS),
        "chip": lambda value, where: _choice(value, where, CHIP_NAMES),
        "precision": _precision,
        "min_work": _work,
        "strict": _flag,
        "verify": _flag,
        "keep": _kept,
        "cores": _cores,
        "shapes": lambda value, where: None if value is None else _choice(value, where, SHAPES),
    }
    settings: dict[str, Any] = {}
    for name, reader in read.items():
        variable = f"NUMTRN_{name.upper()}"
        if given.get(name, UNSET) is not UNSET:
            settings[name] = reader(given[name], f"{name}=")
        elif os.environ.get(variable, "") != "":
            settings[name] = reader(os.environ[variable], f"{variable}=")
    return Options(**settings)


def from_environment() -> Options:
    """Settings from the environment, then defaults.

    Raises
    ------
    TypeError, ValueError
        As `resolve`.
    """
    return resolve(**dict.fromkeys(Options.__dataclass_fields__, UNSET))


def _choice(value: Any, where: str, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        names = ", ".join(repr(name) for name in allowed)
        raise ValueError(f"{where} takes one of {names}; got {value!r}")
    return value


def _precision(value: Any, where: str) -> str | float:
    if isinstance(value, str) and value in PRECISIONS:
        return value
    try:
        number = float(value) if not _is_bool(value) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    least, most = ACCURACIES
    if not least <= number <= most:
        names = ", ".join(repr(name) for name in PRECISIONS)
        raise ValueError(
            f"{where} takes one of {names}, or a number from {least:g} to 2^40, the error allowed in units "
            f"of the dtype's roundoff times |A||B|; got {value!r}"
        )
    return number


KEPT = 4 * 2**30
"""What ``keep=True`` stands for."""


def _kept(value: Any, where: str) -> int:
    """A number of bytes, or True or False."""
    rule = f"{where} takes a number of bytes of operands to keep on the target, or True (4 GiB) or False"
    try:
        return KEPT if _flag(value, where) else 0
    except ValueError:
        pass
    size = _whole(value, f"{rule}; got {value!r}")
    if size < 0:
        raise ValueError(f"{rule}; got {value!r}")
    return size


MOST_CORES = 128
"""Physical cores of a trn2.48xlarge: 16 devices of eight (``aws-neuron/aws-neuron-sdk:
about-neuron/arch/neuron-features/logical-neuroncore-config.rst``)."""


def _cores(value: Any, where: str) -> int | None:
    if value is None or value in ("none", "None"):
        return None
    rule = f"{where} takes a whole number of cores from 1 to {MOST_CORES}, or None (one); got {value!r}"
    if _is_bool(value):
        raise TypeError(rule)
    cores = _whole(value, rule)
    if not 1 <= cores <= MOST_CORES:
        raise ValueError(rule)
    return cores


MOST_WORK = 10**18
"""More multiply-adds than any call has."""


def _work(value: Any, where: str) -> int | None:
    if value is None or value in ("none", "None"):
        return None
    rule = (
        f"{where} takes a whole number of multiply-adds from 0 to 1e18, or None (the plan decides); "
        f"got {value!r}"
    )
    if _is_bool(value):
        raise TypeError(rule)
    try:
        work = operator.index(value)
    except TypeError:
        work = _whole(value, rule)
    if not 0 <= work <= MOST_WORK:
        raise ValueError(rule)
    return work


def _whole(value: Any, rule: str) -> int:
    """A whole number written as text or as a float, such as ``"1e6"``."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(rule) from None
    except OverflowError:
        raise ValueError(rule) from None
    if not number.is_integer():
        raise ValueError(rule)
    return int(number)


def _flag(value: Any, where: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if _is_bool(value):
        return bool(value)
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError(f"{where} takes True or False (1 or 0 in the environment); got {value!r}")


def _is_bool(value: Any) -> bool:
    """Whether it is True or False, NumPy's own too."""
    return type(value).__name__ in ("bool", "bool_")
