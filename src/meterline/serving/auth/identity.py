"""
Whom a client certificate names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """
    The names of a verified client certificate: the subject's common name ("" when it has none), and its alternative names.
    """

    common_name: str = ""
    alternative_names: tuple[str, ...] = ()

    @classmethod
    def of_auth_context(cls, properties: Mapping[str, Any]) -> Self:
        """
        Read gRPC's auth context: lists of bytes by name.
        """
        common = _texts(properties.get("x509_common_name", ()))
        return cls(next(iter(common), ""), _texts(properties.get("x509_subject_alternative_name", ())))

    @classmethod
    def of_peer_certificate(cls, certificate: Mapping[str, Any]) -> Self:
        """
        Read what ``ssl.SSLSocket.getpeercert()`` returns.
        """
        pairs = [pair for part in certificate.get("subject", ()) for pair in part]
        common = next((value for key, value in pairs if key == "commonName" and value), "")
        return cls(common, tuple(value for _, value in certificate.get("subjectAltName", ()) if value))

    @property
    def name(self) -> str:
        """
        Return the common name, or else the first alternative name, or "" when it names nobody.
        """
        return next(iter(self.names), "")

    @property
    def names(self) -> tuple[str, ...]:
        """
        Return all names, the common name first.
        """
        return (self.common_name, *self.alternative_names) if self.common_name else self.alternative_names


def _texts(values: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(value.decode("utf-8", "replace") for value in values if value)
