"""
What is written by hand is what the generated classes read.
"""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from meterline.encodings import otlp
from meterline.errors import UndecodableError
from meterline.testing.otlp import plain

_TEXT = st.text(st.characters(codec="utf-8"))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _TEXT | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_any_value_is_read_back(value: Any) -> None:
    """Plain data survives the way into an AnyValue, with its types."""
    found = plain(AnyValue.FromString(otlp.any_value(value)))
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (2**63, "9223372036854775808"),
        (Decimal("0.5"), 0.5),
        (Decimal("12345678901234567.89"), "12345678901234567.89"),
        (Decimal("1E+30"), 1e30),
        (Decimal("1E+999999999"), "1E+999999999"),
    ],
)
def test_a_number_stays_exact(value: Any, found: Any) -> None:
    """What neither int64 nor a double can hold becomes text; a huge exponent is not written out."""
    assert plain(AnyValue.FromString(otlp.any_value(value))) == found


def test_bottomless_values_are_refused() -> None:
    """Nesting over the cap refuses the request instead of exhausting the stack."""
    value: Any = 1
    for _ in range(otlp.MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(UndecodableError, match="nested deeper than 128"):
        otlp.any_value(value)


def test_a_log_record_is_read_back() -> None:
    """Every field that can be written is read back, and concatenated resources are one request."""
    record = otlp.log_record(
        time=2**63 + 1,
        observed=7,
        body={"a": 1},
        attributes={"k": "v"},
        severity_text="INFO",
        severity_number=9,
        event_name="checkout",
    )
    part = otlp.resource([record, otlp.log_record(time=1)], {"service.name": "shop"}, "scope", "1.0")
    request = ExportLogsServiceRequest.FromString(part + part)
    assert len(request.resource_logs) == 2
    first = request.resource_logs[1]
    assert first.resource.attributes[0].value.string_value == "shop"
    assert (first.scope_logs[0].scope.name, first.scope_logs[0].scope.version) == ("scope", "1.0")
    log = first.scope_logs[0].log_records[0]
    assert (log.time_unix_nano, log.observed_time_unix_nano, plain(log.body)) == (2**63 + 1, 7, {"a": 1})
    assert (log.severity_text, log.severity_number, log.event_name) == ("INFO", 9, "checkout")
    assert log.attributes[0].key == "k"


def test_metrics_are_read_back() -> None:
    """Points keep ints as ints, doubles as doubles, their start, flags and identity; metrics keep type, unit and metadata."""
    attributes = otlp.key_values(7, {"a": 1})
    points = [
        otlp.number_point(5, time=9, start=3, attributes=attributes, point_id=b"i" * 16),
        otlp.number_point(0.5, time=9, flags=1),
        otlp.number_point(None, time=9),
    ]
    metrics = [
        otlp.counter("calls", points, temporality=otlp.CUMULATIVE, unit="1", metadata=otlp.key_values(12, {"m": "x"})),
        otlp.counter("diff", points[:1], temporality=otlp.DELTA, monotonic=False),
        otlp.gauge("level", points[1:2]),
    ]
    request = ExportMetricsServiceRequest.FromString(otlp.resource(metrics, {}))
    calls, diff, level = request.resource_metrics[0].scope_metrics[0].metrics
    assert (calls.name, calls.unit, calls.sum.is_monotonic, calls.sum.aggregation_temporality) == (
        "calls",
        "1",
        True,
        2,
    )
    assert calls.metadata[0].value.string_value == "x"
    assert (diff.sum.is_monotonic, diff.sum.aggregation_temporality) == (False, 1)
    first, second, third = calls.sum.data_points
    assert (first.as_int, first.start_time_unix_nano, first.time_unix_nano) == (5, 3, 9)
    assert first.exemplars[0].trace_id == b"i" * 16
    assert (second.as_double, second.flags, third.WhichOneof("value")) == (0.5, 1, None)
    assert level.gauge.data_points[0] == second


@given(st.integers(-(2**63), 2**63 - 1))
def test_int_values_are_exact(value: int) -> None:
    """Every int64 is written as itself."""
    assert NumberDataPoint.FromString(otlp.number_point(value, time=1)).as_int == value
