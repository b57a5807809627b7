"""
The exporter contract kit on ``otlp``.
"""

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from meterline.api import ExporterContext
from meterline.exporters.otlp import OtlpExporter
from meterline.testing.exporters import NAME, QUICK, Backend, Fault, exporter_suite
from meterline.testing.otlp_server import OtlpRequest, OtlpServer, records_in


class Logs(Backend):
    """
    An OTLP server that keeps what it answers OK, and what it takes and does not answer.
    """

    signal = "logs"
    faults = frozenset(Fault)

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._script: list[Fault] = []
        self._poison: set[str] = set()
        self._held: list[Mapping[str, Any]] = []
        self._server = OtlpServer(self._behave)

    def _behave(self, request: OtlpRequest, context: grpc.ServicerContext) -> bytes:
        records = list(records_in(request))
        fault = self._script.pop() if self._script else None
        if fault is Fault.PERMANENT:
            self._poison.update(record["id"] for record in records)
        if fault is Fault.MIXED:
            self._poison.update(record["id"] for record in records[1::7])
        if self._poison.intersection(record["id"] for record in records):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "poison")
        if fault in {Fault.TRANSIENT, Fault.DISCONNECT}:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if fault is Fault.SLOW:
            time.sleep(0.3)
        self._held += records
        if fault is Fault.ANSWER_LOST:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "too slow to say")
        return b""

    def exporter(self, context: ExporterContext) -> OtlpExporter:
        keys = {"type": "otlp", "endpoint": self._server.endpoint, "signal": self.signal}
        return OtlpExporter(NAME, OtlpExporter.Config.model_validate({**keys, **QUICK}), context)

    def held(self) -> Sequence[Mapping[str, Any]]:
        return list(self._held)

    def inject(self, fault: Fault, times: int) -> None:
        self._script += [fault] * times

    def close(self) -> None:
        self._server.close()


TestLogs = exporter_suite(Logs)
