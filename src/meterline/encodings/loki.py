"""
Loki's push requests, protobuf and JSON, as log records: the line is the body, labels and structured metadata are attributes.

Where a stream's label and an entry's metadata share a name, the metadata holds, being closer to the line.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from meterline.api import Body, Format
from meterline.encodings.json import parse
from meterline.encodings.loki_labels import parse_labels
from meterline.encodings.otlp import MAX_TIME, key_values, resource
from meterline.encodings.rejects import Reject, rejects
from meterline.encodings.times import nanoseconds
from meterline.errors import TooLargeError, UndecodableError
from meterline.protobuf.read import LEN, VARINT, fields, signed
from meterline.protobuf.write import fixed64, length_delimited

_NS_PER_SECOND: Final = 1_000_000_000
_NO_TIME: Final = 10**20
_INTEGER: Final = re.compile(r"-?\d{1,20}", re.ASCII)


class Entry(NamedTuple):
    """
    One line. ``time``: ns since the Unix epoch, None when it could not be read. ``line``: UTF-8, or meant to be.
    """

    time: int | None
    line: bytes
    metadata: Mapping[str, Any]
    wrong: str = ""


class Stream(NamedTuple):
    """
    Lines with the same labels. ``wrong``: why the labels are none, in which case no line of it can be kept as a record.
    """

    labels: Mapping[str, str]
    entries: Iterable[Entry]
    wrong: str = ""


MAX_BYTES: Final = 128 * 1024 * 1024
_RECORD_BYTES: Final = 96  # of memory beside the record's own bytes: tiny lines must not fill it


def transcode(streams: Iterable[Stream], tenant: str, limit: int = MAX_BYTES) -> list[Body]:
    """
    Return the bodies of a request.

    :raises TooLargeError: they would have more than about ``limit`` bytes, since each record repeats its stream's labels.
    """
    records: list[bytes] = []
    refused: list[Reject] = []
    for stream in streams:
        common = key_values(6, stream.labels)
        for entry in stream.entries:
            fault = _fault(stream, entry)
            if fault is None:
                records.append(_record(stream, entry, common))
                limit -= len(records[-1]) + _RECORD_BYTES
            else:
                refused.append(Reject(*fault, _document(stream, entry)))
                limit -= len(refused[-1].item) + _RECORD_BYTES
            if limit < 0:
                raise TooLargeError(
                    "decoding push request: its labels are too large for so many lines; send fewer at once"
                )
    bodies = [Body(Format.OTLP_LOGS, resource(records, {"tenant.id": tenant} if tenant else {}))] if records else []
    return bodies + rejects(refused)


def _record(stream: Stream, entry: Entry, common: bytes) -> bytes:
    if entry.metadata.keys() & stream.labels.keys():
        attributes = key_values(6, {**stream.labels, **entry.metadata})
    else:
        attributes = common + key_values(6, entry.metadata)
    time = fixed64(1, entry.time) if entry.time else b""  # none: the kernel quarantines it as time_missing
    return time + length_delimited(5, length_delimited(1, entry.line)) + attributes


def _fault(stream: Stream, entry: Entry) -> tuple[str, str] | None:
    wrong = stream.wrong or entry.wrong
    if wrong:
        return "undecodable_item", wrong
    if entry.time is None:
        return "undecodable_item", "reading entry: its timestamp is no number of nanoseconds"
    if entry.time < 0:
        return "time_in_past", "reading entry: its time is before 1970"
    if entry.time > MAX_TIME:
        return "time_in_future", "reading entry: its time is after 2554"
    return None


def _document(stream: Stream, entry: Entry) -> bytes:
    said = {
        "labels": stream.labels,
        "timestamp": entry.time,
        "line": entry.line.decode(errors="backslashreplace"),
        "metadata": entry.metadata,
    }
    return json.dumps(said, ensure_ascii=False, default=str).encode(errors="surrogatepass")


def read_protobuf(body: bytes) -> Iterator[Stream]:
    """
    Yield the streams of a PushRequest.

    :raises UndecodableError: broken wire structure.
    """
    for number, kind, at, to, _ in fields(body):
        if (number, kind) == (1, LEN):
            yield _stream(body, at, to)


def _stream(buf: bytes, pos: int, end: int) -> Stream:
    labels = b""
    for number, kind, at, to, _ in fields(buf, pos, end):
        if (number, kind) == (1, LEN):
            labels = buf[at:to]
    found = fields(buf, pos, end)
    return _labelled(labels, (_entry(buf, at, to) for number, kind, at, to, _ in found if (number, kind) == (2, LEN)))


def _labelled(written: bytes | str, entries: Iterable[Entry]) -> Stream:
    try:
        return Stream(parse_labels(written if isinstance(written, str) else written.decode()), entries)
    except UnicodeDecodeError:
        wrong = "reading labels: they are not UTF-8"
    except ValueError as error:
        wrong = str(error)
    shown = written if isinstance(written, str) else written.decode(errors="backslashreplace")
    return Stream({"": shown}, entries, wrong)


def _entry(buf: bytes, pos: int, end: int) -> Entry:
    time, line, metadata, wrong = 0, b"", {}, ""
    for number, kind, at, to, _ in fields(buf, pos, end):
        if kind != LEN:
            continue
        if number == 1:
            time = _timestamp(buf, at, to)
        elif number == 2:
            line = buf[at:to]
        elif number == 3:
            name, value = _pair(buf, at, to)
            try:
                metadata[name.decode()] = value.decode()
            except UnicodeDecodeError:
                wrong = "reading entry: its metadata is not UTF-8"
    return Entry(time, line, metadata, wrong)


def _timestamp(buf: bytes, pos: int, end: int) -> int:
    parts = {number: signed(at) for number, kind, at, _, _ in fields(buf, pos, end) if kind == VARINT}
    return parts.get(1, 0) * _NS_PER_SECOND + parts.get(2, 0)


def _pair(buf: bytes, pos: int, end: int) -> tuple[bytes, bytes]:
    parts = {number: buf[at:to] for number, kind, at, to, _ in fields(buf, pos, end) if kind == LEN}
    return parts.get(1, b""), parts.get(2, b"")


def read_json(body: bytes) -> Iterator[Stream]:
    """
    Yield the streams of a push request in JSON, of today's form or of the one before Loki 1.0 (``labels``, ``entries``).

    :raises UndecodableError: no JSON, or no list of streams in it.
    """
    document = parse(body)
    streams = document.get("streams", "") if isinstance(document, dict) else ""
    if not isinstance(streams, list | None):
        raise UndecodableError('reading push request: it is no object with a list "streams"')
    for stream in streams or ():
        yield _json_stream(stream)


def _json_stream(stream: Any) -> Stream:
    if not isinstance(stream, dict):
        return Stream({}, [_odd(stream, "reading stream: it is no object")])
    if "entries" in stream:
        return _labelled(str(stream.get("labels", "")), [_old_entry(item) for item in _listed(stream["entries"])])
    entries = [_json_entry(item) for item in _listed(stream.get("values", stream))]
    labels = stream.get("stream")
    if not isinstance(labels, dict) or any(isinstance(value, dict | list) for value in labels.values()):
        return Stream({"": json.dumps(labels, default=str)}, entries, "reading labels: they are no object of texts")
    return Stream({name: _label(value) for name, value in labels.items()}, entries)


def _label(value: Any) -> str:
    """
    Return a label's value; pino-loki makes labels of numbers, too.
    """
    return str(value) if isinstance(value, str | Decimal) else json.dumps(value)


def _listed(values: Any) -> list[Any]:
    """
    Return a list that must be one; null, as Go's encoder writes an empty one, is none.
    """
    if values is None:
        return []
    return values if isinstance(values, list) else [values]


def _json_entry(item: Any) -> Entry:
    match item:
        case [time, str(line)]:
            return Entry(_nanoseconds(time), line.encode(errors="surrogatepass"), {})
        case [time, str(line), dict(metadata)]:
            return Entry(_nanoseconds(time), line.encode(errors="surrogatepass"), metadata)
        case _:
            return _odd(item, "reading entry: it is not [time, line] or [time, line, metadata]")


def _old_entry(item: Any) -> Entry:
    match item:
        case {"ts": time, "line": str(line)}:
            return Entry(nanoseconds(time, "rfc3339") or None, line.encode(errors="surrogatepass"), {})
        case _:
            return _odd(item, 'reading entry: it is not {"ts", "line"}')


def _nanoseconds(time: Any) -> int | None:
    """
    Read a number of ns, a text as Loki wants it or a number as some senders write it.
    """
    if isinstance(time, str):
        return int(time) if _INTEGER.fullmatch(time) else None
    if isinstance(time, int | float | Decimal) and not isinstance(time, bool):
        exact = Decimal(time)
        within = exact.is_finite() and -_NO_TIME < exact < _NO_TIME  # arithmetic would round, and raise at 1e999999999
        return int(exact) if within and exact == exact.to_integral_value() else None
    return None


def _odd(item: Any, wrong: str) -> Entry:
    return Entry(None, json.dumps(item, default=str).encode(errors="surrogatepass"), {}, wrong)
