"""
The usage API over HTTP: ``POST /v1/usage``, and the OpenAPI document that describes it.
"""

import json
from collections import Counter
from typing import Any, Final

from meterline.api import Answer
from meterline.receivers.usage.config import MissingTimestamp
from meterline.receivers.usage.openapi import DOCUMENT_PATH, OUTCOMES, PROBLEM, TITLES, USAGE_PATH, document
from meterline.receivers.usage.requests import JSON_TYPES, LINES_TYPES, Told, read_request
from meterline.serving.seam import Decoded, Endpoint, Head, Page, Refusal, Reply, Request

_JSON: Final = "application/json"


class UsageEndpoint(Endpoint):
    """
    Records usage. Once a request is stored it is answered 200, whatever became of each item: the results say that.
    """

    paths = (USAGE_PATH,)
    signal = "usage"

    def __init__(self, missing_timestamp: MissingTimestamp) -> None:
        self._received = missing_timestamp == "received"

    def accepts(self, head: Head) -> bool:
        """
        Say whether it is JSON or lines of it, in UTF-8.
        """
        charset = head.media_params.get("charset", "utf-8").lower()
        return head.media_type in JSON_TYPES | LINES_TYPES and charset in ("utf-8", "utf8")

    def decode(self, request: Request) -> Decoded:
        """
        Read the items. Raises UndecodableError.
        """
        key = request.head.headers.get("idempotency-key", "").strip()
        told = read_request(request.body, request.head.media_type, _unquoted(key))
        return Decoded(told.bodies(request.received_at if self._received else 0), note=told)

    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:
        """
        Say what became of each item.
        """
        del request
        told: Told | None = decoded.note
        results = _results(told, answer) if told is not None else []
        counts = Counter(result["outcome"] for result in results)
        if told is None:  # quarantined whole: nobody knows its items
            counts["quarantined"] = answer.points
        data = {"results": results, **{outcome: counts[outcome] for outcome in OUTCOMES}}
        return Reply(200, json.dumps(data).encode(), _JSON)

    def refuse(self, head: Head, refusal: Refusal) -> Reply:
        """
        Say why it is not stored (RFC 9457).
        """
        del head
        status = refusal.cause.value
        data = {"type": "about:blank", "title": TITLES[status], "status": status, "detail": refusal.message}
        return Reply(status, json.dumps(data).encode(), PROBLEM)


def _results(told: Told, answer: Answer) -> list[dict[str, Any]]:
    """
    Put the kernel's results and our own refusals in the order of the request.
    """
    found: dict[int, dict[str, Any]] = {}
    for place, item in zip(told.told, answer.items, strict=False):  # none when the body was quarantined whole
        found[place] = {"index": place, "outcome": item.outcome}
        if item.record_id:
            found[place]["id"] = item.record_id
        if item.reason:
            found[place]["reason"] = item.reason
    for place, reject in told.refused.items():
        found[place] = {"index": place, "outcome": "quarantined", "reason": reject.reason, "message": reject.detail}
    return [found.get(place, {"index": place, "outcome": "quarantined"}) for place in range(told.total)]


def _unquoted(key: str) -> str:
    """
    Return the key without the quotes that a structured field has (RFC 8941).
    """
    return key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key


class DocumentPage(Page):
    """
    The OpenAPI document.
    """

    paths = (DOCUMENT_PATH,)

    def __init__(self) -> None:
        self._body = json.dumps(document(), indent=1).encode()

    def get(self, head: Head) -> Reply:
        """
        Return it.
        """
        del head
        return Reply(200, self._body, _JSON, {"Cache-Control": "no-cache"})
