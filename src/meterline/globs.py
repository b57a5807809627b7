"""
Globs over whole texts: ``*`` is any run of characters, ``?`` any one, every character included (semantics.md 5).
"""

from collections.abc import Callable
from functools import lru_cache

import re2


def is_glob(pattern: str) -> bool:
    """
    Say whether the text has a wildcard; any other text compares as itself.
    """
    return "*" in pattern or "?" in pattern


@lru_cache(maxsize=4096)
def compile_glob(pattern: str) -> Callable[[str], bool]:
    """
    Return a predicate over whole texts, in time linear in the text (re2).
    """
    if not is_glob(pattern):
        return pattern.__eq__
    translated = "".join({"*": ".*", "?": "."}.get(char) or re2.escape(char) for char in pattern)
    compiled = re2.compile(f"(?s){translated}")
    return lambda text: compiled.fullmatch(text) is not None


def any_glob(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """
    Return a predicate that holds when one of the patterns does; no patterns: it never holds.
    """
    compiled = [compile_glob(pattern) for pattern in patterns]
    return lambda text: any(match(text) for match in compiled)
