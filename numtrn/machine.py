"""Facts about the NeuronCores of trn1, trn2 and trn3, one record for each, with their sources.

Only facts that code in numtrn uses stand here, and they stand only here. Everything is for one core.
Rates and times are published or assumed figures, never measurements of ours: what is computed from
them is a prediction.

Sources are paths in ``aws-neuron/aws-neuron-sdk`` at 81ce03ae unless another repository is named.
A2, A3, A4 are ``nki/guides/architecture/{trainium_inferentia2,trainium2,trainium3}_arch.rst``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHIPS", "Chip"]

KIB = 1024


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One NeuronCore of one generation.

    Attributes
    ----------
    name
        ``"trn1"``, ``"trn2"`` or ``"trn3"``.
    generation
        2, 3 or 4, as in ``nki.isa.nc_version.gen2``.
    partitions
        Rows of SBUF, of PSUM and of the PE array (A2).
    sbuf_partition_bytes
        SBUF bytes of one partition, nominal (A2, A3, A4).
    sbuf_usable_bytes
        What a kernel may use of them. Reserved bytes are not published; 16 KiB is assumed.
    psum_banks, psum_bank_bytes
        Accumulator banks of one partition, and bytes of a bank: 512 fp32 (A2).
    stationary_free_max, moving_free_max
        Largest free size of ``nc_matmul`` operands (``nki/api/nki/isa/__init__.py: nc_matmul``).
    tensor_ghz, vector_ghz, scalar_ghz, gpsimd_ghz
        Engine clocks (A2, A3, A4).
    dma_bytes_per_ns
        Sustained rate of the core's 16 DMA engines, bytes a nanosecond
        (``nki/get-started/about/nki-dma-overview.rst``).
    fp32_passes
        PE cycles of an fp32 column relative to a bf16 one (A2).
    launch_seconds
        Fixed cost of one host call, warm. Published only for trn1 through torch_xla, 0.67 to 1.5 ms
        (``trnsci/trnblas: docs/benchmarks.md`` @3b01d7e8); assumed equal elsewhere.
    kernel_seconds
        Fixed cost of a kernel on the device; 49 us fits ``awslabs/nki-autotune:
        autotune/gemm/trn2-scoreboard.md`` @616e222b; assumed for all.
    link_in_bytes_per_second, link_out_bytes_per_second
        Host to device and back, trn1 through torch_xla (``trnsci/trntensor:
        docs/design/matmul_dispatch_findings.md`` @cfad1078); assumed equal elsewhere.
    """

    name: str
    generation: int
    sbuf_partition_bytes: int
    tensor_ghz: float
    vector_ghz: float
    scalar_ghz: float
    gpsimd_ghz: float
    dma_bytes_per_ns: float
    moving_free_max: int = 512
    stationary_free_max: int = 128
    partitions: int = 128
    psum_banks: int = 8
    psum_bank_bytes: int = 2 * KIB
    fp32_passes: int = 4
    launch_seconds: float = 1.0e-3
    kernel_seconds: float = 50e-6
    link_in_bytes_per_second: float = 4.5e9
    link_out_bytes_per_second: float = 5.0e9

    @property
    def sbuf_usable_bytes(self) -> int:
        """SBUF bytes of one partition that a kernel may use."""
        return self.sbuf_partition_bytes - 16 * KIB

    @property
    def scalar_engine_copies(self) -> bool:
        """Whether ``nisa.tensor_copy`` may run on ScalarE (not on generation 2; ISA ``tensor_copy``)."""
        return self.generation >= 3


CHIPS: dict[str, Chip] = {
    "trn1": Chip(
        name="trn1",
        generation=2,
        sbuf_partition_bytes=192 * KIB,
        tensor_ghz=2.8,
        vector_ghz=1.12,
        scalar_ghz=1.4,
        gpsimd_ghz=1.4,
        dma_bytes_per_ns=272.0,
    ),
    "trn2": Chip(
        name="trn2",
        generation=3,
        sbuf_partition_bytes=224 * KIB,
        tensor_ghz=2.4,
        vector_ghz=0.96,
        scalar_ghz=1.2,
        gpsimd_ghz=1.2,
        dma_bytes_per_ns=368.0,
    ),
    "trn3": Chip(
        name="trn3",
        generation=4,
        sbuf_partition_bytes=256 * KIB,
        tensor_ghz=2.4,
        vector_ghz=1.2,
        scalar_ghz=1.2,
        gpsimd_ghz=1.2,
        dma_bytes_per_ns=528.0,
        moving_free_max=4096,
    ),
}
"""The chips by name."""
