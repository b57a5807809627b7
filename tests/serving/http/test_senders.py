"""
Who may send: credentials before bodies, tenants, rates, and pages of a browser.
"""

import gzip
import threading
from collections.abc import Callable

import pytest

from meterline.serving.seam import Decoded, Request
from meterline.testing.http_rig import Rig, StubEndpoint, StubPage

Opener = Callable[..., Rig]

MIB = 1024 * 1024
AUTH = {
    "keys": [
        {"name": "acme", "token": "secret-acme", "tenants": ["acme"]},
        {"name": "slow", "token": "secret-slow", "limits": {"max_requests_per_sec": 1}},
    ]
}
ACME = {"Authorization": "Bearer secret-acme"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"X-Api-Key": "secret-acm"}])
def test_no_body_is_read_of_a_stranger(open_rig: Opener, headers: dict[str, str]) -> None:
    """
    401 with a challenge comes while the body is still to be sent; nothing of it is reserved.
    """
    rig = open_rig(auth=AUTH)
    sock = rig.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    sock.sendall(f"POST /v1/metrics HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {MIB}\r\n\r\n".encode())
    seen = rig.read(sock)
    assert (seen.status, seen.headers["www-authenticate"]) == (401, 'Bearer realm="meterline"')
    assert rig.intake.peak == 0
    assert rig.endpoint.requests == []
    assert rig.sample("meterline_receiver_requests", outcome="401") == 1


def test_the_sender_is_known_and_so_is_its_tenant(open_rig: Opener) -> None:
    """
    A key's only tenant is the request's; another one named is 403.
    """
    rig = open_rig(auth=AUTH)
    assert rig.send(headers=ACME).status == 200
    assert (rig.endpoint.requests[0].principal.name, rig.endpoint.requests[0].tenant) == ("acme", "acme")
    assert rig.send(headers={**ACME, "X-Scope-OrgID": "acme"}).status == 200
    assert rig.send(headers={**ACME, "X-Scope-OrgID": "other"}).status == 403
    assert len(rig.intake.bodies) == 2


def test_whoever_sends_too_often_is_refused_for_now(open_rig: Opener) -> None:
    """
    A rate is 503, never 429, and others are not held up by it.
    """
    rig = open_rig(auth=AUTH)
    slow = {"X-Api-Key": "secret-slow"}
    statuses = [rig.send(headers=slow).status for _ in range(10)]
    assert set(statuses) == {200, 503}
    assert rig.send(headers=ACME).status == 200


def test_a_credential_in_the_body(open_rig: Opener) -> None:
    """
    A protocol that has its key in the body: read, decompressed, found; a wrong one is 401, as is none; a header goes first.
    """
    served = StubEndpoint()
    served.credential_in_body = True
    served.credential = lambda head, body: body.decode().partition(":")[0] or None
    rig = open_rig(served, auth=AUTH)
    assert rig.send(b"secret-acme:points").status == 200
    assert rig.send(gzip.compress(b"secret-acme:points"), {"Content-Encoding": "gzip"}).status == 200
    assert rig.send(b"wrong", ACME).status == 200
    assert {request.principal.name for request in served.requests} == {"acme"}
    for body in (b"wrong:points", b":points"):
        seen = rig.send(body)
        assert (seen.status, "www-authenticate" in seen.headers) == (401, True)
    assert rig.send(b"secret-acme:points", {"X-Scope-OrgID": "other"}).status == 403
    assert len(rig.intake.bodies) == 3


def test_a_strangers_body_is_read_up_to_20_mib(open_rig: Opener) -> None:
    """
    Before the sender is known no more than 20 MiB are read, compressed or not.
    """
    served = StubEndpoint()
    served.credential_in_body = True
    served.credential = lambda head, body: None
    rig = open_rig(served, auth=AUTH)
    assert rig.send(bytes(21 * MIB)).status == 413
    assert rig.send(gzip.compress(bytes(21 * MIB)), {"Content-Encoding": "gzip"}).status == 413
    assert rig.send(bytes(19 * MIB)).status == 401
    assert rig.send(bytes(21 * MIB), ACME).status == 200


PREFLIGHT = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}


def test_no_page_may_send_unless_it_is_configured(rig: Rig) -> None:
    """
    CORS is off: a page's request is refused unread, with preflight or without, and says nothing of CORS.
    """
    for seen in (rig.send(b"", PREFLIGHT, method="OPTIONS"), rig.send(headers={"Origin": "null"})):
        assert seen.status == 403
        assert not any(name.startswith("access-control") for name in seen.headers)
    assert rig.intake.bodies == []


def test_listed_pages_may_send(open_rig: Opener) -> None:
    """
    A listed origin is echoed, with preflight and without a credential for it; another one is refused.
    """
    cors = {"allowed_origins": ["https://*.example.com"], "allowed_headers": ["X-Extra"], "max_age_secs": 60}
    rig = open_rig(cors=cors, auth=AUTH)
    seen = rig.send(b"", PREFLIGHT, method="OPTIONS")
    assert seen.status == 204
    assert seen.headers["access-control-allow-origin"] == "https://app.example.com"
    assert seen.headers["access-control-allow-methods"] == "OPTIONS, POST"
    assert "x-extra" in seen.headers["access-control-allow-headers"]
    assert "authorization" in seen.headers["access-control-allow-headers"]
    assert (seen.headers["access-control-max-age"], seen.headers["vary"]) == ("60", "Origin")
    seen = rig.send(headers={**ACME, "Origin": "https://app.example.com"})
    assert (seen.status, seen.headers["access-control-allow-origin"]) == (200, "https://app.example.com")
    refused = rig.send(headers={"Origin": "https://app.example.com"})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "https://app.example.com")
    for origin in ("https://example.org", "https://app.example.com.evil.example", "null"):
        assert rig.send(headers={**ACME, "Origin": origin}).status == 403


def test_any_page_may_send_but_without_the_browsers_credentials(open_rig: Opener) -> None:
    """
    ``*`` alone is said as ``*``, and never together with credentials.
    """
    rig = open_rig(cors={"allowed_origins": ["*"]})
    seen = rig.send(headers={"Origin": "https://anything.example"})
    assert (seen.status, seen.headers["access-control-allow-origin"]) == (200, "*")
    assert "access-control-allow-credentials" not in seen.headers


def test_pages_need_no_credential(open_rig: Opener, page: StubPage) -> None:
    """
    A document is for everybody who can connect.
    """
    rig = open_rig(auth=AUTH, pages=(page,))
    assert rig.send(b"", method="GET", path="/page").status == 200
    assert rig.send(b"").status == 401


def test_a_slow_decoder_does_not_hold_up_others(rig: Rig) -> None:
    """
    Decoding is done on threads: while one request takes its time, others are answered.
    """
    decode = rig.endpoint.decoder
    others = threading.Event()

    def slow(request: Request) -> Decoded:
        if request.body == b"slow":
            assert others.wait(20)
        return decode(request)

    rig.endpoint.decoder = slow
    sock = rig.connect()
    sock.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nslow")
    assert [rig.send().status for _ in range(5)] == [200] * 5
    others.set()
    assert rig.read(sock).status == 200
