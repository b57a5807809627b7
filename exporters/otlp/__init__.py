"""
Usage records out as OTLP logs or delta sums.
"""

from meterline.exporters.otlp.plugin import OtlpExporter

__all__ = ["OtlpExporter"]
