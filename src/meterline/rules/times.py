"""
RFC 3339 times, exact to the nanosecond.
"""

import re
from datetime import UTC, datetime
from typing import Final

_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-]\d\d:\d\d))",
)


def parse_rfc3339(text: str) -> int:
    """
    Return nanoseconds since the Unix epoch. Raises ValueError for all but a full time with an offset.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"reading time '{text}': write it as 2026-01-31T00:00:00Z")
    day, clock, places, _, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{offset or '+00:00'}")
    except ValueError as error:
        raise ValueError(f"reading time '{text}': {error}") from error
    whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 10**9 + int((places or "").ljust(9, "0"))
