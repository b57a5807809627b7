"""
Several receivers on one gRPC port: each with its own credentials, and each with its own end.
"""

import socket
import threading
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from meterline.api import (
    Answer,
    Body,
    ConfigurationError,
    ForbiddenError,
    Format,
    OverloadedError,
    ReceiverContext,
    RetryableError,
    Status,
    SystemClock,
    TooLargeError,
    UndecodableError,
)
from meterline.serving.auth_config import AuthConfig
from meterline.serving.config import GrpcListenerConfig
from meterline.serving.listeners import OpenListeners
from meterline.testing.process import free_port

CODE = grpc.StatusCode


def free_address() -> str:
    """
    Return an address that nobody listens on.
    """
    return f"127.0.0.1:{free_port()}"


def send(channel: grpc.Channel, service: Any, body: bytes = b"x", **headers: str) -> Any:
    """
    Return the answer, or how the call was refused.
    """
    metadata = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    try:
        return channel.unary_unary(service.path)(body, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error


def has_retry_info(error: Any) -> bool:
    """
    Say whether a refusal says when to come again.
    """
    raw = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    return any(
        detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status_pb2.Status.FromString(raw).details
    )


KEYS = {
    "keys": [
        {"name": "acme", "token": "a", "tenants": ["t1"]},
        {"name": "slow", "token": "s", "limits": {"max_requests_per_sec": 0.001}},
    ]
}
TOP = AuthConfig.model_validate(KEYS)


def test_receivers_share_a_port(open_port: Any, connect: Any, intake: Any, service: Any) -> None:
    """
    Each method goes to its receiver, with what it decodes and what it answers.
    """
    address = free_address()
    one, two = service("One"), service("Two", signal="usage")
    first = open_port(one, receiver="first", endpoint=address)
    second = open_port(two, receiver="second", endpoint=address)
    channel = connect(address)
    intake.script = [Answer(Status.STORED, 3, 1), Answer(Status.STORED, 2)]

    assert (send(channel, one, b"a"), send(channel, two, b"b")) == (b"noted 3/1", b"noted 2/0")

    assert first.endpoint == second.endpoint == address
    assert intake.data == [b"a", b"b"]
    assert [receiver for receiver, _ in intake.senders] == ["first", "second"]
    counted = {(s.name, s.labels["receiver"]): s.value for part in (first, second) for s in part.samples()}
    assert counted["meterline_receiver_accepted_events", "first"] == 2
    assert counted["meterline_receiver_quarantined_events", "first"] == 1
    assert counted["meterline_receiver_accepted_usage_records", "second"] == 2
    assert [name for name, who in counted if name.endswith("in_flight_bytes")] == ["meterline_receiver_in_flight_bytes"]


def test_each_receiver_has_its_own_credentials(open_port: Any, connect: Any, service: Any) -> None:
    """
    The top-level section is for receivers without their own; a key of one is nobody at its neighbour on the same port.
    """
    address = free_address()
    one, two = service("One"), service("Two")
    own = {"keys": [{"name": "own", "token": "b"}]}
    open_port(one, receiver="one", endpoint=address, top=TOP)
    open_port(two, receiver="two", endpoint=address, top=TOP, auth=own)
    channel = connect(address)

    answers = {(s.name, key): send(channel, s, x_api_key=key) for s in (one, two) for key in ("a", "b")}

    assert (answers["One", "a"], answers["Two", "b"]) == (b"noted 1/0", b"noted 1/0")
    assert answers["One", "b"].code() is answers["Two", "a"].code() is CODE.UNAUTHENTICATED
    assert [call.principal.name for call in (*one.calls, *two.calls)] == ["acme", "own"]


def test_one_receiver_leaves_and_the_other_goes_on(open_port: Any, connect: Any, service: Any) -> None:
    """
    Methods of a receiver that has stopped are refused for now, never as unknown; the last one closes the port.
    """
    address = free_address()
    one, two = service("One"), service("Two")
    first, second = open_port(one, receiver="one", endpoint=address), open_port(two, receiver="two", endpoint=address)
    channel = connect(address)

    first.stop(5)

    refused = send(channel, one)
    assert (refused.code(), has_retry_info(refused)) == (CODE.UNAVAILABLE, True)
    assert send(channel, two) == b"noted 1/0"
    health = health_pb2_grpc.HealthStub(channel)
    states = [health.Check(health_pb2.HealthCheckRequest(service=name)).status for name in ("test.One", "test.Two", "")]
    assert states == [2, 1, 1]
    second.stop(5)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=5)


def test_leaving_waits_for_what_is_in_flight(open_port: Any, connect: Any, intake: Any, service: Any) -> None:
    """
    A receiver that stops beside another one has its calls answered first.
    """
    address = free_address()
    one, two = service("One"), service("Two")
    first = open_port(one, receiver="one", endpoint=address)
    open_port(two, receiver="two", endpoint=address)
    with intake.held():
        call = connect(address).unary_unary(one.path).future(b"x", timeout=60)
        assert intake.submitted.acquire(timeout=20)
        leaving = threading.Thread(target=first.stop, args=(60,))
        leaving.start()
        leaving.join(0.2)
        assert leaving.is_alive()
    leaving.join(20)

    assert call.result() == b"noted 1/0"
    assert not leaving.is_alive()


def test_a_stopped_method_may_come_back(open_port: Any, connect: Any, service: Any) -> None:
    """
    A receiver that starts again on a shared port takes its methods back.
    """
    address = free_address()
    one, two = service("One"), service("Two")
    open_port(two, receiver="two", endpoint=address)
    first = open_port(one, receiver="one", endpoint=address)
    channel = connect(address)
    assert send(channel, one) == b"noted 1/0"
    first.stop(5)
    open_port(one, receiver="one", endpoint=address)

    assert send(channel, one) == b"noted 1/0"


def test_a_taken_method_is_an_error_that_names_both(open_port: Any, service: Any) -> None:
    """
    Two receivers cannot serve one method on one port.
    """
    address = free_address()
    open_port(service("One"), receiver="one", endpoint=address)

    with pytest.raises(ConfigurationError, match=r"'two': /test.One/Send is served by receiver 'one'"):
        open_port(service("One"), receiver="two", endpoint=address)


def test_receivers_on_one_port_agree_on_it(open_port: Any, service: Any) -> None:
    """
    What belongs to the port is written the same by all who name it.
    """
    address = free_address()
    open_port(service("One"), receiver="one", endpoint=address)

    with pytest.raises(ConfigurationError, match="max_connections"):
        open_port(service("Two"), receiver="two", endpoint=address, max_connections=7)


def test_unknown_methods_wait_for_the_last_receiver(connect: Any, intake: Any, service: Any) -> None:
    """
    While the gateway starts, a method that is not there yet is refused for now; afterwards it is unknown.
    """
    listeners = OpenListeners(SystemClock())
    context = ReceiverContext(intake, SystemClock(), structlog.get_logger(), {}, listeners)
    one, two = service("One"), service("Two")
    port = listeners.grpc("one", GrpcListenerConfig(endpoint="127.0.0.1:0"), context, [one.method()])
    channel = connect(port.endpoint)

    early = send(channel, two)
    listeners.settle()
    late = send(channel, two)
    port.stop(5)

    assert (early.code(), has_retry_info(early), late.code()) == (CODE.UNAVAILABLE, True, CODE.UNIMPLEMENTED)


def test_reflection_lists_what_was_added(open_port: Any, connect: Any, service: Any) -> None:
    """
    Services of every receiver are listed, also of one that came later.
    """
    address = free_address()
    open_port(service("One"), receiver="one", endpoint=address)
    open_port(service("Two"), receiver="two", endpoint=address)

    stub = reflection_pb2_grpc.ServerReflectionStub(connect(address))
    (answer,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10)

    names = {each.name for each in answer.list_services_response.service}
    assert {"test.One", "test.Two", "grpc.health.v1.Health"} <= names


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UndecodableError("reading: broken"), CODE.INVALID_ARGUMENT),
        (TooLargeError("reading: too large"), CODE.RESOURCE_EXHAUSTED),
        (ForbiddenError("authorizing: not yours"), CODE.PERMISSION_DENIED),
        (OverloadedError("admitting: later", 3.0), CODE.UNAVAILABLE),
        (RetryableError("reading: later"), CODE.UNAVAILABLE),
        (ValueError("canary"), CODE.UNAVAILABLE),
    ],
)
def test_what_a_receiver_raises_has_its_code(
    ports: Any, intake: Any, service: Any, error: Exception, code: Any
) -> None:
    """
    Each error is its status, with RetryInfo only where it may pass; nothing of an unexpected one is told.
    """
    one = service("One", error=error)

    refused = send(ports(one), one)

    assert (refused.code(), has_retry_info(refused)) == (code, code is CODE.UNAVAILABLE)
    assert "canary" not in refused.details()
    assert (intake.bodies, intake.in_flight) == ([], 0)


def test_a_message_that_a_decoder_fails_on_is_quarantined_whole(
    open_port: Any, connect: Any, intake: Any, service: Any
) -> None:
    """
    Twice it is refused for now, the third time it is stored as one reject, so that it blocks no queue.
    """
    one = service("One", error=ZeroDivisionError("canary"))
    channel = connect(open_port(one).endpoint)

    answers = [send(channel, one, b"poison") for _ in range(3)]

    assert [each.code() for each in answers[:2]] == [CODE.UNAVAILABLE] * 2
    assert answers[2] == b""
    (stored,) = intake.bodies
    assert stored.fmt is Format.REJECTS
    assert b"poison" in stored.data


def test_several_bodies_have_one_answer(open_port: Any, connect: Any, intake: Any, service: Any) -> None:
    """
    All are submitted, and the sums are told; one that is to come again makes all of it come again.
    """
    bodies = (Body(Format.TRANSCODED_METRICS, b"m"), Body(Format.REJECTS, b"r"))
    one = service("One", bodies=lambda _message: bodies)
    channel = connect(open_port(one).endpoint)
    intake.script = [Answer(Status.STORED, 3, 1), Answer(Status.STORED, 2, 2)]

    assert send(channel, one) == b"noted 5/3"
    intake.script = [Answer(Status.STORED, 3), Answer(Status.RETRY, retry_after_secs=2)]
    assert send(channel, one).code() is CODE.UNAVAILABLE

    assert [body.fmt for body in intake.bodies] == [Format.TRANSCODED_METRICS, Format.REJECTS] * 2


def test_a_tenant_is_checked_against_the_key(open_port: Any, connect: Any, service: Any) -> None:
    """
    The receiver is told the tenant; another one than the key's is PERMISSION_DENIED before the message is read.
    """
    one = service("One")
    channel = connect(open_port(one, top=TOP).endpoint)

    send(channel, one, x_api_key="a")
    send(channel, one, x_api_key="a", x_scope_orgid="t1")
    refused = send(channel, one, x_api_key="a", x_scope_orgid="t2")

    assert [(call.principal.name, call.tenant) for call in one.calls] == [("acme", "t1"), ("acme", "t1")]
    assert refused.code() is CODE.PERMISSION_DENIED


def test_over_a_rate_senders_come_again(open_port: Any, connect: Any, service: Any) -> None:
    """
    A principal's rate holds over all methods of the gateway, and refuses for now.
    """
    one, two = service("One"), service("Two")
    channel, other = connect(open_port(one, top=TOP).endpoint), connect(open_port(two, top=TOP).endpoint)

    assert send(channel, one, x_api_key="s") == b"noted 1/0"
    refused = send(other, two, x_api_key="s")

    assert (refused.code(), has_retry_info(refused)) == (CODE.UNAVAILABLE, True)
    assert "max_requests_per_sec" in refused.details()
    assert send(other, two, x_api_key="a") == b"noted 1/0"


def test_headers_are_held_against_a_budget(open_port: Any, connect: Any, service: Any) -> None:
    """
    A call with 30 kB of metadata passes, one with 40 kB ends before it is looked at.
    """
    one = service("One")
    channel = connect(open_port(one).endpoint)

    assert send(channel, one, filler="x" * 30_000) == b"noted 1/0"
    refused = send(channel, one, filler="x" * 40_000)

    assert refused.code() is CODE.RESOURCE_EXHAUSTED
    assert len(one.calls) == 1


def test_an_open_port_is_refused_at_start(open_port: Any, service: Any) -> None:
    """
    A program that does not come through the config loader cannot open one by accident either.
    """
    with pytest.raises(ConfigurationError, match=r"everybody who reaches 0\.0\.0\.0:0 could write usage"):
        open_port(service("One"), endpoint="0.0.0.0:0")

    open_port(service("One"), endpoint="0.0.0.0:0", insecure=True)
    open_port(service("Two"), endpoint="0.0.0.0:0", top=TOP)
