"""
Exporter ``faulty``: fails as it is told to, by a seed; for trying out and testing delivery.
"""

from meterline.exporters.faulty.plugin import FaultyExporter

__all__ = ["FaultyExporter"]
