"""
Exporter ``console``: usage on the terminal as a table, in a pipe as NDJSON.
"""

from meterline.exporters.console.plugin import ConsoleExporter

__all__ = ["ConsoleExporter"]
