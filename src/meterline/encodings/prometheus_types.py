"""
Counter or gauge: what a Prometheus series is, as its metadata says, or at least its name (OpenMetrics 1.0, Prometheus's
exposition formats).

Remote write sends samples without their type, and metadata apart and late. ``unknown`` is an answer: the kernel then holds what
a rule would bill, unless the rule itself says that it is a counter (docs/transcoding.md).
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal

Kind = Literal["counter", "gauge", "unknown"]

UNKNOWN: Final = 0
COUNTER: Final = 1
GAUGE: Final = 2
HISTOGRAM: Final = 3
GAUGE_HISTOGRAM: Final = 4
SUMMARY: Final = 5
INFO: Final = 6
STATE_SET: Final = 7

TYPES: Final[Mapping[str, int]] = {
    "counter": COUNTER,
    "gauge": GAUGE,
    "histogram": HISTOGRAM,
    "gaugehistogram": GAUGE_HISTOGRAM,
    "summary": SUMMARY,
    "info": INFO,
    "stateset": STATE_SET,
}
"""What the label ``__type__`` says, which Prometheus writes with the feature type-and-unit-labels."""

_WHOLE: Final[Mapping[int, Kind]] = {
    COUNTER: "counter",
    GAUGE: "gauge",
    SUMMARY: "gauge",  # its quantiles
    INFO: "gauge",
    STATE_SET: "gauge",
}
_OBSERVED: Final[Mapping[int, Kind]] = {HISTOGRAM: "counter", SUMMARY: "counter", GAUGE_HISTOGRAM: "gauge"}
_PARTS: Final[Mapping[str, Mapping[int, Kind]]] = {
    "_total": {COUNTER: "counter"},
    "_bucket": {HISTOGRAM: "counter", GAUGE_HISTOGRAM: "gauge"},
    "_count": _OBSERVED,
    "_sum": _OBSERVED,
    "_gcount": {GAUGE_HISTOGRAM: "gauge"},
    "_gsum": {GAUGE_HISTOGRAM: "gauge"},
    "_created": {COUNTER: "gauge", HISTOGRAM: "gauge", SUMMARY: "gauge"},
    "_info": {INFO: "gauge"},
}


def kind_in_family(name: str, type_of: Callable[[str], int]) -> Kind:
    """
    Return what the metadata of families says of a series; ``type_of``: the type of a family, UNKNOWN when not known.

    A family of that very name decides before one that the series would be a part of.
    """
    whole = _WHOLE.get(type_of(name))
    if whole is not None:
        return whole
    for suffix, kinds in _PARTS.items():
        if name.endswith(suffix):
            return kinds.get(type_of(name.removesuffix(suffix)), "unknown")
    return "unknown"


def kind_of_type(name: str, metric_type: int, *, quantile: bool) -> Kind:
    """
    Return what a type that came with the series itself says of it; ``quantile``: it has that label.
    """
    if not quantile:
        for suffix, kinds in _PARTS.items():
            if name.endswith(suffix) and metric_type in kinds:
                return kinds[metric_type]
    return _WHOLE.get(metric_type, "unknown")


def kind_by_name(name: str) -> Kind:
    """
    Return what the name alone says. Only ``_total`` is a counter's: gauges are called ``open_count`` and ``token_bucket``, too.
    """
    return "counter" if name.endswith("_total") else "unknown"
