"""
The usage receiver: usage that somebody tells, as records of kind ``manual``, without rules.
"""

from meterline.receivers.usage.plugin import UsageReceiver

__all__ = ["UsageReceiver"]
