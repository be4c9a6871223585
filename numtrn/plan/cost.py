"""Predicted times, from published figures. Every number that leaves here is a prediction.

The formulas are bounds of the engines, taken together as the largest of them plus fixed costs: matmul
issue and clocks from ``aws-neuron/aws-neuron-sdk: nki/guides/architecture/trainium2_arch.rst`` and its
neighbours, ScalarE from the cost tables of release 2.26 of ``nki/api``; GpSimd work has no published cost
and is assumed to take 150 + 2 cycles an element.
"""

from __future__ import annotations

from dataclasses import dataclass

from numtrn.machine import Chip
from numtrn.plan.tiling import Tiling

__all__ = ["Prediction", "predict"]


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
    """

    device: float
    link: float
    fixed: float

    @property
    def total(self) -> float:
        """One after the other, nothing overlapped."""
        return self.device + self.link + self.fixed

    def __add__(self, other: Prediction) -> Prediction:
        return Prediction(
            device=self.device + other.device, link=self.link + other.link, fixed=self.fixed + other.fixed
        )


def predict(tiling: Tiling, passes: int, chip: Chip) -> Prediction:
    """Predicted seconds of a tiling.

    Parameters
    ----------
    tiling
        The launches.
    passes
        TensorE passes of an operand: 4 for fp32, 1 otherwise.
    chip
        The machine.
    """
    tensor = tiling.pe_columns * passes / chip.tensor_ghz
    columns = min(tiling.block_n, 512)
    evict = tiling.casts * max(64, columns) / (chip.scalar_ghz if tiling.slices else chip.vector_ghz)
    integer = tiling.adds * (150 + 2 * columns) / chip.gpsimd_ghz
    moved = (tiling.bytes_in + tiling.bytes_out) / chip.dma_bytes_per_ns
    kernel = chip.kernel_seconds + 1e-9 * max(tensor, evict, integer, moved)
    link = tiling.bytes_in / chip.link_in_bytes_per_second + tiling.bytes_out / chip.link_out_bytes_per_second
    return Prediction(
        device=tiling.launches * kernel,
        link=tiling.launches * link,
        fixed=tiling.launches * chip.launch_seconds,
    )
