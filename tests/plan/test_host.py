"""The host's speed is measured once and kept."""

import json

import pytest

from numtrn import cache
from numtrn.plan import host


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path / "cache"))
    host.multiply_add_rate.cache_clear()
    yield
    host.multiply_add_rate.cache_clear()


@pytest.fixture
def measured(monkeypatch):
    calls = []

    def measure(dtype):
        calls.append(dtype)
        return 1e9 * len(calls)

    monkeypatch.setattr(host, "_measured", measure)
    return calls


def test_a_rate_is_measured_once_for_each_type_and_process(measured):
    assert host.multiply_add_rate("float64") == 1e9
    assert host.multiply_add_rate("float64") == 1e9
    assert host.multiply_add_rate("float32") == 2e9
    host.multiply_add_rate.cache_clear()  # another process
    assert (host.multiply_add_rate("float32"), host.multiply_add_rate("float64")) == (2e9, 1e9)
    assert measured == ["float64", "float32"]


def test_other_threads_are_another_machine(measured, monkeypatch):
    host.multiply_add_rate("float64")
    host.multiply_add_rate.cache_clear()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "63")
    assert host.multiply_add_rate("float64") == 2e9


@pytest.mark.parametrize("kept", [None, [], {"other": 1.0}, "text"])
def test_what_is_kept_is_not_trusted(measured, kept):
    cache.write(host.RECORD, kept)
    assert host.multiply_add_rate("float64") == 1e9


@pytest.mark.parametrize("rate", [-1.0, 0.0, "fast", None])
def test_a_rate_that_is_none_is_measured_again(measured, rate, tmp_path):
    cache.write(host.RECORD, {f"{host._machine()}, float64": rate})
    assert host.multiply_add_rate("float64") == 1e9
    assert (
        json.loads((tmp_path / "cache" / host.RECORD).read_text())["body"][f"{host._machine()}, float64"]
        == 1e9
    )


def test_complex_products_count_four(measured):
    assert host.predicted_seconds(10**9, "complex128") == pytest.approx(4.0)
    assert host.predicted_seconds(10**9, "float64") == pytest.approx(1.0)


def test_the_measurement_is_a_rate():
    assert host._measured("float32") > 1e6
