"""numtrn arrays and tensors by DLPack: the same memory both ways, or an error."""

import numpy as np
import pytest

import numtrn
from tests.torch.support import nt, random, torch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.int32, torch.bool])
def test_a_tensor_becomes_an_array(dtype):
    tensor = random(3, 4).to(dtype)
    array = numtrn.array_api.from_dlpack(tensor)
    assert type(array) is numtrn.Array
    assert np.array_equal(np.asarray(array), tensor.numpy())


def test_they_share_memory():
    tensor = random(3, 4)
    array = numtrn.array_api.from_dlpack(tensor)
    array[0, 0] = 5.0
    assert tensor[0, 0] == 5.0


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int64"])
def test_an_array_becomes_a_tensor(dtype):
    array = numtrn.asarray(np.arange(12).reshape(3, 4).astype(dtype))
    tensor = torch.from_dlpack(array)
    assert np.array_equal(tensor.numpy(), np.asarray(array))
    tensor[1, 1] = 77
    assert np.asarray(array)[1, 1] == 77


def test_a_product_that_kernels_made_becomes_a_tensor():
    a = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        array = numtrn.asarray(a) @ numtrn.asarray(a.T.copy())
        tensor = torch.from_dlpack(array)
        again = nt.gemm(tensor, tensor)
    assert session.counts["kernel"] == 2
    np.testing.assert_allclose(again.numpy(), (a @ a.T) @ (a @ a.T), rtol=1e-4, atol=1e-3)


def test_a_tensor_as_asarray_takes_it():
    tensor = random(3, 4)
    assert np.array_equal(np.asarray(numtrn.asarray(tensor)), tensor.numpy())


def test_a_tensor_that_wants_gradients_must_be_detached():
    with pytest.raises((RuntimeError, BufferError), match="detach"):
        numtrn.array_api.from_dlpack(random(3, 4, grad=True))
