"""
Events that the official ``cloudevents`` package writes, structured and binary, over HTTP into a real gateway.
"""

import http.client
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from meterline.testing.examples import Example
from meterline.testing.process import wait_until

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

COUNT = 60
CONFIG = """\
ledger: {path: ./meterline.db}
receivers:
  json: {endpoint: 127.0.0.1:4318, formats: [cloudevents, auto]}
rules:
  - name: calls
    match: {log: true, event_name: com.example.call}
    customer: attributes["cloudevents.tenantid"]
    dimension: attributes["cloudevents.event_subject"]
    value: body.units
    identity: attributes["log.record.uid"]
exporters:
  usage: {type: file, path: ./usage.ndjson}
"""


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    """
    A gateway that bills CloudEvents; not started.
    """
    source = tmp_path / "source"
    source.mkdir()
    (source / "meterline.yaml").write_text(CONFIG, "utf-8")
    with Example(source, tmp_path / "copy") as example:
        yield example


def event(subject: str, number: int) -> CloudEvent:
    """
    Return one event of ``number`` units.
    """
    attributes: dict[str, Any] = {
        "type": "com.example.call",
        "source": f"/calls/{subject}",
        "id": f"call {number} \u20ac%",
    }
    return CloudEvent({**attributes, "subject": subject, "tenantid": "acme"}, data={"units": number})


def deliver(example: Example, path: str, message: HTTPMessage) -> None:
    """
    Send until it is stored.
    """
    while True:
        connection = http.client.HTTPConnection(example.http, timeout=10)
        try:
            connection.request("POST", path, message.body, dict(message.headers))
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            status = 503
        finally:
            connection.close()
        assert status in (200, 503)
        if status == 200:
            return
        time.sleep(0.05)


def test_both_modes_through_a_kill(example: Example) -> None:
    """Every event is counted once, whatever its mode, its path, and how often it came."""
    example.gateway.start()
    modes = {"structured": to_structured_event, "binary": to_binary_event}

    def send(subject: str, path: str) -> None:
        for number in range(1, COUNT + 1):
            for _ in range(2):
                deliver(example, path, modes[subject](event(subject, number)))

    paths = {"structured": "/v1/events", "binary": "/v1/events/cloudevents"}
    threads = [threading.Thread(target=send, args=item) for item in paths.items()]
    for thread in threads:
        thread.start()
    wait_until(example.totals, 30, "the first events")
    example.gateway.kill()
    example.gateway.start()
    for thread in threads:
        thread.join(120)

    expected = Decimal(COUNT * (COUNT + 1) // 2)
    assert example.totals() == {("acme", "structured"): expected, ("acme", "binary"): expected}
