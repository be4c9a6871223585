"""What einsum returns inside a block is what it returns outside: value, layout, type, errors."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import numtrn
from numtrn.request import Contraction

LABELS = "abcde"
ORDERS = ("C", "F", "reversed", "permuted")


def arranged(rng, shape, order, dtype):
    """An array of a shape in one of several memory layouts."""
    values = np.asarray(rng.integers(-3, 4, shape)).astype(dtype)
    if order == "F":
        return np.asfortranarray(values)
    if order == "reversed":
        return values[(..., *(slice(None, None, -1) for _ in shape))]
    if order == "permuted" and len(shape) > 1:
        axes = rng.permutation(len(shape))
        return np.ascontiguousarray(values.transpose(axes)).transpose(np.argsort(axes))
    return values


@st.composite
def contractions(draw):
    """Subscripts, operands and output order of a valid einsum."""
    terms = draw(st.lists(st.text(LABELS, max_size=4), min_size=2, max_size=3))
    used = sorted(set("".join(terms)))
    output = draw(
        st.permutations(used).flatmap(lambda order: st.integers(0, len(order)).map(lambda n: order[:n]))
    )
    extents = {label: draw(st.integers(1, 4)) for label in LABELS}
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    operands = []
    for term in terms:
        ones = (
            draw(st.sets(st.sampled_from(sorted(set(term)) or ["-"]), max_size=1))
            if draw(st.booleans())
            else set()
        )
        shape = tuple(1 if label in ones else extents[label] for label in term)
        order, dtype = draw(st.sampled_from(ORDERS)), draw(st.sampled_from("fdFD"))
        operands.append(arranged(rng, shape, order, dtype))
    implicit = draw(st.booleans())
    return ",".join(terms) + ("" if implicit else "->" + "".join(output)), operands


def outcome(function):
    try:
        return function(), None
    except Exception as error:
        return None, (type(error), str(error))


def same(result, reference, steps=False):
    """Equal in all that a caller sees; who owns the memory differs where NumPy computes in steps."""
    assert type(result) is type(reference)
    np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-5)
    if isinstance(reference, np.ndarray):
        assert result.dtype == reference.dtype
        assert result.strides == reference.strides
        assert result.flags.writeable == reference.flags.writeable
        assert steps or result.flags.owndata == reference.flags.owndata


SETTINGS = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@SETTINGS
@given(contractions())
def test_layout_dtype_and_errors_are_numpys(spy, contraction):
    subscripts, operands = contraction
    reference, error = outcome(lambda: np.einsum(subscripts, *operands))
    (result, caught_error), requests = spy.inside(lambda: outcome(lambda: np.einsum(subscripts, *operands)))
    assert caught_error == error
    if error is None:
        same(result, reference)
        assert len(requests) == 1


@settings(SETTINGS, max_examples=100)
@given(contractions())
def test_integer_lists_are_the_same(spy, contraction):
    subscripts, operands = contraction
    inputs, arrow, output = subscripts.partition("->")
    number = {label: 7 * position for position, label in enumerate(LABELS)}
    lists = [[number[label] for label in term] for term in inputs.split(",")]
    args = [part for pair in zip(operands, lists, strict=True) for part in pair]
    if arrow:
        args.append([number[label] for label in output])
    reference, error = outcome(lambda: np.einsum(*args))
    (result, caught_error), requests = spy.inside(lambda: outcome(lambda: np.einsum(*args)))
    assert caught_error == error
    if error is None:
        same(result, reference)
        assert len(requests) == 1


a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
T = np.arange(24.0).reshape(2, 3, 4)
WRONG = [
    ("ij,jk->il", a, b),
    ("ij,jk->ii", a, b),
    ("ij,kj->ik", a, b),
    ("ijk,jk->i", a, b),
    ("ij,jk->ik->", a, b),
    ("ij,jk-ik", a, b),
    ("i.j,jk->ik", a, b),
    ("...ij,jk->ik", T, np.ones((4, 2))),
    ("...ij,...jk->k", T, T.transpose(0, 2, 1)),
    ("ij,jk", a),
    ("ij,jk", a, b, b),
    ("ié,éj", a, b),
    ("i1,1j", a, b),
    (a, [0, 1], b, [1, 52]),
    (a, [0, -1], b, [-1, 2]),
    (a, [0, 1.0], b, [1, 2]),
    (a, [0, True], b, [1, 2]),
    (a, (0, np.int8(1)), b, (np.int64(1), 2)),
    (a, np.array([0, 1]), b, [1, 2]),
    (a, "ij", b, "jk"),
    (a, [0, 1], b),
    (a, 0, b, 1),
    (T, [..., 0, 1], b.T, [1, 2], [0, 2]),
]


@pytest.mark.parametrize(
    "args", WRONG, ids=lambda args: str([x for x in args if not isinstance(x, np.ndarray)])
)
def test_wrong_calls_are_refused_in_numpys_words(spy, args):
    reference, error = outcome(lambda: np.einsum(*args))
    (result, caught_error), _ = spy.inside(lambda: outcome(lambda: np.einsum(*args)))
    assert caught_error == error
    if error is None:
        same(result, reference)


RIGHT = [
    ("...j,jk->...k", T.transpose(0, 2, 1), b),
    ("j...,jk->k...", T.transpose(1, 0, 2), b),
    ("...,...", T, T),
    (",ij", np.array(2.0), a),
    ("ii,ij->j", np.ones((2, 2)), a),
    ("Aj,jb", a, b),
    ("ij , jk -> ki", a, b),
    ("ij,jk->ki", np.asfortranarray(a), b),
    ("ij,jk->ki", a[::-1], b[:, ::-1]),
    ("ij,jk", a.view(np.recarray), b),
    ("ij,jk", np.ma.array(a), b),
    ("ij,jk", a.astype(">f8"), b),
    ("ij,jk", a.astype(int), b.astype(int)),
    ("i,i", np.ones(3, object), np.ones(3, object)),
]


@pytest.mark.parametrize(
    "args", RIGHT, ids=lambda args: str([x for x in args if not isinstance(x, np.ndarray)])
)
def test_unusual_forms(spy, args):
    reference = np.einsum(*args)
    result, _ = spy.inside(lambda: np.einsum(*args))
    if args[1].dtype == object:
        assert result == reference
    else:
        same(result, reference)


OUTS = {
    "same": lambda: np.ones((2, 4)),
    "Fortran": lambda: np.ones((2, 4), order="F"),
    "strided": lambda: np.ones((4, 8))[::2, ::2],
    "complex": lambda: np.ones((2, 4), complex),
    "float32": lambda: np.ones((2, 4), "f"),
    "broadcast": lambda: np.ones((1, 4)),
    "wrong shape": lambda: np.ones((3, 4)),
    "too many axes": lambda: np.ones((1, 2, 4)),
    "list": lambda: [[1.0] * 4] * 2,
}


@pytest.mark.parametrize("name", OUTS)
def test_out(spy, name):
    def call(out):
        result = np.einsum("ij,jk->ik", a, b, out=out)
        assert result is out
        return result

    reference, error = outcome(lambda: call(OUTS[name]()))
    (result, caught_error), _ = spy.inside(lambda: outcome(lambda: call(OUTS[name]())))
    assert caught_error == error
    if error is None:
        same(result, reference)


def test_out_may_overlap_an_operand(spy):
    square = np.arange(9.0).reshape(3, 3)
    expected = square @ square
    spy.inside(lambda: np.einsum("ij,jk->ik", square, square, out=square))
    np.testing.assert_array_equal(square, expected)


KEYWORDS = [
    {"order": "F"},
    {"order": "c"},
    {"order": "A"},
    {"order": None},
    {"order": "Z"},
    {"casting": "unsafe"},
    {"casting": "no"},
    {"casting": "strange"},
    {"dtype": complex},
    {"dtype": "float32"},
    {"dtype": "float32", "casting": "same_kind"},
    {"dtype": "float32", "casting": "unsafe", "order": "F"},
    {"dtype": ">f8"},
    {"dtype": int, "casting": "unsafe"},
    {"dtype": "no dtype"},
    {"out": np.zeros((2, 4), "f"), "casting": "same_kind"},
    {"out": np.zeros((2, 4), complex), "casting": "same_kind"},
    {"out": np.zeros((2, 4), complex), "dtype": complex},
    {"out": np.zeros((2, 4)), "dtype": "float32", "casting": "same_kind"},
    {"out": np.zeros((2, 4), int), "casting": "unsafe"},
    {"out": np.zeros((4, 2)).T, "order": "C"},
    {"optimize": False},
    {"optimize": 0},
    {"optimize": "none of them"},
    {"strange": 1},
]


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
def test_keywords(spy, keywords, optimize):
    keywords = {"optimize": optimize} | keywords

    def call():
        given = {k: v.copy(order="K") if k == "out" else v for k, v in keywords.items()}
        return outcome(lambda: np.einsum("ij,jk->ik", np.asfortranarray(a), b, **given))

    reference, error = call()
    (result, caught_error), _ = spy.inside(call)
    assert caught_error == error
    if error is None:
        same(result, reference, steps=optimize)


@pytest.mark.parametrize("keyword", [{"order": "F"}, {"casting": "unsafe"}, {"dtype": complex}], ids=str)
def test_keywords_that_kernels_serve(spy, keyword):
    _, (request,) = spy.inside(lambda: np.einsum("ij,jk", a, b, **keyword))
    assert isinstance(request, Contraction)
    assert request.dtype == np.dtype(keyword.get("dtype", float)).name


def test_types_without_a_kernel_say_so(spy):
    for keyword in (
        {"dtype": "longdouble"},
        {"dtype": object},
        {"out": np.empty((2, 4), int), "casting": "unsafe"},
    ):
        _, (request,) = spy.inside(lambda keyword=keyword: np.einsum("ij,jk->ik", a, b, **keyword))
        assert "stays with NumPy" in request.reason


ORDERS_OF_CONTRACTION = {
    "True": (True, {}),
    "None": (None, {}),
    "greedy": ("greedy", {"finder": "greedy"}),
    "optimal": ("optimal", {"finder": "optimal"}),
    "limit": (("greedy", 5), {"finder": "greedy", "memory_limit": 5}),
    "real limit": (["optimal", 7.9], {"finder": "optimal", "memory_limit": 7}),
    "no memory": (("greedy", -1), {"finder": "greedy", "memory_limit": 0}),
    "path": (["einsum_path", (1, 2), (0, 1)], {"path": ((1, 2), (0, 1))}),
    "path of lists": (("einsum_path", [0, 2], [1, 0]), {"path": ((0, 2), (1, 0))}),
    "one step": (["einsum_path", (0, 1, 2)], {"path": ((0, 1, 2),)}),
}


@pytest.mark.parametrize("spelling", ORDERS_OF_CONTRACTION)
def test_the_order_of_contraction_is_handed_on(spy, spelling):
    optimize, fields = ORDERS_OF_CONTRACTION[spelling]
    args = ("ij,jk,kl->il", a, b, b.T)
    reference = np.einsum(*args, optimize=optimize)
    result, (request,) = spy.inside(lambda: np.einsum(*args, optimize=optimize))
    same(result, reference, steps=True)
    expected = {"path": None, "finder": "auto", "memory_limit": None} | fields
    assert {name: getattr(request, name) for name in expected} == expected


@pytest.mark.parametrize(
    "optimize",
    [
        ["einsum_path", (0, 1)],
        ["einsum_path", (0, 1), (0, 1), (0,)],
        ["einsum_path", (0, 3), (0, 1)],
        ["einsum_path", (0, 0), (0, 1)],
        ["einsum_path"],
        ("greedy",),
        ("greedy", "much"),
        ("unknown", 5),
        "unknown",
        [],
        1,
        0,
    ],
    ids=str,
)
def test_an_order_that_is_none_is_left_to_numpy(spy, optimize):
    def call():
        return outcome(lambda: np.einsum("ij,jk,kl->il", a, b, b.T, optimize=optimize))

    reference, error = call()
    (result, caught_error), _ = spy.inside(call)
    assert caught_error == error
    if error is None:
        same(result, reference, steps=True)


@SETTINGS
@given(contractions(), st.sampled_from("KCFA"), st.sampled_from([True, "optimal", ("greedy", 3), None]))
def test_steps_give_numpys_layout(spy, contraction, order, optimize):
    subscripts, operands = contraction

    def call():
        return np.einsum(subscripts, *operands, optimize=optimize, order=order)

    reference, error = outcome(call)
    (result, caught_error), requests = spy.inside(lambda: outcome(call))
    assert caught_error == error
    if error is None:
        assert type(result) is type(reference)
        np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-5)
        assert len(requests) <= 1
        if isinstance(reference, np.ndarray):
            assert result.dtype == reference.dtype
            large = [axis for axis, extent in enumerate(reference.shape) if extent > 1]
            assert [result.strides[axis] for axis in large] == [reference.strides[axis] for axis in large]


def test_steps_of_a_declined_call_are_not_counted_again(spy):
    spy.answer = lambda request, operands: None
    result, requests = spy.inside(lambda: np.einsum("ij,jk,kl->il", a, b, b.T, optimize=True))
    assert np.array_equal(result, np.einsum("ij,jk,kl->il", a, b, b.T, optimize=True))
    assert len(requests) == 1


def test_one_array_twice_is_told(spy):
    x = np.random.default_rng(2).standard_normal((6, 5, 4))
    same = [(x, x), (x, x[:]), (x[:, ::2], x[:, ::2])]
    other = [(x, x.copy()), (x[:3], x[3:]), (x, x[::-1]), (x, x.astype(complex))]
    for operands, alike in [(pair, True) for pair in same] + [(pair, False) for pair in other]:
        _, (request,) = spy.inside(lambda pair=operands: np.einsum("Qia,Qjb->iajb", *pair))
        assert (request.same == (0, 0)) == alike


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("subscripts", ["Qia,Qjb->iajb", "iaQ,jbQ->jbia", "bij,bkj->kib"])
def test_an_array_with_itself_is_half_of_the_work(dtype, subscripts):
    x = np.random.default_rng(3).standard_normal((7, 33, 5)).astype(dtype)
    with numtrn.enabled(min_work=1, target="interpreter", verify=True) as session:
        symmetric = np.einsum(subscripts, x, x)
        general = np.einsum(subscripts, x, x.copy())
    first, second = session.calls
    assert (first.route, second.route) == ("kernel", "kernel")
    if dtype == "float32":
        np.testing.assert_allclose(symmetric, general, rtol=1e-4, atol=1e-4)
        assert (first.kernel, second.kernel) == ("rank_k", "gemm")
    else:
        np.testing.assert_array_equal(symmetric, general)
        assert first.launches < second.launches
