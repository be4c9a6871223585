"""Operators on device tensors: launches with tensors alone, of the bits that the host's way gives."""

import subprocess
import sys
from pathlib import Path

import pytest

import numtrn
from tests.torch.neuron import TensorTarget, numbers
from tests.torch.support import device, nt, random, torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def target(monkeypatch):
    """Blocks have a target that launches with tensors; here they are the host's."""
    made = TensorTarget()
    monkeypatch.setattr("numtrn.api.select", lambda *_: made)
    return made


def by_host(monkeypatch, function, *operands):
    monkeypatch.undo()
    with numtrn.enabled(target="interpreter", min_work=0, strict=True):
        return function(*operands)


CASES = {
    "small": lambda: (numbers(5, 7), numbers(7, 3)),
    "padded": lambda: (numbers(130, 200), numbers(200, 70)),
    "turned": lambda: (numbers(200, 130).mT, numbers(70, 200).mT),
    "a stack": lambda: (numbers(2, 3, 20, 30), numbers(2, 3, 30, 10)),
    "strided": lambda: (numbers(60, 80)[::2, ::2], numbers(40, 9)),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_as_on_the_host(case, dtype, target, monkeypatch):
    a, b = (x.to(getattr(torch, dtype)) for x in CASES[case]())
    with numtrn.enabled(min_work=0, strict=True) as session:
        found = device.gemm(a, b)
    (call,) = session.calls
    assert (call.target, call.kernel, call.bytes) == ("neuron", "gemm", 0)
    assert call.launches == len(target.launched)
    assert found.dtype == a.dtype
    assert torch.equal(found, by_host(monkeypatch, nt.gemm, a, b))


def test_several_launches(target):
    a, b = numbers(40, 2500), numbers(2500, 4200, seed=1)
    with numtrn.enabled(min_work=0, strict=True) as session:
        found = device.gemm(a, b)
    (call,) = session.calls
    assert call.launches == len(target.launched) == 4
    assert len(set(target.launched)) == 1  # of one program
    exact, size = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    bound = float(call.bound.split()[0]) * 2.0**-24
    assert bool(((found.double() - exact).abs() <= bound * size).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_verified(dtype, target, monkeypatch):
    a, b = numbers(2, 40, 50).to(dtype), numbers(2, 50, 30, seed=1).to(dtype)
    with numtrn.enabled(min_work=0, strict=True, verify=True):
        device.gemm(a, b)
    launch = device.launch
    monkeypatch.setattr(device, "launch", lambda *given: launch(*given) + 0.5)
    with numtrn.enabled(min_work=0, strict=True, verify=True), pytest.raises(numtrn.VerificationError):
        device.gemm(a, b)


@pytest.mark.parametrize("name", ["rank_k", "symm", "trmm"])
def test_structured_products_are_products_like_any_other(name, target):
    square, b = numbers(40, 40), numbers(40, 30)
    operands = (b,) if name == "rank_k" else (square, b)
    with numtrn.enabled(min_work=0, strict=True) as session:
        found = getattr(device, name)(*operands)
    assert session.counts["kernel"] == 1
    assert session.calls[0].function == f"numtrn.torch.{name}"
    torch.testing.assert_close(found, getattr(nt, name)(*operands), rtol=1e-4, atol=1e-4)


def test_trn1_turns_nothing_by_tensore(monkeypatch):
    made = TensorTarget("trn1")
    monkeypatch.setattr("numtrn.api.select", lambda *_: made)
    a, b = numbers(20, 30), numbers(30, 40)
    b[3, 5] = float("nan")
    with numtrn.enabled(min_work=0, strict=True, chip="trn1"):
        found = device.gemm(a, b)
    assert made.launched[0][-1][-2:] == (0, 0)
    assert found.isnan().sum() == 20


def test_what_has_no_kernel_there(target):
    cases = {
        "complex64 has no kernel for tensors on the device": ({}, torch.complex64),
        "float16 has no kernel": ({}, torch.float16),
        "scales its operands on the host, and these are on cpu": ({"precision": "tfloat32"}, torch.float32),
    }
    for reason, (settings, dtype) in cases.items():
        a = numbers(20, 20).to(dtype)
        with numtrn.enabled(min_work=0, strict=True, **settings) as session:
            found = device.gemm(a, a)
        assert torch.equal(found, a @ a)
        assert reason in session.calls[0].reason
    assert not target.launched


def test_wide_types_are_an_error():
    with pytest.raises(TypeError) as raised:
        device.gemm(random(2, 2), random(2, 2))
    assert str(raised.value) == (
        "numtrn.torch.gemm: the device computes with 32 bits and less; got float64 on cpu. Of tensors on the "
        "host, a.cpu(), numtrn makes float64 results with kernels"
    )


def test_a_target_that_launches_with_arrays_is_said(target, monkeypatch):
    def keep(kernel, arrays, parameters):
        from numtrn.targets import Resident

        return (Resident(None),)

    monkeypatch.setattr(target, "keep", keep)
    a = numbers(20, 20)
    said = pytest.warns(numtrn.KernelFallbackWarning, match="launches with arrays of the host")
    with numtrn.enabled(min_work=0) as session, said:
        found = device.gemm(a, a)
    assert torch.equal(found, a @ a)
    assert session.counts["failed"] == 1


def test_a_wrong_result_is_refused(target, monkeypatch):
    right = target.keep
    monkeypatch.setattr(target, "keep", lambda *x: (type(right(*x)[0])(right(*x)[0].value[:8]),))
    with numtrn.enabled(min_work=0, strict=True), pytest.raises(numtrn.KernelError, match="must give"):
        device.gemm(numbers(20, 20), numbers(20, 20))


@pytest.mark.parametrize("key", ["CPU", "XLA", "PrivateUse1"])
def test_every_operator_is_there_for_every_device(key):
    for name in nt.__all__:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"numtrn::{name}", key), name


def test_tensors_of_the_device_are_dispatched():
    command = [sys.executable, "-W", "error::UserWarning", "-m", "tests.torch.dispatched"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("good\n")
