"""Contraction strings of public chemistry code: each right, and a kernel wherever there is a GEMM inside."""

import re

import census
import numpy as np
import pytest
from census import Entry

import numtrn

ENTRIES = census.read()
PRODUCTS = [entry for entry in ENTRIES if entry.kind.startswith(("GEMM", "three"))]
KERNEL_SHARE = 0.95


@pytest.fixture(scope="module")
def results():
    return [census.measure(entry, dtype) for entry in ENTRIES for dtype in census.DTYPES]


def wrong(results):
    return [(result.entry.string, result.dtype, result.error) for result in results if not result.error <= 1]


def test_every_result_is_right(results):
    assert wrong(results) == []


def test_gemms_are_in_kernels(results):
    inside = [result for result in results if result.gemm]
    left = [f"{x.entry.string} ({x.dtype}): {x.reason}" for x in inside if not x.kernel]
    share = 1 - len(left) / len(inside)
    assert share >= KERNEL_SHARE, f"{share:.1%} of {len(inside)} calls; NumPy computed\n" + "\n".join(left)


@pytest.mark.parametrize("dtype", census.DTYPES)
@pytest.mark.parametrize("entry", PRODUCTS[::20], ids=lambda entry: entry.string)
def test_extents_across_tile_boundaries(entry, dtype):
    assert census.measure(entry, dtype, entry.large(1e6)).error <= 1


@pytest.mark.long
@pytest.mark.parametrize("dtype", census.DTYPES)
@pytest.mark.parametrize("entry", PRODUCTS, ids=lambda entry: entry.string)
def test_larger_extents(entry, dtype):
    assert census.measure(entry, dtype, entry.large(3e6)).error <= 1


# ---- The strings ----


def test_there_are_enough_strings_of_every_class():
    assert len({entry.string for entry in ENTRIES}) == len(ENTRIES) >= 330
    assert len({entry.canonical for entry in ENTRIES}) == len(ENTRIES)
    found = sum(census.CLASSES.values())
    for kind, calls in census.CLASSES.items():
        share = sum(entry.kind == kind for entry in ENTRIES) / len(ENTRIES)
        assert share == pytest.approx(calls / found, abs=0.025), kind


def test_every_way_to_write_is_there():
    strings = [entry.string for entry in ENTRIES]
    assert sum("->" not in string for string in strings) >= 20
    assert sum("..." in string for string in strings) >= 5
    assert sum(" " in string for string in strings) >= 3
    assert max(string.count(",") for string in strings) >= 4


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.string)
def test_class_is_that_of_the_labels(entry):
    assert census.classify(entry) == entry.kind
    repository, path = entry.source.split(": ")
    assert repository in census.commits()
    assert path.endswith((".py", ".ipynb"))


CLASSIFIED = {
    # reshapes, a permuted operand, a permuted result
    "iaQ,jbQ->iajb": "GEMM, reshapes alone",
    "ij,jk->ki": "GEMM, reshapes alone",
    "iajs,sb->iajb": "GEMM, reshapes alone",
    "imae,mbej->ijab": "GEMM, operand permuted",
    "pq,qp,pr->r": "three or more operands",
    "Qia,Qjb->ijab": "GEMM, output permuted",
    # no free labels on a side, or on either
    "pqrs,rs->pq": "GEMV",
    "ia,ia->": "full inner product",
    # nothing contracted
    "i,j->ij": "outer",
    "ij,ij->ij": "broadcast multiply",
    "bij,bjk->bik": "batched GEMM, GEMV or dot",
    "ii,ij->j": "diagonal or trace",
    "ij->ji": "one operand",
}


@pytest.mark.parametrize(("string", "kind"), CLASSIFIED.items())
def test_classify(string, kind):
    assert census.classify(Entry(string, "", "")) == kind


INSIDE = {
    "ij,jk->ik": True,
    "bij,bjk->bik": True,
    "pi,pq,qj->ij": True,
    "ii,ik,kj->ij": True,
    "ij,j->i": False,
    "ij,ij->": False,
    "i,j->ij": False,
    "bi,bi->b": False,
    "ia,ia,ia->": False,
    "ii->i": False,
}


@pytest.mark.parametrize(("string", "inside"), INSIDE.items())
def test_gemm_inside(string, inside):
    entry = Entry(string, "", "")
    assert census.gemm_inside(entry, entry.small()) == inside
    assert not census.gemm_inside(entry, dict.fromkeys(entry.labels, 1))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.string)
def test_extents(entry):
    least, most = census.SMALL
    sizes = entry.small()
    assert set(sizes) == set(entry.labels)
    assert all(least <= size <= most for size in sizes.values())
    assert len(set(sizes.values())) == len(sizes) or len(sizes) > 5
    assert sizes == entry.small()


PLANNED = {
    "pi,pq,qj->ij": True,
    "ij,jk->ik": True,
    "ijab,jkbc,kc->ia": False,
    "ij,j->i": False,
    "i,j->ij": False,
}


@pytest.mark.parametrize(("string", "gemm"), PLANNED.items())
def test_a_plan_of_vectors_alone_has_no_gemm(string, gemm):
    entry = Entry(string, "", "")
    operands = entry.operands(entry.small(), "float64")
    with numtrn.enabled(target="interpreter", min_work=0):
        assert census.has_gemm(numtrn.explain(np.einsum, string, *operands)) == gemm


# ---- The oracle ----


class Kernel:
    route, bound = "kernel", "4 2^-53 |A||B|"


class Host:
    route = "numpy"


def test_bounds_of_steps_add_up():
    u = 2.0**-53
    assert census.promise([Kernel, Kernel], 1000, 3, u) == pytest.approx(8 * u)
    assert census.promise([Kernel, Host], 1000, 3, u) == pytest.approx((4 + 1006) * u)
    assert census.promise([], 1000, 3, u) == pytest.approx(1006 * u)
    assert census.promise([Kernel], 1000, 3, u) > 4 * u


@pytest.mark.parametrize("dtype", census.DTYPES)
@pytest.mark.parametrize("string", ["pi,pq,qj->ij", "ij,jk->ik", "ia,ia->", "iijj->ij"])
def test_the_oracle_sees_errors_just_beyond_the_promise(string, dtype):
    entry = Entry(string, "", "")
    sizes = entry.small()
    operands = entry.operands(sizes, dtype)
    value = np.asarray(np.einsum(string, *operands))
    assert census.excess(value, entry, sizes, operands, []) <= 1
    size = np.asarray(np.einsum(string, *map(np.abs, operands)))
    terms = np.prod([sizes[label] for label in entry.labels if label not in entry.output])
    step = census.any_order(terms, len(operands), np.finfo(dtype).eps / 2)
    assert census.excess((value + 2.5 * step * size).astype(dtype), entry, sizes, operands, []) > 1
    assert census.excess(value * np.nan, entry, sizes, operands, []) == np.inf
    assert census.excess(value[None], entry, sizes, operands, []) == np.inf
    assert census.excess(value.astype(complex), entry, sizes, operands, []) == np.inf


# ---- The page ----


def test_the_page_has_every_string():
    text = census.PAGE.read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` +\|", text.split("## Strings")[1], re.MULTILINE)
    assert listed == [entry.string for entry in ENTRIES]


def test_the_page_says_what_is_found_now(results):
    def tables(text):  # the worst error before them is also that of this machine's BLAS
        return text[text.index("| class") :]

    assert tables(census.PAGE.read_text(encoding="utf-8")) == tables(census.page(ENTRIES, results))
