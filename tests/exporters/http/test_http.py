"""
The exporter ``http``: what it sends, what answers mean, and what it knows when there is none.
"""

import json
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from meterline.api import ExporterContext, NotConnectedError, PausedError, SystemClock, Verdict
from meterline.exporters.http import HttpExporter, wire
from meterline.exporters.http.answer import Answer, judged, retry_after_secs
from meterline.exporters.http.config import HttpConfig
from meterline.testing.process import wait_until
from meterline.testing.rig import RigRecords, usage

NOW = 1_795_000_000 * 10**9
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Lines:
    """
    A batch of given numbers.
    """

    id, number = "ledger/bill \u00fc/1", 1

    def __init__(self, *numbers: int, attempt: int = 1) -> None:
        self.records = [usage(number) for number in numbers]
        self.attempt = attempt

    def __len__(self) -> int:
        return len(self.records)

    def encode(self, fmt: Any) -> bytes:
        return RigRecords(self.records).encode(fmt, range(len(self)))


class Peer:
    """
    A socket that reads whole requests and answers with given bytes; None: it closes; a callable does what it wants.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self.port = self._listener.getsockname()[1]
        self.answers: list[Any] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.ended = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._greet, args=(connection,), daemon=True).start()

    def _greet(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._serve(connection)
        except OSError:
            pass
        finally:
            connection.close()
            self.ended += 1

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            while line := file.readline():
                headers = {}
                while (header := file.readline()) != b"\r\n":
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = file.read(int(headers["content-length"]))
                self.requests.append((line.decode().strip(), headers, body))
                answer = self.answers.pop(0) if self.answers else OK
                if answer is None:
                    return
                if callable(answer):
                    answer(connection)
                    return
                connection.sendall(answer)
                if b"Connection: close" in answer:
                    return

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """
    A plain HTTP peer.
    """
    made = Peer()
    yield made
    made.close()


Make = Callable[..., HttpExporter]


@pytest.fixture
def make(peer: Peer) -> Iterator[Make]:
    """
    Make exporters to the peer.
    """
    opened: list[HttpExporter] = []

    def exporter(**options: Any) -> HttpExporter:
        config = {"type": "http", "endpoint": f"http://127.0.0.1:{peer.port}/in?k=v", "timeout_secs": 2, **options}
        made = HttpExporter("x", HttpConfig(**config), ExporterContext("ledger", SystemClock(), structlog.get_logger()))
        opened.append(made)
        return made

    yield exporter
    for made in opened:
        made.close()


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    """
    Return the bytes of an answer.
    """
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_batch_is_one_request_with_its_key(make: Make, peer: Peer) -> None:
    """
    The body is a JSON array of the documented objects; key, type and own headers are there; the connection is kept.
    """
    exporter = make(headers={"Authorization": "Bearer s3cret"})
    exporter.connect(None)
    for _ in range(2):
        assert exporter.send(Lines(1, 2)).default.verdict is Verdict.DELIVERED
    (line, headers, body), again = peer.requests
    assert line == "POST /in?k=v HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == "ledger/bill%20%C3%BC/1"
    assert headers["authorization"] == "Bearer s3cret"
    assert [int(record["id"], 16) for record in json.loads(body)] == [1, 2]
    assert (again[2], peer.connections) == (body, 1)


def test_ndjson_and_single_records(make: Make, peer: Peer) -> None:
    """
    One object a line, or one request for each record with the record's id as key.
    """
    make(format="ndjson").send(Lines(1, 2))
    make(mode="record").send(Lines(1, 2))
    lines, first, second = peer.requests
    assert lines[1]["content-type"] == "application/x-ndjson"
    assert lines[2].count(b"\n") == 2
    assert [request[1]["idempotency-key"] for request in (first, second)] == [usage(n).id for n in (1, 2)]
    assert json.loads(second[2])["id"] == usage(2).id


VERDICTS = {
    200: Verdict.DELIVERED,
    202: Verdict.DELIVERED,
    204: Verdict.DELIVERED,
    400: Verdict.REJECTED,
    408: Verdict.RETRY,
    409: Verdict.CONFLICT,
    413: Verdict.REJECTED,
    422: Verdict.REJECTED,
    425: Verdict.RETRY,
    429: Verdict.RETRY,
    500: Verdict.RETRY,
    503: Verdict.RETRY,
    599: Verdict.RETRY,
}


@pytest.mark.parametrize(("status", "verdict"), VERDICTS.items())
def test_statuses(status: int, verdict: Verdict) -> None:
    """
    Each status means what the table in the README says.
    """
    assert judged(Answer(status, None, None, b""), attempt=1, now_ns=NOW).verdict is verdict


def test_a_known_key_is_a_duplicate_once_it_was_sent() -> None:
    """
    409 at a first send cannot be about our own records.
    """
    assert judged(Answer(409, None, None, b""), attempt=2, now_ns=NOW).verdict is Verdict.DUPLICATE


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 402, 403, 404, 405, 407, 410, 415])
def test_answers_that_are_not_about_records_pause(status: int) -> None:
    """
    A wrong credential, endpoint or redirect makes no record dead; the error says what to correct.
    """
    with pytest.raises(PausedError, match="then start again"):
        judged(Answer(status, None, "https://elsewhere/", b"no"), attempt=1, now_ns=NOW)


def test_the_readme_has_every_status() -> None:
    """
    What the table names is what the code does.
    """
    text = (Path(__file__).resolve().parents[3] / "exporters/http/notes.md").read_text("utf-8")
    table = text.partition("## What answers mean")[2]
    named = {
        int(number) for line in table.splitlines() if line.startswith("|") for number in re.findall(r"\b\d{3}\b", line)
    }
    assert named == {408, 425, 429, 409, 401, 402, 403, 407, 404, 405, 410, 415}


def test_the_reason_is_short_and_printable() -> None:
    """
    What the far side says is kept, cut and escaped.
    """
    reason = judged(Answer(422, None, None, b"\x1b[2Jbad \xff" + b"x" * 9_999), attempt=1, now_ns=NOW).reason
    assert reason.startswith("the answer was 422: \\x1b[2Jbad \ufffd")
    assert len(reason) < 300


@given(st.integers(-(10**6), 10**6))
def test_retry_after_as_a_date(secs: int) -> None:
    """
    A date is as long as it is away, and never below zero.
    """
    moment = datetime.fromtimestamp(NOW // 10**9, UTC) + timedelta(seconds=secs)
    assert retry_after_secs(format_datetime(moment, usegmt=True), NOW) == max(0, secs)


@pytest.mark.parametrize(
    ("header", "secs"), [("0", 0), (" 120 ", 120), ("9" * 400, 999_999_999), ("soon", None), ("-1", None)]
)
def test_retry_after_as_seconds(header: str, secs: float | None) -> None:
    """
    Numbers of any length are read; what cannot be read is no hint.
    """
    assert retry_after_secs(header, NOW) == secs


@given(st.text(max_size=40))
def test_no_retry_after_breaks_anything(text: str) -> None:
    """
    Whatever a server writes there, it is seconds or nothing.
    """
    found = retry_after_secs(text, NOW)
    assert found is None or found >= 0


def test_retry_after_is_passed_on(make: Make, peer: Peer) -> None:
    """
    The engine gets the far side's wish.
    """
    peer.answers = [answer(429, "Retry-After: 7")]
    outcome = make().send(Lines(1)).default
    assert (outcome.verdict, outcome.retry_after_secs) == (Verdict.RETRY, 7)


def test_nobody_listens(make: Make, peer: Peer) -> None:
    """
    Without a connection nothing was sent, and that is said; with a name that does not exist too.
    """
    peer.close()
    with pytest.raises(NotConnectedError, match=r"connecting to http://127\.0\.0\.1"):
        make().connect(None)
    with pytest.raises(NotConnectedError):
        make().send(Lines(1))
    with pytest.raises(NotConnectedError):
        make(endpoint="http://nothing.invalid/").connect(None)


def test_no_answer_is_unknown(make: Make, peer: Peer) -> None:
    """
    A connection that ends, or says nothing in time, after the request was written: nobody knows.
    """
    peer.answers = [None, lambda _connection: time.sleep(4), b"garbage\r\n\r\n"]
    exporter = make()
    for _ in range(3):
        outcome = exporter.send(Lines(1)).default
        assert outcome.verdict is Verdict.UNKNOWN
        assert "did not answer" in outcome.reason


def test_an_idle_connection_that_was_closed_is_no_doubt(make: Make, peer: Peer) -> None:
    """
    A server that ends idle connections costs a new connection, not an unknown outcome.
    """
    peer.answers = [answer(200, "Connection: close"), lambda connection: connection.sendall(OK)]
    exporter = make()
    for number in range(3):
        assert exporter.send(Lines(1)).default.verdict is Verdict.DELIVERED
        wait_until(lambda number=number: number == 2 or peer.ended > number, 20, "the peer to close")
    assert peer.connections == 3


def test_an_early_answer_is_read(make: Make, peer: Peer) -> None:
    """
    A server that refuses a large body before it has read it is understood.
    """

    def early(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.recv(1_000)
        connection.sendall(answer(413, "Connection: close"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=early, args=(listener,))
        thread.start()
        exporter = make(endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}/")
        outcome = exporter.send(Lines(*range(20_000))).default
        exporter.close()
        thread.join(20)
    assert outcome.verdict is Verdict.REJECTED


def test_a_body_without_end_is_not_read_to_its_end(make: Make, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    At most 64 KiB are read, for at most the timeout; the status alone decides.
    """

    def huge(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 1_000_000)

    def dripping(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
        while True:  # until nobody reads any more
            connection.sendall(b"x")
            time.sleep(0.05)

    peer.answers = [huge, dripping]
    exporter = make()
    assert exporter.send(Lines(1)).default.verdict is Verdict.DELIVERED
    assert exporter.send(Lines(1)).default.verdict is Verdict.DELIVERED
    assert wire.BODY_BYTES == 65_536


def test_redirects_are_not_followed(make: Make, peer: Peer) -> None:
    """
    The records do not go where an answer points.
    """
    peer.answers = [answer(307, f"Location: http://127.0.0.1:{peer.port}/elsewhere")]
    with pytest.raises(PausedError, match="redirects are not followed"):
        make().send(Lines(1))
    assert len(peer.requests) == 1


def test_single_records_have_results_of_their_own(make: Make, peer: Peer) -> None:
    """
    Each record's outcome is its own; after one without an answer the rest waits unsent.
    """
    peer.answers = [OK, answer(422), answer(503), OK, None]
    receipt = make(mode="record").send(Lines(*range(7)))
    found = [receipt.of(position).verdict for position in range(7)]
    good, bad, later, lost = Verdict.DELIVERED, Verdict.REJECTED, Verdict.RETRY, Verdict.UNKNOWN
    assert found == [good, bad, later, good, lost, later, later]
    assert len(peer.requests) == 5


def test_a_busy_endpoint_is_left_alone(make: Make, peer: Peer) -> None:
    """
    Five refusals in a row, or a Retry-After, end a batch of single records.
    """
    peer.answers = [answer(503)] * 9
    receipt = make(mode="record").send(Lines(*range(9)))
    assert len(peer.requests) == 5
    assert {receipt.of(position).verdict for position in range(9)} == {Verdict.RETRY}
    peer.answers = [OK, answer(429, "Retry-After: 3")]
    receipt = make(mode="record").send(Lines(*range(4)))
    assert len(peer.requests) == 7
    assert [receipt.of(position).retry_after_secs for position in range(4)] == [None, 3, 3, 3]


def test_what_stops_the_exporter_forgets_nothing_that_was_sent(make: Make, peer: Peer) -> None:
    """
    A credential that ends in the middle of single records leaves the first ones delivered; the next send pauses.
    """
    peer.answers = [OK, answer(401), answer(401)]
    exporter = make(mode="record")
    receipt = exporter.send(Lines(1, 2, 3))
    assert [receipt.of(position).verdict for position in range(3)] == [Verdict.DELIVERED, Verdict.RETRY, Verdict.RETRY]
    with pytest.raises(PausedError, match="401"):
        exporter.send(Lines(2, 3))


def test_mutual_tls(make: Make, tmp_path: Path) -> None:
    """
    The far side is checked against the given authority and name, and gets this side's certificate.
    """
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("billing.example").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    own = authority.issue_cert("client.example")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    tls = {"ca_file": tmp_path / "ca.pem", "cert_file": tmp_path / "own.pem", "server_name": "billing.example"}
    peer = Peer(context)
    try:
        endpoint = f"https://127.0.0.1:{peer.port}/"
        assert make(endpoint=endpoint, tls=tls).send(Lines(1)).default.verdict is Verdict.DELIVERED
        with pytest.raises(NotConnectedError, match="certificate verify failed"):
            make(endpoint=endpoint, tls=tls | {"ca_file": tmp_path / "stranger.pem"}).connect(None)
        with pytest.raises(NotConnectedError, match="certificate verify failed"):
            make(endpoint=endpoint, tls=tls | {"server_name": None}).connect(None)
        with pytest.raises(PausedError, match=r"loading certificates from .*none\.pem"):
            make(endpoint=endpoint, tls={"ca_file": tmp_path / "none.pem"}).connect(None)
    finally:
        peer.close()


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint": "ftp://x/"},
        {"endpoint": "nothing"},
        {"endpoint": "http://user:secret@x/"},
        {"headers": {"Host": "x"}},
        {"headers": {"Idempotency-Key": "x"}},
        {"headers": {"a b": "x"}},
        {"headers": {"X": "line\r\nInjected: yes"}},
        {"tls": {"key_file": "k"}},
        {"nonsense": 1},
    ],
)
def test_what_the_config_refuses(options: dict[str, Any]) -> None:
    """
    Errors come when the config is read, and never print a secret.
    """
    with pytest.raises(ValidationError) as caught:
        HttpConfig(**{"type": "http", "endpoint": "http://x/", **options})
    assert "Injected" not in str(caught.value.errors(include_input=False))


def test_headers_are_never_printed() -> None:
    """
    A config shows stars where a credential is.
    """
    config = HttpConfig(type="http", endpoint="http://x/", headers={"Authorization": "s3cret"})
    assert "s3cret" not in repr(config) + str(config) + config.model_dump_json()


def test_hostile_bytes_never_raise(make: Make, peer: Peer) -> None:
    """
    Whatever a server answers, the outcome is a verdict or a pause.
    """
    rng = random.Random(20261122)
    exporter = make(timeout_secs=0.2)
    for _ in range(40):
        junk = bytes(rng.randrange(256) for _ in range(rng.randrange(60)))
        peer.answers = [b"HTTP/1.1 " + junk if rng.random() < 0.5 else junk + b"\r\n\r\n"]
        peer.answers = [lambda connection, data=peer.answers[0]: connection.sendall(data)]
        assert exporter.send(Lines(1)).default.verdict in {Verdict.UNKNOWN, Verdict.DELIVERED, Verdict.RETRY}
