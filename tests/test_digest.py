"""Fingerprints of contents: equal for equal contents, different for any change."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn import digest


def by_definition(data: bytes, point: int) -> bytes:
    """The polynomials in exact integers, 32-bit coefficients, words dealt to eight lanes in turn."""
    data += bytes(-len(data) % 8)
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
    lanes = []
    for lane in range(8):
        coefficients = [half for word in words[lane::8] for half in (word % 2**32, word >> 32)]
        value = sum(c * point ** (len(coefficients) - 1 - i) for i, c in enumerate(coefficients))
        lanes.append(int(Fraction(value) % digest.PRIME))
    return b"".join(value.to_bytes(8, "little") for value in lanes)


COMPILED = digest.compiled


@pytest.mark.skipif(COMPILED is None, reason="built without C")
@given(st.binary(max_size=300), st.integers(2**32, digest.PRIME - 1))
def test_it_is_the_polynomial(data, point):
    x = np.frombuffer(data, np.uint8)
    got = COMPILED.digest(x.__array_interface__["data"][0], x.nbytes, point)
    assert got == by_definition(data, point)


@pytest.fixture(params=["C", "hashlib"])
def maker(request, monkeypatch):
    if request.param == "C" and COMPILED is None:
        pytest.skip("built without C")
    if request.param == "hashlib":
        monkeypatch.setattr(digest, "compiled", None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_any_changed_bit_is_another_content(dtype, maker):
    x = np.random.default_rng(1).standard_normal((5, 7)).astype(dtype)
    before = digest.contents(x)
    assert digest.contents(x.copy()) == before
    seen = {before}
    flat = x.view(np.uint8).reshape(-1)
    for place in range(flat.size):
        for bit in (0, 7):
            flat[place] ^= 1 << bit
            seen.add(digest.contents(x))
            flat[place] ^= 1 << bit
    assert len(seen) == 1 + 2 * flat.size
    assert digest.contents(x) == before


def test_two_changes_that_would_cancel_in_a_sum(maker):
    x = np.arange(1.0, 65.0)
    before = digest.contents(x)
    for i, j in [(0, 1), (0, 8), (3, 63)]:
        y = x.copy()
        y[i], y[j] = -y[i], -y[j]
        assert digest.contents(y) != before
        y = x.copy()
        y[[i, j]] = y[[j, i]]
        assert digest.contents(y) != before


def test_memory_in_any_order_without_gaps(maker):
    x = np.random.default_rng(2).standard_normal((4, 5, 6))
    assert digest.contents(x) == digest.contents(x.transpose(2, 0, 1)) == digest.contents(x[::-1, :, ::-1])
    assert digest.contents(np.asfortranarray(x)) != digest.contents(x)
    assert digest.contents(x[:, ::2]) is None
    assert digest.contents(np.array([object()])) is None
    assert digest.contents(np.empty((0, 3))) is not None


def test_points_are_drawn_for_each_process():
    code = "import numpy as np; from numtrn.digest import contents; print(contents(np.ones(9)).hex())"
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(found) == 2
