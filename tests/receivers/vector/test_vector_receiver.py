"""
The two methods over real gRPC: golden bodies, codes that Vector retries or drops on, health, credentials, compression.
"""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meterline._proto.vector.vector_pb2 import HealthCheckResponse, PushEventsRequest
from meterline.api import Answer, Format, Principal, ReceiverContext, Status, SystemClock
from meterline.receivers.vector import VectorReceiver
from meterline.testing.fake_intake import FakeIntake

PUSH = "/vector.Vector/PushEvents"
CHECK = "/vector.Vector/HealthCheck"

# What Vector 0.57's sink writes for `{"customer": "acme", "count": 3, "timestamp": t}` from a demo_logs source: the fields in
# order of their names, the deprecated metadata, and metadata_full with value, source id, source type, upstream and event id.
GOLDEN = (
    b"\x0a\x8c\x01"  # PushEventsRequest.events
    b"\x0a\x89\x01"  # EventWrapper.log
    b"\x0a\x0b\x0a\x05count\x12\x02\x20\x03"  # fields: count, integer 3
    b"\x0a\x12\x0a\x08customer\x12\x06\x0a\x04acme"  # fields: customer, raw_bytes
    b"\x0a\x1a\x0a\x09timestamp\x12\x0d\x12\x0b\x08\xe1\x9c\x8b\xd8\x06\x10\x95\x9a\xef\x3a"  # fields: timestamp
    b"\x1a\x02\x3a\x00"  # metadata: an empty map
    b"\x22\x46"  # metadata_full
    b"\x0a\x02\x3a\x00"  # value
    b"\x1a\x02in"  # source_id
    b"\x22\x09demo_logs"  # source_type
    b"\x2a\x04\x0a\x02in"  # upstream_id
    b"\x32\x19\x0a\x17\x0a\x0fdatadog_api_key\x12\x04abcd"  # secrets
    b"\x3a\x10\x01\x90\xb6\xf4\x1c\x2d\x7e\x3f\x8a\x4b\x5c\x6d\x7e\x8f\x90\xa1"  # source_event_id
)


@pytest.fixture
def intake() -> FakeIntake:
    """
    Return an intake that stores everything.
    """
    return FakeIntake()


@pytest.fixture
def connect(intake: FakeIntake) -> Iterator[Callable[..., grpc.Channel]]:
    """
    Return a function that starts a receiver with these options, and connects to it; all of it ends with the test.
    """
    started: list[Any] = []
    channels: list[grpc.Channel] = []

    def run(compression: grpc.Compression = grpc.Compression.NoCompression, **options: Any) -> grpc.Channel:
        config = VectorReceiver.Config.model_validate({"type": "vector", "endpoint": "127.0.0.1:0", **options})
        receiver = VectorReceiver("vector", config, ReceiverContext(intake, SystemClock(), structlog.get_logger()))
        receiver.start()
        started.append(receiver)
        local = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        channels.append(grpc.insecure_channel(receiver.endpoints["grpc"], local, compression))
        return channels[-1]

    yield run
    for channel in channels:
        channel.close()
    for receiver in started:
        receiver.stop(1)


def code_of(channel: grpc.Channel, body: bytes, **metadata: str) -> Any:
    """
    Push, and return the code, and whether the answer tells when to come again.
    """
    try:
        channel.unary_unary(PUSH)(body, timeout=20, metadata=tuple(metadata.items()))
    except grpc.RpcError as error:
        trailing: Any = error.trailing_metadata()
        return error.code(), b"RetryInfo" in dict(trailing).get("grpc-status-details-bin", b"")
    return grpc.StatusCode.OK, False


def one_log() -> bytes:
    """
    Return a request with one log.
    """
    request = PushEventsRequest()
    request.events.add().log.fields["n"].integer = 1
    return request.SerializeToString()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_the_golden_request_is_one_log(connect: Any, intake: FakeIntake, compression: grpc.Compression) -> None:
    """
    What Vector writes arrives with body, time and identity; its secrets do not.
    """
    assert code_of(connect(compression), GOLDEN) == (grpc.StatusCode.OK, False)

    (body,) = intake.bodies
    assert body.fmt is Format.OTLP_LOGS
    (record,) = intake.records
    assert record.time_unix_nano == 1_795_346_017_123_456_789
    fields = {pair.key: pair.value for pair in record.body.kvlist_value.values}
    assert (fields["customer"].string_value, fields["count"].int_value) == ("acme", 3)
    attributes = {pair.key: pair.value.string_value for pair in record.attributes}
    assert attributes["vector.source_event_id"] == "0190b6f41c2d7e3f8a4b5c6d7e8f90a1"
    assert len(attributes["log.record.uid"]) == 32
    assert b"abcd" not in body.data


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(Status.RETRY, message="no"), (grpc.StatusCode.UNAVAILABLE, True)),
        (Answer(Status.UNDECODABLE, message="no"), (grpc.StatusCode.INVALID_ARGUMENT, False)),
        (Answer(Status.STORED, points=1, rejected=1), (grpc.StatusCode.OK, False)),
    ],
    ids=["retry", "undecodable", "quarantined"],
)
def test_codes(connect: Any, intake: FakeIntake, answer: Answer, code: Any) -> None:
    """
    What may pass later is a code that Vector retries on; what is stored in quarantine is OK.
    """
    intake.answer = answer

    assert code_of(connect(), one_log()) == code


def test_what_is_no_request_is_refused_for_good(connect: Any, intake: FakeIntake) -> None:
    """
    Broken protobuf can never pass.
    """
    assert code_of(connect(), b"\x0a\x05a") == (grpc.StatusCode.INVALID_ARGUMENT, False)
    assert intake.bodies == []


def test_a_large_request_is_refused_for_good(connect: Any) -> None:
    """
    RESOURCE_EXHAUSTED without RetryInfo.
    """
    channel = connect(max_request_bytes=1000)

    assert code_of(channel, one_log() * 1000) == (grpc.StatusCode.RESOURCE_EXHAUSTED, False)


def test_a_bomb_is_refused(connect: Any) -> None:
    """
    A request that is small when compressed is measured inflated.
    """
    channel = connect(grpc.Compression.Gzip, max_request_bytes=100_000)

    assert code_of(channel, b"\x0a\x00" * 1_000_000) == (grpc.StatusCode.RESOURCE_EXHAUSTED, False)


def test_an_empty_request_is_ok(connect: Any, intake: FakeIntake) -> None:
    """
    There is nothing to store.
    """
    assert code_of(connect(), b"") == (grpc.StatusCode.OK, False)
    assert intake.bodies == []


@pytest.mark.parametrize("ready", [True, False])
def test_both_kinds_of_health(connect: Any, intake: FakeIntake, *, ready: bool) -> None:
    """
    Vector's own check, and gRPC's for ``vector.Vector``, say whether requests would be stored now.
    """
    intake.ready = ready
    channel = connect()
    own = HealthCheckResponse.FromString(channel.unary_unary(CHECK)(b"", timeout=20))
    standard = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(service="vector.Vector"), timeout=20
    )

    assert own.status == (0 if ready else 1)
    assert standard.status == (1 if ready else 2)


def test_keys(connect: Any, intake: FakeIntake) -> None:
    """
    With ``auth`` a key is asked for, and its tenant goes along.
    """
    keys = [{"name": "k", "token": "t", "tenants": ["t1"], "customers": ["acme"]}]
    channel = connect(auth={"keys": keys})

    assert code_of(channel, one_log()) == (grpc.StatusCode.UNAUTHENTICATED, False)
    assert code_of(channel, one_log(), authorization="Bearer wrong") == (grpc.StatusCode.UNAUTHENTICATED, False)
    denied = {"authorization": "Bearer t", "x-scope-orgid": "t2"}
    assert code_of(channel, one_log(), **denied) == (grpc.StatusCode.PERMISSION_DENIED, False)
    assert intake.bodies == []
    assert code_of(channel, one_log(), authorization="Bearer t") == (grpc.StatusCode.OK, False)
    assert intake.senders == [("vector", Principal("k", ("acme",), ("t1",)))]
    assert b"tenant.id" in intake.data[0]


def test_logs_without_time_take_the_time_of_reception_if_asked(connect: Any, intake: FakeIntake) -> None:
    """
    With ``missing_timestamp: received`` it is their observed time; by default they have none.
    """
    for option, has_time in (("quarantine", False), ("received", True)):
        assert code_of(connect(missing_timestamp=option), one_log())[0] is grpc.StatusCode.OK
        record = intake.records[-1]
        assert (record.time_unix_nano, record.observed_time_unix_nano > 10**18) == (0, has_time)


def test_stop_is_legal_without_start() -> None:
    """
    A receiver that was never started has no endpoints, counts nothing, and stops.
    """
    config = VectorReceiver.Config.model_validate({"type": "vector"})
    receiver = VectorReceiver("vector", config, ReceiverContext(FakeIntake(), SystemClock(), structlog.get_logger()))
    receiver.stop(0)

    assert (dict(receiver.endpoints), list(receiver.samples())) == ({}, [])
