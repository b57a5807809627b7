"""
What one principal may send beyond what everybody may: attributes of a point, and new streams a day (reliability.md B3).

Attributes are looked at when a stream is opened, and for each log record; a stream that is known has passed. New streams are
counted by the principal's name and the day, UTC, of their reception; the counts are in frames and snapshots, so that a restart
forgets none. Streams that came back from the idle table are not new.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from meterline.api.receiver import Limits
from meterline.kernel import canonical
from meterline.kernel.canonical import BadValueError
from meterline.kernel.reasons import Reason
from meterline.kernel.state import FRESH
from meterline.protobuf.read import fields
from meterline.protobuf.write import length_delimited, varint

if TYPE_CHECKING:
    from meterline.kernel.batch import LogRecord
    from meterline.kernel.core import Call, Core
    from meterline.kernel.plan import ContextEntry

DAY: Final = 86_400 * 10**9
_LEVEL: Final = 4
"""Bytes that a level of nesting takes at least: two tags and two lengths."""
_MAX_KEPT: Final = 10_000


class Extent(NamedTuple):
    """
    How large a set of attributes is: their number, the longest key and value in bytes, the deepest nesting.
    """

    attributes: int = 0
    key: int = 0
    value: int = 0
    depth: int = 0

    def over(self, limits: Limits) -> Reason | None:
        """
        Say which limit it exceeds.
        """
        if self.attributes > limits.max_attributes:
            return Reason.TOO_MANY_ATTRIBUTES
        if self.key > limits.max_key_bytes:
            return Reason.KEY_TOO_LONG
        if self.value > limits.max_value_bytes:
            return Reason.VALUE_TOO_LONG
        return Reason.TOO_DEEP if self.depth > limits.max_depth else None


def extent(entries: Sequence[bytes]) -> Extent:
    """
    Measure KeyValue messages. A text or bytes value is as long as it is, another as long as its encoding; what cannot be
    read has no depth.
    """
    key = value = depth = 0
    for entry in entries:
        _, read, raw_key, _, _ = canonical.read_entry(entry)
        key = max(key, len(raw_key))
        value = max(value, _size(read, len(entry) - len(raw_key)))
        if isinstance(read, list | dict):
            depth = max(depth, nesting(read))
    return Extent(len(entries), key, value, depth)


def _size(value: Any, encoded: int) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    return len(value) if isinstance(value, bytes) else encoded


def nesting(value: Any) -> int:
    """
    Return how many levels of arrays and maps a value has; at most 64 can be read.
    """
    depth = 0
    level = [value]
    while level := [each for each in level if isinstance(each, list | dict)]:
        depth += 1
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return depth


def small(limits: Limits) -> int:
    """
    Return how many bytes one KeyValue message may have that exceeds no limit whatever is in it.
    """
    return min(limits.max_key_bytes, limits.max_value_bytes, _LEVEL * limits.max_depth)


def over(entries: Sequence[bytes], limits: Limits, size: int) -> Reason | None:
    """
    Say which limit KeyValue messages exceed. ``size``: what ``small`` says of the limits.
    """
    if len(entries) <= limits.max_attributes and max(map(len, entries), default=0) <= size:
        return None
    return extent(entries).over(limits)


def _over(raw: bytes, call: "Call") -> Reason | None:
    from meterline.kernel.project import attribute_entries  # noqa: PLC0415

    limits, size = call.source.limits, call.source.small
    if len(raw) <= size and len(raw) <= 2 * limits.max_attributes:
        return None
    return over(attribute_entries(raw), limits, size)


def may_open(core: "Core", call: "Call", entry: "ContextEntry", slots: Sequence[int]) -> bool:
    """
    Say whether the sender may open all of these streams of one context.
    """
    limits = call.source.limits
    if _room(core, call) < len(slots) or entry.scope.read().extent.over(limits) is not None:
        return False
    raw_key = core.columns.raw_key
    return all(_over(raw_key[slot] or b"", call) is None for slot in slots)


def refused(core: "Core", call: "Call", entry: "ContextEntry", slots: Sequence[int]) -> Reason | None:
    """
    Say why the sender may not open a stream; None when it may, or when it is open.
    """
    if not unopened(core, slots):
        return None
    reason = entry.scope.read().extent.over(call.source.limits) or _over(core.columns.raw_key[slots[0]] or b"", call)
    return reason or (None if _room(core, call) else Reason.TOO_MANY_STREAMS)


def unopened(core: "Core", slots: Iterable[int]) -> bool:
    """
    Say whether none of a stream's slots has state.
    """
    kinds = core.columns.kind
    return all(kinds[slot] == FRESH for slot in slots)


def _room(core: "Core", call: "Call") -> int:
    """
    Return how many more streams the sender may open today.
    """
    most = call.source.limits.max_streams
    if most is None:
        return 1 << 62
    now = core.opened(call.received_at).received_at
    return max(most - core.new_streams.today(call.source.principal, now), 0)


def opened(core: "Core", call: "Call", streams: int) -> None:
    """
    Count new streams.
    """
    frame = core.opened(call.received_at)
    name = call.source.principal
    frame.ops.append((_undo_opened, name, core.new_streams.counts.get(name)))
    core.new_streams.add(name, frame.received_at, streams)
    frame.count_streams(frame.source(call.source.receiver, name), streams)


def _undo_opened(core: "Core", name: str, before: tuple[int, int] | None) -> None:
    if before is None:
        core.new_streams.counts.pop(name, None)
    else:
        core.new_streams.counts[name] = before


def record_refused(call: "Call", entry: "ContextEntry", record: "LogRecord") -> Reason | None:
    """
    Say which limit of its sender a log record exceeds. Of its body only the depth counts.
    """
    source = call.source
    reason = entry.scope.read().extent.over(source.limits)
    if reason is None:
        reason = over(record.attributes, source.limits, source.small)
    if reason is None and record.body is not None and len(record.body) > _LEVEL * source.limits.max_depth:
        reason = _body_refused(record.body, source.limits)
    return reason


def _body_refused(body: bytes, limits: Limits) -> Reason | None:
    """
    Look at the depth of a body, unless it may be as deep as can be read at all.
    """
    if limits.max_depth >= canonical.MAX_DEPTH:
        return None
    try:
        value = canonical.any_value(body, 0, len(body))
    except BadValueError as error:
        return error.reason if error.reason is Reason.TOO_DEEP else None
    return Reason.TOO_DEEP if nesting(value) > limits.max_depth else None


class NewStreams:
    """
    How many streams each principal opened on the day on which it last opened one. ``counts``: (day, streams) by name.
    """

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, int]] = {}

    def today(self, principal: str, now: int) -> int:
        """
        Return how many it opened on the day of ``now``.
        """
        day, count = self.counts.get(principal, (0, 0))
        return count if day == now // DAY else 0

    def add(self, principal: str, now: int, streams: int) -> None:
        """
        Count more.
        """
        self.counts[principal] = (now // DAY, self.today(principal, now) + streams)

    def encode(self) -> bytes:
        """
        Return the counts as bytes; those of days before the latest say nothing any more and are left out.
        """
        latest = max((day for day, _ in self.counts.values()), default=0)
        if len(self.counts) > _MAX_KEPT:
            self.counts = {name: count for name, count in self.counts.items() if count[0] == latest}
        return b"".join(
            length_delimited(1, length_delimited(1, name.encode()) + b"\x10" + varint(day) + b"\x18" + varint(count))
            for name, (day, count) in self.counts.items()
            if day == latest
        )

    def restore(self, body: bytes) -> None:
        """
        Take what ``encode`` returned.
        """
        for _, _, a, b, _ in fields(body):
            found = {number: (c, d) for number, _, c, d, _ in fields(body, a, b)}
            name = body[slice(*found[1])].decode()
            self.counts[name] = (found[2][0], found[3][0])
