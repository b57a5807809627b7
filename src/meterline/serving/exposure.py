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
    UNASKED = "unasked"  # the same, although the config says who may send: the protocol cannot carry that
    PLAIN = "plain"  # credentials travel in plain text


FAULTS = frozenset({Exposure.OPEN, Exposure.UNASKED})
"""What must not open."""


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
    if config.insecure:
        return Exposure.NONE
    auth = config.auth or (default if config.takes_top_level_auth else None)
    if auth is None and (config.tls is None or config.tls.client_ca_file is None):
        if default is not None:
            return Exposure.UNASKED
        return Exposure.NONE if is_local(config.endpoint) else Exposure.OPEN
    return Exposure.PLAIN if config.tls is None and not is_local(config.endpoint) else Exposure.NONE


def fault_words(found: Exposure, endpoint: str) -> tuple[str, str]:
    """
    Return what is wrong with a listener that must not open, and the remedy.
    """
    if found is Exposure.UNASKED:
        return (
            f"the credentials of the top-level auth cannot be sent to {endpoint}, so everybody could write usage there",
            "write an `auth` of its own or tls.client_ca_file, or say `insecure: true`",
        )
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
    if found in FAULTS:
        words, remedy = fault_words(found, config.endpoint)
        raise ConfigurationError(f"starting receiver {receiver!r}: {words}; {remedy}")
    if found is Exposure.PLAIN:
        words, remedy = plain_words(config.endpoint)
        log.warning(words, receiver=receiver, remedy=remedy)
