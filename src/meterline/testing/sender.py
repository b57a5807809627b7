"""
Verifiable producers: threads that send a workload over OTLP/gRPC and send each request again until it is answered.

The journal of intents and answers lives in memory: the sender survives what it tests.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from meterline.testing.workload import Request, Signal, Workload

METHODS: Final[dict[Signal, str]] = {
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}

CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
"""A killed gateway is found again within 0.1 s; no retry is made that the journal does not see."""

AGAIN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class RefusedError(AssertionError):
    """
    The gateway refused a good request for good: the sender would drop it, so it counts as lost.
    """


@dataclass(slots=True)
class Sent:
    """
    A request and its fate: how often it was tried, how often the try had begun and met no answer, and the answer.
    """

    request: Request
    attempts: int = 0
    unanswered: int = 0
    answered: bool = False
    rejected_points: int = 0


@dataclass(slots=True)
class Journal:
    """
    All intents and answers of one sender, in order.
    """

    entries: list[Sent] = field(default_factory=list)
    refusals: int = 0

    def answered(self) -> list[Sent]:
        """
        Return the requests that were answered with success.
        """
        return [sent for sent in self.entries if sent.answered]


class OtlpClient:
    """
    Sends raw bodies to ``host:port``; each channel has a connection of its own.
    """

    def __init__(self, endpoint: str, token: str | None = None) -> None:
        self._channel = grpc.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._calls: dict[Signal, grpc.UnaryUnaryMultiCallable[bytes, bytes]] = {
            signal: self._channel.unary_unary(path) for signal, path in METHODS.items()
        }

    def send(self, signal: Signal, body: bytes, timeout_secs: float = 10.0) -> int:
        """
        Send once; return how many points were rejected into quarantine. Raises grpc.RpcError for every other answer.
        """
        answer = self._calls[signal](body, timeout=timeout_secs, metadata=self._metadata)
        if signal == "metrics":
            return ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points
        return ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records

    def close(self) -> None:
        """
        Close the connection.
        """
        self._channel.close()


def was_answered(error: grpc.RpcError) -> bool:
    """
    Say whether the far side itself spoke: a refusal of ours carries RetryInfo, a broken connection carries nothing.
    """
    metadata: Any = error.trailing_metadata() or ()
    return any(key == "grpc-status-details-bin" for key, _ in metadata)


class Sender(threading.Thread):
    """
    One producer. ``finish`` lets it end after the request at hand is answered; ``failure`` is what ended it otherwise.

    ``in_flight`` is true while a request is on its way on a connection that stood before: read it at the moment of a
    kill.
    """

    def __init__(self, workload: Workload, endpoint: str, *, pause_secs: float = 0.0, limit: int | None = None) -> None:
        super().__init__(name=f"sender-{workload.name}", daemon=True)
        self.journal = Journal()
        self.in_flight = False
        self.failure: BaseException | None = None
        self._workload = workload
        self._client = OtlpClient(endpoint)
        self._pause_secs = pause_secs
        self._limit = limit
        self._finish = threading.Event()
        self._abandoned = False

    def finish(self) -> None:
        """
        Begin no new request. The one at hand is still sent until it is answered.
        """
        self._finish.set()

    def abandon(self) -> None:
        """
        Give up the request at hand too; it counts as sent without an answer.
        """
        self._finish.set()
        self._abandoned = True

    def run(self) -> None:
        """
        Send until told to finish, or until the limit of requests.
        """
        try:
            while not self._finish.is_set() and len(self.journal.entries) != self._limit:
                sent = Sent(self._workload.next())
                self.journal.entries.append(sent)
                while not sent.answered and not self._abandoned:
                    self._attempt(sent)
                if self._pause_secs:
                    self._finish.wait(self._pause_secs)
        except BaseException as error:  # noqa: BLE001 - kept for the thread that joins
            self.failure = error
        finally:
            self._client.close()

    def _attempt(self, sent: Sent) -> None:
        sent.attempts += 1
        self.in_flight = True
        try:
            sent.rejected_points = self._client.send(sent.request.signal, sent.request.body)
            sent.answered = True
        except grpc.RpcError as error:
            self._judge(sent, error)
        finally:
            self.in_flight = False

    def _judge(self, sent: Sent, error: grpc.RpcError) -> None:
        if error.code() not in AGAIN:
            raise RefusedError(
                f"sending request {sent.request.number} of {self.name}: {error.code()}: {error.details()}"
            )
        if was_answered(error):
            self.journal.refusals += 1
        elif not (error.details() or "").startswith("failed to connect"):
            sent.unanswered += 1
        threading.Event().wait(0.01)


def join_all(senders: Sequence[Sender], timeout_secs: float) -> None:
    """
    Wait for all; raises what ended one of them, or TimeoutError when a request is still not answered.
    """
    for sender in senders:
        sender.join(timeout_secs)
        if sender.failure is not None:
            raise sender.failure
        if sender.is_alive():
            raise TimeoutError(f"waiting for {sender.name}: its last request is not answered after {timeout_secs} s")
