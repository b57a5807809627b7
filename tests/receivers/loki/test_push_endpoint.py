"""
The push endpoint: media types, answers, and what a gateway makes of lines that come twice.
"""

import http.client
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import cramjam
import pytest

from meterline.api import ANONYMOUS, Answer, Format, Status, TooLargeError, UndecodableError
from meterline.receivers.loki.endpoint import PushEndpoint
from meterline.serving.seam import Cause, Decoded, Head, Refusal, Request
from meterline.testing.evidence import check_balance
from meterline.testing.remote_write import field, varint
from meterline.testing.site import Site

LIMIT = 10_000
RULES = """
rules:
  - name: by-id
    match: {log: true, attributes: {job: ids}}
    customer: body.customer
    dimension: ids
    value: body.units
    parse_body: json
    identity: attributes["log.record.uid"]
  - name: by-content
    match: {log: true, attributes: {job: content}, resource: {tenant.id: shop}}
    customer: body.customer
    dimension: content
    value: body.units
    parse_body: json
    identity: content
"""


def request(body: bytes, media_type: str = "", encoding: str = "", tenant: str = "") -> Request:
    """
    Return a request as the listener hands it on.
    """
    headers = {"content-encoding": encoding} if encoding else {}
    return Request(Head("POST", "/loki/api/v1/push", {}, headers, media_type, {}), body, ANONYMOUS, tenant, 0)


def pushed(lines: int = 1) -> bytes:
    """
    Return a PushRequest, not compressed.
    """
    entry = field(2, field(1, varint(1 << 3) + varint(1_795_346_017)) + field(2, "x" * 50))
    return field(1, field(1, '{job="a"}') + entry * lines)


@pytest.mark.parametrize(
    ("media_type", "accepted"),
    [("application/x-protobuf", True), ("application/json", True), ("", True), ("text/plain", False)],
)
def test_protobuf_and_json_are_accepted(media_type: str, accepted: bool) -> None:  # noqa: FBT001
    """
    No type at all is protobuf.
    """
    assert PushEndpoint(LIMIT).accepts(request(b"", media_type).head) is accepted


@pytest.mark.parametrize("encoding", ["", "snappy"])
@pytest.mark.parametrize("packed", [True, False])
def test_protobuf_is_a_snappy_block_said_or_not(encoding: str, *, packed: bool) -> None:
    """
    What the listener has not inflated is looked at: a block, or plain protobuf.
    """
    body = pushed()
    if packed and not encoding:
        body = bytes(cramjam.snappy.compress_raw(body))

    (made,) = PushEndpoint(LIMIT).decode(request(body, encoding=encoding, tenant="shop")).bodies

    assert made.fmt is Format.OTLP_LOGS
    assert b"tenant.id" in made.data


def test_json_has_its_tenant_and_its_bound_too() -> None:
    """
    The same as protobuf.
    """
    stream = {"stream": {"job": "a"}, "values": [["1", "x"]]}
    endpoint = PushEndpoint(LIMIT)

    (made,) = endpoint.decode(
        request(json.dumps({"streams": [stream]}).encode(), "application/json", tenant="shop")
    ).bodies

    assert b"tenant.id\x12\x06\x0a\x04shop" in made.data
    with pytest.raises(TooLargeError):
        endpoint.decode(request(json.dumps({"streams": [stream] * 1_000}).encode(), "application/json"))


def test_a_block_that_grows_too_large_is_refused() -> None:
    """
    The size limit holds for bodies that do not say that they are compressed; and so does one for what is made of them.
    """
    with pytest.raises(TooLargeError):  # read to its end it would be broken
        PushEndpoint(LIMIT).decode(request(bytes(cramjam.snappy.compress_raw(bytes(10 * LIMIT)))))
    with pytest.raises(TooLargeError):
        PushEndpoint(LIMIT).decode(request(pushed(1_000), encoding="snappy"))


@pytest.mark.parametrize(("media_type", "body"), [("application/json", b"{"), ("", b"\x0a\x05ab")])
def test_what_is_no_push_request_is_refused(media_type: str, body: bytes) -> None:
    """
    As a whole.
    """
    with pytest.raises(UndecodableError):
        PushEndpoint(LIMIT).decode(request(body, media_type))


@pytest.mark.parametrize("cause", list(Cause))
def test_refusals_are_plain_text(cause: Cause) -> None:
    """
    As Loki's are; never 500, never 429.
    """
    reply = PushEndpoint(LIMIT).refuse(request(b"").head, Refusal(cause, "why"))

    assert (reply.status, reply.body) == (cause.value, b"why\n")
    assert reply.media_type.startswith("text/plain")
    assert reply.status not in {429, 500}


@pytest.mark.parametrize(("rejected", "headers"), [(0, {}), (2, {"X-Meterline-Quarantined": "2"})])
def test_stored_is_204(rejected: int, headers: Any) -> None:
    """
    With lines in quarantine, too, which are named.
    """
    reply = PushEndpoint(LIMIT).answer(request(b""), Decoded(), Answer(Status.STORED, 3, rejected))

    assert (reply.status, reply.body, reply.headers) == (204, b"", headers)


class PushSite(Site):
    """
    A gateway with the Loki receiver in place of OTLP's.
    """

    receiver = "loki"

    def push(self, job: str, *values: Any) -> None:
        """
        Send one request and see it stored.
        """
        body = json.dumps({"streams": [{"stream": {"job": job}, "values": values}]})
        headers = {"content-type": "application/json", "x-scope-orgid": "shop"}
        connection = http.client.HTTPConnection(f"127.0.0.1:{self.port}", timeout=30)
        connection.request("POST", "/loki/api/v1/push", body, headers)
        assert connection.getresponse().status == 204
        connection.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PushSite]:
    """
    Start a gateway.
    """
    site = PushSite(tmp_path, rules=RULES)
    with site.gateway:
        site.gateway.start()
        yield site


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_lines_that_come_twice(site: PushSite) -> None:
    """
    An id is known however its line comes; equal lines without one are two in a request, and the same two in the next.
    """
    now = time.time_ns()
    line = '{"customer": "acme", "units": 0.1}'
    first = [str(now), line, {"log.record.uid": "u1"}]
    site.push("ids", first, [str(now + 1), line, {"log.record.uid": "u2"}])
    site.push("content", [str(now), line], [str(now), line], [str(now + 1), line])
    site.gateway.kill()
    site.gateway.start()
    site.push("ids", first, [str(now + 2), line, {"log.record.uid": "u3"}], ["soon", line])
    site.push("content", [str(now), line], [str(now), line], [str(now + 1), line])

    assert site.totals() == {("acme", "ids"): Decimal("0.3"), ("acme", "content"): Decimal("0.3")}
    assert [entry["reason"] for entry in site.quarantine()] == ["undecodable_item"]
    check_balance(site.folder)
