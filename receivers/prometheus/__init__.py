"""
Prometheus in: remote write 1.0 and 2.0, each request answered when it is on stable storage.
"""

from meterline.receivers.prometheus.plugin import PrometheusReceiver

__all__ = ["PrometheusReceiver"]
