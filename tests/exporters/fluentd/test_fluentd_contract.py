"""
The exporter contract kit on ``fluentd``, with a server that closes, keeps silent or takes its time.
"""

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from meterline.api import ExporterContext
from meterline.exporters.fluentd import FluentdExporter
from meterline.testing.exporters import NAME, QUICK, Backend, Fault, exporter_suite
from meterline.testing.forward import Conversation, ForwardServer


class Fluentd(Backend):
    """
    A forward server behind a shared key.
    """

    faults = frozenset({Fault.ANSWER_LOST, Fault.DISCONNECT, Fault.SLOW})
    cannot: ClassVar[Mapping[Fault, str]] = {
        Fault.TRANSIENT: "the protocol has no refusal: a server acknowledges or does not",
        Fault.PERMANENT: "the protocol has no refusal",
        Fault.MIXED: "the protocol has no refusal",
    }

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._script: list[Fault] = []
        self._server = ForwardServer(self._behave, shared_key="k")

    def _behave(self, conversation: Conversation, chunk: str) -> None:
        fault = self._script.pop() if self._script else None
        if fault is Fault.DISCONNECT:
            self._server.messages.pop()
        if fault in {Fault.DISCONNECT, Fault.ANSWER_LOST}:
            raise ConnectionResetError
        if fault is Fault.SLOW:
            time.sleep(0.3)
        conversation.say({"ack": chunk})

    def exporter(self, context: ExporterContext) -> FluentdExporter:
        keys = {"type": "fluentd", "endpoint": f"127.0.0.1:{self._server.port}", "shared_key": "k"}
        return FluentdExporter(NAME, FluentdExporter.Config.model_validate({**keys, **QUICK}), context)

    def held(self) -> Sequence[Mapping[str, Any]]:
        return [record for message in self._server.messages for _, record in message.entries]

    def inject(self, fault: Fault, times: int) -> None:
        self._script += [fault] * times

    def close(self) -> None:
        self._server.close()


TestFluentd = exporter_suite(Fluentd)
