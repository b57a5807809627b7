"""
The forward protocol in: Fluent Bit, Fluentd and their loggers, each chunk acknowledged when it is on stable storage.
"""

from meterline.receivers.fluent_forward.plugin import FluentForwardReceiver

__all__ = ["FluentForwardReceiver"]
