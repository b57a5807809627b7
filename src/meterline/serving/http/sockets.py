"""
Listening sockets.
"""

import socket
import stat
from contextlib import suppress
from pathlib import Path

from meterline.api import ConfigurationError
from meterline.api.network import host_and_port

_BACKLOG = 1024


def listen(receiver: str, address: str) -> socket.socket:
    """
    Bind and listen.

    :raises ConfigurationError: the address cannot be bound.
    """
    try:
        bound = _unix(Path(address.removeprefix("unix:"))) if address.startswith("unix:") else _tcp(address)
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise ConfigurationError(
            f"binding receiver {receiver!r} to {address}: {reason}; stop what listens there, or change the endpoint"
        ) from error
    bound.listen(_BACKLOG)
    bound.setblocking(False)
    return bound


def address_of(bound: socket.socket, address: str) -> str:
    """
    Return the address really bound, written as it was configured.
    """
    if address.startswith("unix:"):
        return address
    return f"{address.rpartition(':')[0]}:{bound.getsockname()[1]}"


def close(bound: socket.socket, address: str) -> None:
    """
    Close, and take a Unix socket's file away.
    """
    bound.close()
    if address.startswith("unix:"):
        with suppress(OSError):
            Path(address.removeprefix("unix:")).unlink()


def _tcp(address: str) -> socket.socket:
    host, port = host_and_port(address)
    family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        bound.bind(target)
    except OSError:
        bound.close()
        raise
    return bound


def _unix(path: Path) -> socket.socket:
    """
    Bind a path; a file left behind by a process that died is taken away, one that answers is not.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    return bound


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0
