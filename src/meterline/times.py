"""
Times as text, to the nanosecond and without a float in between.
"""

import re
from datetime import UTC, date, datetime
from typing import Final

_PER_SECOND: Final = 10**9
_EPOCH: Final = date(1970, 1, 1).toordinal()

_TEXT: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt ](?P<h>[01]\d|2[0-3]):(?P<m>[0-5]\d):(?P<s>[0-5]\d|60)(?:[.,](?P<places>\d{1,40}))?"
    r" ?(?:[Zz]|UTC|(?P<sign>[+-])(?P<oh>[01]\d|2[0-3]):?(?P<om>[0-5]\d))?",
    re.ASCII,
)
_RFC3339: Final = re.compile(r".{19}(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)")


def read_time(text: str) -> int | None:
    """
    Return nanoseconds since the Unix epoch, negative before it; None for a text that is no time.

    RFC 3339, also with a space for the T, a comma for the point, or without an offset, which is UTC. What is finer than a
    nanosecond is cut off; a leap second is the first of the next minute.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    try:
        days = date.fromisoformat(found["day"]).toordinal() - _EPOCH
    except ValueError:
        return None
    seconds = ((days * 24 + int(found["h"])) * 60 + int(found["m"])) * 60 + int(found["s"]) - _offset(found)
    return seconds * _PER_SECOND + int((found["places"] or "0")[:9].ljust(9, "0"))


def _offset(found: re.Match[str]) -> int:
    if found["sign"] is None:
        return 0
    seconds = (int(found["oh"]) * 60 + int(found["om"])) * 60
    return -seconds if found["sign"] == "-" else seconds


def parse_rfc3339(text: str) -> int:
    """
    Return nanoseconds since the Unix epoch. Raises ValueError for all but a full time with an offset.
    """
    time = read_time(text) if _RFC3339.fullmatch(text) else None
    if time is None:
        raise ValueError(f"reading time '{text}': write it as 2026-01-31T00:00:00Z")
    return time


def rfc3339(time_ns: int) -> str:
    """
    Return a time as RFC 3339, UTC, with nanoseconds.
    """
    return f"{to_the_second(time_ns)[:-1]}.{time_ns % _PER_SECOND:09}Z"


def to_the_second(time_ns: int) -> str:
    """
    Return a time as RFC 3339, UTC, to the second: enough for a column.
    """
    return f"{datetime.fromtimestamp(time_ns // _PER_SECOND, UTC).isoformat()[:19]}Z"
