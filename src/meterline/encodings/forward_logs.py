"""
Making log records of the entries that a message of the forward protocol carries, one by one, so that a bad one costs no other.

An entry is ``[time, record]``, or ``[[time, metadata], record]`` of Fluent Bit. The record is the log record's body; what
stands in the metadata is an attribute each; the tag is the attribute ``fluent.tag``.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import msgpack

from meterline.api import Body, Format
from meterline.encodings import otlp
from meterline.encodings.forward import LOGS, METRICS, Message
from meterline.encodings.json import same
from meterline.encodings.rejects import Reject, rejects
from meterline.errors import TooLargeError, UndecodableError

MAX_ITEM_BYTES: Final = 64 * 1024
"""So much of an entry of which no record could be made is kept."""

_EVENT_TIME: Final = b"\x92\xd7\x00"  # an array of two, the first of which is an EventTime as everybody writes it
_WRAPPED_TIME: Final = b"\x92\x92\xd7\x00"  # the same with metadata, as Fluent Bit 5 writes it
_NO_METADATA: Final = 0x80
_SECONDS_AND_NANOS: Final = struct.Struct(">II")
_PER_SECOND: Final = 10**9
_GROUP_START: Final = 2**32 - 1  # Fluent Bit writes -1 and -2 into the 32 bits of an EventTime's seconds
_GROUP_END: Final = 2**32 - 2
_FAILURES: Final = (msgpack.UnpackException, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Options:
    """
    ``max_event_bytes``: of one entry. ``max_bytes``: of all that is made of a message. ``received_at``: ns, the observed time
    of entries without a time; 0 = leave it out. ``resource``: attributes of the sender. ``attributes_of``: more attributes of
    a record, read from its body.
    """

    max_event_bytes: int
    max_bytes: int
    received_at: int = 0
    resource: Mapping[str, Any] | None = None
    attributes_of: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None


def log_bodies(message: Message, entries: bytes, options: Options) -> list[Body]:
    """
    Return what is to be submitted of a message: its log records, and what is to go to quarantine. ``entries``: inflated.

    The same message makes the same bodies. Metrics and traces of Fluent Bit are one reject each.

    :raises TooLargeError: the bodies would be over ``max_bytes``, which takes a message made for it.
    """
    if message.signal != LOGS:
        kind = {METRICS: "metrics"}.get(message.signal, "traces or something newer")
        return rejects([_reject("unsupported_item", f"Fluent Bit's own form of {kind}", entries)])
    return _Transcoder(message.tag, options).bodies(entries)


class _Entry(NamedTuple):
    """
    ``time``: ns, 0 = not known.
    """

    time: int
    metadata: Mapping[str, Any]
    record: Any


class _Transcoder:
    """
    The bodies of one message in the making.
    """

    def __init__(self, tag: str, options: Options) -> None:
        self._options = options
        self._tag = otlp.key_values(6, {"fluent.tag": tag}) if tag else b""
        self._records: list[bytes] = []
        self._resources: list[bytes] = []
        self._rejects: list[Reject] = []
        self._group: Mapping[str, Any] = {}
        self._room = options.max_bytes

    def bodies(self, entries: bytes) -> list[Body]:
        for entry in self._entries(entries):
            try:
                self._take(entry)
            except (*_FAILURES, UndecodableError) as error:
                self._refuse(*_blame(error), entry)
        self._flush()
        logs = b"".join(self._resources)
        return ([Body(Format.OTLP_LOGS, logs)] if logs else []) + rejects(self._rejects)

    def _entries(self, entries: bytes) -> Iterator[bytes]:
        """
        Cut the stream of entries; what follows broken bytes cannot be cut, and is one reject.
        """
        scan: Any = msgpack.Unpacker(read_size=len(entries) or 1, max_buffer_size=len(entries) or 1, raw=True)
        scan.feed(entries)
        start, end = 0, len(entries)
        while start < end:
            try:
                scan.skip()
            except _FAILURES:
                detail = f"the last {end - start} bytes of the message are no entries"
                self._refuse("undecodable_item", detail, entries[start : start + MAX_ITEM_BYTES])
                return
            stop = scan.tell()
            yield entries[start:stop]
            start = stop

    def _take(self, entry: bytes) -> None:
        if len(entry) > self._options.max_event_bytes:
            self._refuse("value_too_long", f"an entry of {len(entry)} bytes is over max_event_bytes", entry)
            return
        found = _read(entry)
        if type(found.record) is not dict:
            raise UndecodableError("its record is no map")
        if found.time < _GROUP_END * _PER_SECOND or not self._is_marker(found.time, found.record):
            self._add(self._record(found))

    def _record(self, entry: _Entry) -> bytes:
        observed = 0 if entry.time else self._options.received_at
        made = otlp.log_record(time=entry.time, observed=observed, body=entry.record)
        more = self._options.attributes_of(entry.record) if self._options.attributes_of is not None else {}
        return made + self._tag + (otlp.key_values(6, {**entry.metadata, **more}) if entry.metadata or more else b"")

    def _add(self, record: bytes) -> None:
        self._spend(len(record))
        self._records.append(record)

    def _is_marker(self, time: int, record: Mapping[str, Any]) -> bool:
        """
        Take Fluent Bit's marks of where a group of records begins and ends; the first says of which resource they are.
        """
        seconds, nanos = divmod(time, _PER_SECOND)
        if nanos or seconds > _GROUP_START:
            return False
        self._flush()
        resource = record.get("resource") if seconds == _GROUP_START else None
        attributes = resource.get("attributes") if type(resource) is dict else None
        self._group = attributes if type(attributes) is dict else {}
        return True

    def _flush(self) -> None:
        if self._records:
            attributes = {**self._group, **(self._options.resource or {})}
            self._resources.append(otlp.resource(self._records, attributes))
            self._records = []

    def _refuse(self, reason: str, detail: str, item: bytes) -> None:
        reject = _reject(reason, detail, item)
        self._spend(len(reject.item) + len(detail) + len(reason))
        self._rejects.append(reject)

    def _spend(self, nbytes: int) -> None:
        self._room -= nbytes
        if self._room < 0:
            raise TooLargeError(
                "reading message: what it holds is many times as large as the message; send smaller ones"
            )


def _reject(reason: str, detail: str, item: bytes) -> Reject:
    return Reject(reason, detail, item[:MAX_ITEM_BYTES], "msgpack")


def _blame(error: Exception) -> tuple[str, str]:
    """
    Return reason and detail; nothing of the item's own text is in it.
    """
    if isinstance(error, UndecodableError) and "nested" in str(error):
        return "too_deep", f"a value is nested deeper than {otlp.MAX_DEPTH} levels"
    what = str(error) if isinstance(error, UndecodableError) else type(error).__name__
    return "undecodable_item", f"an entry is not [time, record]: {what}"


def _read(entry: bytes) -> _Entry:
    if entry[:3] == _EVENT_TIME:
        seconds, nanos = _SECONDS_AND_NANOS.unpack_from(entry, 3)
        return _Entry(seconds * _PER_SECOND + nanos, {}, _unpack(entry[11:]))
    if entry[:4] == _WRAPPED_TIME and entry[12] == _NO_METADATA:
        seconds, nanos = _SECONDS_AND_NANOS.unpack_from(entry, 4)
        return _Entry(seconds * _PER_SECOND + nanos, {}, _unpack(entry[13:]))
    return _loose(_unpack(entry))


def _loose(entry: Any) -> _Entry:
    """
    Read an entry in one of the rarer forms: integer or fractional seconds, or a time with metadata.
    """
    if type(entry) is not list or len(entry) != 2:
        raise UndecodableError("it is no array of two")
    time, record = entry
    if type(time) is not list:
        return _Entry(_nanoseconds(time), {}, record)
    if len(time) != 2 or type(time[1]) is not dict:
        raise UndecodableError("its time is an array, and not [time, metadata]")
    return _Entry(_nanoseconds(time[0]), time[1], record)


def _nanoseconds(time: Any) -> int:
    """
    Return seconds as nanoseconds; 0 and nil are "not known". Raises UndecodableError: it is no time of a log record.
    """
    if time is None:
        return 0
    if type(time) not in (int, float, Decimal):
        raise UndecodableError("its time is no number")
    try:
        nanos = int(Decimal(repr(time) if type(time) is float else time) * _PER_SECOND)
    except (InvalidOperation, OverflowError, ValueError) as error:
        raise UndecodableError("its time is no finite number") from error
    if not 0 <= nanos <= otlp.MAX_TIME:
        raise UndecodableError("its time is before 1970 or after 2554")
    return nanos


def _unpack(packed: bytes) -> Any:
    """
    Make objects of a value: texts that are no UTF-8 keep their bytes as surrogates, keys are texts.
    """
    return msgpack.unpackb(
        packed,
        raw=False,
        strict_map_key=False,
        unicode_errors="surrogateescape",
        timestamp=2,
        ext_hook=_extension,
        object_pairs_hook=_named,
    )


def _named(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    made = {key if type(key) is str else _name(key): value for key, value in pairs}
    if len(made) != len(pairs) and not all(same(made[_name(key)], value) for key, value in pairs):
        raise UndecodableError("a map says a key twice, with different values")
    return made


def _name(key: Any) -> str:
    if type(key) is str:
        return key
    if type(key) is bytes:
        return key.decode("utf-8", "surrogateescape")
    if type(key) in (dict, list):
        raise UndecodableError("a key of a map is no text or number")
    return str(key)


def _extension(code: int, data: bytes) -> Decimal | bytes:
    """
    Read an EventTime as seconds, exactly; of other extensions nobody knows more than their bytes.
    """
    if code == 0 and len(data) == _SECONDS_AND_NANOS.size:
        seconds, nanos = _SECONDS_AND_NANOS.unpack(data)
        return Decimal(seconds * _PER_SECOND + nanos).scaleb(-9)
    return data
