"""Names of NKI that the static checks know: those the interpreter may lack, removed, late and special ones.

Sources: ISA and LANG (``nki/api/nki/isa/__init__.py``, ``nki/api/nki/language/__init__.py``), their history
from NKI 0.3.0 to 0.6.0, and ``nki/migration/index.rst``, in ``aws-neuron/aws-neuron-sdk`` at 81ce03ae.
"""

from __future__ import annotations

__all__ = [
    "ALLOCATE",
    "DEPRECATED",
    "ENUMS",
    "LATER",
    "LATER_KEYWORDS",
    "LATER_METHODS",
    "OBSERVED_ISA",
    "OPERATORS",
    "OTHER_ISA",
    "OTHER_LANGUAGE",
    "REMOVED",
    "RESULTS",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OTHER_ISA = _words(
    "NkiInstruction NkiValidationError VirtualRegister activate2 activation_reduce bn_aggr bn_stats"
    " core_barrier dma_compute dropout exponential get_nc_sub_version get_nc_version local_gather max8"
    " nc_find_index8 nc_match_replace8 nc_matmul_mx nc_n_gather nonzero_with_count quantize_mx rand2"
    " rand_get_state rand_set_state range_select register_alloc register_load register_move register_store"
    " rng select_reduce sendrecv sequence_bounds set_rng_seed tensor_partition_reduce"
    " tensor_scalar_cumulative tensor_tensor_scan topk"
)
OTHER_LANGUAGE = _words(
    "DType all arctan average broadcast_to bypass ceil copy cos device_print divide dropout dynamic_range"
    " empty_like erf erf_dx expand_dims floor float4_e2m1fn_x4 float8_e4m3fn_x4 float8_e5m2_x4 float8_e8m0fnu"
    " fmod fori_loop full gather_flattened gelu gelu_apprx_sigmoid gelu_apprx_sigmoid_dx gelu_apprx_tanh"
    " gelu_dx load load_transpose2d logical_not matmul mean mish mod negative no_reorder ones prelu prod rand"
    " random_seed rms_norm shared_constant silu silu_dx sin softmax softplus store sum tan transpose trunc"
    " var where while_loop zeros zeros_like"
)
"""Names of ``nki.isa`` and ``nki.language`` that the interpreter may not have."""

OBSERVED_ISA = {
    "nki.isa.constants": "use members of nisa, such as nisa.engine",
    "nki.isa.gpsimd_engine": "use nisa.engine.gpsimd",
    "nki.isa.scalar_engine": "use nisa.engine.scalar",
    "nki.isa.vector_engine": "use nisa.engine.vector",
}
"""Names that the NKI library uses (``aws-neuron/nki-library`` at d2ad3a5) and no stub has."""
REMOVED = {
    "nki.isa.tensor_copy_dynamic_dst": "use tensor_copy with ap(scalar_offset=...)",
    "nki.isa.tensor_copy_dynamic_src": "use tensor_copy with ap(scalar_offset=...)",
    "nki.language.arange": "use slices",
    "nki.language.mgrid": "use slices",
    "nki.language.par_dim": "the first dimension is the partitions",
    "nki.benchmark": "measure outside the kernel",
    "nki.profile": "measure outside the kernel",
    "nki.baremetal": "call the kernel",
}
LATER = {
    "nki.isa.activate2": "0.4",
    "nki.isa.exponential": "0.4",
    "nki.isa.topk": "0.6",
    "nki.isa.get_nc_sub_version": "0.5",
    "nki.language.fori_loop": "0.6",
    "nki.language.while_loop": "0.6",
    "nki.language.float8_e8m0fnu": "0.5",
    **dict.fromkeys(
        (
            f"nki.language.tile_size.{name}"
            for name in ("psum_bank_fmax", "psum_bank_fmax_bytes", "sbuf_size_bytes", "sbuf_fmax")
        ),
        "0.4",
    ),
    "nki.language.tile_size.sbuf_fmax_bytes": "0.4",
    "nki.language.tile_size.psum_num_banks": "0.5",
}
"""Names that came after NKI 0.3.0."""
LATER_KEYWORDS = {
    ("dma_copy", "priority"): "0.4",
    ("dma_transpose", "priority"): "0.4",
    ("dma_compute", "oob_mode"): "0.4",
    ("tensor_scalar_reduce", "reduce_cmd"): "0.4",
    ("tensor_scalar_reduce", "reduce_init"): "0.4",
    ("tensor_scalar_reduce", "reduce_res_negate"): "0.6",
}
LATER_METHODS = frozenset(
    ("expand_dim", "flatten_dims", "is_contiguous", "is_indirect", "permute", "rearrange", "reshape_dim")
) | {"reinterpret_cast", "squeeze_dim", "vector_select"}
"""Methods of tensors since 0.5."""
DEPRECATED = {
    "nki.language.affine_range": "range",
    "nki.language.sequential_range": "range",
    "nki.language.static_range": "range",
    "nki.language.dynamic_range": "nl.fori_loop where 0.6 is enough, else range",
}
ALLOCATE = tuple(f"nki.language.{name}" for name in ("ndarray", "zeros", "ones", "full", "empty_like"))
ENUMS = frozenset(("dge_mode", "dma_engine", "engine", "oob_mode", "perf_mode", "reduce_cmd"))
OPERATORS = frozenset(("cmp_op", "comp_op0", "comp_op1", "op", "op0", "op1", "reduce_op"))
RESULTS = frozenset(("get_nc_version", "get_nc_sub_version", "register_alloc"))
"""Functions of ``nki.isa`` that give something back in all versions."""
