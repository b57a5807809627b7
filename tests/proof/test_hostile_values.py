"""
Hostile values in valid requests, over every wire of a real gateway: a record, a quarantine entry or a clear refusal, and
nothing of them in the log.
"""

import json
import time
from typing import Any

import grpc
import pytest

from meterline.testing.hostile_seeds import seeds
from meterline.testing.hostile_site import CODES, STATUSES, HostileSite, answer_of, grpc_code, http_bytes, statuses
from meterline.testing.hostile_trees import TEXTS, VALUES, json_text
from meterline.testing.wires import WIRES, Event, Reading, Request, Wire

SECRETS = (
    "HYPERLINK",
    "evil.example",
    "X-Injected",
    "DROP TABLE",
    "etc/passwd",
    "env:HOME",
    "/C calc",
    "[31m",
    "\\u202e",
    "\u202e",
    "9" * 60,
    "x" * 60,
)
"""Parts of the hostile texts, as they are and as JSON escapes them."""


def send(site: HostileSite, wire: Wire, request: Request) -> None:
    """Send it once; whatever comes back is documented."""
    if wire.transport == "http":
        with site.connect() as connection:
            connection.sendall(http_bytes(request))
            answer = answer_of(connection)
        (status,) = statuses(answer)
        assert status // 100 == 2 or status in STATUSES, f"{wire.name}: {answer[:500]!r} to {request.body[:1000]!r}"
    elif wire.transport == "grpc":
        port = site.ports["vector" if wire.receiver == "vector" else "grpc"]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert grpc_code(channel, request) in CODES
    else:
        with site.connect("forward") as connection:
            connection.sendall(request.body)
            connection.shutdown(1)
            answer_of(connection)


def made(wire: Wire, text: str) -> Request | None:
    """A request with this text as customer and id; None: the wire cannot say it."""
    now = time.time_ns() // 10**6 * 10**6
    points: list[Any] = [Event(text, text, "1", now)]
    if wire.carries == "readings":
        points = [Reading(text, text, value, now + value) for value in (1, 2)]
    try:
        return wire.make(wire.name, points)
    except (UnicodeEncodeError, ValueError):
        return None


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire.transport != "file"], ids=lambda wire: wire.name)
def test_hostile_texts(site: HostileSite, wire: Wire) -> None:
    """Each hostile text as the customer, the id and a label, over each wire, in its body and in headers and the query."""
    for text in TEXTS:
        request = made(wire, text)
        if request is not None:
            send(site, wire, request)
    site.check_log(*SECRETS)


def test_ten_mebibytes_of_text(site: HostileSite) -> None:
    """A text over the size limit is refused; one of 7 MiB is a quarantine entry, and never a record or a line."""
    for size in (7, 10):
        body = json.dumps({"customer": "x" * (size << 20), "value": 1}).encode()
        with site.connect() as connection:
            connection.sendall(http_bytes(Request("/v1/events", body, {"content-type": "application/json"})))
            (status,) = statuses(answer_of(connection))
        assert status == (200 if size == 7 else 413)
    site.check_log(*SECRETS)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_hostile_values_in_every_place(site: HostileSite) -> None:
    """Each hostile JSON value in the place of amounts, customers, times and ids, over every wire that speaks JSON."""
    for seed in seeds(1_795_000_000 * 10**9):
        if seed.wire.transport != "http" or seed.request.body[:1] not in b"{[":
            continue
        for value in map(json_text, VALUES):
            for old in (b'"1"', b"1.0", b'"mutant"'):
                body = seed.request.body.replace(old, value)
                if body != seed.request.body:
                    send(site, seed.wire, Request(seed.request.path, body, seed.request.headers))
    site.check_log(*SECRETS)


@pytest.mark.parametrize("place", ["query", "header", "path"])
def test_hostile_texts_around_the_body(site: HostileSite, place: str) -> None:
    """In the query, the tenant's header and the path: refused or taken, and not logged."""
    for text in TEXTS:
        raw = text.encode("utf-8", "surrogatepass").replace(b"\r\n", b" ").replace(b"\n", b" ")[:2000]
        path = {"query": b"/v1/events?a=" + raw, "path": b"/v1/" + raw}.get(place, b"/v1/events")
        header = b"x-scope-orgid: " + raw + b"\r\n" if place == "header" else b""
        data = b"POST " + path + b" HTTP/1.1\r\nhost: h\r\nconnection: close\r\n" + header
        with site.connect() as connection:
            connection.sendall(data + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            for status in statuses(answer_of(connection)):
                assert status // 100 == 2 or status in STATUSES
    site.check_log(*SECRETS)


def test_it_counts_afterwards(site: HostileSite) -> None:
    """The exporter has written what became records, and goes on."""
    site.check_alive([wire for wire in WIRES if wire.transport != "file"], "after-values")
    for line in (site.folder / "usage.ndjson").read_text(encoding="utf-8").splitlines():
        json.loads(line)
