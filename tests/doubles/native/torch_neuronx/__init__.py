"""Double of ``torch_neuronx`` as TorchNeuron is: devices "neuron:0" ..., with real torch or the stand-in.

What is documented, in ``aws-neuron/aws-neuron-sdk``: the device's name, work that is queued at once and runs
in the order of its device, copies to the host that wait (``frameworks/torch/pytorch-native-overview.rst``);
kernels called with tensors of the device, as they are or within `nki_op` (there, appendix, and
``nki/get-started/about/index.rst``); all inputs on the same device
(``neuron-runtime/explore/direct-hbm-tensor-alloc.rst``); ``torch.neuron.synchronize``
(``tools/neuron-explorer/how-to-profile-workload.rst``). What no document shows is refused: kernels launched
by two threads at once, tensors of another device than PyTorch's current one, copies between devices.
"""

from __future__ import annotations

import inspect
import threading
import types
import weakref
from importlib import metadata
from typing import Any

import neuron_double as double
import numpy as np


def _autoload() -> None:
    """What PyTorch calls at the end of its own import; importing this module was all."""


import torch  # noqa: E402
from neuron_double import Misuse  # noqa: E402
from neuron_tensors import from_array, to_array  # noqa: E402

__version__ = metadata.version("torch-neuronx")
REAL = hasattr(torch.Tensor, "_make_wrapper_subclass")

_current = threading.local()
_launching = threading.Lock()
operators: dict[str, Any] = {}
"""What `nki_op` has registered."""


def device_count() -> int:
    """Cores that this process sees; the runtime starts with it."""
    double.device.start()
    return double.visible_cores()


def current_device() -> int:
    """The current device of this thread."""
    return int(getattr(_current, "index", 0))


def set_device(index: int) -> None:
    """Change it."""
    _checked(index)
    _current.index = index


def synchronize(index: int | None = None) -> None:
    """Wait; what was launched has been computed already."""


def _checked(index: int) -> int:
    if not 0 <= index < device_count():
        raise RuntimeError(f"invalid device ordinal {index}: there are {device_count()}")
    return index


class _State:
    """What a tensor of a device is: its value, where it is, and what became of its computation."""

    def __init__(self, value: Any, index: int) -> None:
        self.value, self.index = value, index
        self.failure: Exception | None = None
        self.nbytes = to_array(value).nbytes
        double.device.allocate(self.nbytes)
        weakref.finalize(self, double.device.release, self.nbytes).atexit = False


def _sent(tensor: Any, where: Any) -> Any:
    """``tensor.to(device)``, which reads the tensor's memory before it returns."""
    index = _checked(current_device() if where.index is None else where.index)
    array = to_array(tensor)
    if array.dtype.name in double.WIDE:
        raise Misuse(f"{array.dtype.name} does not cross: NKI has no such tensors")
    if not tensor.is_contiguous():
        raise Misuse("non-contiguous tensors are not specified as kernel inputs; call .contiguous()")
    double.device.transfers["to"] += array.nbytes
    return NeuronTensor(_State(from_array(array), index))


def _brought(state: _State) -> Any:
    if state.failure is not None:
        raise state.failure
    double.device.transfers["from"] += state.nbytes
    return from_array(to_array(state.value))


def call_kernel(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compile and queue a kernel; what goes wrong when it runs shows later."""
    if not _launching.acquire(blocking=False):
        raise Misuse("two threads launch kernels at once, which no document allows")
    try:
        return _launched(kernel, args, kwargs)
    finally:
        _launching.release()


def _launched(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    states = [_state(value) for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    index = states[0].index
    if any(state.index != index for state in states):
        raise Misuse("all inputs of a launch are on the same device")
    if index != current_device():
        raise Misuse(f"operands are on neuron:{index}, and the current device is neuron:{current_device()}")
    kernel.check_cores()

    def plain(value: Any) -> Any:
        return to_array(value.state.value) if isinstance(value, NeuronTensor) else value

    arrays, named = [plain(value) for value in args], {name: plain(value) for name, value in kwargs.items()}
    double.device.compile(kernel.program(tuple(arrays), named), kernel.__name__)
    outputs = double.compute(kernel.inner(), arrays, named, kernel.target())
    made = [_State(from_array(output), index) for output in outputs]
    failure = next((state.failure for state in states if state.failure), None)
    if failure is None:
        try:
            double.device.execute(kernel.__name__, index)
        except double.RuntimeFailure as problem:
            failure = problem
    for state in made:
        state.failure = failure
    return NeuronTensor(made[0]) if len(made) == 1 else tuple(map(NeuronTensor, made))


def _state(tensor: Any) -> _State:
    if not isinstance(tensor, NeuronTensor):
        raise Misuse(f"a kernel is launched with tensors of the device neuron; got one on {tensor.device}")
    if not tensor.is_contiguous():
        raise Misuse("non-contiguous tensors are not specified as kernel inputs; call .contiguous()")
    return tensor.state


def nki_op(name: str, fn: Any = None, mutates_args: Any = None) -> Any:
    """Register a function that calls kernels as an operator of PyTorch's; see the sources above."""
    if fn is None:
        return lambda function: nki_op(name, function, mutates_args)
    if name.count("::") != 1:
        raise Misuse(f'operators are called "namespace::name"; got {name!r}')
    if mutates_args is None:
        raise Misuse("say which arguments the operator writes to: mutates_args={}")
    signature = inspect.signature(fn)
    kinds = [parameter.annotation for parameter in signature.parameters.values()]
    if inspect.Signature.empty in (*kinds, signature.return_annotation):
        raise Misuse("operators have explicit types, as (x: torch.Tensor) -> torch.Tensor")
    operators[name] = fn
    return torch.library.custom_op(name, fn, mutates_args=mutates_args)


def _as_device(where: Any) -> Any:
    if isinstance(where, str) and where.partition(":")[0] == "neuron":
        return torch.device(where)
    return where if isinstance(where, torch.device) and where.type == "neuron" else None


def _moved(tensor: Any, where: Any) -> Any:
    """``to`` where the device is "neuron"."""
    if isinstance(tensor, NeuronTensor):
        if where.index in (None, tensor.state.index):
            return tensor
        raise Misuse(f"no document shows a copy from neuron:{tensor.state.index} to {where}")
    return _sent(tensor, where)


if REAL:
    torch.utils.rename_privateuse1_backend("neuron")

    class NeuronTensor(torch.Tensor):  # type: ignore[no-redef]
        @staticmethod
        def __new__(cls, state: _State) -> Any:
            inner = state.value
            return torch.Tensor._make_wrapper_subclass(
                cls,
                inner.shape,
                dtype=inner.dtype,
                device=torch.device("neuron", state.index),
                strides=inner.stride(),
            )

        def __init__(self, state: _State) -> None:
            self.state = state

        def numpy(self, *, force: bool = False) -> np.ndarray:
            raise TypeError("can't convert neuron device type tensor to numpy. Use Tensor.cpu() first")

        def __repr__(self) -> str:
            return repr(_brought(self.state))

        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return _dispatched(func, args, kwargs or {})

    def _dispatched(func: Any, args: Any, kwargs: Any) -> Any:
        from torch.utils._pytree import tree_map

        name = func.overloadpacket.__name__
        operator = operators.get(func.name().partition(".")[0])
        if operator is not None:
            return operator(*args, **kwargs)
        if name == "_to_copy" and getattr(kwargs.get("device"), "type", "") == "cpu":
            rest = {key: value for key, value in kwargs.items() if key != "device"}
            value = _brought(args[0].state)
            return func(value, **rest) if rest.get("dtype") else value
        if name == "detach":
            return NeuronTensor(args[0].state)
        index = next(value.state.index for value in args if isinstance(value, NeuronTensor))

        def inner(value: Any) -> Any:
            if isinstance(value, NeuronTensor):
                return value.state.value
            return torch.device("cpu") if isinstance(value, torch.device) else value

        def wrapped(value: Any) -> Any:
            return NeuronTensor(_State(value, index)) if isinstance(value, torch.Tensor) else value

        double.device.eager.append(name)
        return tree_map(wrapped, func(*tree_map(inner, args), **tree_map(inner, kwargs)))

    def _to(self: Any, *args: Any, **kwargs: Any) -> Any:
        where = _as_device(args[0] if args else kwargs.get("device"))
        return _GENUINE["to"](self, *args, **kwargs) if where is None else _moved(self, where)

    _ACCELERATOR = {
        "device_count": device_count,
        "current_device_index": current_device,
        "set_device_index": set_device,
        "synchronize": synchronize,
    }
    _GENUINE = {"to": torch.Tensor.to, **{name: getattr(torch.accelerator, name) for name in _ACCELERATOR}}

    _NOTHING = types.SimpleNamespace(
        is_available=lambda: False,
        device_count=lambda: 0,
        _is_in_bad_fork=lambda: False,
        manual_seed_all=lambda seed: None,
    )
    """The device's module once this one is gone: PyTorch never forgets the name, and asks for its module."""

    def install() -> None:
        torch.Tensor.to = _to
        for name, function in _ACCELERATOR.items():
            setattr(torch.accelerator, name, function)
        torch.neuron = _MODULE

    def uninstall() -> None:
        torch.Tensor.to = _GENUINE["to"]
        for name in _ACCELERATOR:
            setattr(torch.accelerator, name, _GENUINE[name])
        torch.neuron = _NOTHING

else:

    class NeuronTensor(torch.Tensor):  # type: ignore[no-redef]
        device = property(lambda self: torch.device("neuron", self.state.index))
        _array = property(lambda self: to_array(self.state.value))

        def __init__(self, state: _State) -> None:
            self.state = state

        def numpy(self) -> np.ndarray:
            raise TypeError("can't convert neuron device type tensor to numpy. Use Tensor.cpu() first")

        def to(self, where: Any) -> Any:
            found = _as_device(where)
            return self.cpu() if found is None else _moved(self, found)

        def cpu(self) -> Any:
            return _brought(self.state)

    def install() -> None:
        torch._to_device["neuron"] = _sent
        torch.neuron = _MODULE
        torch.accelerator = types.SimpleNamespace(
            device_count=device_count,
            current_device_index=current_device,
            set_device_index=set_device,
            synchronize=synchronize,
        )

    def uninstall() -> None:
        torch._to_device.clear()


_MODULE = types.SimpleNamespace(
    is_available=lambda: device_count() > 0,
    device_count=device_count,
    current_device=current_device,
    set_device=set_device,
    synchronize=synchronize,
)

install()
