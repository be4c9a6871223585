"""docs/nki_coverage.md says of every name of NKI 0.6.0 whether it is here; it is written by this file.

python -m tests.interp.test_coverage        writes it anew
"""

from pathlib import Path

import pytest

from numtrn.interp import KernelFault, modules
from numtrn.interp.tensor import NkiTensor
from tests.interp.support import filled, nisa, nl, run, stored

HERE = Path(__file__).parent
NAMES = HERE / "nki_names_0.6.0.txt"
TABLE = HERE.parents[1] / "docs" / "nki_coverage.md"

# Present, but calling them is refused, as hardware does not do them (H36), or left out.
REFUSED = {
    "nki.language.divide": "does not work on hardware; multiply by a reciprocal",
    "nki.language.fmod": "works in the official simulator, fails on hardware",
    "nki.language.mod": "works in the official simulator, fails on hardware",
    "nki.language.NkiTensor.indirect": "tensor indirection of gen4: its documents disagree",
}
MISSING = {
    "nki.isa.nc_matmul_mx": "MX matmul: left out",
    "nki.isa.quantize_mx": "MX: left out",
    "nki.language.float8_e5m2_x4": "MX: left out",
    "nki.language.float8_e4m3fn_x4": "MX: left out",
    "nki.language.float8_e8m0fnu": "MX: left out",
    "nki.language.float4_e2m1fn_x4": "MX: left out",
    "nki.language.tile_size.psum_min_align": "the value is not published",
    "nki.language.tile_size.sbuf_min_align": "the value is not published",
}
NOTES = {
    "nki.isa.activation": "NumPy's functions for the polynomials; outside the valid range refused",
    "nki.isa.dropout": "random numbers are not the hardware's",
    "nki.isa.rand2": "random numbers are not the hardware's",
    "nki.isa.rand_get_state": "XORWOW",
    "nki.isa.rand_set_state": "XORWOW",
    "nki.isa.rng": "random numbers are not the hardware's",
    "nki.isa.tensor_partition_reduce": "the result has one partition (not documented)",
    "nki.isa.nc_matmul": "row and column tiles, double row, transposes; float32 sums in NumPy's order",
    "nki.language.NkiTensor.__setitem__": "refused unless rule H39 is let pass",
    "nki.language.NkiTensor.ap": "on a view refused unless rule H39 is let pass",
    "nki.language.dynamic_range": "the loop variable is a frozen register",
    "nki.language.matmul": "with transpose_x=True only, as on hardware",
    "nki.language.ndarray": "address in bytes; one document says elements",
    "nki.language.power": "a tile as exponent only, as on hardware",
    "nki.language.rand": "random numbers are not the hardware's",
    "nki.language.gather_flattened": "axis=0 only",
}
HEAD = """# What of NKI 0.6.0 the interpreter has

Written by `python -m tests.interp.test_coverage`; a test fails when it is stale. The names are those of
`nki/api/nki/isa/__init__.py` and `nki/api/nki/language/__init__.py` in `aws-neuron/aws-neuron-sdk`
at 81ce03ae.
A name that is not here raises a `KernelFault` that says so. `nki.collectives` is empty.

"""


def names():
    return [line for line in NAMES.read_text().splitlines() if not line.startswith("#")]


def present(name):
    """Whether the interpreter has a name."""
    rest = name.partition("nki.isa.")[2]
    holder, parts = modules["nki.isa"], rest.split(".")
    if not rest:
        holder, parts = modules["nki.language"], name.removeprefix("nki.language.").split(".")
    try:
        for part in parts:
            holder = getattr(NkiTensor if holder is nl.NkiTensor else type(holder), part, None) or getattr(
                holder, part
            )
    except (KernelFault, AttributeError):
        return False
    return True


ATTRIBUTES = {f"nki.language.NkiTensor.{name}" for name in ("shape", "strides", "offset", "dtype", "size")}


def state(name):
    if name in REFUSED:
        return "refused", REFUSED[name]
    if present(name) or name in ATTRIBUTES:
        return "yes", NOTES.get(name, "")
    return "no", MISSING.get(name, "MISSING")


def table():
    lines = [HEAD]
    for title, chosen in (("nki.isa", "nki.isa."), ("nki.language", "nki.language.")):
        mine = sorted(name for name in names() if name.startswith(chosen))
        states = {name: state(name) for name in mine}
        here = sum(word == "yes" for word, _ in states.values())
        lines.append(f"## {title}: {here} of {len(mine)}\n\n| Name | Here | Remark |\n|---|---|---|\n")
        lines += [
            f"| `{name.removeprefix(chosen)}` | {word} | {text} |\n" for name, (word, text) in states.items()
        ]
        lines.append("\n")
    return "".join(lines).rstrip() + "\n"


def test_the_table_is_up_to_date():
    assert TABLE.read_text() == table(), "python -m tests.interp.test_coverage writes it anew"


def test_what_is_missing_has_a_reason_and_says_so():
    absent = {name for name in names() if state(name)[0] == "no"}
    assert absent == set(MISSING)
    for name in absent - {n for n in absent if "tile_size" in n}:
        module, _, attribute = name.rpartition(".")
        with pytest.raises(KernelFault, match=rf"does not have {name}"):
            getattr(modules[module], attribute)


@pytest.mark.parametrize("name", ["divide", "mod", "fmod"])
def test_functions_that_hardware_does_not_do(name):
    with pytest.raises(KernelFault, match=f"H36.*{name}"):
        run(lambda: getattr(nl, name)(filled((4, 4)), filled((4, 4))))


@pytest.mark.parametrize("name", ["psum_min_align", "sbuf_min_align"])
def test_sizes_that_are_not_published(name):
    with pytest.raises(KernelFault, match=name):
        run(lambda: getattr(nl.tile_size, name))


def test_instructions_return_handles():
    def kernel():
        one = nisa.memset(dst=filled((4, 4)), value=1.0)
        tile = filled((4, 4))
        assert nisa.tensor_copy(dst=tile, src=filled((4, 4))).depends_on(one) is not None
        return stored(tile)

    run(kernel)


if __name__ == "__main__":
    TABLE.write_text(table())
