"""
The operators' HTTP server, over real sockets.
"""

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping

import pytest

from meterline.telemetry.http import Listener, Reply, split_endpoint


@pytest.fixture
def listener() -> Iterator[Listener]:
    """
    A server with one path, on a free port.
    """
    server = Listener("127.0.0.1:0", {"/hello": lambda headers: Reply.json(200, {"accept": headers.get("accept", "")})})
    server.start()
    yield server
    server.stop()


def get(listener: Listener, path: str, method: str = "GET") -> tuple[int, bytes, Mapping[str, str]]:
    """
    Ask, and return status, body and headers, whatever the status.
    """
    request = urllib.request.Request(f"http://{listener.endpoint}{path}", method=method, headers={"Accept": "x/y"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_answers_a_known_path(listener: Listener) -> None:
    """A known path gives its route's answer, whatever the query, and the route sees the headers in lower case."""
    status, body, headers = get(listener, "/hello?x=1")

    assert (status, json.loads(body), headers["Content-Type"]) == (200, {"accept": "x/y"}, "application/json")


def test_head_has_no_body(listener: Listener) -> None:
    """HEAD gives the same headers and no body."""
    status, body, headers = get(listener, "/hello", "HEAD")

    assert (status, body, headers["Content-Length"]) == (200, b"", "18")


def test_unknown_path_names_the_known_ones(listener: Listener) -> None:
    """A wrong path is 404 and says which paths there are."""
    status, body, _ = get(listener, "/nothing")

    assert (status, json.loads(body)["paths"]) == (404, ["/hello"])


def test_says_nothing_about_the_python_it_runs_on(listener: Listener) -> None:
    """The Server header names no versions."""
    _, _, headers = get(listener, "/hello")

    assert headers["Server"].strip() == "meterline"


def test_a_busy_address_is_an_error_and_stop_frees_it(listener: Listener) -> None:
    """A second server on the address cannot bind; after the first stopped, it can."""
    second = Listener(listener.endpoint, {})
    with pytest.raises(OSError, match="in use"):
        second.start()
    listener.stop()
    second.start()
    second.stop()

    assert second.endpoint == listener.endpoint or listener.endpoint.endswith(":0")


def test_a_client_that_says_nothing_blocks_nobody(listener: Listener) -> None:
    """An open connection without a request does not keep others from their answer, nor the server from stopping."""
    host, port = split_endpoint(listener.endpoint)
    with socket.create_connection((host, port)):
        assert get(listener, "/hello")[0] == 200
        stopper = threading.Thread(target=listener.stop)
        stopper.start()
        stopper.join(20)
        assert not stopper.is_alive()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("127.0.0.1:8888", ("127.0.0.1", 8888)), ("[::1]:0", ("::1", 0)), ("localhost:65535", ("localhost", 65535))],
)
def test_endpoints(endpoint: str, expected: tuple[str, int]) -> None:
    """Host and port, also of an IPv6 address."""
    assert split_endpoint(endpoint) == expected


@pytest.mark.parametrize("endpoint", ["", "8888", "localhost:", "localhost:http", "localhost:65536", "localhost:-1"])
def test_bad_endpoints(endpoint: str) -> None:
    """What has no port is refused, with the text and an example."""
    with pytest.raises(ValueError, match="expected host:port"):
        split_endpoint(endpoint)


def test_ipv6() -> None:
    """An IPv6 address is bound and shown in brackets."""
    server = Listener("[::1]:0", {"/": lambda _: Reply.json(200, {})})
    server.start()
    try:
        assert server.endpoint.startswith("[::1]:")
        assert get(server, "/")[0] == 200
    finally:
        server.stop()
