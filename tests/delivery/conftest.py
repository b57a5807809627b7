"""
A ledger rig, and an exporter that does what the test says.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from meterline.api import Batch, DeliveryContract, Exporter, ExporterConfig, ExporterContext, PluginSpec, Receipt
from meterline.testing.rig import Rig

QUICK = {"batch": {"max_wait_secs": 0.02}, "retry": {"initial_secs": 0.02, "max_secs": 0.1}}


class Sent(NamedTuple):
    """
    One send as the exporter saw it.
    """

    id: str
    number: int
    attempt: int
    ids: tuple[str, ...]
    data: bytes


class Scripted(Exporter[ExporterConfig]):
    """
    Answers by ``answer``; keeps what it was sent and what it was told.
    """

    spec = PluginSpec("scripted", "exporter", "alpha", "does what the test says")
    Config = ExporterConfig

    def __init__(self, name: str, config: ExporterConfig, context: ExporterContext) -> None:
        super().__init__(name, config, context)
        self.promise = DeliveryContract(per_record_results=True)
        self.answer: Callable[[Batch], Receipt] = lambda _batch: Receipt()
        self.on_connect: Callable[[bytes | None], None] = lambda _checkpoint: None
        self.sent: list[Sent] = []
        self.connects: list[bytes | None] = []
        self.settles = 0
        self.closed = 0

    @property
    def contract(self) -> DeliveryContract:
        return self.promise

    def connect(self, checkpoint: bytes | None) -> None:
        self.connects.append(checkpoint)
        self.on_connect(checkpoint)

    def send(self, batch: Batch) -> Receipt:
        ids = tuple(record.id for record in batch.records)
        self.sent.append(Sent(batch.id, batch.number, batch.attempt, ids, batch.encode("ndjson")))
        return self.answer(batch)

    def settled(self) -> None:
        self.settles += 1

    def close(self) -> None:
        self.closed += 1


Make = Callable[..., Scripted]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """
    A ledger in a folder of its own.
    """
    made = Rig(tmp_path)
    yield made
    made.close()


@pytest.fixture
def make(rig: Rig) -> Make:
    """
    Make a scripted exporter: ``make("name", promise=DeliveryContract(...), **config)``.
    """

    def exporter(name: str = "x", promise: DeliveryContract | None = None, **config: Any) -> Scripted:
        options = {"type": "scripted", "start": "beginning", **QUICK, **config}
        made = Scripted(name, ExporterConfig(**options), rig.context())
        made.promise = promise or made.promise
        return made

    return exporter
