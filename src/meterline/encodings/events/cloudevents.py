"""
CloudEvents 1.0: structured and batched as JSON, binary with its attributes in HTTP headers.

The data is the record's body. Context attributes are attributes: ``cloudevents.event_id``, ``_source``, ``_type``,
``_subject``, ``_spec_version`` as OpenTelemetry names them, all others ``cloudevents.<name>``. An event is one source's one
id, so ``log.record.uid`` is the JSON of both, which no other pair has.
"""

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from meterline.encodings.events.items import certain, wrong
from meterline.encodings.events.logs import Facts
from meterline.encodings.json import parse
from meterline.encodings.times import nanoseconds
from meterline.errors import UndecodableError

_NAMES: Final = {
    "id": "cloudevents.event_id",
    "source": "cloudevents.event_source",
    "type": "cloudevents.event_type",
    "subject": "cloudevents.event_subject",
    "specversion": "cloudevents.event_spec_version",
}
_REQUIRED: Final = ("specversion", "id", "source", "type")
_DATA: Final = frozenset({"data", "data_base64", "time"})
_HEADER: Final = "ce-"


def is_cloudevent(event: Mapping[Any, Any]) -> bool:
    """
    Say whether an object is a CloudEvent in JSON.
    """
    return all(isinstance(event.get(name), str) for name in _REQUIRED)


def structured(event: Mapping[Any, Any]) -> tuple[Any, Facts]:
    """
    Return body and facts of an event in JSON. Raises ItemError.
    """
    said = _facts(event)
    if "data_base64" not in event:
        return event.get("data"), said
    encoded = event["data_base64"]
    try:
        data = b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except (Base64Error, ValueError):
        data = None
    if data is None:
        raise wrong("its data_base64 is no base64")
    return _body(data, str(event.get("datacontenttype") or "application/json")), said


def is_binary(headers: Mapping[str, str]) -> bool:
    """
    Say whether a request is one event with its attributes in headers, whose names are in lower case.
    """
    return f"{_HEADER}specversion" in headers


def binary(headers: Mapping[str, str], data: bytes) -> tuple[Any, Facts]:
    """
    Return body and facts of an event whose attributes are HTTP headers. Raises ItemError.
    """
    attributes = {
        name.removeprefix(_HEADER): _unquoted(value) for name, value in headers.items() if name.startswith(_HEADER)
    }
    content_type = headers.get("content-type", "")
    said = _facts({**attributes, **({"datacontenttype": content_type} if content_type else {})})
    return (_body(data, content_type or "application/json") if data else None), said


def _facts(event: Mapping[Any, Any]) -> Facts:
    missing = [name for name in _REQUIRED if not isinstance(event.get(name), str) or not event[name]]
    if missing:
        raise wrong(f"a CloudEvent without {' and '.join(missing)}")
    attributes = {
        _NAMES.get(name, f"cloudevents.{name}"): value
        for name, value in event.items()
        if name not in _DATA and value is not None
    }
    uid = json.dumps([event["source"], event["id"]], separators=(",", ":"))
    return Facts(nanoseconds(event.get("time"), "rfc3339"), uid, event["type"], "", attributes)


def _body(data: bytes, content_type: str) -> Any:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.endswith(("/json", "+json")):
        try:
            return certain(parse(data, unique=True))
        except UndecodableError as error:
            raise wrong("its data is not the JSON that it says it is") from error
    try:
        return data.decode() if media_type.startswith("text/") else data
    except UnicodeDecodeError:
        return data


def _unquoted(value: str) -> str:
    """
    Read a header's value (CloudEvents HTTP binding, 3.1.3.2): quotes off, then percent-decoding of UTF-8.
    """
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1].replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError as error:
        raise wrong("a header is not percent-encoded UTF-8") from error
