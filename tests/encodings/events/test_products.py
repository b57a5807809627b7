"""
Events of Amplitude and Mixpanel.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from meterline.encodings.events import EventOptions, transcode

Reader = Callable[[Any], Any]


def test_amplitude(read: Reader) -> None:
    """The event is the body, ``time`` is in milliseconds, ``insert_id`` the identity, ``event_type`` the name."""
    event = {
        "event_type": "call",
        "user_id": "acme",
        "time": 1795346017935,
        "insert_id": "i",
        "event_properties": {"n": 5},
    }

    found = read(transcode([[event]], "amplitude"))

    assert found.bodies == [event]
    assert (found.times, found.uids, found.logs[0].event_name) == ([1795346017935 * 10**6], ["i"], "call")


def test_amplitude_time_is_never_guessed(read: Reader) -> None:
    """A small number is milliseconds too: in 1970, which the kernel quarantines, and not seconds of today."""
    assert read(transcode([[{"event_type": "call", "time": 1795346017}]], "amplitude")).times == [1795346017 * 10**6]


def test_mixpanel(read: Reader) -> None:
    """``time`` is seconds, with a fraction since 5.0 of the SDK, or milliseconds; the project's token is left out."""
    events = [
        {"event": "call", "properties": {"token": "secret", "time": time, "$insert_id": "i", "distinct_id": "acme"}}
        for time in (1795346017, Decimal("1795346017.9359261"), 1795346017935)
    ]

    bodies = transcode([events], "mixpanel")
    found = read(bodies)

    assert found.times == [1795346017 * 10**9, 1795346017935926100, 1795346017935 * 10**6]
    assert found.uids == ["i"] * 3
    assert found.logs[0].event_name == "call"
    assert b"secret" not in bodies[0].data
    assert "token" not in found.bodies[0]["properties"]


def test_what_is_no_mixpanel_event_is_set_aside(read: Reader) -> None:
    """Without name or properties it is a reject; the token is in no reject of an event either."""
    found = read(
        transcode([{"event": "call"}, {"properties": {"token": "secret"}}, {"event": 1, "properties": {}}], "mixpanel")
    )

    assert found.reasons == ["undecodable_item"] * 3
    assert all(b"secret" not in reject.item for reject in found.rejects)


def test_the_users_fields_are_for_events_of_his_own(read: Reader) -> None:
    """Formats that say where id and time are, keep to it."""
    options = EventOptions(id_field="x", timestamp_field="y")

    found = read(transcode([{"event_type": "a", "insert_id": "i", "time": 1}], "amplitude", options))

    assert (found.uids, found.times) == (["i"], [10**6])
