"""
Vector's metrics put together are to the kernel what they are one by one: the same records, ids, entries and answers.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterline._proto.vector.vector_pb2 import Metric, PushEventsRequest
from meterline.api import Body, Format
from meterline.encodings.events import Sent, read_body
from meterline.encodings.events import transcode as transcode_json
from meterline.encodings.events.items import NOWHERE, Collector, Origin, Point
from meterline.generations import Generation
from meterline.kernel import load_kernel
from meterline.rules.model import RuleConfig
from meterline.rules.ruleset import RuleSet
from meterline.testing.kernel import SECOND, KernelHarness
from meterline.testing.otlp import Metrics
from meterline.testing.otlp import Point as OtlpPoint
from meterline.testing.transcoded import Transcoded
from meterline.testing.vector_events import made

BASE = 990
RULES = (
    {"name": "sums", "match": {"metric": "*", "type": "sum"}, "value": "delta", "allow_negative": True},
    {"name": "gauges", "match": {"metric": "*", "type": "gauge"}},
    {"name": "counts", "match": {"metric": "*", "type": ["histogram", "summary"]}, "value": "count"},
)
COMMON = {"customer": 'attributes["customer"]', "dimension": "${metric.name}"}
BOUND: Any = RuleSet.compile([RuleConfig.model_validate({**COMMON, **rule}) for rule in RULES], Path()).bind(
    Generation(1, dict.fromkeys(("sums", "gauges", "counts"), 0), dict.fromkeys(("sums", "gauges", "counts"), 0))
)
VALUES = {
    "counter": lambda n: {"value": n},
    "gauge": lambda n: {"value": n},
    "distribution": lambda n: {"samples": [{"value": n, "rate": 2}], "statistic": "histogram"},
    "aggregated_histogram": lambda n: {"buckets": [], "count": abs(int(n)), "sum": n},
    "aggregated_summary": lambda n: {"quantiles": [], "count": abs(int(n)), "sum": n},
    "set": lambda n: {"values": [str(n)]},
}
PLACES: list[dict[str, str]] = [{}, {}, {"resource.a": "x", "resource.b": "y"}, {"scope.name": "x"}]
CUSTOMERS: list[dict[str, str]] = [{"customer": "acme"}, {"customer": "acme"}, {"customer": "bob"}, {}]
FORMS = {
    "distribution": "distribution2",
    "aggregated_histogram": "aggregated_histogram3",
    "aggregated_summary": "aggregated_summary3",
}


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Any]:
    """A metric event of few streams, times, values and ids, so that they meet."""
    form = draw(st.sampled_from(["counter"] * 6 + [*VALUES]))
    tags = draw(st.sampled_from(PLACES)) | draw(st.sampled_from(CUSTOMERS))
    return {
        "name": draw(st.sampled_from("mmn")),
        "tags": dict(draw(st.permutations(sorted(tags.items())))),
        "kind": draw(st.sampled_from(["incremental", "absolute"])),
        "interval_ms": draw(st.sampled_from([0, 0, 1000, 3000])),
        "time": draw(st.sampled_from([0, *range(BASE, BASE + 6)])),
        form: VALUES[form](draw(st.sampled_from([1.0, 2.0, 2.0, 3.5, 7.0, -1.0, 0.0]))),
        "id": draw(st.sampled_from([b"", bytes(15) + b"\1", bytes(15) + b"\2"])),
    }


def native(events: Sequence[dict[str, Any]]) -> list[Body]:
    """The bodies of a request over gRPC."""
    request = PushEventsRequest()
    for event in events:
        metric = request.events.add().metric
        form = next(form for form in VALUES if form in event)
        value = {key: each for key, each in event[form].items() if key != "statistic"}
        metric.MergeFrom(Metric(name=event["name"], tags_v1=event["tags"], **{FORMS.get(form, form): value}))
        metric.kind = Metric.Absolute if event["kind"] == "absolute" else Metric.Incremental
        metric.interval_ms = event["interval_ms"]
        metric.timestamp.seconds = event["time"]
        metric.metadata_full.source_event_id = event["id"]
    return made(request, tenant="t")


def over_http(events: Sequence[dict[str, Any]]) -> list[Body]:
    """The bodies of a request of the ``http`` sink, whose tags keep the order in which they are."""
    times = {0: "", **{BASE + n: f"1970-01-01T00:16:{30 + n}Z" for n in range(6)}}
    written = [
        {key: value for key, value in event.items() if key not in {"time", "id"}} | {"timestamp": times[event["time"]]}
        for event in events
    ]
    return transcode_json(read_body(json.dumps(written).encode()), "vector", sent=Sent("t"))


@contextmanager
def one_by_one() -> Iterator[None]:
    """Put nothing together: each point has a resource and a Metric of its own, in the order in which they came."""

    def lonely(self: Any, name: str, point: Point, origin: Origin = NOWHERE) -> None:
        place = len(self._origins).to_bytes(4, "big")
        self._origins[place] = (origin.within(self._tenant), {(name, point.family): [point.data]})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collector, "point", lonely)
        yield


def harness() -> KernelHarness:
    """A kernel under real rules, with a ledger of dictionaries."""
    kernel = KernelHarness(load_kernel("python"))
    kernel.rules = BOUND
    return kernel


def said(requests: Sequence[Sequence[Body]]) -> tuple[Any, ...]:
    """All that a kernel says of requests: what became of each, records, entries, events and totals."""
    kernel = harness()
    answers = []
    for bodies in requests:
        kernel.received_at += SECOND
        applied = [kernel.send(body.data, body.fmt) for body in bodies]
        answers.append([(a.points, a.recorded, a.quarantined, a.duplicate, a.no_usage, a.answered) for a in applied])
    kernel.commit(flush=True)
    records = sorted(repr(record) for record in kernel.records())
    entries = sorted(repr(entry) for entry in kernel.quarantine)
    events = sorted(repr(event) for event in kernel.events)
    return answers, records, entries, events, sorted(kernel.open_raw), sorted(kernel.totals.items())


def time_of(event: dict[str, Any]) -> int:
    """The end of what an event counted."""
    length = event["interval_ms"] // 1000 if event["kind"] == "incremental" and event["time"] else 0
    return int(event["time"] + length)


def as_a_set(events: Sequence[dict[str, Any]]) -> list[str]:
    """What is equal for requests whose bytes may be equal when points are put together."""
    return sorted(map(repr, events))


@pytest.mark.parametrize("wire", [native, over_http])
@settings(max_examples=60)
@given(
    st.lists(st.lists(metrics(), min_size=1, max_size=9), min_size=1, max_size=3, unique_by=lambda r: str(as_a_set(r)))
)
def test_the_kernel_makes_the_same_of_them(
    wire: Callable[[Sequence[dict[str, Any]]], list[Body]], requests: list[list[dict[str, Any]]]
) -> None:
    """
    Whatever meets in a request, and is sent again alone: kinds, windows, ids, repeats, resources, one name for all.

    Together the points of a stream are stepped by time (otlp.md C7.3), so one by one they come in that order.
    """
    sent = [*requests, *([event] for event in requests[0]), requests[0]]
    together = [wire(events) for events in sent]
    with one_by_one():
        apart = [wire(sorted(events, key=time_of)) for events in sent]

    assert said(together) == said(apart)


def test_equal_kinds_are_one_metric() -> None:
    """One Metric for each resource, name, type, temporality and monotonicity, whatever comes in between."""
    plain = {"name": "m", "tags": {"customer": "acme"}, "kind": "absolute", "interval_ms": 0, "time": BASE, "id": b""}
    there = {**plain, "tags": {"customer": "acme", "resource.a": "x"}}
    forms: list[dict[str, Any]] = [
        {**plain, "counter": {"value": 1.0}},
        {**there, "counter": {"value": 1.0}},
        {**plain, "gauge": {"value": 1.0}},
        {**plain, "name": "n", "counter": {"value": 1.0}},
        {**plain, "kind": "incremental", "counter": {"value": 1.0}},
        {**plain, "kind": "incremental", "counter": {"value": -1.0}},
        {**plain, "kind": "incremental", "gauge": {"value": 1.0}},
    ]
    for wire in (native, over_http):
        found = Transcoded(wire(forms * 3))

        assert [(m.name, m.WhichOneof("data")) for m in found.whole] == [
            ("m", "sum"),
            ("m", "gauge"),
            ("n", "sum"),
            ("m", "sum"),
            ("m", "sum"),
            ("m", "sum"),
        ]
        assert len(found.metrics) == 21
        assert found.resources[-3:] == [{"a": "x", "tenant.id": "t"}] * 3


READINGS = st.lists(st.tuples(st.integers(990, 996), st.integers(0, 9)), min_size=1, max_size=9)


@settings(max_examples=60)
@given(st.lists(READINGS, min_size=1, max_size=3), st.sampled_from(["counter", "gauge", "unknown"]), st.integers(0, 2))
def test_what_is_told_of_a_metric_holds_for_all_its_points(
    requests: list[list[tuple[int, int]]], hint: str, term: int
) -> None:
    """Types and terms are those of each point, be the points of a series in one Metric or in as many as there are."""
    metadata = {"prometheus.type": hint, **({"meterline.term": term} if term else {})}
    together, apart = [], []
    for readings in requests:
        points = [OtlpPoint(0, *reading, attributes={"customer": "acme"}) for reading in sorted(readings)]
        one, many = Metrics().sum(points, metadata=metadata), Metrics()
        for point in points:
            many.sum([point], metadata=metadata)
        together.append([Body(Format.TRANSCODED_METRICS, bytes(one))])
        apart.append([Body(Format.TRANSCODED_METRICS, bytes(many))])

    assert said(together) == said(apart)
