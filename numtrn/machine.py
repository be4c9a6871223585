"""Facts about the NeuronCores of trn1, trn2 and trn3, one record for each, with their sources.

Only facts that code in numtrn uses stand here, and they stand only here. Everything is for one core.
Rates and times are published or assumed figures, never measurements of ours: what is computed from
them is a prediction. A machine's own profile may replace some (`numtrn.profile`).

Sources are paths in ``aws-neuron/aws-neuron-sdk`` at 81ce03ae unless another repository is named.
A2, A3, A4 are ``nki/guides/architecture/{trainium_inferentia2,trainium2,trainium3}_arch.rst``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    cores
        Physical cores of a device (A2, A3, A4).
    lnc
        Physical cores that run each launch together, as one logical core: ``NEURON_LOGICAL_NC_CONFIG`` of the
        process, 1 or 2 (the same page). Figures are of a physical one.
    cores_per_hbm
        Physical cores that share a stack of HBM, and what one of them has put there: two of trn2
        (``about-neuron/arch/neuron-features/logical-neuroncore-config.rst``); of trn3 from four stacks and
        eight cores (``about-neuron/arch/neuron-hardware/trainium3.rst``); on trn1 each has its own (A2).
    hbm_share_bytes_per_ns
        A core's share of the device's HBM when all run: the lower published rate of the device, product page
        (``about-neuron/arch/neuron-hardware/trainium2.rst``) or guide (A2, A4), by its cores.
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
    matmul_min_columns
        Least cycles between matmuls of 16-bit data (A2 for trn1; assumed for the others).
    matmul_stretch
        Time of long matmul sequences relative to their cycles. Fitted once a chip to published GEMM times:
        trn1 1.17 (``general/nki/tutorials/matrix_multiplication.rst`` @49ee15c5), trn2 1.012
        (``awslabs/nki-autotune: autotune/gemm/trn2-scoreboard.md`` @616e222b); trn3 1.05 is assumed.
    matmul_latency_ns
        From the end of streaming to the result in PSUM: 140 to 175 trn1, 162 to 165 trn2 (profiles shown in
        ``nki/deep-dives/nki_perf_guide.rst`` and ``nki/guides/use-neuron-profile.rst``).
    ramp_ns
        Window in which TensorE runs at half rate after idling as long
        (``tools/neuron-explorer/overview-summary-page.rst``); 0 for trn1.
    engine_min_cycles
        Least cycles of an instruction of VectorE or ScalarE (``nki/api/nki.isa`` @1db4d74e).
    vector_latency_cycles, scalar_latency_cycles
        What a dependent instruction of the same engine waits in addition (A2: about 100; one-element
        activations every 264 cycles on trn1, ``nki_perf_guide.rst``; 144 in ``aws-neuron/nki-library:
        .../topk/rotational_topk_utils.py``; about 0.3 us on ScalarE of trn2, ``nki-dma-overview.rst``).
    table_load_ns
        Change of ScalarE's function table (``nki-dma-overview.rst``, trn2; assumed for all).
    semaphore_ns
        Hand-over between engines; none is published, 200 is assumed from pictures of timelines.
    dma_engines, dma_partitions
        DMA engines of a core, and partitions that each serves (``nki-dma-overview.rst``).
    dma_row_ns, dma_row_bytes_per_ns
        One row of a copy on one engine takes ``dma_row_ns + bytes / dma_row_bytes_per_ns``. From packet times
        of published profiles (``nki/guides/tutorials/kernel-optimization.rst`` for trn2); trn3 is assumed.
    dma_small_bytes, dma_small_bytes_per_ns
        Rows up to that size move at no more than that rate. Fitted to trn1, where kernels with rows of 256
        to 1024 bytes moved 103 to 105 GB/s whatever the row size (``matrix_multiplication.rst`` @49ee15c5).
    dma_issue_ns
        A queue is busy this long for each copy: 600 where hardware writes descriptors
        (``nki/deep-dives/nki-dge.rst``); for prepared descriptors (trn1) 50 is assumed.
    dma_start_ns, dma_start_wait_ns, dma_finish_ns
        From trigger to first byte; the same when the trigger waited for another engine
        (``nki/deep-dives/nki-dma-bandwidth-guide.rst``); from last byte to the start of the consumer
        (read from profiles of ``nki-dma-overview.rst``).
    dma_hard_bytes_per_ns
        Rate that no kernel can exceed: 16 engines of 27.2 or 38.4 (``nki-dma-overview.rst``), or on trn1
        the core's share of HBM (A2).
    dma_transpose_share, dma_transpose_sbuf_share
        Share of the DMA rate that a transpose from HBM or SBUF reaches (A3; assumed for trn3); 0 where no
        figure is published, and every element is taken to be a row of its own.
    start_ns, end_ns
        Of an executable, before the first and after the last instruction. trn1: 17 and 5 us
        (``nki/guides/tutorials/fused_mamba.rst``, profile). trn2: 30 and 5 us, fitted once to the square
        sweep of ``trn2-scoreboard.md``; assumed for trn3.
    link_in_bytes_per_second, link_out_bytes_per_second
        Host to device and back, trn1 through torch_xla (``trnsci/trntensor:
        docs/design/matmul_dispatch_findings.md`` @cfad1078); assumed equal elsewhere.
    kernel_factors
        Names of kernels and what their published times were found to have to be multiplied by.
    measured
        Day of the profile of this machine that replaced figures (`numtrn.profile`); empty: all are published.
    """

    name: str
    generation: int
    cores: int
    cores_per_hbm: int
    hbm_share_bytes_per_ns: float
    sbuf_partition_bytes: int
    tensor_ghz: float
    vector_ghz: float
    scalar_ghz: float
    gpsimd_ghz: float
    dma_bytes_per_ns: float
    lnc: int = 1
    moving_free_max: int = 512
    stationary_free_max: int = 128
    partitions: int = 128
    psum_banks: int = 8
    psum_bank_bytes: int = 2 * KIB
    fp32_passes: int = 4
    launch_seconds: float = 1.0e-3
    kernel_seconds: float = 50e-6
    dma_row_ns: float
    dma_row_bytes_per_ns: float
    dma_issue_ns: float
    dma_hard_bytes_per_ns: float
    matmul_stretch: float
    matmul_latency_ns: float
    ramp_ns: float
    vector_latency_cycles: int
    scalar_latency_cycles: int
    start_ns: float
    end_ns: float
    dma_small_bytes: int = 0
    dma_small_bytes_per_ns: float = 1.0
    dma_transpose_share: float = 0.9
    dma_transpose_sbuf_share: float = 0.5
    matmul_min_columns: int = 64
    engine_min_cycles: int = 64
    table_load_ns: float = 1300.0
    semaphore_ns: float = 200.0
    dma_engines: int = 16
    dma_partitions: int = 8
    dma_start_ns: float = 900.0
    dma_start_wait_ns: float = 1300.0
    dma_finish_ns: float = 200.0
    link_in_bytes_per_second: float = 4.5e9
    link_out_bytes_per_second: float = 5.0e9
    kernel_factors: tuple[tuple[str, float], ...] = ()
    measured: str = ""

    @property
    def sbuf_usable_bytes(self) -> int:
        """SBUF bytes of one partition that a kernel may use."""
        return self.sbuf_partition_bytes - 16 * KIB

    def factor(self, kernel: str) -> float:
        """What the published time of a kernel is multiplied by; 1 without a profile that knows it."""
        return dict(self.kernel_factors).get(kernel, 1.0)

    def hbm_of(self, core: int) -> int:
        """Which stack of HBM a core's memory is in, both counted over all devices that a process sees.

        Cores are logical ones: physical, or pairs of them that share a stack.

        >>> [CHIPS["trn2"].hbm_of(core) for core in range(4)], CHIPS["trn1"].hbm_of(1)
        ([0, 0, 1, 1], 1)
        >>> [CHIPS["trn2"].of_cores(2).hbm_of(core) for core in range(4)]
        [0, 1, 2, 3]
        """
        return core // max(1, self.cores_per_hbm // self.lnc)

    def of_cores(self, lnc: int) -> Chip:
        """The same with so many physical cores to a logical one."""
        return self if lnc == self.lnc else replace(self, lnc=lnc)

    @property
    def scalar_engine_copies(self) -> bool:
        """Whether ``nisa.tensor_copy`` may run on ScalarE (not on generation 2; ISA ``tensor_copy``)."""
        return self.generation >= 3


CHIPS: dict[str, Chip] = {
    "trn1": Chip(
        name="trn1",
        generation=2,
        cores=2,
        cores_per_hbm=1,
        hbm_share_bytes_per_ns=410.0,
        sbuf_partition_bytes=192 * KIB,
        tensor_ghz=2.8,
        vector_ghz=1.12,
        scalar_ghz=1.4,
        gpsimd_ghz=1.4,
        dma_bytes_per_ns=272.0,
        dma_row_ns=31.0,
        dma_row_bytes_per_ns=17.0,
        dma_small_bytes=1024,
        dma_small_bytes_per_ns=6.5,
        dma_issue_ns=50.0,
        dma_hard_bytes_per_ns=410.0,
        dma_transpose_share=0.0,
        dma_transpose_sbuf_share=0.0,
        matmul_stretch=1.17,
        matmul_latency_ns=157.0,
        ramp_ns=0.0,
        vector_latency_cycles=100,
        scalar_latency_cycles=200,
        start_ns=17e3,
        end_ns=5e3,
    ),
    "trn2": Chip(
        name="trn2",
        generation=3,
        cores=8,
        cores_per_hbm=2,
        hbm_share_bytes_per_ns=362.5,
        sbuf_partition_bytes=224 * KIB,
        tensor_ghz=2.4,
        vector_ghz=0.96,
        scalar_ghz=1.2,
        gpsimd_ghz=1.2,
        dma_bytes_per_ns=368.0,
        dma_row_ns=10.0,
        dma_row_bytes_per_ns=24.7,
        dma_issue_ns=600.0,
        dma_hard_bytes_per_ns=435.0,
        matmul_stretch=1.012,
        matmul_latency_ns=163.0,
        ramp_ns=3e3,
        vector_latency_cycles=144,
        scalar_latency_cycles=360,
        start_ns=30e3,
        end_ns=5e3,
    ),
    "trn3": Chip(
        name="trn3",
        generation=4,
        cores=8,
        cores_per_hbm=2,
        hbm_share_bytes_per_ns=587.5,
        sbuf_partition_bytes=256 * KIB,
        tensor_ghz=2.4,
        vector_ghz=1.2,
        scalar_ghz=1.2,
        gpsimd_ghz=1.2,
        dma_bytes_per_ns=528.0,
        dma_row_ns=10.0,
        dma_row_bytes_per_ns=33.0,
        dma_issue_ns=600.0,
        dma_hard_bytes_per_ns=614.4,
        matmul_stretch=1.05,
        matmul_latency_ns=163.0,
        ramp_ns=3e3,
        vector_latency_cycles=144,
        scalar_latency_cycles=360,
        start_ns=30e3,
        end_ns=5e3,
        moving_free_max=4096,
    ),
}
"""The chips by name."""
