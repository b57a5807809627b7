"""
Amplitude's event intake, as its SDKs use it: HTTP V2 and batch. Facts: Amplitude's API reference, and its SDKs for Python
(1.3.0) and Node (1.5.73), which read the code in the body of an answer and not its status.

The project's API key, which is in the body, is the credential.
"""

from collections.abc import Mapping
from typing import Any, Final

from meterline.api import Answer, UndecodableError
from meterline.encodings.events import EventOptions, Sent, read_body, transcode
from meterline.encodings.events.read import readable
from meterline.encodings.json import Ambiguous
from meterline.receivers.json import words
from meterline.serving.seam import Cause, Decoded, Endpoint, Head, Refusal, Reply, Request

PATHS: Final = ("/2/httpapi", "/batch")
_NS_PER_MS: Final = 10**6
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "application/msgpack"})


class AmplitudeEndpoint(Endpoint):
    """
    ``{"api_key": ..., "events": [...]}``.
    """

    signal = "events"
    credential_in_body = True

    def __init__(self, paths: tuple[str, ...], options: EventOptions) -> None:
        self.paths = paths
        self._options = options

    def accepts(self, head: Head) -> bool:
        """
        Say whether it is JSON.
        """
        return readable(head.media_type) and head.media_type not in _FORMS

    def credential(self, head: Head, body: bytes) -> str | None:  # noqa: ARG002 - the seam's
        """
        Return the API key.
        """
        key = _upload(body).get("api_key")
        return key if isinstance(key, str) and key else None

    def decode(self, request: Request) -> Decoded:
        """
        Make log records of the events.
        """
        events = _upload(request.body).get("events")
        if not isinstance(events, list):
            raise UndecodableError('reading events: there is no list of them; send {"api_key": ..., "events": [...]}')
        sent = Sent(request.tenant, request.received_at)
        return Decoded(transcode([events], "amplitude", self._options, sent))

    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:  # noqa: ARG002 - the seam's
        """
        Say how many were taken.
        """
        said = {
            "code": 200,
            "events_ingested": answer.points - answer.rejected,
            "payload_size_bytes": len(request.body),
            "server_upload_time": request.received_at // _NS_PER_MS,
        }
        return words.reply(200, said)

    def refuse(self, head: Head, refusal: Refusal) -> Reply:  # noqa: ARG002 - the seam's
        """
        Say why not; the SDKs know a wrong key by the words.
        """
        code = refusal.cause.value
        error = f"Invalid API key: {refusal.message}" if refusal.cause is Cause.UNAUTHENTICATED else refusal.message
        return words.reply(code, {"code": code, "error": error})


def _upload(body: bytes) -> Mapping[str, Any]:
    found = list(read_body(body))
    if len(found) != 1 or not isinstance(found[0], Mapping):
        raise UndecodableError("reading events: the body is no JSON object")
    if isinstance(found[0], Ambiguous) and found[0].own:
        raise UndecodableError("reading events: the body says a key twice, with different values")
    return found[0]
