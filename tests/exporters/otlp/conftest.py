"""
OTLP servers and exporters to them, made on demand and closed at the end.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from meterline.api import ExporterContext, SystemClock
from meterline.exporters.otlp import OtlpExporter
from meterline.testing.otlp_server import OtlpServer


@pytest.fixture
def serve() -> Iterator[Callable[..., OtlpServer]]:
    """
    Return a function that starts a server; all are stopped at the end.
    """
    servers: list[OtlpServer] = []

    def make(*behave: Any, **keys: Any) -> OtlpServer:
        server = OtlpServer(*behave, **keys)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def exporter_for() -> Iterator[Callable[..., OtlpExporter]]:
    """
    Return a function that makes an exporter to an endpoint with these keys; all are closed at the end.
    """
    exporters: list[OtlpExporter] = []

    def make(endpoint: str, **keys: Any) -> OtlpExporter:
        config = OtlpExporter.Config.model_validate({"type": "otlp", "endpoint": endpoint, "timeout_secs": 5, **keys})
        exporter = OtlpExporter("out", config, ExporterContext("ledger-1", SystemClock(), structlog.get_logger()))
        exporters.append(exporter)
        return exporter

    yield make
    for exporter in exporters:
        exporter.close()
