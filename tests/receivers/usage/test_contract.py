"""
The receiver contract kit on the usage receiver: each door, each form of a request.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import pytest
import urllib3

from meterline._proto.meterline.usage.v1 import usage_pb2 as pb
from meterline.api import Receiver, ReceiverContext
from meterline.receivers.usage import UsageReceiver
from meterline.receivers.usage.grpc_api import PATH
from meterline.testing.receivers import ID_KEY, Connection, Fate, Harness, Reply, receiver_suite

_STATUS = {200: Fate.STORED, 503: Fate.AGAIN, 400: Fate.REFUSED}
_CODES = {grpc.StatusCode.UNAVAILABLE: Fate.AGAIN, grpc.StatusCode.INVALID_ARGUMENT: Fate.REFUSED}


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


class _Grpc(Connection):
    def __init__(self, endpoint: str) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        self._channel = grpc.insecure_channel(endpoint, options=options)
        self._call = self._channel.unary_unary(PATH)

    def send(self, ids: Sequence[str]) -> Reply:
        items = [
            pb.UsageItem(customer_id="a", dimension_id="d", record_value="1", metadata={ID_KEY: each}) for each in ids
        ]
        try:
            answer = self._call(pb.RecordUsageRequest(items=items).SerializeToString(), timeout=20)
        except grpc.RpcError as error:
            return Reply(_CODES[error.code()])
        results = pb.RecordUsageResponse.FromString(answer).results
        return Reply(Fate.STORED, sum(each.outcome == pb.USAGE_OUTCOME_QUARANTINED for each in results))

    def close(self) -> None:
        self._channel.close()


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
        return _Grpc(endpoints["grpc"])


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
