"""
What becomes of a body on which a receiver's decoder failed three times (semantics.md 6).
"""

from meterline.encodings.rejects import Reject, rejects
from meterline.serving.seam import Decoded

REASON = "internal_error"


def quarantined_whole(body: bytes, error: BaseException) -> Decoded:
    """
    Return the whole body as one reject.
    """
    detail = f"decoding request: the decoder failed three times ({type(error).__name__})"
    return Decoded(rejects([Reject(REASON, detail, body, "raw")]))
