"""
A document that would fill the memory as objects is refused before it is read.
"""

import json

import pytest

from meterline.encodings.json import check_size, parse
from meterline.errors import UndecodableError


def test_a_document_of_too_many_values_is_refused() -> None:
    """
    Tiny values in great number are undecodable, and cost no more than looking at the bytes.
    """
    with pytest.raises(UndecodableError, match="too many values"):
        parse(b"[" + b"{}," * 3_000_000 + b"{}]")


def test_the_largest_usual_request_is_read() -> None:
    """
    Sixty megabytes of events, as senders write them, pass.
    """
    event = json.dumps(
        {"id": "5f2b", "customer": "acme", "timestamp": "2026-11-22T11:00:00.123Z", "quantity": 5}
    ).encode()

    check_size(b"[" + (event + b",") * (60_000_000 // len(event)) + event + b"]")
