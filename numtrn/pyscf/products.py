"""Products of PySCF's ``lib``: ``einsum`` and ``contract``, ``dot``, ``ddot`` and ``zdot``, as requests.

Where a plan refuses, PySCF's own code computes. What PySCF multiplies inside its C libraries is not seen.
"""

from __future__ import annotations

import time
from functools import wraps
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numtrn.block import OpenBlock, suspended
from numtrn.forms import first_places
from numtrn.intercept import gate
from numtrn.pyscf.reach import here
from numtrn.pyscf.replacements import Original, register
from numtrn.request import Array, Contraction, Gemm, Operands, Request
from numtrn.subscripts import parse

__all__: list[str] = []

KERNELS = "fdFD"


def _asking() -> OpenBlock | None:
    """The block to ask, unless this is numtrn's own computing."""
    return here() if gate.hook.is_asking() else None


def _offer(request: Request, operands: Operands) -> Array | None:
    """What kernels make of it, with nothing caught meanwhile."""
    value: Array | None = gate.hook.call_busy(gate.offer, request, operands)
    return value


# ---- lib.dot: C = alpha AB + beta C ----


@register("pyscf.lib.numpy_helper", "_dgemm", "_zgemm", parameters="trans_a trans_b m n k a b c alpha beta")
def _gemm(original: Original) -> Original:
    function = {"_dgemm": "pyscf.lib.ddot", "_zgemm": "pyscf.lib.zdot"}[original.__name__]
    dtype = {"_dgemm": "float64", "_zgemm": "complex128"}[original.__name__]

    @wraps(original)
    def gemm(
        trans_a: str,
        trans_b: str,
        m: int,
        n: int,
        k: int,
        a: Array,
        b: Array,
        c: Array,
        alpha: Any = 1,
        beta: Any = 0,
        offseta: int = 0,
        offsetb: int = 0,
        offsetc: int = 0,
    ) -> Array:
        def by_pyscf() -> Array:
            result: Array = original(
                trans_a, trans_b, m, n, k, a, b, c, alpha, beta, offseta, offsetb, offsetc
            )
            return result

        block = _asking()
        if block is None:
            return by_pyscf()
        if m * n * k < block.min_work:
            gate.hook.count_small(m * n * k)
            return by_pyscf()
        try:
            left = _matrix(a, m, k, offseta, dtype, trans_a)
            right = _matrix(b, k, n, offsetb, dtype, trans_b)
            target = _matrix(c, m, n, offsetc, dtype)
        except Exception:  # arguments that are wrong, of which the original tells, or empty
            return by_pyscf()
        same = m == n and first_places((left, right.T)) == (0, 0)
        request = Gemm(
            function=function,
            dtype=dtype,
            m=m,
            k=k,
            n=n,
            reads_c=beta != 0,
            structure="syrk" if same else "general",
        )
        operands = Operands(
            inputs=(left[None], right[None]), c=target[None] if beta != 0 else None, alpha=alpha, beta=beta
        )
        value = _offer(request, operands) if alpha != 0 else None
        if value is None:
            return _timed(block, by_pyscf) if alpha != 0 else by_pyscf()
        np.copyto(target[None], value)
        return c

    return gemm


def _matrix(stored: Array, rows: int, columns: int, offset: int, dtype: str, trans: str = "N") -> Array:
    """The part of C-contiguous memory that a product reads, as it reads in the product.

    Raises
    ------
    ValueError
        Where that is not all in the array.
    """
    if trans == "T":
        return _matrix(stored, columns, rows, offset, dtype).T
    leading = stored.shape[1]
    end = offset + (rows - 1) * leading + columns
    inside = offset >= 0 and end <= stored.size and columns <= leading
    if trans != "N" or stored.dtype != dtype or not stored.flags.c_contiguous or not inside:
        raise ValueError("arguments of which no product can be read")
    item = stored.itemsize
    if not rows * columns:
        raise ValueError("nothing to multiply")
    return as_strided(stored.reshape(-1)[offset:], (rows, columns), (leading * item, item))


def _timed(block: OpenBlock, compute: Original) -> Any:
    """What PySCF makes of a call that was offered and not taken."""
    start = time.perf_counter()
    result = compute()
    block.session.time_last(time.perf_counter() - start)
    return result


# ---- lib.einsum: pairs of operands ----


@register("pyscf.lib.numpy_helper", "contract", parameters="subscripts A B alpha beta out")
@register("pyscf.lib", "contract", parameters="subscripts A B alpha beta out")
def _contract(original: Original) -> Original:
    @wraps(original)
    def contract(
        subscripts: str, A: Any, B: Any, alpha: Any = 1, beta: Any = 0, out: Any = None, **kwargs: Any
    ) -> Any:
        block = _asking()
        if block is None or kwargs:
            return original(subscripts, A, B, alpha, beta, out, **kwargs)
        operands = np.asarray(A), np.asarray(B)  # either may be a dataset in a file
        request = _contraction(subscripts, operands)
        if request is None or request.work < block.min_work or not _fits(out, request):
            return original(subscripts, *operands, alpha, beta, out)
        value = _offer(request, Operands(inputs=operands))
        if value is not None:
            return _scaled(value, alpha, beta, out)
        with suspended():  # its pieces would be counted again
            return _timed(block, lambda: original(subscripts, *operands, alpha, beta, out))

    return contract


def _contraction(subscripts: str, operands: tuple[Array, Array]) -> Contraction | None:
    """What is asked; None where PySCF is to raise, or computes in another type."""
    if any(type(x) is not np.ndarray or x.dtype.char not in KERNELS or not x.size for x in operands):
        return None
    try:
        explicit, _ = parse((subscripts.replace(" ", ""), *operands))
    except Exception:  # wrong subscripts, of which the original tells
        return None
    request = Contraction(
        function="pyscf.lib.einsum",
        dtype=np.result_type(*operands).name,
        subscripts=explicit,
        shapes=tuple(x.shape for x in operands),
        strides=tuple(x.strides for x in operands),
        same=first_places(operands),
    )
    extents, terms = request.extents, explicit.split("->")[0].split(",")
    agree = all(
        size == extents[label]  # PySCF broadcasts no label of a product
        for term, x in zip(terms, operands, strict=True)
        for label, size in zip(term, x.shape, strict=True)
    )
    return request if agree else None


def _fits(out: Any, request: Contraction) -> bool:
    """Whether the result can be written as it is; of what cannot, PySCF tells."""
    shape = tuple(request.extents[label] for label in request.subscripts.split("->")[1])
    wanted = request.dtype, shape, True
    return out is None or (
        type(out) is np.ndarray and (out.dtype.name, out.shape, out.flags.writeable) == wanted
    )


def _scaled(value: Array, alpha: Any, beta: Any, out: Any) -> Any:
    """The result alpha AB + beta C as PySCF returns it; C is not read where beta is zero."""
    product: Any = value if value.ndim else value[()]
    if alpha != 1:
        product = product * alpha
    if out is None:
        return product
    if beta == 0:
        out[...] = product
        return out
    out *= beta
    out += product
    return out
