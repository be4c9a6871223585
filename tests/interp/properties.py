"""What the property tests share: random views, numbers of every dtype, one kernel on every chip.

Operands are views of larger tiles: sliced with steps, permuted, starting at any partition that hardware
allows, as slices or as explicit access patterns. Results are cast as the engines cast; a kernel must give
the same on every chip that has its instructions.
"""

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from numtrn.machine import CHIPS
from tests.interp.support import loaded, run, stored

F32 = np.float32
BF16, E4M3, E5M2 = ml_dtypes.bfloat16, ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2
FLOATS = (np.float32, np.float16, BF16, E4M3, E5M2)
INTS = (np.int32, np.int16, np.uint16, np.uint8, np.int8)
DTYPES = FLOATS + INTS
BITS = (*INTS, np.uint32)
ALL = tuple(sorted(CHIPS))
GEN3, GEN4 = ("trn2", "trn3"), ("trn3",)
ROWS = (1, 5, 31, 32, 33, 64, 127, 128)
EDGES = (1, 2, 31, 32, 33, 127, 128, 511, 512)
STARTS = {32: (0, 32, 64, 96), 64: (0, 64), 128: (0,)}
MANY = settings(max_examples=50, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)

COVERED = {}
"""The tests that state what an instruction does, by the instruction's name."""


def covers(*names):
    """Say which instructions of nki.isa a property is about."""

    def register(test):
        for name in names:
            COVERED.setdefault(name, []).append(test)
        return test

    return register


def everywhere(kernel, *arguments, chips=ALL):
    """The outputs of a kernel, the same on all of these chips."""
    first, *others = [run(kernel, *arguments, chip=chip) for chip in chips]
    for other in others:
        for one, two in zip(as_tuple(first), as_tuple(other), strict=True):
            assert one.tobytes() == two.tobytes()
    return first


def as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


@dataclass(frozen=True)
class View:
    """A window on a tile of shape ``full``: slices, then a permutation of the free dimensions."""

    full: tuple
    key: tuple
    order: tuple
    pattern: bool = False

    def of(self, tile):
        if isinstance(tile, np.ndarray):
            return tile[self.key].transpose(self.order)
        if not self.pattern:
            return tile[self.key].permute(self.order)
        strides = [int(np.prod(self.full[axis + 1 :])) for axis in range(len(self.full))]
        counts = [len(range(*part.indices(size))) for part, size in zip(self.key, self.full, strict=True)]
        steps = [stride * (part.step or 1) for part, stride in zip(self.key, strides, strict=True)]
        return tile.ap(
            pattern=[[steps[axis], counts[axis]] for axis in self.order],
            offset=sum(part.start * stride for part, stride in zip(self.key, strides, strict=True)),
        )

    @property
    def shape(self):
        return self.of(np.empty(self.full, np.uint8)).shape


@st.composite
def views(draw, shape):
    """A view whose result has this shape."""
    rows = shape[0]
    start = draw(st.sampled_from(STARTS[32 if rows <= 32 else 64 if rows <= 64 else 128]))
    order = (0, *(1 + k for k in draw(st.permutations(range(len(shape) - 1)))))
    inner = [0] * len(shape)
    for k, axis in enumerate(order):
        inner[axis] = shape[k]
    full, key = [128], [slice(start, start + rows)]
    for size in inner[1:]:
        step, first = draw(st.integers(1, 3)), draw(st.integers(0, 2))
        full.append(first + size * step + draw(st.integers(0, 1)))
        key.append(slice(first, first + (size - 1) * step + 1, step))
    return View(tuple(full), tuple(key), order, draw(st.booleans()))


def shapes(rows=ROWS, edges=EDGES):
    """Partitions and free dimensions: one at an edge of tiles, or up to three small ones."""
    one = st.tuples(st.sampled_from(edges))
    return st.builds(
        lambda p, free: (p, *free),
        st.sampled_from(rows),
        st.one_of(one, st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)),
    )


@dataclass(frozen=True)
class Case:
    """Operands of one shape, the last one the result: views, dtypes and a seed."""

    views: tuple
    kinds: tuple
    seed: int

    @property
    def shape(self):
        return self.views[0].shape

    def draw(self, fill, at=0):
        """The whole tile that operand ``at`` is a view of."""
        return fill(self.views[at].full, self.kinds[at], self.seed + at)


@st.composite
def operands(draw, kinds=DTYPES, count=3, same=False, shape=None):
    """Inputs and an output; ``same`` gives them one dtype."""
    size = draw(shapes() if shape is None else shape)
    chosen = [draw(st.sampled_from(kinds)) for _ in range(1 if same else count)] * (count if same else 1)
    return Case(tuple(draw(views(size)) for _ in range(count)), tuple(chosen), draw(SEEDS))


def numbers(shape, dtype, seed):
    """Small positive numbers, quarters if the dtype has them."""
    values = np.random.default_rng(seed).integers(1, 12, shape)
    return (values if np.dtype(dtype).kind in "iu" else values / 4).astype(dtype)


def patterns(shape, dtype, seed):
    """Any bits."""
    size = np.dtype(dtype).itemsize
    return np.random.default_rng(seed).integers(0, 256, (*shape[:-1], shape[-1] * size), np.uint8).view(dtype)


def cast(values, dtype):
    """float32 as an engine writes it: to nearest even; integers saturate."""
    values = np.asarray(values, F32)
    if np.dtype(dtype).kind in "iu":
        bounds = np.iinfo(dtype)
        return np.clip(np.rint(values.astype(float)), bounds.min, bounds.max).astype(dtype)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def launched(case, work, *more, chips=ALL, fill=numbers):
    """What ``work(*views, *more)`` returns, stored, and the views in NumPy; ``more`` are loaded whole."""
    arrays = [case.draw(fill, at) for at in range(len(case.views))]

    def kernel(*arguments):
        tiles = [loaded(array) for array in arguments]
        found = work(
            *(view.of(tile) for view, tile in zip(case.views, tiles, strict=False)), *tiles[len(arrays) :]
        )
        return tuple(stored(tile) for tile in found) if isinstance(found, tuple) else stored(found)

    got = everywhere(kernel, *arrays, *more, chips=chips)
    return got, [view.of(array) for view, array in zip(case.views, arrays, strict=True)]


def check(case, work, wanted, *more, exact=True, chips=ALL, fill=numbers, narrow=cast, also=None):
    """``wanted(*inputs)``, of inputs in float32, is what dst holds, and the rest of its tile is untouched.

    ``work(dst, *inputs)`` gets ``more`` as further tiles; if it returns a tile, ``also(values, *inputs)``
    states what that holds. With ``narrow=None`` inputs come as they are, and the result has dst's dtype.
    """
    arrays = [case.draw(fill, at) for at in range(len(case.views))]

    def kernel(*arguments):
        tiles = [loaded(array) for array in arguments]
        *inputs, dst = (view.of(tile) for view, tile in zip(case.views, tiles, strict=False))
        other = work(dst, *inputs, *tiles[len(arrays) :])
        base = stored(tiles[len(arrays) - 1])
        return base if other is None or also is None else (base, stored(other))

    outputs = as_tuple(everywhere(kernel, *arrays, *more, chips=chips))
    inputs = [view.of(array) for view, array in zip(case.views[:-1], arrays, strict=False)]
    expected = arrays[-1].copy()
    with np.errstate(all="ignore"):
        if narrow is not None:
            inputs = [array.astype(F32) for array in inputs]
        values = wanted(*inputs)
        case.views[-1].of(expected)[...] = values if narrow is None else narrow(values, case.kinds[-1])
        if also is not None:
            also(outputs[1], *inputs)
    if exact:
        assert outputs[0].tobytes() == expected.tobytes()
    else:
        close(outputs[0], expected)


def close(got, expected):
    """Equal up to the rounding of the result's dtype, which may fall either way."""
    step = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1e-2, "float8_e4m3": 0.13, "float8_e5m2": 0.3}
    rtol = step.get(np.dtype(expected.dtype).name, 0)
    atol = 1e-6 if rtol else 1
    np.testing.assert_allclose(got.astype(float), expected.astype(float), rtol=rtol, atol=atol)
