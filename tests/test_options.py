"""Settings: what is allowed, where they come from, and what a wrong one says."""

import pytest

import numtrn
from numtrn.options import UNSET, Options, resolve


def given(**settings):
    names = ("target", "chip", "precision", "min_work", "strict", "verify")
    return resolve(**{**dict.fromkeys(names, UNSET), **settings})


def test_defaults():
    assert given() == Options(
        target="auto", chip="trn2", precision="full", min_work=None, strict=False, verify=False
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("target", "interpreter", "interpreter"),
        ("chip", "trn1", "trn1"),
        ("precision", "bfloat16", "bfloat16"),
        ("min_work", "1e6", 1_000_000),
        ("min_work", "none", None),
        ("strict", "1", True),
        ("verify", "off", False),
    ],
)
def test_environment(monkeypatch, name, text, value):
    monkeypatch.setenv(f"NUMTRN_{name.upper()}", text)
    assert getattr(given(), name) == value


def test_argument_wins_over_environment(monkeypatch):
    monkeypatch.setenv("NUMTRN_MIN_WORK", "5")
    assert given(min_work=None).min_work is None
    assert given(min_work=7).min_work == 7


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"target": "gpu"}, ["target=", "'auto', 'neuron', 'simulator', 'interpreter'", "'gpu'"]),
        ({"chip": "trn9"}, ["chip=", "'trn1', 'trn2', 'trn3'", "'trn9'"]),
        ({"precision": "float8"}, ["precision=", "'full'", "'float8'"]),
        ({"precision": None}, ["precision=", "None"]),
        ({"min_work": -1}, ["min_work=", "from 0 to 1e18", "-1"]),
        ({"min_work": 0.5}, ["min_work=", "0.5"]),
        ({"min_work": float("nan")}, ["min_work=", "nan"]),
        ({"min_work": "many"}, ["min_work=", "'many'"]),
        ({"min_work": True}, ["min_work=", "True"]),
        ({"min_work": 10**400}, ["min_work=", "1e18"]),
        ({"min_work": "inf"}, ["min_work=", "'inf'"]),
        ({"target": ["neuron"]}, ["target=", "['neuron']"]),
        ({"strict": "maybe"}, ["strict=", "True or False", "'maybe'"]),
    ],
)
def test_a_wrong_value_names_the_allowed_ones(setting, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        numtrn.enabled(**setting)
    for word in words:
        assert word in str(caught.value)


def test_a_wrong_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("NUMTRN_TARGET", "cuda")
    with pytest.raises(ValueError, match=r"NUMTRN_TARGET= takes one of .*'interpreter'.* got 'cuda'"):
        numtrn.enabled()
