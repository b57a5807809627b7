"""
Sums of exact decimal text: what the totals and the quarantine index are kept in. No limit of size, no float.
"""

from typing import Any, Final

import apsw

from meterline.quantity import QUANTITY_PLACES, format_units

FUNCTION: Final = "meterline_add"
"""The SQL function ``meterline_add(text, text) -> text`` on the write connection; NULL counts as nothing."""


def units_of(text: str) -> int:
    """
    Return plain decimal text of at most 30 places in units of 10^-30.
    """
    whole, _, places = text.partition(".")
    return int(whole + places.ljust(QUANTITY_PLACES, "0"))


def add(*parts: Any) -> str | None:
    """
    Return the exact sum of decimal texts as the shortest plain decimal; None when every part is None.
    """
    texts = [part for part in parts if part is not None]
    return format_units(sum(map(units_of, texts))) if texts else None


def register(connection: apsw.Connection) -> None:
    """
    Make ``add`` known to the statements of a connection.
    """
    connection.create_scalar_function(FUNCTION, add, 2, deterministic=True)
