"""
The credentials that a request's headers hold.

``authorization: Bearer <token>``, ``x-api-key: <token>``, and ``authorization: Basic <base64 of name:token>`` for senders
that have no other (Prometheus, Vector, Logstash, Fluent Bit): the user name must then be the key's name.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_BEARER = "bearer "
_BASIC = "basic "


@dataclass(frozen=True, slots=True)
class Credential:
    """
    A token, and the name that it must belong to; None: any.
    """

    token: bytes
    name: str | None = None


def credentials(headers: Iterable[tuple[str, str | bytes]]) -> Iterator[Credential]:
    """
    Yield what may be a credential; ``headers`` have names in lower case.
    """
    for name, value in headers:
        if name == "x-api-key":
            yield Credential(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value)
        elif name == "authorization":
            text = value if isinstance(value, str) else value.decode("latin-1")
            found = _authorization(text)
            if found is not None:
                yield found


def _authorization(value: str) -> Credential | None:
    if value[: len(_BEARER)].lower() == _BEARER:
        return Credential(value[len(_BEARER) :].strip().encode("utf-8", "surrogateescape"))
    if value[: len(_BASIC)].lower() == _BASIC:
        return _basic(value[len(_BASIC) :].strip())
    return None


def _basic(encoded: str) -> Credential | None:
    try:
        name, colon, token = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return Credential(token, name.decode("utf-8", "replace")) if colon else None
