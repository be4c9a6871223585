"""doctor: the right diagnosis and advice for each machine, sentence by sentence; times, profile, report.

Machines are doubles of the SDK and of the driver's files; `tests/doubles` holds what they may say.
"""

import getpass
import json
import platform
import subprocess
import sys
import warnings

import numpy as np
import pytest

from numtrn import doctor, profile, verdict
from numtrn.cli import main as command
from numtrn.doctor import diagnosis, kinds, measure, report
from numtrn.errors import CacheWarning, DeviceLostError
from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.plan import make_plan
from numtrn.profile import Figures, Profile
from numtrn.request import Gemm
from numtrn.targets import Counters, Resident, detect, health
from numtrn.targets.interpreter import Interpreter
from tests.doubles import PLACEHOLDERS, describe
from tests.doubles.fixtures import neuron_host  # noqa: F401

STEP = "AWS's Neuron package index (docs/hardware.md, step 4)"
RIGHT = {"neuronx-cc": "2.27.5334.0", "torch-neuronx": "2.9.0.2.15.32035"}
"""What goes with nki 0.6.0 (``aws-neuron/aws-neuron-sdk: src/helperscripts/n2-manifest.json``)."""

NOTHING_KEPT = "ok       cache directory {cache}"


@pytest.fixture(autouse=True)
def forget():
    """Nothing of one machine is known on the next."""

    def now():
        verdict.subject_of.cache_clear()
        profile._launcher.cache_clear()
        profile._known.clear()
        health.forget()

    now()
    yield
    now()


@pytest.fixture
def host(neuron_host, tmp_path):  # noqa: F811
    """A healthy trn2 host, but for what is said otherwise."""

    def make(driver="2.30.2.0", **how):
        made = neuron_host(**{"versions": RIGHT, **how})
        (tmp_path / "site/neuronxcc").mkdir(exist_ok=True)
        (tmp_path / "site/neuronxcc/__init__.py").touch()
        version = tmp_path / "root/sys/module/neuron/version"
        if version.exists():
            version.write_text(f"{driver}\n")
        return made

    return make


def section(printed, title):
    """Lines of one section of what doctor printed."""
    lines = printed.splitlines()
    start = lines.index(title) + 1
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("  ")), len(lines))
    return [line[2:] for line in lines[start:end]]


@pytest.fixture
def says(capsys, tmp_path):
    """The findings that doctor prints here, its exit status, and the rest."""

    def run(**how):
        status = doctor.main(**how)
        printed = capsys.readouterr().out
        found = section(printed, "Neuron")
        return [line.replace(str(tmp_path), "~") for line in found], status, printed

    return run


HEALTHY = [
    "ok       1 Neuron device: trn2 (trn2.48xlarge), 8 physical cores each; driver 2.30.2.0",
    "ok       nki 0.6.0",
    "ok       neuronx-cc 2.27.5334.0",
    "ok       torch-neuronx 2.9.0.2.15.32035",
    "ok       8 NeuronCores for launches of one physical core each, all visible",
    "ok       launcher torch: device tensors of torch_xla, which stay on the device",
    "ok       cache directory ~/cache",
]


# ---- Machines ----


def test_this_machine_as_it_is(monkeypatch, tmp_path, says):
    monkeypatch.setattr(detect, "DEV", str(tmp_path / "dev"))
    monkeypatch.setattr(detect, "SYS", str(tmp_path / "sys"))
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path / "cache"))
    found, status, printed = says()
    assert status == 0
    missing = [
        ("nki", "kernels cannot be compiled for a device, nor run by the official simulator"),
        ("neuronx-cc", "nki has no compiler behind it"),
        (
            "torch-neuronx",
            "kernels cannot be launched with device tensors, the way that keeps operands there",
        ),
    ]
    assert found == [
        "note     no Neuron device (/dev/neuron*) and no Neuron driver on this machine",
        "         why: kernels run on the interpreter: the same results, at times that say"
        " nothing of a device",
        "         do:  nothing, to try numtrn; for hardware start a trn1, trn2 or trn3 instance"
        " (docs/hardware.md)",
        *(
            line
            for name, why in missing
            for line in (
                f"note     {name} is not installed",
                f"         why: {why}",
                f"         do:  on an instance, install it from {STEP}",
            )
        ),
        "ok       cache directory ~/cache",
    ]
    assert "target='auto' takes the interpreter here" in printed
    assert "plans predict from published figures; the interpreter has no profile" in printed


def test_the_placeholders(monkeypatch, tmp_path, says):
    site = tmp_path / "site"
    for name, version in PLACEHOLDERS.items():
        describe(site, name, version)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(detect, "DEV", str(tmp_path / "dev"))
    monkeypatch.setattr(detect, "SYS", str(tmp_path / "sys"))
    found, status, _ = says()
    assert status == 0
    assert [line for line in found if "problem" in line] == [
        "problem  nki 0.0.1 is the empty placeholder from PyPI",
        "problem  neuronx-cc 1.0.0 is the empty placeholder from PyPI",
        "problem  torch-neuronx 1.0.0 is the empty placeholder from PyPI",
    ]
    assert [line for line in found if "uninstall" in line] == [
        f"         do:  uninstall it, and install nki>=0.3.0 from {STEP}",
        f"         do:  uninstall it, and install neuronx-cc>=2.0 from {STEP}",
        f"         do:  uninstall it, and install torch-neuronx>=2.9 from {STEP}",
    ]


def test_a_healthy_host(host, says):
    host()
    found, status, printed = says()
    assert found == HEALTHY
    assert status == 0
    assert "target='auto' takes the neuron here" in printed
    assert section(printed, "targets")[0] == "neuron       can be used"
    assert section(printed, "profile")[1] == "`python -m numtrn doctor --probe` makes one"


def test_no_driver(host, says):
    host(devices=0)
    found, status, _ = says()
    assert status == 0  # the interpreter computes
    assert found[:3] == [
        "problem  nki is installed, but no Neuron driver is loaded: no /dev/neuron*, no /sys/module/neuron",
        "         why: the runtime reaches a device through its driver alone, so kernels run on the"
        " interpreter here",
        "         do:  on a trn1, trn2 or trn3 instance install aws-neuronx-dkms for the running kernel, and"
        " check it with `lsmod` and `neuron-ls` (docs/hardware.md, steps 2 and 3)",
    ]
    assert found[3:] == [*HEALTHY[1:4], HEALTHY[-1]]


def test_the_placeholder_of_nki_on_a_host(host, says):
    made = host(nki=None)
    describe(made.site, "nki", "0.0.1")
    found, _, printed = says()
    assert found == [
        HEALTHY[0],
        "problem  nki 0.0.1 is the empty placeholder from PyPI",
        "         why: kernels cannot be compiled for a device, nor run by the official simulator",
        f"         do:  uninstall it, and install nki>=0.3.0 from {STEP}",
        *HEALTHY[2:5],
        "note     no launcher can be used: kernels run on the interpreter",
        "         why: target='neuron' needs nki, alone or with PyTorch, and what stands above is in its way",
        "         do:  deal with the problems above, the first one first",
        HEALTHY[-1],
    ]
    assert "target='auto' takes the interpreter here" in printed


def test_nki_and_the_compiler_of_different_releases(host, says):
    host(versions={**RIGHT, "neuronx-cc": "2.22.12471.0"})
    found, _, _ = says()
    assert found[2] == "ok       neuronx-cc 2.22.12471.0"
    assert found[4:7] == [
        "problem  neuronx-cc 2.22.12471.0 is of another release than nki: Neuron 2.32 has nki 0.6 with"
        " neuronx-cc 2.27",
        "         why: parts of different releases may refuse each other, the compiler with NCC_EVRF065",
        f"         do:  install neuronx-cc==2.27.* beside nki==0.6.* from {STEP}",
    ]
    assert found[7:] == HEALTHY[4:]


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ("8-9", "names cores that are not there: there are 0-7"),
        ("7,8", "names cores that are not there: there are 0-7"),
        ("all", "names no core"),
        ("-1", "names no core"),
        ("3-2", "names no core"),
    ],
)
def test_no_visible_core(host, says, monkeypatch, asked, what):
    host()
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", asked)
    found, _, _ = says()
    assert found[:4] == HEALTHY[:4]
    assert found[4:7] == [
        f"problem  NEURON_RT_VISIBLE_CORES={asked} {what}",
        "         why: the runtime gives this process the cores that it names and no others, so it starts"
        " with none",
        "         do:  unset it, or set it to a number or a range within 0-7",
    ]


@pytest.mark.parametrize(("asked", "count"), [("0", 1), ("2-5", 4), ("0,3-4", 3), ("0-7", 8)])
def test_visible_cores(host, says, monkeypatch, asked, count):
    host()
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", asked)
    found, _, _ = says()
    assert found[4] == f"ok       NEURON_RT_VISIBLE_CORES={asked}: {count} of the NeuronCores 0-7"


def test_the_library_of_the_device_is_not_on_path(host, says):
    host(programs=("neuronx-cc", "neuron-ls"))
    found, status, _ = says()
    assert status == 0
    assert found == [
        *HEALTHY[:4],
        "problem  the program libneuronpjrt-path is not on PATH",
        "         why: torch_neuronx asks it where its library lies, and fails with FileNotFoundError"
        " without it",
        "         do:  install libneuronxla again, and activate the environment that has it, so that its bin"
        " directory is on PATH",
        HEALTHY[4],
        "note     launcher nki: kernels are called with NumPy arrays",
        "         why: operands and results cross the link with every launch",
        f"         do:  to keep them on the device install torch-neuronx from {STEP}",
        HEALTHY[-1],
    ]


TORCHNEURON = [
    *HEALTHY[:3],
    "ok       torch-neuronx 2.10.1 (TorchNeuron)",
    HEALTHY[4],
    "ok       launcher native: device tensors of TorchNeuron, which stay on the device",
    HEALTHY[-1],
]


def native(torch="2.10.0", **how):
    """A host with TorchNeuron, which asks no program on PATH for anything."""
    versions = {**RIGHT, "torch-neuronx": "2.10.1", "torch": torch}
    return {"native": True, "programs": (), "versions": versions, **how}


def test_a_healthy_host_with_torchneuron(host, says):
    host(**native())
    found, status, printed = says()
    assert found == TORCHNEURON
    assert status == 0
    assert "target='auto' takes the neuron here" in printed


def test_torchneuron_beside_an_older_pytorch(host, says):
    host(**native(torch="2.9.0"))
    found, _, _ = says()
    assert found[5:] == [
        "note     TorchNeuron is for torch>=2.10; torch 2.9.0 is installed",
        "         why: kernels cannot be launched with its tensors, the way that keeps operands on the"
        " device",
        "         do:  install the PyTorch that this TorchNeuron was made for",
        "note     launcher nki: kernels are called with NumPy arrays",
        "         why: operands and results cross the link with every launch",
        "         do:  to keep them on the device, deal with TorchNeuron first, above",
        HEALTHY[-1],
    ]


@pytest.mark.parametrize(
    ("asked", "installed", "why"),
    [
        (
            "torch",
            True,
            "torch-neuronx is TorchNeuron, without torch_xla; NUMTRN_LAUNCHER=native launches with it",
        ),
        (
            "native",
            False,
            "torch-neuronx 2.9.0.2.15.32035 is the one of torch_xla, and not TorchNeuron, which is a closed"
            " beta; NUMTRN_LAUNCHER=torch launches with torch_xla",
        ),
    ],
)
def test_the_launcher_of_the_other_torch_neuronx(host, says, monkeypatch, asked, installed, why):
    host(**(native() if installed else {}))
    monkeypatch.setenv("NUMTRN_LAUNCHER", asked)
    found, _, printed = says()
    usable = "native" if installed else "torch"
    assert found[5:] == [
        f"problem  NUMTRN_LAUNCHER={asked} cannot be used: {why}",
        "         why: no other launcher is tried when one is asked for, so target='neuron' has no way to"
        " launch",
        f"         do:  unset NUMTRN_LAUNCHER; {usable} can be used",
        HEALTHY[-1],
    ]
    assert "target='auto' takes the interpreter here" in printed


def test_logical_cores_that_do_not_fit(host, says, monkeypatch):
    host()
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "3")
    found, _, _ = says()
    assert found[5:8] == [
        "problem  NEURON_LOGICAL_NC_CONFIG=3, which no chip has",
        "         why: a logical core is one physical core, or on trn2 and trn3 two",
        "         do:  unset it, or set it to 1, before the process starts",
    ]


@pytest.mark.parametrize("flags", ["", "-O2 --lnc=2", "--logical-nc-config 1"])
def test_logical_cores_of_two(host, monkeypatch, flags):
    host()
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")
    monkeypatch.setenv("NEURON_CC_FLAGS", flags)
    found = [one for one in diagnosis.diagnose(detect.machine()) if "NEURON_" in one.what]
    if flags.endswith("1"):
        (one,) = found
        assert (one.level, one.what) == (
            "problem",
            "NEURON_CC_FLAGS asks for 1 physical cores a logical one, the runtime for 2",
        )
    else:
        (one,) = found
        assert (one.level, one.what) == (
            "ok",
            "NEURON_LOGICAL_NC_CONFIG=2: each launch is of two physical cores",
        )


def test_a_device_that_is_lost_on_launch(host, says):
    host().device.fail("device_lost")
    found, status, printed = says()
    assert status == 1
    assert found[:7] == HEALTHY
    what, why, do = found[7:]
    assert what.startswith("problem  a launch on the device ended with DeviceLostError: ")
    assert "the device failed" in what
    assert "Uncorrectable memory error" in what
    assert why == (
        "         why: the packages are there and the device is seen, but it computes nothing for"
        " this process"
    )
    assert do == (
        "         do:  start the process again, since the runtime does not recover in this one; if it comes"
        " again, reload the driver or reboot, and after an uncorrectable memory error stop and start the"
        " instance"
    )
    assert "FAILED: DeviceLostError" in printed


# ---- Single rules ----


@pytest.mark.parametrize(
    ("name", "value", "what", "do"),
    [
        ("NKI_SIMULATOR", "1", "NKI_SIMULATOR=1 is set on a machine with a device", "unset it"),
        ("NEURON_PLATFORM_TARGET_OVERRIDE", "trn3", "and the device is a trn2", "unset it"),
        ("NEURON_CC_FLAGS", "-O2 --lnc=2", "NEURON_CC_FLAGS asks for 2 physical cores", "take --lnc"),
        ("NUMTRN_LAUNCHER", "cuda", "NUMTRN_LAUNCHER= takes one of", "unset NUMTRN_LAUNCHER"),
    ],
)
def test_variables_that_are_in_the_way(host, monkeypatch, name, value, what, do):
    host()
    monkeypatch.setenv(name, value)
    (problem,) = (one for one in diagnosis.diagnose(detect.machine()) if one.level == "problem")
    assert what in problem.what
    assert do in problem.do
    assert problem.why


@pytest.mark.parametrize(
    ("name", "value"),
    [("NEURON_PLATFORM_TARGET_OVERRIDE", "gen3"), ("NEURON_CC_FLAGS", "--lnc=1"), ("NKI_SIMULATOR", "0")],
)
def test_variables_that_are_not(host, monkeypatch, name, value):
    host()
    monkeypatch.setenv(name, value)
    assert not [one for one in diagnosis.diagnose(detect.machine()) if one.level != "ok"]


def test_an_old_driver_and_a_new_nki_are_notes(host, tmp_path):
    host(driver="2.21.37.0")
    notes = [one.what for one in diagnosis.diagnose(detect.machine()) if one.level != "ok"]
    assert notes == ["driver 2.21.37.0 is older than the 2.30 of Neuron 2.32, which nki 0.6.0 is of"]
    (tmp_path / "site/nki-0.6.0.dist-info").rename(tmp_path / "site/nki-0.7.0.dist-info")
    describe(tmp_path / "site", "nki", "0.7.0")
    notes = [one.what for one in diagnosis.diagnose(detect.machine()) if one.level != "ok"]
    assert notes == ["nki 0.7.0 is newer than 0.6, the last that numtrn was written for"]


def test_every_finding_that_is_not_well_has_all_three_sentences(host, monkeypatch):
    host(nki=None, torch=False, devices=2, programs=(), versions={"neuronx-cc": "1.0"})
    for name, value in (("NEURON_LOGICAL_NC_CONFIG", "3"), ("NUMTRN_CACHE_DIR", "here")):
        monkeypatch.setenv(name, value)
    found = diagnosis.diagnose(detect.machine())
    assert {one.level for one in found} == {"ok", "note", "problem"}
    assert all(bool(one.why) == bool(one.do) == (one.level != "ok") for one in found)


# ---- Every kind of kernel ----


def test_every_kernel_is_tried_by_some_kind():
    from numtrn.targets.load import kernel_names

    class Device(Interpreter):
        name = "neuron"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "karatsuba_from", lambda *_: 64)
        named = {kernel for kind in kinds.kinds(Device(CHIPS["trn2"])) for kernel in kind.kernels}
    assert named == {name for name in kernel_names() if not name.startswith("probe_")}


def test_a_kernel_that_computes_wrongly_or_not_at_all_is_found():
    class Broken(Interpreter):
        def keep(self, kernel, arrays, parameters):
            if kernel == "symm":
                raise RuntimeError("NRT_FAILURE")
            given = super().keep(kernel, arrays, parameters)
            return tuple(Resident(one.value * 2) for one in given) if kernel == "gemm" else given

    tried = {one.name: one.problem for one in kinds.try_all(Broken(CHIPS["trn2"]))}
    assert tried.pop("float32 product") == "differs from NumPy"
    assert tried.pop("float32 symm") == "RuntimeError: NRT_FAILURE"
    assert set(tried.values()) == {""}


# ---- Times, by a clock of our own ----


class Timed:
    """A device whose times are known: each launch, each byte, each kernel."""

    name = "neuron"
    chip = CHIPS["trn2"]
    LAUNCH, IN, OUT, FACTOR = 1.3e-3, 3e9, 7e9, 1.5

    def __init__(self, resident):
        self.resident, self.now, self.placed, self.launches = resident, 0.0, 0, 0
        self.launcher = "torch" if resident else "nki"
        self.ready = 0.0

    @property
    def counters(self):
        return Counters(placed=self.placed, launches=self.launches, device_seconds=self.launches * 1e-3)

    def place(self, array):
        if self.resident:
            self.placed += array.nbytes
            self.ready = max(self.now, self.ready) + array.nbytes / self.IN  # asynchronous
        return Resident(array)

    def keep(self, kernel, arrays, parameters):
        left, right = (one.value for one in arrays)
        self.launches += 1
        out = np.broadcast_to(np.float32(0), (left.shape[1], right.shape[1]))
        if kernel == "sliced_gemm":
            out = np.broadcast_to(np.int32(0), (left.shape[1] // 7, right.shape[1] // 7, 2))
        tiling = next(
            t
            for t in self.tilings
            if (t.kernel, t.parameters) == (kernel, tuple(parameters))
            and t.k == left.shape[0]
            and left.shape[1] == t.m * max(1, t.slices)
        )
        fixed = self.chip.kernel_seconds
        work = (measure._planned(tiling, self.chip) - fixed) * (self.FACTOR if self.scaled else 1.0)
        seconds = self.LAUNCH + fixed + work
        if not self.resident:
            seconds += (left.nbytes + right.nbytes) / self.IN + out.nbytes / self.OUT
        self.ready = max(self.now, self.ready) + seconds
        return (Resident(out),)

    def fetch(self, resident):
        self.now = max(self.now, self.ready)
        if self.resident:
            self.now += resident.value.nbytes / self.OUT
        return resident.value


@pytest.mark.parametrize("resident", [False, True])
def test_figures_are_recovered_from_times_that_are_known(monkeypatch, resident):
    target = Timed(resident)
    target.scaled, target.tilings = False, []
    make = measure._Launches.__init__

    def noted(self, on, tiling):
        target.tilings.append(tiling)
        # Kernels of the fit of the link take what is predicted, so that it is exact.
        target.scaled = tiling.m in measure.EXTENTS and tiling.m == tiling.k == tiling.n
        make(self, on, tiling)

    monkeypatch.setattr(measure._Launches, "__init__", noted)
    monkeypatch.setattr(measure.time, "perf_counter", lambda: target.now)
    monkeypatch.setattr(measure, "_clock", lambda *_: 1e-3)
    found = measure.measure(target)
    figures = found.figures
    assert (found.target, found.launcher) == ("neuron", target.launcher)
    tiny = 0 if resident else 2 * 128 * 128 * 4 / Timed.IN
    assert figures.launch_seconds == pytest.approx(Timed.LAUNCH + tiny + 128 * 128 * 4 / Timed.OUT, rel=0.01)
    assert figures.link_in_bytes_per_second == pytest.approx(Timed.IN, rel=1e-6)
    assert figures.link_out_bytes_per_second == pytest.approx(Timed.OUT, rel=1e-6)
    assert figures.kernel_factors["gemm"] == pytest.approx(Timed.FACTOR, rel=0.05)
    assert figures.kernel_factors["sliced_gemm"] == pytest.approx(Timed.FACTOR, rel=0.05)
    assert [one.driver for one in found.kernels] == pytest.approx([1e-3] * 6)
    text = "\n".join(measure.lines(found))
    assert "measured / plan" in text
    assert "1 ms" in text
    assert "1.3" in text


def test_times_of_the_interpreter_are_no_figures():
    found = measure.measure(Interpreter(CHIPS["trn2"]))
    assert found.figures == Figures()
    assert not found.of_device
    text = measure.lines(found)
    assert text[0] == (
        "times of the interpreter are not a device's: they are shown as they are, and nothing of them is kept"
    )
    assert "interpreter's wall time" in text[1]
    assert "measured" not in "".join(text)


# ---- The profile ----

LARGE = Gemm(function="numpy.matmul", dtype="float32", m=4096, k=4096, n=4096)
FIGURES = Figures(
    launch_seconds=2e-4,
    link_in_bytes_per_second=9e9,
    link_out_bytes_per_second=8e9,
    kernel_factors={"gemm": 1.25},
)


def a_profile(figures=FIGURES, **changes):
    subject = verdict.subject_of("neuron", "trn2")
    return Profile(
        subject=type(subject)(**{**vars_of(subject), **changes}),
        launcher="torch",
        figures=figures,
        when="2026-11-21T12:00:00+00:00",
    )


def vars_of(record):
    return {name: getattr(record, name) for name in record.__slots__}


def predicted(target="neuron"):
    return make_plan(LARGE, Options(min_work=0), target).prediction


def test_plans_use_the_profile_of_this_machine(host):
    host()
    before = predicted()
    assert before.source == "from published figures, not measured"
    assert profile.keep(a_profile()).startswith("kept in")
    after, chip = predicted(), profile.chip("trn2", "neuron")
    assert (chip.launch_seconds, chip.factor("gemm"), chip.factor("symm")) == (2e-4, 1.25, 1.0)
    assert after.fixed == pytest.approx(before.fixed / 5)
    assert after.link < before.link / 1.5
    fixed = before.fixed / 1e-3 * CHIPS["trn2"].kernel_seconds
    assert after.device - fixed == pytest.approx(1.25 * (before.device - fixed))
    assert after.source == (
        "from figures measured on this machine on 2026-11-21, and published ones; a prediction"
    )
    assert str(make_plan(LARGE, Options(min_work=0), "neuron")).count(after.source) == 1
    assert predicted("interpreter") == before, "times elsewhere are no device's"


def test_a_reason_that_rests_on_the_profile_says_so(host):
    host()
    assert "profile" not in make_plan(LARGE, Options(), "neuron").reason
    profile.keep(a_profile())
    assert "with this machine's profile of 2026-11-21" in make_plan(LARGE, Options(), "neuron").reason


@pytest.mark.parametrize(
    "change", [{"device": "host b, serial 2"}, {"sdk": "nki 0.5.0"}, {"kernels": "0" * 64}, {"chip": "trn3"}]
)
def test_a_profile_of_something_else_is_ignored(host, tmp_path, change):
    host()
    profile.keep(a_profile(**change))
    for path in (tmp_path / "cache").iterdir():  # as if copied from another machine
        path.rename(tmp_path / "cache" / profile._name(verdict.subject_of("neuron", "trn2"), "torch"))
    assert predicted().measured == ""
    found, note = profile.kept("neuron", "trn2", "torch")
    assert found is None
    assert f"but of other {next(iter(change))}" in note


def test_a_profile_of_the_other_launcher_is_ignored(host, monkeypatch):
    host()
    profile.keep(a_profile())
    monkeypatch.setenv("NUMTRN_LAUNCHER", "nki")
    profile._launcher.cache_clear()
    assert predicted().measured == ""


def test_a_damaged_profile_is_set_aside_with_a_warning(host, tmp_path):
    host()
    profile.keep(a_profile())
    (path,) = (tmp_path / "cache").iterdir()
    path.write_text(path.read_text().replace("0.0002", "0.0000002"))
    with pytest.warns(CacheWarning, match="checksum does not match"):
        assert predicted().measured == ""
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [f"{path.name}.aside"]
    assert predicted().measured == ""  # and no further warning


@pytest.mark.parametrize(
    "figures",
    [
        Figures(launch_seconds=-1.0),
        Figures(link_in_bytes_per_second=float("inf")),
        Figures(link_out_bytes_per_second="fast"),
        Figures(kernel_factors={"gemm": 0.0}),
        Figures(kernel_factors={"gemm": True}),
    ],
)
def test_figures_that_cannot_be_are_not_used(host, figures):
    host()
    profile.keep(a_profile(figures))
    assert predicted().measured == ""
    assert "not one that this version of numtrn writes" in profile.kept("neuron", "trn2", "torch")[1]


def test_a_profile_is_read_once(host, monkeypatch):
    host()
    profile.keep(a_profile())
    first = profile.chip("trn2", "neuron")
    monkeypatch.setattr(profile.store, "read", None)
    assert profile.chip("trn2", "neuron") is first


# ---- doctor --probe, and its report ----


@pytest.fixture
def small(monkeypatch):
    """As little as shows that everything is done."""
    monkeypatch.setattr(kinds, "karatsuba_from", lambda *_: None)
    for name, value in {
        "EXTENTS": (128,),
        "LAUNCHES": 2,
        "REPEATS": 1,
        "CROSSING": ((256, 128), (512, 128), (128, 256)),
        "PLACED": (2**14, 2**16),
    }.items():
        monkeypatch.setattr(measure, name, value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("launcher", ["nki", "torch", "native"])
def test_a_probe_of_a_device_keeps_its_profile_and_writes_a_report(
    host, says, monkeypatch, tmp_path, launcher
):
    device = host(**(native() if launcher == "native" else {})).device
    monkeypatch.setenv("NUMTRN_LAUNCHER", launcher)
    monkeypatch.setenv("NEURON_CC_FLAGS", f"--cache_dir=/home/{getpass.getuser()}/cache --lnc=1")
    file = tmp_path / "report.json"
    _, status, printed = says(probing=True, report=str(file))
    assert status == 0, printed
    assert device.launched.count("mp2_pairs") == 1
    assert "measured / plan" in printed
    assert section(printed, "profile")[0].startswith("kept in")
    text = file.read_text()
    body = json.loads(text)
    assert body["schema"] == "numtrn-report-1"
    assert body["measured"]["launcher"] == launcher
    assert {"planned", "clock", "seconds", "driver", "samples"} <= set(body["measured"]["kernels"][0])
    assert body["verdict"]["findings"][0]["outcome"] == "exact"
    assert not [one for one in body["kernels"] if one["problem"]]
    assert body["machine"]["environment"]["NEURON_CC_FLAGS"] == "--cache_dir=<path> --lnc=1"
    for secret in (str(tmp_path), platform.node(), "0000000000000000", "/home/", sys.prefix):
        assert secret not in text
    again = says()[2]
    assert "plans predict from its figures" in section(again, "profile")[0]
    assert predicted().measured == body["when"][:10]


@pytest.mark.usefixtures("small")
def test_times_that_tell_nothing_make_no_profile(host, says, monkeypatch, tmp_path):
    host()
    monkeypatch.setattr(measure, "plausible", lambda *_: None)
    _, status, printed = says(probing=True)
    assert status == 0
    assert section(printed, "profile") == ["not kept: the times tell no figure"]
    assert not list((tmp_path / "cache").glob("profile-*"))


@pytest.mark.usefixtures("small")
def test_a_probe_of_a_lost_device_says_so_and_keeps_nothing(host, says, tmp_path):
    host().device.fail("device_lost", at=5)
    file = tmp_path / "report.json"
    _, status, printed = says(probing=True, report=str(file))
    assert status == 1
    assert section(printed, "times")[0].startswith("nothing was measured: DeviceLostError")
    assert "not kept" in "\n".join(section(printed, "probe"))
    assert list((tmp_path / "cache").glob("*.json")) == []
    assert "measured" not in json.loads(file.read_text())


def test_a_report_of_the_interpreter_has_no_measurements(says, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "report.json"
    _, status, _ = says(probing=True, report=str(file))
    assert status == 0
    body = json.loads(file.read_text())
    assert "measured" not in body
    assert body["wall_times_of_no_device"]["target"] == "interpreter"
    assert not list((tmp_path / "cache").glob("profile-*"))


def test_a_report_overwrites_nothing_and_says_so_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_examined", None)
    file = tmp_path / "report.json"
    file.write_text("mine")
    assert doctor.main(True, str(file)) == 2
    assert "is there already, and a report overwrites nothing; name another file" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert doctor.main(True, str(tmp_path / "no/report.json")) == 2
    assert "there is no directory" in capsys.readouterr().err


def test_a_report_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    file = tmp_path / "report.json"
    file.write_text("mine")
    monkeypatch.setattr(report, "check", lambda path: None)
    with pytest.raises(report.ReportError, match="cannot be written"):
        report.write(file, {})
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]
    assert file.read_text() == "mine"


@pytest.mark.parametrize("where", ["kinds", "write", "cache"])
def test_ctrl_c_leaves_nothing_half_written(tmp_path, monkeypatch, capsys, where):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path / "cache"))
    if where == "kinds":
        monkeypatch.setattr(kinds, "try_all", interrupt)
    else:
        monkeypatch.setattr(report.os if where == "write" else verdict.store.os, "fsync", interrupt)
    assert doctor.main(True, str(tmp_path / "report.json")) == 130
    assert "interrupted; no file is half-written" in capsys.readouterr().err
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in left if "part" in path.name or "report" in path.name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kept in /home/alice/.cache/x.json", "kept in <path>"),
        ("s3://alices-bucket/cache", "s3:<path>"),
        ("~/cache and 'C:\\Users\\alice'", "<path> and '<path>'"),
        ("no /dev/neuron*, /dev/neuron0", "no /dev/neuron*, /dev/neuron0"),
        ("4.5 GB/s and / alone", "4.5 GB/s and / alone"),
        ("host vm-7, driver 2, serial 00ab", "host <host>, driver 2, serial <serial>"),
    ],
)
def test_reports_are_scrubbed(text, expected):
    assert report.scrubbed({"a": [text]}) == {"a": [expected]}


def test_report_needs_probe(capsys):
    with pytest.raises(SystemExit) as ended:
        command(["doctor", "--report", "x.json"])
    assert ended.value.code == 2
    assert "--report writes what --probe finds; give both" in capsys.readouterr().err


def test_a_failure_without_advice_is_to_be_reported():
    found = diagnosis.of_failure(DeviceLostError("gone"))
    assert found.do == "report it with all of this text"


def test_nothing_of_doctor_is_imported_with_numtrn():
    code = "import sys, numtrn; numtrn.enabled; print([m for m in sys.modules if 'doctor' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_warning_of_a_fallback_beside_the_findings(host):
    host(nki=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert doctor.main() == 0
