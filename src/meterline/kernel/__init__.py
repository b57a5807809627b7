"""
The kernel: the pure functions bytes -> points -> frame, behind the seam of ``kernel.seam``.

The Python implementation is the reference. A native one is chosen here, by ``METERLINE_KERNEL``.
"""

import os

from meterline.errors import ConfigurationError
from meterline.kernel.python import PythonKernel
from meterline.kernel.seam import Kernel

ENVIRONMENT = "METERLINE_KERNEL"

_KERNELS = {"python": PythonKernel}


def load_kernel(name: str | None = None) -> Kernel:
    """
    Return the kernel that ``METERLINE_KERNEL`` names, or ``name``; the Python one when neither says.

    Raises ConfigurationError for a kernel that this build does not have: a silent other one would be slower by a factor.
    """
    wanted = name or os.environ.get(ENVIRONMENT) or "python"
    kernel = _KERNELS.get(wanted)
    if kernel is None:
        known = ", ".join(sorted(_KERNELS))
        raise ConfigurationError(f"loading kernel {wanted!r}: this build has {known}; set {ENVIRONMENT} to one of them")
    return kernel()
