"""
The gRPC listener: one port, unary methods of one or several receivers.
"""

from meterline.serving.grpc.listener import GrpcListener, GrpcRegistration

__all__ = ["GrpcListener", "GrpcRegistration"]
