"""
The canonical text of attribute values: what scalars are compared by, and what becomes a customer or metadata.
"""

import base64
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import ABSENT, Bad, Value

_NON_FINITE: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}
_LONGEST_NUMBER: Final = 400
"""Digits; more than any double has before its point."""


class BadValueError(Exception):
    """
    A rule had to read a value that cannot be read; the point is quarantined raw with this reason.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.code)
        self.reason = reason


def checked(value: Value) -> Value:
    """
    Return the value. Raises BadValueError for one that could not be read.
    """
    if isinstance(value, Bad):
        raise BadValueError(value.reason)
    return value


def canonical_text(value: Value) -> str | None:
    """
    Return a scalar's text: numbers as shortest plain decimals (200.0 is "200"), booleans in lower case, bytes in base64.

    None for what is absent, null or not a scalar.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | Decimal):
        return _number_text(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return None


def _number_text(value: float | Decimal) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return _NON_FINITE.get(value, "NaN")
    if isinstance(value, Decimal) and not -_LONGEST_NUMBER < value.adjusted() < _LONGEST_NUMBER:
        return str(value)  # written out, 1e999999999 of a JSON body would fill the memory
    text = f"{Decimal(repr(value)) if isinstance(value, float) else value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def identifier_text(value: Value) -> str | None:
    """
    Return the text of a customer or dimension: text that is not empty, or an integer's decimal text; None: missing.
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, Decimal):  # a long integer of a JSON body; one with places or an exponent is none
        return str(value) if value.as_tuple().exponent == 0 else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def metadata_text(value: Value) -> str | None:
    """
    Return a scalar's canonical text, or anything else as compact JSON with sorted keys; None when absent or null.
    """
    if value is None or value is ABSENT:
        return None
    text = canonical_text(value)
    return compact_json(value) if text is None else text


def compact_json(value: Value) -> str:
    """
    Return compact JSON with sorted keys. Decimals stay exact; bytes become base64, NaN and infinities become texts.
    """
    value = checked(value)
    if isinstance(value, Mapping):
        items = sorted(value.items())
        return "{" + ",".join(f"{_quoted(str(key))}:{compact_json(item)}" for key, item in items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(compact_json(item) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, float) and not math.isfinite(value):
        return _quoted(_number_text(value))
    text = canonical_text(value)
    assert text is not None  # noqa: S101 - what is left are the scalars of the seam's Value
    return _quoted(text) if isinstance(value, str | bytes) else text


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def exact_number(value: Value) -> Decimal | None:
    """
    Return what a range compares: numbers exactly (doubles by their shortest decimal form), texts that are plain decimals.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return value
    return _decimal_of(value) if isinstance(value, str) else None


def _decimal_of(text: str) -> Decimal | None:
    digits = text[1:] if text[:1] == "-" else text
    whole, dot, places = digits.partition(".")
    plain = whole.isascii() and whole.isdigit() and (not dot or (places.isascii() and places.isdigit()))
    return Decimal(text) if plain and len(text) <= _LONGEST_NUMBER else None
