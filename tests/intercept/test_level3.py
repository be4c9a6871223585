"""Every flag of the level-3 routines of SciPy, in four types, against plain SciPy and exact arithmetic.

All flags at a small size; few of them, in turn, around the edges of tiles; all of that in the long run.
What is not a flag (alpha, layout, overwriting) is drawn for each case, the same each time.
"""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg as sl
from level3_cases import (
    DTYPES,
    LAYOUTS,
    Case,
    Operand,
    Problem,
    by_kernel,
    check,
    draw,
    half,
    product,
    run,
    same_bits,
    same_outcome,
    solution,
    symmetric,
    triangular,
    within,
)
from level3_cases import random as numbers

import numtrn

SIDED = {"side": (0, 1), "lower": (0, 1), "trans_a": (0, 1, 2), "diag": (0, 1)}
HALVES = {"trans": (0, 1), "lower": (0, 1)}
HALVES_REAL = {"trans": (0, 1, 2), "lower": (0, 1)}
HERMITIAN = {"trans": (0, 2), "lower": (0, 1)}

FLAGS = {
    "gemm": ("sdcz", {"trans_a": (0, 1, 2), "trans_b": (0, 1, 2)}),
    "symm": ("sdcz", {"side": (0, 1), "lower": (0, 1)}),
    "hemm": ("cz", {"side": (0, 1), "lower": (0, 1)}),
    "syrk": ("sdcz", HALVES),
    "herk": ("cz", HERMITIAN),
    "syr2k": ("sdcz", HALVES),
    "her2k": ("cz", HERMITIAN),
    "trmm": ("sdcz", SIDED),
    "trsm": ("sdcz", SIDED),
    "trtrs": ("sdcz", {"lower": (0, 1), "trans": (0, 1, 2), "unitdiag": (0, 1)}),
    "potrs": ("sdcz", {"lower": (0, 1)}),
    "getrs": ("sdcz", {"trans": (0, 1, 2)}),
    "potrf": ("sdcz", {"lower": (0, 1), "clean": (0, 1)}),
}
"""Prefixes and keywords of each routine. For real types trans = 2 is another name of 1, tried apart."""

WITH_C = ("gemm", "symm", "hemm", "syrk", "herk", "syr2k", "her2k")
WITH_ALPHA = (*WITH_C, "trmm", "trsm")
BETAS = (None, 0.0, 1.0, 0.7)
EXTENTS = {"gemm": 3, "potrf": 1}
"""Extents of a problem; of all other routines two."""

TINY = (1, 2, 1)
SMALL = (33, 31, 37)
EDGES = ((127, 129, 31), (128, 33, 128), (129, 127, 300), (300, 64, 129))
"""Extents from which a routine takes as many as it has."""


def factors(routine, prefix):
    """Values of alpha that a routine may get."""
    if routine not in WITH_ALPHA:
        return (1.0,)
    return (1.0, -0.5, 0.7 - 0.4j) if prefix in "cz" and routine != "herk" else (1.0, -0.5)


def drawn(routine, prefix, flags, beta, extents):
    """A case, with what is not given chosen by its name."""
    choose = random.Random(f"{routine}{prefix}{flags}{beta}{extents}").choice
    return Case(
        routine,
        prefix,
        extents[: EXTENTS.get(routine, 2)],
        flags,
        alpha=choose(factors(routine, prefix)),
        beta=beta if beta != 0.7 or prefix in "sd" or routine[:2] == "he" else choose((0.7, 0.7 + 0.2j)),
        layout=choose(["F", *LAYOUTS]),
        overwrite=choose((False, True)),
    )


def combinations(routine):
    """(prefix, flags, beta) of a routine, every one of them."""
    prefixes, flags = FLAGS[routine]
    values = itertools.product(*([(name, value) for value in flags[name]] for name in flags))
    return itertools.product(prefixes, list(values), BETAS if routine in WITH_C else (None,))


def cases(extents):
    """Every combination at a size."""
    return [drawn(routine, *given, extents) for routine in FLAGS for given in combinations(routine)]


def few(extents, each):
    """Some combinations for each routine and type at a size; other ones at other sizes."""
    found = []
    for routine in FLAGS:
        every = list(combinations(routine))
        for prefix in FLAGS[routine][0]:
            of_type = [given for given in every if given[0] == prefix]
            chosen = random.Random(f"{routine}{prefix}{extents}").sample(of_type, min(each, len(of_type)))
            found += [drawn(routine, *given, extents) for given in chosen]
    return found


# ---- All flags ----


@pytest.mark.parametrize("case", cases(SMALL), ids=str)
def test_all_flags(case):
    check(draw(case))


@pytest.mark.parametrize("case", cases(TINY), ids=str)
def test_all_flags_of_the_smallest(case):
    check(draw(case))


@pytest.mark.parametrize("case", [case for extents in EDGES for case in few(extents, 1)], ids=str)
def test_edges_of_tiles(case):
    check(draw(case))


@pytest.mark.long
@pytest.mark.parametrize("extents", EDGES, ids=str)
@pytest.mark.parametrize("routine", FLAGS)
def test_all_flags_at_edges_of_tiles(routine, extents):
    for given in combinations(routine):
        check(draw(drawn(routine, *given, extents)))


# ---- One thing at a time ----


def plain_cases(routines, shape=SMALL, prefixes="sdcz"):
    """A case of each routine and type with no flags."""
    return [
        Case(routine, prefix, shape[: EXTENTS.get(routine, 2)])
        for routine in routines
        for prefix in FLAGS[routine][0]
        if prefix in prefixes
    ]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", plain_cases(FLAGS, prefixes="dc"), ids=str)
def test_layouts(case, layout, overwrite):
    beta = 0.7 if case.routine in WITH_C else None
    check(draw(replace(case, layout=layout, overwrite=overwrite, beta=beta)))


ALPHA_ZERO = [
    replace(case, alpha=0.0, beta=beta)
    for case in plain_cases(WITH_ALPHA)
    for beta in (BETAS if case.routine in WITH_C else (None,))
]


@pytest.mark.parametrize("case", ALPHA_ZERO, ids=str)
def test_alpha_zero(case):
    check(draw(case))


@pytest.mark.parametrize("case", plain_cases(WITH_ALPHA), ids=str)
def test_alpha_zero_does_not_read_operands(case):
    """Zeros, or what plain SciPy gives: OpenBLAS's GEMM for small matrices does read them."""
    problem = draw(replace(case, alpha=0.0))
    for operand in problem.operands.values():
        operand.array[...] = np.nan
    (plain,) = run(problem).outcome
    with numtrn.enabled(min_work=1, target="interpreter"):
        (result,) = run(problem).outcome
    assert same_bits(result, plain) or same_bits(result, np.zeros_like(plain))


@pytest.mark.parametrize("case", plain_cases(("herk", "her2k")), ids=str)
def test_imaginary_parts_of_real_factors_are_ignored(case):
    """Fortran's alpha (of herk) and beta are real; f2py takes complex ones and passes on their real parts."""
    problem = draw(replace(case, alpha=-0.5, beta=0.7))
    beta, alpha = 0.7 + 3j, -0.5 + (2j if case.routine == "herk" else 0)
    routine = getattr(sl.blas, case.name)

    def call(c, **given):
        return routine(alpha, *given.values(), beta=beta, c=c)

    problem.call = call
    check(problem)


@pytest.mark.parametrize("routine", ["syrk", "syr2k"])
@pytest.mark.parametrize("prefix", "sd")
@pytest.mark.parametrize("lower", [0, 1])
def test_the_other_name_of_a_real_transpose(routine, prefix, lower):
    check(draw(Case(routine, prefix, (33, 31), (("trans", 2), ("lower", lower)), beta=0.7)))


@pytest.mark.parametrize(
    ("name", "trans"), [("zsyrk", 2), ("zsyr2k", 2), ("zherk", 1), ("zher2k", 1), ("csyrk", 2), ("cherk", 1)]
)
def test_illegal_flags_leave_c_alone(name, trans):
    """BLAS complains on standard error and returns."""
    rng = np.random.default_rng(1)
    a, c = (np.asfortranarray(rng.standard_normal((40, 40)) * (1 + 1j)).astype(DTYPES[name[0]]) for _ in "ac")
    operands = {"c": Operand(c, c.ravel(order="K"))}
    routine = getattr(sl.blas, name)
    inputs = (a, a) if name.endswith("2k") else (a,)
    expected = routine(1.0, *inputs, beta=0.5, c=operands["c"].array, trans=trans)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        result = routine(1.0, *inputs, beta=0.5, c=operands["c"].array, trans=trans)
    assert same_bits(result, expected)
    assert all(call.route == "numpy" for call in session.calls)


# ---- The judge ----


@pytest.mark.parametrize("case", plain_cases(FLAGS, prefixes="dc"), ids=str)
def test_a_result_beyond_the_promise_is_seen(case):
    """One element is off by what any sum of this length may be off, some times over."""
    problem = draw(case)
    outcome = run(problem).outcome
    within(problem, outcome[0], "plain SciPy")
    where = np.unravel_index(np.argmax(np.abs(np.tril(np.triu(outcome[0])))), outcome[0].shape)
    outcome[0][where] *= 1 + 1e4 * np.finfo(case.dtype).eps
    with pytest.raises(AssertionError, match="of what is promised"):
        within(problem, outcome[0], "spoilt")


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_changed_operand_is_seen(name):
    problem = draw(Case("trsm", "d", (33, 31), layout="columns"))
    plain, ours = run(problem), run(problem)
    same_outcome(problem, ours, plain)
    ours.operands[name].memory[0] = 78
    with pytest.raises(AssertionError, match=f"{name} was written to"):
        same_outcome(problem, ours, plain)


def test_a_change_beside_the_result_is_seen():
    problem = draw(Case("trsm", "d", (33, 31), layout="columns", overwrite=True))
    plain, ours = run(problem), run(problem)
    same_outcome(problem, ours, plain)
    ours.operands["b"].memory[-1] = 78
    with pytest.raises(AssertionError, match="memory around b"):
        same_outcome(problem, ours, plain)


def test_a_changed_triangle_is_seen():
    problem = draw(Case("syrk", "d", (33, 31), beta=0.7, overwrite=True))
    plain, ours = run(problem), run(problem)
    same_outcome(problem, ours, plain)
    ours.outcome[0][32, 0] = 0.0
    with pytest.raises(AssertionError, match="not computed"):
        same_outcome(problem, ours, plain)


# ---- Larger arrays than the problem ----


def oversized(name, call, excess, **arrays):
    """A problem in the corner of larger arrays, as leading dimensions allow; the rest is NaN."""
    operands = {}
    for key, (values, rows, columns) in arrays.items():
        memory = np.full(rows * columns, np.nan, values.dtype)
        array = memory.reshape((rows, columns), order="F")
        array[: values.shape[0], : values.shape[1]] = values
        operands[key] = Operand(array, memory)
    return Problem(name, call, operands, excess)


@pytest.mark.parametrize("prefix", DTYPES)
@pytest.mark.parametrize("overwrite", [0, 1])
def test_trtrs_with_leading_dimensions(prefix, overwrite):
    """A has more rows than columns, and B more than A has columns."""
    rng = np.random.default_rng(1)
    dtype = np.dtype(DTYPES[prefix])
    triangle = triangular(rng, dtype, 35, 1)
    b = numbers(rng, dtype, 35, 33)
    routine = getattr(sl.lapack, prefix + "trtrs")
    judge = solution(triangle, b)
    kept = np.zeros((41, 33), bool)
    kept[:35] = True

    def excess(x):
        whole = np.zeros(x.shape)
        whole[:35] = judge(x[:35])
        return whole

    problem = oversized(
        f"scipy.linalg.lapack.{prefix}trtrs",
        lambda a, b: routine(a, b, lower=1, overwrite_b=overwrite),
        excess,
        a=(triangle, 38, 35),
        b=(b, 41, 33),
    )
    problem.kept = kept
    check(problem)


@pytest.mark.parametrize("prefix", DTYPES)
@pytest.mark.parametrize("side", [0, 1])
def test_trmm_with_a_leading_dimension(prefix, side):
    rng = np.random.default_rng(1)
    dtype = np.dtype(DTYPES[prefix])
    triangle, b = triangular(rng, dtype, 33, 0), numbers(rng, dtype, 33, 33)
    routine = getattr(sl.blas, prefix + "trmm")
    pair = (b, triangle) if side else (triangle, b)
    check(
        oversized(
            f"scipy.linalg.blas.{prefix}trmm",
            lambda a, b: routine(1.0, a, b, side=side),
            product([(1.0, *pair)], None, dtype),
            a=(triangle, 40, 36),
            b=(b, 33, 33),
        )
    )


# ---- The same array twice ----


@pytest.mark.parametrize("prefix", DTYPES)
@pytest.mark.parametrize("routine", ["gemm", "symm", "syr2k", "trmm", "trsm"])
def test_one_array_for_both_operands(prefix, routine):
    rng = np.random.default_rng(1)
    dtype = np.dtype(DTYPES[prefix])
    function = getattr(sl.blas, prefix + routine)
    kept = None
    if routine == "gemm":
        a = numbers(rng, dtype, 40, 40)
        excess = product([(1.0, a, a)], None, dtype)
    elif routine == "symm":
        a = symmetric(rng, dtype, 40, False)
        excess = product([(1.0, a, a)], None, dtype)
    elif routine == "syr2k":
        a, kept = numbers(rng, dtype, 40, 40), half(40, 0)
        excess = product([(1.0, a, a.T), (1.0, a, a.T)], None, dtype)
    else:
        a = triangular(rng, dtype, 40, 0)
        excess = product([(1.0, a, a)], None, dtype) if routine == "trmm" else solution(a, a)
    memory = a.ravel(order="F")
    operands = {"a": Operand(memory.reshape(a.shape, order="F"), memory)}
    name = f"scipy.linalg.blas.{prefix}{routine}"
    check(Problem(name, lambda a: function(1.0, a, a), operands, excess, kept))


@pytest.mark.parametrize("name", ["dgemm", "zgemm", "dsymm"])
def test_result_over_an_operand(name):
    """C is B as well: SciPy reads B before it writes C only by luck, so only the account is judged."""
    rng = np.random.default_rng(1)
    dtype = DTYPES[name[0]]
    a, b = (np.asfortranarray(rng.standard_normal((40, 40))).astype(dtype, order="F") for _ in "ab")
    routine = getattr(sl.blas, name)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        result = routine(1.0, a, b, beta=1.0, c=b, overwrite_c=1)
    assert result is b
    assert len(session.calls) == 1


def test_the_account_names_the_routine():
    a = np.asfortranarray(np.eye(64))
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        sl.blas.dtrsm(1.0, a, a)
    by_kernel(session, "scipy.linalg.blas.dtrsm")
    assert len(session.calls) == 1


def test_below_min_work_a_call_stays_with_scipy():
    a = np.asfortranarray(np.eye(40))
    with numtrn.enabled(min_work=10**9, target="interpreter") as session:
        x = sl.blas.dtrsm(1.0, a, a)
    assert same_bits(x, sl.blas.dtrsm(1.0, a, a))
    assert session.counts["kernel"] == 0
