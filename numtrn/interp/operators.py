"""Operators that kernels pass as ``op``: what each computes in float32, and where it is allowed.

The tables are those of ``nki/api/nki.api.shared.rst`` (ALU operators; activation functions with their
valid input ranges). They are values, not functions: ``nl.add(x, y)`` on tiles is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from numtrn.interp.dtypes import Array
from numtrn.interp.faults import fault

__all__ = ["OPERATORS", "Operator"]

Ufunc = Callable[..., Any]


@dataclass(frozen=True, eq=False, repr=False)
class Operator:
    """One operator.

    Attributes
    ----------
    name
        As in ``nki.language``.
    family
        ``"arithmetic"``, ``"bitvec"``, ``"unary"`` or ``""`` if no ALU has it.
    compute
        ``f(x, y, out=)`` or, for unary ones, ``f(x, out=)``.
    fold
        NumPy ufunc that reduces, or None.
    gpsimd
        Whether only GpSimd has it.
    generation
        First generation whose ALU has it.
    activate
        What ScalarE computes, or None.
    domain
        Valid inputs of the activation: least and greatest magnitude.
    signed
        Whether the activation also takes negative inputs of that magnitude.
    """

    name: str
    family: str = ""
    compute: Ufunc | None = None
    fold: Any = None
    gpsimd: bool = False
    generation: int = 2
    activate: Callable[[Array], Array] | None = None
    domain: tuple[float, float] | None = None
    signed: bool = False

    def __repr__(self) -> str:
        return f"nl.{self.name}"

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: here operators are only values."""
        fault("unsupported", f"this interpreter does not have nl.{self.name}(...) on tiles yet; use nki.isa")


def _logical(ufunc: Ufunc) -> Ufunc:
    return lambda x, y, out: ufunc(x != 0, y != 0, out=out)


def _abs_select(compare: Ufunc) -> Ufunc:
    def select(x: Array, y: Array, out: Array) -> None:
        out[...] = np.where(compare(np.abs(x), np.abs(y)), x, y)

    return select


def _relu(x: Array, out: Array | None = None) -> Any:
    return np.maximum(x, np.float32(0), out=out)


def _rsqrt(x: Array, out: Array | None = None) -> Any:
    return np.reciprocal(np.sqrt(x), out=out)


def _sigmoid(x: Array) -> Array:
    result: Array = np.float32(1) / (np.float32(1) + np.exp(-x))
    return result


def _table() -> list[Operator]:
    return [
        Operator("add", "arithmetic", np.add, np.add),
        Operator("subtract", "arithmetic", np.subtract),
        Operator("multiply", "arithmetic", np.multiply, np.multiply),
        Operator("maximum", "arithmetic", np.maximum, np.maximum),
        Operator("minimum", "arithmetic", np.minimum, np.minimum),
        Operator("equal", "arithmetic", np.equal),
        Operator("not_equal", "arithmetic", np.not_equal),
        Operator("greater", "arithmetic", np.greater),
        Operator("greater_equal", "arithmetic", np.greater_equal),
        Operator("less", "arithmetic", np.less),
        Operator("less_equal", "arithmetic", np.less_equal),
        Operator("logical_and", "arithmetic", _logical(np.logical_and)),
        Operator("logical_or", "arithmetic", _logical(np.logical_or)),
        Operator("logical_xor", "arithmetic", _logical(np.logical_xor)),
        Operator("power", "arithmetic", np.power, gpsimd=True),
        Operator("abs_max", "arithmetic", _abs_select(np.greater), generation=4),
        Operator("abs_min", "arithmetic", _abs_select(np.less), generation=4),
        Operator("invert", "bitvec", np.invert),
        Operator("bitwise_and", "bitvec", np.bitwise_and, np.bitwise_and),
        Operator("bitwise_or", "bitvec", np.bitwise_or, np.bitwise_or),
        Operator("bitwise_xor", "bitvec", np.bitwise_xor, np.bitwise_xor),
        Operator("left_shift", "bitvec", np.left_shift),
        Operator("right_shift", "bitvec", np.right_shift),
        Operator("abs", "unary", np.abs, activate=np.abs),
        Operator("square", "unary", np.square, activate=np.square, generation=4),
        Operator("relu", "unary", _relu, activate=_relu, generation=4),
        Operator("rsqrt", "unary", _rsqrt, gpsimd=True, activate=_rsqrt, domain=(2.0**-87, 2.0**97)),
        Operator(
            "reciprocal",
            "unary",
            np.reciprocal,
            activate=np.reciprocal,
            domain=(2.0**-42, 2.0**42),
            signed=True,
        ),
        Operator("copy", activate=lambda x: x),
        Operator("sqrt", activate=np.sqrt, domain=(2.0**-116, 2.0**118)),
        Operator("log", activate=np.log, domain=(2.0**-64, 2.0**64)),
        Operator("exp", activate=np.exp),
        Operator("tanh", activate=np.tanh),
        Operator("sigmoid", activate=_sigmoid),
        Operator("sign", activate=np.sign),
        Operator("max", fold=np.maximum),
        Operator("min", fold=np.minimum),
    ]


OPERATORS: dict[str, Operator] = {operator.name: operator for operator in _table()}
"""The operators by name."""
