"""
A forward-protocol server written from the protocol's facts, told by the test how to behave.
"""

import hashlib
import io
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgpack

Behaviour = Callable[["Conversation", str], None]


@dataclass
class Message:
    """
    One PackedForward message as the server understood it.
    """

    tag: str
    entries: list[tuple[int, dict[str, Any]]]
    option: dict[str, Any]
    raw: bytes


@dataclass
class ForwardServer:
    """
    Accepts connections one after the other; ``behave`` answers each chunk. A shared key makes it ask for a handshake.
    """

    behave: Behaviour
    shared_key: str = ""
    users: dict[str, str] = field(default_factory=dict)
    keepalive: bool = True
    tls: ssl.SSLContext | None = None
    own_key: str = ""
    greeting: bytes | None = None
    messages: list[Message] = field(default_factory=list)
    pings: list[Any] = field(default_factory=list)
    connections: int = 0
    failures: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """
        Stop; raises what went wrong.
        """
        self.closing.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        if self.failures:
            raise self.failures[0]

    def _serve(self) -> None:
        while not self.closing.is_set():
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        try:
            peer.settimeout(10)
            if self.tls is not None:
                peer = self.tls.wrap_socket(peer, server_side=True)
            Conversation(self, peer).run()
        except OSError:
            pass  # the client went away, or never spoke TLS
        except BaseException as error:  # noqa: BLE001  # raised again by close
            self.failures.append(error)
        finally:
            peer.close()


class Conversation:
    """
    One connection: handshake, then messages until it ends.
    """

    def __init__(self, server: ForwardServer, peer: socket.socket) -> None:
        self.server = server
        self.peer = peer
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=2**28)

    def run(self) -> None:
        """
        Serve until the client closes.
        """
        server = self.server
        if server.greeting is not None:
            self.peer.sendall(server.greeting)
            self._next()
            return
        if server.shared_key and not self._handshake():
            return
        while (raw := self._next()) is not None:
            tag, packed, option = raw
            entries = [(seconds_and_nanos(time), record) for time, record in msgpack.Unpacker(io.BytesIO(packed))]
            assert option["size"] == len(entries)
            server.messages.append(Message(tag, entries, option, packed))
            server.behave(self, option["chunk"])

    def say(self, message: Any) -> None:
        """
        Send a message.
        """
        self.peer.sendall(msgpack.packb(message))

    def _handshake(self) -> bool:
        server = self.server
        nonce, auth = b"\xff\x00nonce", b"\xfesalt" if server.users else b""
        self.say(["HELO", {"nonce": nonce, "auth": auth, "keepalive": server.keepalive}])
        ping = self._next()
        server.pings.append(ping)
        kind, hostname, salt, proof, user, password = ping
        assert kind == "PING"
        if proof != digest(salt, hostname, nonce, server.shared_key):
            self.say(["PONG", False, "shared_key mismatch\n", "", ""])
            return False
        if server.users and password != digest(auth, user, server.users.get(user, "?")):
            self.say(["PONG", False, "username/password mismatch", "", ""])
            return False
        own = server.own_key or server.shared_key
        self.say(["PONG", True, "", "server.example", digest(salt, "server.example", nonce, own)])
        return True

    def _next(self) -> Any:
        while True:
            for message in self.unpacker:
                return message
            data = self.peer.recv(65536)
            if not data:
                return None
            self.unpacker.feed(data)


def digest(*parts: str | bytes) -> str:
    """
    Return the protocol's hex SHA-512 over the parts.
    """
    return hashlib.sha512(b"".join(p.encode() if isinstance(p, str) else p for p in parts)).hexdigest()


def seconds_and_nanos(time: msgpack.ExtType) -> int:
    """
    Return EventTime as nanoseconds since 1970.
    """
    assert time.code == 0
    assert len(time.data) == 8
    return int.from_bytes(time.data[:4], "big") * 10**9 + int.from_bytes(time.data[4:], "big")


def acknowledge(conversation: Conversation, chunk: str) -> None:
    """
    Behave well.
    """
    conversation.say({"ack": chunk})
