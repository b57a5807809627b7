"""
Answers as JSON.
"""

import json
from typing import Any, Final

from meterline.api import Answer
from meterline.serving.seam import Refusal, Reply

MEDIA_TYPE: Final = "application/json"


def reply(status: int, said: Any) -> Reply:
    """
    Return a reply that says this.
    """
    return Reply(status, json.dumps(said, separators=(",", ":")).encode(), MEDIA_TYPE)


def stored(answer: Answer) -> Reply:
    """
    Say how many events were taken, and how many of them are in quarantine instead.
    """
    said: dict[str, Any] = {"accepted": answer.points - answer.rejected, "rejected": answer.rejected}
    if answer.rejected and answer.message:
        said["message"] = answer.message
    return reply(200, said)


def refused(refusal: Refusal) -> Reply:
    """
    Say why nothing was taken.
    """
    return reply(refusal.cause.value, {"error": refusal.message})
