"""
What a request must be to be stored, and what it is answered otherwise.
"""

import gzip
from collections.abc import Callable

import pytest

from meterline.api import Answer, Body, ForbiddenError, Format, RetryableError, Status, TooLargeError, UndecodableError
from meterline.serving.seam import Decoded, Reply
from meterline.testing.http_rig import Rig, StubPage

Opener = Callable[..., Rig]

CHUNKED = "POST /v1/metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_request_is_stored_and_then_answered(rig: Rig) -> None:
    """
    The endpoint sees head and body, the intake its bodies, the sender the endpoint's words.
    """
    seen = rig.send(
        b"points", {"Content-Type": 'application/JSON; charset="utf-8"', "X-Twice": "1"}, path="/v1/metrics?a=1&a=2"
    )
    assert (seen.status, seen.body, seen.headers["content-type"]) == (200, b"stored", "text/plain")
    request = rig.endpoint.requests[0]
    assert request.body == b"points"
    assert (request.head.method, request.head.path, request.head.query) == ("POST", "/v1/metrics", {"a": "2"})
    assert (request.head.media_type, request.head.media_params) == ("application/json", {"charset": "utf-8"})
    assert rig.intake.data[0] == b"points"
    assert rig.intake.names == {"anonymous"}


def test_a_connection_carries_many_requests(rig: Rig) -> None:
    """
    Keep-alive: the connection is open after an answer, after a refusal too.
    """
    sock = rig.connect()
    assert [rig.send(over=sock).status for _ in range(3)] == [200] * 3
    assert rig.send(b"", method="GET", over=sock).status == 405
    assert rig.send(over=sock).status == 200
    assert rig.sample("meterline_receiver_connections") == 1


def test_chunks_are_one_body(rig: Rig) -> None:
    """
    Transfer-Encoding: chunked, with an extension and a trailer, in packets that cut it anywhere.
    """
    sock = rig.connect()
    wire = CHUNKED.encode() + b"3;x=y\r\npoi\r\n3\r\nnts\r\n0\r\nTrailer: 1\r\n\r\n"
    for byte in wire:
        sock.send(bytes([byte]))
    assert rig.read(sock).status == 200
    assert rig.intake.data[0] == b"points"


def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    """
    Two requests in one packet: both are stored, in their order.
    """
    sock = rig.connect()
    one = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
    sock.sendall(one + b"a" + one + b"b")
    assert [rig.read(sock).status for _ in range(2)] == [200, 200]
    assert rig.intake.data == [b"a", b"b"]


def test_http_1_0_is_answered_and_closed(rig: Rig) -> None:
    """
    A sender that speaks HTTP/1.0 gets its answer, and the end of the connection.
    """
    sock = rig.connect()
    sock.sendall(b"POST /v1/metrics HTTP/1.0\r\nContent-Length: 1\r\n\r\nx")
    data = b""
    while piece := sock.recv(4096):
        data += piece
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"\r\n\r\nstored")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UndecodableError("reading request: broken"), 400),
        (ForbiddenError("checking: not yours"), 403),
        (TooLargeError("reading request: too large"), 413),
        (RetryableError("asking: not now", 2.2), 503),
    ],
)
def test_what_decode_raises_is_answered_in_the_endpoints_words(rig: Rig, error: Exception, status: int) -> None:
    """
    Each error of the seam has its status; the message reaches the sender through ``refuse``.
    """
    rig.endpoint.decoder = lambda request: _raise(error)
    seen = rig.send()
    assert (status, f"refused: {error}".encode()) == (seen.status, seen.body)
    assert ("retry-after" in seen.headers) == (status == 503)
    assert rig.intake.bodies == []
    assert rig.sample("meterline_receiver_requests", outcome=str(status)) == 1


@pytest.mark.parametrize(("hint", "lowest", "highest"), [(None, 1, 2), (0.01, 1, 2), (7.2, 8, 11), (400.0, 30, 30)])
def test_retry_after_is_whole_seconds_within_bounds(rig: Rig, hint: float | None, lowest: int, highest: int) -> None:
    """
    The delay is rounded up, never under 1 s nor over 30 s, and jittered.
    """
    rig.intake.script = [Answer(Status.RETRY, message="full", retry_after_secs=hint) for _ in range(5)]
    delays = [int(rig.send().headers["retry-after"]) for _ in range(5)]
    assert all(lowest <= delay <= highest for delay in delays), delays


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([Status.STORED, Status.RETRY, Status.UNDECODABLE], 503),
        ([Status.STORED, Status.UNDECODABLE], 400),
        ([Status.TOO_LARGE, Status.STORED], 413),
        ([Status.STORED, Status.STORED], 200),
    ],
)
def test_several_bodies_have_one_answer(rig: Rig, answers: list[Status], status: int) -> None:
    """
    Any that is to be sent again makes all be sent again; else any that is refused refuses all; else they are summed up.
    """
    bodies = [Body(Format.OTLP_METRICS, bytes([n])) for n in range(len(answers))]
    rig.endpoint.decoder = lambda request: Decoded(bodies, remember={"cursor": b"1"})
    rig.intake.script = [Answer(each, 5, 2 if each is Status.STORED else 0) for each in answers]
    assert rig.send().status == status
    assert rig.intake.remembered == [{"cursor": b"1"}] * len(answers)
    if status == 200:
        assert (rig.endpoint.answers[0].points, rig.endpoint.answers[0].rejected) == (10, 4)
        assert rig.sample("meterline_receiver_accepted_metric_points") == 6
        assert rig.sample("meterline_receiver_quarantined_metric_points") == 4


def test_a_request_without_points_is_stored(rig: Rig) -> None:
    """
    Nothing to submit is nothing to wait for.
    """
    rig.endpoint.decoder = lambda request: Decoded()
    assert rig.send(b"").status == 200
    assert rig.intake.bodies == []


def test_what_is_to_be_remembered_goes_alone(rig: Rig) -> None:
    """
    State without points is committed with an empty body.
    """
    rig.endpoint.decoder = lambda request: Decoded(remember={"elected": b"a"})
    assert rig.send().status == 200
    assert rig.intake.data == [b""]
    assert rig.intake.remembered == [{"elected": b"a"}]


def test_an_unexpected_error_is_refused_twice_and_then_quarantined(rig: Rig) -> None:
    """
    A body that the decoder fails on: 503, 503, and then it is a reject as a whole and answered as stored.
    """
    rig.intake.answer = Answer(Status.STORED, 1, rejected=1)
    rig.endpoint.decoder = lambda request: _raise(KeyError("secret payload"))
    refused = [rig.send(b"poison") for _ in range(2)]
    assert [seen.status for seen in refused] == [503, 503]
    assert not any("secret" in repr(seen) for seen in refused), "nor told"
    assert rig.send(b"other").status == 503, "each body is counted by itself"
    assert rig.send(b"poison").status == 200
    (found,) = rig.intake.bodies
    assert found.fmt is Format.REJECTS
    assert b"internal_error" in found.data
    assert b"poison" in found.data
    assert rig.endpoint.answers[0].rejected == 1
    assert "secret" not in repr(rig.log), "nothing of a payload is logged"
    assert "KeyError" in repr(rig.log)


def test_words_that_fail_do_not_change_what_is_true(rig: Rig) -> None:
    """
    When the endpoint cannot word its answer, what is stored is still answered 200, and what is not, by its status.
    """
    rig.endpoint.wording = lambda: _raise(ValueError("secret"))
    assert rig.send().status == 200
    rig.intake.script = [Answer(Status.RETRY)]
    seen = rig.send()
    assert (seen.status, "retry-after" in seen.headers) == (503, True)
    assert "secret" not in repr(rig.log)


def test_other_paths_methods_and_types(open_rig: Opener, page: StubPage) -> None:
    """
    404, 405 with Allow, 415 with Accept-Encoding, OPTIONS, HEAD and pages, each without a body being stored.
    """
    rig = open_rig(pages=(page,), compression_algorithms=["gzip"])
    elsewhere = rig.send(path="/elsewhere")
    assert (elsewhere.status, elsewhere.body[:8]) == (404, b"refused:"), "in the words of one that takes the media type"
    plain = rig.send(path="/elsewhere", headers={"Content-Type": "text/html"})
    assert (plain.status, plain.body[:8]) == (404, b"finding ")
    beside = rig.send(path="/v1/traces")
    assert (beside.status, beside.body[:8]) == (404, b"refused:"), "in the words of the endpoint beside it"
    seen = rig.send(b"", method="PUT")
    assert (seen.status, seen.headers["allow"]) == (405, "OPTIONS, POST")
    assert rig.send(b"", method="HEAD").status == 405
    seen = rig.send(b"", method="OPTIONS")
    assert (seen.status, seen.headers["allow"], seen.body) == (204, "OPTIONS, POST", b"")
    assert rig.send(headers={"Content-Type": "text/html"}).status == 415
    for encoding in ("zstd", "br", "gzip, gzip"):
        seen = rig.send(gzip.compress(b"x"), {"Content-Encoding": encoding})
        assert (seen.status, seen.headers["accept-encoding"]) == (415, "gzip, x-gzip")
    assert rig.send(b"", method="GET", path="/page").body == b"a page"
    head = rig.send(b"", method="HEAD", path="/page")
    assert (head.status, head.headers["content-length"], head.body) == (200, "6", b"")
    assert rig.send(b"", method="DELETE", path="/page").status == 405
    assert rig.intake.bodies == []


def test_a_compressed_body_is_what_it_was(rig: Rig) -> None:
    """
    Gzip by its name and by its old one; identity is no compression.
    """
    for encoding in ("gzip", "GZIP", "x-gzip"):
        assert rig.send(gzip.compress(b"points"), {"Content-Encoding": encoding}).status == 200
    assert rig.send(b"points", {"Content-Encoding": "identity"}).status == 200
    assert set(rig.intake.data) == {b"points"}
    assert rig.send(b"points", {"Content-Encoding": "gzip"}).status == 400


def test_until_all_receivers_have_started_nothing_is_unknown(open_rig: Opener) -> None:
    """
    A path whose receiver may yet come is refused for now: 404 would be for good.
    """
    rig = open_rig(settled=False)
    assert rig.send(path="/api/v1/write").status == 503
    assert rig.send().status == 200
    rig.listeners.settle()
    assert rig.send(path="/api/v1/write").status == 404


def test_headers_of_an_answer_cannot_be_forged(rig: Rig) -> None:
    """
    What an endpoint takes from a sender into a header stays in that header.
    """
    rig.endpoint.decoder = lambda request: Decoded(note="a\r\nSet-Cookie: x")
    rig.endpoint.answer = lambda request, decoded, answer: Reply(204, headers={"X-Note": decoded.note})
    seen = rig.send()
    assert seen.headers["x-note"] == "a  Set-Cookie: x"
    assert "set-cookie" not in seen.headers


def _raise(error: Exception) -> None:
    raise error
