"""
Vector's native protocol becomes log records and points, exactly, event by event, with identities that survive retries.
"""

import contextlib
import hashlib
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline._proto.meterline.intake.v1.rejects_pb2 import Rejects
from meterline._proto.vector.vector_pb2 import Metric, PushEventsRequest, Value
from meterline.api import Body, Format
from meterline.encodings.events import Sent, read_body
from meterline.encodings.events import transcode as transcode_json
from meterline.encodings.protobuf import length_delimited
from meterline.encodings.vector_native import Options, transcode
from meterline.errors import TooLargeError, UndecodableError
from meterline.testing.otlp import plain

SECONDS = 1_795_346_017
NOW = SECONDS * 10**9 + 123_456_789
ID = bytes(range(16))
OPTIONS = Options(max_event_bytes=10_000, max_bytes=1_000_000)


def made(request: PushEventsRequest | bytes, tenant: str = "", options: Options = OPTIONS) -> list[Body]:
    """
    Return the bodies of a request.
    """
    return transcode(request if isinstance(request, bytes) else request.SerializeToString(), tenant, options)


def attributes(found: Any) -> dict[str, Any]:
    """
    Return attributes as plain data.
    """
    return {pair.key: plain(pair.value) for pair in found.attributes}


def logs(bodies: list[Body]) -> list[Any]:
    """
    Return all log records.
    """
    data = b"".join(body.data for body in bodies if body.fmt is Format.OTLP_LOGS)
    request = ExportLogsServiceRequest.FromString(data)
    return [log for r in request.resource_logs for s in r.scope_logs for log in s.log_records]


def metrics(bodies: list[Body]) -> list[Any]:
    """
    Return all OTLP metrics; they are transcoded ones.
    """
    assert all(body.fmt is not Format.OTLP_METRICS for body in bodies)
    data = b"".join(body.data for body in bodies if body.fmt is Format.TRANSCODED_METRICS)
    request = ExportMetricsServiceRequest.FromString(data)
    return [metric for r in request.resource_metrics for s in r.scope_metrics for metric in s.metrics]


def rejects(bodies: list[Body]) -> list[tuple[str, bytes]]:
    """
    Return reason and item of each reject.
    """
    data = b"".join(body.data for body in bodies if body.fmt is Format.REJECTS)
    return [(reject.reason, reject.item) for reject in Rejects.FromString(data).rejects]


def field(number: int, payload: bytes) -> bytes:
    """
    Return a message field by hand, as deep as one likes.
    """
    return bytes((number << 3 | 2,)) + length_delimited(1, payload)[1:]


def with_log(request: PushEventsRequest, source_event_id: bytes = ID, **fields: Any) -> Any:
    """
    Add a log event with text and integer fields and a time.
    """
    log = request.events.add().log
    for key, value in fields.items():
        if isinstance(value, int):
            log.fields[key].integer = value
        else:
            log.fields[key].raw_bytes = value.encode()
    log.fields["timestamp"].timestamp.FromNanoseconds(NOW)
    log.metadata_full.source_event_id = source_event_id
    return log


def with_metric(request: PushEventsRequest, source_event_id: bytes = ID, **keys: Any) -> Any:
    """
    Add a metric with a time and an id.
    """
    metric = request.events.add().metric
    metric.MergeFrom(Metric(name="calls", **keys))
    metric.timestamp.FromNanoseconds(NOW)
    metric.metadata_full.source_event_id = source_event_id
    return metric


# Logs


def test_a_log_is_a_record_with_its_time() -> None:
    """
    The event's fields are the body, in order; its timestamp is the time, and stays in the body as Vector's JSON has it.
    """
    request = PushEventsRequest()
    with_log(request, customer="acme", count=3)
    (record,) = logs(made(request))

    assert record.time_unix_nano == NOW
    assert plain(record.body) == {"count": 3, "customer": "acme", "timestamp": "2026-11-22T11:13:37.123456789Z"}


def test_every_kind_of_value() -> None:
    """
    Texts, bytes that are none, numbers, times, maps, lists and null arrive as what they are.
    """
    request = PushEventsRequest()
    fields = request.events.add().log.fields
    fields["text"].raw_bytes = "ü".encode()
    fields["bytes"].raw_bytes = b"\xff\x00"
    fields["int"].integer = -(2**63)
    fields["float"].float = 0.1
    fields["bool"].boolean = True
    fields["null"].null = 0
    fields["none"].CopyFrom(Value())
    fields["map"].map.fields["b"].integer = 1
    fields["map"].map.fields["a"].array.items.add().boolean = False
    fields["whole"].timestamp.seconds = 1
    fields["milli"].timestamp.nanos = 5_000_000
    fields["micro"].timestamp.nanos = 5_000
    fields["empty"].map.SetInParent()
    (record,) = logs(made(request))

    assert plain(record.body) == {
        "text": "ü",
        "bytes": b"\xff\x00",
        "int": -(2**63),
        "float": 0.1,
        "bool": True,
        "null": None,
        "none": None,
        "map": {"a": [False], "b": 1},
        "whole": "1970-01-01T00:00:01Z",
        "milli": "1970-01-01T00:00:00.005Z",
        "micro": "1970-01-01T00:00:00.000005Z",
        "empty": {},
    }


def test_an_event_that_is_no_object() -> None:
    """
    Its value is the body, and the dummy field that Vector puts beside it is nothing.
    """
    request = PushEventsRequest()
    log = request.events.add().log
    log.fields["."].null = 0
    log.value.raw_bytes = b"a line"
    (record,) = logs(made(request))

    assert plain(record.body) == "a line"


@pytest.mark.parametrize(
    ("set_time", "time"),
    [
        (lambda field: field.timestamp.FromNanoseconds(NOW), NOW),
        (lambda field: setattr(field, "raw_bytes", b"2026-11-22T11:13:37.123456789Z"), NOW),
        (lambda field: setattr(field, "raw_bytes", b"2026-11-22 12:13:37.123456789+01:00"), NOW),
        (lambda field: setattr(field, "raw_bytes", b"yesterday"), 0),
        (lambda field: setattr(field, "boolean", True), 0),
    ],
    ids=["time", "text", "text with offset", "no time", "boolean"],
)
def test_the_time_is_that_of_the_field(set_time: Callable[[Any], None], time: int) -> None:
    """
    A timestamp is a time, or a text that is one, after a parse in Vector.
    """
    request = PushEventsRequest()
    set_time(request.events.add().log.fields["timestamp"])
    (record,) = logs(made(request))

    assert record.time_unix_nano == time


@pytest.mark.parametrize("field", ["metadata", "metadata_full"])
def test_without_a_time_it_is_when_vector_took_it_in(field: str) -> None:
    """
    In Vector's own log namespace the time is in the metadata; it is an observed time.
    """
    request = PushEventsRequest()
    log = request.events.add().log
    log.fields["message"].raw_bytes = b"x"
    metadata = log.metadata if field == "metadata" else log.metadata_full.value
    metadata.map.fields["vector"].map.fields["ingest_timestamp"].timestamp.FromNanoseconds(NOW)
    (record,) = logs(made(request))

    assert (record.time_unix_nano, record.observed_time_unix_nano) == (0, NOW)


def test_without_any_time_it_may_be_when_it_was_received() -> None:
    """
    ``received_at`` is the observed time of those alone that have no other.
    """
    request = PushEventsRequest()
    request.events.add().log.fields["a"].integer = 1
    with_log(request)
    first, second = logs(made(request, options=Options(10_000, 10_000, received_at=77)))

    assert (first.time_unix_nano, first.observed_time_unix_nano) == (0, 77)
    assert (second.time_unix_nano, second.observed_time_unix_nano) == (NOW, 0)


def test_a_log_has_an_identity_of_its_own() -> None:
    """
    It comes of the source's id and the event: the same in every request, other for every other piece of one event.
    """
    alone, together = PushEventsRequest(), PushEventsRequest()
    with_log(alone, n=2)
    for n in (1, 2, 2):
        with_log(together, n=n)
    with_log(together, bytes(15) + b"\x01", n=2)

    uids = [attributes(record)["log.record.uid"] for record in logs(made(together))]
    assert len(set(uids)) == 4
    assert [attributes(record)["log.record.uid"] for record in logs(made(alone))] == [uids[1]]
    assert {attributes(record)["vector.source_event_id"] for record in logs(made(alone))} == {ID.hex()}


def test_an_event_keeps_an_id_of_its_own() -> None:
    """
    ``event.id`` or ``log.record.uid`` in the event is what the producer says, and goes before Vector's.
    """
    request = PushEventsRequest()
    with_log(request, **{"event.id": "e-1"})
    (record,) = logs(made(request))

    assert attributes(record)["log.record.uid"] == "e-1"


@pytest.mark.parametrize("source_event_id", [b"", bytes(16), b"short", bytes(17)], ids=["none", "nil", "short", "long"])
def test_without_an_id_there_is_no_identity(source_event_id: bytes) -> None:
    """
    Older versions send none; what is no UUID is none.
    """
    request = PushEventsRequest()
    with_log(request, source_event_id)
    with_metric(request, source_event_id).counter.value = 1
    bodies = made(request)

    assert attributes(logs(bodies)[0]) == {}
    assert list(metrics(bodies)[0].sum.data_points[0].exemplars) == []


def test_secrets_in_the_metadata_go_nowhere() -> None:
    """
    What stands in the metadata beside what is named here is not passed on.
    """
    request = PushEventsRequest()
    log = with_log(request)
    log.metadata_full.value.map.fields["secret"].raw_bytes = b"hunter2"
    log.metadata.map.fields["secret"].raw_bytes = b"hunter2"

    assert all(b"hunter2" not in body.data for body in made(request))


# Metrics


def test_a_counter_with_an_interval_has_a_window() -> None:
    """
    Its timestamp is the start of what it counted, and the interval its length.
    """
    request = PushEventsRequest()
    with_metric(request, namespace="app", interval_ms=10_000).counter.value = 2.5
    (metric,) = metrics(made(request))
    (point,) = metric.sum.data_points

    assert (metric.name, metric.unit, metric.sum.aggregation_temporality, metric.sum.is_monotonic) == (
        "app.calls",
        "",
        1,
        True,
    )
    assert (point.start_time_unix_nano, point.time_unix_nano, point.as_double) == (NOW, NOW + 10**10, 2.5)


def test_an_increment_without_a_window_has_an_identity() -> None:
    """
    It is a hash of the source's id and the point, so that pieces of one event are told apart, and repeats are not.
    """
    alone, together = PushEventsRequest(), PushEventsRequest()
    with_metric(alone).counter.value = 2
    for value in (1, 2, 2):
        with_metric(together).counter.value = value
    with_metric(together, tags_v1={"a": "b"}).counter.value = 2

    def ids(request: PushEventsRequest) -> list[bytes]:
        points = [metric.sum.data_points[0] for metric in metrics(made(request))]
        assert {point.start_time_unix_nano for point in points} == {0}
        return [point.exemplars[0].trace_id for point in points]

    assert len(set(ids(together))) == 4
    assert {len(found) for found in ids(together)} == {16}
    assert ids(alone) == [ids(together)[1]]


def test_an_absolute_counter_is_cumulative_without_start() -> None:
    """
    Nobody knows since when it counts.
    """
    request = PushEventsRequest()
    with_metric(request, kind=Metric.Absolute, interval_ms=10_000).counter.value = 7
    (metric,) = metrics(made(request))
    (point,) = metric.sum.data_points

    assert (metric.sum.aggregation_temporality, metric.sum.is_monotonic) == (2, True)
    assert (point.start_time_unix_nano, point.time_unix_nano, point.as_double) == (0, NOW, 7)


def test_a_negative_increment_is_not_monotonic() -> None:
    """
    As Vector's own OTLP encoder has it.
    """
    request = PushEventsRequest()
    with_metric(request).counter.value = -1

    assert metrics(made(request))[0].sum.is_monotonic is False


def test_gauges() -> None:
    """
    An absolute gauge is one; an incremental one is a delta that may be negative.
    """
    request = PushEventsRequest()
    with_metric(request, kind=Metric.Absolute).gauge.value = 1.5
    with_metric(request).gauge.value = -2
    first, second = metrics(made(request))

    assert first.gauge.data_points[0].as_double == 1.5
    assert (second.sum.aggregation_temporality, second.sum.is_monotonic) == (1, False)
    assert second.sum.data_points[0].as_double == -2


def histogram1(metric: Metric) -> None:
    """
    Fill in the oldest form.
    """
    found = metric.aggregated_histogram1
    found.buckets.extend([1.0, 2.0])
    found.counts.extend([2, 3])
    found.count, found.sum = 6, 9.5


def histogram2(metric: Metric) -> None:
    """
    Fill in the second form.
    """
    found = metric.aggregated_histogram2
    found.buckets.add(upper_limit=1.0, count=2)
    found.buckets.add(upper_limit=2.0, count=3)
    found.count, found.sum = 6, 9.5


def histogram3(metric: Metric) -> None:
    """
    Fill in the form of today.
    """
    found = metric.aggregated_histogram3
    found.buckets.add(upper_limit=1.0, count=2)
    found.buckets.add(upper_limit=2.0, count=3)
    found.buckets.add(upper_limit=math.inf, count=1)
    found.count, found.sum = 6, 9.5


@pytest.mark.parametrize("fill", [histogram1, histogram2, histogram3])
def test_histograms_of_every_version(fill: Callable[[Metric], None]) -> None:
    """
    Buckets with their upper limits, the last one written or not, are the same histogram.
    """
    request = PushEventsRequest()
    fill(with_metric(request, kind=Metric.Absolute))
    (metric,) = metrics(made(request))
    (point,) = metric.histogram.data_points

    assert metric.histogram.aggregation_temporality == 2
    assert (point.count, point.sum) == (6, 9.5)
    assert (list(point.bucket_counts), list(point.explicit_bounds)) == ([2, 3, 1], [1.0, 2.0])


def test_summaries_of_every_version() -> None:
    """
    Absolute ones are summaries; an incremental one is set aside, since OTLP has none.
    """
    request = PushEventsRequest()
    one = with_metric(request, kind=Metric.Absolute).aggregated_summary1
    one.quantiles.append(0.5)
    one.values.append(3.0)
    two = with_metric(request, kind=Metric.Absolute).aggregated_summary2
    three = with_metric(request, kind=Metric.Absolute).aggregated_summary3
    for found in (two, three):
        found.quantiles.add(quantile=0.5, value=3.0)
    for found in (one, two, three):
        found.count, found.sum = 2, 5.5
    with_metric(request).aggregated_summary3.count = 1
    bodies = made(request)

    for metric in metrics(bodies):
        (point,) = metric.summary.data_points
        assert (point.count, point.sum, point.quantile_values[0].value) == (2, 5.5, 3.0)
    assert len(metrics(bodies)) == 3
    assert [reason for reason, _ in rejects(bodies)] == ["unsupported_item"]


def test_distributions_and_sketches_have_count_and_sum() -> None:
    """
    Their samples add up exactly; how they were spread is not kept.
    """
    request = PushEventsRequest()
    one = with_metric(request).distribution1
    one.values.extend([0.1, 0.2])
    one.sample_rates.extend([1, 2])
    two = with_metric(request).distribution2
    two.samples.add(value=0.1, rate=1)
    two.samples.add(value=0.2, rate=2)
    sketch = with_metric(request).sketch.agent_dd_sketch
    sketch.count, sketch.sum = 3, 0.5

    found = [metric.histogram.data_points[0] for metric in metrics(made(request))]
    assert [(point.count, point.sum) for point in found] == [(3, 0.5)] * 3


@pytest.mark.parametrize(
    "fill",
    [
        lambda metric: metric.set.values.append("bob"),
        lambda metric: metric.sketch.SetInParent(),
        lambda _: None,
    ],
    ids=["set", "sketch without content", "no value"],
)
def test_what_no_point_can_say_is_set_aside(fill: Callable[[Metric], Any]) -> None:
    """
    Sets, and values that are not known, are rejects with their bytes; their neighbours are points.
    """
    request = PushEventsRequest()
    with_metric(request).counter.value = 1
    fill(with_metric(request))
    bodies = made(request)

    assert len(metrics(bodies)) == 1
    assert rejects(bodies) == [("unsupported_item", request.events[1].SerializeToString())]


@pytest.mark.parametrize("field", ["distribution1", "aggregated_histogram1", "aggregated_summary1"])
def test_lists_of_different_lengths_are_set_aside(field: str) -> None:
    """
    The oldest forms had two lists; when they do not fit together nobody knows what was meant.
    """
    request = PushEventsRequest()
    found = getattr(with_metric(request, kind=Metric.Absolute), field)
    (found.quantiles if field.endswith("summary1") else found.values if field[0] == "d" else found.buckets).append(1.0)

    assert [reason for reason, _ in rejects(made(request))] == ["undecodable_item"]


def test_tags_of_both_forms() -> None:
    """
    One value is a text, several are a list, a bare tag has none; the old form counts where the new one is silent.
    """
    request = PushEventsRequest()
    metric = with_metric(request, tags_v1={"old": "o", "one": "last"})
    metric.counter.value = 1
    metric.tags_v2["one"].values.add(value="1")
    metric.tags_v2["two"].values.add(value="a")
    metric.tags_v2["two"].values.add(value="b")
    metric.tags_v2["bare"].values.add()
    metric.tags_v2["resource.service.name"].values.add(value="shop")
    metric.tags_v2["scope.name"].values.add(value="lib")
    bodies = made(request, tenant="t1")
    (point,) = metrics(bodies)[0].sum.data_points

    assert attributes(point) == {"bare": None, "old": "o", "one": "1", "two": ["a", "b"]}
    (resource,) = ExportMetricsServiceRequest.FromString(bodies[0].data).resource_metrics
    assert attributes(resource.resource) == {"service.name": "shop", "tenant.id": "t1"}
    assert resource.scope_metrics[0].scope.name == "lib"


def test_a_metric_without_time_has_none() -> None:
    """
    The kernel says what becomes of it.
    """
    request = PushEventsRequest()
    request.events.add().metric.MergeFrom(Metric(name="calls"))
    request.events[0].metric.counter.value = 1

    assert metrics(made(request))[0].sum.data_points[0].time_unix_nano == 0


def test_numbers_that_are_none_reach_the_kernel() -> None:
    """
    NaN and infinities are for the kernel to set aside, with the stream they are of.
    """
    request = PushEventsRequest()
    with_metric(request).counter.value = math.nan

    assert math.isnan(metrics(made(request))[0].sum.data_points[0].as_double)


# Requests


def test_logs_and_metrics_of_one_request() -> None:
    """
    They are bodies of their own, with the tenant as a resource attribute.
    """
    request = PushEventsRequest()
    with_log(request)
    with_metric(request).counter.value = 1
    bodies = made(request, tenant="t1")

    assert {body.fmt for body in bodies} == {Format.OTLP_LOGS, Format.TRANSCODED_METRICS}
    assert all(b"tenant.id" in body.data for body in bodies)


def test_traces_are_set_aside() -> None:
    """
    A trace, and an event without content, are rejects.
    """
    request = PushEventsRequest()
    request.events.add().trace.SetInParent()
    request.events.add()
    with_log(request)

    assert [reason for reason, _ in rejects(made(request))] == ["unsupported_item"] * 2
    assert len(logs(made(request))) == 1


@pytest.mark.parametrize(
    "bad",
    [b"\x0a\x05\x0a\x03\x0a\x01", b"\x0a\x02\xff\xff", b"\x12\x03\x0a\x01\xff", b"\x0a\x02\x12\x80"],
    ids=["cut off", "no tag", "no utf-8", "length"],
)
def test_a_broken_event_costs_no_other(bad: bytes) -> None:
    """
    It is a reject with its bytes.
    """
    good = PushEventsRequest()
    with_log(good)
    data = good.SerializeToString()
    bodies = made(data + b"\x0a" + bytes((len(bad),)) + bad + data)

    assert len(logs(bodies)) == 2
    assert rejects(bodies) == [("undecodable_item", bad)]


def test_deep_and_large_events_cost_no_other() -> None:
    """
    An event nested beyond what protobuf reads, and one over ``max_event_bytes``, are rejects.
    """
    request = PushEventsRequest()
    with_log(request)
    value = Value(integer=1).SerializeToString()
    for _ in range(60):
        value = field(8, field(1, value))  # a Value of a ValueArray of one
    deep = field(1, field(1, field(1, field(1, b"deep") + field(2, value))))
    large = PushEventsRequest()
    with_log(large, message="x" * 10_000)
    bodies = made(deep + large.SerializeToString() + request.SerializeToString())

    assert len(logs(bodies)) == 1
    assert [reason for reason, _ in rejects(bodies)] == ["undecodable_item", "value_too_long"]


@pytest.mark.parametrize("time", [(-1, 0), (2**40, 0), (1, -1), (1, 10**9)], ids=repr)
def test_impossible_times_are_set_aside(time: tuple[int, int]) -> None:
    """
    A metric's time that no point can have, or a nanosecond beyond its second, is a reject, never a wrong time.
    """
    request = PushEventsRequest()
    metric = with_metric(request)
    metric.counter.value = 1
    metric.timestamp.seconds, metric.timestamp.nanos = time

    assert [reason for reason, _ in rejects(made(request))] == ["undecodable_item"]


def test_a_time_that_no_calendar_has_is_set_aside() -> None:
    """
    A log's time of the year 30,000 is a reject.
    """
    request = PushEventsRequest()
    request.events.add().log.fields["timestamp"].timestamp.seconds = 2**40

    assert [reason for reason, _ in rejects(made(request))] == ["undecodable_item"]


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05a", b"\xff\xff\xff", b"\x0b", b"\x00\x00"])
def test_what_is_no_request_is_undecodable(data: bytes) -> None:
    """
    Broken structure around the events refuses the request.
    """
    with pytest.raises(UndecodableError):
        made(data)


def test_unknown_fields_of_a_request_are_skipped() -> None:
    """
    What a later version of Vector adds is nothing to us.
    """
    request = PushEventsRequest()
    with_log(request)

    assert len(logs(made(b"\x12\x01x" + request.SerializeToString() + b"\x18\x05"))) == 1


def test_an_empty_request_is_nothing() -> None:
    """
    There is nothing to store.
    """
    assert made(b"") == []


def test_what_grows_without_measure_is_refused() -> None:
    """
    Tiny events cannot make bodies many times as large as themselves.
    """
    with pytest.raises(TooLargeError):
        made(b"\x0a\x00" * 10_000, options=Options(1000, 60_000))


def test_the_same_request_makes_the_same_bodies_whatever_the_order_of_its_maps() -> None:
    """
    A resend may write its maps in another order; the bodies are the same.
    """
    one, other = PushEventsRequest(), PushEventsRequest()
    for request, names in ((one, "abcdef"), (other, "fedcba")):
        with_log(request, **dict.fromkeys(names, 1))
        with_metric(request, tags_v1=dict.fromkeys(names, "v")).counter.value = 1

    assert made(one) == made(other)


def test_json_of_the_same_event_makes_the_same_record() -> None:
    """
    A rule that fits Vector's ``http`` sink fits this protocol: body, time and attributes are equal, but for the ids.
    """
    request = PushEventsRequest()
    log = with_log(request, customer="acme", count=3)
    log.metadata_full.ClearField("source_event_id")
    document = b'{"count":3,"customer":"acme","timestamp":"2026-11-22T11:13:37.123456789Z"}'
    from_json = transcode_json(read_body(document), "vector", sent=Sent())

    assert logs(made(request)) == logs(from_json)


def test_the_bytes_of_a_known_event_are_fixed() -> None:
    """
    The body of this event never changes: identities and digests in ledgers depend on it.
    """
    request = PushEventsRequest()
    with_log(request, customer="acme")
    with_metric(request, namespace="app", tags_v1={"customer": "acme"}).counter.value = 1
    digest = hashlib.sha256(b"".join(body.data for body in made(request))).hexdigest()

    assert digest == "38ce50c400287dc07721e8d2a69b3cb2e101b580b6e004d8cc88483218cc2994"


@given(st.binary(max_size=300))
def test_any_bytes_are_bodies_or_refused(data: bytes) -> None:
    """
    Whatever comes is made into bodies, or refused with an error that says so.
    """
    with contextlib.suppress(UndecodableError, TooLargeError):
        made(data)


@given(st.data())
def test_mutated_requests_are_bodies_or_refused(data: st.DataObject) -> None:
    """
    A request with some bytes changed is made into bodies, or refused.
    """
    request = PushEventsRequest()
    with_log(request, customer="acme", count=3)
    with_metric(request, interval_ms=5).counter.value = 1
    histogram3(with_metric(request))
    changed = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UndecodableError, TooLargeError):
        made(bytes(changed))
