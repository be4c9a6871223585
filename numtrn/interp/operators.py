"""Operators that kernels pass as ``op``: what each computes in float32, and where it is allowed.

The tables are those of ``nki/api/nki.api.shared.rst`` (ALU operators; activation functions with their
valid input ranges). What ``nl.add(x, y)`` on tiles does stands in ``wrappers.py``, which enters it here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numtrn.interp.dtypes import Array
from numtrn.interp.faults import fault

__all__ = ["CALLS", "OPERATORS", "Operator"]

Ufunc = Callable[..., Any]
CALLS: dict[str, Callable[..., Any]] = {}
"""What operators do when a kernel calls them on tiles, by name."""


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

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a new tile (``nki.language``, experimental)."""
        function = CALLS.get(self.name)
        if function is None:
            fault("H41", f"nl.{self.name} is an operator for op=, not a function on tiles")
        return function(*args, **kwargs)


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


_ERF = np.frompyfunc(math.erf, 1, 1)


def _erf(x: Array) -> Array:
    result: Array = np.asarray(_ERF(x), np.float32)
    return result


def _normal(x: Array) -> Array:
    """Distribution function of the standard normal distribution."""
    return np.float32(0.5) * (np.float32(1) + _erf(x * np.float32(math.sqrt(0.5))))


def _gelu_dx(x: Array) -> Array:
    density = np.exp(np.float32(-0.5) * x * x) * np.float32(1 / math.sqrt(2 * math.pi))
    result: Array = _normal(x) + x * density
    return result


def _gelu_tanh(x: Array) -> Array:
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
    result: Array = np.float32(0.5) * x * (np.float32(1) + np.tanh(inner))
    return result


def _gated(slope: float) -> Callable[[Array], Array]:
    return lambda x: x * _sigmoid(np.float32(slope) * x)


def _gated_dx(slope: float) -> Callable[[Array], Array]:
    def derivative(x: Array) -> Array:
        gate = _sigmoid(np.float32(slope) * x)
        return gate + np.float32(slope) * x * gate * (np.float32(1) - gate)

    return derivative


def _softplus(x: Array) -> Array:
    result: Array = np.logaddexp(np.float32(0), x)
    return result


def _single(value: float) -> float:
    return float(np.float32(value))


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
        Operator("sin", activate=np.sin, domain=(0.0, _single(math.pi)), signed=True),
        Operator("arctan", activate=np.arctan, domain=(0.0, _single(math.pi / 2)), signed=True),
        Operator("gelu", activate=lambda x: x * _normal(x)),
        Operator("gelu_dx", activate=_gelu_dx),
        Operator("gelu_apprx_tanh", activate=_gelu_tanh),
        Operator("gelu_apprx_sigmoid", activate=_gated(1.702)),
        Operator("gelu_apprx_sigmoid_dx", activate=_gated_dx(1.702)),
        Operator("silu", activate=_gated(1.0)),
        Operator("silu_dx", activate=_gated_dx(1.0)),
        Operator("softplus", activate=_softplus),
        Operator("mish", activate=lambda x: x * np.tanh(_softplus(x))),
        Operator("erf", activate=_erf),
        Operator("erf_dx", activate=lambda x: np.float32(2 / math.sqrt(math.pi)) * np.exp(-x * x)),
        Operator("prelu"),
        Operator("bypass"),
        Operator("average"),
        Operator("max", fold=np.maximum),
        Operator("min", fold=np.minimum),
    ]


OPERATORS: dict[str, Operator] = {operator.name: operator for operator in _table()}
"""The operators by name."""
