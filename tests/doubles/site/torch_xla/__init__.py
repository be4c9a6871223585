"""Double of ``torch_xla``: a lazy device of one kind, with real torch or the stand-in.

Operations are recorded until `sync`, or until a value is asked for; what is recorded then is one program
(``about-neuron/arch/neuron-features/neuron-caching.rst``: lazy mode; ``nki/guides/framework_custom_op.rst``:
one NEFF for the whole graph). Compiler errors come from there, runtime errors with the first value that is
asked for. Host memory that was sent must not change until then.
"""

from __future__ import annotations

import hashlib
import os
import re
import weakref
from importlib import metadata
from typing import Any

import neuron_double as double
import numpy as np
import torch
from neuron_double import Misuse
from neuron_tensors import from_array, to_array

__version__ = metadata.version("torch_xla")
REAL = hasattr(torch.Tensor, "_make_wrapper_subclass")
_DEVICE = torch.device("xla", 0)


def device(index: int | None = None) -> Any:
    """The first device of this process."""
    double.device.start()
    return _DEVICE


class _State:
    """What a tensor of the device is: its value, whether it was executed, and what became of that."""

    def __init__(self, value: Any, host: np.ndarray | None = None) -> None:
        self.value = value
        self.host = host
        self.pending = False
        self.failure: Exception | None = None
        self.nbytes = to_array(value).nbytes
        double.device.allocate(self.nbytes)
        weakref.finalize(self, double.device.release, self.nbytes).atexit = False


class _Graph:
    """Operations recorded since the last program was cut."""

    def __init__(self) -> None:
        self.operations: list[tuple[str, str, list[_State], list[_State]]] = []
        self.sent: list[weakref.ref[_State]] = []


_graph = _Graph()


def reset() -> None:
    """Forget what is recorded."""
    _graph.__init__()  # type: ignore[misc]


def sync(wait: bool = False, reset_scope: bool = True) -> None:
    """Compile what is recorded as one program and start it; errors of its execution come later."""
    _check_host()
    operations, _graph.operations = _graph.operations, []
    if not operations:
        return
    numbers: dict[int, int] = {}
    text = []
    for name, key, inputs, outputs in operations:
        wires = [numbers.setdefault(id(state), len(numbers)) for state in (*inputs, *outputs)]
        text.append(f"{name} {key} {wires}")
    kernels = [name for name, *_ in operations]
    _check_flags()
    graph = "+".join(kernels) + "-" + hashlib.sha256("\n".join(text).encode()).hexdigest()
    double.device.compile(graph, kernels[-1])
    failure: Exception | None = None
    for name, _, inputs, outputs in operations:
        failure = failure or next((state.failure for state in inputs if state.failure), None)
        if failure is None:
            try:
                double.device.execute(name)
            except double.RuntimeFailure as problem:
                failure = problem
        for state in outputs:
            state.pending, state.failure = False, failure
    if wait and failure is not None:
        raise failure


def _check_flags() -> None:
    """Graphs are compiled for as many cores as the runtime joins; on trn2 the compiler's default is two.

    ``about-neuron/arch/neuron-features/logical-neuroncore-config.rst``.
    """
    if double.chip_of_device() == "trn1":
        return
    found = re.search(r"-(?:lnc|-lnc|-logical-nc-config)[= ](\d)", os.environ.get("NEURON_CC_FLAGS", ""))
    told = int(found.group(1)) if found else 2
    if told != double.device.start():
        raise double.runtime_failure(
            "NRT_INVALID", f"a graph compiled with -lnc {told}, runtime has {double.device.lnc}"
        )


def _check_host() -> None:
    for state in filter(None, (found() for found in _graph.sent)):
        if state.host is not None:
            same = state.host.tobytes() == to_array(state.value).tobytes()
            state.host = None
            if not same:
                raise Misuse("host memory changed between .to(device) and the transfer")
    _graph.sent.clear()


def _sent(tensor: Any) -> Any:
    """``tensor.to(device)``: torch may read the tensor's memory until the next program starts."""
    array = to_array(tensor)
    if array.dtype.name in double.WIDE:
        raise Misuse(f"{array.dtype.name} does not cross: NKI has no such tensors")
    if not tensor.is_contiguous():
        raise Misuse("non-contiguous tensors are not specified as kernel inputs; call .contiguous()")
    state = _State(from_array(array), array)
    double.device.transfers["to"] += array.nbytes
    _graph.sent.append(weakref.ref(state))
    return XlaTensor(state)


def _brought(state: _State) -> Any:
    """The value on the host, which waits for it."""
    if state.pending:
        sync()
    _check_host()
    if state.failure is not None:
        raise state.failure
    double.device.transfers["from"] += state.nbytes
    return from_array(to_array(state.value))


def call_kernel(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A kernel as an operation of the graph."""
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    for tensor in tensors:
        if not isinstance(tensor, XlaTensor):
            raise Misuse(f"a kernel is launched with tensors of the XLA device; got one on {tensor.device}")
        if not tensor.is_contiguous():
            raise Misuse("non-contiguous tensors are not specified as kernel inputs; call .contiguous()")
    kernel.check_cores()

    def plain(value: Any) -> Any:
        return to_array(value.state.value) if isinstance(value, XlaTensor) else value

    arrays = [plain(value) for value in args]
    named = {name: plain(value) for name, value in kwargs.items()}
    key = kernel.program(tuple(arrays), named)
    outputs = double.compute(kernel.inner(), arrays, named, kernel.target())
    made = [_State(from_array(output)) for output in outputs]
    for state in made:
        state.pending = True
    _graph.operations.append((kernel.__name__, key, [tensor.state for tensor in tensors], made))
    given = tuple(XlaTensor(state) for state in made)
    return given if len(given) > 1 else given[0]


if REAL:

    class XlaTensor(torch.Tensor):  # type: ignore[no-redef]
        @staticmethod
        def __new__(cls, state: _State) -> Any:
            inner = state.value
            return torch.Tensor._make_wrapper_subclass(
                cls, inner.shape, dtype=inner.dtype, device=_DEVICE, strides=inner.stride()
            )

        def __init__(self, state: _State) -> None:
            self.state = state

        def numpy(self, *, force: bool = False) -> np.ndarray:
            raise TypeError("can't convert xla:0 device type tensor to numpy. Use Tensor.cpu() first")

        def __repr__(self) -> str:
            return repr(_brought(self.state))

        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return _dispatched(func, args, kwargs or {})

    def _dispatched(func: Any, args: Any, kwargs: Any) -> Any:
        name = func.overloadpacket.__name__
        if name == "_to_copy":
            where = kwargs.get("device")
            if where is not None and where.type == "cpu":
                rest = {key: value for key, value in kwargs.items() if key != "device"}
                value = _brought(args[0].state)
                return func(value, **rest) if rest.get("dtype") else value
        if name == "detach":
            return XlaTensor(args[0].state)
        from torch.utils._pytree import tree_map

        states: list[_State] = []

        def inner(value: Any) -> Any:
            if isinstance(value, XlaTensor):
                states.append(value.state)
                return value.state.value
            if isinstance(value, torch.device):
                return torch.device("cpu")
            return value

        result = func(*tree_map(inner, args), **tree_map(inner, kwargs))
        constants = [value for value in args if not isinstance(value, torch.Tensor)]
        shapes = [(tuple(state.value.shape), state.value.dtype) for state in states]
        made: list[_State] = []

        def wrapped(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            state = _State(value)
            state.pending = True
            made.append(state)
            return XlaTensor(state)

        given = tree_map(wrapped, result)
        _graph.operations.append((name, f"{shapes} {constants}", states, made))
        return given

    _genuine_to = torch.Tensor.to

    def _to(self: Any, *args: Any, **kwargs: Any) -> Any:
        where = args[0] if args else kwargs.get("device")
        if isinstance(where, str) and where.startswith("xla"):
            where = _DEVICE
        if isinstance(where, torch.device) and where.type == "xla":
            return self if isinstance(self, XlaTensor) else _sent(self)
        return _genuine_to(self, *args, **kwargs)

    def install() -> None:
        torch.Tensor.to = _to

    def uninstall() -> None:
        torch.Tensor.to = _genuine_to

else:

    class XlaTensor(torch.Tensor):  # type: ignore[no-redef]
        device = _DEVICE

        def __init__(self, state: _State) -> None:
            self.state = state

        _array = property(lambda self: to_array(self.state.value))

        def numpy(self) -> np.ndarray:
            raise TypeError("can't convert xla:0 device type tensor to numpy. Use Tensor.cpu() first")

        def view(self, kind: Any) -> Any:
            raise Misuse("an operation on the device is a program of its own")

        reshape = contiguous = view

        def to(self, where: Any) -> Any:
            return self if getattr(where, "type", where) != "cpu" else self.cpu()

        def cpu(self) -> Any:
            return _brought(self.state)

    def install() -> None:
        torch._to_device["xla"] = lambda tensor, where: _sent(tensor)

    def uninstall() -> None:
        torch._to_device.clear()


install()
