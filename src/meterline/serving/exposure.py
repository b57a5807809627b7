"""
Which listeners are open to other machines without anybody being asked who they are.
"""

import ipaddress
from enum import Enum
from typing import Any

from meterline.api import ConfigurationError
from meterline.api.network import host_and_port
from meterline.serving.auth_config import AuthConfig
from meterline.serving.config import ListenerConfig


class Exposure(Enum):
    """
    What is wrong with a listener.
    """

    NONE = "none"
    OPEN = "open"  # everybody who reaches it may write usage for any customer
    PLAIN = "plain"  # credentials travel in plain text


def is_local(address: str) -> bool:
    """
    Say whether only this machine reaches the address: loopback or a Unix socket.
    """
    if address.startswith("unix:"):
        return True
    host, _ = host_and_port(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: what it means is not known here
        return False


def exposure(config: ListenerConfig, default: AuthConfig | None) -> Exposure:
    """
    Judge a listener; ``default``: the top-level ``auth``. ``insecure: true`` allows what is open, and plain text.
    """
    if is_local(config.endpoint) or config.insecure:
        return Exposure.NONE
    if (config.auth or default) is None and (config.tls is None or config.tls.client_ca_file is None):
        return Exposure.OPEN
    return Exposure.PLAIN if config.tls is None else Exposure.NONE


def open_words(endpoint: str) -> tuple[str, str]:
    """
    Return what is wrong with an open listener, and the remedy.
    """
    return (
        f"everybody who reaches {endpoint} could write usage for any customer",
        "write `auth: {keys: [...]}` or tls.client_ca_file, bind to 127.0.0.1, or say `insecure: true`",
    )


def plain_words(endpoint: str) -> tuple[str, str]:
    """
    Return what is wrong with a listener without TLS, and the remedy.
    """
    return f"the credentials sent to {endpoint} travel in plain text", "write `tls: {cert_file: ..., key_file: ...}`"


def require_guarded(receiver: str, config: ListenerConfig, default: AuthConfig | None, log: Any) -> None:
    """
    Refuse an open listener, for programs that do not come through the config loader; warn of plain text.

    :raises ConfigurationError: it is open.
    """
    found = exposure(config, default)
    if found is Exposure.OPEN:
        words, remedy = open_words(config.endpoint)
        raise ConfigurationError(f"starting receiver {receiver!r}: {words}; {remedy}")
    if found is Exposure.PLAIN:
        words, remedy = plain_words(config.endpoint)
        log.warning(words, receiver=receiver, remedy=remedy)
