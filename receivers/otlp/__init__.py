"""
OTLP in: metrics and logs over gRPC, each answered when it is on stable storage.
"""

from meterline.receivers.otlp.plugin import OtlpReceiver

__all__ = ["OtlpReceiver"]
