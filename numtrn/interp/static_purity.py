"""Whether kernels are pure (H34).

Compiled kernels are cached by shapes, dtypes and compile-time arguments. Whatever else decides what a
kernel does is not in the key: globals that change, variables of enclosing functions, randomness, time,
the environment, files (``nki/get-started/nki-language-guide.rst`` at 81ce03ae).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from numtrn.interp.static_source import Function, Report, Source, nodes, paths
from numtrn.interp.static_subset import IMPURE_CALLS

__all__ = ["check"]

IMPURE = (
    "datetime",
    "glob",
    "io",
    "numpy.random",
    "os",
    "pathlib",
    "platform",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "torch.rand",
    "torch.randn",
    "uuid",
)
MUTATORS = (
    *("add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse"),
    *("setdefault", "sort", "update"),
)
_PASS = "pass it as an argument"


def check(source: Source) -> Iterator[Report]:
    """Findings in all kernel code of a file."""
    for kernel in source.kernels:
        yield from _defaults(kernel)
        for node in nodes(kernel.node):
            yield from _declared(node)
            yield from _mutation(source, kernel, node)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield from _closure(source, kernel, node)
                yield from _global(source, kernel, node)
                yield from _call(source, kernel, node)
        for found, path in paths(source, kernel):
            if _varies(path):
                text = f"the arguments alone decide what a kernel does; found {path}; {_PASS}"
                yield Report("H34", found, text)


def _declared(node: ast.AST) -> Iterator[Report]:
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        word = "global" if isinstance(node, ast.Global) else "nonlocal"
        text = f"kernels change nothing outside; found {word} {', '.join(node.names)}; return the value"
        yield Report("H34", node, text)


def _mutation(source: Source, kernel: Function, node: ast.AST) -> Iterator[Report]:
    """Writing into a global, or calling one of its methods that changes it."""
    target: ast.AST | None = None
    if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
        target = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        target = node.func.value
    while isinstance(target, (ast.Subscript, ast.Attribute)):
        target = target.value
    name = target.id if isinstance(target, ast.Name) else ""
    if name not in kernel.local and (name in source.globals or name in kernel.enclosing):
        text = f"kernels change nothing outside; {name} is changed here; make it local or return it"
        yield Report("H34", node, text)


def _closure(source: Source, kernel: Function, node: ast.Name) -> Iterator[Report]:
    if node.id in kernel.enclosing and node.id not in kernel.local:
        text = f"a kernel reads its arguments only; {node.id} belongs to the enclosing function; {_PASS}"
        yield Report("H34", node, text)


def _global(source: Source, kernel: Function, node: ast.Name) -> Iterator[Report]:
    """A global that is read must be bound once, to something that neither changes nor varies."""
    name = node.id
    if name in kernel.local or name in kernel.enclosing or name not in source.globals:
        return
    values = source.globals[name]
    if len(values) > 1:
        text = f"a global that kernels read is bound once; {name} is bound more than once; {_PASS}"
        yield Report("H34", node, text)
        return
    value = values[0]
    impure = "" if value is None else next(_impure(source, value), "")
    if impure:
        text = f"globals that kernels read are constants; {name} comes from {impure}; {_PASS}"
        yield Report("H34", node, text)
    elif isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
        text = f"globals that kernels read are constants; {name} can be changed; make it a tuple, or {_PASS}"
        yield Report("H34", node, text, "warning")


def _call(source: Source, kernel: Function, node: ast.Name) -> Iterator[Report]:
    own = (kernel.local, kernel.enclosing, source.imports, source.globals, source.functions, source.classes)
    if node.id in IMPURE_CALLS and not any(node.id in names for names in own):
        text = f"the arguments alone decide what a kernel does; found {node.id}(); {_PASS}"
        yield Report("H34", node, text)


def _defaults(kernel: Function) -> Iterator[Report]:
    for default in kernel.node.args.defaults:
        if isinstance(default, (ast.List, ast.Dict, ast.Set)):
            found = ast.unparse(default)
            text = f"a default is shared by all calls; found {found}; use None or a tuple"
            yield Report("H34", default, text)


def _impure(source: Source, value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        path = source.path(node)
        if _varies(path):
            yield path
        elif isinstance(node, ast.Name) and node.id in IMPURE_CALLS and node.id not in source.functions:
            yield f"{node.id}()"


def _varies(path: str) -> bool:
    return any(path == root or path.startswith(root + ".") for root in IMPURE)
