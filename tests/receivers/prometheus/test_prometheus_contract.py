"""
The receiver contract kit on the Prometheus receiver, for both versions of remote write.
"""

import http.client
from collections.abc import Mapping, Sequence
from typing import Any

import cramjam

from meterline.api import Receiver, ReceiverContext
from meterline.receivers.prometheus import PrometheusReceiver
from meterline.testing.receivers import ID_LABEL, Connection, Fate, Harness, Reply, receiver_suite
from meterline.testing.remote_write import Written, request_v1, request_v2, sample

FATES = {204: Fate.STORED, 503: Fate.AGAIN, 400: Fate.REFUSED}
WRITTEN = ("samples", "histograms", "exemplars")


class _Client(Connection):
    def __init__(self, endpoint: str, media_type: str, body: Any) -> None:
        self._connection = http.client.HTTPConnection(endpoint, timeout=30)
        self._headers = {"content-type": media_type, "content-encoding": "snappy"}
        self._body = body

    def send(self, ids: Sequence[str]) -> Reply:
        series = [Written({"__name__": "calls_total", ID_LABEL: name}, [sample(1.0, 1)]) for name in ids]
        packed = bytes(cramjam.snappy.compress_raw(self._body(series)))
        self._connection.request("POST", "/api/v1/write", packed, self._headers)
        response = self._connection.getresponse()
        response.read()
        fate = FATES[response.status]
        assert (response.getheader("retry-after") is not None) == (fate is Fate.AGAIN)
        written = [response.getheader(f"x-prometheus-remote-write-{what}-written") for what in WRITTEN]
        stored = str(len(ids)) if fate is Fate.STORED else "0"
        assert written == ([stored, "0", "0"] if "v2" in self._headers["content-type"] else [None] * 3)
        return Reply(fate, int(response.getheader("x-meterline-quarantined") or 0))

    def close(self) -> None:
        self._connection.close()


class RemoteWrite1(Harness):
    """
    Version 1.0.
    """

    media_type = "application/x-protobuf"
    body = staticmethod(request_v1)

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        config = PrometheusReceiver.Config.model_validate({"type": "prometheus", "endpoint": "127.0.0.1:0"})
        return PrometheusReceiver("contract", config, context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        return _Client(endpoints["http"], self.media_type, self.body)


class RemoteWrite2(RemoteWrite1):
    """
    Version 2.0.
    """

    media_type = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    body = staticmethod(request_v2)


TestRemoteWrite1 = receiver_suite(RemoteWrite1)
TestRemoteWrite2 = receiver_suite(RemoteWrite2)
