"""
Meterline turns telemetry that companies already collect into usage records they can bill.
"""

from importlib.metadata import version

__version__ = version("meterline")
