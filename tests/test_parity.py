"""What a hostile but honest user met: results, flags and errors inside a block are NumPy's and SciPy's."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.linalg.blas as blas

import numtrn

rng = np.random.default_rng(0)
A = np.asfortranarray(rng.standard_normal((6, 6)))


def block(**settings):
    return numtrn.enabled(
        **{"target": "interpreter", "min_work": 0, "strict": True, "verify": True, **settings}
    )


def same(got, expected):
    assert type(got) is type(expected)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(got[finite], expected[finite], rtol=1e-12, atol=1e-12)


# ---- BLAS flags at their edges ----


def infinite(dtype):
    return np.asfortranarray(np.full((6, 6), np.inf, dtype))


EDGES = {
    "complex beta of one, infinite c": lambda: blas.zgemm(1, A + 0j, A + 0j, beta=1, c=infinite(complex)),
    "complex syrk with trans=2": lambda: blas.zsyrk(
        1, A + 1j * A, trans=2, beta=1, c=np.ones((6, 6), complex)
    ),
    "alpha that overflows": lambda: blas.dgemm(1e300, A * 1e10, A),
    "beta that overflows": lambda: blas.dgemm(1.0, A, A, beta=1e300, c=A * 1e30),
    "alpha of zero": lambda: blas.dgemm(0.0, infinite(float), A, beta=2.0, c=A),
    "beta of zero, nan in c": lambda: blas.dgemm(1.0, A, A, beta=0.0, c=A * np.nan),
}


@pytest.mark.parametrize("case", EDGES)
@pytest.mark.parametrize("settings", [{}, {"all": "raise"}, {"all": "warn"}])
def test_blas_at_the_edges_is_scipys(case, settings, capfd):
    expected = EDGES[case]()
    with warnings.catch_warnings(), np.errstate(**settings), block():
        warnings.simplefilter("error")
        got = EDGES[case]()
    same(got, expected)


SPECIAL = {
    "nan": lambda x: np.where(x > 1, np.nan, x),
    "inf": lambda x: np.where(x > 1, np.inf, x),
    "overflow": lambda x: x * 1e200,
    "subnormal": lambda x: x * 1e-310,
    "underflow": lambda x: x * 1e-200,
    "negative zero": lambda x: x * -0.0,
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_special_values_and_their_warnings_are_numpys(kind, dtype):
    with np.errstate(all="ignore"):
        x = SPECIAL[kind](rng.standard_normal((20, 20))).astype(dtype)
    outcomes = []
    for inside in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if inside:
                with block():
                    value = x @ x
            else:
                value = x @ x
        outcomes.append((value, sorted(str(w.message) for w in caught)))
    (expected, said), (got, said_inside) = outcomes
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
    tolerance = 1e-4 if dtype in ("float32", "complex64") else 1e-12
    finite = np.isfinite(expected)
    np.testing.assert_allclose(got[finite], expected[finite], rtol=tolerance, atol=1e-320)
    assert said_inside == said


# ---- The account ----


def test_products_that_numpy_computed_count_against_the_kernels():
    a = rng.random((64, 64))
    with block() as session:
        a @ a
        np.einsum("ij,jk", a, a, dtype="g")
        a.astype("i8") @ a.astype("i8")
        a.astype("f2") @ a.astype("f2")
    assert session.counts["kernel"] == 1
    assert session.kernel_share == 0.25


def test_a_call_that_raises_leaves_its_record(monkeypatch):
    from numtrn.targets.interpreter import Interpreter

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Interpreter, "launch", interrupted)
    with block() as session, pytest.raises(KeyboardInterrupt):
        A @ A
    assert session.counts["failed"] == 1
    assert "KeyboardInterrupt" in session.calls[0].reason


def test_sessions_copy_and_pickle():
    with block() as session:
        A @ A
        for other in (copy.deepcopy(session), pickle.loads(pickle.dumps(session))):
            assert other.calls == session.calls
            assert str(other) == str(session)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("k", [8, 300])
def test_verify_finds_ten_times_the_bound(monkeypatch, dtype, k):
    from numtrn import dispatch

    genuine = dispatch.launch

    def launch(plan, operands, *given):
        outcome = genuine(plan, operands, *given)
        a, b = (np.abs(x[0]) for x in operands.inputs)
        outcome.value[0, 1, 2] += 10 * outcome.bound * plan.scheme.unit * (a @ b)[1, 2]
        return outcome

    a, b = rng.random((5, k)).astype(dtype), rng.random((k, 4)).astype(dtype)
    with block():
        a @ b
    monkeypatch.setattr(dispatch, "launch", launch)
    with block(), pytest.raises(numtrn.VerificationError, match=r"1 of 20 elements.*\(0, 1, 2\)"):
        a @ b


# ---- Errors pass without harm ----


def test_an_error_inside_a_handler_leaves_the_users_frames_alone(monkeypatch):
    from numtrn.targets.interpreter import Interpreter

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Interpreter, "launch", interrupted)

    def generate():
        try:
            raise ValueError
        except ValueError as error:
            yield error
        yield "alive"

    generator = generate()
    error = next(generator)
    try:
        raise error
    except ValueError:
        with block(), pytest.raises(KeyboardInterrupt):
            A @ A
    assert next(generator) == "alive"


def test_no_piece_is_computed_after_one_has_raised(monkeypatch):
    from numtrn.targets.interpreter import Interpreter

    genuine, launches = Interpreter.launch, []

    def second_fails(self, kernel, arrays, parameters):
        launches.append(kernel)
        if len(launches) > 1:
            raise KeyboardInterrupt
        return genuine(self, kernel, arrays, parameters)

    monkeypatch.setattr(Interpreter, "launch", second_fails)
    a, b = rng.standard_normal((3, 1, 8, 8)), rng.standard_normal((2, 8, 8))  # several loops of matmul
    out = np.full((3, 2, 8, 8), 7.0)
    with block(verify=False), pytest.raises(KeyboardInterrupt):
        np.matmul(a, b, out=out)
    assert len(launches) == 2
    assert (out == 7).all(axis=(2, 3)).sum() >= 4


@pytest.mark.parametrize("function", ["coroutine", "generator"])
def test_decorating_what_runs_later_is_an_error(function):
    async def coroutine():
        pass

    def generator():
        yield

    with pytest.raises(TypeError, match="whose body runs after the call"):
        numtrn.enabled()(locals()[function])


def test_leaving_before_entering_is_an_error():
    with pytest.raises(RuntimeError, match="is not open"):
        numtrn.enabled().__exit__(None, None, None)


def test_labels_of_any_iterable_are_numpys():
    expected = np.einsum(A, [0, 1], A, [1, 2])
    with block():
        np.testing.assert_allclose(np.einsum(A, iter([0, 1]), A, iter([1, 2])), expected)


def test_a_strange_keyword_is_numpys_error():
    class Strange:
        def __repr__(self):
            raise ZeroDivisionError

    with block(), pytest.raises(TypeError, match="foo"):
        np.einsum("ij,jk", A, A, foo=Strange())


# ---- numtrn arrays ----


def test_arrays_have_numpys_truth():
    assert not numtrn.asarray(np.array([0.0]))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(numtrn.asarray(np.zeros(2)))
    assert [0, 1, 2][numtrn.asarray(np.array(2))] == 2
    assert f"{numtrn.asarray(np.array(1.5)):.2f}" == "1.50"
    x = numtrn.asarray(np.zeros(2))
    copy.copy(x)[0] = 5
    assert float(x[0]) == 0


def test_two_outputs_of_which_one_is_given():
    x, out = numtrn.asarray(np.array([1.5, 2.25])), np.empty(2)
    fraction, whole = np.modf(x, out=(out, None))
    assert fraction is out
    np.testing.assert_array_equal(np.asarray(whole), [1, 2])


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.tensordot(x, x, axes=np.int64(1)),
        lambda x: np.tensordot(x, x, axes=([0], [7])),
        lambda x: np.tensordot(x, x[:3], axes=1),
        lambda x: np.matmul(x, x[:3]),
        lambda x: np.dot(x, x[:3]),
        lambda x: np.einsum("ij,jk->ik", x, x[:3]),
        lambda x: np.einsum("ij,jk->iz", x, x),
    ],
)
def test_wrong_calls_of_arrays_fail_as_numpys_do(call):
    def outcome(x):
        try:
            return np.asarray(call(x)).shape
        except Exception as error:
            return type(error), str(error)

    with block():
        assert outcome(numtrn.asarray(A)) == outcome(np.array(A))


def test_arrays_in_another_thread_are_numpys():
    import asyncio

    x = numtrn.asarray(A)

    async def main():
        with block() as session:
            await asyncio.to_thread(lambda: x @ x)
        return session

    assert asyncio.run(main()).calls == ()


# ---- explain agrees with what happens ----


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (np.dot, (np.ones((1, 50)), np.ones((50, 50))), {}),
        (np.dot, (np.ones((50, 50)), np.ones((50, 1))), {}),
        (np.dot, (np.ones((1, 1)), np.ones((1, 50))), {}),
        (np.dot, (np.ones((50, 1)), np.ones((1, 50))), {}),
        (np.dot, (np.ones((50, 50)), np.ones((50, 50))), {}),
        (np.einsum, ("ij,jk", np.ones((50, 50), int), np.ones((50, 50))), {}),
        (np.einsum, ("ij,jk", np.ones((50, 50)), np.ones((50, 50))), {"order": "F"}),
        (np.einsum, ("ij,jk", np.ones((50, 50)), np.ones((50, 50))), {"order": "K"}),
    ],
)
def test_explain_says_what_happens(function, args, kwargs):
    with block() as session:
        explained = numtrn.explain(function, *args, **kwargs)
        function(*args, **kwargs)
    assert isinstance(explained, numtrn.Plan) == (session.counts["kernel"] == 1)


def test_explain_names_the_function_in_its_errors():
    assert isinstance(numtrn.explain(np.dot, a=np.ones((9, 9)), b=np.ones((9, 9))), numtrn.Refusal)
    for call in (
        lambda: numtrn.explain(np.matmul),
        lambda: numtrn.explain(blas.dgemm, 1, 2, 3),
        lambda: numtrn.explain(blas.dsyrk, 1, np.ones(3)),
    ):
        with pytest.raises((TypeError, ValueError), match=r"matmul|dgemm|dsyrk"):
            call()
