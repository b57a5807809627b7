"""
Whatever bytes come, the encodings make bodies of them or refuse them; nothing else ever happens.
"""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meterline.encodings.events import (
    EventOptions,
    Sent,
    read_body,
    read_line,
    transcode,
    transcode_cloudevent,
    transcode_fluent,
)
from meterline.encodings.rejects import Reject
from meterline.errors import UndecodableError

ENCODINGS = ("auto", "vector", "logstash", "fluent_bit", "cloudevents", "amplitude", "mixpanel")
MEDIA = ("", "application/json", "application/x-ndjson", "text/plain", "application/x-www-form-urlencoded")

VOCABULARY = """
    name kind incremental absolute counter value gauge distribution samples rate set values aggregated_histogram buckets
    upper_limit count sum inf NaN aggregated_summary quantiles tags sketch AgentDDSketch interval_ms timestamp time date
    specversion id source type data data_base64 event properties token resourceMetrics resourceLogs scopeMetrics
    2026-11-22T11:00:00Z
"""
WORDS = st.sampled_from(VOCABULARY.split())
LEAVES = st.one_of(
    WORDS, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.integers(2**62, 2**70)
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=20
)


@given(DOCUMENTS, st.sampled_from(ENCODINGS), st.booleans())
def test_any_document_becomes_bodies(document: Any, encoding: Any, received: Any) -> None:
    """Every document is made into points or rejects, none vanishes unless it is empty, and twice the same."""
    made = [transcode([document], encoding, EventOptions(received=received), Sent("t", 5)) for _ in range(2)]

    assert made[0] == made[1]
    assert made[0] or document == [] or "resource" in json.dumps(document)


@given(
    st.binary(max_size=200) | st.text(alphabet='{}[]",:\n \\u12eE.-ntrufalse', max_size=80).map(str.encode),
    st.sampled_from(MEDIA),
)
def test_any_bytes_are_read_or_refused(data: bytes, media_type: str) -> None:
    """Bytes are documents and rejects, or refused as undecodable."""
    with contextlib.suppress(UndecodableError):
        transcode(read_body(data, media_type))


@given(st.binary(max_size=200))
def test_any_line_is_read(line: bytes) -> None:
    """A line never refuses its file: it is documents and at most one reject, at its end."""
    found = list(read_line(line))

    assert not any(isinstance(item, Reject) for item in found[:-1])


@given(st.binary(max_size=200))
def test_any_msgpack_is_read_or_refused(data: bytes) -> None:
    """The same holds for Fluent Bit's msgpack."""
    with contextlib.suppress(UndecodableError):
        transcode_fluent(data)


@given(
    st.dictionaries(st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-x", "content-type"]), st.text(max_size=20)),
    st.binary(max_size=50),
)
def test_any_headers_are_read(headers: dict[str, str], data: bytes) -> None:
    """A binary CloudEvent is one record or one reject."""
    assert len(transcode_cloudevent({"ce-specversion": "1.0", **headers}, data)) == 1
