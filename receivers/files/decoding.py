"""
From lines to bodies.

Lines that are requests of their own (OTLP, metrics) stay apart, so that they mean what they meant when they were sent: how many
equal points a request has tells repeats apart. Events and usage have an id, their own or their place in the file, and share a
body.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, get_args

from meterline.api import Body, Format, UndecodableError
from meterline.encodings import loki, otlp_json
from meterline.encodings.events import EventEncoding, EventOptions, Sent, read_line, transcode
from meterline.encodings.rejects import Reject, rejects
from meterline.encodings.usage import UsageItem, read_item, usage_body
from meterline.receivers.files.lines import Line
from meterline.receivers.files.protobuf import message_bodies

_EVENTS: Final = frozenset(get_args(EventEncoding))
_SHARED: Final = (Format.OTLP_LOGS, Format.REJECTS, Format.USAGE)
_REQUESTS: Final = frozenset({"resourceMetrics", "resourceLogs", "resource_metrics", "resource_logs"})
_SHOWN: Final = 4096
_NUL_AND_MARK: Final = b"\0\xef\xbb\xbf"
_NO_OPTIONS: Final = EventOptions()

Documents = list[Any]


def decode(lines: Sequence[Line], file_id: str, *, form: str) -> list[Body]:
    """
    Return the bodies of some lines; what no point can be made of is among them as rejects. Deterministic.

    ``file_id``: tells this file's lines from every other's. ``form``: an event encoding, otlp_json, loki or usage.
    """
    apart: list[Body] = []
    shared: dict[Format, list[bytes]] = {fmt: [] for fmt in _SHARED}
    for line in lines:
        own, bodies = _line(line, f"{file_id}:{line.start}", form)
        for body in bodies:
            if body.fmt in _SHARED and not (own and body.fmt is Format.OTLP_LOGS):
                shared[body.fmt].append(body.data)
            else:
                apart.append(body)
    return apart + [Body(fmt, b"".join(parts)) for fmt, parts in shared.items() if parts]


def _line(line: Line, place: str, form: str) -> tuple[bool, Iterable[Body]]:
    """
    Return the bodies of a line, and whether it is a request of its own.
    """
    if line.cut:
        return False, rejects([Reject("undecodable_item", "a line longer than max_line_bytes", line.data[:_SHOWN])])
    if line.packed is not None and line.data[:1] != b"{":
        return True, message_bodies(line.data)
    data = line.data.lstrip(_NUL_AND_MARK)  # a file that was cut under its writer begins with zeros, others with a mark
    documents = list(read_line(data)) if data.strip() else []
    if form in _EVENTS:
        own = any(isinstance(document, dict) and not _REQUESTS.isdisjoint(document) for document in documents)
        return own, transcode(documents, form, _NO_OPTIONS, Sent(place=place))  # type: ignore[arg-type]  # one of _EVENTS
    return form != "usage", _FORMS[form](documents, line, place)


def _otlp(documents: Documents, _line: Line, _place: str) -> Iterable[Body]:
    requests, aside = _apart(documents)
    return [*otlp_json.bodies(requests), *rejects(aside)]


def _loki(documents: Documents, line: Line, _place: str) -> Iterable[Body]:
    requests, aside = _apart(documents)
    if aside or not requests:
        return rejects(aside)
    try:
        return loki.transcode(loki.read_json(line.data), "")
    except UndecodableError as error:
        return rejects([Reject("undecodable_item", str(error), line.data)])


def _usage(documents: Documents, _line: Line, place: str) -> Iterator[Body]:
    values, aside = _apart(documents)
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    read = [read_item(value, f"{place}:{number}") for number, value in enumerate(flat)]
    items = [item for item in read if isinstance(item, UsageItem)]
    if items:
        yield usage_body(items)
    yield from rejects([*aside, *(item for item in read if isinstance(item, Reject))])


def _apart(documents: Documents) -> tuple[Documents, list[Reject]]:
    aside = [document for document in documents if isinstance(document, Reject)]
    return [document for document in documents if not isinstance(document, Reject)], aside


_FORMS: Final[dict[str, Callable[[Documents, Line, str], Iterable[Body]]]] = {
    "otlp_json": _otlp,
    "loki": _loki,
    "usage": _usage,
}
