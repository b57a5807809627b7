"""
What a kernel asks of the rules, and what they answer: a part of the seam, ``kernel.seam``, which names all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from meterline.kernel.reasons import Reason
from meterline.quantity import Amount
from meterline.records import USAGE

Value: TypeAlias = Any
"""An attribute value as plain Python: str, bool, int, float, Decimal (JSON numbers), bytes, None, list, dict - or ABSENT."""


class _Absent:
    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()
"""There is no such attribute or field."""


@dataclass(frozen=True, slots=True)
class Bad:
    """
    Stands where a value could not be read (bad UTF-8, nested too deep, broken bytes).
    """

    reason: Reason


Path: TypeAlias = tuple[str, ...]
"""
Where a value stands in a point: ``("attributes", key, *nested)``, ``("body", *nested)``, ``("body_json", *nested)`` (a text
body parsed as JSON), ``("severity",)`` (severity_text, or else the number's name), ``("severity_number",)``,
``("event_name",)``.
"""


class PointType(Enum):
    """
    What a context's points are.
    """

    GAUGE = "gauge"
    SUM = "sum"
    HISTOGRAM = "histogram"
    EXPONENTIAL_HISTOGRAM = "exponential_histogram"
    SUMMARY = "summary"
    LOG = "log"


class Temporality(Enum):
    """
    Aggregation temporality; UNSPECIFIED for what has none.
    """

    UNSPECIFIED = 0
    DELTA = 1
    CUMULATIVE = 2


@dataclass(frozen=True, slots=True)
class Context:
    """
    All that is constant for a metric (or for the logs of one scope): what rules are asked about first.

    A value that cannot be read is a ``Bad``; reading it in a rule makes the rule set answer with ``reject``.
    """

    type: PointType
    name: str  # "" for logs
    unit: str
    temporality: Temporality
    monotonic: bool
    resource: Mapping[str, Value]
    scope_name: str
    scope_version: str
    scope: Mapping[str, Value]


class Fields(Enum):
    """
    The two answers to a context that are not a list of paths.
    """

    SKIP = "skip"  # no rule can match: every point is unmatched; nothing is interned
    ALL = "all"  # rules read the whole point: ``Shape.values`` is one mapping {"attributes": {...}, "body": ...}


@dataclass(frozen=True, slots=True)
class ContextVerdict:
    """
    Which values of a point the rules read to decide; constant for the context under this generation.

    ``overflow``: the verdict for points with ``otel.metric.overflow`` = true, matched by metric, resource and scope alone:
    the number of rules that match so (0: unmatched).
    """

    gen: int
    fields: tuple[Path, ...] | Fields
    overflow: int = 0
    reject: Reason | None = None


class Track(Enum):
    """
    What is read of a stream.
    """

    NUMBER = 0
    COUNT = 1
    SUM = 2
    EVENT = 3  # one log record


class LogIdentity(Enum):
    """
    The two identities of log records that are not a selector.
    """

    CONTENT = "content"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Charge:
    """
    What a rule makes of a stream, or of the log records of one shape: one claim on each point.

    ``customer``/``dimension`` None: missing. ``failure``: what stage 4 answers for this claim (missing_customer,
    missing_dimension, unit_mismatch, rule_error), as a ``claim`` entry; ``ignore``: stage 4 answers no_usage instead.
    ``raw``: the point is quarantined raw for this claim before any step (needs_conversion, missing_identity).
    ``factor``: the rule's scale x 10^12. ``since``: first activation instant of the rule; ``active_from``: it was written.
    ``gated``: its ``when`` reads value or time and is answered per point through ``Meter.decide``.
    ``rivals``: bit mask of the charges of this verdict that come to the same customer and dimension while not all say multi.
    ``explicit``: the rule writes ``value``, so that it counts for a transcoded sum whose type is unknown (docs/transcoding.md).
    Logs: the quantity is at ``value``, or ``literal`` when ``value`` is None.
    ``kind``: of its records; only charges that no rule made have another than ``usage``.
    """

    rule: str
    customer: str | None
    dimension: str | None
    metadata: tuple[tuple[str, str], ...] = ()
    track: Track = Track.NUMBER
    factor: int = 10**12
    since: int = 0
    active_from: bool = False
    continuous_from_gen: int = 0
    gated: bool = False
    allow_negative: bool = False
    explicit: bool = False
    rivals: int = 0
    failure: Reason | None = None
    ignore: bool = False
    raw: Reason | None = None
    value: Path | None = None
    literal: Amount = 10**18
    identity: Path | LogIdentity | None = None
    kind: str = USAGE


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the rules say of a shape: no charges = unmatched. ``reject``: a value that a rule had to read is bad.
    """

    gen: int
    charges: tuple[Charge, ...]
    reject: Reason | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """
    A distinct projection: the context and the values of its fields, in the order of ``ContextVerdict.fields``.
    """

    context: Context
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class PointView:
    """
    One point whose gated charges must be asked: reading and time are what its ``when`` may see.

    ``value`` is the reading (int or float; histograms: the sum or None), ``count`` for histograms and summaries.
    """

    shape: Shape
    charges: tuple[Charge, ...]
    attributes: Mapping[str, Value]
    body: Value
    value: int | float | None
    count: int | None
    time: int
    start: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """
    What a batch needs before it can be applied. ``cold``: 16-byte keys of streams that may be in the idle table.
    """

    gen: int
    contexts: Sequence[tuple[int, Context]] = ()
    shapes: Sequence[tuple[int, Shape]] = ()
    points: Sequence[tuple[int, PointView]] = ()
    cold: Sequence[bytes] = ()
