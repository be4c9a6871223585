"""The decision and its figures: who computes, why, and predicted times against published ones."""

import pytest

from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.plan import DEFAULT_MIN_WORK, DTYPES, Plan, Refusal, decide, host, make_plan, threshold
from numtrn.plan.blocked import Update
from numtrn.plan.cost import predict, predict_words
from numtrn.plan.decide import make_tilings
from numtrn.plan.tiling import tile_gemm
from numtrn.plan.words import tile_words
from numtrn.request import Cholesky, Contraction, Gemm, Routine, Solve, Triangular

FORCED = Options(min_work=0)


def gemm(m, k, n, dtype="float64", **more):
    return Gemm(function="numpy.matmul", dtype=dtype, m=m, k=k, n=n, **more)


DECISIONS = [
    # request, options, words of the reason; a kernel where the words begin with "multiply-adds"
    (gemm(100, 100, 100), Options(), "multiply-adds, the plan's least is 1,000,000"),
    (gemm(99, 100, 100), Options(), "990,000 multiply-adds are below the plan's least, 1,000,000"),
    (gemm(15, 1000, 1000), Options(), "m = 15, n = 1000: thinner than 16"),
    (gemm(15, 1000, 1000), FORCED, "multiply-adds, min_work is 0"),
    (gemm(10, 10, 10), Options(min_work=1000), "multiply-adds, min_work is 1,000"),
    (gemm(10, 10, 10), Options(min_work=1001), "1,000 multiply-adds are below min_work 1,001"),
    (gemm(3, 0, 3), FORCED, "nothing to multiply: batch 1, m 3, k 0, n 3"),
    (gemm(3, 3, 3, batch=0), FORCED, "nothing to multiply: batch 0"),
    (gemm(300, 300, 300, "float16"), FORCED, "float16 has no kernel"),
    (gemm(300, 300, 300, "int64"), FORCED, "int64 has no kernel; float32, float64, complex64, complex128 do"),
    (
        Routine(
            function="f",
            dtype="float64",
            shapes=(),
            work=9,
            reason="no kernel yet for ?trsm",
            contraction=False,
        ),
        FORCED,
        "no kernel yet",
    ),
    (
        Contraction(function="numpy.einsum", dtype="float64", subscripts="ii->", shapes=((3, 3),)),
        FORCED,
        "1 operands",
    ),
]


@pytest.mark.parametrize(("request_", "options", "words"), DECISIONS)
def test_decisions_and_their_reasons(request_, options, words):
    decided = make_plan(request_, options, "interpreter")
    assert words in decided.reason
    assert isinstance(decided, Plan if words.startswith("multiply-adds") else Refusal)
    assert decided.reason in str(decided)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["full", "float32", "tfloat32", "bfloat16"])
@pytest.mark.parametrize("chip", CHIPS)
def test_every_scheme_is_planned_on_every_chip(dtype, precision, chip):
    plan = make_plan(
        gemm(200, 300, 400, dtype), Options(min_work=0, precision=precision, chip=chip), "interpreter"
    )
    assert plan.kernel == (
        "sliced_gemm" if precision == "full" and dtype in ("float64", "complex128") else "gemm"
    )
    assert plan.prediction.total > 0
    assert plan.bound > 0
    assert chip in str(plan)


@pytest.mark.parametrize(
    ("dtype", "precision", "barred", "kind"),
    [
        ("float64", "full", {"digits": "the adder is wrong"}, Refusal),
        ("complex128", "full", {"digits": "the adder is wrong"}, Refusal),
        ("float64", "float32", {"digits": "the adder is wrong"}, Plan),
        ("float32", "full", {"digits": "the adder is wrong"}, Plan),
        ("complex64", "full", {"digits": "the adder is wrong"}, Plan),
        ("float64", "full", {"tfloat32x3": "the adder is wrong"}, Plan),
        ("float32", "tfloat32", {"tfloat32": "the adder is wrong"}, Refusal),
    ],
)
def test_what_a_probe_speaks_against_is_refused(dtype, precision, barred, kind):
    options = Options(min_work=0, precision=precision)
    decided = make_plan(gemm(200, 300, 400, dtype), options, "interpreter", barred)
    assert isinstance(decided, kind)
    assert (decided.reason == "the adder is wrong") is (kind is Refusal)


def test_a_triangle_is_half_the_work():
    assert gemm(100, 50, 100, structure="syrk", triangle="lower").work == 50 * 5050
    assert gemm(100, 100, 70, structure="trmm").work == 70 * 5050


def test_no_request_below_the_threshold_is_planned(monkeypatch):
    monkeypatch.setattr(host, "multiply_add_rate", lambda dtype: 25e9)
    assert threshold(Options(min_work=7), "neuron") == 7
    assert threshold(Options(), "interpreter") == DEFAULT_MIN_WORK
    # What NumPy does while a call is on its way: 1.05 ms at 25e9 multiply-adds a second.
    assert threshold(Options(), "neuron") == pytest.approx(26.25e6)


def test_on_hardware_the_faster_one_is_taken(monkeypatch):
    for rate, kind in ((1e9, Plan), (1e15, Refusal)):
        monkeypatch.setattr(host, "multiply_add_rate", lambda dtype, rate=rate: rate)
        assert isinstance(make_plan(gemm(4096, 4096, 4096), Options(), "neuron"), kind)


# ---- Predicted times. T_pe = ceil(M/128) ceil(K/128) N c / f, the engine's own bound. ----


@pytest.mark.parametrize(
    ("chip", "itemsize", "passes", "bound_us"),
    # 4096^3 from the clocks of aws-neuron/aws-neuron-sdk: nki/guides/architecture/*_arch.rst
    [("trn1", 2, 1, 1498), ("trn1", 4, 4, 5992), ("trn2", 2, 1, 1748), ("trn2", 4, 4, 6991)],
)
def test_a_large_product_is_bound_by_the_engine(chip, itemsize, passes, bound_us):
    tiling = tile_gemm(1, 4096, 4096, 4096, itemsize)
    prediction = predict(tiling, passes, CHIPS[chip])
    kernels = prediction.device - tiling.launches * CHIPS[chip].kernel_seconds
    assert kernels * 1e6 == pytest.approx(bound_us, rel=1e-3)


@pytest.mark.parametrize(
    ("n", "measured_ms"),
    # One kernel, A transposed: awslabs/nki-autotune autotune/gemm/trn2-scoreboard.md @616e222b
    [(512, 0.054), (1024, 0.076), (1536, 0.141), (2048, 0.269)],
)
def test_one_launch_agrees_with_a_published_measurement(n, measured_ms):
    """All sizes of one launch. The kernel's fixed cost is from this very table, so it proves little."""
    tiling = tile_gemm(1, n, n, n, 2)
    assert tiling.launches == 1
    assert predict(tiling, 1, CHIPS["trn2"]).device * 1e3 == pytest.approx(measured_ms, rel=0.05)


def test_sliced_products_take_their_number_of_passes():
    chip = CHIPS["trn2"]
    tiling = tile_words(1, 1024, 2048, 1024, 7, chip)
    tensor = 28 * (1024 / 128) * (2048 / 128) * 1024 / chip.tensor_ghz * 1e-9
    cut = 2 * 1024 * 2048 * (8 + 2 * 7) / chip.dma_bytes_per_ns * 1e-9
    found = predict_words((tiling,), chip)
    assert found.device == pytest.approx(tensor + cut + 3 * chip.kernel_seconds, rel=1e-6)
    assert found.link == pytest.approx(2 * 1024 * 2048 * 8 / 4.5e9 + 1024 * 1024 * 12 / 5e9)


def test_the_link_carries_what_the_kernel_takes_and_gives():
    chip, tiling = CHIPS["trn1"], tile_gemm(1, 256, 128, 512, 4)
    assert tiling.bytes_in == 4 * 128 * (256 + 512)
    assert tiling.bytes_out == 4 * 256 * 512
    assert predict(tiling, 4, chip).link == pytest.approx(tiling.bytes_in / 4.5e9 + tiling.bytes_out / 5e9)


def test_no_more_digits_than_numpy_leaves_time_for(monkeypatch):
    large = gemm(4096, 4096, 4096)

    def decide(seconds):
        monkeypatch.setattr(host, "multiply_add_rate", lambda dtype: 4096**3 / seconds)
        return make_plan(large, Options(target="neuron", shapes="fine"), "neuron")

    plan = decide(1e9)
    least, cost = plan.scheme.minimum_slices(4096), plan.prediction.total
    allowed = []
    for times in (1.01, 1.5, 3, 100):
        plan = decide(cost * times)
        most = plan.scheme.maximum_slices
        tilings = make_tilings(large, plan.scheme, CHIPS["trn2"], most)
        assert most == least or predict_words(tilings, CHIPS["trn2"]).total < cost * times
        allowed.append(most)
    assert allowed == sorted(allowed)
    assert (allowed[0], allowed[-1]) == (least, 16)


@pytest.mark.parametrize(
    "asked",
    [
        Solve(function="f", dtype="float64", n=2048, columns=2048, factors=(Triangular(uplo="lower"),)),
        Cholesky(function="f", dtype="complex128", n=2048),
    ],
)
def test_updates_take_no_more_digits_than_numpy_leaves_time_for(asked, monkeypatch):
    def planned(slowdown):
        decide._predict_step.cache_clear()
        monkeypatch.setattr(host, "multiply_add_rate", lambda dtype: 1e11 / slowdown)
        return make_plan(asked, Options(target="neuron"), "neuron")

    plans = [planned(2.0**power) for power in range(-2, 8)]
    decide._predict_step.cache_clear()
    plans = [plan for plan in plans if not isinstance(plan, Refusal)]
    allowed = [plan.scheme.maximum_slices for plan in plans]
    assert allowed == sorted(allowed)
    assert allowed[0] < allowed[-1] == 16
    for plan, most in zip(plans, allowed, strict=True):
        for step, _ in plan.steps:
            if isinstance(step, Update):
                update = plan.scheme_of(step.k)
                assert update.maximum_slices == max(most, update.minimum_slices(step.k))
