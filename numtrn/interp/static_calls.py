"""How kernels call NKI: names, arguments, forms that changed between versions, indexing.

Signatures are those of the interpreter's own instructions; names that it lacks are known from
``static_names.py``, so that only misspelt ones are refused.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from numtrn.interp.access import POSITIONAL
from numtrn.interp.hazards import FAILING
from numtrn.interp.modules import modules
from numtrn.interp.static_names import (
    ALLOCATE,
    DEPRECATED,
    ENUMS,
    LATER,
    LATER_KEYWORDS,
    LATER_METHODS,
    OBSERVED_ISA,
    OPERATORS,
    OTHER_ISA,
    OTHER_LANGUAGE,
    REMOVED,
    RESULTS,
)
from numtrn.interp.static_source import Function, Report, Source, bindings, nodes, paths

__all__ = ["check"]

ISA, LANGUAGE = "nki.isa.", "nki.language."


def check(source: Source) -> Iterator[Report]:
    """Findings in all kernel code of a file."""
    for kernel in source.kernels:
        yield from _decorator(source, kernel)
        yield from _returns(kernel)
        for named, path in paths(source, kernel):
            yield from _known(named, path)
        for node in nodes(kernel.node):
            if isinstance(node, ast.Call):
                yield from _call(source, kernel, node)
            yield from _result(source, kernel, node)
        yield from _tensors(source, kernel)


# -- names -----------------------------------------------------------------------------------------


def _known(node: ast.expr, path: str) -> Iterator[Report]:
    if path in REMOVED:
        yield Report("H32", node, f"{path} was removed from NKI; {REMOVED[path]}")
    elif path in FAILING:
        yield Report("H36", node, f"{path} must not be used; {FAILING[path]}")
    elif path in DEPRECATED:
        text = f"loops are written with range; found {path}, which is deprecated; use {DEPRECATED[path]}"
        yield Report("H39", node, text, "warning")
    elif path in LATER:
        yield _later(node, path, LATER[path])
    else:
        yield from _misspelt(node, path)


def _later(node: ast.AST, what: str, since: str) -> Report:
    text = f"portable kernels keep to NKI 0.3; {what} came with {since}; require that version, or do without"
    return Report("H39", node, text, "warning")


def _misspelt(node: ast.expr, path: str) -> Iterator[Report]:
    for prefix, more in ((ISA, OTHER_ISA), (LANGUAGE, OTHER_LANGUAGE)):
        name = path.removeprefix(prefix).partition(".")[0]
        known = more.union(vars(modules[prefix[:-1]]))
        if path.startswith(prefix) and name not in known and prefix + name not in OBSERVED_ISA:
            text = f"names are those of {prefix[:-1]}; found {name}; {_suggest(name, known)}"
            yield Report("H41", node, text)


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [other for other in known if not other.startswith("_")], 1)
    return f"did you mean {close[0]}?" if close else "see its documentation"


# -- calls -----------------------------------------------------------------------------------------


def _call(source: Source, kernel: Function, node: ast.Call) -> Iterator[Report]:
    path = source.path(node.func, kernel.local)
    given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if path.startswith((ISA, LANGUAGE)):
        yield from _keywords(node, path, given)
        named = _positional(node, path) | given
        yield from _enumerations(source, kernel, path, named)
        yield from _special(source, kernel, node, path, named)
    elif isinstance(node.func, ast.Attribute) and not path:
        yield from _method(source, node, node.func)


def _keywords(node: ast.Call, path: str, given: dict[str, ast.expr]) -> Iterator[Report]:
    name = path.rpartition(".")[2]
    if "mask" in given:
        text = "mask= was removed from NKI; found mask=; slice the operands, or use nisa.affine_select"
        yield Report("H32", node, text)
    for keyword in given:
        if (name, keyword) in LATER_KEYWORDS:
            yield _later(node, f"{name}({keyword}=)", LATER_KEYWORDS[name, keyword])
    function = _own(path)
    if function is None:
        return
    parameters = list(inspect.signature(function).parameters.values())
    names = [parameter.name for parameter in parameters]
    for keyword in given:
        if keyword not in names and keyword != "mask":
            text = f"arguments are those of {name}; found {keyword}=; {_suggest(keyword, names)}"
            yield Report("H41", node, text)
    if any(isinstance(value, ast.Starred) for value in node.args) or None in [k.arg for k in node.keywords]:
        return
    yield from _positions(node, name, names)
    needed = [p.name for p in parameters[len(node.args) :] if p.default is p.empty and p.name not in given]
    if needed:
        text = f"arguments are those of {name}; {', '.join(needed)} is missing; name every argument"
        yield Report("H41", node, text)


def _positional(node: ast.Call, path: str) -> dict[str, ast.expr]:
    """Positional arguments by their names, as far as the interpreter knows these."""
    function = _own(path)
    if function is None or any(isinstance(value, ast.Starred) for value in node.args):
        return {}
    return dict(zip(inspect.signature(function).parameters, node.args, strict=False))


def _own(path: str) -> Callable[..., Any] | None:
    """The interpreter's function of that path, if it has a signature worth comparing with."""
    module, _, name = path.rpartition(".")
    found = vars(modules[module]).get(name) if module in modules else None
    return found if inspect.isfunction(found) else None


def _positions(node: ast.Call, name: str, names: list[str]) -> Iterator[Report]:
    count, stable = len(node.args), POSITIONAL.get(name, len(names))
    if count > len(names):
        text = f"{name} takes at most {len(names)} arguments; found {count}; name every argument"
        yield Report("H41", node, text)
    elif count > stable:
        text = (
            f"arguments of {name} after the first {stable} changed position between NKI versions; found"
            f" {count} positional; name them"
        )
        yield Report("H39", node, text)


def _enumerations(
    source: Source, kernel: Function, path: str, given: dict[str, ast.expr]
) -> Iterator[Report]:
    """Members of enumerations, buffers and operators are not numbers, strings or functions of NumPy."""
    for keyword, value in given.items():
        plain = isinstance(value, ast.Constant) and value.value is not None
        foreign = source.path(value, kernel.local).partition(".")[0] in ("numpy", "operator")
        if keyword in ENUMS and plain and path.startswith(ISA):
            kind = "matmul_perf_mode" if keyword == "perf_mode" else keyword
            text = f"{keyword} is a member of nisa.{kind}; found {ast.unparse(value)}; use nisa.{kind}.<name>"
            yield Report("H41", value, text)
        elif keyword in OPERATORS and (plain or foreign) and path.startswith(ISA):
            text = f"{keyword} is an operator of nl; found {ast.unparse(value)}; use, say, nl.add"
            yield Report("H41", value, text)
        elif keyword == "buffer" and plain:
            text = f"buffer is nl.sbuf, nl.psum, nl.hbm or nl.shared_hbm; found {ast.unparse(value)}; use one"
            yield Report("H41", value, text)


def _special(
    source: Source, kernel: Function, node: ast.Call, path: str, given: dict[str, ast.expr]
) -> Iterator[Report]:
    """Rules of single functions (H5, H11, H36, H40)."""
    name = path.rpartition(".")[2]
    if path in ALLOCATE and not _nothing(given.get("address")):
        text = "documents differ on what an address counts; found address=; give bytes, or leave it out"
        yield Report("H5", node, text, "warning")
    if path in ALLOCATE[1:4] and source.path(given.get("buffer", node)) == "nki.language.psum":
        text = f"a matmul must not add to what nl.{name} wrote; use nl.ndarray, and accumulate=False first"
        yield Report("H11", node, text, "warning")
    if path == "nki.language.matmul" and not _true(given.get("transpose_x")):
        text = "nl.matmul works with transpose_x=True only; found it without; use nisa.nc_matmul"
        yield Report("H36", node, text)
    if path == "nki.language.power" and any(isinstance(value, ast.Constant) for value in node.args[1:]):
        text = "nl.power takes a tile as exponent; found a number; use nisa.activation or multiply"
        yield Report("H36", node, text)
    if path == "nki.isa.dma_compute":
        yield from _dma_compute(node, given)


def _dma_compute(node: ast.Call, given: dict[str, ast.expr]) -> Iterator[Report]:
    sources = given.get("srcs", node.args[1] if len(node.args) > 1 else None)
    if isinstance(sources, (ast.List, ast.Tuple)) and len(sources.elts) == 1:
        text = "dst is added to only if it stands in srcs; found one source; list dst too, or use dma_copy"
        yield Report("H40", node, text)
    unique = given.get("unique_indices")
    if isinstance(unique, ast.Constant) and unique.value is not True:
        text = "unique_indices must be True; found False; sum repeated indices before"
        yield Report("H40", node, text)


def _method(source: Source, node: ast.Call, function: ast.Attribute) -> Iterator[Report]:
    """Methods of tensors, by their names (H39)."""
    own = {item.name for c in source.classes.values() for item in c.body if isinstance(item, ast.FunctionDef)}
    if function.attr in LATER_METHODS - own:
        yield _later(node, f"the tensor method {function.attr}", "0.5")
    if function.attr == "ap" and isinstance(function.value, ast.Subscript) and _sliced(function.value):
        text = "ap on a view replaces or adds its offset, by version; found ap on a slice; give ap an offset"
        yield Report("H39", node, text)


def _nothing(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _true(value: ast.expr | None) -> bool:
    return value is not None and not (isinstance(value, ast.Constant) and value.value is not True)


def _result(source: Source, kernel: Function, node: ast.AST) -> Iterator[Report]:
    """Instructions return nothing before 0.6; results go to dst."""
    if isinstance(node, (ast.Assign, ast.Return, ast.AugAssign)) and isinstance(node.value, ast.Call):
        path = source.path(node.value.func, kernel.local)
        name = path.removeprefix(ISA)
        if path.startswith(ISA) and (name in POSITIONAL or name in OTHER_ISA - RESULTS) and name.islower():
            text = (
                f"instructions write to dst and return nothing before 0.6; found a result of {name}; use dst"
            )
            yield Report("H39", node, text)


# -- kernels and tensors ---------------------------------------------------------------------------


def _decorator(source: Source, kernel: Function) -> Iterator[Report]:
    decorator = source.jitted(kernel.node)
    if isinstance(decorator, ast.Call):
        for keyword in decorator.keywords:
            text = f"nki.jit takes no options that all versions have; found {keyword.arg}=; leave it out"
            yield Report("H41", decorator, text)


def _returns(kernel: Function) -> Iterator[Report]:
    """A kernel returns a tensor or a tuple of tensors (H35)."""
    if not kernel.jitted:
        return
    returns = [node for node in nodes(kernel.node) if isinstance(node, ast.Return)]
    if not any(node.value is not None for node in returns):
        text = f"a kernel returns tensors in nl.shared_hbm; {kernel.node.name} returns nothing; return one"
        yield Report("H35", kernel.node, text)
    for node in returns:
        if isinstance(node.value, (ast.List, ast.Dict)):
            found = ast.unparse(node.value)
            text = f"a kernel returns a tensor or a tuple of tensors; found {found}; return a tuple"
            yield Report("H35", node, text)


def _tensors(source: Source, kernel: Function) -> Iterator[Report]:
    """Indexing of tensors allocated in this function (H2, H39)."""
    chip = _on_chip(source, kernel)
    for node in nodes(kernel.node):
        if not isinstance(node, ast.Subscript):
            continue
        if not isinstance(node.ctx, ast.Load) and _sliced(node):
            text = f"tensors are written by instructions; found {ast.unparse(node)} = ...; use dst="
            yield Report("H39", node, text)
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
        if name in chip and isinstance(first, ast.Constant) and type(first.value) is int:
            text = (
                f"an integer on the partition dimension drops or keeps it, by version; found"
                f" {ast.unparse(node)}; use a slice"
            )
            yield Report("H39", node, text)
        step = first.step if isinstance(first, ast.Slice) else None
        if name in chip and isinstance(step, ast.Constant) and step.value not in (None, 1):
            text = f"partitions are consecutive; found {ast.unparse(node)}; use a DMA to gather them"
            yield Report("H2", node, text)


def _sliced(node: ast.Subscript) -> bool:
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return any(
        isinstance(part, ast.Slice) or (isinstance(part, ast.Constant) and part.value is ...)
        for part in parts
    )


def _on_chip(source: Source, kernel: Function) -> set[str]:
    """Names that only ever mean a tile allocated in SBUF or PSUM."""
    good: set[str] = set()
    bad: set[str] = set()
    for node in nodes(kernel.node):
        for name, value in bindings(node):
            (good if _allocates_on_chip(source, kernel, value) else bad).add(name)
    return good - bad


def _allocates_on_chip(source: Source, kernel: Function, value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call) or source.path(value.func, kernel.local) not in ALLOCATE[:4]:
        return False
    buffers = [keyword.value for keyword in value.keywords if keyword.arg == "buffer"]
    return len(value.args) < 3 and (
        not buffers or source.path(buffers[0], kernel.local) in ("nki.language.sbuf", "nki.language.psum")
    )
