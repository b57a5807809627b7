"""
Times as senders write them, to the nanosecond and without a float in between.
"""

import re
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Final, Literal

from meterline.times import read_time

TimestampFormat = Literal["auto", "rfc3339", "s", "ms", "us", "ns"]
"""``auto``: a text, or a number whose size says its unit; else that form alone."""

_UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_LARGEST: Final = (("s", 10**11), ("ms", 10**14), ("us", 10**17))
"""Below the first it is seconds until the year 5138, from there on milliseconds since 1973, and so on."""

_MAX_TIME: Final = 2**64 - 1
_EXACT: Final = Context(prec=60)
_NUMBER: Final = re.compile(r"\d{1,30}(?:\.\d{1,40})?", re.ASCII)


def nanoseconds(value: object, form: TimestampFormat = "auto") -> int:
    """
    Return a time in ns since the Unix epoch; 0 when it cannot be read as such, or is before 1970 or after 2554.

    Texts are what ``read_time`` reads, and plain decimals. What is finer than a nanosecond is cut off.
    """
    if isinstance(value, str):
        time = read_time(value) if form in {"auto", "rfc3339"} else None
        if time is not None:
            return _within(time)
        if form == "rfc3339" or not _NUMBER.fullmatch(value):
            return 0
        return _counted(Decimal(value), form)
    if form == "rfc3339" or isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return 0
    return _counted(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), form)


def _counted(number: Decimal, form: str) -> int:
    if not number.is_finite() or not 0 <= number < _MAX_TIME:
        return 0
    unit = next((name for name, limit in _LARGEST if number < limit), "ns") if form == "auto" else form
    try:
        scaled = _EXACT.multiply(number, _UNITS[unit]).to_integral_value(ROUND_FLOOR)
    except InvalidOperation:
        return 0
    return _within(int(scaled))


def _within(time: int) -> int:
    return time if 0 <= time <= _MAX_TIME else 0
