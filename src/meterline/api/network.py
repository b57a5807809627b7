"""
Addresses and client TLS, as every plugin that has a socket configures them.
"""

import re
import ssl
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from meterline.api.config import PluginConfig, RelativePath

_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\s\[\]/]+):(\d{1,5})")


def _listen_address(address: str) -> str:
    return _checked(address, 0)


def _dial_address(address: str) -> str:
    return _checked(address, 1)


def _checked(address: str, lowest_port: int) -> str:
    if re.fullmatch(r"unix:/.+", address):
        return address
    match = _HOST_PORT.fullmatch(address)
    if match is None or not lowest_port <= int(match[1]) <= 65_535:
        raise ValueError(f"reading endpoint {address!r}: write host:port, [ipv6]:port or unix:/path")
    return address


ListenAddress = Annotated[str, AfterValidator(_listen_address)]
"""``host:port``, ``[ipv6]:port`` or ``unix:/path`` to listen on; port 0 takes a free one."""

DialAddress = Annotated[str, AfterValidator(_dial_address)]
"""``host:port``, ``[ipv6]:port`` or ``unix:/path`` to connect to."""


def host_and_port(address: str) -> tuple[str, int]:
    """
    Return the host (an IPv6 address without brackets) and the port of an address that is no ``unix:`` path.
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class ClientTls(PluginConfig):
    """
    TLS towards a server, whose certificate is always verified. ``tls: {}`` trusts what the system trusts.
    """

    ca_file: RelativePath | None = Field(default=None, description="CA certificates, PEM; absent: the system's.")
    cert_file: RelativePath | None = Field(
        default=None, description="Own certificate chain, PEM, if the server wants one."
    )
    key_file: RelativePath | None = Field(
        default=None, description="Its private key, PEM; absent: it is in cert_file too."
    )
    server_name: str | None = Field(
        default=None, min_length=1, description="Name in the server's certificate; absent: the endpoint's host."
    )

    @model_validator(mode="after")
    def _key_of_a_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("reading tls: key_file is the key of a certificate; give cert_file too")
        return self

    def context(self) -> ssl.SSLContext:
        """
        Read the files and return a context that uses them.

        :raises OSError: a file cannot be read or used (``ssl.SSLError`` is one); the message names the files.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file, password="")
        except OSError as error:
            files = (self.ca_file, self.cert_file, self.key_file)
            names = ", ".join(f"'{file}'" for file in files if file is not None)
            raise OSError(f"loading certificates from {names}: {error}; give PEM files that belong together") from error
        return context
