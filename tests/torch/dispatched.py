"""Run by test_device.py in a process of its own: operators on tensors of the device "neuron"."""

import pytest

import numtrn
import numtrn.api
from tests.torch.neuron import DeviceTensor, TensorTarget, numbers, register_device
from tests.torch.support import device, nt, torch

library = register_device()
target = TensorTarget(device="neuron:0")
numtrn.api.select = lambda *_: target
a, b = numbers(3, 40, 50), numbers(3, 50, 20, seed=1)
left, right = DeviceTensor(a), DeviceTensor(b)
assert left.device.type == device.DEVICES["privateuseone"]

# Without a block PyTorch multiplies, on the device.
found = nt.gemm(left, right)
assert isinstance(found, DeviceTensor)
assert torch.equal(found.value, a @ b)
assert not target.launched

# In a block kernels do, and what they give stays there.
with numtrn.enabled(min_work=0, strict=True) as session:
    found = nt.gemm(left, right)
    again = nt.rank_k(found)
assert [call.bytes for call in session.calls] == [0, 0]
assert session.counts["kernel"] == 2
assert len(target.launched) == sum(call.launches for call in session.calls)
torch.testing.assert_close(again.value, (a @ b) @ (a @ b).mT, rtol=1e-4, atol=1e-3)

# Tensors of two devices, and float64, are errors that say what to do.
for call, words in (
    (lambda: nt.gemm(left, b), "takes tensors of one device; got cpu and neuron:0"),
    (lambda: nt.gemm(DeviceTensor(a.double()), DeviceTensor(b.double())), "32 bits and less; got float64"),
    (lambda: nt.mp2_pairs(left, *(DeviceTensor(numbers(n, dtype=float)) for n in (3, 40))), "got float64"),
):
    with pytest.raises((TypeError, ValueError), match=words):
        call()

# Gradients, which PyTorch computes in a thread of the device's, are the block's too while it is open.
x = DeviceTensor(a)
x.requires_grad_()
ones = DeviceTensor(torch.ones(3, 40, 20))
with numtrn.enabled(min_work=0, strict=True) as session:
    value = nt.gemm(x, right)
    (grad,) = torch.autograd.grad(value, (x,), ones, retain_graph=True)
assert session.counts["kernel"] == 2, session
torch.testing.assert_close(grad.value, ones.value @ b.mT)
(grad,) = torch.autograd.grad(value, (x,), ones)
assert session.counts["kernel"] == 2, session
torch.testing.assert_close(grad.value, ones.value @ b.mT)
print("good")
