"""Predicted times, from published figures or a profile's. Every number that leaves here is a prediction.

The formulas are bounds of the engines, taken together as the largest of them plus fixed costs: matmul
issue and clocks from ``aws-neuron/aws-neuron-sdk: nki/guides/architecture/trainium2_arch.rst`` and its
neighbours, ScalarE from the cost tables of release 2.26 of ``nki/api``; GpSimd work has no published cost
and is assumed to take 150 + 2 cycles an element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from numtrn.machine import Chip
from numtrn.plan.tiling import LOWER_LHS, Tiling
from numtrn.plan.words import counted_launches, plane_count
from numtrn.precision.fixed import word_bytes

__all__ = ["Prediction", "predict", "predict_words"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Predicted seconds of all launches of a plan on one core.

    Attributes
    ----------
    device
        Kernels, with their fixed cost.
    link
        Transfers between host and device.
    fixed
        Host calls.
    bytes
        Moved over the link, both ways.
    measured
        Day of the machine's profile that figures are from; empty where all are published.
    """

    device: float
    link: float
    fixed: float
    bytes: int = 0
    measured: str = ""

    @property
    def source(self) -> str:
        """Where the figures are from, in words."""
        if not self.measured:
            return "from published figures, not measured"
        return f"from figures measured on this machine on {self.measured}, and published ones; a prediction"

    @property
    def total(self) -> float:
        """One after the other, nothing overlapped."""
        return self.device + self.link + self.fixed

    def __str__(self) -> str:
        link = f"link ({self.bytes / 1e6:,.1f} MB)" if self.bytes else "link"
        parts = ((self.device, "device"), (self.link, link), (self.fixed, "calls"))
        return " + ".join(f"{seconds * 1e3:.3g} ms {name}" for seconds, name in parts)

    def __add__(self, other: Prediction) -> Prediction:
        return Prediction(
            device=self.device + other.device,
            link=self.link + other.link,
            fixed=self.fixed + other.fixed,
            bytes=self.bytes + other.bytes,
            measured=self.measured or other.measured,
        )

    def __mul__(self, times: int) -> Prediction:
        return Prediction(
            device=times * self.device,
            link=times * self.link,
            fixed=times * self.fixed,
            bytes=times * self.bytes,
            measured=self.measured,
        )


def predict(
    tiling: Tiling, passes: int, chip: Chip, held: tuple[bool, bool] = (False, False), stays: bool = False
) -> Prediction:
    """Predicted seconds of a tiling.

    Parameters
    ----------
    tiling
        The launches.
    passes
        TensorE passes of an operand: 4 for fp32, 1 otherwise.
    chip
        The machine.
    held, stays
        Operands that the target has, and whether the result stays there: they are not moved.
    """
    sizes = tiling.m, tiling.n
    there = sum(size for size, is_there in zip(sizes, held, strict=True) if is_there)
    sent = tiling.bytes_in - tiling.bytes_in * there // sum(sizes)
    brought = 0 if stays else tiling.bytes_out
    link = sent / chip.link_in_bytes_per_second + brought / chip.link_out_bytes_per_second
    return Prediction(
        device=tiling.launches * _kernel_seconds(tiling, passes, chip),
        link=tiling.launches * link,
        fixed=tiling.launches * chip.launch_seconds,
        bytes=tiling.launches * (sent + brought),
        measured=chip.measured,
    )


def predict_words(tilings: Sequence[Tiling], chip: Chip) -> Prediction:
    """Predicted seconds of a product of words: digit planes of both operands, and the products of them.

    Words go to the device once, where their planes stay; every launch sends its result.

    Parameters
    ----------
    tilings
        Of the products: one, or three of complex operands.
    chip
        The machine.
    """
    first, parts = tilings[0], 1 if len(tilings) == 1 else 2
    batch, m, k, n = first.pieces
    left = (m + 1) / 2 if first.part == LOWER_LHS else m  # pieces of zeros are not made
    pieces = round(parts * batch * k * (left + n))
    elements = parts * first.batch * first.k * batch * k * (left * first.m + n * first.n)
    size = word_bytes(first.slices)
    planes = plane_count(first.slices) if first.kernel == "karatsuba_gemm" else first.slices
    cutting = elements * (size + 2 * planes) / chip.dma_bytes_per_ns * 1e-9 + pieces * chip.kernel_seconds
    launches = sum(tiling.launches for tiling in tilings)
    counted = [pair for tiling in tilings for pair in counted_launches(tiling)]
    out = sum(count * tiling.bytes_out for count, tiling in counted)
    return Prediction(
        device=cutting + sum(count * _kernel_seconds(t, 1, chip) for count, t in counted),
        link=elements * size / chip.link_in_bytes_per_second + out / chip.link_out_bytes_per_second,
        fixed=(pieces + launches) * chip.launch_seconds,
        bytes=round(elements * size) + out,
        measured=chip.measured,
    )


def _kernel_seconds(tiling: Tiling, passes: int, chip: Chip) -> float:
    """One launch: what its busiest engine needs, and the fixed cost."""
    # fp32 is transposed as a matmul on trn1 (assumed), in half of that later (A3; numtrn.interp.clock.costs)
    turning = passes if chip.generation < 3 else ceil(passes / 2)
    tensor = (tiling.pe_columns * passes + tiling.turned_columns * turning) / chip.tensor_ghz
    columns = tiling.block_n * ceil(tiling.block_m / 128) if tiling.slices else min(tiling.block_n, 512)
    evict = tiling.casts * max(64, columns) / (chip.scalar_ghz if tiling.slices else chip.vector_ghz)
    integer = tiling.adds * (150 + 2 * columns) / chip.gpsimd_ghz
    taken = 2 * tiling.slices / word_bytes(tiling.slices) if tiling.slices else 1.0
    moved = (taken * tiling.bytes_in + tiling.bytes_out) / chip.dma_bytes_per_ns
    busiest = max(tensor, evict, integer, moved)
    return chip.kernel_seconds + 1e-9 * chip.factor(tiling.kernel) * busiest
