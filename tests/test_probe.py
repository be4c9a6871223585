"""The probe finds what is broken, by the right property, and calls that rest on it are refused."""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import numtrn
from numtrn import block, doctor, verdict
from numtrn import probe as probing
from numtrn.interp import isa_data, isa_scalar, isa_vector
from numtrn.interp import isa_tensor as tensor
from numtrn.interp.access import put_bits
from numtrn.interp.dtypes import DTYPES
from numtrn.machine import CHIPS
from numtrn.targets import load
from numtrn.targets.interpreter import Interpreter
from numtrn.verdict import (
    ADDS,
    BITS,
    BYTES,
    FP16,
    NEEDS,
    SCALAR_CAST,
    SUMS,
    TF32,
    TRANSPOSES,
    VECTOR_CAST,
)


def probe(chip="trn2"):
    return probing.probe(Interpreter(CHIPS[chip]))


def failed(found):
    return [finding.name for finding in found.failed]


@pytest.mark.parametrize("chip", CHIPS)
def test_the_interpreter_passes(chip):
    found = probe(chip)
    assert failed(found) == []
    assert found.refusals() == {}
    assert found.complete
    assert {name for names in NEEDS.values() for name in names} <= {
        finding.name for finding in found.findings
    }


def test_every_expected_value_comes_from_operands_that_any_order_sums_exactly():
    for vector in probing.vectors():
        assert vector.expected.dtype == np.float64
        assert np.isfinite(vector.expected).all()
        if vector.name != SUMS:
            continue
        lhs, rhs = (operand.astype(np.float64) for operand in vector.arrays)
        up, down = np.maximum(lhs.T, 0), np.maximum(-lhs.T, 0)
        rising, falling = np.maximum(rhs, 0), np.maximum(-rhs, 0)
        # In the worst order all positive products come first, or all negative ones.
        assert (up @ rising + down @ falling).max(initial=0) <= 2**24
        assert (up @ falling + down @ rising).max(initial=0) <= 2**24


def test_an_odd_product_stands_at_every_position():
    seen = set()
    for case in ("first half", "second half"):
        _, rhs = probing.SUM_CASES[f"one odd product among large ones, {case}"]()
        seen |= set(np.argmin(rhs, axis=0).tolist())
    assert seen == set(range(1024))


# ---- Broken interpreters. Each breaks one thing, which one property finds. ----


def truncated(values, bits):
    """float64 numbers of so many bits, the rest cut off."""
    return (values.view(np.uint64) & np.uint64(2**64 - 2 ** (53 - bits))).view(np.float64)


def accumulator(bits, every_product=True):
    def broken(monkeypatch):
        def multiply(core, dst, a, b, add):
            total = dst.array.astype(np.float64) if add else np.zeros(dst.array.shape)
            if every_product:
                for k in range(len(a)):
                    total = truncated(total + np.multiply.outer(a[k], b[k]).astype(np.float64), bits)
            else:
                total = truncated(total + a.T.astype(np.float64) @ b.astype(np.float64), bits)
            dst.array[...] = total

        monkeypatch.setattr(tensor, "_entered", lambda *product: False)
        monkeypatch.setattr(tensor, "_multiply", multiply)

    return broken


def second_start_adds(monkeypatch):
    written = tensor.adds

    def adds(dst, accumulate):
        return written(dst, accumulate) or (accumulate is False and dst.storage.full)

    monkeypatch.setattr(tensor, "adds", adds)


def integer_cast(module, change):
    """Break what an engine puts into int32."""

    def broken(monkeypatch):
        put = module.put
        monkeypatch.setattr(module, "put", lambda dst, x: put(dst, change(x) if dst.dtype == "int32" else x))

    return broken


def loses_the_last_bit(x):
    return np.where(np.abs(x) > 2**23, x - np.fmod(x, 2), x).astype(np.float32)


def by_way_of_bfloat16(x):
    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


def bytes_unsigned(module):
    def broken(monkeypatch):
        wide = module.wide

        def unsigned(data):
            values = wide(data)
            return np.where(values < 0, values + 256, values) if data.dtype == "int8" else values

        monkeypatch.setattr(module, "wide", unsigned)

    return broken


def saturating(most):
    def broken(monkeypatch):
        exact = isa_vector._exact

        def clipped(op, dst, one, other):
            exact(op, dst, one, other)
            np.clip(dst.array, -most - 1, most, out=dst.array)

        monkeypatch.setattr(isa_vector, "_exact", clipped)

    return broken


def adds_in_fp32(monkeypatch):
    def rounded(op, dst, one, other):
        total = one.astype(np.float32) + other.astype(np.float32)
        put_bits(dst, np.clip(total.astype(np.float64), -(2**31), 2**31 - 1).astype(np.int32))

    monkeypatch.setattr(isa_vector, "_exact", rounded)


def arithmetic_shift(monkeypatch):
    bitvec = isa_vector._bitvec

    def shifted(op, operands, one, other):
        return one >> other if op.name == "right_shift" else bitvec(op, operands, one, other)

    monkeypatch.setattr(isa_vector, "_bitvec", shifted)


def tf32_of_10_bits(monkeypatch):
    def narrow(values):
        return truncated(values.astype(np.float64), 10).astype(np.float32)

    monkeypatch.setitem(vars(DTYPES["tfloat32"]), "narrow", narrow)


def fp16_without_subnormals(monkeypatch):
    widen = DTYPES["float16"].widen
    monkeypatch.setitem(
        vars(DTYPES["float16"]), "widen", lambda x: np.where(np.abs(x) < 2.0**-14, 0, widen(x)).astype("f4")
    )


def transposes_of_7_bits(monkeypatch):
    launch = Interpreter.launch

    def launched(self, kernel, arrays, parameters):
        out = launch(self, kernel, arrays, parameters)
        if kernel == "probe_casts" and parameters == (4,):
            return truncated(out.astype(np.float64), 7).astype(out.dtype)
        return out

    monkeypatch.setattr(Interpreter, "launch", launched)


BROKEN = {
    "accumulator of 23 bits": (accumulator(23), SUMS),
    "accumulator of 22 bits between matmuls": (accumulator(22, every_product=False), SUMS),
    "accumulator of 23 bits between matmuls": (accumulator(23, every_product=False), SUMS),
    "accumulate=False adds": (second_start_adds, SUMS),
    "ScalarE loses the last bit": (integer_cast(isa_scalar, loses_the_last_bit), SCALAR_CAST),
    "ScalarE by way of bf16": (integer_cast(isa_scalar, by_way_of_bfloat16), SCALAR_CAST),
    "VectorE loses the last bit": (integer_cast(isa_data, loses_the_last_bit), VECTOR_CAST),
    "VectorE by way of bf16": (integer_cast(isa_data, by_way_of_bfloat16), VECTOR_CAST),
    "ScalarE reads bytes as unsigned": (bytes_unsigned(isa_scalar), BYTES),
    "VectorE reads bytes as unsigned": (bytes_unsigned(isa_data), BYTES),
    "adds saturate at 2^24": (saturating(2**24), ADDS),
    "adds saturate at 2^30": (saturating(2**30), ADDS),
    "adds saturate just below the end": (saturating(2**31 - 2), ADDS),
    "adds in fp32": (adds_in_fp32, ADDS),
    "a right shift that keeps the sign": (arithmetic_shift, BITS),
    "tf32 of ten bits": (tf32_of_10_bits, TF32),
    "fp16 without subnormal numbers": (fp16_without_subnormals, FP16),
    "transposes of seven bits": (transposes_of_7_bits, TRANSPOSES),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found_by_its_property_alone(case, monkeypatch):
    break_it, name = BROKEN[case]
    break_it(monkeypatch)
    found = probe()
    assert failed(found) == [name]
    assert found.failed[0].outcome == "wrong"
    assert "expected" in found.failed[0].seen
    assert "at row" in found.failed[0].seen
    (need,) = (need for need, names in NEEDS.items() if name in names)
    assert list(found.refusals()) == [need]
    assert f"found {name} wrong" in found.refusals()[need]


def test_an_accumulator_of_24_bits_is_enough(monkeypatch):
    accumulator(24)(monkeypatch)
    assert failed(probe()) == []


def test_rounding_is_named(monkeypatch):
    def seen():
        return {finding.name: finding.seen for finding in probe().findings if finding.outcome == "seen"}

    healthy = seen()
    assert healthy["fractions to int32 by ScalarE"] == "to nearest, ties to even"
    assert healthy["fp32 to tf32 by DMA"] == "to nearest, ties to even"
    assert "u |A||B| in sums of 512" in healthy["three tf32 products"]
    integer_cast(isa_scalar, np.trunc)(monkeypatch)
    monkeypatch.setitem(
        vars(DTYPES["tfloat32"]), "narrow", lambda x: truncated(x.astype(np.float64), 11).astype(np.float32)
    )
    broken = seen()
    assert failed(probe()) == []  # what numtrn needs of them is exact nevertheless
    assert broken["fractions to int32 by ScalarE"] == "towards zero"
    assert broken["fp32 to tf32 by DMA"] == "towards zero"


def test_split_products_are_nearly_as_good_as_native_ones():
    errors = {
        finding.name: float(finding.seen.split()[2])
        for finding in probe().findings
        if finding.name.endswith(("product", "products")) and finding.outcome == "seen"
    }
    assert set(errors) == {"native fp32 product", "three tf32 products", "three fp16 products"}
    assert all(0 < error < 16 for error in errors.values())


def test_a_kernel_that_does_not_run_is_no_verdict(monkeypatch, places):
    launch = Interpreter.launch

    def launched(self, kernel, arrays, parameters):
        if kernel == "probe_integers":
            raise RuntimeError("core 0 stopped")
        return launch(self, kernel, arrays, parameters)

    monkeypatch.setattr(Interpreter, "launch", launched)
    found = probe()
    assert failed(found) == [ADDS, BITS]
    assert "RuntimeError: core 0 stopped" in found.failed[0].seen
    assert found.refusals() == {}
    assert "not kept" in verdict.keep(found)
    assert not places.exists()


# ---- What follows from a verdict. ----


@pytest.fixture
def places(monkeypatch, tmp_path):
    """A cache of this test's own."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(directory))
    return directory


def verdict_with(*wrong, chip="trn2"):
    target = Interpreter(CHIPS[chip])
    names = dict.fromkeys(name for names in NEEDS.values() for name in names)
    findings = tuple(
        verdict.Finding(
            name=name,
            outcome="wrong" if name in wrong else "exact",
            seen="expected 16777215, got 16777214" if name in wrong else "9 values",
        )
        for name in names
    )
    return verdict.Verdict(subject=verdict.subject(target), findings=findings, when="2026-01-01")


def routes(chip="trn2", **settings):
    a = np.ones((40, 40))
    with numtrn.enabled(target="interpreter", chip=chip, min_work=0, **settings) as session:
        for dtype in (np.float64, np.complex128, np.float32, np.complex64):
            np.matmul(a.astype(dtype), a.astype(dtype))
    return {call.dtype: call for call in session.calls}


def test_float64_is_refused_with_the_reason_and_float32_is_not(places):
    kept = verdict_with(SUMS)
    assert str(places) in verdict.keep(kept)
    calls = routes()
    for dtype in ("float64", "complex128"):
        assert calls[dtype].route == "numpy"
        assert not calls[dtype].failed
        assert f"found {SUMS} wrong (expected 16777215, got 16777214)" in calls[dtype].reason
        assert "doctor --probe" in calls[dtype].reason
    for dtype in ("float32", "complex64"):
        assert calls[dtype].route == "kernel"
    assert {call.route for call in routes(precision="bfloat16").values()} == {"kernel"}


def test_the_session_and_explain_show_the_reason(places):
    verdict.keep(verdict_with(ADDS))
    a = np.ones((40, 40))
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        explained = numtrn.explain(np.matmul, a, a)
        a @ a
    assert isinstance(explained, numtrn.Refusal)
    assert ADDS in explained.reason
    assert "the probe of this device found" in str(session)


def test_a_verdict_counts_for_its_chip_only(places):
    verdict.keep(verdict_with(SUMS, chip="trn1"))
    assert routes("trn1")["float64"].route == "numpy"
    assert routes("trn2")["float64"].route == "kernel"


def test_properties_of_split_products_do_not_touch_float64(places):
    verdict.keep(verdict_with(TF32, FP16))
    assert {call.route for call in routes().values()} == {"kernel"}
    assert set(verdict.refusals(Interpreter(CHIPS["trn2"]))) == {"tfloat32x3", "float16x3"}


def test_a_new_verdict_is_seen_by_the_next_block(places):
    assert routes()["float64"].route == "kernel"
    verdict.keep(verdict_with(SUMS))
    assert routes()["float64"].route == "numpy"
    verdict.keep(verdict_with())
    assert routes()["float64"].route == "kernel"


def test_a_verdict_of_other_kernels_is_not_used(places, monkeypatch):
    verdict.keep(verdict_with(SUMS))
    verdict.subject_of.cache_clear()
    monkeypatch.setattr(verdict, "sources_hash", lambda: "others")
    try:
        found, note = verdict.kept(Interpreter(CHIPS["trn2"]))
        assert routes()["float64"].route == "kernel"
    finally:
        verdict.subject_of.cache_clear()
    assert found is None
    assert "but of other kernels" in note


def test_the_hash_changes_with_any_kernel(monkeypatch, tmp_path):
    (tmp_path / "one.py").write_text("1")
    monkeypatch.setattr(load.resources, "files", lambda package: tmp_path)
    hashes = []
    for name, text in (("one.py", "1"), ("one.py", "2"), ("two.py", "")):
        (tmp_path / name).write_text(text)
        load.sources_hash.cache_clear()
        hashes.append(load.sources_hash())
    load.sources_hash.cache_clear()
    assert len(set(hashes)) == 3


def test_a_record_without_a_property_is_of_another_version(places):
    short = verdict_with(SUMS)
    object.__setattr__(short, "findings", short.findings[:3])
    verdict.keep(short)
    found, note = verdict.kept(Interpreter(CHIPS["trn2"]))
    assert found is None
    assert "another version" in note


def test_a_damaged_verdict_is_set_aside_and_nothing_is_refused(places):
    verdict.keep(verdict_with(SUMS))
    (file,) = places.iterdir()
    file.write_text(file.read_text().replace("wrong", "wring"))
    with pytest.warns(numtrn.errors.CacheWarning, match="checksum does not match"):
        assert routes()["float64"].route == "kernel"
    assert [path.name for path in places.iterdir()] == [f"{file.name}.aside"]


def test_a_block_stays_closed_when_that_warning_is_an_error(places):
    verdict.keep(verdict_with(SUMS))
    (file,) = places.iterdir()
    file.chmod(0o644)
    with pytest.raises(numtrn.errors.CacheWarning), numtrn.enabled(target="interpreter"):
        pass
    assert np.matmul(np.ones((3, 3)), np.ones((3, 3)))[0, 0] == 3
    assert block.current() is None


def test_without_a_place_for_the_verdict_all_works(monkeypatch):
    monkeypatch.setenv("NUMTRN_CACHE_DIR", "/proc/nowhere")
    assert "not kept: " in verdict.keep(verdict_with(SUMS))
    assert routes()["float64"].route == "kernel"


def test_the_verdict_is_read_once(places, monkeypatch):
    verdict.keep(verdict_with(SUMS))
    target = Interpreter(CHIPS["trn2"])
    first = verdict.refusals(target)
    monkeypatch.setattr(verdict.store, "read", None)
    assert verdict.refusals(target) is first


# ---- The command. ----


def test_doctor_probes_keeps_and_shows(places):
    before = doctor_says()
    assert "no verdict, so nothing is refused" in before.stdout
    probed = doctor_says("--probe")
    assert probed.returncode == 0, probed.stdout + probed.stderr
    for words in (SUMS, TRANSPOSES, "rests on it", "kept in", "ties to even"):
        assert words in probed.stdout
    after = doctor_says()
    assert f"exact   {SUMS}" in after.stdout
    assert after.returncode == 0


def doctor_says(*args):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "numtrn", "doctor", *args], capture_output=True, text=True
    )


def test_doctor_fails_with_the_device(places, monkeypatch, capsys):
    arithmetic_shift(monkeypatch)
    assert doctor.main(probing=True) == 1
    printed = capsys.readouterr().out
    assert f"found {BITS} wrong" in printed
    assert doctor.main() == 1  # float64 products are refused from now on
    assert "FAILED: the product did not reach a kernel" in capsys.readouterr().out


def test_a_target_that_is_missing_is_said(monkeypatch, capsys):
    monkeypatch.setenv("NUMTRN_TARGET", "neuron")
    assert doctor.main(probing=True) == 1
    assert "no target to probe: target='neuron' cannot be used" in capsys.readouterr().out
