"""simulate and the modules: arguments, outputs, figures, the log, threads, and what is not there yet."""

import builtins
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

from numtrn.errors import NumtrnError
from numtrn.interp import KernelFault, Run, modules, simulate
from numtrn.machine import CHIPS
from tests.interp.support import (
    evicted,
    filled,
    hbm,
    loaded,
    nisa,
    nki,
    nl,
    nt,
    product,
    psum,
    refused,
    run,
    sbuf,
    stored,
)

X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("value", [None, True, 3, -(2**31), 0.5, "text", (1, (2.0, None)), nl.bfloat16])
def test_compile_time_arguments(value):
    seen = []

    def kernel(x, value):
        seen.append(value)
        return stored(loaded(x))

    run(kernel, X, value)
    assert seen == [value]


def test_float_arguments_have_32_bits():
    seen = []
    run(lambda value: (seen.append(value), stored(filled((1, 1))))[1], 0.1)
    assert seen == [float(np.float32(0.1))]


@pytest.mark.parametrize(
    ("value", "rule", "word"),
    [
        ([1, 2], "H41", "list"),
        ({1: 1}, "H41", "dict"),
        ((1, [2]), "H41", "list"),
        (2**31, "H33", "2147483648"),
        (1e300, "H33", "1e+300"),
        (np.zeros(3), "H41", "float64"),
        (np.zeros(3, np.complex64), "H41", "complex64"),
        (np.zeros(3, np.dtype(np.float32).newbyteorder()), "H41", "f4"),
        (np.zeros((2, 0), np.float32), "H41", "(2, 0)"),
        (np.float32(1), "H41", "float32"),
    ],
)
def test_arguments_that_are_refused(value, rule, word):
    def kernel(value):  # refused
        return stored(filled((1, 1)))

    refused(rule, "argument 0", word, kernel=kernel, arguments=[value])


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: a[::-1, ::-1], lambda a: a])
def test_arrays_of_any_layout_and_never_changed(layout):
    x = layout(X.copy())
    before = x.copy()
    assert np.array_equal(run(lambda x: stored(loaded(x)), x), before)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.uint8, np.bool_, ml_dtypes.bfloat16])
def test_outputs_have_the_dtype_that_callers_know(dtype):
    x = X.astype(dtype)
    out = run(lambda x: stored(loaded(x)), x)
    assert out.dtype == x.dtype
    assert np.array_equal(out.view(np.uint8), x.view(np.uint8))


def test_a_tuple_of_outputs():
    one, other = run(lambda x: (stored(loaded(x)), stored(loaded(x, nl.int32))), X)
    assert one.dtype == np.float32
    assert other.dtype == np.int32


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (lambda x: None, "None"),
        (lambda x: (), "empty tuple"),
        (lambda x: x, "by the kernel"),
        (lambda x: loaded(x), "nl.shared_hbm"),
        (lambda x: stored(loaded(x))[0:2], "view"),
        (lambda x: hbm((3, 4)), "written completely"),
        (lambda x: [stored(loaded(x))], "tuple of tensors"),
    ],
)
def test_outputs_that_are_refused(result, word):
    def kernel(x):  # refused
        return result(x)

    refused("H35", word, kernel=kernel, arguments=[X])


def test_partly_written_output():
    def kernel(x):  # refused
        out = hbm((4, 4))
        nisa.dma_copy(dst=out[0:3], src=loaded(x))
        return out

    refused("H35", "written completely", kernel=kernel, arguments=[X])


def test_private_hbm_is_no_output():
    def kernel(x):  # refused
        out = nl.ndarray((3, 4), dtype=nl.float32, buffer=nl.hbm)
        nisa.dma_copy(dst=out, src=loaded(x))
        return out

    refused("H35", "nl.shared_hbm", "private_hbm", kernel=kernel, arguments=[X])


def matmul(a, b):
    left, right = loaded(a), loaded(b)
    return evicted(product(left, right))


def test_figures_of_a_run():
    record = simulate(matmul, [X, X], chip=CHIPS["trn2"])
    assert isinstance(record, Run)
    assert np.array_equal(record.outputs, X.T @ X)
    assert record.engines == {"tensor": 1, "vector": 1, "scalar": 0, "gpsimd": 0, "dma": 3}
    assert record.instructions == 5
    assert record.peak_psum_banks == 1
    assert record.peak_sbuf_bytes == 3 * 16
    assert record.log is None
    with pytest.raises(AttributeError):
        record.instructions = 0


def test_log():
    log = simulate(matmul, [X, X], chip=CHIPS["trn2"], keep_log=True).log
    assert [(entry.engine, entry.name) for entry in log] == [
        ("dma", "dma_copy"),
        ("dma", "dma_copy"),
        ("tensor", "nc_matmul"),
        ("vector", "tensor_copy"),
        ("dma", "dma_copy"),
    ]
    load, _, multiply, evict, _ = log
    (target,), (source,) = load.writes, load.reads
    assert (target.buffer, target.shape, target.dtype, target.bytes) == ("sbuf", (3, 4), "float32", 48)
    assert (source.buffer, source.strides, source.offset) == ("shared_hbm", (4, 1), 0)
    assert multiply.reads[0] == target
    assert multiply.writes == evict.reads
    assert dict(multiply.options)["accumulate"] is False


def test_decorated_kernels():
    decorated = nki.jit(matmul)
    assert decorated.__name__ == "matmul"
    assert np.array_equal(run(decorated, X, X), X.T @ X)
    assert np.array_equal(run(nki.jit()(matmul), X, X), X.T @ X)
    assert np.array_equal(run(decorated[1], X, X), X.T @ X)
    with pytest.raises(KernelFault, match=r"matmul is decorated with nki.jit.*simulate"):
        decorated(X, X)
    with pytest.raises(KernelFault, match=r"kernel\[3\]"):
        decorated[3]
    with pytest.raises(KernelFault, match="platform_target"):
        nki.jit(matmul, platform_target="trn2")

    def nested(x):
        return decorated(x, x)  # refused

    refused("context", "undecorated", kernel=nested, arguments=[X])


def test_outside_a_kernel():
    with pytest.raises(KernelFault, match="only work inside a kernel"):
        nl.ndarray((4, 4), dtype=nl.float32, buffer=nl.sbuf)
    assert issubclass(KernelFault, NumtrnError)


def test_a_tensor_of_another_run():
    kept = []
    run(lambda: (kept.append(filled((4, 4))), stored(kept[0]))[1])

    def kernel():
        nisa.tensor_copy(dst=sbuf((4, 4)), src=kept[0])  # refused

    refused("context", "another run", kernel=kernel)


def test_errors_of_the_kernel_itself():
    def fails(x):
        assert x.shape == (4, 4), f"got {x.shape}"  # refused

    def undefined():
        return nothing  # noqa: F821  # refused

    def two_arguments(x, y):  # refused
        return x

    refused("python", "TypeError", "two_arguments", kernel=two_arguments, arguments=[X])
    refused("python", "AssertionError", "got (3, 4)", kernel=fails, arguments=[X])
    refused("python", "NameError", "nothing", kernel=undefined)


@pytest.mark.parametrize("chip", CHIPS)
def test_what_a_kernel_knows_of_the_chip(chip):
    def kernel():
        version = {"trn1": nisa.nc_version.gen2, "trn2": nisa.nc_version.gen3, "trn3": nisa.nc_version.gen4}[
            chip
        ]
        assert nisa.get_nc_version() == version
        size = nl.tile_size
        assert (size.pmax, size.psum_fmax, size.psum_bank_fmax_bytes, size.psum_num_banks) == (
            128,
            512,
            2048,
            8,
        )
        assert (size.gemm_stationary_fmax, size.gemm_moving_fmax) == (128, 512)
        assert size.total_available_sbuf_size == size.sbuf_fmax_bytes == CHIPS[chip].sbuf_usable_bytes
        assert (nl.program_id(0), nl.num_programs(), nl.program_ndim()) == (0, 1, 0)
        assert (
            list(nl.affine_range(3)) == list(nl.static_range(3)) == list(nl.sequential_range(3)) == [0, 1, 2]
        )
        return stored(nl.shared_identity_matrix(5, dtype=nl.float32))

    assert np.array_equal(run(kernel, chip=chip), np.eye(5))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("nki.isa", "nc_matmul_mx"),
        ("nki.language", "mgrid"),
        ("nki", "benchmark"),
        ("nki.typing", "mutable"),
    ],
)
def test_what_is_not_there_yet(module, name):
    with pytest.raises(KernelFault, match=rf"does not have {module}\.{name} yet"):
        getattr(modules[module], name)
    assert nt.tensor[128, 512] is nt.tensor


def test_operators_and_members_print_as_kernels_write_them():
    assert repr(nl.add) == "nl.add"
    assert nl.hbm is nl.private_hbm
    assert nl.float32 == "float32"


def test_nothing_enters_sys_modules_and_kernels_load_with_their_own_import():
    def importer(name, *rest):
        return modules["nki"] if name.startswith("nki") else builtins.__import__(name, *rest)

    source = (
        "import nki\nimport nki.isa as nisa\nimport nki.language as nl\n\n@nki.jit\ndef kernel(x):\n"
        "    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)\n"
        "    nisa.dma_copy(dst=out, src=x, wrong=1)\n    return out\n"
    )
    scope = {"__builtins__": {**vars(builtins), "__import__": importer}, "__name__": "kernel"}
    exec(compile(source, "kernels/example.py", "exec"), scope)
    with pytest.raises(KernelFault, match=r"H41.*'wrong'.*\(kernels/example.py:8\)"):
        run(scope["kernel"], X)
    assert not [name for name in sys.modules if name == "nki" or name.startswith("nki.")]


def test_threads_and_nested_runs_do_not_meet():
    results = {}

    def kernel(x, steps):
        bank, tile = psum((4, 4)), loaded(x)
        for step in range(steps):
            nisa.nc_matmul(dst=bank, stationary=tile, moving=tile, accumulate=(step > 0))
        if steps == 3:
            assert np.array_equal(run(kernel, X, 1, chip="trn1"), X.T @ X)
            assert nisa.get_nc_version() == nisa.nc_version.gen3
        return evicted(bank)

    def work(steps):
        results[steps] = simulate(kernel, [X, steps], chip=CHIPS["trn2"])

    threads = [threading.Thread(target=work, args=(steps,)) for steps in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for steps in range(1, 9):
        assert np.array_equal(results[steps].outputs, steps * (X.T @ X))
        assert results[steps].engines["tensor"] == steps


def test_warnings_stay_inside():
    def kernel(x):
        tile, half = loaded(x), sbuf(x.shape, nl.float16)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=3e38)
        nisa.tensor_copy(dst=half, src=tile)
        nisa.reciprocal(dst=tile, data=tile)
        return stored(half)

    assert np.isinf(run(kernel, X).ravel()[1:]).all()
