"""
A request byte by byte as Vector 0.58 writes it, made here without any protobuf library.

Facts: Vector's ``lib/vector-core/proto/event.proto`` and ``src/event/proto.rs``. Fields are written by their numbers, what is
zero is left out. A metric has its tags in both forms, and its metadata, too.
"""

import struct

from meterline.testing.vector_events import attributes, logs, made, metrics

SECONDS, NANOS = 1_795_346_017, 123_456_789
EVENT_ID = bytes.fromhex("6f1c1a9e5d0b4c0e9f7a0123456789ab")


def field(tag: int, payload: bytes) -> bytes:
    """A field that has a length; ``tag`` as it stands on the wire, of one byte or two."""
    head = bytes((tag,)) if tag < 128 else bytes((tag & 0x7F | 0x80, tag >> 7))
    size = bytes((len(payload),)) if len(payload) < 128 else bytes((len(payload) & 0x7F | 0x80, len(payload) >> 7))
    return head + size + payload


def entry(key: bytes, value: bytes) -> bytes:
    """An entry of a map."""
    return field(0x0A, key) + field(0x12, value)


def varint(number: int) -> bytes:
    """A number of several bytes."""
    low = bytes((number & 0x7F | (0x80 if number > 127 else 0),))
    return low + (varint(number >> 7) if number > 127 else b"")


TIME = b"\x08" + varint(SECONDS) + b"\x10" + varint(NANOS)
VALUE = field(0x3A, b"")  # the metadata's value: an empty map
METADATA = (
    field(0x0A, VALUE)
    + field(0x1A, b"00000000-0000-0000-0000-000000000000")
    + field(0x22, b"internal_metrics")
    + field(0x3A, EVENT_ID)
)
TAGS = ((b"customer", b"acme"), (b"host", b"web-1"))


def counter(value: float, *, kind: bytes, interval: bytes) -> bytes:
    """A metric event. ``kind`` and ``interval``: their fields, b"" where they are zero."""
    metric = field(0x0A, b"api_calls") + field(0x12, TIME)
    metric += b"".join(field(0x1A, entry(*tag)) for tag in TAGS)
    metric += kind + field(0x2A, b"\x09" + struct.pack("<d", value)) + field(0x5A, b"app") + interval
    metric += field(0x9A, VALUE)
    metric += b"".join(field(0xA2, entry(key, field(0x0A, field(0x0A, value)))) for key, value in TAGS)
    metric += field(0xAA, METADATA)
    return field(0x0A, field(0x12, metric))


def log() -> bytes:
    """A log event: fields by name, then metadata in both forms."""
    fields = {
        b"customer": field(0x0A, b"acme"),
        b"quantity": b"\x20\x05",
        b"ratio": b"\x29" + struct.pack("<d", 0.1),
        b"timestamp": field(0x12, TIME),
    }
    written = b"".join(field(0x0A, entry(key, value)) for key, value in fields.items())
    return field(0x0A, field(0x0A, written + field(0x1A, VALUE) + field(0x22, METADATA)))


def test_a_request_of_vector() -> None:
    """Two readings of a counter, an increment with a window, one without, and a log event."""
    bodies = made(
        counter(100.0, kind=b"\x20\x01", interval=b"")
        + counter(107.5, kind=b"\x20\x01", interval=b"")
        + counter(5.0, kind=b"", interval=b"\x90\x01" + varint(10_000))
        + counter(2.0, kind=b"", interval=b"")
        + log()
    )
    points = [metric.sum.data_points[0] for metric in metrics(bodies)]
    (record,) = logs(bodies)
    now = SECONDS * 10**9 + NANOS

    assert {metric.name for metric in metrics(bodies)} == {"app.api_calls"}
    assert [metric.sum.aggregation_temporality for metric in metrics(bodies)] == [2, 2, 1, 1]
    assert [(p.start_time_unix_nano, p.time_unix_nano, p.as_double) for p in points] == [
        (0, now, 100.0),
        (0, now, 107.5),
        (now, now + 10**10, 5.0),
        (0, now, 2.0),
    ]
    assert all(attributes(point) == {"customer": "acme", "host": "web-1"} for point in points)
    assert [len(point.exemplars) for point in points] == [0, 0, 0, 1]
    assert (record.time_unix_nano, attributes(record)["vector.source_event_id"]) == (now, EVENT_ID.hex())
    assert [pair.key for pair in record.body.kvlist_value.values] == ["customer", "quantity", "ratio", "timestamp"]
