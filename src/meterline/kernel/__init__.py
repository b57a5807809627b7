"""
The kernel: the pure functions bytes -> points -> frame, behind the seam of ``kernel.seam``.

The Python implementation is the reference. A native one would be chosen here, by ``METERLINE_KERNEL``.
"""
