"""
Did you mean: the known name that a written one is probably meant to be.
"""

from collections.abc import Iterable
from difflib import get_close_matches


def closest(written: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """
    Return the most similar known name, None when none is similar.
    """
    names = {name.casefold(): name for name in known}
    found = get_close_matches(written.casefold(), names, n=1, cutoff=cutoff)
    return names[found[0]] if found else None


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """
    Return ``did you mean `x`?``, or, when nothing is similar and the list is short, what is known, or an empty text.
    """
    names = list(known)
    close = closest(written, names)
    if close is not None:
        return f"did you mean `{close}`?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= 12 else ""
