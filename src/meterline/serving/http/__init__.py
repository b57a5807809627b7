"""
HTTP/1.1 for all receivers: sockets, TLS, timeouts, credentials, size, decompression, and the way through the intake.
"""

from meterline.serving.http.listener import HttpListener
from meterline.serving.http.loop import EventLoop

__all__ = ["EventLoop", "HttpListener"]
