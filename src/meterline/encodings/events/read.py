"""
Documents of a body or of a line; what cannot be read is a reject, and its neighbours stay.
"""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from meterline.encodings.events.items import UNDECODABLE_ITEM
from meterline.encodings.json import documents
from meterline.encodings.rejects import Reject
from meterline.errors import TooLargeError, UndecodableError

MAX_VALUES: Final = 8_000_000
"""More values than this in one body are refused: as Python objects they would take a gigabyte."""

FORM: Final = "application/x-www-form-urlencoded"
PLAIN: Final = "text/plain"
MSGPACK: Final = frozenset({"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"})
_JSON: Final = frozenset(
    {
        "",
        "application/json",
        "text/json",
        "application/ndjson",
        "application/x-ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-lines",
        "application/stream+json",
        "application/octet-stream",
    }
)


def readable(media_type: str) -> bool:
    """
    Say whether ``read_body`` knows this media type: lower case, without parameters.
    """
    return media_type in _JSON or media_type in MSGPACK or media_type in {FORM, PLAIN} or media_type.endswith("+json")


def read_body(data: bytes, media_type: str = "", *, lines: bool = True) -> Iterator[Any]:
    """
    Return the documents of a body by its media type: JSON in any arrangement, a form, plain text.

    ``lines``: each line of a plain text is an event; else all of it is one. Text that is no JSON becomes ``{"message": ...}``.

    :raises UndecodableError: nothing of it can be read.
    :raises TooLargeError: it has more values than ``MAX_VALUES``.
    """
    if media_type == FORM:
        return iter((form(data),))
    _check_size(data)
    if media_type == PLAIN and data.lstrip()[:1] not in {b"{", b"["}:
        return _messages(data.splitlines() if lines else [data])
    return _documents(data)


def read_line(line: bytes) -> Iterator[Any]:
    """
    Return the documents of one line of NDJSON; a broken one gives what comes before the break, and a reject.
    """
    try:
        yield from documents(line, constants=True)
    except UndecodableError as error:
        yield Reject(UNDECODABLE_ITEM, f"a line that is no JSON: {_reason(error)}", line)


def form(data: bytes) -> dict[str, str | list[str]]:
    """
    Return the fields of a form; one that stands more than once is a list.

    :raises UndecodableError: it is no urlencoded UTF-8.
    """
    try:
        pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10_000)
    except ValueError as error:
        raise UndecodableError("reading form: it is no urlencoded UTF-8 of at most 10,000 fields") from error
    fields: dict[str, str | list[str]] = {}
    for name, value in pairs:
        before = fields.get(name)
        fields[name] = value if before is None else [*([before] if isinstance(before, str) else before), value]
    return fields


def _check_size(data: bytes) -> None:
    values = data.count(b",") + data.count(b"{") + data.count(b"[") + data.count(b"\n")
    if values > MAX_VALUES:
        raise TooLargeError(f"reading JSON: about {values} values in one request; send at most {MAX_VALUES}")


def _documents(data: bytes) -> Iterator[Any]:
    """
    Read the body as a whole, and line by line where that fails.
    """
    try:
        return iter(list(documents(data, constants=True)))
    except UndecodableError as error:
        whole = error
    found = [document for line in data.split(b"\n") if line.strip() for document in _line(line)]
    if not any(isinstance(document, dict | list) for document in found):
        raise whole
    return iter(found)


def _line(line: bytes) -> Iterator[Any]:
    """
    Read a line of a body that is broken somewhere: only objects and lists can be told from debris.
    """
    for document in read_line(line):
        if isinstance(document, dict | list | Reject):
            yield document
        else:
            yield Reject(UNDECODABLE_ITEM, "a line that is no object", line)
            return


def _messages(lines: list[bytes]) -> Iterator[Any]:
    for line in lines:
        if line.strip():
            yield {"message": line.decode("utf-8", "surrogateescape")}


def _reason(error: UndecodableError) -> str:
    return str(error).removeprefix("reading JSON: ")
