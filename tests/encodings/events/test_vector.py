"""
Vector's events as its JSON codec writes them: log events, and metric events of every kind.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meterline.encodings.events import EventOptions, read_body, transcode
from meterline.testing.agent_bodies import iso, vector_logs, vector_metrics

NOW = 1_795_345_200_123_456_789
MS = 10**6
Reader = Callable[[Any], Any]


def sent(*documents: Any) -> Any:
    """
    Transcode documents that went through JSON.
    """
    body = json.dumps(documents).encode()
    return transcode(read_body(body, "application/json"), "vector")


def metric(**fields: Any) -> dict[str, Any]:
    """
    Return a metric event.
    """
    return {"name": "m", "timestamp": "2026-11-22T11:00:00.000000011Z", "kind": "incremental", **fields}


def test_log_events_are_read_whole(read: Reader) -> None:
    """The golden array gives a record per event: all fields in the body, numbers exact, the time to the nanosecond."""
    golden = vector_logs(NOW)

    found = read(transcode(read_body(golden.body, golden.headers["content-type"]), "vector"))

    assert found.times == [NOW, NOW + 1, NOW + 2]
    assert [body["quantity"] for body in found.bodies] == [5, 0.25, 10.0]
    assert found.bodies[0] == {
        "call": "c1",
        "customer": "acme",
        "file": "/var/log/usage.jsonl",
        "host": "web-1",
        "message": "call",
        "quantity": 5,
        "source_type": "file",
        "timestamp": iso(NOW, 9),
    }


def test_metric_events_of_every_kind(read: Reader) -> None:
    """The golden NDJSON gives a metric per event under its full name; a set, which has no sum, is the one reject."""
    golden = vector_metrics(NOW // MS * MS)

    found = read(transcode(read_body(golden.body, golden.headers["content-type"]), "vector"))

    kinds = [(m.name, m.WhichOneof("data")) for m in found.metrics]
    assert kinds == [
        ("app.api_calls", "sum"),
        ("app.api_calls", "sum"),
        ("app.api_calls", "sum"),
        ("app.uptime", "sum"),
        ("app.load", "sum"),
        ("app.sizes", "histogram"),
        ("app.times", "histogram"),
        ("app.rtt", "summary"),
        ("app.sketched", "histogram"),
        ("app.load", "gauge"),
    ]
    assert found.reasons == ["unsupported_item"]
    assert json.loads(found.rejects[0].item)["set"] == {"values": ["alice", "bob"]}


def test_an_incremental_counter_covers_its_interval(read: Reader) -> None:
    """Vector's timestamp is the start of what was counted: the window is (timestamp, timestamp + interval]."""
    found = read(sent(metric(interval_ms=10_000, counter={"value": 100.0})))

    (one,) = found.metrics
    (point,) = one.sum.data_points
    assert (one.sum.aggregation_temporality, one.sum.is_monotonic, one.unit, one.description) == (1, True, "", "")
    assert point.start_time_unix_nano == 1_795_345_200_000_000_011
    assert point.time_unix_nano == 1_795_345_210_000_000_011
    assert point.as_double == 100.0


def test_without_interval_a_delta_has_no_start(read: Reader) -> None:
    """Nothing says what an increment without interval covers, so its start is unset."""
    (one,) = read(sent(metric(counter={"value": 1.0}))).metrics

    assert one.sum.data_points[0].start_time_unix_nano == 0
    assert one.sum.data_points[0].time_unix_nano == 1_795_345_200_000_000_011


def test_an_absolute_counter_is_cumulative_without_start(read: Reader) -> None:
    """Resets of an absolute counter show in its values alone, interval or not."""
    (one,) = read(sent(metric(kind="absolute", interval_ms=10_000, counter={"value": 7.0}))).metrics

    assert (one.sum.aggregation_temporality, one.sum.is_monotonic) == (2, True)
    assert one.sum.data_points[0].start_time_unix_nano == 0
    assert one.sum.data_points[0].time_unix_nano == 1_795_345_200_000_000_011


def test_native_json_says_what_an_event_is(read: Reader) -> None:
    """The codec ``native_json`` puts each event into ``log`` or ``metric``."""
    found = read(sent({"metric": metric(counter={"value": 1.0})}, {"log": {"timestamp": iso(NOW, 9), "n": 1}}))

    assert (len(found.metrics), found.times, found.bodies[0]["n"]) == (1, [NOW], 1)


def test_events_within_a_payload(read: Reader) -> None:
    """``payload_prefix`` and ``payload_suffix`` wrap the array; ``events_field`` says where it is."""
    body = b'{"data":[' + vector_logs(NOW).body[1:-1] + b"]}"

    found = read(transcode(read_body(body), "vector", EventOptions(events_field="data")))

    assert found.times == [NOW, NOW + 1, NOW + 2]


def test_a_negative_increment_is_not_monotonic(read: Reader) -> None:
    """A rule must allow negative quantities, and it can, since the sum says that it may shrink."""
    (one,) = read(sent(metric(counter={"value": -1.0}))).metrics

    assert not one.sum.is_monotonic


@pytest.mark.parametrize(("written", "shown"), [("NaN", "nan"), ("inf", "inf"), ("-inf", "-inf")])
def test_constants_are_strings(read: Reader, written: str, shown: str) -> None:
    """NaN and infinities, which Vector writes as text, reach the kernel, which quarantines the point."""
    (one,) = read(sent(metric(kind="absolute", gauge={"value": written}))).metrics

    assert repr(one.gauge.data_points[0].as_double) == shown


def test_an_incremental_gauge_is_a_signed_delta(read: Reader) -> None:
    """As in Vector's OTLP encoder: a non-monotonic delta sum."""
    (one,) = read(sent(metric(gauge={"value": -2.5}))).metrics

    assert (one.sum.aggregation_temporality, one.sum.is_monotonic) == (1, False)
    assert one.sum.data_points[0].as_double == -2.5


@pytest.mark.parametrize(
    ("buckets", "bounds", "counts"),
    [
        ([{"upper_limit": 1.0, "count": 2}, {"upper_limit": "inf", "count": 1}], [1.0], [2, 1]),
        ([{"upper_limit": 1.0, "count": 2}, {"upper_limit": 2, "count": 1}], [1.0, 2.0], [2, 1, 0]),
        ([{"upper_limit": 1.0, "count": 1}], [1.0], [1, 2]),
        ([], [], [3]),
        ([{"upper_limit": 1.0, "count": 5}], [1.0], [5, 0]),
    ],
)
def test_buckets_are_not_cumulative(read: Reader, buckets: Any, bounds: Any, counts: Any) -> None:
    """Each bucket has its own count; a last one that is left out takes the rest, if there is one."""
    (one,) = read(sent(metric(aggregated_histogram={"buckets": buckets, "count": 3, "sum": 4.0}))).metrics

    (point,) = one.histogram.data_points
    assert (list(point.explicit_bounds), list(point.bucket_counts)) == (bounds, counts)
    assert (point.count, point.sum, one.histogram.aggregation_temporality) == (3, 4.0, 1)


def test_a_distribution_is_count_and_exact_sum(read: Reader) -> None:
    """Samples are added as decimals: ten times 0.1 is 1; a sum that no double holds is left out, never rounded."""
    samples = [{"value": 0.1, "rate": 9}, {"value": 0.1, "rate": 1}]
    endless = [{"value": 1e15, "rate": 1}, {"value": 1e-15, "rate": 1}]

    exact, beyond = read(
        sent(
            metric(distribution={"samples": samples, "statistic": "summary"}),
            metric(distribution={"samples": endless, "statistic": "histogram"}),
        )
    ).metrics

    assert (exact.histogram.data_points[0].count, exact.histogram.data_points[0].sum) == (10, 1.0)
    assert (beyond.histogram.data_points[0].count, beyond.histogram.data_points[0].HasField("sum")) == (2, False)


def test_a_summary_is_cumulative(read: Reader) -> None:
    """OTLP summaries are cumulative; one of an interval is set aside."""
    value = {"quantiles": [{"quantile": 0.5, "value": 10.0}], "count": 1, "sum": 10.0}

    found = read(sent(metric(kind="absolute", aggregated_summary=value), metric(aggregated_summary=value)))

    (one,) = found.metrics
    (point,) = one.summary.data_points
    assert (point.count, point.sum, [(q.quantile, q.value) for q in point.quantile_values]) == (1, 10.0, [(0.5, 10.0)])
    assert found.reasons == ["unsupported_item"]


def test_tags_are_attributes_resource_and_scope(read: Reader) -> None:
    """Tags go where Vector's OTLP encoder puts them; a list of one is that one, others stay lists, null is empty."""
    tags = {
        "customer": ["acme"],
        "zones": ["a", None],
        "bare": None,
        "resource.service.name": "shop",
        "scope.name": "lib",
        "scope.version": "1",
        "scope.team": "x",
    }
    found = read(sent(metric(tags=tags, counter={"value": 1.0})))

    (one,) = found.metrics
    attributes = {pair.key: pair.value for pair in one.sum.data_points[0].attributes}
    assert attributes["customer"].string_value == "acme"
    assert [v.string_value for v in attributes["zones"].array_value.values] == ["a", ""]
    assert attributes["bare"].WhichOneof("value") is None
    assert set(attributes) == {"customer", "zones", "bare"}
    assert found.resources == [{"service.name": "shop"}]
    assert (found.scopes[0].name, found.scopes[0].version) == ("lib", "1")
    assert found.scopes[0].attributes[0].key == "team"


def test_the_order_of_tags_makes_no_other_resource(read: Reader) -> None:
    """Readings of one stream stay in one metric, in the order in which they came."""
    orders = (("resource.a", "resource.b", "scope.a", "scope.b"), ("scope.b", "scope.a", "resource.b", "resource.a"))
    events = [
        metric(kind="absolute", tags=dict.fromkeys(orders[n % 2], "x"), counter={"value": float(n)}) for n in range(4)
    ]
    found = read(sent(*events))

    assert len(found.whole) == 1
    assert [point.as_double for point in found.points] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "fields",
    [
        {"counter": {}},
        {"counter": {"value": "many"}},
        {"counter": {"value": True}},
        {"counter": {"value": 1.0}, "tags": ["a"]},
        {"counter": {"value": 1.0}, "namespace": 7},
        {"counter": {"value": 1.0}, "interval_ms": -1},
        {"counter": {"value": 1.0}, "interval_ms": 1.5},
        {"counter": {"value": 1.0}, "interval_ms": 2**63},
        {"counter": {"value": 1.0}, "interval_ms": 2**64 // 10**6},
        {"distribution": {"samples": [{"value": 1.0}]}},
        {"distribution": {"samples": 7}},
        {"distribution": {"samples": [{"value": 1, "rate": 2**63}, {"value": 1, "rate": 2**63}]}},
        {"aggregated_histogram": {"buckets": [{"upper_limit": 1, "count": -1}], "count": 1, "sum": 1}},
        {"aggregated_histogram": {"buckets": [], "count": "NaN", "sum": 1}},
        {"sketch": {"sketch": {"Other": {}}}},
    ],
)
def test_a_broken_metric_is_set_aside_alone(read: Reader, fields: Any) -> None:
    """What is no metric of Vector's is one reject, and its neighbours pass."""
    found = read(sent(metric(counter={"value": 1.0}), metric(**fields), metric(counter={"value": 2.0})))

    assert [one.sum.data_points[0].as_double for one in found.metrics] == [1.0, 2.0]
    assert len(found.rejects) == 1


def test_a_tag_that_is_nested_too_deep_is_set_aside_alone(read: Reader) -> None:
    """It costs no other event of the request: an answer of 400 would make Vector drop all of them."""
    deep = "[" * 200 + "]" * 200
    event = '{"name":"m","kind":"absolute","timestamp":"2026-11-22T11:00:00Z","tags":{"%s":%s},"counter":{"value":1}}'
    body = "[" + ",".join(event % (key, value) for key, value in (("a", 1), ("a", deep), ("resource.a", deep))) + "]"

    found = read(transcode(read_body(body.encode()), "vector"))

    assert (len(found.metrics), found.reasons) == (1, ["too_deep"] * 2)


def test_numbers_beyond_a_double_are_never_rounded(read: Reader) -> None:
    """An integer of 64 bits goes as one; what neither form holds is set aside."""
    big = '[{"name":"m","kind":"absolute","timestamp":"2026-11-22T11:00:00Z","counter":{"value":%s}}]'
    bodies = [big % text for text in ("9007199254740993", "123456789012345678901", "0.12345678901234567890")]

    exact, too_big, too_fine = (read(transcode(read_body(b.encode()), "vector")) for b in bodies)

    assert exact.metrics[0].sum.data_points[0].as_int == 9007199254740993
    assert (too_big.reasons, too_fine.reasons) == (["unsupported_item"], ["unsupported_item"])


def test_an_event_that_only_looks_like_a_metric_is_a_log(read: Reader) -> None:
    """Without kind, name and value in Vector's forms it is an event like any other."""
    found = read(sent({"name": "m", "kind": "order", "timestamp": "2026-11-22T11:00:00Z", "counter": {"value": 1}}))

    assert (len(found.logs), found.metrics) == (1, [])


def test_the_same_bytes_make_the_same_bodies() -> None:
    """A resend is recognised by content, so nothing of the clock or of chance is in it."""
    golden = vector_metrics(NOW)

    first, again = (transcode(read_body(golden.body), "vector") for _ in range(2))

    assert first == again


@pytest.mark.parametrize("kind", [[], {}, [1], None])
def test_a_kind_of_another_type_makes_no_metric(read: Reader, kind: Any) -> None:
    """What only looks like a metric is a log event."""
    assert len(read(sent(metric(kind=kind, counter={"value": 1}))).times) == 1
