"""
The usage API over gRPC, with a real kernel behind it.
"""

from typing import Any

import grpc
import pytest

from meterline._proto.meterline.usage.v1 import usage_pb2 as pb
from meterline.api import Status

AT = 1_795_370_400 * 10**9


def item(**changes: Any) -> pb.UsageItem:
    """One item of acme."""
    fields = {"customer_id": "acme", "dimension_id": "seats", "record_value": "12.5", "timestamp": AT}
    return pb.UsageItem(**{**fields, **changes})


def test_results(site: Any) -> None:
    """Each item has its result, in order."""
    items = [item(), item(record_value="x"), item(record_value="0"), item()]
    first, second, third, fourth = site.call(pb.RecordUsageRequest(items=items)).results
    one, two = site.intake.kernel.records()
    assert (first.outcome, first.id.hex(), first.reason) == (pb.USAGE_OUTCOME_RECORDED, one.id, "")
    assert (second.outcome, second.id, second.reason) == (pb.USAGE_OUTCOME_QUARANTINED, b"", "not_a_number")
    assert third.outcome == pb.USAGE_OUTCOME_NO_USAGE
    assert (fourth.outcome, fourth.id.hex()) == (pb.USAGE_OUTCOME_RECORDED, two.id)
    again = site.call(pb.RecordUsageRequest(items=items[:1])).results[0]
    assert (again.outcome, again.id) == (pb.USAGE_OUTCOME_DUPLICATE, first.id)


def test_the_same_over_http(site: Any) -> None:
    """An item that came over HTTP is known here: both doors lead to the same room."""
    told = {"customerId": "acme", "dimensionId": "seats", "recordValue": 12.5, "timestamp": "2026-11-22T18:00:00Z"}
    (over_http,) = site.results({**told, "metadata": {"a": 1}})
    (over_grpc,) = site.call(pb.RecordUsageRequest(items=[item(metadata={"a": "1"})])).results
    assert (over_grpc.outcome, over_grpc.id.hex()) == (pb.USAGE_OUTCOME_DUPLICATE, over_http["id"])


def test_received_at_is_ours(make: Any) -> None:
    """A sender cannot say when its items were received."""
    request = pb.RecordUsageRequest(items=[item(timestamp=0, idempotency_key="k")], received_at=AT - 10**9)
    assert make().call(request).results[0].reason == "time_missing"
    site = make(missing_timestamp="received")
    assert site.call(request).results[0].outcome == pb.USAGE_OUTCOME_RECORDED
    assert [record.timestamp for record in site.intake.kernel.records()] == [AT]


def test_nothing(site: Any) -> None:
    """A request without items is answered without results."""
    assert list(site.call(b"").results) == []


@pytest.mark.parametrize("message", [b"\x0a\x05", b"\xff", b"\x0a\x02\x2a\x05"])
def test_broken(site: Any, message: bytes) -> None:
    """Broken protobuf is INVALID_ARGUMENT."""
    with pytest.raises(grpc.RpcError) as error:
        site.call(message)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_not_now(site: Any) -> None:
    """What is not stored is UNAVAILABLE."""
    site.intake.status = Status.RETRY
    with pytest.raises(grpc.RpcError) as error:
        site.call(pb.RecordUsageRequest(items=[item()]))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_credentials(make: Any) -> None:
    """Without a right key it is UNAUTHENTICATED; a key bound to a customer writes for no other."""
    site = make(http={"auth": {"keys": [{"name": "a", "token": "for-acme", "customers": ["acme"]}]}})
    request = pb.RecordUsageRequest(items=[item(), item(customer_id="other")])
    with pytest.raises(grpc.RpcError) as error:
        site.call(request)
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    results = site.call(request, authorization="Bearer for-acme").results
    assert [each.reason for each in results] == ["", "forbidden_customer"]
