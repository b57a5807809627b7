"""
What the rules are shown of a point: the values at the paths they asked for, and whole points for their gates.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from meterline.kernel import canonical
from meterline.kernel.batch import DistributionBlock, LogRecord, NumberBlock
from meterline.kernel.canonical import BadValueError, lookup, read_value
from meterline.kernel.groups import Group
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import ABSENT, Bad, ContextVerdict, Fields, Path, PointView, Shape, Value
from meterline.protobuf.read import LEN, fields

OVERFLOW = "otel.metric.overflow"
_OVERFLOW_KEY = OVERFLOW.encode()
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")  # as JSON escapes it
_MAX_DIGITS = 18

_SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")


class Projection(NamedTuple):
    """
    The values of the fields, and bytes that are equal exactly when they are.
    """

    values: tuple[Value, ...]
    key: bytes


def attribute_entries(raw: bytes) -> list[bytes]:
    """
    Split the raw attribute fields of a point into KeyValue messages; their structure was checked by the walk.

    The one form that everybody sends, one tag byte and one length byte, is read in line (benchmarks/kernel.py, "cold").
    """
    found = []
    pos, end = 0, len(raw)
    while pos < end:
        size = raw[pos + 1]
        if size > 127 or raw[pos] > 127:
            return [raw[a:b] for _, kind, a, b, _ in fields(raw, 0, end) if kind == LEN]
        stop = pos + 2 + size
        found.append(raw[pos + 2 : stop])
        pos = stop
    return found


def overflow(raw: bytes, entries: Sequence[bytes]) -> bool:
    """
    Say whether the SDK folded other attribute sets into this point.
    """
    return _OVERFLOW_KEY in raw and canonical.attributes(entries).get(OVERFLOW) is True


@lru_cache(maxsize=1024)
def _plain_keys(wanted: tuple[Path, ...] | Fields) -> tuple[str, ...] | None:
    """
    Return the keys when the rules ask for whole attributes only, else None.
    """
    if isinstance(wanted, Fields) or any(len(path) != 2 or path[0] != "attributes" for path in wanted):
        return None
    return tuple(path[1] for path in wanted)


_MISSING: Final = (ABSENT, b"-")


def attribute_projection(wanted: tuple[Path, ...] | Fields, entries: Sequence[bytes]) -> Projection:
    """
    Read what the rules asked for of a metric's point.
    """
    keys = _plain_keys(wanted)
    if keys is None:
        return projection(wanted, PointValues(entries, None))
    found: dict[str | None, tuple[Value, bytes]] = {}
    for key, value, _, written, reason in map(canonical.read_entry, entries):
        if key in found:
            found[key] = (Bad(Reason.DUPLICATE_KEY), _key(Bad(Reason.DUPLICATE_KEY)))
        else:
            found[key] = (value, written if reason is None else _key(value))
    asked = [found.get(key, _MISSING) for key in keys]
    return Projection(tuple([value for value, _ in asked]), b"".join([written for _, written in asked]))


class PointValues:
    """
    The values of one point or record by path, each part read when first asked for.
    """

    def __init__(self, entries: Sequence[bytes], record: LogRecord | None) -> None:
        """
        ``entries``: KeyValue messages; ``record`` None: a metric's point.
        """
        self._entries = entries
        self._record = record
        self._attributes: dict[str, Value] | None = None
        self._roots: dict[str, Value] = {}

    @property
    def attributes(self) -> dict[str, Value]:
        """
        Return all attributes.
        """
        if self._attributes is None:
            self._attributes = canonical.attributes(self._entries)
        return self._attributes

    def at(self, path: Path) -> Value:
        """
        Return the value at a path: ABSENT when there is none, Bad when it cannot be read.
        """
        root = path[0]
        if root == "attributes":
            return lookup(self.attributes, path[1:], ABSENT)
        if self._record is None:
            return ABSENT
        if root not in self._roots:
            self._roots[root] = _ROOTS[root](self._record)
        return lookup(self._roots[root], path[1:], ABSENT)

    @property
    def body(self) -> Value:
        """
        Return the body of a record, ABSENT for metrics.
        """
        return self.at(("body",))


def _body(record: LogRecord) -> Value:
    return ABSENT if record.body is None else read_value(record.body, 0, len(record.body))


def _body_json(record: LogRecord) -> Value:
    """
    Parse a text body as JSON; ABSENT when it is not JSON, since a rule that asks for it then does not fit.
    """
    body = _body(record)
    if not isinstance(body, str):
        return body if isinstance(body, Bad) else ABSENT
    try:
        value = json.loads(body, parse_int=_json_int, parse_float=Decimal, parse_constant=_no_constant)
    except ValueError:
        return ABSENT
    except RecursionError:
        return Bad(Reason.TOO_DEEP)
    if _deeper(value, canonical.MAX_DEPTH):
        return Bad(Reason.TOO_DEEP)
    return Bad(Reason.BAD_UTF8) if _SURROGATE.search(body) and not _encodable(value) else value


def _encodable(value: Any) -> bool:
    """
    Say whether all text is Unicode: JSON can write half a surrogate pair, which nothing later could encode.
    """
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_int(text: str) -> int | Decimal:
    return int(text) if len(text) <= _MAX_DIGITS else Decimal(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"reading json body: {name} is not JSON")


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(item, levels - 1) for item in items)


def _severity(record: LogRecord) -> Value:
    if record.severity_text:
        return _text(record.severity_text)
    number = record.severity_number
    if not 1 <= number <= 4 * len(_SEVERITIES):
        return ABSENT
    level, step = divmod(number - 1, 4)
    return _SEVERITIES[level] + (str(step + 1) if step else "")


def _text(raw: bytes) -> Value:
    try:
        return canonical.text(raw)
    except BadValueError as error:
        return Bad(error.reason)


def _severity_number(record: LogRecord) -> Value:
    return record.severity_number or ABSENT


def _event_name(record: LogRecord) -> Value:
    return _text(record.event_name) if record.event_name else ABSENT


_ROOTS: Final[Mapping[str, Callable[[LogRecord], Value]]] = {
    "body": _body,
    "body_json": _body_json,
    "severity": _severity,
    "severity_number": _severity_number,
    "event_name": _event_name,
}


def projection(wanted: tuple[Path, ...] | Fields, values: PointValues) -> Projection:
    """
    Read what the rules asked for.
    """
    if isinstance(wanted, Fields):
        whole: Mapping[str, Value] = {"attributes": values.attributes, "body": values.body}
        return Projection((whole,), _key(whole))
    found = tuple(map(values.at, wanted))
    return Projection(found, b"".join(map(_key, found)))


def _key(value: Value) -> bytes:
    """
    Write a value so that only equal ones are written equally: the canonical form, with marks for ABSENT and Bad.
    """
    if value is ABSENT:
        return b"-"
    if isinstance(value, Bad):
        return b"!" + value.reason.code.encode() + b"!"
    if isinstance(value, dict):
        return canonical.canonical_map({key.encode(errors="surrogatepass"): _key(item) for key, item in value.items()})
    return canonical.canonical(value)


def point_view(block: NumberBlock | DistributionBlock, index: int, group: Group, verdict: ContextVerdict) -> PointView:
    """
    Show a point to the gates of its charges.
    """
    values = PointValues(attribute_entries(block.keys[index]), None)
    shape = Shape(block.entry.context(), projection(verdict.fields, values).values)
    if isinstance(block, NumberBlock):
        reading, count = block.values[index], None
        start, time = block.starts[index], block.times[index]
    else:
        point = block.points[index]
        reading, count, start, time = point.sum, point.count, point.start, point.time
    return PointView(shape, group.charges, values.attributes, ABSENT, reading, count, time, start)
