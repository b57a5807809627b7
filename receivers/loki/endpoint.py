"""
The one endpoint: push requests, protobuf or JSON.
"""

from typing import Final

from meterline.api import Answer
from meterline.encodings.loki import read_json, read_protobuf, transcode
from meterline.serving.codecs.implied import implied_snappy
from meterline.serving.seam import Decoded, Endpoint, Head, Refusal, Reply, Request

_JSON: Final = "application/json"
_PROTOBUF: Final = ("application/x-protobuf", "")


class PushEndpoint(Endpoint):
    """
    Takes push requests.
    """

    paths = ("/loki/api/v1/push", "/api/prom/push")
    signal = "logs"

    def __init__(self, max_request_bytes: int) -> None:
        self._limit = max_request_bytes

    def accepts(self, head: Head) -> bool:
        """
        Say whether it is one of the two encodings; no type at all is protobuf, as Loki itself has it.
        """
        return head.media_type == _JSON or head.media_type in _PROTOBUF

    def decode(self, request: Request) -> Decoded:
        """
        Make a log record of each line.
        """
        if request.head.media_type == _JSON:
            return Decoded(transcode(read_json(request.body), request.tenant, 2 * self._limit))
        body = request.body
        if not request.head.headers.get("content-encoding"):
            body = implied_snappy(body, self._limit)
        return Decoded(transcode(read_protobuf(body), request.tenant, 2 * self._limit))

    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:  # noqa: ARG002 - the seam's
        """
        Answer 204; what is in quarantine is stored too.
        """
        told = {"X-Meterline-Quarantined": str(answer.rejected)} if answer.rejected else {}
        return Reply(204, headers=told)

    def refuse(self, head: Head, refusal: Refusal) -> Reply:  # noqa: ARG002 - the seam's
        """
        Say why in plain text, as Loki does.
        """
        return Reply(refusal.cause.value, refusal.message.encode() + b"\n", "text/plain; charset=utf-8")
