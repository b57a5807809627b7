"""
Our own Fluentd exporter delivers into our own receiver: two halves of the protocol that were written apart.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from meterline.api import Answer, ExporterContext, Status, SystemClock, Verdict
from meterline.exporters.fluentd import FluentdExporter
from meterline.testing.batches import FixedBatch, some_records

Make = Callable[..., FluentdExporter]
SHARED = {"name": "fleet", "token": "s3cret"}


@pytest.fixture
def exporter_to() -> Iterator[Make]:
    """
    Return a function that makes an exporter to a receiver; all are closed at the end.
    """
    made: list[FluentdExporter] = []

    def make(receiver: Any, **keys: Any) -> FluentdExporter:
        config = FluentdExporter.Config.model_validate(
            {"type": "fluentd", "endpoint": receiver.endpoints["forward"], "timeout_secs": 5, **keys}
        )
        made.append(FluentdExporter("out", config, ExporterContext("ledger", SystemClock(), structlog.get_logger())))
        return made[-1]

    yield make
    for exporter in made:
        exporter.close()


@pytest.mark.parametrize("guarded", [False, True], ids=["open", "shared key and user"])
def test_batches_arrive_record_by_record(
    start: Any, intake: Any, exporter_to: Make, rng: random.Random, *, guarded: bool
) -> None:
    """
    Each record of a batch is one log record with the record's time and id, and the batch is delivered.
    """
    auth = {"shared_key": SHARED, "users": [{"name": "eu", "token": "pw"}]} if guarded else None
    keys = {"shared_key": "s3cret", "username": "eu", "password": "pw"} if guarded else {}
    exporter = exporter_to(start(auth=auth), **keys)
    records = some_records(rng, 200)
    receipt = exporter.send(FixedBatch(records))  # type: ignore[arg-type]  # a batch in all that is asked of it

    assert receipt.default.verdict is Verdict.DELIVERED
    bodies = [{pair.key: pair.value for pair in found.body.kvlist_value.values} for found in intake.records]
    assert [body["id"].string_value for body in bodies] == [str(record.id) for record in records]
    assert [found.time_unix_nano for found in intake.records] == [record.timestamp for record in records]


def test_a_refused_batch_is_in_doubt_and_comes_again_the_same(
    start: Any, intake: Any, exporter_to: Make, rng: random.Random
) -> None:
    """
    What the receiver does not store is unknown to the exporter; sent again, it makes the same body.
    """
    intake.script = [Answer(Status.RETRY), Answer(Status.STORED)]
    exporter = exporter_to(start())
    batch: Any = FixedBatch(some_records(rng, 20))

    assert exporter.send(batch).default.verdict is Verdict.UNKNOWN
    assert exporter.send(batch).default.verdict is Verdict.DELIVERED
    assert intake.bodies[0] == intake.bodies[1]
