"""
Protocols whose bodies are snappy blocks by definition, so that some senders do not say it.
"""

from meterline.api import UndecodableError
from meterline.serving.codecs import decompress


def implied_snappy(body: bytes, limit: int) -> bytes:
    """
    Return the body of a request without Content-Encoding: decompressed where it is a snappy block, else as it is.

    A block says its own length, which protobuf that is not compressed meets by chance only when it is a few bytes long.

    :raises TooLargeError: there would be more than ``limit``.
    """
    try:
        return decompress("snappy", [body], limit, lambda _: None)
    except UndecodableError:
        return body
