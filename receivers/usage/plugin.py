"""
The usage receiver.
"""

from collections.abc import Iterator

from meterline.api import PluginSpec
from meterline.receivers.usage.config import UsageReceiverConfig
from meterline.receivers.usage.grpc_api import record_usage
from meterline.receivers.usage.http_api import DocumentPage, UsageEndpoint
from meterline.serving.listeners import Listeners, Registration
from meterline.serving.receiver import ListeningReceiver


class UsageReceiver(ListeningReceiver[UsageReceiverConfig]):
    """
    Usage that somebody tells, over HTTP and gRPC, each request answered when all of it is on stable storage.
    """

    spec = PluginSpec(
        name="usage",
        kind="receiver",
        stability="beta",
        summary="Usage records themselves, over a REST API and gRPC: one record an item, without rules.",
    )
    Config = UsageReceiverConfig

    def register(self, listeners: Listeners) -> Iterator[tuple[str, Registration]]:
        """
        Serve each half that the config has.
        """
        config, context = self.config, self.context
        if config.http is not None:
            endpoints = [UsageEndpoint(config.missing_timestamp)]
            yield "http", listeners.http(self.name, config.http, context, endpoints, [DocumentPage()])
        if config.grpc is not None:
            yield "grpc", listeners.grpc(self.name, config.grpc, context, [record_usage(config.missing_timestamp)])
