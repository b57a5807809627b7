"""
Configuration of the Loki receiver.
"""

from pydantic import ConfigDict

from meterline.api import ReceiverConfig
from meterline.serving.config import HttpListenerConfig


class LokiReceiverConfig(ReceiverConfig, HttpListenerConfig):
    """
    Loki push requests in.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"endpoint": "127.0.0.1:4318"}]})
