"""
Reading Prometheus remote write requests, versions 1.0 and 2.0 (prometheus.WriteRequest, io.prometheus.write.v2.Request).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from meterline.encodings.prometheus_samples import Histogram, Moment, Sample, Walk, moment_of
from meterline.encodings.prometheus_series import MAX_LABELS, TOO_MANY, Fault, Key, Series, SeriesReader, faulty
from meterline.errors import UndecodableError
from meterline.protobuf.read import LEN, VARINT, Field, broken, fields, signed, varint, varints
from meterline.protobuf.write import length_delimited
from meterline.protobuf.write import varint as encoded

_MAX_REFS: Final = 10 * MAX_LABELS  # bytes


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


class _Parts:
    """
    The fields of one TimeSeries, as far as they have been read. ``metric_type``, ``created``: of 2.0.
    """

    __slots__ = ("created", "exemplars", "histograms", "labels", "metric_type", "samples")

    def __init__(self, labels: bytes) -> None:
        self.labels = [labels]
        self.samples: list[Sample] = []
        self.histograms: list[Histogram] = []
        self.exemplars = self.metric_type = self.created = 0

    def all_labels(self) -> bytes:
        return self.labels[0] if len(self.labels) == 1 else b"".join(self.labels)


_Labels: TypeAlias = Callable[[bytes, int, int], tuple[bytes, int]]
_Other: TypeAlias = Callable[[Walk, Field, _Parts], None]


def read_v1(body: bytes, reader: SeriesReader) -> WriteRequest:
    """
    Read a prometheus.WriteRequest.

    :raises UndecodableError: broken wire structure, or the fields of another version.
    :raises TooLargeError: too many parts.
    """
    walk, request = Walk(body), WriteRequest()
    for number, kind, at, to, _ in fields(body):
        walk.take()
        if (number, kind) == (1, LEN):
            parts = _parts(walk, at, to, _labels_v1, _other_v1)
            request.exemplars += parts.exemplars
            key = parts.all_labels()
            request.entries.append(Entry(reader.series(key), key, parts.samples, parts.histograms))
        elif (number, kind) == (3, LEN):
            request.families.append(walk.family(at, to))
        elif number in {4, 5}:
            raise UndecodableError(
                "decoding prometheus.WriteRequest: it is a 2.0 request; its Content-Type must say so"
            )
    return request


def read_v2(body: bytes, reader: SeriesReader) -> WriteRequest:
    """
    Read an io.prometheus.write.v2.Request.

    :raises UndecodableError: broken wire structure, or the fields of another version.
    :raises TooLargeError: too many parts.
    """
    walk, request = Walk(body), WriteRequest()
    symbols: list[bytes] = []
    found: list[_Parts] = []
    for number, kind, at, to, _ in fields(body):
        walk.take()
        if (number, kind) == (4, LEN):
            symbols.append(body[at:to])
        elif (number, kind) == (5, LEN):
            found.append(_parts(walk, at, to, _labels_v2, _other_v2))
        elif number < 4:
            raise UndecodableError(
                "decoding io.prometheus.write.v2.Request: it is a 1.0 request, as Content-Type must say"
            )
    for parts in found:
        request.exemplars += parts.exemplars
        request.entries.append(_entry_v2(parts, symbols, reader))
    return request


def _entry_v2(parts: _Parts, symbols: Sequence[bytes], reader: SeriesReader) -> Entry:
    samples, histograms = parts.samples, parts.histograms
    if parts.created:
        samples = [sample._replace(moment=_since(sample.moment, parts.created)) for sample in samples]
        histograms = [item._replace(moment=_since(item.moment, parts.created)) for item in histograms]
    key = _key_v2(parts, symbols)
    if isinstance(key, Fault):
        return Entry(faulty(key), (), samples, histograms)
    return Entry(reader.series(key), key, samples, histograms)


def _key_v2(parts: _Parts, symbols: Sequence[bytes]) -> Key | Fault:
    refs = parts.all_labels()
    if len(refs) > _MAX_REFS:
        return TOO_MANY
    try:
        texts = [symbols[ref] for ref in varints(refs)]
    except IndexError:
        texts = [b""]
    if len(texts) % 2:
        return Fault("undecodable_item", "reading labels: their references are odd in number, or beyond the symbols")
    return (*texts, parts.metric_type)


def _since(moment: Moment, created: int) -> Moment:
    return moment if moment.start else moment_of(moment.ms, created)


def _parts(walk: Walk, pos: int, end: int, labels: _Labels, other: _Other) -> _Parts:
    """
    Read a TimeSeries: labels and samples where they stand as every sender writes them, and else field by field.
    """
    front, pos = labels(walk.body, pos, end)
    parts = _Parts(front)
    pos = walk.samples(pos, end, parts.samples)
    if pos < end:
        for got in fields(walk.body, pos, end):
            walk.take()
            if got[:2] == (2, LEN):
                parts.samples.append(walk.sample(got[2], got[3]))
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
    """
    Return the references at the front, and where they end.
    """
    if pos == end or buf[pos] != 0x0A:
        return b"", pos
    size, pos = varint(buf, pos + 1, end)
    if pos + size > end:
        raise broken("labels_refs past the end", pos)
    return buf[pos : pos + size], pos + size


def _other_v1(walk: Walk, got: Field, parts: _Parts) -> None:
    number, kind, at, to, _ = got
    if (number, kind) == (1, LEN):
        parts.labels.append(length_delimited(1, walk.body[at:to]))
    elif (number, kind) == (3, LEN):
        parts.exemplars += 1
    elif (number, kind) == (4, LEN):
        parts.histograms.append(walk.histogram(at, to))


def _other_v2(walk: Walk, got: Field, parts: _Parts) -> None:
    number, kind, at, to, _ = got
    if (number, kind) == (5, LEN):
        parts.metric_type = walk.family(at, to)[1]
    elif (number, kind) == (1, LEN):
        parts.labels.append(walk.body[at:to])
    elif (number, kind) == (1, VARINT):
        parts.labels.append(encoded(at))
    elif (number, kind) == (3, LEN):
        parts.histograms.append(walk.histogram(at, to))
    elif (number, kind) == (4, LEN):
        parts.exemplars += 1
    elif (number, kind) == (6, VARINT):
        parts.created = signed(at)  # senders before Prometheus 3.8 (the specification before 2.0-rc.4)
