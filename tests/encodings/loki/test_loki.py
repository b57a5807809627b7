"""
Loki's push requests as log records: both encodings, labels as text, what cannot be a record.
"""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline._proto.meterline.intake.v1.rejects_pb2 import Rejects
from meterline.api import Body, Format, TooLargeError, UndecodableError
from meterline.encodings.loki import read_json, read_protobuf, transcode
from meterline.encodings.loki_labels import parse_labels
from meterline.testing.cost import least_cpu_secs
from meterline.testing.remote_write import field, varint

NS = 1_795_346_017_935_926_001


def entry(line: str | bytes, ns: int = NS, metadata: dict[str, str] | None = None) -> bytes:
    """
    Return an EntryAdapter as Loki's clients write it.
    """
    seconds, nanos = divmod(ns, 10**9)
    stamp = varint(1 << 3) + varint(seconds) + (varint(2 << 3) + varint(nanos) if nanos else b"")
    pairs = [field(3, field(1, name) + field(2, value)) for name, value in (metadata or {}).items()]
    return field(2, field(1, stamp) + field(2, line) + b"".join(pairs))


def push(labels: str | bytes, *entries: bytes) -> bytes:
    """
    Return a PushRequest of one stream, with the hash that Alloy adds.
    """
    return field(1, field(1, labels) + b"".join(entries) + varint(3 << 3) + varint(2**63 + 5))


def plain(value: Any) -> Any:
    """
    Return an AnyValue as data.
    """
    return getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else None


def records(bodies: list[Body]) -> list[tuple[int, Any, dict[str, Any]]]:
    """
    Return (time, body, attributes) of all records.
    """
    found = []
    for body in bodies:
        if body.fmt is Format.OTLP_LOGS:
            message = ExportLogsServiceRequest.FromString(body.data)
            logs = [log for r in message.resource_logs for s in r.scope_logs for log in s.log_records]
            found += [
                (log.time_unix_nano, plain(log.body), {pair.key: plain(pair.value) for pair in log.attributes})
                for log in logs
            ]
    return found


def refused(bodies: list[Body]) -> list[tuple[str, dict[str, Any]]]:
    """
    Return (reason, item) of all rejects.
    """
    items = [item for body in bodies if body.fmt is Format.REJECTS for item in Rejects.FromString(body.data).rejects]
    return [(item.reason, json.loads(item.item)) for item in items]


def test_a_line_is_the_body_and_labels_and_metadata_are_attributes() -> None:
    """
    To the nanosecond; the metadata holds where a label has its name; the tenant is the resource's.
    """
    lines = entry('{"n":1}', metadata={"trace": "x", "app": "inner"}), entry("plain", NS + 1)
    bodies = transcode(read_protobuf(push('{job="usage", app="outer"}', *lines)), "t1")

    assert records(bodies) == [
        (NS, '{"n":1}', {"job": "usage", "app": "inner", "trace": "x"}),
        (NS + 1, "plain", {"job": "usage", "app": "outer"}),
    ]
    resource = ExportLogsServiceRequest.FromString(bodies[0].data).resource_logs[0].resource
    assert [(pair.key, plain(pair.value)) for pair in resource.attributes] == [("tenant.id", "t1")]


def test_json_says_the_same_as_protobuf() -> None:
    """
    The same streams in both encodings make the same bodies.
    """
    document = {
        "streams": [
            {
                "stream": {"job": "usage"},
                "values": [[str(NS), "line \u00e9\n"], [str(NS + 1), "two", {"uid": "u"}], [NS + 2, ""]],
            }
        ]
    }
    lines = entry("line \u00e9\n"), entry("two", NS + 1, {"uid": "u"}), entry("", NS + 2)

    assert transcode(read_json(json.dumps(document).encode()), "t") == transcode(
        read_protobuf(push('{job="usage"}', *lines)), "t"
    )


def test_the_form_before_loki_1() -> None:
    """
    ``labels`` as text and ``entries`` with RFC 3339 times.
    """
    document = {
        "streams": [{"labels": '{job="a"}', "entries": [{"ts": "2026-11-22T11:00:00.123456789Z", "line": "x"}]}]
    }

    assert records(transcode(read_json(json.dumps(document).encode()), "")) == [
        (1_795_345_200_123_456_789, "x", {"job": "a"})
    ]


def test_a_time_of_the_old_form_that_is_none_is_set_aside() -> None:
    """
    It is not the time 0.
    """
    document = {"streams": [{"labels": "{}", "entries": [{"ts": "soon", "line": "x"}, {"ts": 5, "line": "y"}]}]}

    bodies = transcode(read_json(json.dumps(document).encode()), "")

    assert [reason for reason, _ in refused(bodies)] == ["undecodable_item"] * 2
    assert records(bodies) == []


def test_labels_that_are_no_texts_become_texts() -> None:
    """
    As pino-loki writes them.
    """
    document = {"streams": [{"stream": {"n": 5, "yes": True, "f": 1.5, "long": "@"}, "values": [[str(NS), "x"]]}]}
    long = "0.1000000000000000055511151231257827"

    ((_, _, labels),) = records(transcode(read_json(json.dumps(document).replace('"@"', long).encode()), ""))

    assert labels == {"n": "5", "yes": "true", "f": "1.5", "long": long}


def test_equal_lines_are_records_of_their_own() -> None:
    """
    Two equal lines of one instant stay two; telling them apart is the rule's affair.
    """
    assert len(records(transcode(read_protobuf(push("{}", entry("x"), entry("x"))), ""))) == 2


def test_a_request_without_lines_makes_no_body() -> None:
    """
    Nothing to submit.
    """
    assert transcode(read_protobuf(b""), "") == transcode(read_json(b'{"streams": []}'), "") == []
    assert transcode(read_protobuf(push('{a="b"}')), "") == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"streams": null}',
        b'{"streams": [{"stream": {}, "values": null}]}',
        b'{"streams": [{"labels": "{}", "entries": null}]}',
    ],
)
def test_null_is_an_empty_list(body: bytes) -> None:
    """
    Go's encoder writes it so; nothing is refused, and nothing set aside.
    """
    assert transcode(read_json(body), "") == []


def test_a_stream_without_values_is_set_aside() -> None:
    """
    Whatever its lines are called, they are not lost in an answer of success.
    """
    ((reason, item),) = refused(transcode(read_json(b'{"streams": [{"stream": {"a": "b"}, "lines": ["x"]}]}'), ""))

    assert reason == "undecodable_item"
    assert '"lines": ["x"]' in item["line"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (["soon", "x"], "undecodable_item"),
        ([True, "x"], "undecodable_item"),
        ([1.5, "x"], "undecodable_item"),
        (["1" * 30, "x"], "undecodable_item"),
        (["-5", "x"], "time_in_past"),
        (["99999999999999999999", "x"], "time_in_future"),
        ([str(NS)], "undecodable_item"),
        ([str(NS), 5], "undecodable_item"),
        ([str(NS), "x", ["meta"]], "undecodable_item"),
        ("x", "undecodable_item"),
        (None, "undecodable_item"),
    ],
)
def test_an_entry_that_is_none_is_rejected_alone(value: Any, reason: str) -> None:
    """
    Its neighbours pass.
    """
    document = {"streams": [{"stream": {"a": "b"}, "values": [value, [str(NS), "good"]]}]}

    bodies = transcode(read_json(json.dumps(document).encode()), "")

    assert [found for found, _ in refused(bodies)] == [reason]
    assert [line for _, line, _ in records(bodies)] == ["good"]


def test_a_time_of_zero_is_left_to_the_kernel() -> None:
    """
    It is quarantined there as missing.
    """
    document = {"streams": [{"stream": {}, "values": [["0", "x"]]}]}

    assert records(transcode(read_json(json.dumps(document).encode()), "")) == [(0, "x", {})]


@pytest.mark.parametrize("labels", ["job", "{job}", '{job="x"', '{job="x"} y', b'{job="\xff"}', '{a="\\q"}', "{=}"])
def test_labels_that_are_none_reject_the_lines_of_their_stream(labels: str | bytes) -> None:
    """
    Other streams of the request pass.
    """
    bodies = transcode(read_protobuf(push(labels, entry("x"), entry("y")) + push('{a="b"}', entry("good"))), "")

    assert [(reason, item["line"]) for reason, item in refused(bodies)] == [
        ("undecodable_item", "x"),
        ("undecodable_item", "y"),
    ]
    assert [line for _, line, _ in records(bodies)] == ["good"]


@pytest.mark.parametrize(
    "stream", [5, {"stream": {"a": [1]}, "values": [[str(NS), "x"]]}, {"values": [[str(NS), "x"]]}]
)
def test_a_stream_that_is_none_is_rejected_alone(stream: Any) -> None:
    """
    No object, or labels that are no texts.
    """
    document = {"streams": [stream, {"stream": {}, "values": [[str(NS), "good"]]}]}

    bodies = transcode(read_json(json.dumps(document).encode()), "")

    assert len(refused(bodies)) == 1
    assert [line for _, line, _ in records(bodies)] == ["good"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"logs": []}',
        b'{"streams": 5}',
        b'{"streams": {}}',
        b"\xff",
        b'{"streams": []} x',
    ],
)
def test_what_is_no_push_request_is_refused(body: bytes) -> None:
    """
    As a whole, since nothing of it can be read.
    """
    with pytest.raises(UndecodableError):
        list(read_json(body))


def test_a_line_that_is_not_utf8_reaches_the_kernel_as_it_is() -> None:
    """
    The kernel quarantines it as bad_utf8; its neighbours are records.
    """
    (body,) = transcode(read_protobuf(push("{}", entry(b"\xff\xfe"), entry("good"))), "")

    assert b"\xff\xfe" in body.data


def test_metadata_that_is_not_utf8_rejects_its_line_alone() -> None:
    """
    Attributes must be text.
    """
    bad = field(2, field(1, varint(1 << 3) + varint(1)) + field(2, "x") + field(3, field(1, "k") + field(2, b"\xff")))

    bodies = transcode(read_protobuf(push("{}", bad, entry("good"))), "")

    assert [reason for reason, _ in refused(bodies)] == ["undecodable_item"]
    assert [line for _, line, _ in records(bodies)] == ["good"]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("{}", {}),
        (" { } ", {}),
        ('{job="x"}', {"job": "x"}),
        ('{job="x",}', {"job": "x"}),
        ('{ a = "1" , b = "2" }', {"a": "1", "b": "2"}),
        (r'{path="C:\\logs\t\"q\""}', {"path": 'C:\\logs\t"q"'}),
        (r'{u="\u00e9\x41\101\U0001F600"}', {"u": "\u00e9AA\U0001f600"}),
        (r'{u="\xc3\xa9"}', {"u": "\u00e9"}),
        ('{raw=`a"b\\n`}', {"raw": 'a"b\\n'}),
        ("{raw=`a\r\nb`}", {"raw": "a\nb"}),
        ('{a="}", b=","}', {"a": "}", "b": ","}),
        ('{service.name="x"}', {"service.name": "x"}),
        ('{a="1", a="2"}', {"a": "2"}),
    ],
)
def test_label_sets_as_text(text: str, labels: dict[str, str]) -> None:
    """
    Go's quoted strings with all their escapes, and raw ones.
    """
    assert parse_labels(text) == labels


@given(labels=st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), st.text(max_size=8), max_size=4))
def test_quoted_labels_come_back(labels: dict[str, str]) -> None:
    """
    Whatever a value holds.
    """
    quoted = ", ".join(
        f"{name}={json.dumps(value)}" for name, value in labels.items() if "\\u" not in json.dumps(value)
    )
    kept = {name: value for name, value in labels.items() if "\\u" not in json.dumps(value)}

    assert parse_labels("{" + quoted + "}") == kept


@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """
    Nothing but a refusal for good comes out.
    """
    for read in (read_protobuf, read_json):
        try:
            transcode(read(body), "")
        except UndecodableError:
            continue


@given(text=st.text(max_size=60))
def test_any_text_is_labels_or_none(text: str) -> None:
    """
    Nothing but ValueError comes out.
    """
    try:
        parse_labels("{" + text)
    except ValueError:
        return


def test_hostile_labels_cost_linear_time() -> None:
    """
    Ten times the text takes about ten times as long.
    """

    def refuse(size: int) -> None:
        for text in ('{a="' + "\\" * size, "{" + " " * size, '{a="' + "b" * size, "{" + 'a="b",' * (size // 6)):
            with pytest.raises(ValueError, match="labels"):
                parse_labels(text)

    took = [least_cpu_secs(partial(refuse, size)) for size in (20_000, 200_000)]
    assert took[1] < 40 * took[0]


def test_labels_that_multiply_and_tiny_lines_are_too_large() -> None:
    """
    What would take far more memory than the request is refused.
    """
    with pytest.raises(TooLargeError):
        transcode(read_protobuf(push('{a="' + "x" * 60_000 + '"}', *[entry("x")] * 3_000)), "")
    with pytest.raises(TooLargeError):
        transcode(read_protobuf(push("{}", *[field(2, b"")] * 20_000)), "", limit=10**6)
    with pytest.raises(TooLargeError):
        transcode(read_protobuf(push("none", *[field(2, b"")] * 20_000)), "", limit=10**6)


@pytest.mark.parametrize("time", ["1e999999999", "-1e999999999", "1e-999999999", "9" * 4000])
def test_a_time_without_measure_is_no_time(time: str) -> None:
    """A number that arithmetic cannot hold is no time; its entry is set aside, and the others are read."""
    body = f'{{"streams": [{{"stream": {{"a": "b"}}, "values": [[{time}, "x"], ["{NS}", "y"]]}}]}}'
    made = transcode(read_json(body.encode()), "")
    assert [(ns, line) for ns, line, _ in records(made)] == [(NS, "y")]
    assert len(refused(made)) == 1
