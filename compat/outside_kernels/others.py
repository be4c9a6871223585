"""Load kernels that others wrote, from where environment variables say they are.

OUTSIDE_TRNBLAS names the wheel of trnblas or the folder that it is installed in; without it the installed
package is taken. OUTSIDE_NEURON_SDK names a checkout of aws-neuron-sdk. Loading needs the interpreter's nki,
so it is done inside ``numtrn.interp.importable()``; the kernels can be run after it.
"""

import importlib.util
import linecache
import os
import sys
import types
from contextlib import ExitStack, contextmanager
from pathlib import Path


class AbsentError(Exception):
    """A package or a checkout that is not at hand."""


@contextmanager
def found_on(folder):
    """Modules are looked for in this folder first."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def stood_in(name):
    """An empty module for an import that the kernels themselves do not use."""
    try:
        importlib.import_module(name)
        absent = False
    except ImportError:
        absent = True
        sys.modules[name] = types.ModuleType(name)
    try:
        yield
    finally:
        if absent:
            del sys.modules[name]


def trnblas_kernels():
    """The module of trnblas that defines its kernels."""
    place = os.environ.get("OUTSIDE_TRNBLAS")
    with ExitStack() as stack:
        stack.enter_context(stood_in("torch"))
        if place:
            if not Path(place).exists():
                raise AbsentError(f"OUTSIDE_TRNBLAS names {place}, which does not exist")
            stack.enter_context(found_on(place))
        elif importlib.util.find_spec("trnblas") is None:
            raise AbsentError("trnblas is not installed and OUTSIDE_TRNBLAS is not set")
        return load_trnblas()


def load_trnblas():
    """The file alone: its package imports torch for more than names."""
    package = importlib.util.find_spec("trnblas")
    file = str(Path(package.submodule_search_locations[0]) / "nki" / "dispatch.py")
    return executed("trnblas_kernels", package.loader.get_data(file).decode(), file)


def executed(name, source, file):
    """A module made of this source, with the interpreter's nki."""
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    module = types.ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module  # dataclasses and annotations look there
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    finally:
        del sys.modules[name]
    return module


def sdk_kernels(path):
    """One file of the examples of the SDK's documentation."""
    place = os.environ.get("OUTSIDE_NEURON_SDK")
    if not place:
        raise AbsentError("OUTSIDE_NEURON_SDK is not set")
    file = Path(place) / "nki" / "examples" / path
    if not file.exists():
        raise AbsentError(f"{file} does not exist")
    with ExitStack() as stack:
        stack.enter_context(stood_in("torch"))
        return executed(file.stem, file.read_text(), str(file))
