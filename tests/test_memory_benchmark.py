"""The target that computes nothing stands for a device: every launch of a product accepts what it gives."""

import memory
import pytest


@pytest.mark.parametrize("size", [100, 300])
def test_a_product_runs_to_its_end_without_kernels(size):
    figures = memory.measured(size, absent=True)
    assert figures["launches"] >= 1
    assert figures["slices"] == (8 if size < 256 else 7)
    assert figures["peak"] > figures["operands and result"] == 3 * 8 * size**2
    assert figures["resident"] >= 0
