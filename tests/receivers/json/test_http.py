"""
What the receiver takes and answers over real HTTP, by path, method, media type and compression.
"""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline.api import Answer, ConfigurationError, Format, Status
from meterline.receivers.json import JsonReceiver
from meterline.receivers.json.endpoints import PATHS

Open = Callable[..., Any]
EVENT = {"timestamp": "2026-11-22T11:00:00Z", "n": 5}
EVERY_PATH = [path for paths in PATHS.values() for path in paths]


@pytest.mark.parametrize("path", [path for path in EVERY_PATH if "cloudevents" not in path])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_events_are_taken_by_post_and_put(opened: Open, method: str, path: str) -> None:
    """Every path takes an object, and says how many events it took."""
    door = opened()

    found = door.ask(method, path, json.dumps(EVENT), content_type="application/json")

    assert (found.status, found.json) == (200, {"accepted": 1, "rejected": 0})
    assert found.headers["content-type"] == "application/json"
    assert [body.fmt for body in door.intake.bodies] == [Format.OTLP_LOGS]


@pytest.mark.parametrize("path", EVERY_PATH)
def test_health_checks_get_200(opened: Open, path: str) -> None:
    """Vector's ``healthcheck.uri`` is asked by HEAD and must be 200; while nothing would be stored it is 503."""
    door = opened()

    assert (door.ask("HEAD", path).status, door.ask("HEAD", path).body) == (200, b"")
    assert door.ask("GET", path).json == {"status": "ready"}

    door.intake.ready = False
    assert door.ask("HEAD", path).status == 503


def test_other_methods_and_paths(opened: Open) -> None:
    """405 names what is allowed; a path that is not served is 404."""
    door = opened()

    found = door.ask("DELETE", "/v1/events")
    assert found.status == 405
    assert {name.strip() for name in found.headers["allow"].split(",")} >= {"POST", "PUT", "GET", "HEAD"}
    assert door.post("/v1/event", EVENT).status == 404


def test_presets_are_off_unless_asked_for(opened: Open) -> None:
    """By default no path of another service is served."""
    door = opened(formats=["auto"])

    assert [door.post(path, {}).status for path in ("/2/httpapi", "/batch", "/track", "/import", "/engage")] == [
        404
    ] * 5
    assert "amplitude" not in JsonReceiver.Config(type="json").formats
    assert "mixpanel" not in JsonReceiver.Config(type="json").formats


def test_a_prefix_stands_before_all_paths(opened: Open) -> None:
    """Two receivers with other options can share a port."""
    door = opened(path_prefix="/billing")

    assert door.post("/billing/v1/events", EVENT).status == 200
    assert door.post("/v1/events", EVENT).status == 404


@pytest.mark.parametrize("prefix", ["billing", "/billing/", "/a b", "//"])
def test_a_prefix_is_a_path(prefix: str) -> None:
    """A prefix that would never match is a config error."""
    with pytest.raises(ValueError, match="path_prefix"):
        JsonReceiver.Config(type="json", path_prefix=prefix)


@pytest.mark.parametrize("media_type", ["image/png", "application/x-protobuf", "multipart/form-data"])
def test_other_media_types_are_415(opened: Open, media_type: str) -> None:
    """What is no event is refused before it is read."""
    found = opened().ask("POST", "/v1/events", b"x", content_type=media_type)

    assert found.status == 415
    assert "Content-Type" in found.json["error"]


@pytest.mark.parametrize(
    "media_type",
    ["application/json; charset=utf-8", "application/x-ndjson", "text/plain", "application/vnd.x+json", ""],
)
def test_json_by_any_name_is_taken(opened: Open, media_type: str) -> None:
    """Senders call JSON many things, or nothing: Vector's native_json has no type."""
    headers = {"content_type": media_type} if media_type else {}

    assert opened().ask("POST", "/v1/events", json.dumps(EVENT), **headers).json["accepted"] == 1


def test_a_binary_cloudevent_may_have_any_type(opened: Open) -> None:
    """Its attributes are headers, so its data is its own business."""
    door = opened()
    headers = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "t", "content_type": "image/png"}

    assert door.ask("POST", "/v1/events", b"\x89PNG", **headers).status == 200
    (log,) = ExportLogsServiceRequest.FromString(b"".join(door.intake.data)).resource_logs[0].scope_logs[0].log_records
    assert log.body.bytes_value == b"\x89PNG"


def test_compressed_events(opened: Open) -> None:
    """Logstash's and Vector's compression are the listener's business, and work here."""
    door = opened()
    body = json.dumps([EVENT]).encode()

    for encoding, data in (("gzip", gzip.compress(body)), ("zstd", zstandard.compress(body))):
        found = door.ask("POST", "/v1/logstash", data, content_type="application/json", content_encoding=encoding)
        assert found.status == 200
    assert door.intake.bodies[0] == door.intake.bodies[1]


def test_one_bad_event_never_refuses_a_batch(opened: Open) -> None:
    """The good ones are submitted as logs, the bad ones as rejects, and the answer is 2xx."""
    door = opened()

    found = door.ask("POST", "/v1/events", b'{"n":1}\n{"n":\n{"n":2}\n')

    assert found.status == 200
    assert {body.fmt for body in door.intake.bodies} == {Format.OTLP_LOGS, Format.REJECTS}


def test_what_says_nothing_is_400(opened: Open) -> None:
    """Only a body of which nothing can be read is refused for good, and the answer says why without quoting it."""
    found = opened().ask("POST", "/v1/events", b"secret-payload")

    assert found.status == 400
    assert "reading JSON" in found.json["error"]
    assert b"secret-payload" not in found.body


def test_no_events_are_no_mistake(opened: Open) -> None:
    """An empty batch is stored with nothing in it."""
    assert opened().post("/v1/events", []).json == {"accepted": 0, "rejected": 0}


def test_not_now_is_503(opened: Open) -> None:
    """What may pass is 503 with Retry-After, never 429 or 500."""
    found = opened(Answer(Status.RETRY)).post("/v1/events", [EVENT])

    assert found.status == 503
    assert int(found.headers["retry-after"]) >= 1


def test_too_large_is_413(opened: Open) -> None:
    """Over the limit it can never pass."""
    door = opened(max_request_bytes=1000, max_in_flight_bytes=2000)

    assert door.ask("POST", "/v1/events", b'["' + b"x" * 1000 + b'"]').status == 413
    assert door.ask("POST", "/v1/events", gzip.compress(b" " * 100_000), content_encoding="gzip").status == 413


def test_time_of_reception_when_asked_for(opened: Open) -> None:
    """By default an event without time has none; with ``received`` its observed time is when it came."""
    kept, stamped = opened(), opened(missing_timestamp="received")
    for door in (kept, stamped):
        assert door.post("/v1/events", {"n": 1}).status == 200

    logs = [
        ExportLogsServiceRequest.FromString(b"".join(door.intake.data)).resource_logs[0].scope_logs[0].log_records[0]
        for door in (kept, stamped)
    ]
    assert [log.time_unix_nano for log in logs] == [0, 0]
    assert logs[0].observed_time_unix_nano == 0
    assert logs[1].observed_time_unix_nano > 1_700_000_000 * 10**9


def test_the_tenant_of_the_header(opened: Open) -> None:
    """X-Scope-OrgID becomes a resource attribute."""
    door = opened()

    door.post("/v1/events", EVENT, **{"x-scope-orgid": "acme"})

    resource = ExportLogsServiceRequest.FromString(b"".join(door.intake.data)).resource_logs[0].resource
    assert [(pair.key, pair.value.string_value) for pair in resource.attributes] == [("tenant.id", "acme")]


def test_two_formats_cannot_have_one_path(opened: Open) -> None:
    """A format that is named twice is an error at start."""
    with pytest.raises(ConfigurationError, match="/v1/events"):
        opened(formats=["auto", "auto"])
