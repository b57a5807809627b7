"""
The gRPC listener: one port, unary methods of one or several receivers.
"""

from meterline.serving.grpc.listener import GrpcListener

__all__ = ["GrpcListener"]
