"""``python -m numtrn timeline``: its table, its trace, and what it refuses."""

import builtins
import json
import subprocess
import sys
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest

from numtrn import cli, timeline
from numtrn.interp.clock.picture import merged
from numtrn.machine import CHIPS
from numtrn.plan.tiling import tile_gemm


def test_table(capsys):
    assert cli.main(["timeline", "gemm", "1024x1024x1024", "--dtype", "float32", "--chip", "trn1"]) == 0
    printed = capsys.readouterr().out
    assert "gemm 1024x1024x1024 float32 on trn1, one launch on one core" in printed
    for engine in ("tensor", "vector", "scalar", "gpsimd", "dma", "waiting"):
        assert f"\n{engine} " in printed
    assert "bound 93.6 us (tensor)" in printed
    assert "predicted from published figures; no device has confirmed it" in printed


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "tfloat32", "float64"])
def test_dtypes(capsys, dtype):
    assert cli.main(["timeline", "gemm", "256x256x256", "--dtype", dtype]) == 0
    assert f"{dtype} on trn2" in capsys.readouterr().out


def test_several_launches(capsys):
    assert cli.main(["timeline", "gemm", "128x4096x128"]) == 0
    assert "2 launches of this shape cover the product" in capsys.readouterr().out


def test_trace(tmp_path, capsys):
    file = tmp_path / "trace.json"
    assert cli.main(["timeline", "gemm", "512x512x512", "--trace", str(file)]) == 0
    events = json.loads(file.read_text())["traceEvents"]
    work = [event for event in events if event["ph"] == "X"]
    expected = timeline.timeline_of(tile_gemm(1, 512, 512, 512, 2), "bfloat16", CHIPS["trn2"])
    assert len(work) == len(expected.names)
    assert {event["args"]["instruction"] for event in work} == set(range(len(work)))
    assert max(event["ts"] + event["dur"] for event in work) * 1e3 <= expected.total_ns
    for row in {event["tid"] for event in work}:  # what is on one row does not overlap
        spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in work if event["tid"] == row)
        assert all(one[1] <= two[0] + 1e-6 for one, two in pairwise(spans))
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert {"tensor", "vector", "load 0", "store 0"} <= names


def test_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = tmp_path / "picture.png"
    assert cli.main(["timeline", "gemm", "512x512x512", "--png", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")


def test_picture_without_matplotlib(tmp_path, capsys, monkeypatch):
    plain = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert cli.main(["timeline", "gemm", "128x128x128", "--png", str(tmp_path / "picture.png")]) == 1
    assert "--png needs matplotlib: pip install 'numtrn[plot]'" in capsys.readouterr().err


def test_bars_that_touch_are_joined():
    assert merged(np.array([0.0, 1.0, 5.0]), np.array([1.0, 1.0, 1.0]), 0.1) == [(0.0, 2.0), (5.0, 1.0)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gemm", "12x12"], "takes MxKxN, such as 2048x2048x2048; got '12x12'"),
        (["gemm", "0x1x1"], "takes positive extents"),
        (["syrk", "1x1x1"], "invalid choice"),
    ],
)
def test_refusals(words, message, capsys):
    with pytest.raises(SystemExit):
        cli.main(["timeline", *words])
    assert message in capsys.readouterr().err


def test_importing_the_clock_needs_no_matplotlib():
    code = "import sys, numtrn.timeline; print(*[m for m in ('matplotlib', 'tqdm') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_progress_is_told_of_both_halves():
    told = []
    tiling = tile_gemm(1, 2048, 2048, 2048, 2, False)
    found = timeline.timeline_of(tiling, "bfloat16", CHIPS["trn2"], told.append)
    each = len(found.names) // 1024 * 1024
    assert each > 0
    assert sum(told) == 2 * each


def test_a_bar_is_drawn_for_a_terminal_only(monkeypatch, capsys):
    bars = pytest.importorskip("tqdm")
    with timeline._progress() as tick:
        assert tick is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    drawn = []
    monkeypatch.setattr(bars, "tqdm", lambda **options: drawn.append(options) or nullcontext(_Bar(drawn)))
    with timeline._progress() as tick:
        tick(1024)
    assert drawn[1:] == [1024]


class _Bar:
    def __init__(self, drawn):
        self.update = drawn.append
