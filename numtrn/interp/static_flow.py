"""Control flow that a compiler cannot follow: registers in Python (H37), and cores that differ (H38).

Sources: ``nki/deep-dives/nki-dynamic-loops.rst``, ``nki/api/nki/isa/__init__.py`` (VirtualRegister) and
``nki/api/nki/language/__init__.py`` (loops, shared_constant) in ``aws-neuron/aws-neuron-sdk`` at 81ce03ae.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from numtrn.interp.operators import OPERATORS
from numtrn.interp.static_names import ALLOCATE
from numtrn.interp.static_source import Function, Report, Source, bindings, nodes
from numtrn.interp.wrappers import FUNCTIONS

__all__ = ["check"]

MAKES = {
    *ALLOCATE,
    *(f"nki.language.{name}" for name in ("load", "load_transpose2d", "rand", "zeros_like")),
    *(f"nki.language.{name}" for name in (*FUNCTIONS, *OPERATORS)),
}
"""Functions that return a new tensor."""


def check(source: Source) -> Iterator[Report]:
    """Findings in all kernel code of a file."""
    for kernel in source.kernels:
        yield from _registers(source, kernel)
        yield from _cores(source, kernel)


# -- registers -------------------------------------------------------------------------------------


def _registers(source: Source, kernel: Function) -> Iterator[Report]:
    """Registers and variables of device loops in Python's own control flow (H37)."""
    registers, loops = _register_names(source, kernel)
    tensors = _tensor_names(source, kernel)
    for node in nodes(kernel.node):
        for place, expression in _python_uses(node, tensors):
            for name in _names(expression) & (registers | loops):
                text = f"a register has no value while compiling; found {name} in {place}; use nl.while_loop"
                yield Report("H37", node, text)
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            for name, _ in bindings(node):
                if name in loops:
                    text = f"the variable of a device loop is not written; found {name}; use another name"
                    yield Report("H37", node, text)
        if isinstance(node, ast.For) and _dynamic(source, kernel, node):
            yield from _escaping(source, kernel, node)
            yield from _kept(source, kernel, node)
        if isinstance(node, ast.FunctionDef):  # again bodies of nl.fori_loop
            yield from _kept(source, kernel, node)
        if isinstance(node, ast.With):
            yield from _reorder(source, kernel, node)


def _register_names(source: Source, kernel: Function) -> tuple[set[str], set[str]]:
    registers: set[str] = set()
    loops: set[str] = set()
    for node in nodes(kernel.node):
        for name, value in bindings(node):
            if isinstance(value, ast.Call):
                path = source.path(value.func, kernel.local)
                if path == "nki.isa.register_alloc":
                    registers.add(name)
        if isinstance(node, ast.For) and _dynamic(source, kernel, node) and isinstance(node.target, ast.Name):
            loops |= {node.target.id} - {"_"}
        if isinstance(node, ast.FunctionDef):  # bodies of nl.fori_loop; others are refused elsewhere
            loops |= {argument.arg for argument in node.args.args}
    return registers, loops


def _dynamic(source: Source, kernel: Function, node: ast.For) -> bool:
    call = node.iter
    return isinstance(call, ast.Call) and source.path(call.func, kernel.local) == "nki.language.dynamic_range"


def _tensor_names(source: Source, kernel: Function) -> set[str]:
    """Names that may be tensors: parameters, and what is allocated here."""
    made = {
        name
        for node in nodes(kernel.node)
        for name, value in bindings(node)
        if isinstance(value, ast.Call) and source.path(value.func, kernel.local) in ALLOCATE
    }
    return made | {argument.arg for argument in kernel.node.args.args}


def _python_uses(node: ast.AST, tensors: set[str]) -> Iterator[tuple[str, ast.expr]]:
    """Expressions that Python evaluates while compiling, and what they stand in."""
    if isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield ("while" if isinstance(node, ast.While) else "if"), node.test
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in ("range", "int", "float", "bool", "min", "max"):
            yield from ((f"{node.func.id}()", argument) for argument in node.args)
    elif isinstance(node, ast.Subscript):
        tensor = isinstance(node.value, ast.Name) and node.value.id in tensors
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        yield from (("an index", part) for part in parts if not (tensor and _indexable(part)))


def _indexable(part: ast.expr) -> bool:
    """Whether a register may stand there: as an index of a tensor, or as the start of nl.ds."""
    if isinstance(part, ast.Call) and part.args:
        part = part.args[0] if isinstance(part.func, ast.Attribute) and part.func.attr == "ds" else part
    return isinstance(part, ast.Name)


def _names(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def _escaping(source: Source, kernel: Function, loop: ast.For) -> Iterator[Report]:
    """Tensors allocated in the body of a device loop and used after it."""
    inside = {child for statement in loop.body for child in ast.walk(statement)}
    born = _born(source, kernel, inside)
    for node in nodes(kernel.node):
        if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in born):
            continue
        if node not in inside and node.lineno > loop.lineno:
            text = f"tensors of a device loop's body end with it; found {node.id} outside; allocate it before"
            yield Report("H37", node, text)


def _born(source: Source, kernel: Function, inside: set[ast.AST]) -> set[str]:
    """Names of tensors made in the body of a device loop."""
    found = ((name, value) for child in inside for name, value in bindings(child))
    return {name for name, value in found if value is not None and _makes(source, kernel, value)}


def _makes(source: Source, kernel: Function, value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and source.path(value.func, kernel.local) in MAKES


def _kept(source: Source, kernel: Function, loop: ast.For | ast.FunctionDef) -> Iterator[Report]:
    """Tensors made in the body of a device loop and put into a list or a record from outside it."""
    inside = {child for statement in loop.body for child in ast.walk(statement)}
    born = _born(source, kernel, inside)
    own = {name for child in inside for name, _ in bindings(child)}
    for child in sorted(inside, key=lambda node: getattr(node, "lineno", 0)):
        for holder, value in _puts(child):
            tensor = value.id if isinstance(value, ast.Name) else "one"
            if holder not in own and (tensor in born or _makes(source, kernel, value)):
                found = f"found {tensor} kept in {holder}"
                text = f"tensors of a device loop's body end with it; {found}; allocate it before"
                yield Report("H37", child, text)


def _puts(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What a statement puts into a list, a dict or a record, by the holder's name."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        holder = node.func.value
        if isinstance(holder, ast.Name) and node.func.attr in ("append", "insert", "setdefault"):
            yield from ((holder.id, argument) for argument in node.args)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            base = target.value if isinstance(target, (ast.Subscript, ast.Attribute)) else None
            if isinstance(base, ast.Name) and not _slices(target):
                yield base.id, node.value


def _slices(target: ast.expr) -> bool:
    """Whether it is part of a tensor, which is refused elsewhere."""
    return isinstance(target, ast.Subscript) and any(
        isinstance(part, ast.Slice) for part in ast.walk(target.slice)
    )


def _reorder(source: Source, kernel: Function, block: ast.With) -> Iterator[Report]:
    calls = [item.context_expr for item in block.items if isinstance(item.context_expr, ast.Call)]
    if not any(source.path(call.func, kernel.local) == "nki.language.no_reorder" for call in calls):
        return
    for node in ast.walk(block):
        if isinstance(node, ast.For) and _dynamic(source, kernel, node):
            text = "a device loop must not stand inside nl.no_reorder(); found one; put the block inside it"
            yield Report("H37", node, text)


# -- two cores -------------------------------------------------------------------------------------


def _cores(source: Source, kernel: Function) -> Iterator[Report]:
    """Control flow and shared constants that depend on the core (H38)."""
    varying = {
        name
        for node in nodes(kernel.node)
        for name, value in bindings(node)
        if value is not None and _by_core(source, kernel, value, set())
    }
    for node in nodes(kernel.node):
        if isinstance(node, (ast.If, ast.While)) and _by_core(source, kernel, node.test, varying):
            found = ast.unparse(node.test)
            text = f"control flow is the same on both cores; found {found}; use program_id in slices only"
            yield Report("H38", node, text)
        if not isinstance(node, ast.Call) or source.path(node.func) != "nki.language.shared_constant":
            continue
        if any(_by_core(source, kernel, argument, varying) for argument in node.args):
            text = "nl.shared_constant is the same on both cores; found program_id; slice it instead"
            yield Report("H38", node, text)


def _by_core(source: Source, kernel: Function, value: ast.expr, varying: set[str]) -> bool:
    return any(
        source.path(node, kernel.local) == "nki.language.program_id"
        or (isinstance(node, ast.Name) and node.id in varying)
        for node in ast.walk(value)
    )
