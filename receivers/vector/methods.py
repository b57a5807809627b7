"""
The two methods of ``vector.Vector``.
"""

from typing import Final

from meterline._proto.vector.vector_pb2 import NOT_SERVING, SERVING, HealthCheckResponse
from meterline.api import Answer, Intake
from meterline.encodings.vector_native import Options, transcode
from meterline.receivers.vector.config import VectorConfig
from meterline.serving.seam import Call, Decoded, Method

PUSH_EVENTS: Final = "/vector.Vector/PushEvents"
HEALTH_CHECK: Final = "/vector.Vector/HealthCheck"
_AMPLIFICATION: Final = 4  # tiny events grow on their way to OTLP; what grows more is made for it


def methods(config: VectorConfig, intake: Intake) -> list[Method]:
    """
    Return what the listener serves.
    """

    def decode(call: Call) -> Decoded:
        options = Options(
            max_event_bytes=config.max_event_bytes,
            max_bytes=_AMPLIFICATION * config.max_request_bytes,
            received_at=call.received_at if config.missing_timestamp == "received" else 0,
        )
        return Decoded(transcode(call.message, call.tenant, options))

    def healthy(_: Call, __: Decoded, ___: Answer) -> bytes:
        return HealthCheckResponse(status=SERVING if intake.ready else NOT_SERVING).SerializeToString()

    return [
        Method(PUSH_EVENTS, "events", decode, lambda _, __, ___: b""),
        Method(HEALTH_CHECK, "events", lambda _: Decoded(), healthy),
    ]
