"""docs/interop.md: its examples run, one after the other, and give what it says."""

import os
import re
import subprocess
import sys

import pytest

from tests.interop.support import HERE

for library in ("array_api_compat", "array_api_extra", "dask", "einops", "sklearn", "xarray"):
    pytest.importorskip(library)

ROOT = HERE.parents[1]
CHECKS = """
assert xp is numtrn.array_api
assert type(scores) is type(image) is type(fitted.components_) is type(chunks) is numtrn.Array
assert type(upper) is np.ndarray
assert {name: count > 0 for name, count in kernels.items()} == dict.fromkeys(kernels, True), kernels
"""


def test_the_examples_run():
    text = (ROOT / "docs" / "interop.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "".join(blocks) + CHECKS],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
