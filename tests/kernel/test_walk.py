"""
The walk against upb: the same structure is refused, the same points are found, in any field order, whole or in parts.
"""

import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2

from meterline.api.receiver import Format
from meterline.errors import UndecodableError
from meterline.kernel.seam import Kernel
from meterline.protobuf.read import fields
from meterline.protobuf.write import length_delimited as put_len
from meterline.protobuf.write import varint as put_varint
from meterline.testing.otlp import Logs, Metrics, Point, put_attributes

OPAQUE = {"KeyValue", "AnyValue", "Exemplar", "ValueAtQuantile", "EntityRef"}
FILES = (common_pb2, resource_pb2, metrics_pb2, logs_pb2, metrics_service_pb2, logs_service_pb2)


def loose_classes() -> tuple[Any, Any]:
    """
    Make OTLP's request classes without what the walk leaves for later: texts are bytes, and so is what stands below a point.
    """
    pool = descriptor_pool.DescriptorPool()
    for module in FILES:
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            loosen(message)
        pool.Add(file)
    return tuple(
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"opentelemetry.proto.collector.{name}"))
        for name in ("metrics.v1.ExportMetricsServiceRequest", "logs.v1.ExportLogsServiceRequest")
    )


def loosen(message: Any) -> None:
    """Turn texts and opaque messages of a descriptor into bytes."""
    for field in message.field:
        opaque = field.type == field.TYPE_MESSAGE and field.type_name.rsplit(".", 1)[1] in OPAQUE
        if opaque or field.type == field.TYPE_STRING:
            field.type = field.TYPE_BYTES
            field.ClearField("type_name")
    for nested in message.nested_type:
        loosen(nested)


LOOSE_METRICS, LOOSE_LOGS = loose_classes()


def sample(rng: random.Random) -> bytes:
    """A metrics request with every type of metric and every field that a sender may set."""
    request = Metrics({"service.name": "s", "n": rng.randrange(3)})
    points = [
        Point(rng.choice((0, 1)), 2, rng.choice((1, 2.5, None, 0)), {"a": "x" * rng.randrange(200)}, rng.randrange(2))
        for _ in range(rng.randrange(4))
    ]
    request.sum(points, temporality=rng.randrange(3), monotonic=rng.random() < 0.7, unit="By")
    request.gauge(points[:2])
    histogram = request.metric("h").histogram
    histogram.aggregation_temporality = 2
    point = histogram.data_points.add(count=3, sum=1.5, bucket_counts=[1, 2], explicit_bounds=[0.5], time_unix_nano=5)
    put_attributes(point.attributes, {"k": [1, {"z": b"y"}]})
    exemplar = point.exemplars.add(as_int=4)
    exemplar.trace_id = b"t" * 16
    exponential = request.metric("e").exponential_histogram.data_points.add(count=3, zero_count=1, scale=-1)
    exponential.positive.offset = -3
    exponential.positive.bucket_counts.extend([1, 300])
    summary = request.metric("q").summary.data_points.add(count=2, sum=3.0)
    summary.quantile_values.add(quantile=0.5, value=1)
    request.metric("empty")
    return bytes(request)


def told_sample(rng: random.Random) -> bytes:
    """A request in which more is said than OTLP does."""
    request = Metrics()
    for _ in range(2):
        told = {
            "prometheus.type": rng.choice(("counter", "gauge", "unknown", 7)),
            "meterline.term": rng.randrange(-1, 3),
        }
        points = [
            Point(rng.choice((0, 1)), 2, 2.5, {"a": "x"}, point_id=b"t" * rng.choice((0, 15, 16))) for _ in range(2)
        ]
        request.sum(points, temporality=rng.randrange(3), metadata=told)
        put_attributes(request.metric("h").metadata, told)
    return bytes(request)


def logs_sample(rng: random.Random) -> bytes:
    """A logs request with every field."""
    logs = Logs()
    for _ in range(rng.randrange(3)):
        logs.record(
            5, "body", {"a": 1}, severity_number=9, severity_text="INFO", trace_id=b"t" * 16, event_name="e", flags=1
        )
    logs.record(0, {"m": [1]}, {}, observed_time_unix_nano=7)
    return bytes(logs)


def found(kernel: Kernel, body: bytes, fmt: Format) -> list[Any]:
    """What the walk finds, in plain data, with the points of a metric that stands in parts together."""
    batch: Any = kernel.decode(body, fmt, kernel.plan(1, ""))
    rows = []
    for block in batch.blocks:
        if fmt is Format.OTLP_LOGS:
            rows += [
                (r.time, r.observed, r.severity_number, r.severity_text, r.event_name, r.attributes, r.body)
                for r in block.records
            ]
        elif hasattr(block, "points"):
            rows += [(block.entry.name, p.start, p.time, p.count, p.flags, attributes(p.key)) for p in block.points]
        else:
            head = (block.entry.name, block.entry.unit, block.entry.temporality.value, block.entry.monotonic)
            flags = [block.flags.get(index, 0) for index in range(block.n)]
            rows += [
                (*head, start, time, repr(value), flag, attributes(key))
                for start, time, value, flag, key in zip(
                    block.starts, block.times, block.values, flags, block.keys, strict=True
                )
            ]
    assert batch.points == len(rows)
    return rows


def attributes(raw: bytes) -> list[bytes]:
    """Split raw attribute fields."""
    return [raw[a:b] for _, _, a, b, _ in fields(raw)]


def expected_metrics(body: bytes) -> list[Any]:
    """What upb finds."""
    rows: list[Any] = []
    for resource in LOOSE_METRICS.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                points = getattr(metric, kind).data_points if kind else []
                rows += [expected_point(metric, kind, point) for point in points]
    return rows


def expected_point(metric: Any, kind: str, point: Any) -> tuple[Any, ...]:
    """One point as ``found`` shows it."""
    raw = list(point.attributes)
    if kind not in ("sum", "gauge"):
        return (metric.name, point.start_time_unix_nano, point.time_unix_nano, point.count, point.flags, raw)
    temporality = metric.sum.aggregation_temporality if kind == "sum" else 0
    field = point.WhichOneof("value")
    value = getattr(point, field) if field else None
    head = (
        metric.name,
        metric.unit,
        temporality if temporality in (1, 2) else 0,
        kind == "sum" and metric.sum.is_monotonic,
    )
    return (*head, point.start_time_unix_nano, point.time_unix_nano, repr(value), point.flags, raw)


def expected_logs(body: bytes) -> list[Any]:
    """What upb finds; a body that stands twice is merged by whoever reads it."""
    return [
        (
            r.time_unix_nano,
            r.observed_time_unix_nano,
            r.severity_number % 2**32,
            r.severity_text,
            r.event_name,
            list(r.attributes),
        )
        for resource in LOOSE_LOGS.FromString(body).resource_logs
        for scope in resource.scope_logs
        for r in scope.log_records
    ]


def mutate(rng: random.Random, body: bytes) -> bytes:
    """Break or change a few bytes."""
    data = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        choice = rng.randrange(5)
        if choice == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif choice == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif choice == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 4)))
        elif choice == 3:
            del data[at : at + rng.randrange(1, 4)]
        else:
            data = data[:at]
    return bytes(data)


NESTED = ({1}, {2}, {2}, {5, 7}, {1}, set())
"""Which fields of a request, and of what they hold in turn, are messages on the way to a number point."""


def reorder(rng: random.Random, body: bytes, level: int = 0) -> bytes:
    """Shuffle the fields of a message and of what it holds, and add unknown ones; the points of a metric stay in order."""
    parts = []
    for number, kind, a, b, begin in fields(body):
        if kind == 2 and number in NESTED[level]:
            parts.append((number, put_len(number, reorder(rng, body[a:b], level + 1))))
        else:
            parts.append((number, body[begin:b]))
    parts.append((99, rng.choice((put_len(99, b"?"), put_varint(99 << 3) + b"\x05", b"\x9b\x06\x08\x01\x9c\x06"))))
    order = sorted(parts, key=lambda part: rng.random())
    repeated: dict[int, list[bytes]] = {}
    for number, raw in parts:
        repeated.setdefault(number, []).append(raw)
    return b"".join(repeated[number].pop(0) for number, _ in order)


def agree(kernel: Kernel, body: bytes, fmt: Format, expected: Callable[[bytes], list[Any]]) -> bool:
    """Compare walk and upb on one body; say whether it was accepted."""
    try:
        want: Any = expected(body)
    except DecodeError:
        with pytest.raises(UndecodableError):
            found(kernel, body, fmt)
        return False
    got = found(kernel, body, fmt)
    if fmt is Format.OTLP_LOGS:
        got = [row[:-1] for row in got]
    assert got == want
    return True


@pytest.mark.parametrize("round_", range(4))
def test_mutated_metrics(kernel: Kernel, rng: random.Random, round_: int) -> None:
    """Broken bytes are refused exactly when upb refuses the structure; what is accepted says the same."""
    accepted = [agree(kernel, mutate(rng, sample(rng)), Format.OTLP_METRICS, expected_metrics) for _ in range(400)]
    assert 40 < sum(accepted) < 360


def test_mutated_logs(kernel: Kernel, rng: random.Random) -> None:
    """The same for logs."""
    accepted = [agree(kernel, mutate(rng, logs_sample(rng)), Format.OTLP_LOGS, expected_logs) for _ in range(400)]
    assert 40 < sum(accepted) < 360


def test_mutated_transcoded_metrics(kernel: Kernel, rng: random.Random) -> None:
    """What is told beside OTLP adds no points and takes none; what OTLP refuses is refused, and a broken exemplar too."""
    accepted = 0
    for _ in range(600):
        body = mutate(rng, told_sample(rng))
        try:
            told = found(kernel, body, Format.TRANSCODED_METRICS)
        except UndecodableError:
            continue
        assert told == found(kernel, body, Format.OTLP_METRICS)
        accepted += 1
    assert 40 < accepted < 560


def test_any_order(kernel: Kernel, rng: random.Random) -> None:
    """Fields in any order, with unknown ones between, give the same points."""
    for _ in range(100):
        body = sample(rng)
        shuffled = reorder(rng, body)
        assert agree(kernel, shuffled, Format.OTLP_METRICS, expected_metrics)
        assert expected_metrics(shuffled) == expected_metrics(body)


def test_concatenated_requests_merge(kernel: Kernel, rng: random.Random) -> None:
    """Two requests one after the other are one request."""
    one, two = sample(rng), sample(rng)
    both = found(kernel, one + two, Format.OTLP_METRICS)
    assert both == found(kernel, one, Format.OTLP_METRICS) + found(kernel, two, Format.OTLP_METRICS)


def test_known_points_are_read_alike(kernel: Kernel, rng: random.Random) -> None:
    """A plan that knows the streams finds the same points as one that does not."""
    plan: Any = kernel.plan(1, "")
    bodies = [sample(rng) for _ in range(30)]
    for body in bodies:
        batch: Any = kernel.decode(body, Format.OTLP_METRICS, plan)
        for block in batch.blocks:
            block.entry.bindings.update(dict.fromkeys(block.keys, 1))
    for body in bodies:
        warm: Any = kernel.decode(body, Format.OTLP_METRICS, plan)
        cold: Any = kernel.decode(body, Format.OTLP_METRICS, kernel.plan(1, ""))
        for one, two in zip(warm.blocks, cold.blocks, strict=True):
            assert [repr(v) for v in getattr(one, "values", ())] == [repr(v) for v in getattr(two, "values", ())]
            assert [one.payload(i) for i in range(one.n)] == [two.payload(i) for i in range(two.n)]


@pytest.mark.parametrize("fmt", list(Format))
def test_nothing_is_a_request(kernel: Kernel, fmt: Format) -> None:
    """An empty body is a request without points."""
    assert kernel.decode(b"", fmt, kernel.plan(1, "")).points == 0


def test_hostile_lengths(kernel: Kernel) -> None:
    """Endless varints, lengths past the end and bombs of nested groups end in an error, quickly."""
    for body in (
        b"\x0a" + b"\xff" * 9,
        b"\x0a\xff\xff\xff\xff\x7f",
        b"\x0a\x05\x0a",
        b"\x0b" * 200_000,
        b"\x0c",
        b"\x07\x01",
    ):
        with pytest.raises(UndecodableError, match="decoding request"):
            kernel.decode(body, Format.OTLP_METRICS, kernel.plan(1, ""))


def test_unusual_points_are_read_once(kernel: Kernel) -> None:
    """A hundred thousand points without a time take their time once each, not once for each that comes before them."""
    points = put_len(1, b"") * 100_000
    body = put_len(1, put_len(2, put_len(2, put_len(1, b"name") + put_len(7, points))))
    assert kernel.decode(body, Format.OTLP_METRICS, kernel.plan(1, "")).points == 100_000


def test_a_body_in_many_parts(kernel: Kernel) -> None:
    """A log record's body in a million parts is put together once, not once for each part."""
    parts = put_len(5, put_len(1, b"")) * 1_000_000
    batch: Any = kernel.decode(put_len(1, put_len(2, put_len(2, parts))), Format.OTLP_LOGS, kernel.plan(1, ""))
    assert batch.blocks[0].records[0].body == put_len(1, b"") * 1_000_000


def test_unknown_fields_take_no_room(kernel: Kernel) -> None:
    """A body of nothing but tiny unknown fields is read in far less room than a list of them takes."""
    body = b"\x20\x01" * 100_000
    tracemalloc.start()
    try:
        assert kernel.decode(body, Format.OTLP_METRICS, kernel.plan(1, "")).points == 0
        assert tracemalloc.get_traced_memory()[1] < len(body)
    finally:
        tracemalloc.stop()


def test_field_zero_inside_a_group(kernel: Kernel) -> None:
    """Like upb, an unknown group is skipped whatever numbers are in it; outside of groups the number 0 is refused."""
    group = b"\x6b\x05leve\x6c"
    body = put_len(1, put_len(2, put_len(2, put_len(1, b"name") + group)))
    assert agree(kernel, body, Format.OTLP_METRICS, expected_metrics)
    assert not agree(kernel, b"\x05leve", Format.OTLP_METRICS, expected_metrics)
