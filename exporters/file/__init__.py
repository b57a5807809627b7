"""
Exporter ``file``: usage records in local NDJSON or CSV files; after a crash no line is torn and none is twice.
"""

from meterline.exporters.file.plugin import FileExporter

__all__ = ["FileExporter"]
