"""Predicted times, from published figures or a profile's. Every number that leaves here is a prediction.

The formulas are bounds of the engines, taken together as the largest of them plus fixed costs: matmul
issue and clocks from ``aws-neuron/aws-neuron-sdk: nki/guides/architecture/trainium2_arch.rst`` and its
neighbours, ScalarE from the cost tables of release 2.26 of ``nki/api``; GpSimd work has no published cost
and is assumed to take 150 + 2 cycles an element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from numtrn.machine import Chip
from numtrn.plan.cores import Part, operand_pieces, shares
from numtrn.plan.tiling import LOWER_LHS, WHOLE, Tiling
from numtrn.plan.words import counted_launches, plane_count, whole
from numtrn.precision.fixed import word_bytes

__all__ = ["Prediction", "predict", "predict_words"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Predicted seconds of all launches of a plan, of several cores those of the one that has most to do.

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
        Operands that the target has, and whether the result stays there: they are not moved. For one core.
    """
    if tiling.cores > 1:
        return _on_cores(tiling, passes, chip)
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
    if tilings[0].cores > 1:
        return _words_on_cores(tilings, chip)
    first, parts = tilings[0], 1 if len(tilings) == 1 else 2
    batch, m, k, n = first.pieces
    left = (m + 1) / 2 if first.part == LOWER_LHS else m  # pieces of zeros are not made
    pieces = round(parts * batch * k * (left + n))
    elements = parts * first.batch * first.k * batch * k * (left * first.m + n * first.n)
    size = word_bytes(first.slices)
    planes = plane_count(first.slices) if first.kernel == "karatsuba_gemm" else first.slices
    cutting = _moving(elements * (size + 2 * planes), chip) + pieces * chip.kernel_seconds
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


# ---- On several cores ----
#
# Each core computes its share and makes its host calls beside the others'; all share the link, and what the
# cores of one stack of HBM read is sent there once. Nobody has published host calls of several cores at once:
# that they do not wait for each other is assumed.


def _on_cores(t: Tiling, passes: int, chip: Chip) -> Prediction:
    """Of plain operands."""
    busiest = max(share.launches for share in shares(t))
    sides = [t.bytes_in * extent / (t.m + t.n) for extent in (t.m, t.n)]
    sent = sum(
        size * count
        for parts, _ in _by_memory(t, chip)
        for size, count in zip(sides, operand_pieces(t, parts), strict=True)
    )
    return _prediction(
        busiest * _kernel_seconds(t, passes, _shared(chip)), busiest, sent, t.launches * t.bytes_out, chip
    )


def _words_on_cores(tilings: Sequence[Tiling], chip: Chip) -> Prediction:
    """Of words, whose planes are made in each memory where they are read."""
    first, complex_parts = tilings[0], 1 if len(tilings) == 1 else 2
    slow, size = _shared(chip), word_bytes(first.slices)
    planes = plane_count(first.slices) if first.kernel == "karatsuba_gemm" else first.slices
    sent = cutting = pieces = 0.0
    for parts, cores in _by_memory(first, chip):
        counts = operand_pieces(first, parts)
        extents = zip(counts, (first.m, first.n), strict=True)
        elements = complex_parts * first.batch * first.k * sum(count * extent for count, extent in extents)
        made = complex_parts * sum(counts)
        sent += elements * size
        each = _moving(elements * (size + 2 * planes), slow) + made * chip.kernel_seconds
        cutting, pieces = max(cutting, each / cores), max(pieces, made / cores)
    times = [(_kernel_seconds(t, 1, slow), _kernel_seconds(_below(t), 1, slow)) for t in tilings]
    device = max(
        sum(
            part.diagonal * on + (part.launches - part.diagonal) * below
            for part in share.parts
            for on, below in times
        )
        for share in shares(first)
    )
    busiest = len(tilings) * max(share.launches for share in shares(first))
    out = sum(count * tiling.bytes_out for t in tilings for count, tiling in counted_launches(t))
    return _prediction(cutting + device, pieces + busiest, sent, out, chip)


def _below(t: Tiling) -> Tiling:
    return t if t.part == WHOLE else whole(t)


def _by_memory(t: Tiling, chip: Chip) -> list[tuple[list[Part], int]]:
    """What the cores of each memory compute, and how many they are."""
    found: dict[int, tuple[list[Part], int]] = {}
    for share in shares(t):
        parts, cores = found.get(chip.hbm_of(share.core), ([], 0))
        found[chip.hbm_of(share.core)] = [*parts, *share.parts], cores + 1
    return list(found.values())


def _shared(chip: Chip) -> Chip:
    """A core beside others that use the same HBM."""
    return replace(chip, dma_bytes_per_ns=min(chip.dma_bytes_per_ns, chip.hbm_share_bytes_per_ns))


def _prediction(device: float, calls: float, sent: float, brought: float, chip: Chip) -> Prediction:
    return Prediction(
        device=device,
        link=sent / chip.link_in_bytes_per_second + brought / chip.link_out_bytes_per_second,
        fixed=calls * chip.launch_seconds,
        bytes=round(sent + brought),
    )


def _kernel_seconds(tiling: Tiling, passes: int, chip: Chip) -> float:
    """One launch: what its busiest engine needs, and the fixed cost; of two physical cores that of each."""
    share, read = _share(tiling) if chip.lnc > 1 else (1.0, 1.0)
    chip = _shared(chip) if chip.lnc > 1 else chip
    # fp32 is transposed as a matmul on trn1 (assumed), in half of that later (A3; numtrn.interp.clock.costs)
    turning = passes if chip.generation < 3 else ceil(passes / 2)
    tensor = (tiling.pe_columns * passes + tiling.turned_columns * turning) / chip.tensor_ghz
    columns = tiling.block_n * ceil(tiling.block_m / 128) if tiling.slices else min(tiling.block_n, 512)
    evict = tiling.casts * max(64, columns) / (chip.scalar_ghz if tiling.slices else chip.vector_ghz)
    integer = tiling.adds * (150 + 2 * columns) / chip.gpsimd_ghz
    taken = 2 * tiling.slices / word_bytes(tiling.slices) if tiling.slices else 1.0
    moved = (taken * tiling.bytes_in * read + tiling.bytes_out / chip.lnc) / chip.dma_bytes_per_ns
    busiest = max(share * tensor, share * evict, share * integer, moved)
    return chip.kernel_seconds + 1e-9 * chip.factor(tiling.kernel) * busiest


# ---- On the two physical cores of a logical one ----

DIVIDED = {
    "gemm": "m",
    "least_product": "m",
    "sliced_gemm": "block_m",
    "karatsuba_gemm": "block_m",
    "symm": "n",
    "trmm": "n",
    "trsm": "n",
}
"""What two cores halve of a launch. The kernels that make planes halve theirs; ``rank_k`` and ``mp2_pairs``
take as long on two cores as on one."""


def _share(t: Tiling) -> tuple[float, float]:
    """What one of two cores computes of a launch, and what it reads of the operands."""
    along = DIVIDED.get(t.kernel)
    if along is None:
        return 1.0, 1.0
    extent, step = getattr(t, along), 64 if along == "n" else 128
    own, other = (t.n, t.m) if along == "n" else (t.m, t.n)
    return ceil(extent / 2 / step) / ceil(extent / step), (own / 2 + other) / (own + other)


def _moving(size: float, chip: Chip) -> float:
    """Seconds of a kernel that reads and writes so many bytes, of two cores half each."""
    slow = _shared(chip) if chip.lnc > 1 else chip
    return size / (chip.lnc * slow.dma_bytes_per_ns) * 1e-9
