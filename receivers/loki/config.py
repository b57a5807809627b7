"""
Configuration of the Loki receiver.
"""

from meterline.api import ReceiverConfig
from meterline.serving.config import HttpListenerConfig


class LokiReceiverConfig(ReceiverConfig, HttpListenerConfig):
    """
    Loki push requests in.
    """
