"""
Amplitude's and Mixpanel's intake: the words that their SDKs wait for, and their credentials, which are in the body.
"""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from meterline.api import Answer, Status

Open = Callable[..., Any]
AUTH = {"keys": [{"name": "web", "token": "web-token"}, {"name": "app", "token": "app-token"}]}
FORM = "application/x-www-form-urlencoded"


def amplitude(key: str = "web-token", events: Any = None) -> dict[str, Any]:
    """
    Return an upload as the SDKs write it.
    """
    made = [{"event_type": "call", "user_id": "acme", "insert_id": "i", "time": 1795346017935}]
    return {"api_key": key, "events": made if events is None else events, "options": {"min_id_length": None}}


def mixpanel(project: str = "web-token", **properties: Any) -> dict[str, Any]:
    """
    Return an event as the SDKs write it.
    """
    return {"event": "call", "properties": {"token": project, "time": 1795346017.9, "$insert_id": "i", **properties}}


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_amplitude_is_told_what_it_waits_for(opened: Open, path: str) -> None:
    """The SDKs read ``code`` in the body."""
    found = opened().post(path, amplitude())

    assert found.status == 200
    assert (found.json["code"], found.json["events_ingested"]) == (200, 1)
    assert found.json["payload_size_bytes"] == len(json.dumps(amplitude()))
    assert found.json["server_upload_time"] > 1_700_000_000_000


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"7",
        b'{"api_key":"k"}',
        b'{"api_key":"k","events":{}}',
        b"{}{}",
        b'{"api_key":"k","events":[{"n":1}],"events":[]}',
    ],
)
def test_amplitude_400(opened: Open, body: bytes) -> None:
    """What is no upload is refused with the code in the body."""
    found = opened().ask("POST", "/2/httpapi", body)

    assert (found.status, found.json["code"]) == (400, 400)
    assert found.json["error"]


def test_an_event_of_amplitude_that_says_a_key_twice_costs_no_other(opened: Open) -> None:
    """It is set aside alone, though it is read with all the others."""
    door = opened()
    body = b'{"api_key":"k","events":[{"event_type":"a","time":1},{"event_type":"a","time":1,"time":2}]}'

    assert door.ask("POST", "/2/httpapi", body).status == 200
    assert [body.fmt.value for body in door.intake.bodies] == ["otlp_logs", "rejects"]


def test_amplitude_413_and_503(opened: Open) -> None:
    """Too large makes its SDKs split; not now makes them come again. Never 429, which they treat event by event."""
    large = opened(max_request_bytes=100, max_in_flight_bytes=200).post("/batch", amplitude())
    later = opened(Answer(Status.RETRY)).post("/batch", amplitude())

    assert (large.status, large.json["code"]) == (413, 413)
    assert (later.status, later.json["code"]) == (503, 503)


def test_the_api_key_is_the_credential(opened: Open) -> None:
    """With auth on, the key in the body says who sends."""
    door = opened(auth=AUTH)

    assert door.post("/2/httpapi", amplitude("app-token")).status == 200
    assert door.intake.names == {"app"}


@pytest.mark.parametrize("key", ["wrong", "", None, 7, ["web-token"]])
def test_a_wrong_api_key(opened: Open, key: Any) -> None:
    """401 in words that the SDKs know, and nothing is stored."""
    door = opened(auth=AUTH)

    found = door.post("/2/httpapi", amplitude(key))

    assert (found.status, found.json["code"]) == (401, 401)
    assert found.json["error"].startswith("Invalid API key:")
    assert door.intake.bodies == []


def test_a_credential_in_the_header_goes_before(opened: Open) -> None:
    """A proxy in between can put its own key; a wrong one there leaves the body's."""
    door = opened(auth=AUTH)

    door.post("/2/httpapi", amplitude("web-token"), **{"x-api-key": "app-token"})
    assert door.intake.names == {"app"}
    assert door.post("/2/httpapi", amplitude("web-token"), **{"x-api-key": "wrong"}).status == 200
    assert door.intake.names == {"app", "web"}


def test_credentials_in_bodies_open_no_other_path(opened: Open) -> None:
    """Where the protocol has its credential in the headers, the body is not looked at."""
    door = opened(auth=AUTH)

    assert door.post("/v1/events", amplitude("web-token")).status == 401


@pytest.mark.parametrize("data", [mixpanel(), [mixpanel(), mixpanel()]])
def test_mixpanel_track_in_every_form(opened: Open, data: Any) -> None:
    """JSON, a form with JSON or base64 in it, and a query with base64: the answer is ``1``."""
    door, text = opened(), json.dumps(data)
    encoded = base64.b64encode(text.encode()).decode()

    answers = [
        door.post("/track", data),
        door.ask("POST", "/track", urlencode({"data": text, "ip": 0}), content_type=FORM),
        door.ask("POST", "/track", urlencode({"data": encoded}), content_type=FORM),
        door.ask("POST", "/track?ip=0", f"data={encoded}", content_type=FORM),
        door.ask("GET", f"/track?ip=0&verbose=0&data={quote(encoded)}"),
    ]

    assert [(found.status, found.body) for found in answers] == [(200, b"1")] * 5
    assert len(set(door.intake.data)) == 1


def test_mixpanel_verbose(opened: Open) -> None:
    """``verbose=1`` in form or query wants an object, with status 1 also from /import."""
    door = opened()
    form = urlencode({"data": json.dumps(mixpanel()), "verbose": 1, "ip": 0})

    assert door.ask("POST", "/track", form, content_type=FORM).json == {"status": 1, "error": None}
    assert door.post("/track?verbose=1", mixpanel()).json == {"status": 1, "error": None}
    imported = door.ask("POST", "/import", form, content_type=FORM).json
    assert imported == {"status": 1, "error": None, "code": 200, "num_records_imported": 1}


def test_mixpanel_import(opened: Open) -> None:
    """JSON and NDJSON are answered as the import API does; base64 in a form, as the Node SDK sends it, by ``1``."""
    door = opened()
    encoded = base64.b64encode(json.dumps([mixpanel()]).encode()).decode()

    assert door.post("/import?strict=1", [mixpanel()]).json == {"code": 200, "num_records_imported": 1, "status": "OK"}
    assert door.ask("POST", "/import", f"data={encoded}", content_type=FORM).body == b"1"


@pytest.mark.parametrize("path", ["/engage", "/groups"])
def test_mixpanel_profiles_are_answered_and_forgotten(opened: Open, path: str) -> None:
    """Profile updates are no usage: the app must not fail because of them, and nothing is stored."""
    door = opened(auth=AUTH)
    update = {"$token": "web-token", "$distinct_id": "acme", "$set": {"plan": "pro"}}

    found = door.ask("POST", path, urlencode({"data": json.dumps(update), "verbose": 1}), content_type=FORM)

    assert found.json == {"status": 1, "error": None}
    assert door.intake.bodies == []
    update["$token"] = "wrong"
    assert door.post(path, update).status == 401


@pytest.mark.parametrize("body", ["ip=0", "data=*", "data=%7B", "data=1&data=2", "data=%FF"])
def test_mixpanel_400(opened: Open, body: str) -> None:
    """What is no event at all is refused with what the SDKs look at: status and error."""
    found = opened().ask("POST", "/track", body, content_type=FORM)

    assert (found.status, found.json["status"]) == (400, 0)
    assert found.json["error"]


def test_the_token_of_the_events_is_the_credential(opened: Open) -> None:
    """With auth on, the token in the events says who sends; one in the query's data too."""
    door = opened(auth=AUTH)
    encoded = base64.b64encode(json.dumps(mixpanel("app-token")).encode()).decode()

    assert door.post("/track", [mixpanel(), mixpanel()]).status == 200
    assert door.ask("GET", f"/track?data={quote(encoded)}").status == 200
    assert door.intake.names == {"web", "app"}
    assert b"-token" not in b"".join(door.intake.data)


@pytest.mark.parametrize("data", [[], {}, [mixpanel(), mixpanel("app-token")], [mixpanel(), 5], mixpanel("wrong")])
def test_events_of_two_or_no_projects_are_nobodys(opened: Open, data: Any) -> None:
    """Every event of a request must have the same right token, else none is taken."""
    door = opened(auth=AUTH)

    assert door.post("/track", data).status == 401
    assert door.intake.bodies == []


@pytest.mark.parametrize("user", ["web-token:", "service-account:web-token"])
def test_basic_credentials_of_import(opened: Open, user: str) -> None:
    """The project's secret is a user name without password, a service account's the password."""
    door = opened(auth=AUTH)
    event = mixpanel("another-projects-public-token")

    found = door.post(
        "/import?project_id=1", [event], authorization="Basic " + base64.b64encode(user.encode()).decode()
    )

    assert found.status == 200
    assert door.intake.names == {"web"}


def test_a_wrong_basic_credential_is_not_helped_by_a_right_token(opened: Open) -> None:
    """What the sender shows as its secret is what counts."""
    header = "Basic " + base64.b64encode(b"wrong:").decode()

    assert opened(auth=AUTH).post("/import", [mixpanel()], authorization=header).status == 401


def test_an_unknown_sender_may_not_send_much(opened: Open) -> None:
    """Before it is known, of at most 20 MiB of a body is looked at."""
    door = opened(auth=AUTH)
    events = [{"event_type": "x" * 1000}] * 22_000

    assert door.post("/2/httpapi", amplitude("web-token", events)).status == 413
    assert door.post("/2/httpapi", amplitude("", events), authorization="Bearer web-token").status == 200
