"""
Prometheus remote write as transcoded metrics: each series a cumulative monotonic sum by its labels (docs/transcoding.md).

A start timestamp becomes a reading of 0 a nanosecond after it. So a counter that is new, or began again, counts from 0; and
a series whose samples sometimes have one and sometimes not is one stream of readings all the same.
"""

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from meterline.api import Body, Format
from meterline.encodings.otlp import CUMULATIVE, key_values, resource
from meterline.encodings.prometheus_read import Entry, WriteRequest
from meterline.encodings.prometheus_samples import STALE, ZERO, Histogram, Moment, Sample
from meterline.encodings.prometheus_series import Fault, Series, Shape, pairs_of
from meterline.encodings.prometheus_types import GAUGE_HISTOGRAM, HISTOGRAM, Kind
from meterline.encodings.rejects import Reject, rejects
from meterline.errors import TooLargeError
from meterline.protobuf.write import length_delimited, number, text

MAX_BYTES: Final = 128 * 1024 * 1024
OLDEST_START_MS: Final = 400 * 86_400_000
"""A series that began longer before its sample than this is not new: its start is not looked at."""

MAX_AHEAD_MS: Final = 3_600_000
"""A sample that begins to count at most so much later than it was taken says nothing yet: the clock of the target is ahead."""

_NO_VALUE: Final = b"\x40\x01"  # flags: no recorded value
_SUM: Final = number(2, CUMULATIVE) + number(3, 1)
_NO_COUNT: Final = Fault("undecodable_item", "reading histogram: it has no count")
_BEFORE: Final = Fault("time_in_past", "reading sample: its time is before 1970")
_AFTER: Final = Fault("time_in_future", "reading sample: its time is after 2554")
_POINT_BYTES: Final = 64  # what is made of a sample beside its attributes


class Verdict(NamedTuple):
    """
    How a series is taken. ``term``: which writer of a pair this is; 0: it is not one of a pair.
    """

    kind: Kind
    term: int = 0


Choose = Callable[[Shape], Verdict | None]
"""How to take series of a shape; None: not at all, since they are the copy of what another replica sends."""


@dataclass(slots=True)
class Transcoded:
    """
    ``samples``, ``histograms``: how many were in the request, ``dropped`` ones and rejects among them.
    """

    bodies: list[Body] = field(default_factory=list)
    samples: int = 0
    histograms: int = 0
    dropped: int = 0


def transcode(request: WriteRequest, tenant: str, choose: Choose, limit: int = MAX_BYTES) -> Transcoded:
    """
    Return the bodies of a request; the same for the same request and the same choices.

    :raises TooLargeError: they would have more than about ``limit`` bytes, since each point repeats its series' labels.
    """
    work = _Work(choose, limit)
    for entry in request.entries:
        work.add(entry)
    made = Transcoded(dropped=work.dropped)
    made.samples = sum(len(entry.samples) for entry in request.entries)
    made.histograms = sum(len(entry.histograms) for entry in request.entries)
    metrics = list(work.metrics())
    if metrics:
        data = resource(metrics, {"tenant.id": tenant} if tenant else {})
        made.bodies.append(Body(Format.TRANSCODED_METRICS, data))
    made.bodies += rejects(work.rejects)
    return made


class _Group:
    """
    The points of one metric, piece by piece.
    """

    __slots__ = ("counts", "pieces")

    def __init__(self, kind: Kind) -> None:
        self.counts = kind != "gauge"
        self.pieces: list[bytes] = []

    def add(self, series: Series, sample: Sample) -> None:
        """
        Append a sample whose moment has a head.
        """
        value, moment = sample
        if value == STALE or (moment.start and self.counts and not self._begun(series, moment)):
            self._point(series, moment.head[:-1] + _NO_VALUE)
        else:
            self.pieces += (series.head, moment.head, value, series.attributes)

    def _begun(self, series: Series, moment: Moment) -> bool:
        """
        Append the reading of 0 at a start: a nanosecond later, where no sample stands that was taken at that instant.

        Return False for a sample before its start: taken as a reading, it would be billed again in the next one's total.
        """
        start, ms = moment.start, moment.ms
        if max(0, ms - OLDEST_START_MS) < start < ms:
            self._point(series, b"\x19" + struct.pack("<Q", start * 1_000_000 + 1) + b"\x21" + ZERO)
        return not ms < start <= ms + MAX_AHEAD_MS

    def observe(self, series: Series, observed: Histogram, value: bytes) -> None:
        """
        Append the count or the sum of a histogram; of a stale one, whose sum says so, the end of both.
        """
        moment, stale = observed.moment, observed.total[1:] == STALE
        if stale or (moment.start and self.counts and not self._begun(series, moment)):
            value = _NO_VALUE
        self._point(series, moment.head[:-1] + value)

    def _point(self, series: Series, front: bytes) -> None:
        self.pieces.append(length_delimited(1, front + series.attributes))


class _Work:
    """
    One request being transcoded.
    """

    def __init__(self, choose: Choose, limit: int) -> None:
        self._choose = choose
        self._room = limit
        self._groups: dict[tuple[str, Verdict], _Group] = {}
        self._chosen: dict[Shape, _Group | None] = {}
        self.rejects: list[Reject] = []
        self.dropped = 0

    def add(self, entry: Entry) -> None:
        """
        Take one TimeSeries.
        """
        series, samples = entry.series, entry.samples
        if series.fault is not None:
            self._reject(entry, series.fault, [*samples, *entry.histograms])
            return
        self._take((len(samples) + 2 * len(entry.histograms)) * 2 * (len(series.attributes) + _POINT_BYTES))
        group = self._group(series.shape) if samples else None
        if group is None:
            self.dropped += len(samples)
        else:
            for sample in samples:
                if sample.moment.head:
                    group.add(series, sample)
                else:
                    self._reject(entry, _bad_time(sample.moment.ms), [sample])
        for histogram in entry.histograms:
            self._observe(entry, histogram)

    def _observe(self, entry: Entry, histogram: Histogram) -> None:
        """
        Take a native histogram as the two series of a classic one that can be billed, ``_count`` and ``_sum``.
        """
        fault = _fault(histogram)
        if fault is not None:
            self._reject(entry, fault, [histogram])
            return
        shape = entry.series.shape._replace(metric_type=GAUGE_HISTOGRAM if histogram.gauge else HISTOGRAM)
        for suffix, value in (("_count", histogram.observed), ("_sum", histogram.total)):
            group = self._group(shape._replace(name=shape.name + suffix))
            if group is not None:
                group.observe(entry.series, histogram, value)
            elif suffix == "_count":
                self.dropped += 1

    def _reject(self, entry: Entry, fault: Fault, items: Sequence[Sample | Histogram]) -> None:
        if items:
            reject = _rejected(entry, fault, items)
            self._take(len(reject.item))
            self.rejects.append(reject)

    def _take(self, nbytes: int) -> None:
        self._room -= nbytes
        if self._room < 0:
            raise TooLargeError(
                "decoding write request: its labels are too large for so many samples; send fewer at once"
            )

    def _group(self, shape: Shape) -> _Group | None:
        try:
            return self._chosen[shape]
        except KeyError:
            verdict = self._choose(shape)
        group = None
        if verdict is not None:
            group = self._groups.setdefault((shape.name, verdict), _Group(verdict.kind))
        self._chosen[shape] = group
        return group

    def metrics(self) -> Iterator[bytes]:
        """
        Yield the Metric messages.
        """
        for (name, verdict), group in self._groups.items():
            if group.pieces:
                said = {"prometheus.type": verdict.kind, **({"meterline.term": verdict.term} if verdict.term else {})}
                data = length_delimited(7, b"".join(group.pieces) + _SUM)
                yield text(1, name) + data + key_values(12, said)


def _fault(histogram: Histogram) -> Fault | None:
    """
    Say what is wrong with a histogram. A stale one needs no count.
    """
    if not histogram.observed and histogram.total[1:] != STALE:
        return _NO_COUNT
    return None if histogram.moment.head else _bad_time(histogram.moment.ms)


def _bad_time(ms: int) -> Fault:
    return _AFTER if ms > 0 else _BEFORE


def _rejected(entry: Entry, fault: Fault, items: Iterable[Sample | Histogram]) -> Reject:
    """
    Return what of a TimeSeries cannot be points as one reject, readable by people.
    """
    labels = [[part.decode(errors="backslashreplace") for part in pair] for pair in pairs_of(entry.key)]
    document = {"labels": labels, "samples": [_written(item) for item in items]}
    return Reject(fault.reason, fault.detail, json.dumps(document, ensure_ascii=False).encode())


def _written(item: Sample | Histogram) -> dict[str, Any]:
    if isinstance(item, Sample):
        return {"timestamp": item.moment.ms, "value": _double(item.value)}
    count = item.observed[1:]
    read = _double(count) if item.observed[:1] == b"\x21" else str(int.from_bytes(count, "little"))
    return {"timestamp": item.moment.ms, "count": read if count else "", "sum": _double(item.total[1:])}


def _double(value: bytes) -> str:
    return repr(struct.unpack("<d", value)[0])
