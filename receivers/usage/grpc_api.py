"""
The usage API over gRPC: ``meterline.usage.v1.UsageService/RecordUsage``.
"""

from collections.abc import Mapping
from typing import Final

from meterline._proto.meterline.usage.v1 import usage_pb2 as pb
from meterline.api import Answer, Body, Format
from meterline.encodings.usage import stamped
from meterline.receivers.usage.config import MissingTimestamp
from meterline.serving.seam import Call, Decoded, Method

PATH: Final = "/meterline.usage.v1.UsageService/RecordUsage"

_OUTCOMES: "Final[Mapping[str, pb.UsageOutcome.ValueType]]" = {
    "recorded": pb.USAGE_OUTCOME_RECORDED,
    "duplicate": pb.USAGE_OUTCOME_DUPLICATE,
    "no_usage": pb.USAGE_OUTCOME_NO_USAGE,
    "quarantined": pb.USAGE_OUTCOME_QUARANTINED,
}


def record_usage(missing_timestamp: MissingTimestamp) -> Method:
    """
    Return the method. The message goes on as it came; only the time of reception is put behind it.
    """
    received = missing_timestamp == "received"

    def decode(call: Call) -> Decoded:
        return Decoded([Body(Format.USAGE, stamped(call.message, call.received_at if received else 0))])

    return Method(PATH, "usage", decode, respond)


def respond(call: Call, decoded: Decoded, answer: Answer) -> bytes:
    """
    Say what became of each item.
    """
    del call, decoded
    results = [
        pb.UsageResult(outcome=_OUTCOMES[item.outcome], id=bytes.fromhex(item.record_id), reason=item.reason)
        for item in answer.items
    ]
    return pb.RecordUsageResponse(results=results).SerializeToString()
