"""
Which records an exporter is given: its ``only`` as fixed text, and the predicate that text stands for.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from meterline.api import Only, any_glob

EVERYTHING: Final = "{}"
"""The text of a filter that keeps every record."""

Keep = Callable[[str, str, str], bool]
"""Takes (rule, customer, dimension)."""


def filter_text(only: Only | None) -> str:
    """
    Return ``only`` as JSON that is stored with each batch, so that a retry after an edit selects the same records.
    """
    if only is None:
        return EVERYTHING
    given = {key: _listed(value) for key, value in only.model_dump().items() if value is not None}
    return json.dumps(given, sort_keys=True, ensure_ascii=False)


def _listed(value: str | tuple[str, ...]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@lru_cache(maxsize=256)
def keeper(text: str) -> Keep | None:
    """
    Return the predicate of a stored filter; None: it keeps every record.
    """
    given: dict[str, list[str]] = json.loads(text)
    if not given:
        return None
    tests = [any_glob(tuple(given[key])) if key in given else None for key in ("rule", "customer", "dimension")]
    return lambda *record: all(test is None or test(text) for test, text in zip(tests, record, strict=True))
