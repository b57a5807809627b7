"""
Vector's native protocol in: logs and metrics over gRPC, each request answered when it is on stable storage.
"""

from meterline.receivers.vector.plugin import VectorReceiver

__all__ = ["VectorReceiver"]
