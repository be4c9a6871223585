"""Targets: choosing one, loading kernels, and finding what is installed."""

import ast
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import numtrn
from numtrn import interp, targets
from numtrn.errors import KernelFallbackWarning
from numtrn.targets import detect, load, versions

KERNELS = Path(__file__).parents[2] / "kernels"


def test_every_kernel_file_is_found():
    files = {path.stem for path in KERNELS.glob("*.py")} - {"__init__"}
    assert set(load.kernel_names()) == files


@pytest.mark.parametrize("name", load.kernel_names())
def test_a_kernel_says_what_it_does_and_imports_nki_only(name):
    tree = ast.parse((KERNELS / f"{name}.py").read_text())
    for word in ("Engines", "SBUF", "PSUM", "DMA", "Bound"):
        assert word in ast.get_docstring(tree)
    imports = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert set(imports) <= {"nki", "nki.isa", "nki.language"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


@pytest.mark.parametrize("name", load.kernel_names())
def test_a_kernel_keeps_to_the_portable_subset(name):
    """Nothing undocumented for kernels, or forbidden since 0.3.0 (NKI language and migration guides)."""
    forbidden = (
        ast.ListComp,
        ast.GeneratorExp,
        ast.Lambda,
        ast.Try,
        ast.Is,
        ast.IsNot,
        ast.Starred,
        ast.With,
    )
    tree = ast.parse((KERNELS / f"{name}.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, forbidden)]
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    helpers = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert called - helpers <= {"range", "min", "len"}


def test_loading_leaves_sys_modules_alone():
    before = set(sys.modules)
    load.load_kernel("gemm", interp.modules)
    assert {name for name in set(sys.modules) - before if name.startswith(("nki", "numtrn_kernels"))} == set()


def test_a_kernel_that_imports_more_is_refused(monkeypatch, tmp_path):
    (tmp_path / "greedy.py").write_text("import nki\nimport os\n")
    monkeypatch.setattr(load.resources, "files", lambda package: tmp_path)
    with pytest.raises(ImportError, match=r"kernels/greedy.py imports 'os'; a kernel may import nki"):
        load.load_kernel("greedy", interp.modules)


# ---- Choosing ----


def machine(monkeypatch, *, devices=(), nki="nki is not installed"):
    monkeypatch.setattr(detect, "neuron_devices", lambda: tuple(devices))
    monkeypatch.setattr(detect, "nki_problem", lambda: nki)
    monkeypatch.setattr(versions, "of", lambda version: versions.VERSIONS[-1])


@pytest.mark.parametrize(
    ("devices", "nki", "asked", "chosen"),
    [
        ((), "missing", "", "interpreter"),
        ((), "missing", "1", "interpreter"),
        ((), "", "", "interpreter"),
        ((), "", "1", "simulator"),
        (("/dev/neuron0",), "missing", "", "interpreter"),
        (("/dev/neuron0",), "", "", "neuron"),
        (("/dev/neuron0",), "", "1", "simulator"),  # which sends all kernels there, hardware or not
    ],
)
def test_auto_takes_hardware_then_a_simulator_that_is_asked_for(monkeypatch, devices, nki, asked, chosen):
    machine(monkeypatch, devices=devices, nki=nki)
    monkeypatch.setenv("NKI_SIMULATOR", asked)
    monkeypatch.setenv("NKI_PRECISE_FP", "")
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "")
    unused = devices and chosen == "interpreter"
    with pytest.warns(KernelFallbackWarning, match="cannot be used: missing") if unused else nullcontext():
        assert targets.select("auto", "trn2").name == chosen


def test_an_unusable_target_says_all_that_is_missing(monkeypatch):
    machine(monkeypatch)
    with pytest.raises(
        numtrn.TargetUnavailableError, match=r"no Neuron device.*nki is not installed.*interpreter"
    ):
        targets.select("neuron", "trn2")


def test_devices_are_found_by_their_files(tmp_path):
    for name in ("neuron0", "neuron11", "neuron_other", "null"):
        (tmp_path / name).touch()
    assert detect.neuron_devices(str(tmp_path)) == (str(tmp_path / "neuron0"), str(tmp_path / "neuron11"))


def test_a_device_is_told_from_others_by_files_alone(tmp_path):
    nothing = detect.device_identity(str(tmp_path))
    assert nothing.startswith("host ")
    for file, text in (("serial", "0x1234\n"), ("driver", "2.20.28\n")):
        path = tmp_path / detect.DEVICE_FILES[file]
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert detect.device_identity(str(tmp_path)) == f"{nothing}, driver 2.20.28, serial 0x1234"


@pytest.mark.parametrize(
    ("version", "good"), [("0.0.1", False), ("0.2.9", False), ("0.3.0", True), ("0.6.0+x", True)]
)
def test_versions_tell_placeholders_from_releases(monkeypatch, version, good):
    monkeypatch.setattr(detect.metadata, "version", lambda name: version)
    monkeypatch.setattr(detect.util, "find_spec", lambda name: object())
    assert (detect.package("nki").problem == "") == good
