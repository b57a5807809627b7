"""
The OpenAPI 3.1 document of the usage API. What it says of items is what they should be: one that is not so is quarantined with
a reason, and never refuses its request.
"""

from collections.abc import Mapping
from typing import Any, Final

from meterline import __version__

USAGE_PATH: Final = "/v1/usage"
DOCUMENT_PATH: Final = "/v1/openapi.json"
PROBLEM: Final = "application/problem+json"
OUTCOMES: Final = ("recorded", "duplicate", "no_usage", "quarantined")

TITLES: Final[Mapping[int, str]] = {
    400: "The request is not JSON of a known form",
    401: "The credential is missing or wrong",
    403: "The credential has no right to this",
    404: "There is nothing at this path",
    405: "The method is not allowed here",
    413: "The request is too large",
    415: "The media type is not known here",
    503: "Not stored; send the same again",
}

_ITEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One billable quantity. Every name may be written in snake case, too; a name that is not known here puts "
    "the item into quarantine.",
    "required": ["customerId", "dimensionId", "recordValue"],
    "properties": {
        "customerId": {"type": ["string", "integer"], "description": "Whose usage it is."},
        "dimensionId": {"type": ["string", "integer"], "description": "What was used."},
        "recordValue": {
            "type": ["string", "number"],
            "description": "How much: not below zero, at most 18 decimal places, below 10^20, kept exactly. As text a plain "
            "decimal; text is the safer form, since many JSON writers round numbers.",
        },
        "timestamp": {
            "type": ["string", "number"],
            "description": "When: RFC 3339, as UTC without an offset; or a count since 1970 in seconds, milliseconds, "
            "microseconds or nanoseconds, which its size tells. Without one the item is quarantined, unless "
            "the receiver says `missing_timestamp: received` and the item has an idempotency key.",
        },
        "metadata": {
            "type": ["object", "null"],
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "description": "Goes with the record, as text.",
        },
        "idempotencyKey": {
            "type": ["string", "integer"],
            "description": "Of one customer's records the one with this key: sent again with the same content it is a "
            "`duplicate`, with other content it is quarantined as `conflict`. `id` is another name for it. Without one, "
            "all that the item says is its identity, and the k-th of equal items of a request is the k-th.",
        },
    },
    "example": {
        "customerId": "acme",
        "dimensionId": "seats",
        "recordValue": "12.5",
        "timestamp": "2026-11-22T18:00:00Z",
        "metadata": {"plan": "pro"},
        "idempotencyKey": "seats-acme-2026-11-22",
    },
}

_RESULT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["index", "outcome"],
    "additionalProperties": False,
    "properties": {
        "index": {"type": "integer", "minimum": 0, "description": "Its place in the request."},
        "outcome": {
            "enum": list(OUTCOMES),
            "description": "`recorded`: it is a record now. `duplicate`: it was one before. `no_usage`: its value is zero. "
            "`quarantined`: it is kept aside, and somebody must look at it.",
        },
        "id": {
            "type": "string",
            "pattern": "^[0-9a-f]{32}$",
            "description": "Of the record that it is, was before, or would be.",
        },
        "reason": {"type": "string", "description": "Why it is in quarantine: a code of docs/reasons.md."},
        "message": {"type": "string", "description": "The same for people."},
    },
}

_RESULTS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["results", *OUTCOMES],
    "additionalProperties": False,
    "properties": {
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}},
        **{outcome: {"type": "integer", "minimum": 0} for outcome in OUTCOMES},
    },
}

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def _problem(status: int) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answer: dict[str, Any] = {"description": TITLES[status], "content": content}
    if status == 503:
        answer["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}
        }
    return answer


def _post() -> dict[str, Any]:
    item = {"$ref": "#/components/schemas/UsageItem"}
    batch = {
        "type": "object",
        "required": ["records"],
        "additionalProperties": False,
        "properties": {"records": {"type": "array", "items": item}},
    }
    return {
        "operationId": "recordUsage",
        "summary": "Record usage",
        "description": "Answered when all of it is on stable storage. The status says whether the request was taken over; "
        "`results` say what became of each item. Anything but an answer below 500 means: send the same again.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Of a single object its idempotency key; of a batch each item's, together with its index. "
                "An item's own key goes before.",
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {
            "required": True,
            "description": "One item, an array of them, or an object with `records`; or one item a line. May be compressed "
            "(Content-Encoding: gzip, zstd, deflate, ...).",
            "content": {
                "application/json": {"schema": {"anyOf": [batch, item, {"type": "array", "items": item}]}},
                "application/x-ndjson": {"schema": {"type": "string", "description": "One item a line."}},
            },
        },
        "responses": {
            "200": {
                "description": "It is stored.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Results"}}},
            },
            **{str(status): _problem(status) for status in TITLES},
        },
        "security": [{}, {"bearer": []}, {"apiKey": []}],
    }


def document() -> dict[str, Any]:
    """
    Return the document.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Meterline usage API",
            "version": __version__,
            "description": "Usage that somebody tells: each item becomes one record of kind `manual`, once.",
        },
        "paths": {
            USAGE_PATH: {"post": _post()},
            DOCUMENT_PATH: {
                "get": {
                    "operationId": "openapi",
                    "summary": "This document",
                    "security": [{}],
                    "responses": {
                        "200": {
                            "description": "The document.",
                            "content": {"application/json": {"schema": {"type": "object"}}},
                        }
                    },
                }
            },
        },
        "components": {
            "schemas": {"UsageItem": _ITEM, "Result": _RESULT, "Results": _RESULTS, "Problem": _PROBLEM},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }
