"""
Remote write and Loki requests as tests want them: any labels, any bits of a value, in any order of fields.

Made by hand from the specifications, sharing no code with what reads them.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

STALE_BITS = 0x7FF0000000000002
NAN_BITS = 0x7FF8000000000001


def varint(number: int) -> bytes:
    """
    Encode a varint; a negative number as its 64-bit two's complement.
    """
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def field(number: int, payload: bytes | str) -> bytes:
    """
    Encode a message, text or bytes field.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(data)) + data


def double(number: int, value: float) -> bytes:
    """
    Encode a double field; an int is taken as the 64 bits themselves where it is as large as a NaN's.
    """
    bits = struct.pack("<Q", value) if isinstance(value, int) and value >= STALE_BITS else struct.pack("<d", value)
    return varint(number << 3 | 1) + bits


def sample(value: float, ms: int, start: int = 0) -> bytes:
    """
    Return a Sample as Go's encoder writes it: what is zero is left out.
    """
    parts = [double(1, value) if value else b"", varint(2 << 3) + varint(ms) if ms else b""]
    return b"".join(parts) + (varint(3 << 3) + varint(start) if start else b"")


def histogram(count: int, total: float, ms: int, *, hint: int = 0, start: int = 0) -> bytes:
    """
    Return a native Histogram with an integer count, a few buckets, and fields in the order of their numbers.
    """
    head = varint(1 << 3) + varint(count) + (double(3, total) if total else b"") + varint(4 << 3) + varint(6)
    buckets = field(11, varint(1 << 3) + varint(2) + varint(2 << 3) + varint(1)) + field(12, varint(count << 1))
    tail = (varint(14 << 3) + varint(hint) if hint else b"") + varint(15 << 3) + varint(ms)
    return head + buckets + tail + (varint(17 << 3) + varint(start) if start else b"")


class Written(NamedTuple):
    """
    One TimeSeries to be. ``metric_type``, ``created``: of 2.0. ``labels`` may be pairs, to say one twice.
    """

    labels: Mapping[str, str] | Sequence[tuple[str, str]]
    samples: Sequence[bytes] = ()
    histograms: Sequence[bytes] = ()
    exemplars: int = 0
    metric_type: int = 0
    created: int = 0

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """
        Return the labels in their order; those of a mapping sorted, as senders write them.
        """
        return sorted(self.labels.items()) if isinstance(self.labels, Mapping) else list(self.labels)


def request_v1(series: Iterable[Written], metadata: Iterable[tuple[str, int]] = ()) -> bytes:
    """
    Return a prometheus.WriteRequest, not compressed; ``metadata``: (family, type).
    """
    body = b""
    for item in series:
        parts = [field(1, field(1, name) + field(2, value)) for name, value in item.pairs]
        parts += [field(2, data) for data in item.samples]
        parts += [field(3, double(2, 1.5) + varint(3 << 3) + varint(1)) for _ in range(item.exemplars)]
        parts += [field(4, data) for data in item.histograms]
        body += field(1, b"".join(parts))
    return body + b"".join(
        field(3, varint(1 << 3) + varint(kind) + field(2, name) + field(4, "help")) for name, kind in metadata
    )


def request_v2(series: Iterable[Written]) -> bytes:
    """
    Return an io.prometheus.write.v2.Request, not compressed.
    """
    symbols = {"": 0}
    written = []
    for item in series:
        refs = b"".join(varint(symbols.setdefault(text, len(symbols))) for pair in item.pairs for text in pair)
        parts = [field(1, refs), *(field(2, data) for data in item.samples)]
        parts += [field(3, data) for data in item.histograms]
        parts += [field(4, double(2, 1.5) + varint(3 << 3) + varint(1)) for _ in range(item.exemplars)]
        parts.append(field(5, varint(1 << 3) + varint(item.metric_type) if item.metric_type else b""))
        parts.append(varint(6 << 3) + varint(item.created) if item.created else b"")
        written.append(field(5, b"".join(parts)))
    return b"".join([*(field(4, text) for text in symbols), *written])
