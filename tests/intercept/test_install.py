"""Installing: lazily, once, layer by layer, and with the reason where a layer stays off."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from numtrn import intercept
from numtrn.intercept import cblas, dispatchers, einsum, fblas, gate, layers, matmul, no_hook

LAYERS = [matmul, fblas, cblas, einsum, dispatchers]


def fresh(code):
    """Run code in a fresh process and give its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_importing_imports_no_scipy_and_installs_nothing():
    out = fresh(
        "import sys, numtrn.intercept as i\n"
        "print('scipy' in sys.modules, 'opt_einsum' in sys.modules)\n"
        "print({layer.on for layer in i.status()}, i.status()[0].reason)"
    )
    assert out[:2] == ["False False", "{False} not installed yet: the first block does that"]


def test_importing_alone_loads_next_to_nothing():
    """NumPy counts as there already; what is left is this package, and no other module of it."""
    out = fresh(
        "import numpy, sys\n"
        "before = set(sys.modules)\n"
        "import numtrn\n"
        "print(sorted(set(sys.modules) - before))\n"
        "print(sorted(name for name in numtrn.__all__ if getattr(numtrn, name, None) is None))\n"
        "print(sorted(set(numtrn.__all__) - set(dir(numtrn))), hasattr(numtrn, 'nothing'))"
    )
    assert out[:3] == ["['numtrn']", "[]", "[] False"]


def test_names_bound_before_import_are_caught():
    fresh(
        "from numpy import matmul, dot, einsum, ones\n"
        "from scipy.linalg.blas import dgemm\n"
        "from numtrn import intercept\n"
        "from numtrn.intercept import gate\n"
        "assert all(layer.on for layer in intercept.install())\n"
        "seen, a = [], ones((3, 3))\n"
        "with gate.probing(lambda request, operands: seen.append(request)):\n"
        "    matmul(a, a), dot(a, a), dgemm(1, a, a), einsum('ij,jk', a, a)\n"
        "assert len(seen) == 4, seen"
    )


def test_without_scipy_its_layer_is_off_and_says_so():
    out = fresh(
        "import sys\n"
        "sys.modules['scipy'] = None\n"
        "from numtrn import intercept\n"
        "for layer in intercept.install(): print(layer.on, layer.reason)"
    )
    assert [line[:5].strip() for line in out[:5]] == ["True", "False", "True", "True", "True"]
    assert "cannot be imported" in out[1]


def test_without_the_extension_einsum_still_works():
    out = fresh(
        "import sys\n"
        "sys.modules['numtrn.intercept._hook'] = None\n"
        "import numpy as np\n"
        "from numtrn import intercept\n"
        "from numtrn.intercept import gate\n"
        "for layer in intercept.install(): print(layer.on, layer.reason)\n"
        "seen, a = [], np.ones((3, 3))\n"
        "def offer(request, operands):\n"
        "    seen.append(request)\n"
        "    return np.einsum('ij,jk', a, a)\n"
        "with gate.probing(offer): np.einsum('ij,jk', a, a), a @ a\n"
        "assert len(seen) == 1\n"
        "token = intercept.enter(1e6); assert gate.hook.is_asking()\n"
        "intercept.leave(token); assert not gate.hook.is_asking()\n"
    )
    reason = "the C thunks were not built (no compiler or unsupported platform)"
    assert [line.startswith(f"False {reason}") for line in out[:3]] == [True] * 3
    assert out[3] == "True "


def test_installing_again_does_nothing():
    before = intercept.install()
    results = []
    threads = [threading.Thread(target=lambda: results.append(intercept.install())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result is before for result in results)
    assert intercept.status() is before
    assert [layer.name.split()[0] for layer in before] == ["L1", "L2", "L3", "L4", "L5"]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__.rsplit(".", 1)[1])
def test_a_layer_taken_away_catches_nothing_and_comes_back(spy, layer):
    try:
        layer.uninstall()
        layer.uninstall()
        with spy.block():
            layer.probe()
        # Without L1, matmul goes on to CBLAS and is caught there; without L5, so are the parts of its calls.
        assert layer in (matmul, dispatchers) or not spy.requests
        caught = {request.function for request in spy.requests}
        assert not caught & {"numpy.matmul" if layer is matmul else "numpy.tensordot"}
        spy.requests.clear()
    finally:
        layer.install()
        layer.install()
    with spy.block():
        results = layer.probe()
    assert len(spy.requests) == len(results)


def test_a_layer_that_fails_its_test_is_taken_away_and_says_why(spy, monkeypatch):
    monkeypatch.setattr(layers, "_reference", lambda request, operands: np.zeros((2, 4)))
    status = layers._install("L4 einsum", einsum)
    assert status == intercept.LayerStatus(
        "L4 einsum", False, "a call of the self-test, computed by us, gave a wrong result"
    )
    with spy.block():
        einsum.probe()
    assert not spy.requests
    monkeypatch.undo()
    monkeypatch.setattr(einsum, "install", lambda: None)
    assert "0 were caught" in layers._install("L4 einsum", einsum).reason
    monkeypatch.undo()
    assert layers._install("L4 einsum", einsum).on


def test_the_stand_in_keeps_the_gates_state():
    no_hook.set_open(1, 0.0)
    assert no_hook.is_asking()
    assert no_hook.call_busy(lambda first, second: (first, second, no_hook.is_asking()), 1, 2) == (
        1,
        2,
        False,
    )
    assert no_hook.is_asking()
    no_hook.count_small(5)
    assert no_hook.small() == (1, 5.0)
    no_hook.set_open(0, 0.0)
    assert not no_hook.is_asking()
    assert no_hook.thunks() == []


def test_the_extension_refuses_what_it_does_not_know():
    hook = gate.hook
    with pytest.raises(ValueError, match="no thunk is called 'x'"):
        hook.replace_loop(None, np.matmul, 12, "x", False)
    with pytest.raises(AttributeError):
        hook.replace_fortran(object(), "fortran_dgemm", False)
    assert len(set(hook.thunks())) == len(hook.thunks()) == len(gate._handlers)
