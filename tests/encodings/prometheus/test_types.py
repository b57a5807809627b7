"""
Counter or gauge: as metadata says, or at least the name.
"""

import pytest

from meterline.encodings.prometheus_types import (
    COUNTER,
    GAUGE,
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    INFO,
    STATE_SET,
    SUMMARY,
    UNKNOWN,
    kind_by_name,
    kind_in_family,
    kind_of_type,
)


@pytest.mark.parametrize(
    ("families", "name", "kind"),
    [
        ({"foo": COUNTER}, "foo_total", "counter"),
        ({"foo_total": COUNTER}, "foo_total", "counter"),
        ({"foo": COUNTER}, "foo", "counter"),
        ({"foo": COUNTER}, "foo_created", "gauge"),
        ({"orders_created": COUNTER}, "orders_created", "counter"),
        ({"foo": GAUGE}, "foo_total", "unknown"),
        ({"foo_count": GAUGE, "foo": SUMMARY}, "foo_count", "gauge"),
        ({"foo": HISTOGRAM}, "foo_bucket", "counter"),
        ({"foo": HISTOGRAM}, "foo_count", "counter"),
        ({"foo": HISTOGRAM}, "foo_sum", "counter"),
        ({"foo": HISTOGRAM}, "foo", "unknown"),
        ({"foo": SUMMARY}, "foo_count", "counter"),
        ({"foo": SUMMARY}, "foo_sum", "counter"),
        ({"foo": SUMMARY}, "foo", "gauge"),
        ({"foo": GAUGE_HISTOGRAM}, "foo_bucket", "gauge"),
        ({"foo": GAUGE_HISTOGRAM}, "foo_gcount", "gauge"),
        ({"foo": GAUGE_HISTOGRAM}, "foo_gsum", "gauge"),
        ({"foo": INFO}, "foo_info", "gauge"),
        ({"foo_info": INFO}, "foo_info", "gauge"),
        ({"foo": STATE_SET}, "foo", "gauge"),
        ({"foo": UNKNOWN}, "foo", "unknown"),
        ({}, "foo_total", "unknown"),
    ],
)
def test_the_metadata_of_a_family_covers_its_parts(families: dict[str, int], name: str, kind: str) -> None:
    """
    A family of the very name decides first, then the one that the series is a part of.
    """
    assert kind_in_family(name, lambda family: families.get(family, UNKNOWN)) == kind


@pytest.mark.parametrize(
    ("metric_type", "name", "quantile", "kind"),
    [
        (COUNTER, "foo", False, "counter"),
        (COUNTER, "foo_total", False, "counter"),
        (COUNTER, "foo_created", False, "gauge"),
        (GAUGE, "foo_count", False, "gauge"),
        (INFO, "target_info", False, "gauge"),
        (STATE_SET, "foo", False, "gauge"),
        (HISTOGRAM, "foo_bucket", False, "counter"),
        (HISTOGRAM, "foo", False, "unknown"),
        (SUMMARY, "foo_count", False, "counter"),
        (SUMMARY, "rpc_count", True, "gauge"),
        (SUMMARY, "foo", True, "gauge"),
        (GAUGE_HISTOGRAM, "foo_sum", False, "gauge"),
        (UNKNOWN, "foo_total", False, "unknown"),
        (99, "foo_total", False, "unknown"),
    ],
)
def test_a_type_that_comes_with_the_series(metric_type: int, name: str, quantile: bool, kind: str) -> None:  # noqa: FBT001
    """
    Remote write 2.0 says the family's type with each series, not the family's name.
    """
    assert kind_of_type(name, metric_type, quantile=quantile) == kind


def test_only_one_ending_makes_a_counter_without_metadata() -> None:
    """
    Gauges have names like the parts of histograms; billed by mistake, they would look like a counter with many resets.
    """
    assert kind_by_name("calls_total") == "counter"
    assert {kind_by_name(name) for name in ("open_count", "token_bucket", "check_sum", "foo_created", "foo")} == {
        "unknown"
    }
