"""
Messages of protobuf in files: requests of metrics or of logs, which only their fields tell apart.
"""

from collections.abc import Iterator
from typing import Final

from meterline.api import Body, Format, UndecodableError
from meterline.encodings.rejects import Reject, rejects
from meterline.protobuf.read import I64, LEN, VARINT, fields

_RESOURCES: Final = 1
_SCOPES: Final = 2
_ITEMS: Final = 2
_LOG: Final = frozenset({(1, I64), (11, I64), (2, VARINT)})  # time, observed time, severity
_SPAN: Final = frozenset({(7, I64), (8, I64)})  # start and end
_NAME: Final = (1, LEN)


def message_bodies(data: bytes) -> list[Body]:
    """
    Return the body of a message, or a reject of one that is broken, or has traces.
    """
    try:
        form = _form(data)
    except UndecodableError as error:
        return rejects([Reject("undecodable_item", str(error), data, "protobuf")])
    if form is None:
        return rejects([Reject("unsupported_item", "traces hold nothing that can be metered", data, "protobuf")])
    return [Body(form, data)] if data else []


def _form(data: bytes) -> Format | None:
    """
    Tell by the first item that says it; a message without any is as good as one of metrics. None: traces.
    """
    for start, end in _items(data):
        found = {(number, kind) for number, kind, _, _, _ in fields(data, start, end)}
        if found & _SPAN and _NAME in found:
            return None
        if found & _LOG:
            return Format.OTLP_LOGS
        if found:
            return Format.OTLP_METRICS if _NAME in found else Format.OTLP_LOGS
    return Format.OTLP_METRICS


def _items(data: bytes) -> Iterator[tuple[int, int]]:
    """
    Yield where metrics, log records or spans stand.
    """
    for resource in _parts(data, (0, len(data)), _RESOURCES):
        for scope in _parts(data, resource, _SCOPES):
            yield from _parts(data, scope, _ITEMS)


def _parts(data: bytes, within: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
    for number, kind, start, end, _ in fields(data, *within):
        if (number, kind) == (wanted, LEN):
            yield start, end
