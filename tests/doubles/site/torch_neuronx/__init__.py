"""Double of ``torch_neuronx``: the package, and ``trace`` of a kernel with tensors of the CPU.

``nki/get-started/quickstart-implement-run-kernel.rst`` traces kernels so. ``nki_op`` is the closed beta's
(``frameworks/torch/pytorch-native-overview.rst``), and not here.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

import torch_xla

__version__ = metadata.version("torch-neuronx")


def trace(func: Any, example_inputs: Any, **options: Any) -> Any:
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    if any(tensor.device.type != "cpu" for tensor in inputs):
        raise RuntimeError("torch_neuronx.trace takes tensors of the CPU")

    def traced(*args: Any) -> Any:
        given = func(*(tensor.to(torch_xla.device()) for tensor in args))
        return tuple(one.cpu() for one in given) if isinstance(given, tuple) else given.cpu()

    traced(*inputs)
    return traced
