"""
Events as agents and SDKs write them: documents in, log records, metric points and rejects out (docs/receivers/json.md).

``read_body`` or ``read_line`` makes documents of bytes, ``transcode`` makes bodies of documents. Both are deterministic: the
same bytes make the same bodies, so that a resend is recognised.
"""

from meterline.encodings.events.items import Sent
from meterline.encodings.events.logs import EventOptions
from meterline.encodings.events.read import read_body, read_line
from meterline.encodings.events.transcode import EventEncoding, transcode, transcode_cloudevent, transcode_fluent

__all__ = [
    "EventEncoding",
    "EventOptions",
    "Sent",
    "read_body",
    "read_line",
    "transcode",
    "transcode_cloudevent",
    "transcode_fluent",
]
