"""What calls level-3 routines for its user: functions of scipy.linalg, NumPy's products of A with itself.

Also what is the same for all routines: values that are not finite, empty matrices, and what SciPy refuses.
"""

import itertools
import warnings

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
    factors,
    half,
    positive,
    product,
    random,
    read_only_half,
    run,
    same_bits,
    same_place,
    solution,
    solution_of_two,
    triangular,
    turned,
    unit,
    wide,
)
from scipy.linalg import cho_factor, cho_solve, cholesky, lu_factor, lu_solve, solve_triangular
from scipy.linalg.blas import dsyrk, dtrsm, get_blas_funcs
from scipy.linalg.lapack import dpotrf, dtrtrs, get_lapack_funcs

import numtrn
from numtrn.intercept import solves
from numtrn.intercept.blas import IllegalArgumentError, Stored

PREFIX = {dtype: prefix for prefix, dtype in DTYPES.items()}
TRANS = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}
bound_symm, bound_trmm = get_blas_funcs(("symm", "trmm"), dtype=np.dtype("float64"))
bound_potrs, bound_getrs = get_lapack_funcs(("potrs", "getrs"), dtype=np.dtype("complex128"))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def lapack(routine, dtype):
    return f"scipy.linalg.lapack.{PREFIX[dtype]}{routine}"


def vector(values):
    """A right-hand side of one axis."""
    return Operand(values, values)


# ---- Names ----


def test_names_bound_before_the_block(rng):
    a = np.asfortranarray(positive(rng, "float64", 40))
    z = np.asfortranarray(positive(rng, "complex128", 40))
    lu, pivots = lu_factor(z)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        dsyrk(1.0, a)
        dtrsm(1.0, a, a)
        dpotrf(a)
        dtrtrs(a, a)
        bound_symm(1.0, a, a)
        bound_trmm(1.0, a, a)
        bound_potrs(z, z)
        bound_getrs(lu, pivots, z)
    names = ["blas.dsyrk", "blas.dtrsm", "lapack.dpotrf", "lapack.dtrtrs"]
    names += ["blas.dsymm", "blas.dtrmm", "lapack.zpotrs", "lapack.zgetrs"]
    assert [call.function for call in session.calls] == [f"scipy.linalg.{name}" for name in names]
    for call in session.calls:
        by_kernel(session, call.function)


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_names_looked_up_inside_the_block(rng, dtype):
    a = np.asfortranarray(positive(rng, dtype, 40))
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        trsm, symm, syr2k = sl.get_blas_funcs(("trsm", "symm", "syr2k"), (a,))
        potrf, trtrs = sl.get_lapack_funcs(("potrf", "trtrs"), (a,))
        trsm(1.0, a, a)
        symm(1.0, a, a)
        syr2k(1.0, a, a)
        potrf(a)
        trtrs(a, a)
    for name in ("blas.?trsm", "blas.?symm", "blas.?syr2k", "lapack.?potrf", "lapack.?trtrs"):
        by_kernel(session, f"scipy.linalg.{name.replace('?', PREFIX[dtype])}")


# ---- scipy.linalg: triangular solves ----


def triangular_problem(rng, dtype, n, columns, trans, lower, unit_diagonal, overwrite, layout):
    """solve_triangular with NaN where it must not read; columns None is a right-hand side of one axis."""
    full = triangular(rng, dtype, n, lower, unit_diagonal)
    b = random(rng, dtype, *((n,) if columns is None else (n, columns)))
    place = LAYOUTS[layout]

    def call(a, b):
        return solve_triangular(
            a,
            b,
            trans=trans,
            lower=bool(lower),
            unit_diagonal=bool(unit_diagonal),
            overwrite_b=overwrite,
            check_finite=False,
        )

    operands = {
        "a": place(read_only_half(full, lower, unit_diagonal=unit_diagonal)),
        "b": vector(b) if columns is None else place(b),
    }
    excess = solution(turned(full, TRANS[trans]), b)
    return Problem(lapack("trtrs", dtype), call, operands, excess, kernel=columns is not None)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("layout", ["F", "C"])
@pytest.mark.parametrize(("lower", "unit_diagonal"), list(itertools.product((0, 1), repeat=2)))
@pytest.mark.parametrize(
    ("dtype", "trans"),
    [
        ("float32", 1),
        ("float64", 0),
        ("float64", "T"),
        ("float64", "C"),
        ("complex64", "C"),
        ("complex128", "N"),
        ("complex128", 1),
        ("complex128", 2),
    ],
)
def test_solve_triangular(rng, dtype, trans, lower, unit_diagonal, layout, overwrite):
    check(triangular_problem(rng, dtype, 35, 33, trans, lower, unit_diagonal, overwrite, layout))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("n", [1, 40, 300])
def test_solve_triangular_of_one_axis(rng, dtype, n, overwrite):
    check(triangular_problem(rng, dtype, n, None, 0, 1, 0, overwrite, "F"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_solve_triangular_of_views(rng, layout):
    check(triangular_problem(rng, "float64", 129, 64, "T", 1, 0, True, layout))


@pytest.mark.parametrize(
    ("left", "right"),
    [("float32", "float64"), ("float64", "complex64"), ("int64", "float32"), ("float64", "int32")],
)
def test_mixed_types_become_scipys(rng, left, right):
    a = triangular(rng, "float64", 40, 1, 1)
    a = np.eye(40, dtype=left) if left == "int64" else a.astype(left)
    b = (rng.integers(-5, 5, (40, 33)) if right == "int32" else random(rng, right, 40, 33)).astype(right)
    expected = solve_triangular(a, b, lower=True)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        x = solve_triangular(a, b, lower=True)
    assert (x.dtype, x.shape, x.strides) == (expected.dtype, expected.shape, expected.strides)
    by_kernel(session, lapack("trtrs", x.dtype.name))
    full = a.astype(x.dtype)
    assert (solution(full, b.astype(x.dtype))(x) <= 1).all()


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("where", [0, 20, 39])
def test_singular_triangles(rng, dtype, where):
    """The same exception of SciPy, the same info of LAPACK, and B is as it was."""
    a, b = triangular(rng, dtype, 40, 1), random(rng, dtype, 40, 33)
    a[where, where] = 0

    def outcome():
        with pytest.raises(np.linalg.LinAlgError) as caught:
            solve_triangular(a, b, lower=True)
        right = np.asfortranarray(b)
        trtrs = getattr(sl.lapack, PREFIX[dtype] + "trtrs")
        x, info = trtrs(np.asfortranarray(a), right, lower=1, overwrite_b=1)
        assert x is right
        return str(caught.value), info, x.tobytes()

    expected = outcome()
    assert expected[1] == where + 1
    assert expected[2] == np.asfortranarray(b).tobytes()
    with numtrn.enabled(min_work=1, target="interpreter"):
        assert outcome() == expected


def test_a_zero_diagonal_that_is_not_read_is_no_matter(rng):
    a, b = triangular(rng, "float64", 40, 1, 1), random(rng, "float64", 40, 33)
    problem = triangular_problem(rng, "float64", 40, 33, 0, 1, 1, False, "F")
    problem.operands = {"a": LAYOUTS["F"](a - np.eye(40)), "b": LAYOUTS["F"](b)}
    problem.excess = solution(a, b)
    check(problem)


def test_trsm_by_a_singular_triangle_gives_scipys_infinities(rng):
    """TRSM does not look for zeros; their columns become infinite, or not a number."""
    a, b = np.asfortranarray(triangular(rng, "float64", 40, 1)), random(rng, "float64", 40, 33)
    a[20, 20] = 0
    same_but_for_rounding(lambda: dtrsm(1.0, a, b, lower=1))


# ---- scipy.linalg: Cholesky ----


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("layout", ["F", "C", "columns"])
def test_cholesky(rng, dtype, lower, overwrite, layout):
    full = positive(rng, dtype, 40)
    operands = {"a": LAYOUTS[layout](read_only_half(full, lower, imaginary=np.dtype(dtype).kind == "c"))}
    check(
        Problem(
            lapack("potrf", dtype),
            lambda a: cholesky(a, lower=lower, overwrite_a=overwrite, check_finite=False),
            operands,
            factors(full, lower),
            kept=half(40, lower),
            real_diagonal=np.dtype(dtype).kind == "c",
        )
    )


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("lower", [False, True])
def test_cho_factor_leaves_the_other_triangle(rng, dtype, lower):
    full = positive(rng, dtype, 129)
    stored = read_only_half(full, lower)
    check(
        Problem(
            lapack("potrf", dtype),
            lambda a: cho_factor(a, lower=lower, check_finite=False),
            {"a": LAYOUTS["F"](stored)},
            factors(full, lower),
            kept=half(129, lower),
        )
    )


@pytest.mark.parametrize("n", [31, 127, 128, 129, 300])
@pytest.mark.parametrize("lower", [False, True])
def test_cholesky_of_sizes(rng, n, lower):
    full = positive(rng, "float64", n)
    check(
        Problem(
            lapack("potrf", "float64"),
            lambda a: cholesky(a, lower=lower),
            {"a": LAYOUTS["C"](full)},
            factors(full, lower),
            kept=half(n, lower),
        )
    )


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("where", [0, 1, 20, 39])
@pytest.mark.parametrize("lower", [0, 1])
def test_not_positive_definite(rng, dtype, where, lower):
    """The same exception of SciPy, and the same info of LAPACK: the order of the first bad minor."""
    a = positive(rng, dtype, 40)
    a[where, where] = -a[where, where]

    def outcome():
        with pytest.raises(np.linalg.LinAlgError) as caught:
            cholesky(a, lower=bool(lower))
        _, info = getattr(sl.lapack, PREFIX[dtype] + "potrf")(a, lower=lower)
        return str(caught.value), info

    expected = outcome()
    assert expected[1] == where + 1
    with numtrn.enabled(min_work=1, target="interpreter"):
        assert outcome() == expected


def test_not_positive_definite_far_down(rng):
    a = positive(rng, "float64", 300)
    a[250, 250] = 0
    expected = dpotrf(a, lower=1)[1]
    assert expected == 251
    with numtrn.enabled(min_work=1, target="interpreter"):
        assert dpotrf(a, lower=1)[1] == expected
        with pytest.raises(np.linalg.LinAlgError, match="251-th leading minor"):
            cholesky(a)


def test_a_failed_factorisation_leaves_its_input(rng):
    a = np.asfortranarray(-positive(rng, "float64", 40))
    before = a.copy()
    with numtrn.enabled(min_work=1, target="interpreter"), pytest.raises(np.linalg.LinAlgError):
        cholesky(a)
    assert same_bits(a, before)


def test_check_finite(rng):
    stored = read_only_half(positive(rng, "float64", 40), 1)
    for call in (lambda: cholesky(stored, lower=True), lambda: solve_triangular(stored, stored, lower=True)):
        with pytest.raises(ValueError) as expected:
            call()
        with numtrn.enabled(min_work=1, target="interpreter"), pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == str(expected.value)


def test_stacks_of_matrices(rng):
    """SciPy from 1.15 on loops over leading axes; earlier ones refuse them."""
    stack = np.stack([positive(rng, "float64", 40) for _ in range(3)])
    try:
        expected = cholesky(stack, lower=True)
    except ValueError:
        pytest.skip("this SciPy takes no stacks")
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        result = cholesky(stack, lower=True)
    by_kernel(session, lapack("potrf", "float64"), times=3)
    assert (result.shape, result.strides) == (expected.shape, expected.strides)
    for a, c in zip(stack, result, strict=True):
        assert (factors(a, True)(c) <= 1).all()
        assert not np.triu(c, 1).any()


# ---- scipy.linalg: solves by factors ----


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("columns", [None, 1, 33])
@pytest.mark.parametrize("overwrite", [False, True])
def test_cho_solve(rng, dtype, lower, columns, overwrite):
    c, _ = cho_factor(positive(rng, dtype, 40), lower=lower)
    kept = np.tril(c) if lower else np.triu(c)
    left = kept if lower else kept.conj().T
    b = random(rng, dtype, *((40,) if columns is None else (40, columns)))
    check(
        Problem(
            lapack("potrs", dtype),
            lambda a, b: cho_solve((a, lower), b, overwrite_b=overwrite),
            {"a": LAYOUTS["F"](c), "b": vector(b) if columns is None else LAYOUTS["F"](b)},
            solution_of_two(left, left.conj().T, b),
            kernel=columns == 33,
        )
    )


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("trans", [0, 1, 2])
@pytest.mark.parametrize("columns", [None, 1, 33])
def test_lu_solve(rng, dtype, trans, columns):
    matrix = random(rng, dtype, 40, 40) + 8 * np.eye(40, dtype=dtype)[rng.permutation(40)]
    lu, pivots = lu_factor(matrix.astype(dtype))
    rows = np.arange(40)
    for i, pivot in enumerate(pivots):
        rows[[i, pivot]] = rows[[pivot, i]]
    left, right = np.empty_like(lu), np.triu(lu)
    left[rows] = np.tril(lu, -1) + np.eye(40, dtype=dtype)
    pair = (turned(right, trans), turned(left, trans)) if trans else (left, right)
    b = random(rng, dtype, *((40,) if columns is None else (40, columns)))
    check(
        Problem(
            lapack("getrs", dtype),
            lambda a, b: lu_solve((a, pivots), b, trans=trans),
            {"a": LAYOUTS["F"](lu), "b": vector(b) if columns is None else LAYOUTS["F"](b)},
            solution_of_two(*pair, b),
            kernel=columns == 33,
        )
    )


@pytest.mark.parametrize("n", [129, 300])
def test_lu_solve_of_sizes(rng, n):
    matrix = random(rng, "float64", n, n)
    lu, pivots = lu_factor(matrix)
    b = random(rng, "float64", n, 40)
    expected = lu_solve((lu, pivots), b)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        x = lu_solve((lu, pivots), b)
    by_kernel(session, lapack("getrs", "float64"))
    scale = np.abs(np.tril(lu, -1) + np.eye(n)) @ np.abs(np.triu(lu))
    rows = np.arange(n)
    for i, pivot in enumerate(pivots):
        rows[[i, pivot]] = rows[[pivot, i]]
    allowed = 3 * (n + 8) * unit("float64") * scale @ np.abs(x)  # of the factorisation too
    assert (np.abs(wide(matrix) @ wide(x) - wide(b))[rows] <= allowed).all()
    assert x.strides == expected.strides


# ---- NumPy's products of a matrix with itself ----

SELF_PRODUCTS = {
    "a @ a.T": (lambda a: a @ a.T, lambda a: (a, a.T)),
    "a.T @ a": (lambda a: a.T @ a, lambda a: (a.T, a)),
    "dot(a, a.T)": (lambda a: np.dot(a, a.T), lambda a: (a, a.T)),
    "dot(a.T, a)": (lambda a: np.dot(a.T, a), lambda a: (a.T, a)),
    "inner(a, a)": (lambda a: np.inner(a, a), lambda a: (a, a.T)),
    "matmul(a, a.T)": (lambda a: np.matmul(a, a.T), lambda a: (a, a.T)),
}


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(33, 40), (129, 64)])
@pytest.mark.parametrize("name", SELF_PRODUCTS)
def test_products_with_itself_are_symmetric(rng, dtype, order, shape, name):
    call, pair = SELF_PRODUCTS[name]
    a = np.asarray(random(rng, dtype, *shape), order=order)
    expected, before = call(a), a.copy()
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        result = call(a)
    assert [entry.route for entry in session.calls] == ["kernel"]
    assert (result.dtype, result.shape, result.strides) == (expected.dtype, expected.shape, expected.strides)
    assert same_bits(result, np.ascontiguousarray(result.T)), "not symmetric to the bit"
    assert (product([(1.0, *pair(a))], None, dtype)(result) <= 1).all()
    assert (product([(1.0, *pair(a))], None, dtype)(expected) <= 1).all()
    assert same_bits(a, before)


@pytest.mark.parametrize("out_order", ["C", "F"])
def test_products_with_itself_into_out(rng, out_order):
    a = random(rng, "float64", 129, 64)
    out = np.full((129, 129), np.nan, order=out_order)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        assert np.matmul(a, a.T, out=out) is out
    assert [entry.route for entry in session.calls] == ["kernel"]
    assert same_bits(out, np.ascontiguousarray(out.T))
    assert (product([(1.0, a, a.T)], None, "float64")(out) <= 1).all()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("rowvar", [False, True])
def test_cov(rng, dtype, rowvar):
    a = random(rng, dtype, 40, 64)
    expected = np.cov(a, rowvar=rowvar)
    with numtrn.enabled(min_work=1, target="interpreter") as session:
        result = np.cov(a, rowvar=rowvar)
    assert [entry.route for entry in session.calls] == ["kernel"]
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-13)
    if dtype == "float64":
        assert same_bits(result, np.ascontiguousarray(result.T)), "not symmetric to the bit"
    else:  # X X^H is a GEMM: NumPy's own is Hermitian to rounding
        np.testing.assert_allclose(result, result.conj().T, rtol=1e-12, atol=1e-13)


# ---- Values that are not finite ----


def same_but_for_rounding(call):
    """Inside a block as outside, NaN and infinities in the same places."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        expected = call()
        with numtrn.enabled(min_work=1, target="interpreter"):
            result = call()
    if not isinstance(expected, tuple):
        expected, result = (expected,), (result,)
    for mine, scipys in zip(result, expected, strict=True):
        if not isinstance(scipys, np.ndarray):
            assert mine == scipys
            continue
        assert (mine.dtype, mine.strides) == (scipys.dtype, scipys.strides)
        close = 1e-3 if scipys.dtype.char in "fF" else 1e-11
        with np.errstate(invalid="ignore"):  # NumPy 1 multiplies infinities while it compares
            np.testing.assert_allclose(mine, scipys, rtol=close, atol=close, equal_nan=True)


SPECIAL = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf}
NOT_FINITE = [
    Case(routine, prefix, (40,) if routine == "potrf" else (40, 33, 35)[: 3 if routine == "gemm" else 2])
    for routine in ("gemm", "symm", "syrk", "syr2k", "trmm", "trsm", "trtrs", "potrs", "getrs", "potrf")
    for prefix in "sdz"
]


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("case", NOT_FINITE, ids=str)
@pytest.mark.parametrize("operand", ["first", "last"])
def test_values_that_are_not_finite(case, special, operand):
    problem = draw(case)
    operands = list(problem.operands.values())
    operands[0 if operand == "first" else -1].array[2, 5] = SPECIAL[special]
    same_but_for_rounding(lambda: run_once(problem))


def run_once(problem):
    """Outcome of a call; potrf's factor only where it succeeds, as it says nothing beyond its info."""
    result = run(problem)
    assert result.error is None
    if problem.function.endswith("potrf") and result.outcome[1] > 0:
        return (result.outcome[1],)
    return result.outcome


@pytest.mark.parametrize("prefix", "sd")
@pytest.mark.parametrize("beta", [1.0, 0.7])
@pytest.mark.parametrize("routine", ["gemm", "symm", "syrk", "syr2k"])
def test_c_that_is_not_finite(routine, beta, prefix):
    case = Case(routine, prefix, (40, 33, 35)[: 3 if routine == "gemm" else 2], beta=beta)
    problem = draw(case)
    problem.operands["c"].array[2, 5] = np.inf
    problem.operands["c"].array[3, 7] = np.nan
    same_but_for_rounding(lambda: run(problem).outcome)


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e-310])
@pytest.mark.parametrize("routine", ["gemm", "syrk", "trmm", "trsm", "trtrs"])
def test_ends_of_the_range(routine, scale):
    """Products overflow and underflow where SciPy's do; subnormal operands count."""
    problem = draw(Case(routine, "d", (40, 33, 35)[: 3 if routine == "gemm" else 2]))
    for operand in problem.operands.values():
        operand.array[...] *= scale if routine in ("gemm", "syrk", "trmm") else 1
    if routine in ("trsm", "trtrs"):
        problem.operands["b"].array[...] *= scale
    with np.errstate(all="ignore"):
        expected = run(problem).outcome[0]
        with numtrn.enabled(min_work=1, target="interpreter"):
            result = run(problem).outcome[0]
    assert np.array_equal(np.isnan(result), np.isnan(expected))
    finite = np.isfinite(expected)
    assert np.array_equal(result[~finite], expected[~finite], equal_nan=True)
    # Subnormal numbers have few digits: an absolute error of some hundred of the least one stands for them.
    allowed = 1e-11 * np.abs(expected[finite]).max(initial=0) + 200 * 5e-324
    assert (np.abs(result[finite] - expected[finite]) <= allowed).all()


# ---- Nothing to compute ----

EMPTY = {
    "gemm": ((0, 3, 4), (3, 0, 4), (3, 4, 0)),
    "symm": ((0, 3), (3, 0)),
    "hemm": ((0, 3), (3, 0)),
    "syrk": ((0, 3), (3, 0)),
    "herk": ((0, 3), (3, 0)),
    "syr2k": ((0, 3), (3, 0)),
    "her2k": ((0, 3), (3, 0)),
    "trmm": ((0, 3), (3, 0)),
    "trsm": ((0, 3), (3, 0)),
    "trtrs": ((0, 3), (3, 0)),
    "potrs": ((0, 3), (3, 0)),
    "getrs": ((0, 3), (3, 0)),
    "potrf": ((0,),),
}


@pytest.mark.parametrize("prefix", "sz")
@pytest.mark.parametrize(
    ("routine", "shape"), [(routine, shape) for routine, shapes in EMPTY.items() for shape in shapes]
)
def test_empty(routine, shape, prefix):
    if routine[:2] == "he" and prefix == "s":
        routine = {"hemm": "symm", "herk": "syrk", "her2k": "syr2k"}[routine]
    problem = draw(Case(routine, prefix, shape))
    plain = run(problem)
    with numtrn.enabled(min_work=1, target="interpreter"):
        ours = run(problem)
    assert type(ours.error) is type(plain.error)
    if plain.error is None:
        same_place(ours, plain)
        assert same_bits(ours.outcome[0], plain.outcome[0])
        assert ours.outcome[1:] == plain.outcome[1:]


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_empty_in_scipys_functions(dtype):
    square, tall, wide_ = np.zeros((0, 0), dtype), np.zeros((0, 3), dtype), np.zeros((40, 0), dtype)
    eye = np.eye(40, dtype=dtype)
    calls = [
        lambda: cholesky(square),
        lambda: cho_factor(square)[0],
        lambda: solve_triangular(square, tall),
        lambda: solve_triangular(eye, wide_),
        lambda: cho_solve((eye, True), wide_),
        lambda: lu_solve((eye, np.arange(40)), wide_),
        lambda: tall @ tall.T,
        lambda: tall.T @ tall,
        lambda: wide_ @ wide_.T,
    ]
    for call in calls:
        expected = value_or_error(call)
        with numtrn.enabled(min_work=1, target="interpreter"):
            result = value_or_error(call)
        if isinstance(expected, np.ndarray):
            assert same_bits(result, expected)
        else:
            assert result == expected


def value_or_error(call):
    """Earlier versions of SciPy refuse some empty matrices."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


# ---- What SciPy refuses ----

REFUSED = {
    "an oblong triangle": lambda a: dtrsm(1.0, a[:, :30], a),
    "C of another height": lambda a: sl.blas.dgemm(1.0, a, a, beta=1.0, c=a[:30]),
    "not square": lambda a: dpotrf(a[:, :30]),
    "trans 3": lambda a: sl.blas.dtrmm(1.0, a, a, trans_a=3),
    "C of another shape": lambda a: sl.blas.dsymm(1.0, a, a, beta=1.0, c=a[:, :30]),
    "oblong operands": lambda a: sl.blas.dsyr2k(1.0, a, a[:, :30]),
    "pivots": lambda a: sl.lapack.dgetrs(a, np.arange(30), a),
    "of solve_triangular": lambda a: solve_triangular(a[:, :30], a),
    "heights of solve_triangular": lambda a: solve_triangular(a, a[:30]),
    "of cholesky": lambda a: cholesky(a[:, :30]),
    "of cho_solve": lambda a: cho_solve((a, True), a[:30]),
    "of lu_solve": lambda a: lu_solve((a, np.arange(40)), a[:30]),
}


def test_what_lapack_itself_refuses(rng):
    """B with fewer rows than A gets past f2py: LAPACK says so on standard error, and in its info."""
    a = np.asfortranarray(positive(rng, "float64", 40))
    expected = dtrtrs(a, a[:30])
    assert expected[1] < 0
    with numtrn.enabled(min_work=1, target="interpreter"):
        x, info = dtrtrs(a, a[:30])
    assert info == expected[1]
    assert same_bits(x, expected[0])


@pytest.mark.parametrize("name", REFUSED)
def test_what_scipy_refuses_is_refused_alike(rng, name):
    a = np.asfortranarray(positive(rng, "float64", 40))
    before = a.copy()

    def outcome():
        with pytest.raises(Exception) as caught:
            REFUSED[name](a)
        return type(caught.value), str(caught.value)

    expected = outcome()
    with numtrn.enabled(min_work=1, target="interpreter"):
        assert outcome() == expected
    assert same_bits(a, before)


def test_pivots_out_of_range_are_lapacks(rng):
    """Its interchanges then reach beyond B: the call is only noted."""
    lu = np.asfortranarray(positive(rng, "float64", 40))
    columns = np.asfortranarray(rng.standard_normal((40, 3)))
    pivots = np.arange(40, dtype=np.int32) + 1
    info = np.zeros(1, np.int32)
    stored = Stored("scipy.linalg.lapack.dgetrs", "float64")
    addresses = (lu.ctypes.data, 40, pivots.ctypes.data, columns.ctypes.data, 40, info.ctypes.data)
    solves.getrs(None, stored, "N", 40, 3, *addresses)
    for wrong in (0, 41):
        pivots[7] = wrong
        with pytest.raises(IllegalArgumentError, match="pivot outside 1 to 40"):
            solves.getrs(None, stored, "N", 40, 3, *addresses)
