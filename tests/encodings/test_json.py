"""
JSON is read exactly, or refused as undecodable; nothing else ever comes out.
"""

import contextlib
import json as standard
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.encodings.json import ambiguous, documents, parse
from meterline.errors import UndecodableError
from meterline.testing.cost import least_cpu_secs


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("9007199254740993", 9007199254740993),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("0.1", 0.1),
        ("1795346017.93592", 1795346017.93592),
        ("1795346017.935926123", Decimal("1795346017.935926123")),
        ("12345678901234567.89", Decimal("12345678901234567.89")),
        ("1e400", Decimal("1E+400")),
        ("-0.0", -0.0),
        ("9" * 5000, Decimal("9" * 5000)),
        ("-" + "9" * 5000, Decimal("-" + "9" * 5000)),
        ("1e3", 1000.0),
    ],
)
def test_numbers_are_exact(written: str, value: Any) -> None:
    """A number is an int, a float whose shortest form says the same, or a Decimal."""
    found = parse(written.encode())
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1 2",
        b'"\xff"',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1e" + b"9" * 40,
    ],
)
def test_what_is_no_document_is_undecodable(body: bytes) -> None:
    """Broken, empty, doubled, bottomless and non-standard JSON is refused with the one error that says so."""
    with pytest.raises(UndecodableError):
        parse(body)


def test_an_integer_of_a_million_digits_takes_linear_time() -> None:
    """Beyond Python's bound on the digits of an integer it is a Decimal, exactly, and no trap."""
    body = b"[" + b"9" * 1_000_000 + b"]"

    assert parse(body) == [Decimal("9" * 1_000_000)]
    assert least_cpu_secs(lambda: parse(body)) < 2


def test_documents_follow_each_other() -> None:
    """Lines, a stream without separators, and a byte order mark are all read."""
    assert list(documents(b'\xef\xbb\xbf{"a":1}{"a":2}\n\r\n [3]\n')) == [{"a": 1}, {"a": 2}, [3]]


def test_documents_before_a_broken_one_are_given_out() -> None:
    """What precedes the broken part of a stream is right."""
    found = documents(b'{"a":1}\n{"a":')
    assert next(found) == {"a": 1}
    with pytest.raises(UndecodableError):
        next(found)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_what_the_standard_library_writes_comes_back(value: Any) -> None:
    """Any value that JSON can say is read as it was."""
    assert parse(standard.dumps(value).encode("utf-8", "surrogatepass")) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes raise anything but UndecodableError."""
    with contextlib.suppress(UndecodableError):
        assert all(not isinstance(value, bytes) for value in documents(body))


@pytest.mark.parametrize("written", ['{"a":1,"a":2}', '[[{"b":{"a":1,"a":2}}]]', '{"a":{"b":1,"b":2},"a":{"b":2}}'])
def test_a_key_that_stands_twice_is_found_where_it_is_asked_for(written: str) -> None:
    """Then the document is marked; else, and as a mapping, it has the last value, as everywhere in Python."""
    found = parse(written.encode(), unique=True)

    assert ambiguous(found)
    assert found == parse(written.encode()) == standard.loads(written)
    assert not ambiguous(parse(written.encode()))
    assert not ambiguous(parse(b'[{"a":{"b":1}},{"a":1,"a":1}]', unique=True))
