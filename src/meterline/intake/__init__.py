"""
Body in, durable answer out: admission, the one writer thread, group commit, and the rules asked beside it.
"""

from meterline.intake.door import Intake, IntakeOptions
from meterline.intake.writer import Writer

__all__ = ["Intake", "IntakeOptions", "Writer"]
