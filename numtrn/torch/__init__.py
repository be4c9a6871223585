"""numtrn's products as PyTorch operators: ``numtrn.torch.gemm(a, b)``, or ``torch.ops.numtrn.gemm(a, b)``.

Registered with ``torch.library``: shape inference for ``torch.compile``, gradients, ``vmap``. On the host
they are numtrn's own calls: by kernels where a block is open and its plan says so, else by PyTorch, with the
reason in the session. Importing this module imports torch; ``import numtrn`` does not.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "numtrn.torch needs PyTorch, which is not installed here: pip install 'numtrn[torch]'", name="torch"
    ) from missing

from numtrn.torch.functions import gemm, mp2_pairs, rank_k, symm, trmm, trsm

__all__ = ["gemm", "mp2_pairs", "rank_k", "symm", "trmm", "trsm"]
