"""
The kernels under test: every test that takes ``kernel`` runs on each of them.
"""

from collections.abc import Callable

import pytest

from meterline.kernel import load_kernel
from meterline.kernel.seam import Kernel, MeterOptions
from meterline.testing.kernel import KernelHarness
from meterline.testing.rules import SimpleRule

KERNELS = ("python",)


@pytest.fixture(params=KERNELS, scope="session")
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """One kernel implementation."""
    return load_kernel(request.param)


@pytest.fixture
def harness(kernel: Kernel) -> Callable[..., KernelHarness]:
    """Make a kernel with a ledger of dictionaries around it."""

    def make(*rules: SimpleRule, options: MeterOptions | None = None) -> KernelHarness:
        return KernelHarness(kernel, *rules, options=options)

    return make
