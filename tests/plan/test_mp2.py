"""How pair energies are cut, and who is to compute them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.plan import Mp2Plan, Refusal, decide, host, make_plan
from numtrn.plan.mp2 import block_sizes, blocks, epilogue_seconds, products, tile_budget
from numtrn.request import Mp2

extents = st.integers(1, 200)


def request(o=16, v=112, x=384, dtype="float64", **more):
    settings = {"same": True, "exchange": True, **more}
    return Mp2(function="f", dtype=dtype, nocc=(o, o), nvir=(v, v), naux=x, **settings)


def two_spins(o1, o2, v1, v2, x):
    return Mp2(
        function="f", dtype="float64", nocc=(o1, o2), nvir=(v1, v2), naux=x, same=False, exchange=False
    )


@given(extents, extents)
def test_blocks_cover_every_orbital_once(nocc, size):
    size = min(size, nocc)
    found = blocks(nocc, size)
    assert [i for _, new, end in found for i in range(new, end)] == list(range(nocc))
    assert all(end - start == size and start <= new for start, new, end in found)


@given(extents, extents, st.integers(1, 500), st.integers(1, 500), st.integers(1, 3000))
def test_a_tile_keeps_its_budget(o1, o2, v1, v2, x):
    for asked in (request(o1, v1, x), two_spins(o1, o2, v1, v2, x)):
        sizes = block_sizes(asked)
        tile = sizes[0] * sizes[1] * asked.nvir[0] * asked.nvir[1] * 8
        assert tile <= max(tile_budget(asked), asked.nvir[0] * asked.nvir[1] * 8)
        b = min(o * v for o, v in zip(asked.nocc, asked.nvir, strict=True)) * x * 8
        assert tile_budget(asked) <= max(b, 2**20)


@given(extents, st.integers(1, 500), st.integers(1, 3000))
def test_products_are_all_of_the_pairs_and_few_more(o, v, x):
    asked = request(o, v, x)
    (size, _) = block_sizes(asked)
    found = products(asked, (size, size))
    count = len(blocks(o, size))
    assert sum(count for _, count in found) == count * (count + 1) // 2
    assert len(found) <= 2
    # What blocks at the end compute twice is less than a block along each side.
    covered = sum(gemm.m * gemm.n * times for gemm, times in found if gemm.structure == "general") / v**2
    covered += sum(size * (size + 1) / 2 * times for gemm, times in found if gemm.structure == "syrk")
    assert o * (o + 1) / 2 <= covered <= (count * size) * (count * size + 1) / 2


def test_benchmark_shape():
    """64 occupied and 448 virtual orbitals: tiles of 26 MB in place of 6.6 GB, of one shape."""
    plan = make_plan(request(64, 448, 1536), Options(), "interpreter")
    assert isinstance(plan, Mp2Plan)
    assert plan.block == (4, 4)
    assert [(gemm.structure, count) for gemm, count in plan.products] == [("syrk", 16), ("general", 120)]
    b = 64 * 448 * 1536 * 8
    assert plan.host_bytes < 0.1 * b
    assert plan.device_bytes < 1.2 * b
    for text in ("2,080 of one spin", "6,576.7 MB", "120 x (1792 x 1536", "predicted"):
        assert text in str(plan)


REFUSED = {
    "no orbitals": (request(0), Options(min_work=0), "no pairs: nocc (0, 0)"),
    "no virtual orbitals": (request(v=0), Options(min_work=0), "no pairs"),
    "small": (request(2, 3, 4), Options(), "are below the plan's least"),
    "small by min_work": (request(2, 3, 4), Options(min_work=10**6), "are below min_work"),
    "given": (request(x=0), Options(min_work=0), "bound by reading them"),
    "given fp32": (request(x=0, dtype="float32"), Options(), "bound by reading them"),
    "type": (request(dtype="float16"), Options(min_work=0), "float16 has no kernel"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    asked, options, text = REFUSED[case]
    plan = make_plan(asked, options, "interpreter")
    assert isinstance(plan, Refusal)
    assert text in plan.reason


SERVED = {
    "float32": (request(dtype="float32"), Options(), "mp2_pairs", "native fp32"),
    "float64 as float32": (request(), Options(precision="float32"), "mp2_pairs", "fp32"),
    "tf32": (request(dtype="float32"), Options(precision="tfloat32"), "mp2_pairs", "tf32"),
    "given fp32": (request(x=0, dtype="float32"), Options(min_work=0), "mp2_pairs", "native fp32"),
    "float64": (request(), Options(), "sliced_gemm", "sliced bf16"),
    "fast": (request(), Options(precision="fast"), "sliced_gemm", "sliced bf16"),
    "split": (request(dtype="float32"), Options(precision="float16x3"), "gemm", "three fp16"),
}


@pytest.mark.parametrize("case", SERVED)
def test_served(case):
    asked, options, kernel, scheme = SERVED[case]
    plan = make_plan(asked, options, "interpreter")
    assert isinstance(plan, Mp2Plan)
    assert (plan.kernel, plan.scheme.name) == (kernel, scheme)
    assert plan.fused == kernel.startswith("mp2")
    assert plan.prediction.total > 0
    assert "T" not in plan.measure
    assert str(plan)


def test_a_probe_may_speak_against_it():
    plan = make_plan(request(), Options(), "interpreter", {"digits": "the device rounds integers"})
    assert isinstance(plan, Refusal)
    assert plan.reason == "the device rounds integers"


def test_on_hardware_times_decide(monkeypatch):
    monkeypatch.setattr(host, "predicted_seconds", lambda work, dtype: work / 1e12)
    fast = make_plan(request(), Options(), "neuron")
    assert isinstance(fast, Refusal)
    assert "predicted" in fast.reason
    monkeypatch.setattr(host, "predicted_seconds", lambda work, dtype: work / 1e6)
    monkeypatch.setattr(decide, "threshold", lambda *_: 0.0)
    slow = make_plan(request(), Options(), "neuron")
    assert isinstance(slow, Mp2Plan)
    assert slow.numpy_seconds == pytest.approx(slow.request.work / 1e6 + epilogue_seconds(slow.request))
    assert "NumPy" in str(slow)


@pytest.mark.parametrize("chip", CHIPS)
def test_the_epilogue_is_part_of_the_prediction(chip):
    plan = make_plan(request(), Options(chip=chip), "interpreter")
    assert plan.prediction.fixed > epilogue_seconds(plan.request) > 0
