"""A block without a target: what is offered to the kernels is noted, and computed here or declined."""

import contextlib
from dataclasses import dataclass, field

import numpy as np
import pytest

from numtrn import block, dispatch, intercept
from numtrn.options import Options
from numtrn.request import Cholesky, Contraction, Gemm, Routine, Solve
from numtrn.session import Call, Session


def compute(request, operands):
    """The result by NumPy; what may not be used of it is NaN, and its storage order is not the caller's."""
    if isinstance(request, Routine):
        return None
    if isinstance(request, Contraction):
        result = np.einsum(request.subscripts, *operands.inputs, dtype=request.dtype, casting="unsafe")
        return np.asarray(result)[..., None].repeat(2, axis=-1)[..., 0]
    assert all(operand.dtype == request.dtype for operand in operands.inputs)
    if isinstance(request, Cholesky):
        lower = np.tril(operands.inputs[0])
        return np.asfortranarray(np.linalg.cholesky(lower + np.tril(lower, -1).conj().T))
    if isinstance(request, Solve):
        *factors, columns = operands.inputs
        result = columns * (operands.alpha if np.iscomplexobj(columns) else complex(operands.alpha).real)
        for factor, read in zip(factors, request.factors, strict=True):
            result = np.linalg.solve(triangle(factor, read.uplo, read.unit), result)
        return np.asfortranarray(result)
    a, b = multiplied(request, operands)
    assert a.shape == (request.batch, request.m, request.k)
    assert b.shape == (request.batch, request.k, request.n)
    assert (operands.c is not None) == request.reads_c
    scalar = np.dtype(request.dtype).type
    real = np.dtype(request.dtype).kind == "f"
    factors = [
        scalar(factor.real if real else factor) for factor in map(complex, (operands.alpha, operands.beta))
    ]
    result = np.matmul(a, b) if request.structure == "her2k" else factors[0] * np.matmul(a, b)
    if request.reads_c:
        result = result + factors[1] * operands.c
    if request.triangle:
        kept = (
            np.tri(request.n, dtype=bool) if request.triangle == "lower" else np.tri(request.n, dtype=bool).T
        )
        result = np.where(kept, result, np.nan).astype(request.dtype)
    return np.asfortranarray(result)


def triangle(matrix, uplo, unit=False):
    """What is read of a triangular matrix."""
    read = (np.tril if uplo == "lower" else np.triu)(matrix)
    return read - np.diag(np.diag(read)) + np.eye(len(read)) if unit else read


def multiplied(request, operands):
    """A and B in full, as `numtrn.request.Structure` defines them."""
    a, b = operands.inputs
    adjoint = b.swapaxes(1, 2).conj() if request.structure == "her2k" else b.swapaxes(1, 2)
    match request.structure:
        case "general":
            assert not a.flags.writeable
        case "syrk":
            np.testing.assert_array_equal(b, a.swapaxes(1, 2))
        case "herk":
            np.testing.assert_array_equal(b, a.swapaxes(1, 2).conj())
        case "syr2k" | "her2k":
            scale = operands.alpha if request.structure == "her2k" else 1.0
            left = np.concatenate((scale * a, np.conj(scale) * b), axis=2).astype(a.dtype)
            other = a.swapaxes(1, 2).conj() if request.structure == "her2k" else a.swapaxes(1, 2)
            return left, np.concatenate((adjoint, other), axis=1)
        case "symm" | "hemm":
            read = triangle(a[0], request.stored)
            if request.structure == "hemm":
                np.fill_diagonal(read, read.diagonal().real)
            mirror = read.T.conj() if request.structure == "hemm" else read.T
            return (read + mirror - np.diag(np.diag(read)))[None], b
        case "trmm":
            return triangle(a[0], request.stored, request.unit).astype(a.dtype)[None], b
    return a, b


@dataclass
class Spy:
    """Requests that were offered, and what answers them."""

    answer: object = compute
    requests: list = field(default_factory=list)

    def offer(self, request, operands):
        self.requests.append(request)
        result = self.answer(request, operands)
        here = block.current()
        if result is None and here is not None:
            shapes = request.shapes
            here.session.record(
                Call(
                    function=request.function,
                    shapes=shapes,
                    dtype=request.dtype,
                    route="numpy",
                    reason="the test declines",
                    work=request.work,
                )
            )
        return result

    @contextlib.contextmanager
    def block(self, min_work=0.0):
        """Open a block as `numtrn.enabled` does; gives it."""
        opened = self.enter(min_work)
        try:
            yield opened
        finally:
            self.leave(opened)

    def enter(self, min_work=0.0):
        parent = block.current()
        gate = intercept.enter(min_work)
        opened = block.OpenBlock(
            options=Options(),
            target=None,
            session=Session("interpreter", "trn2", small=lambda: intercept.small_calls(gate)),
            min_work=min_work,
            parent=parent,
            gate=gate,
        )
        block.variable.set(opened)
        return opened

    def leave(self, opened):
        opened.alive = False
        intercept.leave(opened.gate)
        if block.variable.get() is opened:
            block.variable.set(block.current())

    def inside(self, function, min_work=0.0):
        """Result of a call in a block, and the requests that it made."""
        self.requests.clear()
        with self.block(min_work):
            result = function()
        return result, list(self.requests)

    def hit(self, function):
        """Whether a call, made as things are, is asked about."""
        self.requests.clear()
        function()
        return bool(self.requests)


@pytest.fixture(scope="session", autouse=True)
def _installed():
    layers = intercept.install()
    assert all(layer.on for layer in layers), layers


@pytest.fixture
def spy(monkeypatch):
    from numtrn.intercept import gate

    spy = Spy()
    monkeypatch.setattr(dispatch, "offer", spy.offer)
    yield spy
    assert not gate.hook.is_asking(), "a test left a block open"
    assert block.current() is None


def gemm_extents(requests):
    """(m, k, n) of the GEMMs among requests."""
    return [(r.m, r.k, r.n) for r in requests if isinstance(r, Gemm)]
