"""Instructions of ScalarE, and exponential, on random views, dtypes and shapes, against NumPy in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from tests.interp.properties import GEN4, MANY, check, covers, operands, shapes
from tests.interp.support import filled, nisa, nl, sbuf


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "copy": lambda x: x,
    "square": np.square,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_dx": lambda x: special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
    "gelu_apprx_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu_apprx_sigmoid": lambda x: x * sigmoid(1.702 * x),
    "gelu_apprx_sigmoid_dx": lambda x: sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - sigmoid(1.702 * x))),
    "silu": lambda x: x * sigmoid(x),
    "silu_dx": lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    "tanh": np.tanh,
    "softplus": lambda x: np.log1p(np.exp(x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "erf": special.erf,
    "erf_dx": lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x),
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "arctan": np.arctan,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sign": np.sign,
    "abs": np.abs,
}
NARROW = {"sin": 3.0, "arctan": 1.5}
SHORT = shapes(edges=(1, 2, 31, 33, 512))


def signed(limit):
    """Numbers of both signs up to a limit, in eighths."""

    def fill(shape, dtype, seed):
        low = 0 if np.dtype(dtype).kind == "u" else -int(8 * limit)
        values = np.random.default_rng(seed).integers(low, int(8 * limit) + 1, shape) / 8
        return values.astype(dtype)

    return fill


def positive(shape, dtype, seed):
    return (np.random.default_rng(seed).integers(1, 24, shape) / 8 + 1).astype(dtype)


def sums(fold, values, *before):
    """What registers hold after a reduction of float64 values."""

    def also(total, x):
        rows = values(x).reshape(len(x), -1)
        np.testing.assert_allclose(total[:, 0], fold(rows, *before), rtol=1e-4, atol=1e-3)

    return also


@covers("activation")
@pytest.mark.parametrize("name", FUNCTIONS)
@settings(MANY, max_examples=15)
@given(case=operands(count=2, shape=SHORT), again=st.booleans())
def test_activation(name, case, again):
    """``op(data * scale + bias)``, its sum, and the sum of two instructions."""
    ranged = name in ("log", "sqrt", "rsqrt", "reciprocal")
    bias = 0.0 if name == "reciprocal" else 0.25

    def work(dst, x):
        rows, total = x.shape[0], sbuf((x.shape[0], 1))
        more = {} if name == "reciprocal" else {"bias": filled((rows, 1), nl.float16, bias)}
        same = {"op": getattr(nl, name), "data": x, "scale": 0.5, "reduce_op": nl.add, **more}
        nisa.activation(dst=dst, **same, reduce_cmd=nisa.reduce_cmd.reset_reduce)
        nisa.activation(
            dst=dst, **same, reduce_res=total,
            reduce_cmd=nisa.reduce_cmd.reduce if again else nisa.reduce_cmd.reset_reduce,
        )  # fmt: skip
        return total

    def wanted(x):
        return FUNCTIONS[name](x.astype(np.float64) * 0.5 + bias)

    check(
        case, work, wanted, exact=False, fill=positive if ranged else signed(NARROW.get(name, 3.0) - 0.25),
        also=sums(lambda rows: (1 + again) * rows.sum(axis=1), wanted),
    )  # fmt: skip


@covers("activation_reduce")
@MANY
@given(operands(count=2, shape=SHORT), st.sampled_from(["exp", "square", "copy", "tanh"]))
def test_activation_reduce(case, name):
    def work(dst, x):
        total, scale = sbuf((x.shape[0], 1)), filled((x.shape[0], 1), value=0.5)
        nisa.activation_reduce(
            dst=dst, op=getattr(nl, name), data=x, scale=scale, reduce_op=nl.add, reduce_res=total
        )
        return total

    def wanted(x):
        return FUNCTIONS[name](x.astype(np.float64) * 0.5)

    also = sums(lambda rows: rows.sum(axis=1), wanted)
    check(case, work, wanted, exact=False, fill=signed(3), also=also)


STAGES = {
    "bypass": lambda x, y: x,
    "multiply": np.multiply,
    "add": np.add,
    "subtract": np.subtract,
}
SIX = (
    ("multiply", "add"), ("multiply", "subtract"), ("multiply", "bypass"), ("add", "bypass"),
    ("subtract", "bypass"), ("bypass", "bypass"),
)  # fmt: skip


def chosen(better):
    """``x if better(|x|, |y|) else y`` from left to right, the accumulator being x."""

    def fold(rows, start):
        state = np.full(len(rows), start)
        for column in rows.T:
            state = np.where(better(np.abs(state), np.abs(column)), state, column)
        return state

    return fold


REDUCED = {
    "add": lambda rows: rows.sum(axis=1),
    "maximum": lambda rows: rows.max(axis=1),
    "minimum": lambda rows: rows.min(axis=1),
    "abs_max": lambda rows: chosen(np.greater)(rows, 0.0),
    "abs_min": lambda rows: chosen(np.less)(rows, np.inf),
}


@covers("activate2")
@MANY
@given(
    operands(count=2, shape=SHORT), st.sampled_from(SIX), st.booleans(), st.booleans(),
    st.sampled_from(["copy", "relu", "square", "abs", "prelu", "tanh"]), st.sampled_from(sorted(REDUCED)),
)  # fmt: skip
def test_activate2(case, pair, reverse0, reverse1, name, reduction):
    reverse = [flag and pair[k] != "bypass" for k, flag in enumerate((reverse0, reverse1))]

    def work(dst, x):
        total, imm0 = sbuf((x.shape[0], 1)), filled((x.shape[0], 1), value=0.5)
        nisa.activate2(
            dst=dst, op=getattr(nl, name), data=x, imm0=imm0, imm1=0.25, op0=getattr(nl, pair[0]),
            op1=getattr(nl, pair[1]), relu_param=0.125, reverse0=reverse[0], reverse1=reverse[1],
            reduce_op=getattr(nl, reduction), reduce_res=total, reduce_cmd=nisa.reduce_cmd.reset_reduce,
        )  # fmt: skip
        return total

    def wanted(x):
        value = x.astype(np.float64)
        for op, imm, swap in zip(pair, (0.5, 0.25), reverse, strict=True):
            value = STAGES[op](imm, value) if swap else STAGES[op](value, imm)
        return np.where(value > 0, value, value / 8) if name == "prelu" else FUNCTIONS[name](value)

    check(case, work, wanted, exact=False, fill=signed(3), chips=GEN4, also=sums(REDUCED[reduction], wanted))


@covers("exponential")
@MANY
@given(
    operands(count=2, shape=SHORT), st.sampled_from(["idle", "reset_reduce", "reduce", "load_reduce"]),
)  # fmt: skip
def test_exponential(case, command):
    def work(dst, x):
        total, top = sbuf((x.shape[0], 1)), filled((x.shape[0], 1), value=1.5)
        commands, same = nisa.reduce_cmd, {"dst": dst, "src": x, "max_value": top}
        if command == "idle":
            nisa.exponential(**same)
            nisa.memset(dst=total, value=0.0)
            return total
        if command == "reduce":
            nisa.exponential(**same, reduce_cmd=commands.reset_reduce)
        more = {"reduce_init": 2.5} if command == "load_reduce" else {}
        nisa.exponential(**same, reduce_res=total, reduce_cmd=getattr(commands, command), **more)
        return total

    def wanted(x):
        return np.exp(x.astype(np.float64) - 1.5)

    wants = {"idle": (0, 0), "reset_reduce": (1, 0), "reduce": (2, 0), "load_reduce": (1, 2.5)}
    factor, start = wants[command]
    also = sums(lambda rows: factor * rows.sum(axis=1) + start, wanted)
    check(case, work, wanted, exact=False, fill=signed(3), chips=GEN4, also=also)
