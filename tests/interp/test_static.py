"""The source checker: for each rule the smallest source that is refused, its line, and the message."""

import ast
import doctest
import textwrap
from pathlib import Path

import pytest

from numtrn.interp import static
from numtrn.interp.hazards import HAZARDS
from numtrn.interp.static_subset import fold

HEAD = """\
import math, os, random, time
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
"""
KERNEL = (
    HEAD + "@nki.jit\ndef kernel(x, y, out):\n    t = nl.ndarray((128, 64), nl.float32)\n{}\n    return out\n"
)


def found(body, **options):
    """Findings of statements inside a kernel, as (hazard, level, message)."""
    text = KERNEL.format(textwrap.indent(textwrap.dedent(body).strip("\n"), "    "))
    return [(f.hazard, f.level, f.message) for f in static.check_source(text, **options)]


# -- one construct in a kernel ---------------------------------------------------------------------

# (statements, hazard, level, message)
TABLE = [
    # H2, H39: indexing
    ("nisa.memset(dst=t[0:64:2, :], value=1.0)", "H2", "error",
     "partitions are consecutive; found t[0:64:2, :]; use a DMA to gather them"),
    ("nisa.memset(dst=t[0, :], value=1.0)", "H39", "error",
     "an integer on the partition dimension drops or keeps it, by version; found t[0, :]; use a slice"),
    ("out[0:4] = x", "H39", "error", "tensors are written by instructions; found out[0:4] = ...; use dst="),
    ("y = x[0:4].ap(pattern=[[1, 4]])", "H39", "error",
     "ap on a view replaces or adds its offset, by version; found ap on a slice; give ap an offset"),
    # H5, H11: allocation
    ("y = nl.ndarray((1, 1), nl.float32, address=(0, 0))", "H5", "warning",
     "documents differ on what an address counts; found address=; give bytes, or leave it out"),
    ("y = nl.zeros((1, 1), nl.float32, buffer=nl.psum)", "H11", "warning",
     "a matmul must not add to what nl.zeros wrote; use nl.ndarray, and accumulate=False first"),
    # H32: constructs
    ("y = [i for i in range(3)]", "H32", "error",
     "kernels keep to documented Python; found a list comprehension; write a for loop with append"),
    ("y = {i: 0 for i in range(3)}", "H32", "error",
     "kernels keep to documented Python; found a dict comprehension; write a for loop"),
    ("y = {1, 2}", "H32", "error",
     "kernels keep to documented Python; found a set; use a tuple or a list"),
    ("y = lambda i: i", "H32", "error",
     "kernels keep to documented Python; found lambda; define a function at the top of the file"),
    ("if (n := 3) > 2:\n    y = n", "H32", "error",
     "kernels keep to documented Python; found an assignment expression; assign on a line of its own"),
    ("try:\n    y = 1\nfinally:\n    y = 2", "H32", "error",
     "kernels keep to documented Python; found try; test the condition with if or assert"),
    ("raise x", "H32", "error",
     "kernels keep to documented Python; found raise; use assert with a message"),
    ("del y", "H32", "error", "kernels keep to documented Python; found del; let the name go out of scope"),
    ("match y:\n    case 1:\n        y = 2", "H32", "error",
     "kernels keep to documented Python; found match; use if and elif"),
    ("import nki", "H32", "error",
     "kernels keep to documented Python; found an import inside a kernel; move it to the top of the file"),
    ("y, *z = x", "H32", "error",
     "kernels keep to documented Python; found a starred expression; write the elements one by one"),
    ("class C:\n    pass", "H32", "error",
     "kernels keep to documented Python; found a class inside a kernel; move it to the top of the file"),
    ("y = x @ y", "H32", "error",
     "kernels keep to documented Python; found the @ operator; use nisa.nc_matmul"),
    ("if x is None:\n    y = 1", "H32", "error", "NKI forbids identity tests since 0.3; found is; use =="),
    ("assert x is not None", "H32", "error", "NKI forbids identity tests since 0.3; found is not; use !="),
    ("with open_it():\n    y = 1", "H32", "error",
     "the only context manager of kernels is nl.no_reorder(); found open_it(); leave it out"),
    ("def body(i):\n    return i", "H32", "error",
     "functions inside kernels are documented as bodies of nl.fori_loop and nl.while_loop only; found body;"
     " move it to the top of the file and pass what it needs"),
    ("y = {1: 2}", "H32", "error", "keys of dictionaries are strings; found 1; use strings or a list"),
    ("for i in range(2):\n    y = i\nelse:\n    y = 3", "H32", "error",
     "kernels keep to documented Python; found else after a loop; use a flag"),
    ("y = sum(x)", "H32", "error",
     "of Python's own functions kernels have len, min, print, range, slice; found sum; write a for loop or"
     " pass the value in"),
    ("y = math.log(3)", "H32", "error",
     "of math only ceil is documented; found math.log; compute it outside and pass it in"),
    ("y = np.zeros(3)", "H32", "error",
     "host libraries do not compile; found numpy.zeros; use nki.isa, or pass its value in"),
    ("y = kernel", "H32", "error",
     "a kernel must not use another kernel; found kernel; call a function without nki.jit"),
    ("y = nl.arange(4)", "H32", "error", "nki.language.arange was removed from NKI; use slices"),
    ("nisa.tensor_copy(dst=t, src=x, mask=y)", "H32", "error",
     "mask= was removed from NKI; found mask=; slice the operands, or use nisa.affine_select"),
    # H32: not documented, seen in the NKI library
    ("y = 1 if x else 2", "H32", "warning",
     "a conditional expression is not documented, though the NKI library uses it; to be safe, use if and"
     " else statements"),
    ("for i in range(3):\n    break", "H32", "warning",
     "break is not documented, though the NKI library uses it; to be safe, choose the range of the loop"
     " instead"),
    ("if x in (1, 2):\n    y = 3", "H32", "warning",
     "in is not documented, though the NKI library uses it; to be safe, compare with =="),
    ("y = max(1, 2)", "H32", "warning",
     "max() is not documented, though the NKI library uses it; to be safe, compute it outside and pass"
     " it in"),
    # H33
    ("y = 2**31", "H33", "error",
     "integers in kernels have 32 bits; found 2 ** 31; split it, or pass parts"),
    ("y = 1e39", "H33", "error", "floats in kernels are float32; found 1e+39; scale it"),
    # H34
    ("y = random.random()", "H34", "error",
     "the arguments alone decide what a kernel does; found random.random; pass it as an argument"),
    ("y = time.time()", "H34", "error",
     "the arguments alone decide what a kernel does; found time.time; pass it as an argument"),
    ("y = os.environ['A']", "H34", "error",
     "the arguments alone decide what a kernel does; found os.environ; pass it as an argument"),
    ("y = np.random.rand()", "H34", "error",
     "the arguments alone decide what a kernel does; found numpy.random.rand; pass it as an argument"),
    ("y = open('f')", "H34", "error",
     "the arguments alone decide what a kernel does; found open(); pass it as an argument"),
    # H36
    ("y = nl.divide(x, y)", "H36", "error",
     "nki.language.divide must not be used; no engine divides; multiply by nisa.reciprocal instead"),
    ("y = nl.matmul(x, y)", "H36", "error",
     "nl.matmul works with transpose_x=True only; found it without; use nisa.nc_matmul"),
    ("y = nl.power(x, 2.0)", "H36", "error",
     "nl.power takes a tile as exponent; found a number; use nisa.activation or multiply"),
    # H37
    ("r = nisa.register_alloc(0)\nif r:\n    y = 1", "H37", "error",
     "a register has no value while compiling; found r in if; use nl.while_loop"),
    ("r = nisa.register_alloc(0)\ny = x[r + 1]", "H37", "error",
     "a register has no value while compiling; found r in an index; use nl.while_loop"),
    ("r = nisa.register_alloc(0)\nrows = [1, 2]\ny = rows[r]", "H37", "error",
     "a register has no value while compiling; found r in an index; use nl.while_loop"),
    ("r = nisa.register_alloc(0)\nfor i in range(r):\n    y = i", "H37", "error",
     "a register has no value while compiling; found r in range(); use nl.while_loop"),
    # H38
    ("if nl.program_id(0) == 0:\n    y = 1", "H38", "error",
     "control flow is the same on both cores; found nl.program_id(0) == 0; use program_id in slices only"),
    ("core = nl.program_id(0)\nwhile core:\n    y = 1", "H38", "error",
     "control flow is the same on both cores; found core; use program_id in slices only"),
    ("y = nl.shared_constant(nl.program_id(0))", "H38", "error",
     "nl.shared_constant is the same on both cores; found program_id; slice it instead"),
    # H39: positions and versions
    ("nisa.dma_copy(t, x, nisa.oob_mode.skip)", "H39", "error",
     "arguments of dma_copy after the first 2 changed position between NKI versions; found 3 positional;"
     " name them"),
    ("y = nisa.tensor_copy(dst=t, src=x)", "H39", "error",
     "instructions write to dst and return nothing before 0.6; found a result of tensor_copy; use dst"),
    ("y = x.permute((0, 2, 1))", "H39", "warning",
     "portable kernels keep to NKI 0.3; the tensor method permute came with 0.5; require that version, or do"
     " without"),
    ("nisa.dma_copy(dst=t, src=x, priority=1)", "H39", "warning",
     "portable kernels keep to NKI 0.3; dma_copy(priority=) came with 0.4; require that version, or do"
     " without"),
    ("y = nl.tile_size.psum_num_banks", "H39", "warning",
     "portable kernels keep to NKI 0.3; nki.language.tile_size.psum_num_banks came with 0.5; require that"
     " version, or do without"),
    ("for i in nl.affine_range(3):\n    y = i", "H39", "warning",
     "loops are written with range; found nki.language.affine_range, which is deprecated; use range"),
    # H40
    ("nisa.dma_compute(dst=out, srcs=[x], reduce_op=nl.add)", "H40", "error",
     "dst is added to only if it stands in srcs; found one source; list dst too, or use dma_copy"),
    ("nisa.dma_compute(dst=out, srcs=[x, out], reduce_op=nl.add, unique_indices=False)", "H40", "error",
     "unique_indices must be True; found False; sum repeated indices before"),
    # H41
    ("nisa.tensor_copy(dst=t, scr=x, src=x)", "H41", "error",
     "arguments are those of tensor_copy; found scr=; did you mean src?"),
    ("nisa.tensor_copy(dst=t)", "H41", "error",
     "arguments are those of tensor_copy; src is missing; name every argument"),
    ("nisa.tensor_cpy(dst=t, src=x)", "H41", "error",
     "names are those of nki.isa; found tensor_cpy; did you mean tensor_copy?"),
    ("nisa.tensor_copy(dst=t, src=x, engine='vector')", "H41", "error",
     "engine is a member of nisa.engine; found 'vector'; use nisa.engine.<name>"),
    ("nisa.dma_copy(dst=t, src=x, dge_mode=2)", "H41", "error",
     "dge_mode is a member of nisa.dge_mode; found 2; use nisa.dge_mode.<name>"),
    ("nisa.tensor_tensor(dst=t, data1=x, data2=y, op=np.add)", "H41", "error",
     "op is an operator of nl; found np.add; use, say, nl.add"),
    ("y = nl.ndarray((1, 1), nl.float32, 'sbuf')", "H41", "error",
     "buffer is nl.sbuf, nl.psum, nl.hbm or nl.shared_hbm; found 'sbuf'; use one"),
    ("y = nl.ndarray((1, 1), nl.float32, buffer='psum')", "H41", "error",
     "buffer is nl.sbuf, nl.psum, nl.hbm or nl.shared_hbm; found 'psum'; use one"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "hazard", "level", "message"), TABLE)
def test_refused(body, hazard, level, message):
    assert (hazard, level, message) in found(body)


ACCEPTED = """
K, M = x.shape
total = 0
for i in range(0, K, 128):
    rows = min(128, K - i)
    total += rows
    if 0 < rows <= 64 and not y:
        print(f"{rows} rows")
    elif rows == None:
        continue_later = math.ceil(K / 128)
while total > 0:
    total -= 1
tiles = [t, [t]]
tiles.append(t)
options = {"a": 1}
assert len(tiles) == 3, "three"
table = nl.shared_constant(np.eye(3))
with nl.no_reorder():
    nisa.dma_copy(dst=t[0:K, slice(0, M)], src=x[total, :])
nisa.activation(dst=t, op=nl.copy, data=t, scale=-2147483648)
nisa.nc_matmul(t, t, t, accumulate=(total > 0))
core = nl.program_id(0)
nisa.dma_copy(dst=out[core * 64 : core * 64 + 64], src=t)
"""


def test_documented_python_is_accepted():
    assert found(ACCEPTED) == []


def test_what_a_loop_keeps_to_itself_is_accepted():
    body = (
        "for i in nl.dynamic_range(3):\n    t = nl.load(x)\n    held = []\n    held.append(t)\n    a = held"
    )
    assert not [row for row in found(body) if row[0] == "H37"]


# -- whole files -----------------------------------------------------------------------------------

K = "@nki.jit\ndef k(x):\n"
FILES = [
    ("from neuronxcc import nki", "H32", "found neuronxcc; import nki instead"),
    ("@nki.jit\ndef k(x, *, n):\n    return x", "H32",
     "forbids keyword-only arguments since 0.3; found * in k"),
    ("@nki.jit\ndef k(*xs):\n    return xs", "H32", "arguments are listed one by one; found *xs of k"),
    ("@nki.jit\ndef k(x: list):\n    return x", "H32",
     "takes no lists since 0.3; found x: list; take a tuple"),
    (K + "    return h(x)\ndef h(x):\n    return h(x)", "H32", "found h calling itself"),
    ("class C(dict):\n    pass\n" + K + "    return C()", "H32", "C inherits dict; make it class C("),
    ("n = 0\n" + K + "    global n\n    n = 1\n    return x", "H34", "found global n; return the value"),
    ("n = []\n" + K + "    n.append(x)\n    return x", "H34", "n is changed here; make it local"),
    ("n = {}\n" + K + "    n['a'] = x\n    return x", "H34", "n is changed here; make it local"),
    ("n = 1\nn = 2\n" + K + "    return x[n]", "H34", "n is bound more than once; pass it as an argument"),
    ("n = 2**31\n" + K + "    return x[n]", "H33", "32 bits; found n"),
    ("n = os.getpid()\n" + K + "    return x[n]", "H34", "n comes from os.getpid; pass it as"),
    ("n = [1]\n" + K + "    return x[n[0]]", "H34", "n can be changed; make it a tuple, or pass it"),
    ("def f(n):\n    @nki.jit\n    def k(x):\n        return x[n]\n    return k", "H34",
     "n belongs to the enclosing"),
    ("@nki.jit\ndef k(x, n=[]):\n    return x", "H34",
     "a default is shared by all calls; found []; use None"),
    (K + "    pass", "H35", "k returns nothing; return one"),
    (K + "    return [x]", "H35", "found [x]; return a tuple"),
    ("@nki.jit(mode='jax')\ndef k(x):\n    return x", "H41", "found mode=; leave it out"),
    (
        K + "    for i in nl.dynamic_range(3):\n        i = 2\n    return x",
        "H37",
        "the variable of a device loop is not written; found i; use another name",
    ),
    (
        K + "    for i in nl.dynamic_range(3):\n"
        "        t = nl.ndarray((1, 1), x.dtype)\n    return t",
        "H37",
        "tensors of a device loop's body end with it; found t outside; allocate it before",
    ),
    *(
        (
            f"@nki.jit\ndef k(x):\n    held = []\n    for i in nl.dynamic_range(3):\n        {body}\n"
            "    return held[0]",
            "H37",
            f"tensors of a device loop's body end with it; found {name} kept in held; allocate it before",
        )
        for body, name in (
            ("t = nl.ndarray((1, 1), x.dtype)\n        held.append(t)", "t"),
            ("held.append(nl.load(x))", "one"),
            ("t = nl.add(x, x)\n        held[0] = t", "t"),
            ("t = nl.zeros((1, 1), x.dtype)\n        held.tile = t", "t"),
        )
    ),
    (
        K + "    held = []\n    def body(i):\n        t = nl.load(x)\n        held.append(t)\n"
        "    nl.fori_loop(0, 3, body)\n    return held[0]",
        "H37",
        "found t kept in held; allocate it before",
    ),
    (
        K + "    with nl.no_reorder():\n"
        "        for i in nl.dynamic_range(3):\n            pass\n    return x",
        "H37",
        "a device loop must not stand inside nl.no_reorder()",
    ),
    ("def f(:", "H32", "a kernel is Python source; found"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "hazard", "message"), FILES)
def test_files_refused(text, hazard, message):
    findings = static.check_source(HEAD + text)
    assert any(f.hazard == hazard and message in f.message for f in findings), findings


def test_every_hazard_checked_in_source_has_a_row():
    rows = {row[1] for row in (*TABLE, *FILES)}
    assert rows == {hazard.id for hazard in HAZARDS.values() if hazard.source}


def test_host_code_is_not_kernel_code():
    host = "def host(xs):\n    return [kernel(x) for x in xs if x is not None]\n"
    assert static.check_source(KERNEL.format("    y = 1") + host) == ()


def test_helpers_methods_and_loop_bodies_are_kernel_code():
    text = """
    class Tiles(nl.NKIObject):
        def all(self):
            return [i for i in range(3)]

    def helper(x):
        return sorted(x)

    @nki.jit
    def kernel(x):
        def body(i):
            y = abs(i)
        nl.fori_loop(0, 3, body)
        return helper(Tiles().all())
    """
    findings = static.check_source(HEAD + textwrap.dedent(text))
    words = ("a list comprehension", "found sorted", "found abs")
    assert [f.level for f in findings].count("error") == 3
    assert all(any(word in f.message for f in findings) for word in words)


def test_a_local_name_hides_an_import_and_a_builtin():
    assert found("time = 3\nsum = 4\ny = time + sum") == []


@pytest.mark.parametrize(("level", "levels"), [("off", []), ("warning", ["warning"]), ("error", ["error"])])
def test_levels(level, levels):
    assert [row[1] for row in found("y = 1 if x else 2", levels={"H32": level})] == levels


def test_levels_name_hazards():
    with pytest.raises(ValueError, match="H1 to H43; got 'H99'"):
        static.check_source("", levels={"H99": "off"})


def test_a_finding_says_where():
    (finding,) = static.check_source(KERNEL.format("    y = lambda: 1"), "k.py")
    assert (finding.line, finding.column) == (9, 9)
    assert str(finding).startswith("k.py:9:9: error: H32: kernels keep to")


@pytest.mark.parametrize("text", ["2**31", "1 << 40", "-2147483649", "3 * 10**9", "4294967295 - 1"])
def test_folded_constants(text):
    assert fold(ast.parse(text, mode="eval").body) == eval(text)


def test_the_example_is_true():
    result = doctest.testmod(static)
    assert (result.attempted, result.failed) == (2, 0)


@pytest.mark.parametrize("path", sorted(Path("kernels").glob("*.py")), ids=str)
def test_our_kernels_are_clean(path):
    assert static.check_file(path) == ()
