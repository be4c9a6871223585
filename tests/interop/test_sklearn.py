"""scikit-learn on numtrn arrays; sklearn_cases.py has the tests, which need SCIPY_ARRAY_API=1."""

import pytest

from tests.interop.support import with_scipy_array_api

pytest.importorskip("sklearn")


def test_array_api_dispatch():
    with_scipy_array_api("sklearn_cases.py")
