"""
Reading fields of an event by a path.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def find(event: Mapping[Any, Any], path: str) -> Any:
    """
    Return the value at a path, None when it is not there: a field of exactly that name, or else each dot nests.
    """
    if path in event:
        return event[path]
    if "." not in path:
        return None
    head, _, rest = path.partition(".")
    inner = event.get(head)
    return find(inner, rest) if isinstance(inner, Mapping) else None


def first_text(event: Mapping[Any, Any], paths: Iterable[str]) -> str:
    """
    Return the first value that is a text with something in it, or an integer as its decimal text; "" when there is none.
    """
    for path in paths:
        value = find(event, path)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""
