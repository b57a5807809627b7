"""
Loki in: push requests, each answered when it is on stable storage.
"""

from meterline.receivers.loki.plugin import LokiReceiver

__all__ = ["LokiReceiver"]
