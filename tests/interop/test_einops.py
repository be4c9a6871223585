"""einops on numtrn arrays: `einops.array_api` as it is, `einops` itself with `numtrn.einops` imported."""

import subprocess
import sys

import numpy as np
import pytest

from tests.interop.support import inside, ours, same

einops = pytest.importorskip("einops")
pytest.importorskip("einops.array_api")
pytest.importorskip("numtrn.einops")

rng = np.random.default_rng(4)
IMAGES = rng.standard_normal((2, 6, 4, 3))
WEIGHTS = rng.standard_normal((3, 5))

ROWS = {
    "rearrange": ("rearrange", "b (h g) w c -> (b g) (w h) c", {"g": 2}),
    "rearrange to a vector": ("rearrange", "b h w c -> (b h w c)", {}),
    "new axis": ("rearrange", "b h w c -> b 1 h w c", {}),
    "repeat": ("repeat", "b h w c -> b (h 2) w k c", {"k": 3}),
    "mean": ("reduce", "b (h g) w c -> b h c", {"reduction": "mean", "g": 2}),
    "max": ("reduce", "b h w c -> h", {"reduction": "max"}),
    "sum to a scalar": ("reduce", "b h w c ->", {"reduction": "sum"}),
}


@pytest.mark.parametrize("home", [einops, einops.array_api], ids=["einops", "einops.array_api"])
@pytest.mark.parametrize("row", ROWS)
def test_as_on_ndarrays(row, home):
    name, pattern, more = ROWS[row]
    value, _ = inside(lambda: getattr(home, name)(ours(IMAGES), pattern, **more))
    same(value, getattr(einops, name)(IMAGES, pattern, **more))


@pytest.mark.parametrize("home", [einops, einops.array_api], ids=["einops", "einops.array_api"])
def test_lists_packing_and_unpacking(home):
    parts = list(IMAGES)
    same(home.rearrange([ours(x) for x in parts], "b h w c -> w b (h c)"),
         einops.rearrange(parts, "b h w c -> w b (h c)"))  # fmt: skip
    packed, shapes = home.pack([ours(x) for x in (IMAGES, IMAGES[0])], "* c")
    expected, _ = einops.pack([IMAGES, IMAGES[0]], "* c")
    same(packed, expected)
    same(home.unpack(packed, shapes, "* c"), [IMAGES, IMAGES[0]])


def test_asnumpy():
    for home in (einops, einops.array_api):
        value = home.asnumpy(ours(IMAGES))
        assert type(value) is np.ndarray
        np.testing.assert_array_equal(value, IMAGES)


def test_parse_shape():
    assert einops.parse_shape(ours(IMAGES), "b _ w c") == {"b": 2, "w": 4, "c": 3}


def test_einsum_reaches_a_kernel():
    value, session = inside(lambda: einops.einsum(*ours(IMAGES, WEIGHTS), "b h w c, c out -> b out h w"))
    same(value, np.einsum("bhwc,co->bohw", IMAGES, WEIGHTS))
    assert session.counts["kernel"] == 1


def test_ndarrays_stay_numpys():
    assert type(einops.rearrange(IMAGES, "b h w c -> c b h w")) is np.ndarray


def in_a_process(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)


def test_without_the_module_einops_refuses():
    code = "import numtrn, einops; einops.rearrange(numtrn.asarray([[1.0]]), 'a b -> b a')"
    assert "Tensor type unknown to einops" in in_a_process(code).stderr


@pytest.mark.parametrize("first", ["import einops", "import numtrn.einops"])
def test_the_order_of_imports_is_free(first):
    code = f"""{first}
import einops, numpy, numtrn
einops.rearrange(numpy.ones((2, 3)), "a b -> b a")
import numtrn.einops
x = einops.rearrange(numtrn.asarray(numpy.ones((2, 3))), "a b -> b a")
print(type(x).__name__, x.shape)"""
    done = in_a_process(code)
    assert done.stdout == "Array (3, 2)\n", done.stderr


def test_numtrn_alone_does_not_import_einops():
    done = in_a_process("import sys, numtrn; numtrn.asarray([1.0]); print('einops' in sys.modules)")
    assert done.stdout == "False\n", done.stderr
