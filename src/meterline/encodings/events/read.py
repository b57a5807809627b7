"""
Documents of a body or of a line; what cannot be read is a reject, and its neighbours stay.
"""

from collections.abc import Generator, Iterable, Iterator
from io import BytesIO
from typing import Any, Final
from urllib.parse import parse_qsl

from meterline.encodings.events.items import UNDECODABLE_ITEM
from meterline.encodings.json import documents, one, skip
from meterline.encodings.rejects import Reject
from meterline.errors import TooLargeError, UndecodableError

MAX_VALUES: Final = 4_000_000
"""More values than this in one body are refused: in one document, as Python objects, they would take half a gigabyte."""

_DEBRIS: Final = 1_000
"""So many broken lines before the first that is none are no events with a broken one among them."""

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
        return _messages(BytesIO(data) if lines else [data])
    return _documents(data)


def read_line(line: bytes) -> Iterator[Any]:
    """
    Return the documents of one line of NDJSON; a broken one gives what comes before the break, and a reject.
    """
    try:
        yield from documents(line, constants=True, unique=True)
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
    Return what can be read, and rejects of the rest; a body that begins with nothing else is refused.
    """
    held: list[Any] | None = []
    broken: Reject | None = None
    for part in _parts(data):
        if held is None:
            yield part
        elif isinstance(part, dict) or (len(held) > _DEBRIS and broken is None):
            yield from (*held, part)
            held = None
        elif len(held) > _DEBRIS:
            break
        else:
            held.append(part)
            broken = broken or (part if isinstance(part, Reject) else None)
    if held is not None and broken is not None:
        raise UndecodableError(f"reading JSON: {broken.detail}")
    yield from held or ()


def _parts(data: bytes) -> Iterator[Any]:
    """
    Read document by document, arrays item by item; from where that fails on, line by line, so that it takes linear time.
    """
    try:
        written = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield from _lines(data)
        return
    position = skip(written, 0)
    while position < len(written):
        if written[position] == "[":
            position = yield from _items(written, position)
        else:
            try:
                document, position = one(written, position, constants=True, unique=True)
            except UndecodableError:
                yield from _lines(written[position:].encode("utf-8", "surrogatepass"))
                return
            yield document
        position = skip(written, position)


def _items(written: str, position: int) -> Generator[Any, None, int]:
    """
    Read an array item by item, and return where it ends; what follows a broken item cannot be told apart.
    """
    position, empty = skip(written, position + 1), True
    try:
        while not (empty and written[position : position + 1] == "]"):
            item, position = one(written, position, constants=True, unique=True)
            yield item
            position, empty = skip(written, position), False
            if written[position : position + 1] == "]":
                break
            position = _after_comma(written, position)
    except UndecodableError as error:
        rest = written[position:].encode("utf-8", "surrogatepass")
        yield Reject(UNDECODABLE_ITEM, f"the rest of a broken array: {_reason(error)}", rest)
        return len(written)
    return position + 1


def _after_comma(written: str, position: int) -> int:
    if written[position : position + 1] != ",":
        raise UndecodableError("reading JSON: neither a comma nor the end of the array")
    return skip(written, position + 1)


def _lines(data: bytes) -> Iterator[Any]:
    """
    Read what is broken somewhere: only objects and lists can be told from debris.
    """
    for line in filter(bytes.strip, map(bytes.rstrip, BytesIO(data))):
        for document in read_line(line):
            if isinstance(document, dict | list | Reject):
                yield document
            else:
                yield Reject(UNDECODABLE_ITEM, "a line that is no object", line)
                break


def _messages(texts: Iterable[bytes]) -> Iterator[Any]:
    for text in texts:
        line = text.rstrip(b"\r\n")
        if line.strip():
            yield {"message": line.decode("utf-8", "surrogateescape")}


def _reason(error: UndecodableError) -> str:
    return str(error).removeprefix("reading JSON: ")
