"""
``python -m meterline`` is ``meterline``.
"""

from meterline.cli import main

main(prog_name="meterline")
