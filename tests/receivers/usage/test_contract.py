"""
The receiver contract kit on the usage receiver: each door, each form of a request.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import urllib3

from meterline._proto.meterline.usage.v1 import usage_pb2 as pb
from meterline.api import Receiver, ReceiverContext
from meterline.receivers.usage import UsageReceiver
from meterline.receivers.usage.grpc_api import PATH
from meterline.testing.grpc_connection import GrpcConnection
from meterline.testing.receivers import ID_KEY, Connection, Fate, Harness, Reply, receiver_suite

_STATUS = {200: Fate.STORED, 503: Fate.AGAIN, 400: Fate.REFUSED}


class _Http(Connection):
    def __init__(self, endpoint: str, media_type: str) -> None:
        self._pool = urllib3.PoolManager(retries=False)
        self._url = f"http://{endpoint}/v1/usage"
        self._type = media_type

    def send(self, ids: Sequence[str]) -> Reply:
        items = [{"customerId": "a", "dimensionId": "d", "recordValue": 1, "metadata": {ID_KEY: each}} for each in ids]
        lines = "\n".join(map(json.dumps, items))
        body = lines if self._type.endswith("ndjson") else json.dumps(items)
        answer = self._pool.request("POST", self._url, body=body, headers={"Content-Type": self._type}, timeout=20)
        fate = _STATUS[answer.status]
        return Reply(fate, answer.json()["quarantined"] if fate is Fate.STORED else 0)

    def close(self) -> None:
        self._pool.clear()


def request(ids: Sequence[str]) -> bytes:
    """
    Return a protobuf request with an item for each id.
    """
    items = [pb.UsageItem(customer_id="a", dimension_id="d", record_value="1", metadata={ID_KEY: each}) for each in ids]
    return pb.RecordUsageRequest(items=items).SerializeToString()


def rejected(answer: bytes) -> int:
    """
    Return how many items are in quarantine.
    """
    results = pb.RecordUsageResponse.FromString(answer).results
    return sum(each.outcome == pb.USAGE_OUTCOME_QUARANTINED for each in results)


class JsonHarness(Harness):
    """
    A JSON array over HTTP.
    """

    door = "http"
    media_type = "application/json"

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        """
        Return a receiver with one door, on a free port.
        """
        config = {"type": "usage", self.door: {"endpoint": "127.0.0.1:0"}}
        return UsageReceiver("contract", UsageReceiver.Config.model_validate(config), context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        """
        Return a client of it.
        """
        return _Http(endpoints["http"], self.media_type)


class LinesHarness(JsonHarness):
    """
    Lines over HTTP.
    """

    media_type = "application/x-ndjson"


class GrpcHarness(JsonHarness):
    """
    gRPC.
    """

    door = "grpc"

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        """
        Return a client of it.
        """
        return GrpcConnection(endpoints["grpc"], PATH, request, rejected)


TestJson = receiver_suite(JsonHarness)
TestLines = receiver_suite(LinesHarness)
TestGrpc = receiver_suite(GrpcHarness)


@pytest.mark.parametrize("options", [{}, {"grpc": None, "missing_timestamp": "now"}, {"http": {}, "path": "/"}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    """A receiver that listens nowhere, and unknown options, are refused."""
    with pytest.raises(ValueError, match=r"usage|missing_timestamp|path"):
        UsageReceiver.Config.model_validate({"type": "usage", **options})


def test_sections_may_be_empty() -> None:
    """`http:` with nothing behind it takes the defaults."""
    config = UsageReceiver.Config.model_validate({"type": "usage", "http": None})
    assert config.http is not None
    assert (config.http.endpoint, config.grpc) == ("127.0.0.1:4318", None)
