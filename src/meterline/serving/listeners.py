"""
The open ports of one gateway, by endpoint: receivers that name the same one share its listener.
"""

from collections.abc import Sequence
from typing import Protocol

from meterline.api import ReceiverContext
from meterline.serving.config import GrpcListenerConfig, HttpListenerConfig
from meterline.serving.seam import Endpoint, Method, Page


class Registration(Protocol):
    """
    One receiver's part of a listener.
    """

    endpoint: str
    """The address really bound."""

    def stop(self, grace_secs: float) -> None:
        """
        Serve this receiver's paths no longer, let what is in flight finish; the last one to stop closes the port.
        """


class Listeners(Protocol):
    """
    ``ReceiverContext.listeners``.
    """

    def http(
        self,
        receiver: str,
        config: HttpListenerConfig,
        context: ReceiverContext,
        endpoints: Sequence[Endpoint],
        pages: Sequence[Page] = (),
    ) -> Registration:
        """
        Serve endpoints. Raises ConfigurationError: address taken, certificate unusable, path taken, or another receiver
        on this endpoint disagrees about the listener.
        """

    def grpc(
        self, receiver: str, config: GrpcListenerConfig, context: ReceiverContext, methods: Sequence[Method]
    ) -> Registration:
        """
        Serve unary methods. Raises ConfigurationError likewise.
        """
