"""
What holds for all of OTLP/JSON: the same as protobuf says; any input is an answer or undecodable; time grows with size.
"""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.api import Body, Format
from meterline.encodings import otlp_json
from meterline.encodings.json_text import written
from meterline.errors import UndecodableError
from meterline.testing.cost import least_cpu_secs

INT32 = st.integers(-(2**31), 2**31 - 1)
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
T = FieldDescriptor
SCALARS = {
    T.TYPE_DOUBLE: st.floats(allow_nan=False)
    | st.just(float("nan")),  # NaN has one spelling in JSON, and many bit patterns
    T.TYPE_FIXED64: UINT64,
    T.TYPE_UINT64: UINT64,
    T.TYPE_SFIXED64: INT64,
    T.TYPE_INT64: INT64,
    T.TYPE_INT32: INT32,
    T.TYPE_SINT32: INT32,
    T.TYPE_UINT32: UINT32,
    T.TYPE_FIXED32: UINT32,
    T.TYPE_BOOL: st.booleans(),
    T.TYPE_STRING: st.text(max_size=5),
    T.TYPE_ENUM: st.integers(0, 4),
}
IDS = {"trace_id": 16, "span_id": 8}
OUR_OWN = ("key_strindex", "string_value_strindex")  # of profiles alone: left out, as the specification says


def fill(message: Message, draw: Callable[[Any], Any], depth: int = 0) -> None:
    """
    Give a message random fields.
    """
    chosen = {oneof.name: draw(st.sampled_from(list(oneof.fields))) for oneof in message.DESCRIPTOR.oneofs}
    for field in message.DESCRIPTOR.fields:
        rarity = 1 if depth < 6 else 3
        if field.name in OUR_OWN or (depth and draw(st.integers(0, rarity)) != rarity):
            continue
        if field.containing_oneof is not None and chosen[field.containing_oneof.name] != field:
            continue
        if field.message_type is not None:
            if depth > 12:
                continue
            inner = getattr(message, field.name)
            for _ in range(draw(st.integers(1, 2)) if field.is_repeated else 1):
                fill(inner.add() if field.is_repeated else inner, draw, depth + 1)
            if not field.is_repeated:
                inner.SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(SCALARS[field.type], max_size=3)))
        else:
            setattr(message, field.name, draw(scalar(field)))


def scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """
    Return what a field may hold.
    """
    if field.type != T.TYPE_BYTES:
        return SCALARS[field.type]
    size = IDS.get(field.name)
    return st.binary(max_size=5) if size is None else st.sampled_from([b"", random.Random(1).randbytes(size)])


@st.composite
def requests(draw: Any, kind: type[Message]) -> Message:
    """
    Return a request with at least one resource.
    """
    message = kind()
    fill(message, draw)
    return message


def as_otlp(value: Any, rng: random.Random) -> Any:
    """
    Make OTLP/JSON of what protobuf's ProtoJSON writer made: ids in hex, keys in any order, unknown keys, nulls, and 64-bit
    integers as numbers or text.
    """
    if isinstance(value, list):
        return [as_otlp(item, rng) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, item in rng.sample(sorted(value.items()), len(value)):
        if key.lower().replace("_", "") in ("traceid", "spanid"):
            digits = base64.b64decode(item).hex()
            found[key] = digits.upper() if rng.random() < 0.5 else digits
        elif isinstance(item, str) and key not in ("stringValue", "string_value") and item.lstrip("-").isdecimal():
            looks_like_a_number = item.isascii() and str(int(item)) == item
            found[key] = int(item) if looks_like_a_number and is_integer(key) and rng.random() < 0.5 else item
        else:
            found[key] = as_otlp(item, rng)
    if rng.random() < 0.2:
        found["unknownKey"] = {"a": [1, None]}
        found["anotherUnknownKey"] = None
    return found


def is_integer(key: str) -> bool:
    """
    Say whether a key holds a 64-bit integer.
    """
    return key.lower().replace("_", "") in (
        "intvalue",
        "asint",
        "timeunixnano",
        "starttimeunixnano",
        "count",
        "zerocount",
    )


def only(bodies: list[Body], fmt: Format) -> bytes:
    """
    Return the one body, which must have this format; b"" when there is none.
    """
    assert [body.fmt for body in bodies] in ([], [fmt])
    return bodies[0].data if bodies else b""


@pytest.mark.parametrize(
    ("kind", "fmt"),
    [(ExportMetricsServiceRequest, Format.OTLP_METRICS), (ExportLogsServiceRequest, Format.OTLP_LOGS)],
)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_json_says_what_protobuf_says(kind: type[Message], fmt: Format, data: st.DataObject) -> None:
    """
    Any request, written by protobuf's own JSON writer (with OTLP's hex ids), comes back as the same message.
    """
    request = data.draw(requests(kind))
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    document = json_format.MessageToDict(
        request, preserving_proto_field_name=rng.random() < 0.5, use_integers_for_enums=rng.random() < 0.5
    )
    body = json.dumps(as_otlp(document, rng) or {}).encode()

    found = kind.FromString(only(otlp_json.read(body), fmt)) if document else kind()

    assert found.SerializeToString(deterministic=True) == request.SerializeToString(deterministic=True)


def attempt(body: bytes) -> None:
    """
    Read a body both ways; a list of bodies or UndecodableError must come of it.
    """
    for read in (otlp_json.read, otlp_json.read_lines):
        try:
            found = read(body)
        except UndecodableError:
            continue
        assert len(found) <= 3
        for made in found:
            assert made.data


KEYS = st.sampled_from(
    """resourceMetrics scopeMetrics metrics sum gauge histogram exponentialHistogram summary dataPoints asInt asDouble
    attributes key value stringValue intValue arrayValue kvlistValue values timeUnixNano exemplars traceId resource
    resourceLogs scopeLogs logRecords body bytesValue name unit scope count bucketCounts positive quantileValues""".split()  # noqa: SIM905
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["1", "NaN", "-5", "1e3"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=5),
    max_leaves=30,
)


@given(ANYTHING)
@settings(max_examples=500, deadline=None)
def test_any_json_is_read_or_undecodable(value: Any) -> None:
    """
    Arbitrary JSON, with and without OTLP's keys, never does anything else.
    """
    attempt(json.dumps(value).encode())
    attempt(json.dumps({"resourceMetrics": value, "resourceLogs": value}).encode())


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_undecodable(body: bytes) -> None:
    """
    Arbitrary bytes likewise.
    """
    attempt(body)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_mutated_requests_are_read_or_undecodable(data: st.DataObject) -> None:
    """
    A right body with values exchanged, and with bytes exchanged, likewise.
    """
    request = data.draw(requests(data.draw(st.sampled_from([ExportMetricsServiceRequest, ExportLogsServiceRequest]))))
    document = json_format.MessageToDict(request)
    for _ in range(data.draw(st.integers(1, 3))):
        document = exchanged(document, data.draw, data.draw(ANYTHING))
    body = bytearray(json.dumps(document).encode())
    attempt(bytes(body))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    attempt(bytes(body))


def exchanged(value: Any, draw: Callable[[Any], Any], other: Any) -> Any:
    """
    Return the value with one part of it, somewhere, replaced.
    """
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 6)) == 0:
        return other
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        return [exchanged(item, draw, other) if index == at else item for index, item in enumerate(value)]
    chosen = draw(st.sampled_from(sorted(value)))
    return {key: exchanged(item, draw, other) if key == chosen else item for key, item in value.items()}


@given(ANYTHING)
@settings(max_examples=300, deadline=None)
def test_rejected_items_are_written_as_they_were(value: Any) -> None:
    """
    What a reject holds is the JSON that came, to the last digit.
    """
    text = json.dumps(value)

    assert json.dumps(json.loads(written(json.loads(text)))) == text


def points(number: int, point: str) -> bytes:
    """
    Return a request with so many points.
    """
    head = '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":{"dataPoints":['
    return (head + ",".join([point] * number) + "]}}]}]}]}").encode()


SHAPES: dict[str, Callable[[int], bytes]] = {
    "points": lambda number: points(number, '{"asInt":"1"}'),
    "wrong points": lambda number: points(number, '{"asInt":"x"}'),
    "empty points": lambda number: points(number, "{}"),
    "nulls": lambda number: points(number, "null"),
    "wrong metrics": lambda number: (
        '{"resourceMetrics":[{"resource":{"schemaUrl":"' + "u" * 20_000 + '"},"scopeMetrics":[{"metrics":['
        + ",".join(['{"name":5}'] * number) + "]}]}]}"
    ).encode(),
    "attributes": lambda number: points(1, '{"attributes":[' + ",".join(['{"key":"k"}'] * number) + "]}"),
    "array values": lambda number: points(
        1, '{"attributes":[{"key":"k","value":{"arrayValue":{"values":[' + ",".join(["{}"] * number) + "]}}}]}"
    ),
    "keys": lambda number: points(1, "{" + ",".join(f'"k{index}":0' for index in range(number)) + "}"),
    "digits": lambda number: points(1, '{"asDouble":"' + "1" * number + '"}'),
    "documents": lambda number: b"{}" * number,
    "lines": lambda number: b'{"resourceMetrics":[]}\n' * number,
    "broken lines": lambda number: b"{}\n" + b"x\n" * number,
    "resources": lambda number: b'{"resourceMetrics":[' + b",".join([b"{}"] * number) + b"]}",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_time_grows_with_size_and_no_faster(shape: str) -> None:
    """
    10^5 tiny parts take no more than about ten times what 10^4 take, whatever they are.
    """
    few, many = (SHAPES[shape](number) for number in (10_000, 100_000))

    def seconds(body: bytes) -> float:
        return least_cpu_secs(lambda: attempt(body), 2)

    assert seconds(many) < 40 * max(seconds(few), 0.001)
