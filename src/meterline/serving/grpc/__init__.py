"""
The gRPC listener: one port, unary methods of one or several receivers.
"""
