"""A device "neuron" of PyTorch's, PrivateUse1 as TorchNeuron is, and a target that launches with its tensors.

`register_device` is for a process of its own: PyTorch cannot take a device back. What the device computes,
the host does; what a launch may take is as the NKI documentation says: contiguous tensors of at most 32 bits,
all on the device.
"""

import ml_dtypes
import numpy as np

from numtrn.machine import CHIPS
from numtrn.targets import Resident
from numtrn.targets.interpreter import Interpreter
from tests.torch.support import torch


def to_array(tensor):
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


class TensorTarget:
    """Launches kernels on the interpreter with tensors, which must lie on one device and be in order."""

    name = "neuron"

    def __init__(self, chip="trn2", device="cpu"):
        self.chip = CHIPS[chip]
        self.device = torch.device(device)
        self.launched = []
        self._interpreter = Interpreter(self.chip)

    def __getattr__(self, name):
        return getattr(self._interpreter, name)

    def keep(self, kernel, arrays, parameters):
        tensors = [array.value for array in arrays]
        for tensor in tensors:
            assert isinstance(tensor, torch.Tensor)
            assert tensor.device == self.device
            assert tensor.is_contiguous()
            assert tensor.dtype.itemsize <= 4
        self.launched.append((kernel, *(tuple(tensor.shape) for tensor in tensors), parameters))
        hosted = [Resident(to_array(host(tensor))) for tensor in tensors]
        found = self._interpreter.keep(kernel, hosted, parameters)
        return tuple(Resident(self._sent(torch.from_numpy(one.value))) for one in found)

    def _sent(self, tensor):
        return tensor if self.device.type == "cpu" else DeviceTensor(tensor)


def host(tensor):
    return tensor.value if isinstance(tensor, DeviceTensor) else tensor


VALUES = {}
"""By storage: PyTorch's own views are other objects, of the same one."""


class DeviceTensor(torch.Tensor):
    """A tensor of the device, with its value on the host."""

    @staticmethod
    def __new__(cls, value):
        empty = torch._C._acc.create_empty_tensor(value.shape, value.dtype)
        empty.__class__ = cls
        return empty

    def __init__(self, value):
        VALUES[self.untyped_storage()._cdata] = value.contiguous()

    @property
    def value(self):
        return VALUES[self.untyped_storage()._cdata].reshape(self.shape)


def register_device():
    """PyTorch knows the device "neuron"; gives what keeps it."""
    from torch.utils._pytree import tree_map
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend("neuron")

    def hosted(value):
        return torch.device("cpu") if isinstance(value, torch.device) else host(value)

    def sent(value):
        return DeviceTensor(value) if isinstance(value, torch.Tensor) else value

    def computed(operator, *args, **kwargs):
        return tree_map(sent, operator(*tree_map(hosted, args), **tree_map(hosted, kwargs)))

    rest, padding = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    rest.fallback(computed, "PrivateUse1")
    pad = torch.ops.aten.constant_pad_nd.default  # PyTorch would make it of writes into a view
    padding.impl("constant_pad_nd", lambda *args: computed(pad, *args), "PrivateUse1")
    return rest, padding


def numbers(*shape, seed=0, dtype=np.float32):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(dtype))
