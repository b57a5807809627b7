"""
The receiver contract over HTTP, for each way in which events come.
"""

import http.client
import json
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline.api import Format, Receiver, ReceiverContext
from meterline.receivers.json import JsonReceiver
from meterline.testing.receivers import ID_KEY, Connection, Fate, Harness, Reply, receiver_suite

ALL = ["auto", "vector", "logstash", "fluent_bit", "cloudevents", "amplitude", "mixpanel"]
FATES = {200: Fate.STORED, 503: Fate.AGAIN, 400: Fate.REFUSED}


class HttpConnection(Connection):
    """
    One HTTP connection; ``harness`` knows what a request looks like.
    """

    def __init__(self, endpoint: str, harness: "JsonHarness") -> None:
        self._connection = http.client.HTTPConnection(endpoint, timeout=30)
        self._harness = harness

    def send(self, ids: Sequence[str]) -> Reply:
        headers = {"content-type": self._harness.media_type}
        self._connection.request("POST", self._harness.path, self._harness.body(ids), headers)
        response = self._connection.getresponse()
        body = response.read()
        fate = FATES[response.status]
        assert (response.getheader("retry-after") is not None) == (fate is Fate.AGAIN)
        return Reply(fate, self._harness.rejected(json.loads(body), len(ids)) if fate is Fate.STORED else 0)

    def close(self) -> None:
        self._connection.close()


class JsonHarness(Harness):
    """
    An array of plain events.
    """

    path = "/v1/events"
    media_type = "application/json"

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        config = {"type": "json", "endpoint": "127.0.0.1:0", "formats": ALL}
        return JsonReceiver("contract", JsonReceiver.Config.model_validate(config), context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        return HttpConnection(endpoints["http"], self)

    def body(self, ids: Sequence[str]) -> bytes:
        """
        Return a request with an event for each id.
        """
        return json.dumps([self.event(name) for name in ids]).encode()

    def event(self, name: str) -> dict[str, Any]:
        """
        Return one event.
        """
        return {"timestamp": time.time(), ID_KEY: name}

    def rejected(self, said: Any, count: int) -> int:
        """
        Return how many events an answer names as rejected.
        """
        assert said["accepted"] + said["rejected"] == count
        rejected: int = said["rejected"]
        return rejected

    def ids(self, body: bytes, fmt: Format) -> list[str]:
        if fmt is not Format.OTLP_LOGS:
            return super().ids(body, fmt)
        request = ExportLogsServiceRequest.FromString(body)
        logs = [log for r in request.resource_logs for s in r.scope_logs for log in s.log_records]
        return [found for log in logs for found in _ids_in(log.body)]


def _ids_in(value: Any) -> list[str]:
    pairs = value.kvlist_value.values
    return [pair.value.string_value for pair in pairs if pair.key == ID_KEY] + [
        found for pair in pairs for found in _ids_in(pair.value)
    ]


class NdjsonHarness(JsonHarness):
    """
    A line for each event.
    """

    media_type = "application/x-ndjson"

    def body(self, ids: Sequence[str]) -> bytes:
        return b"".join(json.dumps(self.event(name)).encode() + b"\n" for name in ids)


class MsgpackHarness(JsonHarness):
    """
    Fluent Bit's msgpack.
    """

    path = "/v1/events/fluent-bit"
    media_type = "application/msgpack"

    def body(self, ids: Sequence[str]) -> bytes:
        stamp = msgpack.ExtType(0, struct.pack(">II", int(time.time()), 0))
        return b"".join(msgpack.packb([[stamp, {}], {ID_KEY: name}]) for name in ids)


class VectorMetricsHarness(JsonHarness):
    """
    Metric events of Vector.
    """

    path = "/v1/vector"

    def event(self, name: str) -> dict[str, Any]:
        return {
            "name": "calls",
            "tags": {ID_KEY: name},
            "timestamp": "2026-11-22T11:00:00Z",
            "kind": "incremental",
            "counter": {"value": 1.0},
        }


class CloudEventsHarness(JsonHarness):
    """
    A batch of CloudEvents.
    """

    path = "/v1/events/cloudevents"
    media_type = "application/cloudevents-batch+json"

    def event(self, name: str) -> dict[str, Any]:
        return {"specversion": "1.0", "id": name, "source": "/s", "type": "t", "data": {ID_KEY: name}}


class AmplitudeHarness(JsonHarness):
    """
    Amplitude's HTTP V2.
    """

    path = "/2/httpapi"

    def body(self, ids: Sequence[str]) -> bytes:
        events = [{"event_type": "t", "insert_id": name, "event_properties": {ID_KEY: name}} for name in ids]
        return json.dumps({"api_key": "k", "events": events}).encode()

    def rejected(self, said: Any, count: int) -> int:
        assert said["code"] == 200
        return count - int(said["events_ingested"])


class MixpanelHarness(JsonHarness):
    """
    Mixpanel's import.
    """

    path = "/import"

    def event(self, name: str) -> dict[str, Any]:
        return {"event": "t", "properties": {"time": 1, "$insert_id": name, ID_KEY: name}}

    def rejected(self, said: Any, count: int) -> int:
        assert (said["code"], said["status"]) == (200, "OK")
        return count - int(said["num_records_imported"])


TestJson = receiver_suite(JsonHarness)
TestNdjson = receiver_suite(NdjsonHarness)
TestMsgpack = receiver_suite(MsgpackHarness)
TestVectorMetrics = receiver_suite(VectorMetricsHarness)
TestCloudEvents = receiver_suite(CloudEventsHarness)
TestAmplitude = receiver_suite(AmplitudeHarness)
TestMixpanel = receiver_suite(MixpanelHarness)
