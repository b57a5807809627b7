"""
Forward-protocol servers and exporters to them, made on demand and closed at the end.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from meterline.api import ExporterContext, SystemClock
from meterline.exporters.fluentd import FluentdExporter
from meterline.testing.forward import Behaviour, ForwardServer, acknowledge


@pytest.fixture
def serve() -> Iterator[Callable[..., ForwardServer]]:
    """
    Return a function that starts a server, by default a well-behaved one; all are stopped at the end.
    """
    servers: list[ForwardServer] = []

    def make(behave: Behaviour = acknowledge, **keys: Any) -> ForwardServer:
        server = ForwardServer(behave, **keys)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def exporter_for() -> Iterator[Callable[..., FluentdExporter]]:
    """
    Return a function that makes an exporter to a server (or a port) with these keys; all are closed at the end.
    """
    exporters: list[FluentdExporter] = []

    def make(server: ForwardServer | int, **keys: Any) -> FluentdExporter:
        port = server if isinstance(server, int) else server.port
        config = FluentdExporter.Config.model_validate(
            {"type": "fluentd", "endpoint": f"127.0.0.1:{port}", "timeout_secs": 5, "ack_timeout_secs": 5, **keys}
        )
        exporter = FluentdExporter("out", config, ExporterContext("ledger", SystemClock(), structlog.get_logger()))
        exporters.append(exporter)
        return exporter

    yield make
    for exporter in exporters:
        exporter.close()
