"""The arithmetic of benchmarks/level3.py: bounds and numbers of launches, by figures computed by hand."""

import os
from dataclasses import replace
from types import SimpleNamespace

import level3
import numpy as np
import pytest
from scipy.linalg import solve_triangular

from numtrn.machine import CHIPS
from numtrn.plan.tiling import TILE, tile_gemm

SIZES = (1024, 2048, 4096, 8192)
GEMM_US = {"trn1": (93.6, 749.0, 5992, 47935), "trn2": (109.2, 873.8, 6991, 55924)}
TRIANGLE_US = {"trn1": (52.7, 398, 3090, 24342), "trn2": (61.4, 464, 3604, 28399)}
TRIANGLE_RATIO = (0.5625, 0.531, 0.516, 0.508)
CHAIN_US = {
    "trn1": ((30.4, 16.1), (60.8, 32.2), (122, 64.5), (243, 129)),
    "trn2": ((33.5, 16.9), (67.1, 33.8), (134, 67.6), (268, 135)),
}
"""With 512 and with 128 columns a step."""

CHIPS_OF_TABLES = pytest.mark.parametrize("chip", [CHIPS["trn1"], CHIPS["trn2"]], ids=lambda chip: chip.name)
needs_trnblas = pytest.mark.skipif("OUTSIDE_TRNBLAS" not in os.environ, reason="OUTSIDE_TRNBLAS is not set")


def digits(value, like):
    """Rounded as the figure in the table was."""
    decimals = len(str(like).partition(".")[2])
    return round(value, decimals)


@CHIPS_OF_TABLES
@pytest.mark.parametrize("at", range(len(SIZES)), ids=SIZES)
def test_bounds_are_those_of_the_table(chip, at):
    n = SIZES[at]
    gemm, triangle = GEMM_US[chip.name][at], TRIANGLE_US[chip.name][at]
    assert digits(level3.pe_us("GEMM", n, chip), gemm) == gemm
    assert digits(level3.pe_us("SYRK", n, chip), triangle) == triangle
    ratio = level3.pe_us("SYRK", n, chip) / level3.pe_us("GEMM", n, chip)
    assert ratio == pytest.approx(TRIANGLE_RATIO[at], abs=5e-4)
    for columns, wanted in zip((512, 128), CHAIN_US[chip.name][at], strict=True):
        assert digits(level3.chain_us(n, chip, columns), wanted) == wanted


@CHIPS_OF_TABLES
@pytest.mark.parametrize("n", SIZES)
def test_bounds_of_the_other_routines_follow(chip, n):
    bound = {name: level3.bound_us(name, n, chip) for name in ("GEMM", *(r.name for r in level3.ROUTINES))}
    assert bound["SYMM"] == bound["GEMM"]
    assert bound["SYR2K"] == 2 * bound["SYRK"]
    assert bound["TRMM"] == bound["TRSM"] == bound["SYRK"]


@CHIPS_OF_TABLES
def test_the_chain_binds_a_small_solve(chip):
    assert level3.bound_us("TRSM", 512, chip) == level3.chain_us(512, chip) > level3.pe_us("TRSM", 512, chip)


def test_bytes_of_a_solve():
    # 36 blocks of 64 KiB, and twice 4 MiB.
    assert level3.dma_us(1024, CHIPS["trn1"]) == pytest.approx((36 * 65536 + 2 * 2**22) / 410e3)


# -- Launches --------------------------------------------------------------------------------------


def tiling_in_pieces(routine, m, pieces, n):
    """A tiling of the routine's own kernel for n columns in launches of m by m; of TRSM for one piece."""
    square = routine.square
    parameters = (1, 2 if routine.name == "SYR2K" else 1, 512, 0) if square else (512, 0)
    if routine.kernel == "trsm":
        parameters = (512,)
        pieces = 1
    along = (pieces, 1) if square else (1, n // m)
    base = tile_gemm(1, m, m, m, 4)
    return replace(
        base,
        kernel=routine.kernel,
        m=m,
        k=m,
        n=m,
        pieces=(1, pieces, *along),
        parameters=parameters,
    )


def blocks_multiplied(routine, launch):
    """Products of 128 x 128 blocks in all runs of a launch, counted from the shapes of its operands."""
    if launch.kernel == "gemm":
        (k, m), (_, n) = launch.shapes
        return launch.count * m * k * n // TILE**3
    if launch.kernel == "rank_k":
        ((depth, order),) = launch.shapes
        rows = order // TILE
        return launch.count * rows * (rows + 1) // 2 * (depth // TILE)
    *_, (m, n) = launch.shapes
    rows = m // TILE
    left = rows**2 if launch.kernel == "symm" else rows * (rows + 1) // 2
    return launch.count * left * n // TILE


@pytest.mark.parametrize("routine", level3.ROUTINES, ids=lambda routine: routine.name)
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_launches_multiply_what_the_bound_counts_and_no_more(routine, pieces):
    m = 4096
    n = m * pieces
    launches = level3.routine_launches(routine, tiling_in_pieces(routine, m, pieces, n), n)
    chip = CHIPS["trn2"]
    wanted = level3.pe_us(routine.name, n, chip) * 1e3 * chip.tensor_ghz / chip.fp32_passes / TILE
    assert sum(blocks_multiplied(routine, launch) for launch in launches) == round(wanted)


@pytest.mark.parametrize(
    ("name", "own", "gemms"),
    [("SYRK", 4, 4), ("SYR2K", 4, 8), ("SYMM", 4, 8), ("TRMM", 4, 4), ("TRSM", 4, 4)],
)
def test_launches_of_order_8192(name, own, gemms):
    routine = next(each for each in level3.ROUTINES if each.name == name)
    first, second = level3.routine_launches(routine, tiling_in_pieces(routine, 4096, 2, 8192), 8192)
    assert (first.kernel, first.count) == (routine.kernel, own)
    assert (second.kernel, second.count) == ("gemm", gemms)
    assert second.shapes == ((2048, 4096), (2048, 4096))


def test_operands_of_the_triangular_kernels():
    stacked = (36 * 512, 512)  # 8 blocks an edge
    shapes = {}
    for routine in level3.ROUTINES:
        tiling = tiling_in_pieces(routine, 4096, 1, 4096)
        shapes[routine.name] = level3.routine_launches(routine, tiling, 4096)[0].shapes
    assert shapes == {
        "SYRK": ((4096, 4096),),
        "SYR2K": ((8192, 4096),),
        "SYMM": (stacked, (4096, 4096)),
        "TRMM": (stacked, (4096, 4096)),
        "TRSM": (stacked, (4096, 128), (4096, 4096)),
    }


# -- trnblas ---------------------------------------------------------------------------------------


def test_products_of_its_solve():
    assert level3.trsm_products(512) == [(384, 128, 512), (256, 128, 512), (128, 128, 512)]
    assert len(level3.trsm_products(4096)) == 31


class Recorded(np.ndarray):
    """An array with the two methods of torch that the solve asks for."""

    def contiguous(self):
        return np.ascontiguousarray(self).view(Recorded)

    def clone(self):
        return self.copy()


@needs_trnblas
def test_its_own_python_makes_these_products(monkeypatch):
    kernels, reason = level3.trnblas()
    assert not reason
    seen = []

    def product(a, b):
        seen.append((*a.shape, b.shape[1]))
        return a @ b

    def solve(a, b, *, upper, unitriangular):
        return solve_triangular(a, b, lower=not upper, unit_diagonal=unitriangular).view(Recorded)

    monkeypatch.setattr(kernels.torch, "linalg", SimpleNamespace(solve_triangular=solve), raising=False)
    monkeypatch.setattr(kernels, "nki_gemm", product)
    rng = np.random.default_rng(5)
    n = 512
    a = (np.tril(rng.standard_normal((n, n))) + n * np.eye(n)).view(Recorded)
    b = rng.standard_normal((n, n)).view(Recorded)
    x = kernels._nki_trsm_left(a, b, "lower", False, "nonunit", 1.0)
    assert np.abs(a @ x - b).max() < 1e-10
    assert seen == level3.trsm_products(n)


@needs_trnblas
@pytest.mark.parametrize("shape", [(128, 128, 1024), (512, 128, 1024), (896, 128, 1024), (1024, 1024, 1024)])
@CHIPS_OF_TABLES
def test_its_default_tile_is_the_fastest(chip, shape):
    kernels, _ = level3.trnblas()
    outside = level3.Trnblas(kernels, chip)
    m, k, n = shape
    registry = kernels._gemm_kernel_registry.values()
    assert len(registry) == 6
    assert outside.gemm_ms(*shape) == min(outside.timed_ms(kernel, (m, k), (k, n)) for kernel in registry)


# -- Tables ----------------------------------------------------------------------------------------


def row(**others):
    """A row with a time of 10 ms."""
    return replace(level3.Row(CHIPS["trn2"], 4096, "TRSM", 7.5, launches=2, time_ms=10.0), **others)


def test_ratios_to_trnblas():
    theirs = level3.Theirs(launches=30, kernels_ms=50.0, lenient_ms=20.0, link_ms=1.0, host="")
    found = row(theirs=theirs)
    assert found.speedup == 5.0
    assert found.least_speedup == 2.0
    assert found.speedup_of_calls == pytest.approx((20 + 30 * 1.0) / (10 + 2 * 1.0))
    assert row().speedup is row().least_speedup is row().speedup_of_calls is None


def test_aims_are_met_at_their_limit_and_not_beyond():
    share = next(aim for aim in level3.AIMS if "TRSM at least 75" in aim.text)
    assert share.verdict(row()) == ("75.0% (75.9% stretched)", "met")
    assert share.verdict(row(time_ms=10.01))[1] == "not met"
    assert share.verdict(row(time_ms=None)) == ("-", "not there")
    ratio = next(aim for aim in level3.AIMS if aim.at_most)
    assert ratio.verdict(row(over_gemm=0.56)) == ("0.560", "met")
    assert ratio.verdict(row(over_gemm=0.5601))[1] == "not met"


@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_without_trnblas_it_says_so(form, monkeypatch, capsys):
    monkeypatch.setenv("OUTSIDE_TRNBLAS", "/nowhere")
    level3.main(["--chip", "trn2", "--sizes", "512", *form])
    shown = capsys.readouterr().out
    assert "trnblas is not at hand: OUTSIDE_TRNBLAS names /nowhere" in shown
    assert "redict" in shown
    assert "no device" in shown.lower() or "confirmed by a device" in shown
    gemm = next(line.split() for line in shown.splitlines() if line.startswith("trn2") and "GEMM" in line)
    timed = level3.timed("gemm", ((512, 512), (512, 512)), (1, 0), CHIPS["trn2"])
    assert gemm[3:5] == ["1", f"{timed.total_ns / 1e6:.3f}"]


def test_other_sizes_are_refused():
    with pytest.raises(SystemExit):
        level3.main(["--sizes", "500"])
