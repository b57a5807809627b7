"""
Where mutations begin: a request of every wire, of every agent whose golden body there is, and messages in which every field
that the protocol knows is set.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import cramjam
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline._proto.meterline.usage.v1.usage_pb2 import RecordUsageRequest
from meterline._proto.vector.vector_pb2 import PushEventsRequest
from meterline.testing import agent_bodies, forward_client, remote_write
from meterline.testing.hostile import valid
from meterline.testing.remote_write import STALE_BITS, Written
from meterline.testing.wires import WIRES, Request, Wire

CUSTOMER: Final = "mutant"
_LEVELS: Final = 9
_SNAPPY: Final = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}


class Seed(NamedTuple):
    """
    A valid request, and the wire that it goes over.
    """

    wire: Wire
    request: Request


def seeds(start_ns: int) -> list[Seed]:
    """
    Return all of them. ``start_ns``: the time of their first points.
    """
    of_wires = [Seed(wire, valid(wire, CUSTOMER, start_ns=start_ns)) for wire in WIRES]
    return [*of_wires, *_agents(start_ns), *_messages(), *_remote_write(start_ns // 10**6), *_forward(start_ns)]


def _wire(receiver: str, transport: Any) -> Wire:
    return next(wire for wire in WIRES if (wire.receiver, wire.transport) == (receiver, transport))


def _agents(time: int) -> Iterator[Seed]:
    bodies = (
        agent_bodies.vector_logs(time),
        agent_bodies.vector_metrics(time),
        agent_bodies.logstash(time),
        agent_bodies.logstash_form(time),
        agent_bodies.fluent_bit_json(time),
        agent_bodies.fluent_bit_lines(time),
        agent_bodies.fluent_bit_msgpack(time),
    )
    wire = _wire("json", "http")
    return (Seed(wire, Request(body.path, body.body, dict(body.headers))) for body in bodies)


def _messages() -> Iterator[Seed]:
    kinds: tuple[tuple[Any, str, str, str], ...] = (
        (
            ExportMetricsServiceRequest,
            "otlp",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "/v1/metrics",
        ),
        (ExportLogsServiceRequest, "otlp", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", "/v1/logs"),
        (PushEventsRequest, "vector", "/vector.Vector/PushEvents", ""),
        (RecordUsageRequest, "usage", "/meterline.usage.v1.UsageService/RecordUsage", ""),
    )
    for kind, receiver, method, path in kinds:
        message = filled(kind())
        body = message.SerializeToString()
        yield Seed(_wire(receiver, "grpc") if receiver != "usage" else _wire("otlp", "grpc"), Request(method, body))
        if path:
            wire = _wire(receiver, "http")
            yield Seed(wire, Request(path, body, {"content-type": "application/x-protobuf"}))
            yield Seed(wire, Request(path, MessageToJson(message).encode(), {"content-type": "application/json"}))


def filled(message: Any, levels: int = _LEVELS) -> Any:
    """
    Set every field of a message: each choice of a ``oneof`` in a message of its own, as far as its parent has a list of them.
    """
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is None:
            _fill(message, field, levels)
    for choices in message.DESCRIPTOR.oneofs:
        _fill(message, choices.fields[0], levels)
    return message


def _fill(message: Any, field: Any, levels: int) -> None:
    if field.message_type is not None and not levels:
        return
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(getattr(message, field.name), field.message_type, levels)
    elif field.message_type is not None and field.is_repeated:
        for choice in _choices(field.message_type):
            _chosen(getattr(message, field.name).add(), choice, levels - 1)
    elif field.message_type is not None:
        filled(getattr(message, field.name), levels - 1).SetInParent()
    elif field.is_repeated:
        getattr(message, field.name).extend([_scalar(field)] * 2)
    else:
        setattr(message, field.name, _scalar(field))


def _fill_map(target: Any, entry: Any, levels: int) -> None:
    value = entry.fields_by_name["value"]
    if value.message_type is None:
        target["customer"] = _scalar(value)
        return
    for number, choice in enumerate(_choices(value.message_type)):
        _chosen(target[f"key{number}"], choice, levels - 1)


def _choices(kind: Any) -> list[Any]:
    """
    Return the fields of a type's ``oneof``; [None] when it has none.
    """
    return list(itertools.chain.from_iterable(each.fields for each in kind.oneofs if len(each.fields) > 1)) or [None]


def _chosen(message: Any, choice: Any, levels: int) -> None:
    filled(message, 1 if choice is not None else levels)
    if choice is not None:
        _fill(message, choice, levels)


def _scalar(field: Any) -> Any:
    if field.cpp_type == field.CPPTYPE_STRING:
        return b"0123456789abcdef" if field.type == field.TYPE_BYTES else CUSTOMER
    return True if field.cpp_type == field.CPPTYPE_BOOL else 1


def _remote_write(ms: int) -> Iterator[Seed]:
    labels = {"__name__": "units_total", "customer": CUSTOMER, "cluster": "a", "__replica__": "b"}
    series = [
        Written(labels, [remote_write.sample(1, ms), remote_write.sample(STALE_BITS, ms + 1)], exemplars=1),
        Written({**labels, "__name__": "h"}, histograms=[remote_write.histogram(3, 1.5, ms), b""]),
        Written({**labels, "le": "0.5"}, [remote_write.sample(2.5, ms, ms - 1)], metric_type=1, created=ms - 1),
    ]
    second = {**_SNAPPY, "content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
    wire = _wire("prometheus", "http")
    first = remote_write.request_v1(series, [("units_total", 1), ("h", 3)])
    for body, headers in ((first, _SNAPPY), (remote_write.request_v2(series), second)):
        yield Seed(wire, Request("/api/v1/write", bytes(cramjam.snappy.compress_raw(body)), headers))


def _forward(time: int) -> Iterator[Seed]:
    entries = [(time + number, {"customer": CUSTOMER, "wire": "forward", "value": number}) for number in range(3)]
    wire = _wire("fluent_forward", "forward")
    yield Seed(wire, Request("", forward_client.message("usage", entries[0], chunk="a")))
    yield Seed(wire, Request("", forward_client.forward("usage", entries, chunk="b")))
    yield Seed(wire, Request("", forward_client.packed_forward("usage", entries, chunk="c")))
    yield Seed(wire, Request("", forward_client.compressed_forward("usage", entries, chunk="d")))
