"""
What is wrong with a value, told upwards until something small enough to be set aside has been left.
"""

from decimal import Decimal
from typing import Any, Final

from meterline.encodings.json import Ambiguous

_KINDS: Final = {
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    Decimal: "a number",
    type(None): "null",
}


class WrongError(Exception):
    """
    A value that OTLP/JSON does not allow. ``path``: where, from the inside out. The message has nothing of the value.
    """

    def __init__(self, what: str, reason: str = "undecodable_item") -> None:
        super().__init__(what)
        self.reason = reason
        self.path: list[str] = []

    def sentence(self, item: str) -> str:
        """
        Say it in one sentence; ``item``: what to call the thing itself.
        """
        return f"reading {'.'.join(reversed(self.path)) or item}: {self}"


def wrong_type(value: Any, wanted: str) -> WrongError:
    """
    Return the error of a value of another JSON type, or of an object that says a key twice: which value is meant is not known.
    """
    if isinstance(value, Ambiguous):
        return WrongError("an object says a key twice, with different values", "duplicate_key")
    return WrongError(f"{_KINDS[type(value)]} where {wanted} is expected")
