"""
Bodies of agents that cannot run here, byte by byte as those programs write them. Facts: Vector 0.58 (sink ``http``), Logstash
9.6 (output ``http`` 6.0.1), Fluent Bit 5.1.1 (output ``http``).

Only the time is put in, since a body from last year is rightly in quarantine. The log events of each body are three calls of
customer ``acme`` with the quantities 5, 0.25 and 10, so that each comes to 15.25; ``sum`` of a metric is said with it.
"""

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgpack

TOTAL: Final = "15.25"


class Golden(NamedTuple):
    """
    One request. ``headers``: those of the agent that matter.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes


def iso(time: int, places: int) -> str:
    """
    Return a time in ns as RFC 3339 in UTC, with so many digits after the point (3 to 9).
    """
    seconds, nanos = divmod(time, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}"[: 20 + places] + "Z"


def vector_logs(time: int) -> Golden:
    """
    Return log events of ``encoding.codec: json``: an array, the events' own fields in alphabetical order.
    """
    event = (
        '{{"call":"{call}","customer":"acme","file":"/var/log/usage.jsonl","host":"web-1","message":"call","quantity":{quantity},'
        '"source_type":"file","timestamp":"{time}"}}'
    )
    events = (
        event.format(call="c1", quantity="5", time=iso(time, 9)),
        event.format(call="c2", quantity="0.25", time=iso(time + 1, 9)),
        event.format(call="c3", quantity="10.0", time=iso(time + 2, 9)),
    )
    headers = {"content-type": "application/json", "user-agent": "Vector/0.58.0 (x86_64-unknown-linux-gnu)"}
    return Golden("/v1/vector", headers, b"[" + ",".join(events).encode() + b"]")


def vector_metrics(time: int) -> Golden:
    """
    Return metric events as NDJSON, one of every kind: ``api_calls`` sums up to 15.25 in three increments.
    """
    head = '{{"name":"{name}","namespace":"app","tags":{tags},"timestamp":"{time}",'
    tags = '{"customer":"acme","host":"web-1","resource.service.name":"shop"}'
    window = '"interval_ms":10000,"kind":"incremental",'
    at = [iso(time + n * 10**10, 3) for n in range(3)]
    lines = [
        head.format(name="api_calls", tags=tags, time=at[0]) + window + '"counter":{"value":5.0}}',
        head.format(name="api_calls", tags=tags, time=at[1]) + window + '"counter":{"value":0.25}}',
        head.format(name="api_calls", tags=tags, time=at[2]) + window + '"counter":{"value":10.0}}',
        head.format(name="uptime", tags=tags, time=at[0]) + '"kind":"absolute","counter":{"value":100.0}}',
        head.format(name="load", tags='{"customer":["acme",null]}', time=at[0])
        + '"kind":"absolute","gauge":{"value":1.5}}',
        head.format(name="load", tags=tags, time=at[0]) + '"kind":"incremental","gauge":{"value":-0.5}}',
        head.format(name="users", tags=tags, time=at[0]) + '"kind":"incremental","set":{"values":["alice","bob"]}}',
        head.format(name="sizes", tags=tags, time=at[0])
        + '"kind":"incremental","distribution":{"samples":[{"value":10.0,"rate":1},{"value":0.1,"rate":3}],'
        '"statistic":"histogram"}}',
        head.format(name="times", tags=tags, time=at[0])
        + '"kind":"incremental","aggregated_histogram":{"buckets":[{"upper_limit":1.0,"count":2},'
        '{"upper_limit":"inf","count":1}],"count":3,"sum":4.0}}',
        head.format(name="rtt", tags=tags, time=at[0])
        + '"kind":"absolute","aggregated_summary":{"quantiles":[{"quantile":0.5,"value":10.0}],"count":1,"sum":10.0}}',
        head.format(name="sketched", tags=tags, time=at[0])
        + '"kind":"incremental","sketch":{"sketch":{"AgentDDSketch":{"bins":{"k":[1338,1495],"n":[1,1]},"count":2,'
        '"min":1.0,"max":10.0,"sum":11.0,"avg":5.5}}}}',
    ]
    return Golden("/v1/vector", {"content-type": "application/x-ndjson"}, "\n".join(lines).encode())


def logstash(time: int) -> Golden:
    """
    Return ``format => "json_batch"`` with ECS v8; one quantity went through ``mapping`` and is text; 3, 6 and 9 digits.
    """
    rest = '"@version":"1","host":{"name":"web-1"},"log":{"file":{"path":"/var/log/usage.jsonl"}}'
    events = (
        (
            f'{{"message":"call","quantity":5,"customer":"acme","event":{{"id":"c1","original":"call"}},{rest},'
            f'"@timestamp":"{iso(time, 3)}"}}'
        ),
        f'{{"@timestamp":"{iso(time + 1000, 6)}","event":{{"id":"c2"}},"customer":"acme","quantity":"0.25",{rest}}}',
        (
            f'{{"customer":"acme",{rest},"tags":["_grokparsefailure"],"quantity":10.0,"event":{{"id":"c3"}},'
            f'"@timestamp":"{iso(time + 1, 9)}"}}'
        ),
    )
    headers = {"content-type": "application/json", "user-agent": "Manticore 0.9.1"}
    return Golden("/v1/logstash", headers, b"[" + ",".join(events).encode() + b"]")


def logstash_form(time: int) -> Golden:
    """
    Return ``format => "form"`` of one event: everything is text.
    """
    stamp = iso(time, 3).replace(":", "%3A")
    body = f"%40timestamp={stamp}&%40version=1&customer=acme&quantity=15.25&call=f1&message=a+call"
    return Golden("/v1/logstash", {"content-type": "application/x-www-form-urlencoded"}, body.encode())


def _floated(time: int) -> str:
    """
    Return a time as Fluent Bit prints its double: what is below a microsecond is lost, zeros at the end are cut.
    """
    text = f"{time // 10**9}.{time % 10**9 // 1000:06d}"
    return text.rstrip("0").rstrip(".") if text.endswith("0") else text


def fluent_bit_json(time: int) -> Golden:
    """
    Return ``format json``: an array, ``date`` as a float of seconds.
    """
    calls = (("c1", "5"), ("c2", "0.25"), ("c3", "10.0"))
    events = [
        f'{{"date":{_floated(time + n * 1000)},"customer":"acme","call":"{call}","quantity":{quantity}}}'
        for n, (call, quantity) in enumerate(calls)
    ]
    headers = {"content-type": "application/json", "user-agent": "Fluent-Bit"}
    return Golden("/v1/events/fluent-bit", headers, b"[" + ",".join(events).encode() + b"]")


def fluent_bit_lines(time: int, separator: str = "\n") -> Golden:
    """
    Return ``format json_lines`` with ``json_date_format iso8601``; with no separator it is ``json_stream``.
    """
    calls = (("c1", "5"), ("c2", "0.25"), ("c3", "10.0"))
    events = [
        f'{{"date":"{iso(time + n * 1000, 6)}","customer":"acme","call":"{call}","quantity":{quantity}}}{separator}'
        for n, (call, quantity) in enumerate(calls)
    ]
    kind = "application/x-ndjson" if separator else "application/json"
    return Golden("/v1/events/fluent-bit", {"content-type": kind}, "".join(events).encode())


def fluent_bit_msgpack(time: int) -> Golden:
    """
    Return ``format msgpack``: ``[[EventTime, {}], record]``, and one ``[EventTime, record]`` as older releases write it.
    """
    stamp = msgpack.ExtType(0, struct.pack(">II", *divmod(time, 10**9)))
    records = [{"customer": "acme", "call": f"c{n}", "quantity": value} for n, value in enumerate((5, 0.25, 10.0))]
    entries: list[object] = [[[stamp, {}], record] for record in records[:2]] + [[stamp, records[2]]]
    body = b"".join(msgpack.packb(entry) for entry in entries)
    return Golden("/v1/events/fluent-bit", {"content-type": "application/msgpack"}, body)
