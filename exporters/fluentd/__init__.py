"""
Usage records out over Fluentd's forward protocol, each batch acknowledged.
"""

from meterline.exporters.fluentd.plugin import FluentdExporter

__all__ = ["FluentdExporter"]
