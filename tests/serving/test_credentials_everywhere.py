"""
Configured credentials are enforced on every port, path and protocol: none, wrong, expired and right, each tried on all of
them. What there is to try is asked of the receivers themselves, so that a new one cannot be forgotten.
"""

import base64
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args
from urllib.parse import quote

import grpc
import pytest
import structlog
from pydantic import BaseModel

from meterline.api import ReceiverContext, SystemClock
from meterline.plugins import available, load_receiver
from meterline.serving.auth_config import AuthConfig
from meterline.serving.config import ListenerConfig
from meterline.serving.exposure import is_local
from meterline.serving.listeners import OpenListeners, Registration
from meterline.serving.seam import Endpoint, Method
from meterline.testing.fake_intake import FakeIntake
from meterline.testing.forward_client import ForwardClient, message
from meterline.testing.identity_provider import IdentityProvider

GOOD, ROTATED, LATE, WRONG, TIED = ("ml_" + text * 12 for text in ("good", "next", "late", "evil", "tied"))
EXPIRED = {"name": "late", "token": LATE, "expires_at": "2020-01-01T00:00:00Z"}
KEYS = {
    "keys": [
        {"name": "good", "token": GOOD},
        {"name": "good", "token": ROTATED},
        {"name": "tied", "token": TIED, "tenants": ["mine*"]},
        EXPIRED,
    ]
}
FORWARD = {"shared_key": {"name": "fleet", "token": "shared"}, "users": [{"name": "good", "token": GOOD}, EXPIRED]}


def basic(name: str, token: str) -> str:
    """
    Return the value of a header.
    """
    return "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


REFUSED: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "wrong bearer": {"authorization": f"Bearer {WRONG}"},
    "wrong key": {"x-api-key": WRONG},
    "wrong basic": {"authorization": basic("good", WRONG)},
    "right token, wrong name": {"authorization": basic("late", GOOD)},
    "no scheme": {"authorization": GOOD},
    "empty": {"authorization": "Bearer ", "x-api-key": ""},
    "expired bearer": {"authorization": f"Bearer {LATE}"},
    "expired key": {"x-api-key": LATE},
    "expired basic": {"authorization": basic("late", LATE)},
}
RIGHT: Mapping[str, Mapping[str, str]] = {
    "bearer": {"authorization": f"Bearer {GOOD}"},
    "key": {"x-api-key": GOOD},
    "basic": {"authorization": basic("good", GOOD)},
    "rotated": {"authorization": f"Bearer {ROTATED}"},
    "beside a wrong one": {"authorization": f"Bearer {WRONG}", "x-api-key": GOOD},
}
BODIES: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "amplitude": lambda key: {**({"api_key": key["key"]} if key else {}), "events": []},
    "mixpanel": lambda key: [{"event": "e", "properties": {"token": key["key"]} if key else {}}],
}
"""What is sent to endpoints whose protocol has its credential in the body, by the module that they are of."""


def told_inside(endpoint: Endpoint, method: str, token: str | None) -> tuple[str, bytes]:
    """
    Return query and body of a request that has this credential inside (None: none), as far as the protocol has a place for it.
    """
    if not endpoint.credential_in_body:
        return "", b""
    key = {} if token is None else {"key": token}
    body = json.dumps(BODIES[type(endpoint).__module__.rpartition(".")[2]](key)).encode()
    return ("?data=" + quote(base64.b64encode(body)), b"") if method == "GET" else ("", body)


class Recording(OpenListeners):
    """
    A registry that remembers what receivers serve, and where.
    """

    def __init__(self) -> None:
        super().__init__(SystemClock(), settled=True)
        self.http_served: list[tuple[Registration, Endpoint]] = []
        self.grpc_served: list[tuple[Registration, Method]] = []

    def http(self, receiver: str, config: Any, context: Any, endpoints: Sequence[Endpoint], pages: Any = ()) -> Any:
        registration = super().http(receiver, config, context, endpoints, pages)
        self.http_served += [(registration, endpoint) for endpoint in endpoints]
        return registration

    def grpc(self, receiver: str, config: Any, context: Any, methods: Sequence[Method]) -> Any:
        registration = super().grpc(receiver, config, context, methods)
        self.grpc_served += [(registration, method) for method in methods]
        return registration


def listener_sections(config: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """
    Return the sections of a receiver's config that are listeners, by their key; "": the config itself.
    """
    if issubclass(config, ListenerConfig):
        return {"": config}
    found = {}
    for name, option in config.model_fields.items():
        for kind in (option.annotation, *get_args(option.annotation)):
            if isinstance(kind, type) and issubclass(kind, ListenerConfig):
                found[name] = kind
    return found


def keys_of(name: str, config: type[BaseModel]) -> dict[str, Any]:
    """
    Return a config in which a receiver serves all that it can, on free ports of this machine.
    """
    keys: dict[str, Any] = {"type": name}
    for section, kind in listener_sections(config).items():
        written: dict[str, Any] = {"endpoint": "127.0.0.1:0"}
        if not kind.takes_top_level_auth:  # type: ignore[attr-defined]
            written["auth"] = FORWARD
        keys |= {section: written} if section else written
    if "formats" in config.model_fields:
        keys["formats"] = get_args(get_args(config.model_fields["formats"].annotation)[0])
    return keys


@dataclass
class Started:
    """
    All receivers, running.
    """

    listeners: Recording
    intake: FakeIntake
    receivers: dict[str, Any]
    provider: IdentityProvider


LISTENING = [name for name in available("receiver") if listener_sections(load_receiver(name).Config)]


def start_all(found: Started, auth: AuthConfig) -> None:
    """
    Start every installed receiver that listens, each on ports of its own.
    """
    for name in LISTENING:
        kind, registry = load_receiver(name), Recording()
        context = ReceiverContext(found.intake, SystemClock(), structlog.get_logger(), {}, registry, auth)
        found.receivers[name] = kind(name, kind.Config.model_validate(keys_of(name, kind.Config)), context)
        found.receivers[name].start()
        found.listeners.http_served += registry.http_served
        found.listeners.grpc_served += registry.grpc_served


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    """
    Run all receivers under one ``auth`` section.
    """
    with IdentityProvider() as provider:
        found = Started(Recording(), FakeIntake(), {}, provider)
        oidc = {"issuer": provider.issuer, "audience": provider.audience}
        try:
            start_all(found, AuthConfig.model_validate({**KEYS, "oidc": oidc}))
            yield found
        finally:
            for receiver in found.receivers.values():
                receiver.stop(5)


def test_every_port_is_tried(started: Started) -> None:
    """
    Each address that a receiver says it has bound is one of a registry's, or the forward protocol's, which is tried below.
    """
    tried = {registration.endpoint for registration, _ in started.listeners.http_served}
    tried |= {registration.endpoint for registration, _ in started.listeners.grpc_served}
    bound = {
        address
        for receiver in started.receivers.values()
        for protocol, address in receiver.endpoints.items()
        if protocol != "forward"
    }

    assert tried == bound
    assert set(LISTENING) == {"fluent_forward", "json", "loki", "otlp", "prometheus", "usage", "vector"}
    assert set(available("receiver")) - set(LISTENING) == {"files"}


def test_every_port_is_local_by_default() -> None:
    """
    No receiver listens for other machines unless the config names an address of them.
    """
    sections = [kind for name in LISTENING for kind in listener_sections(load_receiver(name).Config).values()]

    assert all(is_local(kind.model_fields["endpoint"].default) for kind in sections)
    assert len(sections) >= len(LISTENING)


def http_attempt(
    address: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> tuple[int, str]:
    """
    Send a request and return status and text of its answer.
    """
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body, {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace") + str(answer.headers)
    finally:
        connection.close()


class Door(NamedTuple):
    """
    One method of one path of one receiver.
    """

    address: str
    method: str
    path: str
    endpoint: Endpoint

    def attempt(self, headers: Mapping[str, str], token: str | None = None) -> tuple[int, str]:
        """
        Send a request with credentials in its headers, and perhaps inside; return status and text of the answer.
        """
        query, body = told_inside(self.endpoint, self.method, token)
        return http_attempt(self.address, self.method, self.path + query, headers, body)


def doors(started: Started) -> list[Door]:
    """
    Return all that is served over HTTP.
    """
    return [
        Door(registration.endpoint, method, path, endpoint)
        for registration, endpoint in started.listeners.http_served
        for path in endpoint.paths
        for method in endpoint.methods
    ]


@pytest.mark.parametrize("attempt", REFUSED)
def test_http_refuses(started: Started, attempt: str) -> None:
    """
    Every path of every receiver answers 401, before it looks at anything else, and nothing reaches the intake.
    """
    started.intake.senders.clear()

    # Mixpanel's own Basic has a user of its own before the token, whatever the key's name here is.
    tried = [
        door for door in doors(started) if attempt != "right token, wrong name" or not door.endpoint.credential_in_body
    ]
    answers = {(door.path, door.method): door.attempt(REFUSED[attempt]) for door in tried}

    assert {where: status for where, (status, _) in answers.items() if status != 401} == {}
    assert all("www-authenticate" in text.lower() for _, text in answers.values())
    assert not any(token in text for _, text in answers.values() for token in (GOOD, LATE, WRONG))
    assert started.intake.senders == []


@pytest.mark.parametrize("attempt", RIGHT)
def test_http_lets_in(started: Started, attempt: str) -> None:
    """
    A right credential in any of its forms gets past the door of every path; what is stored is the principal's.
    """
    started.intake.senders.clear()

    answers = {(door.path, door.method): door.attempt(RIGHT[attempt])[0] for door in doors(started)}

    assert {where: status for where, status in answers.items() if status in (401, 403) or status >= 500} == {}
    assert started.intake.names <= {"good"}


def test_http_refuses_before_the_body_is_there(started: Started) -> None:
    """
    The answer comes when the headers are there, while all of the body is still to come.
    """
    for door in doors(started):
        if door.endpoint.credential_in_body:
            continue
        host, _, port = door.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"{door.method} {door.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
            connection.sendall(head.encode())
            assert (door.path, connection.recv(12)) == (door.path, b"HTTP/1.1 401")


@pytest.mark.parametrize(("tenant", "allowed"), [("mine-1", True), ("theirs", False), ("Mine", False)])
def test_tenants_are_checked_on_every_door(started: Started, tenant: str, allowed: bool) -> None:  # noqa: FBT001
    """
    A key that is tied to tenants may name no other, by whatever protocol; nothing of it is stored.
    """
    headers = {"x-api-key": TIED, "x-scope-orgid": tenant}
    started.intake.senders.clear()

    statuses = {(door.path, door.method): door.attempt(headers)[0] for door in doors(started)}
    codes = grpc_codes(started, headers)

    assert {where: status for where, status in statuses.items() if (status == 403) == allowed} == {}
    assert {path: code for path, code in codes.items() if (code is grpc.StatusCode.PERMISSION_DENIED) == allowed} == {}
    assert allowed or started.intake.senders == []


def test_no_other_method_is_a_way_in(started: Started) -> None:
    """
    A method that an endpoint does not have stores nothing, with the best credential or without.
    """
    started.intake.senders.clear()

    for door in doors(started):
        for method in {"GET", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(door.endpoint.methods):
            http_attempt(door.address, method, door.path, RIGHT["bearer"], b"{}")

    assert started.intake.senders == []


@pytest.mark.parametrize("token", [None, "", WRONG, LATE, GOOD])
def test_credentials_in_bodies(started: Started, token: str | None) -> None:
    """
    Where a protocol has its credential in the body, that one is held to the same: only the right one stores.
    """
    asked = [door for door in doors(started) if door.endpoint.credential_in_body]
    for door in asked:
        started.intake.senders.clear()

        status, text = door.attempt({}, token)

        assert (door.path, door.method, status == 401) == (door.path, door.method, token != GOOD)
        assert started.intake.names <= ({"good"} if token == GOOD else set())
        assert WRONG not in text
    assert {type(door.endpoint).__module__.rpartition(".")[2] for door in asked} == set(BODIES)


def test_endpoints_without_a_credential_in_their_body_look_in_the_headers_alone(started: Started) -> None:
    """
    A right token in the body of any other protocol opens nothing.
    """
    for door in doors(started):
        for made in BODIES.values() if not door.endpoint.credential_in_body else ():
            body = json.dumps(made({"key": GOOD})).encode()
            assert (door.path, http_attempt(door.address, door.method, door.path, {}, body)[0]) == (door.path, 401)


def grpc_attempt(address: str, path: str, headers: Mapping[str, str]) -> grpc.StatusCode:
    """
    Send an empty message, which every method can read, and return the code of the answer.
    """
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            channel.unary_unary(path)(b"", metadata=tuple(headers.items()), timeout=20)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


def grpc_codes(started: Started, headers: Mapping[str, str]) -> dict[str, grpc.StatusCode]:
    """
    Return what every method of every receiver answers.
    """
    served = started.listeners.grpc_served
    return {method.path: grpc_attempt(registration.endpoint, method.path, headers) for registration, method in served}


@pytest.mark.parametrize("attempt", REFUSED)
def test_grpc_refuses(started: Started, attempt: str) -> None:
    """
    Every method of every receiver is UNAUTHENTICATED, and nothing reaches the intake.
    """
    started.intake.senders.clear()

    codes = grpc_codes(started, REFUSED[attempt])

    assert set(codes.values()) == {grpc.StatusCode.UNAUTHENTICATED}
    assert started.intake.senders == []


@pytest.mark.parametrize("attempt", RIGHT)
def test_grpc_lets_in(started: Started, attempt: str) -> None:
    """
    A right credential gets past the door of every method.
    """
    started.intake.senders.clear()

    codes = grpc_codes(started, RIGHT[attempt])

    assert set(codes.values()) <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
    assert started.intake.names <= {"good"}


FORWARDS = {
    "nothing": None,
    "wrong shared key": ("wrong", "good", GOOD),
    "no user": ("shared", "", ""),
    "unknown user": ("shared", "evil", GOOD),
    "wrong password": ("shared", "good", WRONG),
    "expired user": ("shared", "late", LATE),
}


def forward_attempt(address: str, login: tuple[str, str, str] | None) -> Any:
    """
    Log in (None: don't), send an event that asks for an acknowledgement, and return what comes back at last.
    """
    with ForwardClient(address) as client:
        welcomed = login is None or client.log_in(*login)[1]
        if login is None or welcomed:
            client.send(message("tag", (0, {"a": "b"}), chunk="c"))
        answer = client.receive()
        return client.receive() if isinstance(answer, list) and answer[0] == "HELO" else answer


@pytest.mark.parametrize("attempt", FORWARDS)
def test_the_forward_protocol_refuses(started: Started, attempt: str) -> None:
    """
    Without the shared key, and a user who is known and not expired, no event is acknowledged and none is stored.
    """
    started.intake.senders.clear()

    answer = forward_attempt(started.receivers["fluent_forward"].endpoints["forward"], FORWARDS[attempt])

    assert answer is None or answer[0] == "PONG"
    assert started.intake.senders == []


def test_the_forward_protocol_lets_in(started: Started) -> None:
    """
    With both, the event is stored as the user's and acknowledged.
    """
    started.intake.senders.clear()
    address = started.receivers["fluent_forward"].endpoints["forward"]

    assert forward_attempt(address, ("shared", "good", GOOD)) == {"ack": "c"}
    assert started.intake.names == {"good"}


def settled(started: Started, token: str) -> tuple[set[int], set[grpc.StatusCode]]:
    """
    Send a provider's token to every door; one that is told to come again does so. Return all statuses and codes.
    """
    headers = {"authorization": f"Bearer {token}"}
    deadline = time.monotonic() + 45  # a fetch of keys that fails is not begun again for ten seconds
    while True:
        statuses = {door.attempt(headers)[0] for door in doors(started)}
        codes = set(grpc_codes(started, headers).values())
        if not (503 in statuses or grpc.StatusCode.UNAVAILABLE in codes) or time.monotonic() > deadline:
            return statuses, codes


def test_tokens_of_a_provider(started: Started) -> None:
    """
    A good token opens every door, an expired one and one for others none; nothing of them reaches the intake.
    """
    provider = started.provider
    statuses, codes = settled(started, provider.token())
    assert not statuses & {401, 403, 503}
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
    assert started.intake.names <= {"good", "agent"}
    started.intake.senders.clear()

    for token in (provider.token(exp=1), provider.token(aud="others"), provider.token()[:-6] + "AAAAAA"):
        assert settled(started, token) == ({401}, {grpc.StatusCode.UNAUTHENTICATED})

    assert started.intake.senders == []
