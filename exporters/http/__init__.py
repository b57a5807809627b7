"""
Exporter ``http``: POSTs usage records as JSON to any endpoint.
"""

from meterline.exporters.http.plugin import HttpExporter

__all__ = ["HttpExporter"]
