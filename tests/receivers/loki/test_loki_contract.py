"""
The receiver contract kit on the Loki receiver, for both encodings.
"""

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any

import cramjam

from meterline.api import Receiver, ReceiverContext
from meterline.receivers.loki import LokiReceiver
from meterline.testing.receivers import ID_LABEL, Connection, Fate, Harness, Reply, receiver_suite
from meterline.testing.remote_write import field, varint

FATES = {204: Fate.STORED, 503: Fate.AGAIN, 400: Fate.REFUSED}


class _Client(Connection):
    def __init__(self, endpoint: str, harness: "LokiJson") -> None:
        self._connection = http.client.HTTPConnection(endpoint, timeout=30)
        self._harness = harness

    def send(self, ids: Sequence[str]) -> Reply:
        self._connection.request("POST", "/loki/api/v1/push", self._harness.body(ids), self._harness.headers)
        response = self._connection.getresponse()
        response.read()
        fate = FATES[response.status]
        assert (response.getheader("retry-after") is not None) == (fate is Fate.AGAIN)
        return Reply(fate, int(response.getheader("x-meterline-quarantined") or 0))

    def close(self) -> None:
        self._connection.close()


class LokiJson(Harness):
    """
    JSON: a stream of its own for every other line, so that the id comes as label and as metadata.
    """

    headers: Mapping[str, str] = {"content-type": "application/json"}

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        config = LokiReceiver.Config.model_validate({"type": "loki", "endpoint": "127.0.0.1:0"})
        return LokiReceiver("contract", config, context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        return _Client(endpoints["http"], self)

    def body(self, ids: Sequence[str]) -> bytes:
        """
        Return a request with one line for each id.
        """
        streams = [{"stream": {ID_LABEL: name}, "values": [["1", "x"]]} for name in ids[::2]]
        inner = [["1", "x", {ID_LABEL: name}] for name in ids[1::2]]
        return json.dumps({"streams": [*streams, {"stream": {"job": "contract"}, "values": inner}]}).encode()


class LokiProtobuf(LokiJson):
    """
    Protobuf, in a snappy block as Loki's clients send it.
    """

    headers: Mapping[str, str] = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}

    def body(self, ids: Sequence[str]) -> bytes:
        entries = [
            field(
                2, field(1, varint(2 << 3) + varint(1)) + field(2, "x") + field(3, field(1, ID_LABEL) + field(2, name))
            )
            for name in ids
        ]
        return bytes(cramjam.snappy.compress_raw(field(1, field(1, '{job="contract"}') + b"".join(entries))))


class LokiProtobufUnsaid(LokiProtobuf):
    """
    The same from senders that do not say that it is compressed, which Loki takes for granted.
    """

    headers: Mapping[str, str] = {"content-type": "application/x-protobuf"}


TestLokiJson = receiver_suite(LokiJson)
TestLokiProtobuf = receiver_suite(LokiProtobuf)
TestLokiProtobufUnsaid = receiver_suite(LokiProtobufUnsaid)
