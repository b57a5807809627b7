"""
From a ``Reply`` to bytes on the wire; and what the listener itself says where no protocol is known.
"""

import math
from collections.abc import Mapping

from aiohttp import web

from meterline.printable import printable
from meterline.serving.retry import retry_delay_secs
from meterline.serving.seam import Cause, Refusal, Reply

_MAX_MESSAGE = 1000  # characters
_NO_BODY = (204, 304)


def delayed(refusal: Refusal) -> Refusal:
    """
    Return the refusal with the delay that is told to the sender, and a message that fits anywhere.
    """
    delay = retry_delay_secs(refusal.retry_after_secs) if refusal.cause is Cause.RETRY else None
    return Refusal(refusal.cause, printable(refusal.message[:_MAX_MESSAGE]), delay)


def retry_after(refusal: Refusal) -> Mapping[str, str]:
    """
    Return the header Retry-After: whole seconds, rounded up.
    """
    if refusal.retry_after_secs is None:
        return {}
    return {"Retry-After": str(math.ceil(refusal.retry_after_secs))}


def plain(refusal: Refusal) -> Reply:
    """
    Return a refusal in plain words.
    """
    return Reply(refusal.cause.value, refusal.message.encode() + b"\n", "text/plain; charset=utf-8")


def response(reply: Reply, extra: Mapping[str, str], *, close: bool) -> web.Response:
    """
    Return aiohttp's form of a reply.
    """
    headers = {"Server": "meterline", **extra, **reply.headers}
    if reply.media_type:
        headers["Content-Type"] = reply.media_type
    body = None if reply.status in _NO_BODY else reply.body
    made = web.Response(status=reply.status, body=body, headers=headers)
    if close:
        made.force_close()
    return made
