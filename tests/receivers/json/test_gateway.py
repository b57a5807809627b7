"""
Events through a real gateway: what is counted, what is recognised when it comes again, and what is in quarantine, and why.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterline.testing.agent_bodies import iso
from meterline.testing.examples import Example
from meterline.testing.wire_sender import HttpSender
from meterline.testing.wires import Request

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CONFIG = """\
ledger: {path: ./meterline.db}
receivers:
  json: {endpoint: 127.0.0.1:4318}
  late: {type: json, endpoint: 127.0.0.1:4318, path_prefix: /late, missing_timestamp: received}
rules:
  - name: units
    match: {log: true, body: {kind: units}}
    customer: body.customer
    dimension: units
    value: body.n
    identity: attributes["log.record.uid"]
  - name: content
    match: {log: true, body: {kind: content}}
    customer: body.customer
    dimension: content
    identity: content
  - name: counters
    match: {metric: "c.*"}
    customer: attributes["customer"]
    dimension: "${metric.name}"
    value: delta
exporters:
  usage: {type: file, path: ./usage.ndjson}
"""


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    """
    Start a gateway.
    """
    source = tmp_path / "source"
    source.mkdir()
    (source / "meterline.yaml").write_text(CONFIG, "utf-8")
    with Example(source, tmp_path / "copy") as example:
        example.gateway.start()
        yield example


def post(example: Example, path: str, body: Any) -> dict[str, int]:
    """
    Send a document or bytes until it is stored, and return what the answer says.
    """
    request = Request(path, body if isinstance(body, bytes) else json.dumps(body).encode())
    sender = HttpSender(example.http)
    found: dict[str, int] = json.loads(sender.send(request))
    sender.close()
    return {key: found[key] for key in ("accepted", "rejected")}


def reasons(example: Example) -> Counter[str]:
    """
    Return how many entries are in quarantine for which reason.
    """
    done = example.gateway.ask("quarantine", "ls", "--json")
    found: Counter[str] = Counter()
    for row in map(json.loads, done.stdout.splitlines()):
        found[row["reason"]] += int(row["entries"])
    return found


def event(uid: str, n: Any, **more: Any) -> dict[str, Any]:
    """
    Return an event of acme's.
    """
    return {"timestamp": iso(time.time_ns(), 9), "kind": "units", "customer": "acme", "event.id": uid, "n": n, **more}


def test_what_is_counted_and_what_is_not(example: Example) -> None:
    """Good events of a batch count exactly, whatever their neighbours are; each bad one has its reason."""
    batch = [
        event("a", 5),
        event("b", "0.25"),
        event("c", float("nan")),
        event("d", 1, timestamp=None),
        event("e", 1, timestamp=1_700_000_000_000 // 10**6),
        event("f", 1, timestamp=iso(time.time_ns() + 2 * 3600 * 10**9, 3)),
        event("g", -1),
        {**event("h", 1), "event.id": None},
        7,
    ]
    assert post(example, "/v1/events", batch) == {"accepted": 2, "rejected": 7}
    precise = json.dumps(event("i", 0)).replace('"n": 0', '"n": 0.123456789012345678').encode()
    assert post(example, "/v1/events", precise + b'\n{"broken\n') == {"accepted": 1, "rejected": 1}
    assert post(example, "/v1/events", batch) == {"accepted": 9, "rejected": 0}, "a resend adds nothing"

    assert example.totals() == {("acme", "units"): Decimal("5.373456789012345678")}
    assert reasons(example) == {
        "not_a_number": 1,
        "time_missing": 1,
        "time_in_past": 1,
        "time_in_future": 1,
        "negative_value": 1,
        "missing_identity": 1,
        "unsupported_item": 1,
        "undecodable_item": 1,
    }


def test_the_time_of_reception(example: Example) -> None:
    """Without time an event takes the time at which it came, if the receiver says so; its id tells it from a resend."""
    late = {**event("a", 5), "timestamp": None}

    assert post(example, "/late/v1/events", late) == {"accepted": 1, "rejected": 0}
    assert post(example, "/late/v1/events", late) == {"accepted": 1, "rejected": 0}

    assert example.totals() == {("acme", "units"): Decimal(5)}


def test_float_dates_are_no_identity(example: Example) -> None:
    """Two equal records with one float date are two within a request, and one when they come in two: the page says so."""
    record = {"date": int(time.time()) + 0.935926, "kind": "content", "customer": "acme"}

    post(example, "/v1/events/fluent-bit", [record, record])
    post(example, "/v1/events/fluent-bit", [record])

    assert example.totals() == {("acme", "content"): Decimal(2)}


def test_counters_of_vector(example: Example) -> None:
    """Windows of an interval follow each other; increments without one count by number; absolute ones by their growth."""
    at = time.time_ns() // 10**9 * 10**9 + 10**9  # increments count from the rule's activation on

    def counter(name: str, second: int, value: float, **more: Any) -> dict[str, Any]:
        stamp = iso(at + second * 10**9, 3)
        return {"name": name, "tags": {"customer": "acme"}, "timestamp": stamp, **more, "counter": {"value": value}}

    windows = [counter("c.window", 10 * n, 1.1, interval_ms=10_000, kind="incremental") for n in range(5)]
    single = [counter("c.single", 0, 2.0, kind="incremental")] * 3
    absolute = [counter("c.absolute", n, value, kind="absolute") for n, value in enumerate((100.0, 103.5, 1.5, 2.0))]
    for _ in range(2):
        assert post(example, "/v1/vector", [*windows, *single, *absolute])["rejected"] == 0

    assert example.totals() == {
        ("acme", "c.window"): Decimal("5.5"),
        ("acme", "c.single"): Decimal(6),
        ("acme", "c.absolute"): Decimal("5.5"),
    }
