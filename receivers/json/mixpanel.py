"""
Mixpanel's event intake, as its SDKs use it: ``/track`` and ``/import``; ``/engage`` and ``/groups``, which say nothing of
usage, are answered and forgotten. Facts: Mixpanel's API reference, and its SDKs for Python (5.4.1) and Node (0.24.0).

Events come as JSON, as NDJSON, or in ``data`` of a form or a query, as JSON or as its base64. The credential is the project's
token in the events, or what the SDK sends as HTTP Basic: the project's secret as the user's name, or a service account's as
the password.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from meterline.api import Answer, UndecodableError
from meterline.encodings.events import EventOptions, Sent, read_body, transcode
from meterline.encodings.events.read import FORM, form, readable
from meterline.receivers.json import words
from meterline.serving.seam import Decoded, Endpoint, Head, Refusal, Reply, Request

PATHS: Final = ("/track", "/import")
PROFILE_PATHS: Final = ("/engage", "/groups")
_BASIC: Final = "basic "


class MixpanelEndpoint(Endpoint):
    """
    ``{"event": ..., "properties": {"token": ..., ...}}``, one or many.
    """

    signal = "events"
    credential_in_body = True
    methods: ClassVar[tuple[str, ...]] = ("POST", "GET")

    def __init__(self, paths: tuple[str, ...], options: EventOptions, *, stores: bool) -> None:
        """
        ``stores``: these are events; else they are answered and forgotten.
        """
        self.paths = paths
        self._options = options
        self._stores = stores

    def accepts(self, head: Head) -> bool:
        """
        Say whether it can be read.
        """
        return readable(head.media_type)

    def credential(self, head: Head, body: bytes) -> str | None:
        """
        Return the secret of HTTP Basic, the key in the form or query, or the token that all events have.
        """
        fields = _fields(head, body)
        given = _basic(head.headers.get("authorization", "")) or fields.get("api_key")
        if isinstance(given, str) and given:
            return given
        tokens = {_token(item) for item in _items(_documents(head, body, fields))}
        return tokens.pop() if len(tokens) == 1 else None

    def decode(self, request: Request) -> Decoded:
        """
        Make log records of the events.
        """
        documents = _documents(request.head, request.body, _fields(request.head, request.body))
        if not self._stores:
            return Decoded()
        return Decoded(transcode(documents, "mixpanel", self._options, Sent(request.tenant, request.received_at)))

    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:  # noqa: ARG002 - the seam's
        """
        Say that they were taken: by ``1``, or as an object where the SDK asked for one.
        """
        head = request.head
        taken = {"code": 200, "num_records_imported": answer.points - answer.rejected}
        fields = _fields(head, request.body)
        if fields.get("verbose") == "1":
            return words.reply(200, {"status": 1, "error": None, **(taken if _imports(head) else {})})
        if _imports(head) and "data" not in fields:
            return words.reply(200, {**taken, "status": "OK"})
        return Reply(200, b"1", "text/plain")

    def refuse(self, head: Head, refusal: Refusal) -> Reply:  # noqa: ARG002 - the seam's
        """
        Say why not; everything but ``1`` is a failure to the SDKs.
        """
        code = refusal.cause.value
        return words.reply(code, {"code": code, "status": 0, "error": refusal.message})


def _imports(head: Head) -> bool:
    return head.path.endswith("/import")


def _fields(head: Head, body: bytes) -> Mapping[str, Any]:
    return {**head.query, **(form(body) if head.media_type == FORM else {})}


def _documents(head: Head, body: bytes, fields: Mapping[str, Any]) -> list[Any]:
    data = fields.get("data")
    if data is None and (head.media_type == FORM or head.method == "GET"):
        raise UndecodableError("reading events: the form or query has no `data`")
    if data is None:
        return list(read_body(body))
    if not isinstance(data, str):
        raise UndecodableError("reading events: `data` stands twice")
    return list(read_body(_plain(data)))


def _plain(data: str) -> bytes:
    """
    Return JSON of what is JSON or the base64 of it; a plus may have become a space on the way.
    """
    if data.lstrip()[:1] in {"{", "["}:
        return data.encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(data.replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UndecodableError("reading events: `data` is neither JSON nor base64") from error


def _items(documents: Iterable[Any]) -> Iterable[Any]:
    for document in documents:
        if isinstance(document, list):
            yield from document
        else:
            yield document


def _token(item: Any) -> str | None:
    """
    Return the token of an event or a profile update.
    """
    if not isinstance(item, Mapping):
        return None
    properties = item.get("properties")
    inner = properties.get("token") if isinstance(properties, Mapping) else None
    token = inner or item.get("$token")
    return token if isinstance(token, str) else None


def _basic(header: str) -> str:
    """
    Return the password of HTTP Basic, or the user's name where the password is empty.
    """
    if header[: len(_BASIC)].lower() != _BASIC:
        return ""
    try:
        name, _, password = base64.b64decode(header[len(_BASIC) :].strip(), validate=True).decode().partition(":")
    except ValueError:
        return ""
    return password or name
