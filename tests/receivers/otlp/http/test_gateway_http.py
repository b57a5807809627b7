"""
OTLP/JSON into a real gateway: what is wrong is in quarantine, its neighbours count, and a repeat is one, whatever its encoding.
"""

import http.client
import json
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterline.api import Format
from meterline.encodings import otlp_json
from meterline.testing.site import Site

RULES = """\
rules:
  - name: requests
    match: {metric: requests}
    customer: attributes["customer.id"]
    dimension: requests
  - name: calls
    match: {log: true}
    customer: attributes["customer.id"]
    dimension: calls
    identity: attributes["id"]
"""
JSON, PROTOBUF = "application/json", "application/x-protobuf"


def post(site: Site, path: str, body: bytes, media_type: str) -> tuple[int, bytes]:
    """
    Send one request.
    """
    connection = http.client.HTTPConnection(site.http_target, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": media_type})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def attribute(key: str, value: Any) -> dict[str, Any]:
    """
    Return an attribute.
    """
    return {"key": key, "value": value}


def request() -> dict[str, Any]:
    """
    Return a request of counters and logs, some of them wrong.
    """
    now = time.time_ns()

    def point(customer: str, value: Any, *more: Any) -> dict[str, Any]:
        attributes = [attribute("customer.id", {"stringValue": customer}), *more]
        return {"startTimeUnixNano": str(now - 10**9), "timeUnixNano": now, "asInt": value, "attributes": attributes}

    deep: Any = {"stringValue": "x"}
    for _ in range(70):
        deep = {"arrayValue": {"values": [deep]}}
    points = [
        point("a", "9007199254740993"),
        point("b", "many"),
        point("c", 2, attribute("deep", deep)),
        point("d", 3),
        {**point("e", 4), "attributes": {"customer.id": "e"}},
    ]
    records = [
        {
            "timeUnixNano": str(now),
            "attributes": [attribute("customer.id", {"stringValue": "a"}), attribute("id", {"intValue": 1})],
        },
        {"timeUnixNano": str(now), "body": "a text that is no object"},
    ]
    metric = {"name": "requests", "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": points}}
    return {
        "resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}],
        "resourceLogs": [{"scopeLogs": [{"logRecords": records}]}],
    }


EXPECTED = {
    ("a", "requests"): Decimal(9007199254740993),
    ("d", "requests"): Decimal(3),
    ("a", "calls"): Decimal(1),
}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_wrong_points_are_kept_and_their_neighbours_count(tmp_path: Path) -> None:
    """
    One request with three wrong points and a wrong record: the rest is billed exactly, once, after a kill, too.
    """
    site = Site(tmp_path, rules=RULES, http=True)
    body = json.dumps(request()).encode()
    with site.gateway:
        site.gateway.start()
        status, answer = post(site, "/v1/metrics", body, JSON)
        assert (status, json.loads(answer)["partialSuccess"]["rejectedDataPoints"]) == (200, "4")
        site.gateway.kill()
        site.gateway.start()
        assert post(site, "/v1/logs", body, JSON)[0] == 200
        kept: Counter[str] = Counter()
        for row in site.quarantine():
            kept[row["reason"]] += row["entries"]
        assert kept == {"undecodable_item": 3, "too_deep": 1}
        site.settle(EXPECTED)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_repeat_in_another_encoding_is_one(tmp_path: Path) -> None:
    """
    What came as JSON is known when it comes as protobuf, alone or several times in one body.
    """
    site = Site(tmp_path, rules=RULES, http=True)
    document = {"resourceMetrics": request()["resourceMetrics"]}
    protobuf = next(b.data for b in otlp_json.bodies([document]) if b.fmt is Format.OTLP_METRICS)
    with site.gateway:
        site.gateway.start()
        for body, media_type in ((json.dumps(document).encode(), JSON), (protobuf, PROTOBUF), (protobuf * 3, PROTOBUF)):
            assert post(site, "/v1/metrics", body, media_type)[0] == 200
        site.settle({key: value for key, value in EXPECTED.items() if key[1] == "requests"})
