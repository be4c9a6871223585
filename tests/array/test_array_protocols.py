"""NEP 13 and NEP 18: whose call it is when numtrn arrays meet other arrays; no masks are lost silently."""

import operator

import numpy as np
import pytest

import numtrn

DATA = np.array([[1.0, 2.0], [3.0, 4.0]])
OPERATORS = (operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod)
OPERATORS += (operator.pow, operator.matmul, operator.lt, operator.eq, operator.ne, divmod)


@pytest.fixture
def x():
    return numtrn.asarray(DATA.copy())


class Wrapper:
    """Another library's array: both protocols, and a record of what it was asked."""

    def __init__(self, answer="wrapper"):
        self.answer = answer
        self.asked = []

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        self.asked.append((ufunc, method, inputs, kwargs))
        return self.answer

    def __array_function__(self, function, types, args, kwargs):
        self.asked.append((function, set(types), args, kwargs))
        return self.answer

    def __add__(self, other):
        return np.add(self, other)

    def __radd__(self, other):
        return np.add(other, self)


class Refuses(Wrapper):
    def __init__(self):
        super().__init__(NotImplemented)


# ---- Functions (NEP 18) ----


def test_another_array_gets_its_turn_wherever_it_stands(x):
    for place in (0, 1):
        other = Wrapper()
        arrays = [x, other] if place else [other, x]
        assert np.concatenate(arrays) == "wrapper"
        ((function, types, args, kwargs),) = other.asked
        assert function is np.concatenate
        assert types == {numtrn.Array, Wrapper}
        assert args[0][place] is other
        assert args[0][1 - place] is x
        assert kwargs == {}


def test_where_all_refuse_numpy_raises(x):
    other = Refuses()
    with pytest.raises(TypeError, match="no implementation found"):
        np.concatenate([x, other])
    assert len(other.asked) == 1
    with pytest.raises(TypeError, match="all returned NotImplemented"):
        np.add(x, other)
    assert len(other.asked) == 2


def test_ndarrays_and_scalars_are_ours_to_compute_with(x):
    got = np.concatenate([DATA, x])
    assert isinstance(got, numtrn.Array)
    assert np.array_equal(np.asarray(got), np.concatenate([DATA, DATA]))
    assert isinstance(np.where(x > 2, 0.0, [[1, 2], [3, 4]]), numtrn.Array)


class Special(numtrn.Array):
    """A subclass that answers for itself."""

    def __array_function__(self, function, types, args, kwargs):
        return "special"

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return "special"


class Quiet(numtrn.Array):
    """A subclass that overrides nothing."""


def test_a_subclass_is_asked_before_us(x):
    special = Special(DATA)
    assert np.concatenate([x, special]) == "special"
    assert np.add(x, special) == "special"
    assert x + special == "special"
    assert special + x == "special"
    assert x // special == "special"


def test_a_subclass_that_overrides_nothing_computes_as_we_do(x):
    quiet = Quiet(DATA)
    for got in (np.concatenate([x, quiet]), np.concatenate([quiet, x])):
        assert np.array_equal(np.asarray(got), np.concatenate([DATA, DATA]))
    assert np.array_equal(np.asarray(quiet + x), 2 * DATA)
    assert np.array_equal(np.asarray(quiet // x), DATA // DATA)


def test_a_subclass_may_ask_us():
    class Counts(numtrn.Array):
        calls = 0

        def __array_function__(self, function, types, args, kwargs):
            Counts.calls += 1
            return super().__array_function__(function, types, args, kwargs)

    assert float(np.sum(Counts(DATA))) == 10
    assert Counts.calls == 1


# ---- Ufuncs (NEP 13) ----


def test_ufuncs_are_left_to_other_arrays(x):
    for inputs in ((x, Wrapper()), (Wrapper(), x)):
        assert np.add(*inputs) == "wrapper"
    other = Wrapper()
    assert np.multiply.outer(x, other) == "wrapper"
    assert other.asked[0][1] == "outer"
    assert other.asked[0][2][0] is x


def test_an_out_of_another_library_is_its_affair(x):
    other = Wrapper()
    assert np.add(x, 1, out=other) == "wrapper"
    assert other.asked[0][3] == {"out": (other,)}
    assert np.sum(x, out=other) == "wrapper"


@pytest.mark.parametrize("call", OPERATORS, ids=lambda f: f.__name__)
def test_operators_reach_other_arrays(call, x):
    assert call(x, Wrapper()) == "wrapper" or call is divmod


def test_operators_of_others_on_the_left_are_theirs(x):
    other = Wrapper()
    assert other + x == "wrapper"
    assert other.asked[0][2] == (other, x)


class NoUfuncs:
    """Declares that ufuncs are not for it."""

    __array_ufunc__ = None

    def _answer(self, *_):
        return "no ufuncs"

    __radd__ = __rsub__ = __rmul__ = __rmatmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = _answer
    __rpow__ = __rdivmod__ = __eq__ = __ne__ = __gt__ = __add__ = _answer


class Priority:
    """Of before NEP 13: no ufuncs, a priority, reflected operators; as scipy.sparse matrices."""

    __array_priority__ = 10.1

    def __radd__(self, other):
        return "priority"


@pytest.mark.parametrize("call", OPERATORS, ids=lambda f: f.__name__)
def test_operators_defer_to_what_disables_ufuncs(call, x):
    assert call(x, NoUfuncs()) == "no ufuncs"
    assert NoUfuncs() + x == "no ufuncs"
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.add(x, NoUfuncs())


def test_in_place_operators_defer_too(x):
    x += NoUfuncs()
    assert x == "no ufuncs"


def test_operators_defer_to_a_higher_priority_than_ndarrays(x):
    assert x + Priority() == "priority"
    with pytest.raises(TypeError):
        x * Priority()


# ---- Subclasses of ndarray ----

MASKED = np.ma.array(DATA, mask=[[0, 1], [0, 0]])


def test_masks_are_not_lost(x):
    for call in (
        lambda: np.add(x, MASKED),
        lambda: np.add(MASKED, x),
        lambda: np.concatenate([x, MASKED]),
        lambda: np.sum(MASKED, out=x),
        lambda: np.where(MASKED > 1, x, 0),
        lambda: numtrn.asarray(MASKED),
    ):
        with pytest.raises(TypeError):
            call()
    for got in (x + MASKED, MASKED + x, x * MASKED):
        assert isinstance(got, np.ma.MaskedArray)
        assert got.mask.tolist() == MASKED.mask.tolist()


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_matrices_are_not_taken_for_arrays(x):
    matrix = np.matrix(DATA)
    for call in (lambda: x * matrix, lambda: np.add(x, matrix), lambda: np.concatenate([x, matrix])):
        with pytest.raises(TypeError):
            call()


def test_memory_maps_and_bare_subclasses_are_ndarrays(x, tmp_path):
    class Bare(np.ndarray):
        pass

    mapped = np.memmap(tmp_path / "data", float, "w+", shape=(2, 2))
    for other in (mapped, np.zeros((2, 2)).view(Bare)):
        got = np.add(x, other)
        assert type(got) is numtrn.Array
        assert np.array_equal(np.asarray(got), DATA)
        assert isinstance(np.concatenate([x, other]), numtrn.Array)


# ---- ndarrays and NumPy's scalars on either side ----


@pytest.mark.parametrize("call", [f for f in OPERATORS if f is not operator.matmul], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "other", [DATA + 1, np.float64(2), np.float32(2), 3, 2.5, True, [[1, 2], [3, 4]]], ids=repr
)
def test_operators_with_arrays_and_scalars_on_both_sides(call, other, x):
    for got, expected in ((call(x, other), call(DATA, other)), (call(other, x), call(other, DATA))):
        pairs = zip(got, expected, strict=True) if call is divmod else ((got, expected),)
        for one, numpys in pairs:
            assert type(one) is numtrn.Array
            assert one.dtype == numpys.dtype
            np.testing.assert_array_equal(np.asarray(one), numpys)


def test_comparison_with_what_has_no_ufunc_is_numpys(x):
    for other in ("a", None, object()):
        assert (np.asarray(x == other) == operator.eq(DATA, other)).all()
        assert (np.asarray(x != other) == operator.ne(DATA, other)).all()
    with pytest.raises(TypeError):
        operator.lt(x, "a")
    with pytest.raises(ValueError):
        operator.eq(x, np.ones(3))


def test_a_list_of_arrays_is_coerced(x):
    got = np.asarray([x, x])
    assert type(got) is np.ndarray
    assert np.array_equal(got, [DATA, DATA])
    assert numtrn.asarray([x[0, 0], x[0, 1]]).tolist() == [1.0, 2.0]


def test_creation_like_ours_gives_ours(x):
    for got in (np.asarray([1, 2], like=x), np.zeros((2,), like=x), np.arange(3, like=x)):
        assert type(got) is numtrn.Array


def test_objects_made_by_frompyfunc_dispatch(x):
    got = np.frompyfunc(lambda p, q: p + q, 2, 1)(x, 1)
    assert isinstance(got, numtrn.Array)
    assert got.tolist() == (DATA + 1).tolist()


# ---- Kernels ----


def test_functions_inside_a_block_reach_kernels_once(x):
    a = numtrn.asarray(np.ones((64, 64)))
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        results = [a @ a, np.dot(a, a), np.linalg.multi_dot([a, a]), np.tensordot(a, a, 1), a.dot(a)]
    assert session.counts["kernel"] == 5
    assert all(isinstance(got, numtrn.Array) and float(got[0, 0]) == 64 for got in results)
