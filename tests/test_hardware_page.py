"""docs/hardware.md: its commands parse, its figures are what the code says, and it names no package hosts."""

import re
import shlex
from pathlib import Path

import pytest

from numtrn import cli, compiling, demo
from numtrn.doctor import measure
from numtrn.doctor.diagnosis import RELEASES
from numtrn.machine import CHIPS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/hardware.md").read_text()
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    ")]
OURS = [line for line in COMMANDS if "-m numtrn" in line]


class Parsed(Exception):
    """The demo got as far as its first molecule."""


def parsed(*_, **__):
    raise Parsed


def test_there_are_all_of_them():
    said = {line.partition("-m numtrn ")[2].split()[0] for line in OURS}
    assert said == {"doctor", "demo", "compile"}
    assert any("--probe --report" in line for line in OURS)


@pytest.mark.parametrize("line", OURS)
def test_every_command_of_ours_parses(line, monkeypatch):
    words = shlex.split(line)
    while "=" in words[0]:  # variables
        assert words.pop(0).startswith("NUMTRN_")
    assert words[:3] == ["python", "-m", "numtrn"]
    arguments = words[3:]
    if arguments[0] == "demo":
        monkeypatch.setattr(demo, "run", parsed)
        with pytest.raises(Parsed):
            demo.main(arguments[1:])
    elif arguments[0] == "compile":
        assert compiling._parser().parse_args(arguments[1:]).what == "mp2"
    else:
        known = cli._parser().parse_args(arguments)
        assert known.command == arguments[0]


def test_every_other_command_is_one_of_the_documentations():
    known = ("sudo apt-get", "export", "lsmod", "ls -l", "neuron-ls", "neuron-top", "python3.12", "source")
    others = [line for line in COMMANDS if line not in OURS]
    assert [line for line in others if not line.startswith((*known, "python -m pip"))] == []


def test_every_step_says_whether_it_was_run():
    steps = re.findall(r"^## (\d)\. .*$", PAGE, re.M)
    told = re.findall(r"^## (\d)\. .*\((?:never run|run without a device)\)$", PAGE, re.M)
    assert steps == list("123456789")
    assert told == list("12345678")  # the last one is a letter


def test_no_package_host_and_no_link_out():
    assert "http" not in PAGE
    assert not re.search(r"\w+\.(com|org|io)\b", PAGE)
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_releases_are_those_that_doctor_knows():
    rows = re.findall(r"^\| (2\.\d+) \| (0\.\d)\.0 \| ([\d.]+) \| ([^|]+) \| ([\d.]+) \|$", PAGE, re.M)
    assert [(sdk, nki, compiler, driver) for sdk, nki, compiler, _, driver in rows] == [
        (one.sdk, one.nki, one.compiler, one.driver) for one in RELEASES
    ]
    assert [torch for *_, torch, _ in rows[:3]] == [one.torch for one in RELEASES[:3]]


def test_predictions_are_what_plans_predict():
    rows = re.findall(r"^\| (\w+) (\d+)\^3 \| (.*) \|$", PAGE, re.M)
    assert len(rows) == 6
    for kernel, extent, cells in rows:
        make = measure._plain if kernel == "gemm" else measure._sliced
        for cell, chip in zip(cells.split(" | "), CHIPS.values(), strict=True):
            planned, _ = cell.split(" / ")
            assert planned == f"{measure._planned(make(int(extent), chip), chip) * 1e3:.3g}"


@pytest.mark.parametrize("chip", CHIPS)
def test_predictions_of_the_clock(chip):
    for kernel, make in (("gemm", measure._plain), ("sliced_gemm", measure._sliced)):
        (cells,) = re.findall(rf"^\| {kernel} 512\^3 \| (.*) \|$", PAGE, re.M)
        cell = cells.split(" | ")[list(CHIPS).index(chip)]
        assert cell.split(" / ")[1] == f"{measure._clock(make(512, CHIPS[chip]), CHIPS[chip]) * 1e3:.3g}"
