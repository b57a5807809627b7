"""
What an HTTP answer says of the records that were sent: pure.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from meterline.api import Outcome, PausedError, Verdict
from meterline.printable import printable

RETRY: Final = frozenset({408, 425, 429})
WRONG_KEY: Final = frozenset({401, 402, 403, 407})
WRONG_PLACE: Final = frozenset({404, 405, 410, 415})
EXCERPT: Final = 200


class Answer(NamedTuple):
    """
    Status, the ``Retry-After`` and ``Location`` headers, and the beginning of the body.
    """

    status: int
    retry_after: str | None
    location: str | None
    body: bytes


def judged(answer: Answer, *, attempt: int, now_ns: int) -> Outcome:
    """
    Return the verdict.

    2xx: delivered. 408, 425, 429, 5xx: again, not before ``Retry-After``. 409: the far side has this idempotency key; a
    duplicate if it was sent before, else a conflict. Any other 4xx: refused for good.

    :raises PausedError: the answer is not about the records: a wrong credential or place, or a redirect.
    """
    status = answer.status
    said = _said(answer)
    if 200 <= status < 300:
        return Outcome(Verdict.DELIVERED)
    if status in RETRY or status >= 500:
        return Outcome(Verdict.RETRY, said, retry_after_secs(answer.retry_after, now_ns))
    if status == 409:
        return Outcome(Verdict.DUPLICATE if attempt > 1 else Verdict.CONFLICT, said)
    if status in WRONG_KEY:
        raise PausedError(f"sending: {said}; correct `headers` or the account behind them, then start again")
    if status in WRONG_PLACE:
        raise PausedError(f"sending: {said}; correct `endpoint` or `format`, then start again")
    if status < 400:
        raise PausedError(
            f"sending: {said}: redirects are not followed; put the final URL into `endpoint`, then start again"
        )
    return Outcome(Verdict.REJECTED, said)


def _said(answer: Answer) -> str:
    text = printable(answer.body.decode("utf-8", "replace")[:EXCERPT].strip())
    place = f" to {printable(answer.location[:EXCERPT])}" if answer.location else ""
    return f"the answer was {answer.status}{place}" + (f": {text}" if text else "")


def retry_after_secs(header: str | None, now_ns: int) -> float | None:
    """
    Read ``Retry-After``: seconds or an HTTP date; None when there is none, or it cannot be read.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    now = datetime.fromtimestamp(now_ns / 1_000_000_000, UTC)
    return max(0.0, (moment - now).total_seconds())
