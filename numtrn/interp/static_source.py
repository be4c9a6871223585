"""A source as the static checks see it: its imports, its globals, and which functions are kernel code.

Kernel code is every function marked with ``nki.jit`` or that mentions ``nki.isa``, whatever it calls in the
same file, and the methods of the classes it mentions. Other functions belong to the host and are not read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Function", "Report", "Source", "bindings", "local_names", "nodes", "paths", "read"]

Def = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Report:
    """One failed check: the hazard, where (None: nowhere in particular), the message and its own level."""

    hazard: str
    node: Any
    message: str
    level: str = "error"


@dataclass(frozen=True, eq=False)
class Function:
    """One function of kernel code.

    Attributes
    ----------
    node
        Its definition; functions inside it belong to it.
    jitted
        Whether it is marked with ``nki.jit``.
    enclosing
        Names of the functions around it, if it is not at the top of the file.
    local
        Names that it binds.
    """

    node: Def
    jitted: bool
    enclosing: frozenset[str]
    local: frozenset[str]


@dataclass(eq=False)
class Source:
    """One file."""

    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Def] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    globals: dict[str, list[ast.expr | None]] = field(default_factory=dict)
    kernels: list[Function] = field(default_factory=list)

    def path(self, node: ast.AST, local: frozenset[str] = frozenset()) -> str:
        """What a name means by the imports, such as ``"nki.isa.dma_copy"``; empty if that is not known."""
        if isinstance(node, ast.Name):
            return "" if node.id in local else self.imports.get(node.id, "")
        if isinstance(node, ast.Attribute):
            outer = self.path(node.value, local)
            return f"{outer}.{node.attr}" if outer else ""
        return ""

    def jitted(self, function: Def) -> ast.expr | None:
        """The ``nki.jit`` decorator of a function."""
        for decorator in function.decorator_list:
            inner = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.path(inner) in ("nki.jit", "nki.simulate"):
                return decorator
        return None


def read(tree: ast.Module) -> Source:
    """Find out what a file defines and which of it is kernel code."""
    source = Source(tree)
    for node in ast.walk(tree):
        _import(source, node)
    for node in tree.body:
        _define(source, node)
    _globals_bound_inside(source)
    _kernels(source)
    return source


def nodes(function: Def) -> Iterator[ast.AST]:
    """Everything in a function but annotations and docstrings, which the compiler does not run."""
    stack: list[ast.AST] = [*function.body, *function.args.defaults]
    stack += [default for default in function.args.kw_defaults if default is not None]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        yield node
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns"):
                children = value if isinstance(value, list) else [value]
                stack += [child for child in children if isinstance(child, ast.AST)]


def paths(source: Source, kernel: Function) -> Iterator[tuple[ast.expr, str]]:
    """Every name in a function that the imports explain, with all its attributes."""
    inner: set[ast.AST] = set()
    for node in nodes(kernel.node):  # outer nodes first
        if isinstance(node, ast.Attribute):
            inner.add(node.value)
        if isinstance(node, (ast.Name, ast.Attribute)) and node not in inner:
            path = source.path(node, kernel.local)
            if path:
                yield node, path


def local_names(function: Def) -> frozenset[str]:
    """Names that a function binds, those declared global left out."""
    names = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    free: set[str] = set()
    for node in nodes(function):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            free |= set(node.names)
    return frozenset(names - free)


def bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Names that a statement binds, with the value where one name gets all of it."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    yield name.id, node.value if name is target else None
    elif isinstance(node, (ast.AugAssign, ast.For, ast.AnnAssign)):
        for name in ast.walk(node.target):
            if isinstance(name, ast.Name):
                yield name.id, node.value if isinstance(node, ast.AnnAssign) else None


def _import(source: Source, node: ast.AST) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.partition(".")[0]
            source.imports[alias.asname or first] = alias.name if alias.asname else first
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            source.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"


def _define(source: Source, node: ast.stmt) -> None:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        source.functions[node.name] = node
    elif isinstance(node, ast.ClassDef):
        source.classes[node.name] = node
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            whole = node.value if isinstance(target, ast.Name) else None
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    source.globals.setdefault(name.id, []).append(whole)
    elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                _define(source, child)


def _globals_bound_inside(source: Source) -> None:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global):
            for name in node.names:
                source.globals.setdefault(name, []).extend([None, None])


def _kernels(source: Source) -> None:
    waiting: list[tuple[Def, frozenset[str]]] = []
    for function, enclosing in _all(source.tree, frozenset()):
        if source.jitted(function) is not None or _mentions_isa(source, function):
            waiting.append((function, enclosing))
    seen: set[Def] = set()
    while waiting:
        function, enclosing = waiting.pop(0)
        if function in seen or any(function in ast.walk(other) for other in seen):
            continue
        seen.add(function)
        local = local_names(function)
        jitted = source.jitted(function) is not None
        source.kernels.append(Function(function, jitted, enclosing, local))
        waiting += [(other, frozenset()) for other in _used(source, function, local)]
    source.kernels.sort(key=lambda kernel: kernel.node.lineno)


def _all(tree: ast.AST, enclosing: frozenset[str]) -> Iterator[tuple[Def, frozenset[str]]]:
    """Functions, outer ones first, each with the names bound by the functions around it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node, enclosing
            yield from _all(node, enclosing | local_names(node))
        else:
            yield from _all(node, enclosing)


def _mentions_isa(source: Source, function: Def) -> bool:
    """Whether the function itself, not one inside it, uses an instruction."""
    inner = {
        child
        for node in nodes(function)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and source.jitted(node) is not None
        for child in ast.walk(node)
    }
    return any(source.path(node).startswith("nki.isa.") for node in nodes(function) if node not in inner)


def _used(source: Source, function: Def, local: frozenset[str]) -> Iterator[Def]:
    for node in nodes(function):
        if isinstance(node, ast.Name) and node.id not in local:
            if node.id in source.functions:
                yield source.functions[node.id]
            for method in source.classes[node.id].body if node.id in source.classes else ():
                if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield method
