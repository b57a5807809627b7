"""
A request's line and headers, as endpoints see them.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from meterline.api import UndecodableError
from meterline.serving.seam import Head

_MAX_QUERY_FIELDS = 100
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def head_of(method: str, target: str, headers: Iterable[tuple[str, str]]) -> Head:
    """
    Return the head. ``target``: as in the request line, whole URLs included.

    :raises UndecodableError: the query has more than 100 fields.
    """
    path, query = _split(target)
    named = {name.lower(): value if value.isascii() else _decoded(value) for name, value in headers}
    media_type, params = _media_type(named.get("content-type", ""))
    return Head(method, path, _query(query) if query else _NOTHING, named, media_type, params)


def _decoded(value: str) -> str:
    """
    Take the lone surrogates out that stand for bytes which are no UTF-8; nothing later could encode them.
    """
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _split(target: str) -> tuple[str, str]:
    target = target.partition("#")[0]
    if not target.startswith("/") and "://" in target:
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    return (path if path.isascii() else _decoded(path)), query


def _query(text: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(_decoded(text), keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError as error:
        raise UndecodableError(f"reading query: it has more than {_MAX_QUERY_FIELDS} fields") from error


@lru_cache(maxsize=256)
def _media_type(value: str) -> tuple[str, Mapping[str, str]]:
    """
    Split a Content-Type; what is no parameter is passed over.
    """
    media_type, _, rest = value.partition(";")
    params = {}
    for part in _parts(rest):
        name, separator, text = part.partition("=")
        if separator:
            params[name.strip().lower()] = _unquoted(text.strip())
    return media_type.strip().lower(), MappingProxyType(params)


def _parts(text: str) -> Iterable[str]:
    """
    Split at semicolons outside of quotes.
    """
    part, quoted, escaped = "", False, False
    for char in text:
        if char == ";" and not quoted:
            yield part
            part = ""
            continue
        quoted ^= char == '"' and not escaped
        escaped = char == "\\" and quoted and not escaped
        part += char
    yield part


def _unquoted(text: str) -> str:
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    unescaped, escaped = "", False
    for char in text[1:-1]:
        escaped = char == "\\" and not escaped
        unescaped += "" if escaped else char
    return unescaped
