"""
The usage record: what Meterline makes of telemetry, and what every exporter is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from meterline.quantity import Quantity

USAGE: Final = "usage"
"""The kind of records that rules make."""

MANUAL: Final = "manual"
"""The kind of records that were told as they are, and the name that stands in place of their rule; no rule may have it."""


@dataclass(frozen=True, slots=True)
class Source:
    """
    Where a record came from: receiver name, stream identity (32 hex digits; None for logs), principal, rule set hash.
    """

    receiver: str
    stream: str | None
    principal: str
    rules_hash: str


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """
    One billable quantity of one customer in one dimension; fixed when made, equal after resend, restart and replay.

    ``id`` is 32 hex digits (semantics.md 2). Times are int nanoseconds UTC; ``start_timestamp`` is None for logs and for
    deltas without a start. ``value`` is exact, at most 30 decimal places, below 10^20 in size.
    """

    id: str
    customer_id: str
    dimension_id: str
    value: Quantity
    timestamp: int
    start_timestamp: int | None
    metadata: Mapping[str, str]
    rule: str
    kind: str
    source: Source
