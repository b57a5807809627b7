"""
The same usage on every wire: requests as senders of each protocol write them, made with foreign libraries, so that they
share no code with what reads them (but for the messages of Vector, which exist nowhere else).
"""

import json
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import cramjam
import msgpack
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline._proto.vector import vector_pb2
from meterline.testing.otlp import Metrics, Point, put_attributes, put_value
from meterline.testing.wire_model import RULES, Event, Reading, Request, Wire

__all__ = ["RULES", "WIRES", "Event", "Reading", "Request", "Wire"]


def _fields(wire: str, event: Event) -> dict[str, Any]:
    return {"customer": event.customer, "wire": wire, "value": event.value}


def _numbers(wire: str, event: Event) -> dict[str, Any]:
    return {**_fields(wire, event), "value": float(event.value)}


def _rfc3339(time: int) -> str:
    stamp = datetime.fromtimestamp(time // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{time % 10**9 // 10**6:03d}Z"


def _json(path: str, document: Any, media_type: str = "application/json") -> Request:
    return Request(path, json.dumps(document).encode(), {"content-type": media_type})


def _ndjson(documents: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


# OTLP


def _logs(wire: str, events: Sequence[Event]) -> ExportLogsServiceRequest:
    message = ExportLogsServiceRequest()
    scope = message.resource_logs.add().scope_logs.add()
    for event in events:
        record = scope.log_records.add(time_unix_nano=event.time)
        put_value(record.body, _numbers(wire, event))
        put_attributes(record.attributes, {"log.record.uid": event.uid})
    return message


def _otlp_logs(wire: str, events: Sequence[Event]) -> bytes:
    return _logs(wire, events).SerializeToString()


def _any(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"kvlistValue": {"values": [{"key": key, "value": _any(item)} for key, item in value.items()]}}


def _otlp_json_logs(wire: str, events: Sequence[Event]) -> dict[str, Any]:
    records = [
        {
            "timeUnixNano": str(event.time),
            "body": _any(_numbers(wire, event)),
            "attributes": [{"key": "log.record.uid", "value": _any(event.uid)}],
        }
        for event in events
    ]
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]}


def _otlp_json_metrics(wire: str, readings: Sequence[Reading]) -> dict[str, Any]:
    points = [
        {
            "timeUnixNano": str(reading.time),
            "asInt": str(reading.value),
            "attributes": [{"key": key, "value": _any(value)} for key, value in _labels(wire, reading).items()],
        }
        for reading in readings
    ]
    total = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": points}
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "units_total", "sum": total}]}]}]}


def _labels(wire: str, reading: Reading) -> dict[str, str]:
    return {"customer": reading.customer, "host": reading.host, "wire": wire}


def _otlp_metrics(wire: str, readings: Sequence[Reading]) -> bytes:
    made = Metrics({})
    made.sum([Point(0, 0, reading.value, _labels(wire, reading)) for reading in readings], name="units_total")
    points = made.message.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    for point, reading in zip(points, readings, strict=True):
        point.time_unix_nano = reading.time
    return made.message.SerializeToString()


# Events over HTTP


def _loki_json(wire: str, events: Sequence[Event]) -> Request:
    values = [[str(event.time), json.dumps(_numbers(wire, event)), {"log.record.uid": event.uid}] for event in events]
    return _json("/loki/api/v1/push", {"streams": [{"stream": {"job": wire}, "values": values}]})


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _message(tag: int, payload: bytes) -> bytes:
    return _varint(tag << 3 | 2) + _varint(len(payload)) + payload


def _snappy(path: str, body: bytes, **headers: str) -> Request:
    packed = bytes(cramjam.snappy.compress_raw(body))
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(path, packed, {"content-type": "application/x-protobuf", "content-encoding": "snappy", **shown})


def _loki_entry(wire: str, event: Event) -> bytes:
    seconds, nanos = divmod(event.time, 10**9)
    stamp = b"\x08" + _varint(seconds) + b"\x10" + _varint(nanos)
    uid = _message(1, b"log.record.uid") + _message(2, event.uid.encode())
    return _message(1, stamp) + _message(2, json.dumps(_numbers(wire, event)).encode()) + _message(3, uid)


def _loki_proto(wire: str, events: Sequence[Event]) -> Request:
    entries = b"".join(_message(2, _loki_entry(wire, event)) for event in events)
    return _snappy("/loki/api/v1/push", _message(1, _message(1, f'{{job="{wire}"}}'.encode()) + entries))


def _plain(wire: str, event: Event) -> dict[str, Any]:
    return {"log.record.uid": event.uid, "timestamp": _rfc3339(event.time), **_numbers(wire, event)}


def _logstash(wire: str, event: Event) -> dict[str, Any]:
    return {
        "@timestamp": _rfc3339(event.time),
        "@version": "1",
        "event": {"id": event.uid},
        "host": {"name": "h"},
        **_fields(wire, event),
    }


def _fluent_bit_json(wire: str, event: Event) -> dict[str, Any]:
    return {"date": event.time / 10**9, "log.record.uid": event.uid, **_numbers(wire, event)}


def _event_time(time: int) -> msgpack.ExtType:
    return msgpack.ExtType(0, struct.pack(">II", *divmod(time, 10**9)))


def _fluent_bit_msgpack(wire: str, events: Sequence[Event]) -> Request:
    entries = [
        [[_event_time(event.time), {}], {"log.record.uid": event.uid, **_fields(wire, event)}] for event in events
    ]
    body = b"".join(msgpack.packb(entry) for entry in entries)
    return Request("/v1/events/fluent-bit", body, {"content-type": "application/msgpack"})


def _cloudevent(wire: str, event: Event) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event.uid,
        "source": "/tests",
        "type": "usage",
        "time": _rfc3339(event.time),
        "datacontenttype": "application/json",
        "data": _numbers(wire, event),
    }


def _amplitude(wire: str, events: Sequence[Event]) -> Request:
    made = [
        {
            "user_id": event.customer,
            "event_type": "usage",
            "insert_id": event.uid,
            "time": event.time // 10**6,
            "value": float(event.value),
            "event_properties": {"customer": event.customer, "wire": wire},
        }
        for event in events
    ]
    return _json("/2/httpapi", {"api_key": "anything", "events": made})


def _mixpanel(wire: str, events: Sequence[Event]) -> Request:
    made = [
        {
            "event": "usage",
            "value": float(event.value),
            "properties": {
                "$insert_id": event.uid,
                "time": event.time // 10**6,
                "distinct_id": event.customer,
                "customer": event.customer,
                "wire": wire,
            },
        }
        for event in events
    ]
    return _json("/import", made)


def _usage(wire: str, events: Sequence[Event]) -> Request:
    items = [
        {
            "customerId": event.customer,
            "dimensionId": wire,
            "recordValue": event.value,
            "timestamp": _rfc3339(event.time),
            "idempotencyKey": event.uid,
        }
        for event in events
    ]
    return _json("/v1/usage", items)


def _forward(wire: str, events: Sequence[Event]) -> Request:
    packed = b"".join(
        msgpack.packb([_event_time(event.time), {"log.record.uid": event.uid, **_fields(wire, event)}])
        for event in events
    )
    return Request("", msgpack.packb(["usage", packed, {"chunk": f"{wire}-{events[0].uid}", "size": len(events)}]))


# Prometheus


def _label(name: str, value: str) -> bytes:
    return _message(1, _message(1, name.encode()) + _message(2, value.encode()))


def _remote_write_1(wire: str, readings: Sequence[Reading]) -> Request:
    series = []
    for reading in readings:
        labels = sorted({"__name__": "units_total", **_labels(wire, reading)}.items())
        sample = b"\x09" + struct.pack("<d", reading.value) + b"\x10" + _varint(reading.time // 10**6)
        series.append(_message(1, b"".join(_label(*pair) for pair in labels) + _message(2, sample)))
    version = {"x_prometheus_remote_write_version": "0.1.0", "user_agent": "Prometheus/3.14.0"}
    return _snappy("/api/v1/write", b"".join(series), **version)


def _remote_write_2(wire: str, readings: Sequence[Reading]) -> Request:
    symbols: dict[str, int] = {"": 0}
    series = []
    for reading in readings:
        labels = sorted({"__name__": "units_total", **_labels(wire, reading)}.items())
        refs = b"".join(_varint(symbols.setdefault(text, len(symbols))) for pair in labels for text in pair)
        sample = b"\x09" + struct.pack("<d", reading.value) + b"\x10" + _varint(reading.time // 10**6)
        series.append(_message(5, _message(1, refs) + _message(2, sample) + _message(5, b"\x08\x01")))
    body = b"".join(_message(4, text.encode()) for text in symbols) + b"".join(series)
    request = _snappy("/api/v1/write", body, x_prometheus_remote_write_version="2.0.0")
    media_type = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    return Request(request.path, request.body, {**request.headers, "content-type": media_type})


def _vector_metric(wire: str, reading: Reading) -> dict[str, Any]:
    return {
        "name": "units_total",
        "tags": _labels(wire, reading),
        "timestamp": _rfc3339(reading.time),
        "kind": "absolute",
        "counter": {"value": float(reading.value)},
    }


def _vector_fields(wire: str, event: Event) -> Any:
    log = vector_pb2.Log()
    log.fields["timestamp"].timestamp.FromNanoseconds(event.time)
    log.fields["value"].float = float(event.value)
    for key, value in (("log.record.uid", event.uid), ("customer", event.customer), ("wire", wire)):
        log.fields[key].raw_bytes = value.encode()
    return vector_pb2.EventWrapper(log=log)


def _vector_logs(wire: str, events: Sequence[Event]) -> Request:
    pushed = vector_pb2.PushEventsRequest(events=[_vector_fields(wire, event) for event in events])
    return Request(_VECTOR_METHOD, pushed.SerializeToString())


def _vector_native(wire: str, reading: Reading) -> Any:
    metric = vector_pb2.Metric(name="units_total", kind=vector_pb2.Metric.Kind.Absolute)
    metric.timestamp.FromNanoseconds(reading.time)
    metric.counter.value = reading.value
    metric.tags_v1.update(_labels(wire, reading))
    return vector_pb2.EventWrapper(metric=metric)


def _vector_metrics(wire: str, readings: Sequence[Reading]) -> Request:
    pushed = vector_pb2.PushEventsRequest(events=[_vector_native(wire, reading) for reading in readings])
    return Request(_VECTOR_METHOD, pushed.SerializeToString())


_VECTOR_METHOD: Final = "/vector.Vector/PushEvents"
_PROTOBUF: Final = {"content-type": "application/x-protobuf"}
_LOGS_METHOD: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_METRICS_METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

WIRES: Final[tuple[Wire, ...]] = (
    Wire("otlp-grpc-logs", "otlp", "grpc", "events", lambda w, p: Request(_LOGS_METHOD, _otlp_logs(w, p))),
    Wire("otlp-http-logs", "otlp", "http", "events", lambda w, p: Request("/v1/logs", _otlp_logs(w, p), _PROTOBUF)),
    Wire("otlp-json-logs", "otlp", "http", "events", lambda w, p: _json("/v1/logs", _otlp_json_logs(w, p))),
    Wire("loki-json", "loki", "http", "events", _loki_json),
    Wire("loki-protobuf", "loki", "http", "events", _loki_proto),
    Wire("json-array", "json", "http", "events", lambda w, p: _json("/v1/events", [_plain(w, e) for e in p])),
    Wire(
        "json-lines",
        "json",
        "http",
        "events",
        lambda w, p: Request("/v1/events", _ndjson(_plain(w, e) for e in p), {"content-type": "application/x-ndjson"}),
    ),
    Wire("vector-http", "json", "http", "events", lambda w, p: _json("/v1/events/vector", [_plain(w, e) for e in p])),
    Wire("logstash", "json", "http", "events", lambda w, p: _json("/v1/events/logstash", [_logstash(w, e) for e in p])),
    Wire(
        "fluent-bit-json",
        "json",
        "http",
        "events",
        lambda w, p: _json("/v1/events/fluent-bit", [_fluent_bit_json(w, e) for e in p]),
    ),
    Wire("fluent-bit-msgpack", "json", "http", "events", _fluent_bit_msgpack),
    Wire(
        "cloudevents",
        "json",
        "http",
        "events",
        lambda w, p: _json(
            "/v1/events/cloudevents", [_cloudevent(w, e) for e in p], "application/cloudevents-batch+json"
        ),
    ),
    Wire("amplitude", "json", "http", "events", _amplitude),
    Wire("mixpanel", "json", "http", "events", _mixpanel),
    Wire("usage", "usage", "http", "events", _usage),
    Wire("fluent-forward", "fluent_forward", "forward", "events", _forward),
    Wire("vector-logs", "vector", "grpc", "events", _vector_logs),
    Wire("vector-metrics", "vector", "grpc", "readings", _vector_metrics),
    Wire(
        "file-otlp-json",
        "files",
        "file",
        "events",
        lambda w, p: Request("", json.dumps(_otlp_json_logs(w, p)).encode() + b"\n"),
    ),
    Wire("file-lines", "files", "file", "events", lambda w, p: Request("", _ndjson(_plain(w, e) for e in p))),
    Wire("otlp-grpc-metrics", "otlp", "grpc", "readings", lambda w, p: Request(_METRICS_METHOD, _otlp_metrics(w, p))),
    Wire(
        "otlp-http-metrics",
        "otlp",
        "http",
        "readings",
        lambda w, p: Request("/v1/metrics", _otlp_metrics(w, p), _PROTOBUF),
    ),
    Wire("otlp-json-metrics", "otlp", "http", "readings", lambda w, p: _json("/v1/metrics", _otlp_json_metrics(w, p))),
    Wire("remote-write-1", "prometheus", "http", "readings", _remote_write_1),
    Wire("remote-write-2", "prometheus", "http", "readings", _remote_write_2),
    Wire(
        "vector-http-metrics",
        "json",
        "http",
        "readings",
        lambda w, p: _json("/v1/events/vector", [_vector_metric(w, r) for r in p]),
    ),
)
"""Every receiver, in each form that its senders use."""
