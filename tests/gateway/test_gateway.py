"""
The gateway as a whole, in this process: real port, real ledger, real file.
"""

import json
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from meterline.config import load_config
from meterline.errors import ConfigurationError, LedgerLockedError
from meterline.gateway import Gateway
from meterline.testing.sender import METHODS
from meterline.testing.workload import RULES, Request, Workload

Start = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a gateway in the test's folder; all are stopped in the end."""
    gateways: list[Gateway] = []

    def make(exporters: str = "usage: {type: file, path: usage.ndjson}", endpoint: str = "127.0.0.1:0") -> Gateway:
        path = tmp_path / "meterline.yaml"
        path.write_text(
            f"ledger: {{path: ./meterline.db}}\nreceivers: {{otlp: {{grpc: {{endpoint: '{endpoint}'}}}}}}\n"
            f"exporters: {{{exporters}}}\n{RULES}"
        )
        gateway = Gateway(load_config(path, {}))
        gateways.append(gateway)
        gateway.start()
        return gateway

    yield make
    for gateway in gateways:
        gateway.stop(1)


def send(gateway: Gateway, request: Request) -> bytes:
    """Send one request and return the raw answer."""
    with grpc.insecure_channel(gateway.endpoints["otlp"]["grpc"]) as channel:
        answer: bytes = channel.unary_unary(METHODS[request.signal])(request.body, timeout=20)
    return answer


def lines(path: Path) -> list[dict[str, Any]]:
    """Read an NDJSON file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def expected(requests: list[Request]) -> dict[tuple[str, str, int], Decimal]:
    """Return what the requests must become."""
    return {effect.key: effect.value for request in requests for effect in request.effects}


def delivered(path: Path) -> list[tuple[str, str, str, Decimal]]:
    """Return what stands in the file, sorted."""
    return sorted((row["id"], row["customer_id"], row["dimension_id"], Decimal(row["value"])) for row in lines(path))


def test_main_job(start: Start, tmp_path: Path) -> None:
    """What was sent stands in the file, to the last digit, once, also when all of it is sent again after a restart."""
    gateway = start()
    workload = Workload(seed=1, name="p")
    requests = [workload.next() for _ in range(40)]
    assert [send(gateway, request) for request in requests] == [b""] * 40
    gateway.stop(10)
    first = delivered(tmp_path / "usage.ndjson")

    gateway = start()
    random.Random(2).shuffle(requests)
    assert [send(gateway, request) for request in requests] == [b""] * 40
    gateway.stop(10)

    assert delivered(tmp_path / "usage.ndjson") == first
    assert sorted(value for *_, value in first) == sorted(expected(requests).values())
    assert len({row[0] for row in first}) == len(first) == sum(len(request.effects) for request in requests)


def test_no_exporters_keeps_the_records(start: Start, tmp_path: Path) -> None:
    """Without exporters the ledger keeps the records, and an exporter that comes later is given them all."""
    gateway = start("")
    workload = Workload(seed=3, name="p")
    requests = [workload.next() for _ in range(5)]
    for request in requests:
        send(gateway, request)
    gateway.stop(5)

    gateway = start("usage: {type: file, path: usage.ndjson, start: beginning}")
    gateway.stop(10)

    values = sorted(Decimal(row["value"]) for row in lines(tmp_path / "usage.ndjson"))
    assert values == sorted(expected(requests).values())


def test_second_owner_is_refused(start: Start) -> None:
    """A ledger has one owner; the second is told who it is, and the first goes on."""
    gateway = start()

    with pytest.raises(LedgerLockedError, match="process"):
        start()

    assert gateway.ready
    assert send(gateway, Workload(seed=4, name="p").next()) == b""


def test_busy_port_leaves_nothing_behind(start: Start) -> None:
    """A receiver's busy port is a configuration error, after which the ledger is free again."""
    gateway = start("")
    taken = gateway.endpoints["otlp"]["grpc"]
    gateway.stop(1)
    gateway = start("", endpoint=taken)
    other = Path(gateway._config.base_dir) / "other"
    other.mkdir()
    config = other / "meterline.yaml"
    config.write_text(f"ledger: {{path: x.db}}\nreceivers: {{otlp: {{grpc: {{endpoint: '{taken}'}}}}}}\nrules: []\n")

    for _ in range(2):
        with pytest.raises(ConfigurationError, match=taken):
            Gateway(load_config(config, {})).start()


def test_not_ready_after_stop(start: Start) -> None:
    """Readiness and health follow the life of the gateway."""
    gateway = start()
    assert (gateway.ready, gateway.health()["ready"]) == (True, True)

    gateway.stop(1)

    assert (gateway.ready, gateway.health()["draining"]) == (False, True)
