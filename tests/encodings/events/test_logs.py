"""
Events of Logstash, Fluent Bit, and whoever writes JSON.
"""

import json
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgpack
import pytest

from meterline.encodings.events import EventOptions, Sent, read_body, transcode, transcode_fluent
from meterline.errors import TooLargeError, UndecodableError
from meterline.testing import agent_bodies
from meterline.testing.agent_bodies import Golden, iso
from meterline.testing.cost import cpu_secs

NOW = 1_795_346_017_935_926_123
US = 1000
Reader = Callable[[Any], Any]


def made(golden: Golden, encoding: Any, **options: Any) -> Any:
    """
    Transcode a golden body.
    """
    return transcode(read_body(golden.body, golden.headers["content-type"]), encoding, EventOptions(**options))


def sent(*documents: Any, encoding: Any = "auto", options: EventOptions | None = None) -> Any:
    """
    Transcode documents that went through JSON.
    """
    return transcode(read_body(json.dumps(documents).encode()), encoding, options or EventOptions())


def test_logstash_batches(read: Reader) -> None:
    """ECS events with 3, 6 and 9 digits of time; a number that became text stays text; ``event.id`` is the identity."""
    found = read(made(agent_bodies.logstash(NOW), "logstash"))

    assert found.times == [NOW // 10**6 * 10**6, (NOW + US) // US * US, NOW + 1]
    assert [body["quantity"] for body in found.bodies] == [5, "0.25", 10.0]
    assert found.uids == ["c1", "c2", "c3"]
    assert found.bodies[0]["@version"] == "1"
    assert found.bodies[2]["tags"] == ["_grokparsefailure"]


def test_logstash_without_ecs(read: Reader) -> None:
    """In legacy mode ``host`` is a text; nothing needs it to be more."""
    found = read(sent({"@timestamp": iso(NOW, 3), "@version": "1", "host": "h", "path": "/x"}, encoding="logstash"))

    assert found.bodies[0]["host"] == "h"
    assert found.times == [NOW // 10**6 * 10**6]


def test_logstash_forms(read: Reader) -> None:
    """A urlencoded event is one of texts."""
    found = read(made(agent_bodies.logstash_form(NOW), "logstash", id_field="call"))

    assert found.times == [NOW // 10**6 * 10**6]
    assert found.bodies[0]["quantity"] == "15.25"
    assert found.bodies[0]["message"] == "a call"
    assert found.uids == ["f1"]


def test_a_plain_message_is_an_event_without_time(read: Reader) -> None:
    """Logstash's ``message`` format is one text per request, line ends included; Vector's text codec is a line per event."""
    logstash = read(transcode(read_body(b"5 calls\nof acme", "text/plain", lines=False), "logstash"))
    vector = read(transcode(read_body(b"one\n\ntwo\n", "text/plain"), "vector"))

    assert logstash.bodies == [{"message": "5 calls\nof acme"}]
    assert vector.bodies == [{"message": "one"}, {"message": "two"}]
    assert logstash.times == [0]


def test_a_message_that_is_json_is_read_as_such(read: Reader) -> None:
    """A JSON template in Logstash's ``message`` keeps its text/plain unless the user says otherwise."""
    body = b'{"@timestamp":"2026-11-22T11:00:00.000Z","n":1}'

    assert read(transcode(read_body(body, "text/plain", lines=False), "logstash")).bodies[0]["n"] == 1


def test_fluent_bit_json_has_float_seconds(read: Reader) -> None:
    """``date`` is read from its digits, so that the time is what was written, to the microsecond that Fluent Bit keeps."""
    golden = agent_bodies.fluent_bit_json(NOW)
    found = read(made(golden, "fluent_bit"))

    assert b'"date":1795346017.935926' in golden.body
    assert found.times == [NOW // US * US, NOW // US * US + US, NOW // US * US + 2 * US]
    assert [body["quantity"] for body in found.bodies] == [5, 0.25, 10.0]


def test_two_events_can_have_one_float_date(read: Reader) -> None:
    """What Fluent Bit prints of two times within a microsecond is one text: no identity can be made of it."""
    first, second = (agent_bodies.fluent_bit_json(time).body for time in (NOW, NOW + 1))

    assert first == second
    assert read(transcode(read_body(first), "fluent_bit")).uids == [None, None, None]


@pytest.mark.parametrize("separator", ["\n", ""])
def test_fluent_bit_lines_and_stream(read: Reader, separator: str) -> None:
    """``json_lines`` and ``json_stream`` with ISO dates give the same."""
    found = read(made(agent_bodies.fluent_bit_lines(NOW, separator), "fluent_bit", id_field="call"))

    assert found.times == [NOW // US * US + n * US for n in range(3)]
    assert found.uids == ["c1", "c2", "c3"]


@pytest.mark.parametrize(
    ("date", "time"),
    [
        (1795346017, 1795346017 * 10**9),
        (1795346017935, 1795346017935 * 10**6),
        ("2026-11-22 11:13:37.935926", 1795346017935926 * US),
        ("1795346017.5", 1795346017500000000),
    ],
)
def test_all_date_formats_of_fluent_bit(read: Reader, date: Any, time: int) -> None:
    """``epoch``, ``epoch_ms``, ``java_sql_timestamp``, and a date that a filter made text of."""
    assert read(sent({"date": date}, encoding="fluent_bit")).times == [time]


def test_gelf_is_json(read: Reader) -> None:
    """GELF's ``timestamp`` is float seconds; its level is a number and no severity text."""
    found = read(
        sent({"version": "1.1", "short_message": "m", "timestamp": 1795346017.25, "level": 6}, encoding="fluent_bit")
    )

    assert found.times == [1795346017250000000]
    assert found.logs[0].severity_text == ""


def test_fluent_bit_msgpack_keeps_nanoseconds(read: Reader) -> None:
    """EventTime is exact, with metadata and in the older form without."""
    found = read(transcode_fluent(agent_bodies.fluent_bit_msgpack(NOW).body, EventOptions(id_field="call")))

    assert found.times == [NOW] * 3
    assert found.uids == ["c0", "c1", "c2"]
    assert [body["quantity"] for body in found.bodies] == [5, 0.25, 10.0]


def test_msgpack_that_is_cut_keeps_what_is_whole(read: Reader) -> None:
    """A broken rest is one reject; its neighbours pass."""
    whole = agent_bodies.fluent_bit_msgpack(NOW).body

    found = read(transcode_fluent(whole[:-3]))

    assert len(found.logs) == 2
    assert found.reasons == ["undecodable_item"]


@pytest.mark.parametrize("data", [b"\xc1", b'{"a":1}', b"\x93\x01\x02", msgpack.packb([1, 2])])
def test_no_msgpack_at_all_is_refused(data: bytes) -> None:
    """A body without a single entry is refused whole: the sender has the wrong format, not a bad event."""
    with pytest.raises(UndecodableError):
        transcode_fluent(data)


def test_msgpack_without_time_takes_none(read: Reader) -> None:
    """Without a time the record has none; or when it came, if the user says so."""
    data = msgpack.packb([None, {"a": 1}])

    kept = read(transcode_fluent(data, EventOptions(), Sent("", NOW)))
    stamped = read(transcode_fluent(data, EventOptions(received=True), Sent("", NOW)))

    assert (kept.times, kept.logs[0].observed_time_unix_nano) == ([0], 0)
    assert (stamped.times, stamped.logs[0].observed_time_unix_nano) == ([0], NOW)


@pytest.mark.parametrize(
    ("event", "time"),
    [
        ({"@timestamp": iso(NOW, 9), "timestamp": 1}, NOW),
        ({"timestamp": iso(NOW, 9), "time": 1}, NOW),
        ({"time": 1795346017, "ts": 1}, 1795346017 * 10**9),
        ({"ts": 1795346017935, "date": 1}, 1795346017935 * 10**6),
        ({"date": 1795346017935926}, 1795346017935926 * 10**3),
        ({"timestamp": "soon", "time": NOW}, NOW),
        ({"created": NOW}, 0),
    ],
)
def test_auto_finds_the_time(read: Reader, event: Any, time: int) -> None:
    """The documented order: @timestamp, timestamp, time, ts, date; the first that can be read."""
    assert read(sent(event)).times == [time]


def test_only_what_has_no_time_takes_that_of_its_reception(read: Reader) -> None:
    """``received``: an observed time, which a resend does not share, is given to nothing that has a time of its own."""
    events = [{"n": 1}, {"n": 2, "time": "2026-11-22T11:13:37Z"}, {"n": 3, "time": "soon"}]

    found = read(transcode(events, options=EventOptions(received=True), sent=Sent("", NOW)))

    assert [(log.time_unix_nano, log.observed_time_unix_nano) for log in found.logs] == [
        (0, NOW),
        (1_795_346_017 * 10**9, 0),
        (0, NOW),
    ]


def test_the_user_says_where_time_and_id_are(read: Reader) -> None:
    """Named fields are the only ones, nested or with dots in their name."""
    options = EventOptions(id_field="meta.id", timestamp_field="meta.at", timestamp_format="ms")
    found = read(
        sent(
            {"meta": {"id": "a", "at": 1795346017935}, "timestamp": iso(NOW, 9)},
            {"meta.id": 7, "meta.at": "1795346017935"},
            {"timestamp": iso(NOW, 9), "log.record.uid": "x"},
            options=options,
        )
    )

    assert found.times == [1795346017935 * 10**6] * 2 + [0]
    assert found.uids == ["a", "7", None]


@pytest.mark.parametrize(
    ("event", "uid"),
    [
        ({"log.record.uid": "u"}, "u"),
        ({"log": {"record": {"uid": "u"}}}, "u"),
        ({"event": {"id": "u"}}, "u"),
        ({"event.id": 12345678901234567890}, "12345678901234567890"),
        ({"event": {"id": ""}}, None),
        ({"event": {"id": 1.5}}, None),
        ({"event": {"id": True}}, None),
        ({"id": "u"}, None),
    ],
)
def test_auto_finds_the_id(read: Reader, event: Any, uid: Any) -> None:
    """``log.record.uid``, then ECS's ``event.id``; a plain ``id`` may be anything, so it is not guessed."""
    assert read(sent(event)).uids == [uid]


def test_severity_is_the_level(read: Reader) -> None:
    """Rules can match the severity of whatever calls it so."""
    found = read(sent({"level": "info"}, {"severity": "WARN", "level": "x"}, {"log": {"level": "debug"}}, {"level": 3}))

    assert [log.severity_text for log in found.logs] == ["info", "WARN", "debug", ""]


def test_tenant_is_a_resource_attribute(read: Reader) -> None:
    """The tenant that the listener has checked stands where rules find it, for logs and metrics."""
    documents = [{"a": 1}, {"name": "m", "kind": "absolute", "gauge": {"value": 1}}]

    found = read(transcode([documents], "auto", EventOptions(), Sent("acme")))

    assert found.resources == [{"tenant.id": "acme"}] * 2


def test_auto_knows_what_it_is_given(read: Reader) -> None:
    """OTLP/JSON requests, CloudEvents, Vector's metrics and plain events in one array each go their way."""
    otlp = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1", "body": {"stringValue": "otlp"}}]}]}]}
    cloud = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": 1}}
    gauge = {"name": "m", "kind": "absolute", "gauge": {"value": 1.5}}

    found = read(sent(otlp, cloud, gauge, {"n": 2}))

    assert found.bodies == ["otlp", {"n": 1}, {"n": 2}]
    assert len(found.metrics) == 1
    assert found.rejects == []


def test_numbers_in_events_are_exact(read: Reader) -> None:
    """Integers beyond 64 bits and decimals beyond a double become the text of the number, which rules read as it is."""
    body = b'{"a":9007199254740993,"b":123456789012345678901,"c":0.12345678901234567890,"d":0.1,"e":NaN}'

    (found,) = read(transcode(read_body(body))).bodies

    assert found["a"] == 9007199254740993
    assert (found["b"], found["d"]) == ("123456789012345678901", 0.1)
    assert Decimal(found["c"]) == Decimal("0.12345678901234567890")
    assert found["e"] != found["e"]  # NaN: the kernel quarantines the record where a rule reads it


def test_what_is_no_event_is_set_aside_alone(read: Reader) -> None:
    """Scalars, and lists too deep in lists, are rejects with their bytes; their neighbours pass."""
    found = read(sent({"n": 1}, 5, "text", None, [[{"n": 3}]], {"n": 2}))

    assert [body["n"] for body in found.bodies] == [1, 2]
    assert [reject.item for reject in found.rejects] == [b"5", b'"text"', b"null", b'[{"n":3}]']
    assert set(found.reasons) == {"unsupported_item"}


def test_an_integer_of_any_length_costs_nobody_else(read: Reader) -> None:
    """Thousands of digits are a text in their event; a rule that bills it quarantines that event."""
    found = read(transcode(read_body(b'[{"n":1},{"n":' + b"9" * 5000 + b'},{"n":2}]')))

    assert [body["n"] for body in found.bodies] == [1, "9" * 5000, 2]


def test_a_too_deep_event_is_set_aside_alone(read: Reader) -> None:
    """An event nested deeper than any record may be costs nobody else."""
    deep = b'{"a":' * 200 + b"1" + b"}" * 200

    found = read(transcode(read_body(b'[{"n":1},' + deep + b',{"n":2}]')))

    assert [body["n"] for body in found.bodies] == [1, 2]
    assert found.reasons == ["too_deep"]
    assert found.rejects[0].item == deep


def test_a_broken_line_is_set_aside_alone(read: Reader) -> None:
    """A line of NDJSON that is no JSON is one reject with its bytes; its neighbours pass."""
    body = b'{"n":1}\n{"n":\n\n{"n":2}{"n":3}x\n7\n{"n":4}\n'

    found = read(transcode(read_body(body)))

    assert [item["n"] for item in found.bodies] == [1, 2, 3, 4]
    assert [reject.item for reject in found.rejects] == [b'{"n":', b'{"n":2}{"n":3}x', b"7"]
    assert set(found.reasons) == {"undecodable_item"}


def test_what_follows_a_broken_item_is_set_aside(read: Reader) -> None:
    """What came before the break in an array counts; the rest, which cannot be told apart, is one reject."""
    for rest in (b'{"n":}, {"n":3}]', b'{"n":', b"", b'{"n":3} {"n":4}]'):
        found = read(transcode(read_body(b'[{"n":1}, {"n":2}, ' + rest)))

        assert [item["n"] for item in found.bodies][:2] == [1, 2]
        assert found.reasons == ["undecodable_item"]
        assert rest.endswith(found.rejects[0].item)


def test_many_scalars_do_not_vanish(read: Reader) -> None:
    """However many items are no events, each is a reject, and the event after them counts."""
    found = read(transcode(read_body(json.dumps([*range(3000), {"n": 1}]).encode())))

    assert (len(found.rejects), len(found.logs)) == (3000, 1)


def test_a_line_that_is_no_utf8_is_set_aside_alone(read: Reader) -> None:
    """One line in another encoding costs itself."""
    found = read(transcode(read_body(b'{"n":1}\n{"n":"\xe9"}\n{"n":2}\n')))

    assert [item["n"] for item in found.bodies] == [1, 2]
    assert [reject.item for reject in found.rejects] == [b'{"n":"\xe9"}']


def test_broken_lines_take_linear_time() -> None:
    """A hundred thousand lines that each open what they never close are looked at once each."""
    body = b'{"n":1}\n' + b'{"a":[{"b":\n' * 100_000

    assert cpu_secs(lambda: transcode(read_body(body))) < 10


@pytest.mark.parametrize("body", [b"{", b"not json", b"{\n{\n{", b"\xff", b"[1,", b"1\nx"])
def test_a_body_that_says_nothing_is_refused(body: bytes) -> None:
    """Only a body of which nothing can be read is refused for good."""
    with pytest.raises(UndecodableError):
        transcode(read_body(body))


def test_pretty_printed_json_is_one_document(read: Reader) -> None:
    """Line ends within a document are no ends of documents."""
    body = json.dumps([{"n": 1}, {"n": 2}], indent=2).encode()

    assert [item["n"] for item in read(transcode(read_body(body))).bodies] == [1, 2]


def test_an_empty_body_is_nothing() -> None:
    """No event is no mistake."""
    assert transcode(read_body(b"")) == []
    assert transcode(read_body(b"[]")) == []


def test_values_without_end_are_refused() -> None:
    """A body of millions of empty objects is refused before they are made."""
    with pytest.raises(TooLargeError):
        read_body(b"[" + b"{}," * 4_000_001 + b"{}]")


def test_bytes_that_json_cannot_say_are_kept(read: Reader) -> None:
    """A lone surrogate stays bytes that are no UTF-8, which the kernel quarantines, and a reject of it stays JSON."""
    found = transcode(read_body(b'[{"a":"\\ud800"},"\\ud800"]'))

    assert b"\xed\xa0\x80" in found[0].data
    assert read(found[1:]).rejects[0].item == b'"\\ud800"'


def test_event_time_far_away_is_no_marker(read: Reader) -> None:
    """Fluent Bit's marks of groups are no events."""
    start = msgpack.ExtType(0, struct.pack(">iI", -1, 0))
    entries = [
        [[start, {}], {"resource": {"attributes": {"a": 1}}}],
        [[msgpack.ExtType(0, struct.pack(">II", 5, 6)), {}], {}],
    ]

    found = read(transcode_fluent(b"".join(msgpack.packb(entry) for entry in entries)))

    assert (len(found.logs), found.times) == (1, [5_000_000_006])
