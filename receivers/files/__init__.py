"""
Files in: what a Collector's file exporter wrote, and NDJSON, followed or read once, from a durable cursor on.
"""

from meterline.receivers.files.plugin import FilesReceiver

__all__ = ["FilesReceiver"]
