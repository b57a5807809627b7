"""
What Prometheus 2.42, Grafana Agent, Alloy and Fluent Bit write to remote write and Loki endpoints, byte by byte.

Field by field as their encoders do it: labels sorted, zero values left out, packed references, a snappy block around it.
"""

from typing import Final

import cramjam

from meterline.testing.agent_bodies import Golden
from meterline.testing.remote_write import STALE_BITS, Written, field, request_v1, request_v2, sample, varint

TOKEN: Final = "change-me"  # noqa: S105 - the examples'
TENANT: Final = "shop"

AGENT: Final = "GrafanaAgent/v0.44.2 (static; linux; binary)"
ALLOY: Final = "Alloy/v1.18.0 (linux; linux-package)"
PROMETHEUS: Final = "Prometheus/2.42.0"


def _remote_write(body: bytes, user_agent: str, version: str = "0.1.0", proto: str = "") -> Golden:
    headers = {
        "User-Agent": user_agent,
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf" + (f";proto={proto}" if proto else ""),
        "X-Prometheus-Remote-Write-Version": version,
        "X-Scope-OrgID": TENANT,
        "Authorization": f"Bearer {TOKEN}",
    }
    return Golden("/api/v1/write", headers, bytes(cramjam.snappy.compress_raw(body)))


def _series(ms: int, calls: float) -> list[Written]:
    labels = {"customer": "acme", "instance": "127.0.0.1:8080", "job": "app"}
    return [
        Written({"__name__": "up", "instance": "127.0.0.1:8080", "job": "app"}, [sample(1.0, ms)]),
        Written({"__name__": "api_calls_total", **labels}, [sample(calls, ms)]),
        Written({"__name__": "open_sessions", **labels}, [sample(calls % 7, ms)]),
    ]


def scrape(ms: int, calls: float, user_agent: str = PROMETHEUS) -> Golden:
    """
    Return a scrape's samples: a counter with this value, two gauges.
    """
    return _remote_write(request_v1(_series(ms, calls)), user_agent)


def stale(ms: int, user_agent: str = PROMETHEUS) -> Golden:
    """
    Return what follows when the target is gone: markers in all series, the counter's series in two pieces.
    """
    series = [item._replace(samples=[sample(STALE_BITS, ms)]) for item in _series(ms, 0)]
    return _remote_write(request_v1([*series, series[1]]), user_agent)


def metadata(user_agent: str = PROMETHEUS) -> Golden:
    """
    Return what comes once a minute: types and no series.
    """
    return _remote_write(request_v1([], [("api_calls_total", 1), ("open_sessions", 2), ("up", 2)]), user_agent)


def scrape_v2(ms: int, calls: float, user_agent: str = "Prometheus/3.13.2") -> Golden:
    """
    Return the same scrape in version 2.0, types with the series.
    """
    series = [item._replace(metric_type=kind) for item, kind in zip(_series(ms, calls), (2, 1, 2), strict=True)]
    return _remote_write(request_v2(series), user_agent, "2.0.0", "io.prometheus.write.v2.Request")


def _entry(line: str, time: int) -> bytes:
    stamp = varint(1 << 3) + varint(time // 10**9) + varint(2 << 3) + varint(time % 10**9)
    return field(2, field(1, stamp) + field(2, line))


def loki_push(time: int, lines: list[str], user_agent: str = ALLOY) -> Golden:
    """
    Return lines of a file as Alloy and the Agent push them: one stream, with the hash of its labels.
    """
    entries = b"".join(_entry(line, time + n) for n, line in enumerate(lines))
    labels = '{filename="/var/log/usage.jsonl", job="usage"}'
    body = field(1, field(1, labels) + entries + varint(3 << 3) + varint(0x9A3F_0C1D_22E4_7B65))
    headers = {
        "User-Agent": user_agent,
        "Content-Type": "application/x-protobuf",
        "X-Scope-OrgID": TENANT,
        "Authorization": f"Bearer {TOKEN}",
    }
    if user_agent == ALLOY:  # promtail's client, which the Agent has, does not say it
        headers["Content-Encoding"] = "snappy"
    return Golden("/loki/api/v1/push", headers, bytes(cramjam.snappy.compress_raw(body)))


def fluent_bit_loki(time: int, lines: list[str]) -> Golden:
    """
    Return what Fluent Bit's output ``loki`` writes: JSON put together by hand, lines of JSON in it as text.
    """
    quoted = [line.replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    values = ",".join(f'["{time + n}","{line}"]' for n, line in enumerate(quoted))
    body = f'{{"streams":[{{"stream":{{"job":"usage"}},"values":[{values}]}}]}}'.encode()
    headers = {
        "User-Agent": "Fluent-Bit",
        "Content-Type": "application/json",
        "X-Scope-OrgID": TENANT,
        "Authorization": f"Bearer {TOKEN}",
    }
    return Golden("/loki/api/v1/push", headers, body)
