"""
Receivers on one endpoint: one port, one set of options, and nobody's paths unknown before their time.
"""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meterline.api import ConfigurationError
from meterline.serving.config import HttpListenerConfig
from meterline.serving.http import EventLoop, HttpListener
from meterline.serving.listeners import OpenListeners, Registration, listeners_of
from meterline.testing.http_rig import WAIT_SECS, Rig, StubEndpoint
from meterline.testing.process import wait_until

Opener = Callable[..., Rig]

KEYS = {"keys": [{"name": "a", "token": "secret-a"}]}


def join(rig: Rig, endpoint: StubEndpoint, receiver: str = "second", **options: Any) -> Registration:
    """
    Serve one more endpoint on the rig's listener.
    """
    config = HttpListenerConfig(**{**rig.config.model_dump(exclude_unset=True), **options})
    return rig.listeners.http(receiver, config, rig.context, [endpoint])


def test_receivers_of_one_endpoint_share_its_port(rig: Rig) -> None:
    """
    The same text, port 0 included, is the same port; each path goes to its receiver.
    """
    registration = join(rig, StubEndpoint("/api/v1/write"))
    assert registration.endpoint == rig.registration.endpoint
    assert rig.send().status == rig.send(path="/api/v1/write").status == 200
    assert rig.sample("meterline_receiver_requests", outcome="ok") == 1
    assert {s.labels["receiver"] for s in registration.samples()} == {"second"}
    registration.stop(1)


def test_a_receiver_that_leaves_is_refused_for_now(rig: Rig) -> None:
    """
    Its paths are never unknown while others are served; the last one closes the port; stopping twice does nothing.
    """
    second = join(rig, StubEndpoint("/api/v1/write"))
    rig.registration.stop(1)
    rig.registration.stop(1)
    seen = rig.send()
    assert (seen.status, "retry-after" in seen.headers) == (503, True)
    assert rig.send(path="/api/v1/write").status == 200
    second.stop(1)
    with pytest.raises(ConnectionError):
        rig.connect()


def test_a_receiver_may_come_back(rig: Rig) -> None:
    """
    A path is free once its receiver has left, on the same port as long as another one keeps it open.
    """
    second = join(rig, StubEndpoint("/other"))
    rig.registration.stop(1)
    assert rig.send().status == 503
    third = join(rig, StubEndpoint("/v1/metrics"), "third")
    assert rig.send().status == 200
    second.stop(1)
    third.stop(1)


@pytest.mark.parametrize(
    ("key", "value"), [("max_request_bytes", 1000), ("compression_algorithms", ["gzip"]), ("idle_timeout_secs", 1)]
)
def test_receivers_must_agree(rig: Rig, key: str, value: object) -> None:
    """
    An option that differs is a configuration error that names both receivers and the option.
    """
    with pytest.raises(ConfigurationError, match=rf"'stub' and 'second' differ in {key} "):
        join(rig, StubEndpoint("/other"), **{key: value})
    assert rig.send().status == 200


def test_credentials_may_differ(rig: Rig) -> None:
    """
    ``auth`` belongs to the receiver, not to the port.
    """
    second = join(rig, StubEndpoint("/private"), auth=KEYS)
    assert rig.send().status == 200
    seen = rig.send(path="/private")
    assert (seen.status, seen.headers["www-authenticate"]) == (401, 'Bearer realm="meterline"')
    assert rig.send(path="/private", headers={"X-Api-Key": "secret-a"}).status == 200
    second.stop(1)


def test_a_path_has_one_receiver(rig: Rig) -> None:
    """
    Two receivers on one path is a configuration error; the first is served on.
    """
    with pytest.raises(ConfigurationError, match="POST /v1/metrics is served by receiver 'stub'"):
        join(rig, StubEndpoint("/new", "/v1/metrics"))
    assert rig.send().status == 200
    assert rig.send(path="/new").status == 404, "all of its paths or none"


def test_a_taken_address_is_named(rig: Rig) -> None:
    """
    The operating system's reason, the receiver, and the remedy.
    """
    address = rig.registration.endpoint
    with pytest.raises(ConfigurationError, match=rf"binding receiver 'other' to {address}: address already in use; "):
        OpenListeners(rig.context.clock).http(
            "other", HttpListenerConfig(endpoint=address), rig.context, [StubEndpoint("/x")]
        )


def test_an_address_for_everybody_needs_credentials(open_rig: Opener, rig: Rig) -> None:
    """
    Without ``auth``, client certificates or ``insecure`` no port is opened to other machines.
    """
    with pytest.raises(ConfigurationError, match="auth"):
        open_rig(endpoint="0.0.0.0:0")
    assert open_rig(endpoint="0.0.0.0:0", insecure=True).registration.endpoint.startswith("0.0.0.0:")


@pytest.mark.parametrize("address", ["[::1]:0", "localhost:0"])
def test_other_ways_to_write_an_address(open_rig: Opener, address: str) -> None:
    """
    IPv6 and names.
    """
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        if "::" in address:
            pytest.skip("this machine has no IPv6")
    assert open_rig(endpoint=address).send().status == 200


def test_a_unix_socket_is_served_and_taken_away(open_rig: Opener, tmp_path: Path) -> None:
    """
    ``unix:/path``: a dead process's file is no obstacle, a live one's is; ours is removed at the end.
    """
    path = tmp_path / "meterline.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    rig = open_rig(endpoint=f"unix:{path}")
    assert rig.registration.endpoint == f"unix:{path}"
    assert rig.send().status == 200
    with pytest.raises(ConfigurationError, match="address already in use"):
        open_rig(endpoint=f"unix:{path}")
    assert rig.send().status == 200
    rig.registration.stop(1)
    assert not path.exists()


def test_connections_beyond_the_limit_are_closed(open_rig: Opener) -> None:
    """
    max_connections: the next one is cut off at once, counted, and served when there is room again.
    """
    rig = open_rig(max_connections=2)
    first, second = rig.connect(), rig.connect()
    assert rig.send(over=first).status == rig.send(over=second).status == 200
    with pytest.raises((ConnectionError, OSError)):
        rig.send(over=rig.connect())
    assert rig.sample("meterline_receiver_refused_connections") == 1
    first.close()
    wait_until(lambda: rig.sample("meterline_receiver_connections") < 2, WAIT_SECS, "room")
    assert rig.send().status == 200


def test_stopping_waits_for_what_is_in_flight(rig: Rig) -> None:
    """
    No connection is accepted any more, a request in flight is answered, and then the connection ends.
    """
    sock, idle = rig.connect(), rig.connect()
    assert rig.connect()
    with rig.intake.held():
        sock.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        stopping = threading.Thread(target=rig.registration.stop, args=(WAIT_SECS,))
        stopping.start()
        wait_until(lambda: not connects(rig), WAIT_SECS, "the port to be closed")
        assert stopping.is_alive()
    seen = rig.read(sock)
    assert (seen.status, seen.headers["connection"]) == (200, "close")
    stopping.join(WAIT_SECS)
    assert not stopping.is_alive()
    assert idle.recv(1) == b""


def connects(rig: Rig) -> bool:
    """
    Say whether somebody listens.
    """
    try:
        return bool(rig.connect())
    except ConnectionError:
        return False


def test_stopping_ends_with_its_grace(rig: Rig) -> None:
    """
    A request that gets no answer holds the stop up for its grace and not for ever.
    """
    sock = rig.connect()
    with rig.intake.held():
        sock.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        assert rig.intake.submitted.acquire(timeout=WAIT_SECS)
        stopping = threading.Thread(target=rig.registration.stop, args=(0.2,))
        stopping.start()
        stopping.join(WAIT_SECS)
        assert not stopping.is_alive()
    wait_until(lambda: rig.intake.in_flight == 0, WAIT_SECS, "what was reserved to be given back")


def test_a_listener_that_was_never_started_stops(rig: Rig) -> None:
    """
    Stop without start, and twice, is legal; so is an event loop that nobody used.
    """
    listener = HttpListener(HttpListenerConfig(endpoint="127.0.0.1:0"), rig.context)
    listener.stop(1)
    listener.stop(1)
    assert listener.closed
    EventLoop().post(lambda: pytest.fail("nobody is there to run it"))


def test_a_receiver_alone_opens_its_own(rig: Rig) -> None:
    """
    Without a gateway's listeners, each receiver has a private one; unknown paths are unknown at once.
    """
    assert listeners_of(rig.context) is rig.listeners
    alone = type(rig.context)(rig.intake, rig.context.clock, rig.context.log)
    first = listeners_of(alone).http("alone", HttpListenerConfig(endpoint="127.0.0.1:0"), alone, [StubEndpoint("/a")])
    assert first.endpoint != rig.registration.endpoint
    first.stop(1)
