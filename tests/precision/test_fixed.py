"""Words, magnitudes and the one rounding back, in C and in NumPy, against exact integers and fractions."""

import math
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from numtrn.precision import fixed, threads
from numtrn.precision.scaling import exponents

COMPILED = fixed.compiled


@pytest.fixture(autouse=True, params=["C", "NumPy"])
def how(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(fixed, "compiled", None)
    elif COMPILED is None:
        pytest.skip("the extension was not built")
    return request.param


ORDERS = ["C", "F", "padded", "reversed", "third", "real part", "unaligned"]


def laid_out(x, order):
    """The same matrix with other strides."""
    rows, columns = x.shape
    if order in "CF":
        return np.array(x, order=order)
    if order == "padded":
        view = np.zeros((rows + 3, columns + 5))[1 : 1 + rows, 2 : 2 + columns]
    elif order == "reversed":
        view = np.zeros((columns, rows))[::-1, ::-1].T
    elif order == "third":
        view = np.zeros((3 * rows, 2 * columns), order="F")[::3, ::2]
    elif order == "real part":
        view = np.zeros((rows, columns), complex).real
    else:
        view = np.zeros(x.nbytes + 1, np.int8)[1:].view(np.float64).reshape(x.shape)
    view[...] = x
    return view


def words_out(rows, columns, slices, order):
    """Where words go: C, F, or rows of a wider array."""
    item = fixed.word_bytes(slices)
    if order == "F":
        return np.full((columns, rows, item), 77, np.int8).swapaxes(0, 1)
    if order == "padded":
        return np.full((rows, columns + 9, item), 77, np.int8)[:, :columns]
    return np.full((rows, columns, item), 77, np.int8)


def scaled_exactly(x, row_power, column_power):
    return [
        [
            Fraction(float(x[r, c])) * Fraction(2) ** int(row_power[r] + column_power[c])
            for c in range(x.shape[1])
        ]
        for r in range(x.shape[0])
    ]


def word(x, slices):
    """(X + F) ^ F as bytes; Python's round is to nearest even."""
    offset = int.from_bytes(b"\x80" * slices, "little")
    stored = (round(x * 2 ** (8 * slices - 1)) + offset) ^ offset
    return list(stored.to_bytes(fixed.word_bytes(slices), "little"))


def check_cut(x, row_power, column_power, slices, order="C"):
    out = words_out(*x.shape, slices, order)
    fixed.cut(x, row_power, column_power, slices, out)
    exact = scaled_exactly(x, row_power, column_power)
    assert out.view(np.uint8).tolist() == [[word(value, slices) for value in row] for row in exact]
    # The digits are balanced, and their sum is X.
    for r, row in enumerate(exact):
        for c, value in enumerate(row):
            digits = out[r, c, :slices].tolist()[::-1]
            assert sum(q * 256 ** (slices - 1 - p) for p, q in enumerate(digits)) == round(
                value * 2 ** (8 * slices - 1)
            )


def operand(rng, rows, columns, spread=30):
    """Elements and powers: scaled sizes of at most 0.99, some zeros, powers of any size."""
    scaled = rng.uniform(-0.99, 0.99, (rows, columns)) * 2.0 ** -rng.integers(0, spread, (rows, columns))
    scaled[rng.random((rows, columns)) < 0.1] = rng.choice([0.0, -0.0, 0.99, -0.99])
    row_power, column_power = rng.integers(-400, 400, rows), rng.integers(-400, 400, columns)
    return np.ldexp(scaled, (-row_power[:, None] - column_power).astype(np.int32)), row_power, column_power


@pytest.mark.parametrize("slices", range(1, 17))
@pytest.mark.parametrize("out_order", ["C", "F", "padded"])
def test_cut(slices, out_order):
    rng = np.random.default_rng(slices)
    for order in ORDERS:
        rows, columns = rng.integers(1, 40, 2)
        x, row_power, column_power = operand(rng, rows, columns)
        check_cut(laid_out(x, order), row_power, column_power, slices, out_order)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (8, 16), (9, 17), (16, 131)])
@pytest.mark.parametrize("slices", [7, 11])
def test_cut_shapes(shape, slices):
    rng = np.random.default_rng(shape)
    for order in ("C", "F"):
        for out_order in ("C", "F", "padded"):
            x, row_power, column_power = operand(rng, *shape)
            check_cut(laid_out(x, order), row_power, column_power, slices, out_order)


SCALED = st.floats(-0.99, 0.99, allow_subnormal=True)


@given(x=SCALED, slices=st.integers(1, 16), power=st.integers(-1000, 1000))
@example(x=0.99, slices=16, power=0)
@example(x=-0.99, slices=8, power=0)
@example(x=-(2.0**-62), slices=16, power=0)
@example(x=2.0**-64, slices=16, power=0)
@example(x=-(2.0**-64), slices=16, power=0)
@settings(max_examples=400, deadline=None)
def test_cut_one(x, slices, power):
    stored = math.ldexp(x, power)
    check_cut(np.array([[stored]]), np.array([-power]), np.array([0]), slices)
    check_cut(np.array([[x]]), np.array([-power]), np.array([power]), slices)


@given(
    slices=st.integers(1, 16),
    whole=st.integers(-(2**60), 2**60),
    shift=st.integers(0, 90),
    nudge=st.sampled_from([-1, 0, 1]),
)
@settings(max_examples=400, deadline=None)
def test_cut_halves_to_even(slices, whole, shift, nudge):
    """Odd multiples of a half of the last place, and their neighbours."""
    whole >>= min(shift, 60)
    x = math.ldexp(2 * whole + 1, -8 * slices)
    x = float(np.nextafter(x, nudge * np.inf)) if nudge else x
    if abs(x) <= 0.99:
        check_cut(np.array([[x, -x]]), np.array([0]), np.array([0, 0]), slices)


@pytest.mark.parametrize("slices", [7, 8, 9, 16])
def test_cut_of_extremes(slices):
    tiny, huge = 2.0**-1074, np.finfo(float).max
    x = np.array([[tiny, 3 * tiny, 2.0**-1022, -tiny], [huge, -huge, 1.0, tiny]])
    check_cut(x, np.array([1071, -1025]), np.array([0, 0, -50, 0]), slices)
    check_cut(x, np.array([1071 - 9000, -1025 - 9000]), np.array([9000, 9000, 8950, 9000]), slices)
    check_cut(x * 0, np.array([2**20, -(2**20)]), np.array([2**20, 0, 0, 0]), slices)


def test_what_lies_between_rows_is_left_alone():
    whole = np.full((5, 9, 8), 77, np.int8)
    fixed.cut(np.ones((5, 6)), np.full(5, -1), None, 7, whole[:, :6])
    assert (whole[:, 6:] == 77).all()
    patterns = np.full((5, 9), 77, np.uint16)
    fixed.magnitudes(np.ones((5, 6)), None, None, patterns[:, :6])
    assert (patterns[:, 6:] == 77).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("out_order", ["C", "F"])
def test_magnitudes_are_the_guards(order, out_order):
    rng = np.random.default_rng(1)
    x, row_power, column_power = operand(rng, 37, 45, spread=130)
    out = np.empty(x.shape, np.uint16, order=out_order)
    by_rows = laid_out(np.ldexp(x, column_power.astype(np.int32)), order)
    fixed.magnitudes(by_rows, row_power, None, out)
    assert np.array_equal(out, guards_patterns(by_rows, row_power))
    by_columns = laid_out(np.ldexp(x, row_power[:, None].astype(np.int32)), order)
    fixed.magnitudes(by_columns, None, column_power, out)
    assert np.array_equal(out, guards_patterns(by_columns.T, column_power).T)
    x = laid_out(x, order)
    fixed.magnitudes(x, row_power, column_power, out)
    assert np.array_equal(out, guards_patterns(by_rows, row_power))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("axis", [0, 1])
def test_survey(order, axis):
    x = laid_out(operand(np.random.default_rng(2), 150, 300, spread=130)[0], order)
    x[3] = 0.0
    for out in (np.empty(x.shape, np.uint16), np.empty(x.shape, np.uint16, order="F")):
        sizes = fixed.survey(x, axis, out)
        assert np.array_equal(sizes, np.abs(x).max(axis=axis))
        powers = -exponents(sizes)
        expected = np.empty_like(out)
        fixed.magnitudes(x, *((powers, None) if axis else (None, powers)), expected)
        assert np.array_equal(out, expected)
    x[2, 4], x[7, 5] = np.inf, np.nan
    expected = np.abs(x).max(axis=axis)
    assert np.array_equal(fixed.survey(x, axis, out), expected, equal_nan=True)


def guards_patterns(x, power):
    """Upper halves of float32 patterns of |x 2^power|, zero below 2^-100."""
    scaled = np.abs(np.ldexp(x, power[:, None].astype(np.int32)))
    scaled[scaled < 2.0**-100] = 0
    bits = scaled.view(np.uint64) & np.uint64(0x7FFF_E000_0000_0000)  # truncated to 8 bits
    return bits.view(np.float64).astype(np.float32).view(np.uint32) >> 16


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3000), (3000, 5), (70, 80)])
def test_largest(order, shape):
    rng = np.random.default_rng(shape)
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-300, 300, shape)
    x[0, 0] = -0.0
    x = laid_out(x, order)
    for axis in (0, 1):
        assert np.array_equal(fixed.largest(x, axis), np.abs(x).max(axis=axis))


def test_largest_shows_inf_and_nan():
    x = np.array([[1.0, -np.inf, 2.0], [np.nan, np.inf, 0.0], [0.0, -0.0, -0.0], [1.0, -np.nan, 5e-324]])
    for view in (x, np.array(x, order="F")):
        assert np.array_equal(fixed.largest(view, 1), [np.inf, np.nan, 0.0, np.nan], equal_nan=True)
        assert np.array_equal(fixed.largest(view, 0), [np.nan, np.nan, 2.0], equal_nan=True)
    assert not np.signbit(fixed.largest(x, 1)[2])
    assert fixed.largest(np.empty((3, 0)), 1).tolist() == [0.0] * 3
    assert fixed.largest(np.empty((3, 0)), 0).tolist() == []


def exact_float(value):
    """A fraction to float64 with one rounding; Inf beyond the range."""
    try:
        return float(value)  # Python divides integers with one rounding, also to subnormals
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def check_round(terms, row_power, column_power, out=None):
    """`terms`: coefficients and words."""
    rows, words, columns = terms[0][1].shape
    if out is None:
        out = np.empty((rows, columns))
    fixed.round_words(terms, np.array(row_power), np.array(column_power), out)
    for r in range(rows):
        for c in range(columns):
            n = sum(
                factor * int(part[r, i, c]) * 2 ** (24 * (words - 1 - i))
                for factor, part in terms
                for i in range(words)
            )
            power = int(row_power[r]) + int(column_power[c]) - 24 * (words - 1)
            expected = exact_float(Fraction(n) * Fraction(2) ** power)
            got = float(out[r, c])
            assert got == expected, (r, c, n, power)
            assert n or not math.copysign(1, got) < 0, "zero is +0"


def device_words(rng, rows, words, columns):
    """Words as a kernel gives them: zeros and ones at the top are common."""
    w = rng.integers(0, 2**24, (rows, words, columns)).astype(np.int32)
    w[:, 0] = rng.integers(-(2**31), 2**31, (rows, columns)) >> rng.integers(0, 40, (rows, columns))
    lead = rng.integers(0, words + 1, (rows, columns))
    for i in range(words):
        small = (i < lead) & (rng.random((rows, columns)) < 0.7)
        w[:, i][small] = np.where(w[:, 0] < 0, -1 if i == 0 else 2**24 - 1, 0)[small]
        w[:, i][rng.random((rows, columns)) < 0.1] = 0
    return w


@pytest.mark.parametrize("words", [3, 4, 5, 6])
@pytest.mark.parametrize("order", ["C", "strided", "F"])
def test_round_words_of_a_launch(words, order):
    rng = np.random.default_rng(words)
    w = device_words(rng, 7, words, 300)
    if order == "strided":
        w = np.repeat(w, 2, axis=2)[:, :, ::2]
    elif order == "F":
        w = np.asfortranarray(w)
    out = np.empty((300, 7)).T if order == "F" else None
    check_round([(1, w)], rng.integers(-300, 300, 7), rng.integers(-300, 300, 300), out)
    check_round([(-1, w)], rng.integers(-5, 5, 7), np.zeros(300, np.int64))


@pytest.mark.parametrize("words", [3, 4, 5, 6])
def test_round_words_of_sums(words):
    rng = np.random.default_rng(words)
    wide = rng.integers(-(2**40), 2**40, (5, words, 140)) >> rng.integers(0, 41, (5, words, 140))
    first, second = device_words(rng, 5, words, 140), device_words(rng, 5, words, 140)
    powers = rng.integers(-3, 3, 5), rng.integers(-3, 3, 140)
    check_round([(1, wide)], *powers)
    check_round([(2, first), (-1, wide), (-1, second)], *powers)
    check_round([(1, first), (-1, first)], *powers)
    near = first.astype(np.int64)
    near[:, -1] += rng.integers(-2, 3, near[:, -1].shape)  # all leading words cancel
    check_round([(1, near), (-1, first)], *powers)
    check_round([(1, first.astype(np.int64)), (63, wide)], *powers)


@pytest.mark.parametrize("words", [3, 4, 5, 6])
def test_round_words_outside_of_24_bits(words):
    """int32 words that are no fields: carries go up all the same."""
    rng = np.random.default_rng(words)
    check_round([(1, rng.integers(-(2**31), 2**31, (3, words, 150)).astype(np.int32))], [0, 1, 2], [0] * 150)


def split(n, words):
    fields = []
    for _ in range(words - 1):
        fields.append(n & (2**24 - 1))
        n >>= 24
    return [n, *fields[::-1]]


@given(data=st.data(), words=st.integers(3, 6))
@settings(max_examples=300, deadline=None)
def test_round_words_ties(data, words):
    """53 bits, a half, and perhaps one bit far below, anywhere within N; also of subnormal results."""
    room = 24 * (words - 1) + 38 - 55
    lead = data.draw(st.integers(1, room))
    odd = data.draw(st.integers(2**52, 2**53 - 1))
    below = data.draw(st.one_of(st.just(0), st.integers(0, lead - 1).map(lambda place: 1 << place)))
    n = ((2 * odd + 1) << (lead - 1)) + data.draw(st.sampled_from([1, -1])) * below
    fields = [split(n, words), split(-n, words)]
    w = np.array(fields, np.int64).T[None]
    power = data.draw(st.integers(-1300, 1100))
    check_round([(1, w)], [power], [0, 0])
    check_round([(1, w)], [power - 5000], [5000, 4999])


@pytest.mark.parametrize("words", [3, 6])
def test_round_words_at_the_ends_of_the_range(words):
    rng = np.random.default_rng(words)
    w = device_words(rng, 3, words, 40)
    for power in (*range(-1140, -960, 7), *range(960, 1100, 7), 2**20, -(2**20)):
        check_round([(1, w)], [power] * 3, [0] * 40)
    one = np.array([[[1]] + [[0]] * (words - 1)], np.int32)
    for power, expected in [(-1074, 5e-324), (-1075, 0.0), (1023, 2.0**1023), (1024, math.inf)]:
        check_round([(1, one)], [power], [0])
        out = np.empty((1, 1))
        fixed.round_words([(-1, one)], np.array([power]), None, out)
        assert out[0, 0] == -expected


def test_add_words(how):
    rng = np.random.default_rng(0)
    for shape in [(300, 3, 400), (5, 7)]:
        total, part = (
            rng.integers(-(2**40), 2**40, shape),
            rng.integers(-(2**31), 2**31, shape).astype(np.int32),
        )
        for of in (part, np.asfortranarray(part)):
            expected = total + of
            fixed.add_words(total, of)
            assert np.array_equal(total, expected)


def everything(shape=(700, 400)):
    """One result of each kind, of a size that is split over threads."""
    rng = np.random.default_rng(3)
    x, row_power, column_power = operand(rng, *shape)
    results = [fixed.largest(x, 0), fixed.largest(x, 1), fixed.largest(x.T, 1)]
    for source in (x, np.asfortranarray(x)):
        for slices in (7, 10):
            for order in ("C", "F", "padded"):
                out = words_out(*shape, slices, order)
                fixed.cut(source, row_power, column_power, slices, out)
                results.append(out)
        patterns = np.empty(shape, np.uint16)
        fixed.magnitudes(source, row_power, column_power, patterns)
        results.append(patterns)
        for axis in (0, 1):
            patterns = np.empty(shape, np.uint16, order="F" if source is not x else "C")
            results += [fixed.survey(source, axis, patterns), patterns]
    for words in (3, 4, 6):
        out = np.empty(shape)
        w = device_words(rng, shape[0], words, shape[1])
        fixed.round_words([(1, w)], row_power // 8, column_power // 8, out)
        results.append(out)
    total = np.zeros(shape, np.int64)
    fixed.add_words(total, np.arange(total.size, dtype=np.int32).reshape(shape))
    return [*results, total]


@pytest.mark.parametrize("shape", [(700, 400), (3, 90000), (90000, 3)])
def test_thread_counts_and_the_extension_change_no_bit(monkeypatch, shape):
    monkeypatch.setenv("NUMTRN_NUM_THREADS", "1")
    monkeypatch.setattr(fixed, "compiled", COMPILED)
    reference = everything(shape)
    monkeypatch.undo()
    for count in (1, 2, 3):
        monkeypatch.setenv("NUMTRN_NUM_THREADS", str(count))
        for streams in (0, 1 << 60):
            monkeypatch.setattr(fixed, "STREAM_BYTES", streams)
            for got, expected in zip(everything(shape), reference, strict=True):
                assert got.tobytes() == expected.tobytes()


def test_several_callers_share_the_threads(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("NUMTRN_NUM_THREADS", "3")
    reference = [result.tobytes() for result in everything()]
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: everything(), range(6)):
            assert [result.tobytes() for result in results] == reference


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", "1025"])
def test_bad_thread_counts(monkeypatch, given):
    monkeypatch.setenv("NUMTRN_NUM_THREADS", given)
    with pytest.raises(
        ValueError, match=f"NUMTRN_NUM_THREADS takes .* from 1 to 1024; got '{given}'; unset it"
    ):
        threads.thread_count()


def test_default_thread_count(monkeypatch):
    assert 1 <= threads.thread_count() <= os.cpu_count()
    monkeypatch.setenv("NUMTRN_NUM_THREADS", " 5 ")
    assert threads.thread_count() == 5


def test_an_exception_ends_all(monkeypatch):
    done = []

    def task(number):
        if number == 3:
            raise KeyboardInterrupt
        done.append(number)

    with pytest.raises(KeyboardInterrupt):
        threads.run([lambda number=number: task(number) for number in range(1000)], 3)
    assert len(done) < 999
    settled = len(done)
    threads.run([lambda: done.append(-1)] * 10, 3)
    assert len(done) == settled + 10


FORKED = """
import os, warnings
import numpy as np
from numtrn.precision import fixed
warnings.simplefilter("ignore")  # Python's own, about forks of processes with threads
x = np.random.default_rng(0).standard_normal((600, 500))
before = fixed.largest(x, 1)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(fixed.largest(x, 1), before) else 3)
assert os.waitpid(child, 0)[1] == 0
import atexit
atexit.register(lambda: print(np.array_equal(fixed.largest(x, 1), before)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forks_and_exits():
    environment = {**os.environ, "NUMTRN_NUM_THREADS": "3"}
    ran = subprocess.run(
        [sys.executable, "-c", FORKED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "True\n", "")


X = np.ones((4, 5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fixed.largest(X.astype(np.float32), 1),
            r"takes float64 .* got float32 \(4, 5\); pass x.astype",
        ),
        (lambda: fixed.largest([[1.0]], 1), "got list"),
        (lambda: fixed.largest(X, 2), "takes axis 0 or 1; got 2"),
        (
            lambda: fixed.cut(X[0], None, None, 7, np.empty((5, 8), np.int8)),
            r"of two axes; got float64 \(5,\)",
        ),
        (lambda: fixed.cut(X, None, None, 17, np.empty((4, 5, 16), np.int8)), "takes 1 to 16 digits; got 17"),
        (
            lambda: fixed.cut(X, None, None, 9, np.empty((4, 5, 8), np.int8)),
            r"writes int8 \(4, 5, 16\); got int8 \(4, 5, 8\); pass np.empty",
        ),
        (lambda: fixed.cut(X, None, None, 7, np.empty((4, 10, 8), np.int8)[:, ::2]), "one after the other"),
        (lambda: fixed.cut(X, None, None, 7, np.empty((4, 5, 16), np.int8)[..., ::2]), "bytes lie together"),
        (
            lambda: fixed.cut(X, np.zeros(5, int), None, 7, np.empty((4, 5, 8), np.int8)),
            "row_power takes .* each of 4",
        ),
        (
            lambda: fixed.cut(X, None, np.zeros(5), 7, np.empty((4, 5, 8), np.int8)),
            "column_power .* got float64",
        ),
        (
            lambda: fixed.cut(X, np.array([0, 0, 0, 2**21]), None, 7, np.empty((4, 5, 8), np.int8)),
            "up to 2\\^20 in size; got 0 to 2097152",
        ),
        (lambda: fixed.magnitudes(X, None, None, np.empty((4, 5), np.int16)), "writes uint16 .* got int16"),
        (
            lambda: fixed.round_words([(1, np.zeros((2, 7, 3), np.int32))], None, None, np.empty((2, 3))),
            r"2 to 6, columns\).* got int32 \(2, 7, 3\)",
        ),
        (
            lambda: fixed.round_words([(1, np.zeros((2, 3, 3)))], None, None, np.empty((2, 3))),
            "int32 or int64 words .* got float64",
        ),
        (lambda: fixed.round_words([], None, None, np.empty((2, 3))), r"1 to 8 terms .* got \[\]"),
        (
            lambda: fixed.round_words([(65, np.zeros((2, 3, 3), np.int32))], None, None, np.empty((2, 3))),
            r"at most 64 .* got \[65\]",
        ),
        (
            lambda: fixed.add_words(np.zeros((2, 3)), np.zeros((2, 3), np.int32)),
            "writes int64 .* got float64",
        ),
        (
            lambda: fixed.add_words(np.zeros((2, 3), int), np.zeros((2, 3), int)),
            "int64 totals and int32 words",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_read_only_results():
    out = np.empty((4, 5, 8), np.int8)
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"got int8 .*, read-only; pass np.empty"):
        fixed.cut(X, None, None, 7, out)


def test_nothing():
    empty = np.empty((0, 5))
    fixed.cut(empty, np.zeros(0, int), None, 7, np.empty((0, 5, 8), np.int8))
    fixed.magnitudes(empty, None, None, np.empty((0, 5), np.uint16))
    fixed.round_words([(1, np.empty((0, 3, 5), np.int32))], None, None, empty)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0))
@example(0.99)
@example(0.9900000000000001)
@example(5e-324)
@settings(max_examples=300, deadline=None)
def test_exponents_leave_room_for_the_top_digit(size):
    e = int(exponents(np.array([size]))[0])
    limit = Fraction(0.99)
    if size == 0:
        assert e == 0
    else:
        assert Fraction(size) <= limit * Fraction(2) ** e
        assert Fraction(size) > limit * Fraction(2) ** (e - 1)
