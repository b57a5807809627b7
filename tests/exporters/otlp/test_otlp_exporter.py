"""
The OTLP exporter over real sockets: what it sends, and what it makes of each answer.
"""

import random
import socket
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from pydantic import ValidationError

from meterline.api import NotConnectedError, Outcome, PausedError, Quantity, Verdict
from meterline.exporters.otlp import OtlpExporter
from meterline.exporters.otlp.encode import fits, logs_request, metrics_request
from meterline.testing.batches import FixedBatch, some_records
from meterline.testing.otlp_server import LOGS, METRICS, OtlpRequest, records_in
from meterline.testing.rig import record_json, usage

Code = grpc.StatusCode


def batch_of(rng: random.Random, *values: str) -> FixedBatch:
    """
    Return a batch of records with these values, or three at random.
    """
    return FixedBatch(some_records(rng, len(values) or 3, values))


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_logs_carry_everything(serve: Any, exporter_for: Any, rng: random.Random, compression: str) -> None:
    """
    By default each record is a log record from which all of it, with the exact value, can be read back.
    """
    server = serve()
    exporter = exporter_for(server.endpoint, compression=compression)
    exporter.connect(None)
    batch = FixedBatch(some_records(rng, 40))

    receipt = exporter.send(batch)

    assert {receipt.of(n).verdict for n in range(40)} == {Verdict.DELIVERED}
    (request,) = server.requests
    assert request.method == LOGS
    assert list(records_in(request)) == [record_json(record) for record in batch.records]
    resource = ExportLogsServiceRequest.FromString(request.body).resource_logs[0].resource
    assert {pair.key: pair.value.string_value for pair in resource.attributes} == {
        "service.name": "meterline",
        "meterline.ledger.id": "ledger-1",
    }


def test_metrics_are_delta_sums(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    As metrics each record is a delta point: an integer where it is one, else the exact double; below zero not monotonic.
    """
    server = serve()
    values = ("5", "0.1", "-3", str(2**63 - 1), "0", "1000")
    batch = batch_of(rng, *values)

    assert not exporter_for(server.endpoint, signal="metrics").send(batch).exceptions

    (request,) = server.requests
    assert request.method == METRICS
    arrived = {record["id"]: record for record in records_in(request)}
    assert arrived == {record.id: record_json(record) for record in batch.records}
    metrics = ExportMetricsServiceRequest.FromString(request.body).resource_metrics[0].scope_metrics[0].metrics
    assert [(m.name, m.sum.is_monotonic, m.sum.aggregation_temporality) for m in metrics] == [
        ("meterline.usage", True, 1),
        ("meterline.usage", False, 1),
    ]


def test_what_a_metric_cannot_hold_is_refused_alone(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A value that is neither an int64 nor an exact double is dead as not_representable; its neighbours arrive.
    """
    server = serve()
    exporter = exporter_for(server.endpoint, signal="metrics")
    batch = batch_of(rng, "1", "0.12345678901234567891", "99999999999999999999", "0.5", str(2**63))

    receipt = exporter.send(batch)

    assert [receipt.of(n).verdict.name for n in range(5)] == [
        "DELIVERED",
        "REJECTED",
        "REJECTED",
        "DELIVERED",
        "REJECTED",
    ]
    assert receipt.of(1).reason.startswith("not_representable: ")
    assert [record["value"] for record in records_in(server.requests[0])] == ["1", "0.5"]
    only_bad = exporter.send(batch_of(rng, "0.12345678901234567891"))
    assert only_bad.of(0).verdict is Verdict.REJECTED
    assert len(server.requests) == 1


@given(st.integers(-(10**50) + 1, 10**50 - 1), st.integers(0, 49))
def test_a_value_that_fits_is_exact_and_no_other_fits(units: int, zeros: int) -> None:
    """
    What a point holds is the quantity to the last digit, and what does not fit equals no int64 and no shortest double.
    """
    value = Quantity(abs(units) // 10**zeros * 10**zeros * (1 if units > 0 else -1))
    record = usage(1, value=value)

    if fits(value):
        (arrived,) = records_in(OtlpRequest(METRICS, {}, metrics_request([record], "l")))
        assert Decimal(arrived["value"]) == Decimal(str(value))
    else:
        assert not (value.is_integral and -(2**63) <= int(value) < 2**63)
        assert Decimal(repr(float(str(value)))) != Decimal(str(value))
    (log,) = records_in(OtlpRequest(LOGS, {}, logs_request([record], "l")))
    assert log["value"] == str(value)


def test_a_second_send_is_byte_identical(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A batch makes the same request at every attempt, and in another process.
    """
    server = serve()
    batch = FixedBatch(some_records(rng, 20))

    for endpoint in (server.endpoint,) * 2:
        exporter_for(endpoint).send(batch)

    first, second = server.requests
    assert first.body == second.body


def test_headers_are_sent(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    Configured headers go with each request, in lower case, and do not show in the configuration.
    """
    server = serve()
    exporter = exporter_for(server.endpoint, headers={"Authorization": "Bearer s3cret", "x-scope": "a"})

    exporter.send(batch_of(rng))

    assert server.requests[0].metadata["authorization"] == "Bearer s3cret"
    assert server.requests[0].metadata["x-scope"] == "a"
    assert "s3cret" not in f"{exporter.config!r}{exporter.config.model_dump_json()}"


def refuse(code: grpc.StatusCode, message: str = "no", retry_secs: float | None = None) -> Callable[..., bytes]:
    """
    Return a behaviour that refuses everything, with RetryInfo if a delay is given.
    """

    def behave(_request: OtlpRequest, context: grpc.ServicerContext) -> bytes:
        if retry_secs is not None:
            delay = duration_pb2.Duration()
            delay.FromMilliseconds(int(retry_secs * 1000))
            detail = any_pb2.Any()
            detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, message)
        return b""

    return behave


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ((Code.UNAVAILABLE, 2.5), Verdict.RETRY),
        ((Code.RESOURCE_EXHAUSTED, 7), Verdict.RETRY),
        ((Code.UNAUTHENTICATED, None), Verdict.RETRY),
        ((Code.PERMISSION_DENIED, None), Verdict.RETRY),
        ((Code.UNIMPLEMENTED, None), Verdict.RETRY),
        ((Code.NOT_FOUND, None), Verdict.RETRY),
        ((Code.FAILED_PRECONDITION, None), Verdict.RETRY),
        ((Code.INVALID_ARGUMENT, None), Verdict.REJECTED),
        ((Code.ALREADY_EXISTS, None), Verdict.REJECTED),
        ((Code.RESOURCE_EXHAUSTED, None), Verdict.REJECTED),
        ((Code.UNAVAILABLE, None), Verdict.UNKNOWN),
        ((Code.DEADLINE_EXCEEDED, None), Verdict.UNKNOWN),
        ((Code.CANCELLED, None), Verdict.UNKNOWN),
        ((Code.ABORTED, None), Verdict.UNKNOWN),
        ((Code.OUT_OF_RANGE, None), Verdict.UNKNOWN),
        ((Code.DATA_LOSS, None), Verdict.UNKNOWN),
        ((Code.INTERNAL, None), Verdict.UNKNOWN),
        ((Code.UNKNOWN, None), Verdict.UNKNOWN),
    ],
)
def test_each_status_has_its_verdict(
    serve: Any, exporter_for: Any, rng: random.Random, status: tuple[grpc.StatusCode, float | None], verdict: Verdict
) -> None:
    """
    The table of statuses, with the server's words as the reason and its delay.
    """
    code, retry_secs = status
    exporter = exporter_for(serve(refuse(code, "no\nway", retry_secs)).endpoint)

    receipt = exporter.send(batch_of(rng))

    assert receipt.default == Outcome(verdict, f"{code.name}: no\\x0away", retry_secs)
    assert not receipt.exceptions


def test_details_that_cannot_be_read_are_no_retry_info(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    Garbage in the status details leaves the outcome unknown.
    """

    def behave(_request: OtlpRequest, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        context.abort(Code.UNAVAILABLE, "x" * 1000)
        return b""

    outcome = exporter_for(serve(behave).endpoint).send(batch_of(rng)).default

    assert outcome.verdict is Verdict.UNKNOWN
    assert len(outcome.reason) == 300


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_a_partial_success_holds_the_batch(serve: Any, exporter_for: Any, rng: random.Random, signal: str) -> None:
    """
    A server that rejects some records without saying which leaves all of them to a person; a mere warning does not.
    """

    def rejecting(count: int) -> Callable[..., bytes]:
        logs = ExportLogsServiceResponse(
            partial_success=ExportLogsPartialSuccess(rejected_log_records=count, error_message="too old")
        )
        metrics = ExportMetricsServiceResponse(
            partial_success=ExportMetricsPartialSuccess(rejected_data_points=count, error_message="too old")
        )
        body = (logs if signal == "logs" else metrics).SerializeToString()
        return lambda _request, _context: body

    server = serve(rejecting(2))
    exporter = exporter_for(server.endpoint, signal=signal)
    batch = batch_of(rng, "1", "2", "3")

    assert exporter.send(batch).default == Outcome(
        Verdict.UNKNOWN, "rejected 2 of 3 records without saying which: too old", hold=True
    )
    server.behave = rejecting(0)
    assert exporter.send(batch).default == Outcome(Verdict.DELIVERED)


def test_a_response_that_cannot_be_read_holds_the_batch(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    An OK that may have said something is nothing to build on.
    """
    outcome = exporter_for(serve(lambda _request, _context: b"\xff\xff").endpoint).send(batch_of(rng)).default

    assert (outcome.verdict, outcome.hold) == (Verdict.UNKNOWN, True)


def test_a_response_without_end_is_unknown(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A response over 4 MiB is not read; our own refusal of it is not taken for the server's.
    """
    outcome = exporter_for(serve(lambda _request, _context: bytes(5_000_000)).endpoint).send(batch_of(rng)).default

    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.reason.startswith("RESOURCE_EXHAUSTED: ")


def test_refused_batches_with_exceptions_are_sent_again_without_them(
    serve: Any, exporter_for: Any, rng: random.Random
) -> None:
    """
    When a whole request is refused, records that were not in it do not keep the engine from halving the rest.
    """
    exporter = exporter_for(serve(refuse(Code.INVALID_ARGUMENT)).endpoint, signal="metrics")

    receipt = exporter.send(batch_of(rng, "1", "0.12345678901234567891"))

    assert [receipt.of(n).verdict for n in range(2)] == [Verdict.RETRY, Verdict.REJECTED]


def test_a_server_that_is_away_was_sent_nothing(exporter_for: Any, rng: random.Random) -> None:
    """
    No connection within the timeout is no doubt.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
    exporter = exporter_for(endpoint, timeout_secs=0.3)

    with pytest.raises(NotConnectedError, match=f"connecting to {endpoint}: DEADLINE_EXCEEDED"):
        exporter.connect(None)
    with pytest.raises(NotConnectedError):
        exporter.send(batch_of(rng))


@pytest.mark.parametrize("code", [Code.UNAUTHENTICATED, Code.UNIMPLEMENTED, Code.UNAVAILABLE])
def test_connecting_finds_out_what_is_wrong(serve: Any, exporter_for: Any, code: grpc.StatusCode) -> None:
    """
    A server that refuses a request without records would refuse one with records: its words are in the error.
    """
    exporter = exporter_for(serve(greet=refuse(code, "no such key")).endpoint)

    with pytest.raises(NotConnectedError, match=f"{code.name}: no such key"):
        exporter.connect(None)


def test_a_server_that_wants_records_is_there(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A server that takes an empty request for invalid is connected all the same.
    """
    exporter = exporter_for(serve(greet=refuse(Code.INVALID_ARGUMENT)).endpoint)

    exporter.connect(None)

    assert exporter.send(batch_of(rng)).default.verdict is Verdict.DELIVERED


def test_a_server_lost_while_idle_costs_no_doubt(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    After a while without answers the connection is tried before a batch is sent.
    """
    server = serve()
    exporter = exporter_for(server.endpoint, timeout_secs=2)
    assert exporter.send(batch_of(rng)).default.verdict is Verdict.DELIVERED
    server.close()
    exporter._answered -= 60

    with pytest.raises(NotConnectedError):
        exporter.send(batch_of(rng))


def test_no_answer_in_time_is_unknown(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A server that does not answer may have taken the batch.
    """
    release = threading.Event()

    def slow(_request: OtlpRequest, _context: grpc.ServicerContext) -> bytes:
        release.wait(30)
        return b""

    outcome = exporter_for(serve(slow).endpoint, timeout_secs=2).send(batch_of(rng)).default
    release.set()

    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.reason.startswith("DEADLINE_EXCEEDED")


def test_a_connection_lost_while_waiting_is_unknown(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A server that goes away with the request in its hands may have taken it; a new one is found again.
    """
    reached, release = threading.Event(), threading.Event()

    def stuck(_request: OtlpRequest, _context: grpc.ServicerContext) -> bytes:
        reached.set()
        release.wait(30)
        return b""

    server = serve(stuck)
    exporter = exporter_for(server.endpoint)
    closer = threading.Thread(target=lambda: (reached.wait(30), server.close()), daemon=True)
    closer.start()

    outcome = exporter.send(batch_of(rng)).default
    release.set()
    closer.join(30)

    assert outcome.verdict is Verdict.UNKNOWN
    with pytest.raises(NotConnectedError):
        exporter_for(server.endpoint, timeout_secs=0.3).connect(None)


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """
    Return an authority with files: ca.pem, and key.pem and cert.pem of a client.
    """
    authority = trustme.CA()
    client = authority.issue_cert("meterline")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    return authority


def server_credentials(authority: trustme.CA, *, mutual: bool) -> grpc.ServerCredentials:
    """
    Return the TLS side of a server called localhost.
    """
    leaf = authority.issue_cert("localhost")
    pair = (leaf.private_key_pem.bytes(), b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return grpc.ssl_server_credentials([pair], authority.cert_pem.bytes() if mutual else None, mutual)


@pytest.mark.parametrize("names", [("ca_file",), ("ca_file", "cert_file"), ("ca_file", "cert_file", "key_file")])
def test_tls_verifies_the_server(
    serve: Any, exporter_for: Any, authority: trustme.CA, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """
    Over TLS, with an own certificate where the server wants one, batches pass; an unknown authority or name gets none.
    """
    server = serve(credentials=server_credentials(authority, mutual=len(names) > 1))
    tls = {name: str(tmp_path / f"{name.removesuffix('_file')}.pem") for name in names}

    good = exporter_for(server.endpoint, tls={**tls, "server_name": "localhost"})
    assert good.send(FixedBatch([usage(1)])).default.verdict is Verdict.DELIVERED
    for bad in ({**tls, "server_name": "other.example"}, {"server_name": "localhost"}):
        with pytest.raises(NotConnectedError):
            exporter_for(server.endpoint, tls=bad, timeout_secs=0.5).connect(None)
    assert len(server.requests) == 1


def test_a_renewed_certificate_is_read_at_the_next_connection(
    serve: Any, exporter_for: Any, authority: trustme.CA, tmp_path: Path
) -> None:
    """
    After a failed connection the files are read again, so that nobody has to restart.
    """
    server = serve(credentials=server_credentials(authority, mutual=False))
    trustme.CA().cert_pem.write_to_path(tmp_path / "trusted.pem")
    tls = {"ca_file": str(tmp_path / "trusted.pem"), "server_name": "localhost"}
    exporter = exporter_for(server.endpoint, tls=tls, timeout_secs=3)
    with pytest.raises(NotConnectedError):
        exporter.connect(None)

    authority.cert_pem.write_to_path(tmp_path / "trusted.pem")

    exporter.connect(None)


def test_a_certificate_file_that_cannot_be_used_waits_for_a_person(exporter_for: Any, tmp_path: Path) -> None:
    """
    A missing or broken file is nothing that passes by itself.
    """
    (tmp_path / "bad.pem").write_text("nonsense")
    for name in ("missing.pem", "bad.pem"):
        with pytest.raises(PausedError, match=name):
            exporter_for("127.0.0.1:1", tls={"ca_file": str(tmp_path / name)}).connect(None)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "endpoint"),
        ({"endpoint": "http://collector:4317"}, "write host:port"),
        ({"endpoint": "collector:0"}, "write host:port"),
        ({"endpoint": "c:1", "headers": {"grpc-timeout": "1S"}}, "one of gRPC's own"),
        ({"endpoint": "c:1", "headers": {"blob-bin": "x"}}, "one of gRPC's own"),
        ({"endpoint": "c:1", "headers": {"a b": "x"}}, "not a header's name"),
        ({"endpoint": "c:1", "headers": {"a": "x\n"}}, "not printable ASCII"),
        ({"endpoint": "c:1", "signal": "traces"}, "'logs' or 'metrics'"),
        ({"endpoint": "c:1", "compression": "zstd"}, "'gzip' or 'none'"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(keys: dict[str, Any], message: str) -> None:
    """
    What gRPC would refuse, or send wrong, is an error before anything starts.
    """
    with pytest.raises(ValidationError, match=message):
        OtlpExporter.Config.model_validate({"type": "otlp", **keys})


def test_the_contract_says_at_least_once(exporter_for: Any) -> None:
    """
    Records without an answer are sent again by default, and carry their id.
    """
    logs, metrics = (exporter_for("c:1", signal=signal).contract for signal in ("logs", "metrics"))

    assert (logs.on_unknown, logs.value_type, logs.per_record_results) == ("resend", "decimal string", False)
    assert metrics.value_type == "int64, or double when exact"
