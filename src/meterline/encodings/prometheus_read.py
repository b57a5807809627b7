"""
Reading Prometheus remote write requests, versions 1.0 and 2.0 (prometheus.WriteRequest, io.prometheus.write.v2.Request).

Values stay the eight bytes that came, so that no arithmetic can change the bits of a staleness marker.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from meterline.encodings.prometheus_series import Fault, Key, Series, SeriesReader, faulty
from meterline.encodings.protobuf import length_delimited
from meterline.encodings.protobuf import varint as encoded
from meterline.encodings.protobuf_fields import I64, LEN, VARINT, Field, broken, fields, signed, varint, varints
from meterline.errors import UndecodableError

STALE: Final = struct.pack("<Q", 0x7FF0000000000002)
"""The value of a sample that ends its series; also a NaN, which only its bits tell from others."""

ZERO: Final = bytes(8)

_NS_PER_MS: Final = 1_000_000
_MAX_TIME: Final = 2**64 - 1
_RESET_HINT_GAUGE: Final = 3


class Moment(NamedTuple):
    """
    When a sample was taken, and since when it counts (0: not said), in ms. ``head``: the time's field and the tag of the
    value's, as they stand in a point; b"" when no point can have this time.
    """

    head: bytes
    ms: int
    start: int


class Sample(NamedTuple):
    """
    ``value``: a double's bytes, little-endian.
    """

    value: bytes
    moment: Moment


class Histogram(NamedTuple):
    """
    What is billable of a native histogram: the whole fields (tag and value) of count and sum as a point has them.

    ``observed`` b"": it has none. ``gauge``: it may fall without having begun anew.
    """

    observed: bytes
    total: bytes
    moment: Moment
    gauge: bool


class Entry(NamedTuple):
    """
    One TimeSeries.
    """

    series: Series
    key: Key
    samples: Sequence[Sample]
    histograms: Sequence[Histogram] = ()


@dataclass(slots=True)
class WriteRequest:
    """
    A request as it was read. ``families``: (name, type) of the metadata apart, of 1.0. ``exemplars``: how many there were.
    """

    entries: list[Entry] = field(default_factory=list)
    families: list[tuple[bytes, int]] = field(default_factory=list)
    exemplars: int = 0


@dataclass(slots=True)
class _Parts:
    """
    The fields of one TimeSeries, as far as they have been read. ``metric_type``, ``created``: of 2.0.
    """

    labels: bytes = b""
    samples: list[Sample] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)
    exemplars: int = 0
    metric_type: int = 0
    created: int = 0


class _Walk:
    """
    What requests of both versions have in common. ``times``: moments by the bytes that say them, which many samples share.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.times: dict[bytes, Moment] = {}

    def samples(self, pos: int, end: int, found: list[Sample]) -> int:
        """
        Read the samples that stand here in the plain form that every sender writes; return where another field begins.

        Runs once a sample: written out (benchmarks, CPU per point of remote write).
        """
        buf, times = self.body, self.times
        while pos + 2 < end and buf[pos] == 0x12 and buf[pos + 1] < 0x80:
            pos += 2
            after = pos + buf[pos - 1]
            if after > end:
                raise broken("sample past the end", pos)
            begin = pos + 9 if buf[pos] == 0x09 else pos
            moment = times.get(buf[begin:after])
            if moment is None or begin > after:
                found.append(self.sample(pos, after))
            else:
                found.append(Sample(buf[pos + 1 : begin] or ZERO, moment))
            pos = after
        return pos

    def sample(self, pos: int, end: int) -> Sample:
        """
        Read a sample of any form. Its moment is kept when nothing but times comes after a value at the front, or without one.
        """
        value, ms, start, where = ZERO, 0, 0, -1
        for got in fields(self.body, pos, end):
            if (got.number, got.kind) == (1, I64):
                value, where = self.body[got.value : got.end], got.end
            elif (got.number, got.kind) == (2, VARINT):
                ms = signed(got.value)
            elif (got.number, got.kind) == (3, VARINT):
                start = signed(got.value)
        moment = moment_of(ms, start)
        if where in {-1, pos + 9}:
            self.times[self.body[max(pos, where) : end]] = moment
        return Sample(value, moment)

    def histogram(self, pos: int, end: int) -> Histogram:
        """
        Read a native histogram.
        """
        count, total, ms, start, hint = b"", ZERO, 0, 0, 0
        for got in fields(self.body, pos, end):
            if (got.number, got.kind) == (1, VARINT):
                count = _count(got.value)
            elif (got.number, got.kind) == (2, I64):
                count = b"\x21" + self.body[got.value : got.end]
            elif (got.number, got.kind) == (3, I64):
                total = self.body[got.value : got.end]
            elif (got.number, got.kind) == (14, VARINT):
                hint = got.value
            elif (got.number, got.kind) == (15, VARINT):
                ms = signed(got.value)
            elif (got.number, got.kind) == (17, VARINT):
                start = signed(got.value)
        return Histogram(count, b"\x21" + total, moment_of(ms, start), hint == _RESET_HINT_GAUGE)


def _count(value: int) -> bytes:
    """
    Return a count as a point's value: an integer, or beyond 63 bits the nearest double.
    """
    return b"\x31" + struct.pack("<q", value) if value < 2**63 else b"\x21" + struct.pack("<d", float(value))


def moment_of(ms: int, start: int) -> Moment:
    """
    Return when a sample was taken.
    """
    time = ms * _NS_PER_MS
    head = b"\x19" + struct.pack("<Q", time) + b"\x21" if 0 <= time <= _MAX_TIME else b""
    return Moment(head, ms, start)


def read_v1(body: bytes, reader: SeriesReader) -> WriteRequest:
    """
    Read a prometheus.WriteRequest.

    :raises UndecodableError: broken wire structure, or the fields of another version.
    """
    walk, request = _Walk(body), WriteRequest()
    for got in fields(body):
        if (got.number, got.kind) == (1, LEN):
            parts = _parts(walk, got, _labels_v1, _other_v1)
            request.exemplars += parts.exemplars
            series = reader.series(parts.labels)
            request.entries.append(Entry(series, parts.labels, parts.samples, parts.histograms))
        elif (got.number, got.kind) == (3, LEN):
            request.families.append(_family(body, got.value, got.end))
        elif got.number in {4, 5}:
            raise UndecodableError(
                "decoding prometheus.WriteRequest: it is a 2.0 request; its Content-Type must say so"
            )
    return request


def read_v2(body: bytes, reader: SeriesReader) -> WriteRequest:
    """
    Read an io.prometheus.write.v2.Request.

    :raises UndecodableError: broken wire structure, or the fields of another version.
    """
    walk, request = _Walk(body), WriteRequest()
    symbols: list[bytes] = []
    found: list[_Parts] = []
    for got in fields(body):
        if (got.number, got.kind) == (4, LEN):
            symbols.append(body[got.value : got.end])
        elif (got.number, got.kind) == (5, LEN):
            found.append(_parts(walk, got, _labels_v2, _other_v2))
        elif got.number < 4:
            raise UndecodableError(
                "decoding io.prometheus.write.v2.Request: it is a 1.0 request, as Content-Type must say"
            )
    for parts in found:
        request.exemplars += parts.exemplars
        request.entries.append(_entry_v2(parts, symbols, reader))
    return request


def _entry_v2(parts: _Parts, symbols: Sequence[bytes], reader: SeriesReader) -> Entry:
    refs = varints(parts.labels)
    samples, histograms = parts.samples, parts.histograms
    if parts.created:
        samples = [sample._replace(moment=_since(sample.moment, parts.created)) for sample in samples]
        histograms = [item._replace(moment=_since(item.moment, parts.created)) for item in histograms]
    try:
        texts = [symbols[ref] for ref in refs]
    except IndexError:
        texts = [b""]
    if len(texts) % 2:
        wrong = Fault("undecodable_item", "reading labels: their references are odd in number, or beyond the symbols")
        return Entry(faulty(wrong), (), samples, histograms)
    key: Key = (*texts, parts.metric_type)
    return Entry(reader.series(key), key, samples, histograms)


def _since(moment: Moment, created: int) -> Moment:
    return moment if moment.start else moment._replace(start=created)


Labels = Callable[[bytes, int, int], tuple[bytes, int]]
Other = Callable[[_Walk, Field, _Parts], None]


def _parts(walk: _Walk, message: Field, labels: Labels, other: Other) -> _Parts:
    """
    Read a TimeSeries: labels and samples where they stand as every sender writes them, and else field by field.
    """
    parts = _Parts()
    parts.labels, pos = labels(walk.body, message.value, message.end)
    pos = walk.samples(pos, message.end, parts.samples)
    if pos < message.end:
        for got in fields(walk.body, pos, message.end):
            if (got.number, got.kind) == (2, LEN):
                parts.samples.append(walk.sample(got.value, got.end))
            else:
                other(walk, got, parts)
    return parts


def _labels_v1(buf: bytes, pos: int, end: int) -> tuple[bytes, int]:
    """
    Return the label fields at the front as they stand, and where they end. Runs once a label: written out.
    """
    begin = pos
    while pos + 1 < end and buf[pos] == 0x0A:
        size = buf[pos + 1]
        if size < 0x80:
            pos += 2 + size
        else:
            size, pos = varint(buf, pos + 1, end)
            pos += size
    if pos > end:
        raise broken("label past the end", begin)
    return buf[begin:pos], pos


def _labels_v2(buf: bytes, pos: int, end: int) -> tuple[bytes, int]:
    if pos < end and buf[pos] == 0x0A:
        size, pos = varint(buf, pos + 1, end)
        if pos + size > end:
            raise broken("labels_refs past the end", pos)
        return buf[pos : pos + size], pos + size
    return b"", pos


def _other_v1(walk: _Walk, got: Field, parts: _Parts) -> None:
    match got.number, got.kind:
        case (1, 2):
            parts.labels += length_delimited(1, walk.body[got.value : got.end])
        case (3, 2):
            parts.exemplars += 1
        case (4, 2):
            parts.histograms.append(walk.histogram(got.value, got.end))


def _other_v2(walk: _Walk, got: Field, parts: _Parts) -> None:
    match got.number, got.kind:
        case (1, 2):
            parts.labels += walk.body[got.value : got.end]
        case (1, 0):
            parts.labels += encoded(got.value)
        case (3, 2):
            parts.histograms.append(walk.histogram(got.value, got.end))
        case (4, 2):
            parts.exemplars += 1
        case (5, 2):
            parts.metric_type = _family(walk.body, got.value, got.end)[1]
        case (6, 0):
            parts.created = signed(got.value)  # senders before Prometheus 3.8 (specification before 2.0-rc.4)


def _family(buf: bytes, pos: int, end: int) -> tuple[bytes, int]:
    """
    Read metadata: the family's name, which 2.0 does not repeat, and its type.
    """
    name, metric_type = b"", 0
    for got in fields(buf, pos, end):
        if (got.number, got.kind) == (1, VARINT):
            metric_type = got.value
        elif (got.number, got.kind) == (2, LEN):
            name = buf[got.value : got.end]
    return name, metric_type
