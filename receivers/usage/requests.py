"""
Reading a request of the usage API: its form, its items, and which of them no message can carry.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from meterline.api import Body
from meterline.encodings.events.items import ItemError, certain
from meterline.encodings.json import parse
from meterline.encodings.json_text import written
from meterline.encodings.rejects import Reject, rejects
from meterline.encodings.usage import UNDECODABLE, UsageItem, read_item, usage_body
from meterline.errors import UndecodableError

JSON_TYPES: Final = frozenset({"application/json", ""})
LINES_TYPES: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)


class Told(NamedTuple):
    """
    A request, read. ``told``: places of the items that go to the kernel; ``refused``: the others by place. ``total``: all.
    """

    items: Sequence[UsageItem]
    told: Sequence[int]
    refused: Mapping[int, Reject]
    total: int

    def bodies(self, received_at: int) -> list[Body]:
        """
        Return what is to be stored.
        """
        usage = [usage_body(self.items, received_at)] if self.items else []
        return usage + rejects(self.refused.values())


def read_request(body: bytes, media_type: str, key: str) -> Told:
    """
    Read one object, an array of them, ``{"records": [...]}``, or one object a line. ``key``: the request's idempotency key.

    :raises UndecodableError: no JSON, or none of these forms. A broken line is refused alone.
    """
    items: list[UsageItem] = []
    told: list[int] = []
    refused: dict[int, Reject] = {}
    place = -1
    for place, item in enumerate(_items(body, media_type, key)):
        if isinstance(item, Reject):
            refused[place] = item
        else:
            items.append(item)
            told.append(place)
    return Told(items, told, refused, place + 1)


def _items(body: bytes, media_type: str, key: str) -> Iterator[UsageItem | Reject]:
    if media_type in LINES_TYPES:
        for place, line in enumerate(filter(None, map(bytes.strip, body.split(b"\n")))):
            yield _line(line, _key(key, place))
        return
    document = parse(body, unique=True)
    if isinstance(document, dict) and "records" not in document:
        yield _item(document, key)
        return
    for place, value in enumerate(_batch(document)):
        yield _item(value, _key(key, place))


def _item(value: Any, key: str) -> UsageItem | Reject:
    try:
        return read_item(certain(value), key)
    except ItemError as error:
        return Reject(error.reason, str(error), written(value))


def _line(line: bytes, key: str) -> UsageItem | Reject:
    try:
        return _item(parse(line, unique=True), key)
    except UndecodableError as error:
        return Reject(UNDECODABLE, str(error), line)


def _batch(document: Any) -> list[Any]:
    batch = document
    if isinstance(document, dict):
        batch = document["records"] if len(document.items()) == 1 else None
    if not isinstance(batch, list):
        raise UndecodableError('reading request: it is no object, array of objects, or {"records": [...]}')
    return batch


def _key(key: str, place: int) -> str:
    """
    Return the idempotency key of one item of several: one that nobody would write by hand.
    """
    return json.dumps([key, place], ensure_ascii=False, separators=(",", ":")) if key else ""
