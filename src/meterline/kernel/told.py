"""
What a receiver of our own says of a metric beside OTLP: the type that a Prometheus sender knows, the writer of a pair, the
points' own identities. Honoured in ``Format.TRANSCODED_METRICS`` alone; contract for receivers: docs/transcoding.md.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from meterline.kernel.canonical import attributes
from meterline.kernel.steps.cumulative import NO_TERM
from meterline.protobuf.read import LEN, fields

Hint: TypeAlias = Literal["", "counter", "gauge", "unknown"]
"""What the metadata says that a cumulative monotonic sum really is; "" when it says nothing."""

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
UNKNOWN: Final = "unknown"

TYPE_KEY: Final = "prometheus.type"
TERM_KEY: Final = "meterline.term"
METADATA: Final = 12
"""Field of a Metric: repeated KeyValue."""

_EXEMPLARS: Final[Mapping[int, int]] = {5: 5, 7: 5, 9: 8, 10: 11}
"""Fields of exemplars by the field of ``Metric.data``; a summary has none."""

_TRACE_ID: Final = 5
_ID_SIZE: Final = 16
_CACHED_SIZE: Final = 512
_MAX_TERM: Final = (1 << 63) - 1


class Told(NamedTuple):
    """
    What the metadata of one metric say. ``raw``: the fields as they came, for a retry.
    """

    hint: Hint = ""
    term: int = NO_TERM
    raw: bytes = b""


NOTHING: Final = Told()


def read_told(raw: bytes) -> Told:
    """
    Read the metadata fields of a metric, whose structure the walk has checked.

    A type that is none of the three, or cannot be read, is ``unknown``; a term that is no positive int64 is none.
    """
    return _cached(raw) if len(raw) <= _CACHED_SIZE else _read(raw)


def _read(raw: bytes) -> Told:
    said = attributes(raw[a:b] for _, kind, a, b, _ in fields(raw) if kind == LEN)
    term = said.get(TERM_KEY)
    return Told(_hint(said), term if type(term) is int and 0 < term <= _MAX_TERM else NO_TERM, raw)


_cached = lru_cache(maxsize=4096)(_read)


def _hint(said: Mapping[str, object]) -> Hint:
    if TYPE_KEY not in said:
        return ""
    word = said[TYPE_KEY]
    return COUNTER if word == COUNTER else GAUGE if word == GAUGE else UNKNOWN


def point_ids(data: int, payloads: Iterable[bytes]) -> dict[int, bytes]:
    """
    Return the identities that points have of their own, by index: the 16-byte trace id of a point's first exemplar.

    ``data``: the field of ``Metric.data``. Raises UndecodableError when an exemplar is broken.
    """
    field = _EXEMPLARS.get(data)
    ids = enumerate(_point_id(payload, field) for payload in payloads) if field is not None else ()
    return {index: found for index, found in ids if found}


def _point_id(payload: bytes, field: int) -> bytes:
    for number, kind, a, b, _ in fields(payload):
        if number == field and kind == LEN:
            ids = [payload[c:d] for each, wire, c, d, _ in fields(payload, a, b) if (each, wire) == (_TRACE_ID, LEN)]
            return ids[-1] if ids and len(ids[-1]) == _ID_SIZE else b""
    return b""
