"""
Requests of very many tiny parts: four times as many cost about four times as much CPU, never sixteen times.
"""

import contextlib
import json
from collections.abc import Callable

import msgpack
import pytest

from meterline.testing.cost import least_cpu_secs
from meterline.testing.forward_client import event_time
from meterline.testing.hostile_doors import Doors, RefusedError
from meterline.testing.hostile_site import HostileSite, answer_of, statuses
from meterline.testing.remote_write import field, varint
from meterline.testing.wires import WIRES, Request, Wire

SMALL = 1_000
MANY = 5_000
FACTOR = 4
TOLERANCE = 2.2  # quadratic would be 4 on top of the factor
FLOOR_SECS = 0.02  # below it a quotient says nothing

_PROTOBUF = {"content-type": "application/x-protobuf"}
_JSON = {"content-type": "application/json"}


def resources(count: int) -> bytes:
    """So many empty resources; with one more level, so many scopes or records."""
    return field(1, b"") * count


def records(count: int) -> bytes:
    """So many log records of nothing but a time."""
    return field(1, field(2, field(2, b"\x09" + bytes(7) + b"\x01") * count))


def points(count: int) -> bytes:
    """So many points of a sum of which nothing is said."""
    return field(1, field(2, field(2, field(1, "n") + field(7, field(1, b"") * count))))


def value_parts(count: int) -> bytes:
    """One attribute whose map comes in so many parts, each with a key of its own."""
    value = b"".join(field(6, field(1, field(1, str(n)))) for n in range(count))
    return field(1, field(2, field(2, field(6, field(1, "k") + field(2, value)))))


def attributes(count: int) -> bytes:
    """One record with so many attributes, each of another name."""
    pairs = b"".join(field(6, field(1, str(n))) for n in range(count))
    return field(1, field(2, field(2, pairs)))


def levels(count: int) -> bytes:
    """A record whose body is nested so deep, as far as a protobuf of some length can."""
    value = b""
    for _ in range(min(count, 3_000)):
        value = field(5, field(1, value))
    return field(1, field(2, field(2, field(5, value)) * max(1, count // 3_000)))


def write_v2(count: int) -> bytes:
    """So many symbols, and a series of each."""
    symbols = field(4, b"") + b"".join(field(4, f"s{n}") for n in range(count))
    return symbols + b"".join(field(5, field(1, varint(n + 1) * 2)) for n in range(count))


def entries(count: int) -> bytes:
    """A forward message of so many empty entries."""
    packed = msgpack.packb([event_time(10**18), {}]) * count
    return bytes(msgpack.packb(["t", packed, {"chunk": "c"}]))


def heartbeats(count: int) -> bytes:
    """So many messages of a byte each."""
    return b"\xc0" * count


SHAPES: dict[str, tuple[str, str, dict[str, str], Callable[[int], bytes]]] = {
    "otlp resources": ("otlp-http-logs", "/v1/logs", _PROTOBUF, resources),
    "otlp metric resources": ("otlp-http-metrics", "/v1/metrics", _PROTOBUF, resources),
    "otlp records": ("otlp-http-logs", "/v1/logs", _PROTOBUF, records),
    "otlp points": ("otlp-http-metrics", "/v1/metrics", _PROTOBUF, points),
    "otlp value parts": ("otlp-http-logs", "/v1/logs", _PROTOBUF, value_parts),
    "otlp attributes": ("otlp-http-logs", "/v1/logs", _PROTOBUF, attributes),
    "otlp levels": ("otlp-http-logs", "/v1/logs", _PROTOBUF, levels),
    "otlp json requests": ("otlp-json-logs", "/v1/logs", _JSON, lambda n: b'{"resourceLogs":[]}' * n),
    "otlp json records": (
        "otlp-json-logs",
        "/v1/logs",
        _JSON,
        lambda n: b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + b",".join([b"{}"] * n) + b"]}]}]}",
    ),
    "json items": ("json-array", "/v1/events", _JSON, lambda n: b"[" + b",".join([b"{}"] * n) + b"]"),
    "json lines": ("json-lines", "/v1/events", {"content-type": "application/x-ndjson"}, lambda n: b"{}\n" * n),
    "json broken lines": (
        "json-lines",
        "/v1/events",
        {"content-type": "application/x-ndjson"},
        lambda n: b"{}\n{\n" * n,
    ),
    "json keys": ("json-array", "/v1/events", _JSON, lambda n: json.dumps({str(k): k for k in range(n)}).encode()),
    "json digits": ("json-array", "/v1/events", _JSON, lambda n: b"[" + b",".join([b'{"a":1e-300}'] * n) + b"]"),
    "plain lines": ("json-lines", "/v1/events", {"content-type": "text/plain"}, lambda n: b"a\n" * n),
    "usage items": ("usage", "/v1/usage", _JSON, lambda n: b"[" + b",".join([b"{}"] * n) + b"]"),
    "loki streams": ("loki-json", "/loki/api/v1/push", _JSON, lambda n: json.dumps({"streams": [{}] * n}).encode()),
    "loki entries": (
        "loki-json",
        "/loki/api/v1/push",
        _JSON,
        lambda n: json.dumps({"streams": [{"stream": {"a": "b"}, "values": [["1", ""]] * n}]}).encode(),
    ),
    "loki protobuf": ("loki-protobuf", "/loki/api/v1/push", _PROTOBUF, lambda n: field(1, field(1, "{}")) * n),
    "remote write series": ("remote-write-1", "/api/v1/write", _PROTOBUF, resources),
    "remote write metadata": ("remote-write-1", "/api/v1/write", _PROTOBUF, lambda n: field(3, b"") * n),
    "remote write symbols": (
        "remote-write-2",
        "/api/v1/write",
        {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"},
        write_v2,
    ),
    "vector events": ("vector-logs", "/vector.Vector/PushEvents", {}, lambda n: field(1, b"") * n),
    "vector logs": ("vector-logs", "/vector.Vector/PushEvents", {}, lambda n: field(1, field(1, b"")) * n),
    "forward entries": ("fluent-forward", "", {}, entries),
    "forward heartbeats": ("fluent-forward", "", {}, heartbeats),
    "msgpack events": (
        "fluent-bit-msgpack",
        "/v1/events/fluent-bit",
        {"content-type": "application/msgpack"},
        lambda n: bytes(msgpack.packb([1.0, {}])) * n,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_decoders_are_linear(shape: str) -> None:
    """Decoding and metering many tiny parts; the best of three runs, with fresh books each."""
    check_linear(shape, SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_decoders_are_linear_in_many(shape: str) -> None:
    """The same with twenty thousand parts."""
    check_linear(shape, MANY)


def check_linear(shape: str, count: int) -> None:
    """Compare the CPU time of so many parts with that of four times as many."""
    name, path, headers, make = SHAPES[shape]
    wire = next(wire for wire in WIRES if wire.name == name)
    small, large = (best_secs(wire, Request(path, make(n), headers)) for n in (count, count * FACTOR))
    assert large < max(small, FLOOR_SECS) * FACTOR * TOLERANCE, f"{small:.3f} s, {large:.3f} s"


def best_secs(wire: Wire, request: Request) -> float:
    """The CPU time of one request, without what a busy machine or the garbage of other tests adds."""
    return least_cpu_secs(lambda: knock(Doors(), wire, request), 2)


def knock(doors: Doors, wire: Wire, request: Request) -> None:
    """Decode and meter it, or have it refused."""
    with contextlib.suppress(RefusedError):
        doors.knock(wire, request)


def chunks(count: int) -> bytes:
    """An HTTP body of so many chunks of a byte each."""
    head = b"POST /v1/logs HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return head + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * count + b"0\r\n\r\n"


def headers(count: int) -> bytes:
    """A request with so many headers, which is over the budget."""
    return b"POST /v1/logs HTTP/1.1\r\nhost: h\r\n" + b"a: b\r\n" * count + b"content-length: 0\r\n\r\n"


def pipelined(count: int) -> bytes:
    """So many requests behind each other."""
    return b"GET /v1/openapi.json HTTP/1.1\r\nhost: h\r\n\r\n" * (count // 100) + chunks(1)


def forward(count: int) -> bytes:
    """So many heartbeats on a connection."""
    return b"\xc0" * count


@pytest.mark.parametrize(
    ("make", "port"), [(chunks, "http"), (headers, "http"), (pipelined, "http"), (forward, "forward")]
)
def test_the_wire_is_linear(site: HostileSite, make: Callable[[int], bytes], port: str) -> None:
    """The gateway's CPU time for many tiny pieces of HTTP and of the forward protocol."""
    spent = []
    for count in (25_000, 25_000 * FACTOR):
        before = site.cpu_secs()
        with site.connect(port) as connection:
            try:
                connection.sendall(make(count))
                if port == "forward":
                    connection.shutdown(1)
                found = list(statuses(answer_of(connection)))
            except ConnectionError:  # it had enough
                found = []
        assert all(status < 500 for status in found)
        spent.append(site.cpu_secs() - before)
    assert spent[1] < max(spent[0], 0.1) * FACTOR * TOLERANCE, spent
