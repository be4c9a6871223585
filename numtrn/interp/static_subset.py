"""The Python that NKI compiles (H32), and its 32-bit constants (H33).

Three kinds of construct: documented; not documented but used in the NKI library, a warning; the rest, an
error. Sources: ``nki/get-started/nki-language-guide.rst`` and ``nki/migration/index.rst`` in
``aws-neuron/aws-neuron-sdk`` at 81ce03ae; ``aws-neuron/nki-library`` at d2ad3a5.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from numtrn.interp.static_names import OBSERVED_ISA
from numtrn.interp.static_source import Def, Function, Report, Source, nodes, paths

__all__ = ["check", "fold"]

_LOOP = "write a for loop"
REFUSED: dict[type[ast.AST], tuple[str, str]] = {
    ast.ListComp: ("a list comprehension", f"{_LOOP} with append"),
    ast.SetComp: ("a set comprehension", f"{_LOOP} with a list"),
    ast.DictComp: ("a dict comprehension", _LOOP),
    ast.GeneratorExp: ("a generator expression", _LOOP),
    ast.Lambda: ("lambda", "define a function at the top of the file"),
    ast.NamedExpr: ("an assignment expression", "assign on a line of its own"),
    ast.Set: ("a set", "use a tuple or a list"),
    ast.Try: ("try", "test the condition with if or assert"),
    ast.Raise: ("raise", "use assert with a message"),
    ast.Delete: ("del", "let the name go out of scope"),
    ast.Match: ("match", "use if and elif"),
    ast.Yield: ("yield", "return a list"),
    ast.YieldFrom: ("yield from", "return a list"),
    ast.Await: ("await", "kernels have no coroutines"),
    ast.AsyncFor: ("async for", "use for"),
    ast.AsyncWith: ("async with", "use plain statements"),
    ast.AsyncFunctionDef: ("async def", "use def"),
    ast.Starred: ("a starred expression", "write the elements one by one"),
    ast.ClassDef: ("a class inside a kernel", "move it to the top of the file"),
    ast.Import: ("an import inside a kernel", "move it to the top of the file"),
    ast.ImportFrom: ("an import inside a kernel", "move it to the top of the file"),
}
OBSERVED: dict[type[ast.AST], tuple[str, str]] = {
    ast.IfExp: ("a conditional expression", "use if and else statements"),
    ast.Break: ("break", "choose the range of the loop instead"),
    ast.Continue: ("continue", "use if"),
    ast.In: ("in", "compare with =="),
    ast.NotIn: ("not in", "compare with !="),
}
FORBIDDEN: dict[type[ast.AST], tuple[str, str]] = {
    ast.Is: ("is", "use =="),
    ast.IsNot: ("is not", "use !="),
}

DOCUMENTED_CALLS = frozenset(("len", "min", "print", "range", "slice"))
OBSERVED_CALLS = frozenset(("bool", "divmod", "float", "int", "isinstance", "list", "max", "str", "tuple"))
OBSERVED_MATH = frozenset(("math.floor", "math.gcd", "math.pi", "math.sqrt"))
IMPURE_CALLS = frozenset(("globals", "hash", "id", "input", "locals", "open", "vars"))  # static_purity.py
HOST = ("numpy", "scipy", "torch", "jax", "ml_dtypes")


def check(source: Source) -> Iterator[Report]:
    """Findings in all kernel code of a file."""
    yield from _imports(source)
    for kernel in source.kernels:
        yield from _signature(kernel)
        yield from _recursion(source, kernel)
        inside = _nested(source, kernel)
        for node in nodes(kernel.node):
            yield from _construct(node)
            yield from _statement(source, kernel, node, inside)
            yield from _name(source, kernel, node)
        yield from _constants(source, kernel)
    yield from _classes(source)


# -- constructs ------------------------------------------------------------------------------------


def _construct(node: ast.AST) -> Iterator[Report]:
    kind = type(node)
    if kind in REFUSED:
        what, instead = REFUSED[kind]
        yield Report("H32", node, f"kernels keep to documented Python; found {what}; {instead}")
    elif kind in OBSERVED and kind not in (ast.In, ast.NotIn):
        yield _observed(node, *OBSERVED[kind])
    elif isinstance(node, ast.Compare):
        for operator in node.ops:
            if type(operator) in FORBIDDEN:
                what, instead = FORBIDDEN[type(operator)]
                yield Report("H32", node, f"NKI forbids identity tests since 0.3; found {what}; {instead}")
            elif type(operator) in OBSERVED:
                yield _observed(node, *OBSERVED[type(operator)])
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        text = "kernels keep to documented Python; found the @ operator; use nisa.nc_matmul"
        yield Report("H32", node, text)


def _observed(node: ast.AST, what: str, instead: str) -> Report:
    text = f"{what} is not documented, though the NKI library uses it; to be safe, {instead}"
    return Report("H32", node, text, "warning")


def _statement(source: Source, kernel: Function, node: ast.AST, bodies: frozenset[str]) -> Iterator[Report]:
    if isinstance(node, ast.With):
        for item in node.items:
            call = item.context_expr
            inner = call.func if isinstance(call, ast.Call) else call
            if source.path(inner, kernel.local) != "nki.language.no_reorder":
                found = ast.unparse(call)
                text = f"the only context manager of kernels is nl.no_reorder(); found {found}; leave it out"
                yield Report("H32", node, text)
    elif isinstance(node, ast.FunctionDef) and node.name not in bodies:
        text = (
            "functions inside kernels are documented as bodies of nl.fori_loop and nl.while_loop only; found"
            f" {node.name}; move it to the top of the file and pass what it needs"
        )
        yield Report("H32", node, text)
    elif isinstance(node, ast.Dict):
        for key in node.keys:
            if key is None or (isinstance(key, ast.Constant) and not isinstance(key.value, str)):
                found = "**" if key is None else ast.unparse(key)
                text = f"keys of dictionaries are strings; found {found}; use strings or a list"
                yield Report("H32", node, text)
    elif isinstance(node, (ast.For, ast.While)) and node.orelse:
        text = "kernels keep to documented Python; found else after a loop; use a flag"
        yield Report("H32", node, text)


def _nested(source: Source, kernel: Function) -> frozenset[str]:
    """Names of inner functions that are bodies of device loops."""
    names = set()
    for node in nodes(kernel.node):
        loops = ("nki.language.fori_loop", "nki.language.while_loop")
        if isinstance(node, ast.Call) and source.path(node.func, kernel.local) in loops:
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            names |= {argument.id for argument in arguments if isinstance(argument, ast.Name)}
    return frozenset(names)


# -- names and calls -------------------------------------------------------------------------------


def _name(source: Source, kernel: Function, node: ast.AST) -> Iterator[Report]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield from _builtin(source, kernel, node)
        other = source.functions.get(node.id)
        if other is not None and node.id not in kernel.local and source.jitted(other) is not None:
            text = f"a kernel must not use another kernel; found {node.id}; call a function without nki.jit"
            yield Report("H32", node, text)
    elif isinstance(node, ast.Attribute):
        path = source.path(node, kernel.local)
        if path in OBSERVED_MATH:
            yield _observed(node, path, "compute it outside and pass it in")
        elif path in OBSERVED_ISA:
            yield _observed(node, path, OBSERVED_ISA[path])
        elif path.startswith("math.") and path != "math.ceil":
            text = f"of math only ceil is documented; found {path}; compute it outside and pass it in"
            yield Report("H32", node, text)


def _builtin(source: Source, kernel: Function, node: ast.Name) -> Iterator[Report]:
    name = node.id
    own = (kernel.local, kernel.enclosing, source.imports, source.globals, source.functions, source.classes)
    if any(name in names for names in own) or not hasattr(builtins, name):
        return
    if name in OBSERVED_CALLS:
        yield _observed(node, f"{name}()", "compute it outside and pass it in")
    elif name not in DOCUMENTED_CALLS and name not in IMPURE_CALLS and not name.startswith("__"):
        allowed = ", ".join(sorted(DOCUMENTED_CALLS))
        text = f"of Python's own functions kernels have {allowed}; found {name}; {_LOOP} or pass the value in"
        yield Report("H32", node, text)


def _imports(source: Source) -> Iterator[Report]:
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            for name in names:
                if name.partition(".")[0] == "neuronxcc":
                    text = f"kernels import nki, nki.isa and nki.language; found {name}; import nki instead"
                    yield Report("H32", node, text)
    for kernel in source.kernels:
        data = _constant_data(source, kernel)
        for found, path in paths(source, kernel):
            if path.partition(".")[0] in HOST and found not in data and not path.startswith("numpy.random"):
                text = f"host libraries do not compile; found {path}; use nki.isa, or pass its value in"
                yield Report("H32", found, text)


def _constant_data(source: Source, kernel: Function) -> set[ast.AST]:
    """What stands in the arguments of ``nl.shared_constant``, which is data of the host."""
    calls = (node for node in nodes(kernel.node) if isinstance(node, ast.Call))
    return {
        child
        for call in calls
        if source.path(call.func, kernel.local) == "nki.language.shared_constant"
        for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        for child in ast.walk(argument)
    }


# -- functions and classes -------------------------------------------------------------------------


def _signature(kernel: Function) -> Iterator[Report]:
    arguments, name = kernel.node.args, kernel.node.name
    for starred, mark in ((arguments.vararg, "*"), (arguments.kwarg, "**")):
        if starred is not None:
            text = f"arguments are listed one by one; found {mark}{starred.arg} of {name}; name them"
            yield Report("H32", starred, text)
    if arguments.kwonlyargs and arguments.vararg is None:
        text = f"NKI forbids keyword-only arguments since 0.3; found * in {name}; take it out"
        yield Report("H32", arguments.kwonlyargs[0], text)
    if arguments.posonlyargs:
        text = f"positional-only arguments are not documented; found / in {name}; take it out"
        yield Report("H32", arguments.posonlyargs[0], text)
    if kernel.jitted:
        yield from _list_arguments(kernel.node)


def _list_arguments(function: Def) -> Iterator[Report]:
    for argument in function.args.args:
        note = ast.unparse(argument.annotation) if argument.annotation is not None else ""
        if note.partition("[")[0] in ("list", "List", "typing.List"):
            text = f"a kernel takes no lists since 0.3; found {argument.arg}: {note}; take a tuple"
            yield Report("H32", argument, text)


def _recursion(source: Source, kernel: Function) -> Iterator[Report]:
    """Whether a function reaches itself; all calls are inlined."""
    seen: set[str] = set()
    waiting = [kernel.node]
    while waiting:
        for node in nodes(waiting.pop()):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                if name == kernel.node.name and source.functions.get(name) is kernel.node:
                    text = (
                        f"calls are inlined, so none may lead back; found {name} calling itself; use a loop"
                    )
                    yield Report("H32", kernel.node, text)
                    return
                if name in source.functions and name not in seen:
                    seen.add(name)
                    waiting.append(source.functions[name])


def _classes(source: Source) -> Iterator[Report]:
    """Classes that kernel code uses inherit NKIObject and nothing else; enumerations are allowed."""
    used = {
        node.id
        for kernel in source.kernels
        for node in nodes(kernel.node)
        if isinstance(node, ast.Name) and node.id in source.classes and node.id not in kernel.local
    }
    for name in sorted(used):
        node = source.classes[name]
        bases = [ast.unparse(base) for base in node.bases]
        last = [base.rpartition(".")[2] for base in bases]
        if last != ["NKIObject"] and last not in (["Enum"], ["IntEnum"]):
            text = (
                f"classes of kernels inherit nl.NKIObject and nothing else; {name} inherits"
                f" {', '.join(bases) or 'nothing'}; make it class {name}(nl.NKIObject)"
            )
            yield Report("H32", node, text)


# -- constants -------------------------------------------------------------------------------------


def _constants(source: Source, kernel: Function) -> Iterator[Report]:
    function = kernel.node
    stack: list[ast.AST] = [*function.body, *function.args.defaults]
    stack += [default for default in function.args.kw_defaults if default is not None]
    while stack:
        node = stack.pop()
        value = fold(node)
        if isinstance(node, ast.Name) and node.id not in kernel.local:
            bound = source.globals.get(node.id, [None])[0]
            value = None if bound is None else fold(bound)
        if value is None:
            stack += ast.iter_child_nodes(node)
        elif isinstance(value, int) and not -(2**31) <= value < 2**31:
            text = f"integers in kernels have 32 bits; found {ast.unparse(node)}; split it, or pass parts"
            yield Report("H33", node, text)
        elif (
            isinstance(value, float) and value == value and 3.4028235677973366e38 <= abs(value) < float("inf")
        ):
            text = f"floats in kernels are float32; found {ast.unparse(node)}; scale it"
            yield Report("H33", node, text)


def fold(node: ast.AST) -> int | float | None:
    """The value of an expression of plain numbers, or None."""
    if isinstance(node, ast.Constant):
        plain = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        return node.value if plain else None  # type: ignore[return-value]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = fold(node.operand)
        return None if value is None else -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        one, other = fold(node.left), fold(node.right)
        if one is not None and other is not None:
            return _binary(node.op, one, other)
    return None


def _binary(operator: ast.operator, one: float, other: float) -> float | None:
    small = abs(other) <= 64
    try:
        if isinstance(operator, ast.Pow) and small:
            value = one**other
            return value if isinstance(value, (int, float)) else None
        if isinstance(operator, ast.LShift) and small and isinstance(one, int) and isinstance(other, int):
            return one << other
        if isinstance(operator, ast.Add):
            return one + other
        if isinstance(operator, ast.Sub):
            return one - other
        if isinstance(operator, ast.Mult):
            return one * other
    except (ArithmeticError, ValueError):
        return None
    return None
